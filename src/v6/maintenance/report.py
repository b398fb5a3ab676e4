"""What maintenance did to one table, or would do."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Self


@dataclass(frozen=True, kw_only=True, slots=True)
class TableReport:
    """One table. Sizes in bytes; ``error`` is why it could not be maintained, then the rest is what was done before."""

    table: str
    files_before: int = 0
    files_after: int = 0
    joined: int = 0
    folded_rows: int = 0
    expired_rows: int = 0
    deleted_files: int = 0
    deleted_bytes: int = 0
    log_files: int = 0
    checkpoint: bool = False
    seconds: float = 0.0
    error: str | None = None

    @property
    def did_anything(self) -> bool:
        """False when there was nothing to do."""
        return bool(
            self.joined or self.folded_rows or self.expired_rows or self.deleted_files or self.log_files or self.error
        )

    def as_row(self) -> dict[str, Any]:
        """The report as JSON has it."""
        return asdict(self)

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Self:
        """A report from JSON."""
        return cls(**{f.name: row[f.name] for f in fields(cls) if f.name in row})
