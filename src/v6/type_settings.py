"""What the settings may say of one request type: ``[request_types.NAME]`` in the file, or the environment.

Every number stands in place of the one that the type declares; what is left out stays as declared.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator


class Checked(BaseModel):
    """A record of settings: frozen, unknown names are refused, and true is no number."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        wanted = cls.model_fields[info.field_name or ""].annotation
        if isinstance(value, bool) and wanted is not bool:
            raise ValueError("it must not be true or false")
        return value


class TypeSettings(Checked):
    """The numbers of one request type. Seconds are clock seconds; None is what the type declares."""

    concurrency: int | None = Field(default=None, ge=1, le=50, description="requests of the type in flight at once")
    attempts: int | None = Field(
        default=None, ge=1, le=1000, description="how often a request is tried before it fails"
    )
    backoff_first_seconds: float | None = Field(
        default=None, gt=0, description="longest wait before the second attempt; doubled before each further one"
    )
    backoff_cap_seconds: float | None = Field(default=None, gt=0, description="no wait is longer")
    limit: int | None = Field(
        default=None, ge=0, description="how many requests of the type may begin in a period; 0 is any number"
    )
    limit_seconds: float | None = Field(
        default=None, gt=0, le=86_400, description="the period, which slides; a minute where nobody says"
    )
    timeout_seconds: float | None = Field(
        default=None, gt=0, description="how long one part of a request may take before it is tried again"
    )
