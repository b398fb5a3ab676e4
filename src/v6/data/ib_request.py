"""One request: its states, its row in ``ib_requests``, and what a new one needs.

A request is born as one row with ``revision`` 0 and status PENDING; every change of state is a further row with
``revision`` + 1. The state of a request is its row with the highest revision.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import date, datetime
from enum import IntEnum, StrEnum
from typing import Any, Self

import polars as pl

from v6.data.table_spec import UTC_MICROSECONDS, Column, TableSpec, Upkeep
from v6.errors import RequestError

HISTORY_DAYS = 90  # how long finished requests are kept when nothing else is set


class RequestStatus(StrEnum):
    """The states of a request (drawn in docs/requests.md)."""

    PENDING = "PENDING"
    PROCESSING = "PROCESSING"
    SUCCESS = "SUCCESS"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def is_open(self) -> bool:
        """True while something is still to happen by itself."""
        return self in OPEN_STATES


KEY_LENGTH = 500  # characters
CANCEL = "cancel"  # field of result_data: a person wants this running request cancelled, and why

OPEN_STATES = frozenset({RequestStatus.PENDING, RequestStatus.PROCESSING})


class Priority(IntEnum):
    """Lower runs first; 1 is never stuck behind a long chain."""

    IMMEDIATE = 1
    NORMAL = 2
    BACKGROUND = 3


def _column(
    name: str, dtype: pl.DataType | type[pl.DataType], description: str, null_means: str = "", unit: str = ""
) -> Column:
    return Column(name=name, dtype=dtype, description=description, null_means=null_means, unit=unit)


REQUESTS = TableSpec(
    name="ib_requests",
    description="The queue: one row per change of state of a request; the highest revision is the request's state.",
    columns=(
        _column("request_id", pl.String, "UUID of the request"),
        _column("revision", pl.Int32, "0 at birth, one more at each change of state"),
        _column("request_type", pl.String, "what is asked: option_chain, futures_snapshot, …"),
        _column("symbol", pl.String, "underlying symbol; empty where the type allows all"),
        _column("priority", pl.Int32, "1 immediate, 2 normal, 3 background"),
        _column("status", pl.String, "PENDING, PROCESSING, SUCCESS, FAILED or CANCELLED"),
        _column("parameters", pl.String, "the type's parameters as a JSON object"),
        _column("result_table", pl.String, "where the rows go"),
        _column("created_at", UTC_MICROSECONDS, "when the request was made", unit="UTC"),
        _column("updated_at", UTC_MICROSECONDS, "when this row was written", unit="UTC"),
        _column("result_data", pl.String, "JSON object: rows written, version, timings, the plan's parts", "none"),
        _column("error_message", pl.String, "why it failed, waits or was cancelled", "nothing to say"),
        _column("attempt", pl.Int32, "attempts spent so far"),
        _column("crashes", pl.Int32, "times a worker died while running it"),
        _column("not_before", UTC_MICROSECONDS, "it does not run before", "at once", "UTC"),
        _column("deadline", UTC_MICROSECONDS, "it fails as expired when not begun by then", "no deadline", "UTC"),
        _column("error_code", pl.Int32, "IB's error code", "the error has none, or there is no error"),
        _column("error_category", pl.String, "timeout, network, validation, …", "no error"),
        _column("worker_id", pl.String, "the worker that wrote this row", "no worker did"),
        _column("source", pl.String, "who inserted it: cli, script, scheduler, …"),
        _column("idempotency_key", pl.String, "the key that keeps it from being inserted twice", "none"),
        _column("date", pl.Date, "UTC date of creation"),
    ),
    partition_by=("date",),
    sort_by=("created_at", "request_id", "revision"),
    key=("request_id", "revision"),
    configuration={
        "delta.dataSkippingStatsColumns": "revision,created_at,updated_at",  # every commit carries them along
        "delta.deletedFileRetentionDuration": "interval 1 days",
    },
    upkeep=Upkeep(keep_days=HISTORY_DAYS, log_seconds=10.0, for_readers=False),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class NewRequest:
    """What somebody wants. None for priority or result_table takes the type's default.

    ``slot`` is the instant of a schedule's slot: then the key alone is the request's identity and holds for ever.
    """

    request_type: str
    symbol: str
    priority: int | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    result_table: str | None = None
    idempotency_key: str | None = None
    slot: datetime | None = None
    not_before: datetime | None = None
    deadline: datetime | None = None

    def checked(self) -> Self:
        """This request, when the queue can hold it whatever its type; see the catalogue for what types check.

        Raises:
            RequestError: a field has a value the queue cannot hold; the text names it.
        """
        for name in ("request_type", "symbol"):
            if not isinstance(getattr(self, name), str):
                raise RequestError(f"{name} must be text, not {getattr(self, name)!r}")
        if self.priority is not None and (isinstance(self.priority, bool) or self.priority not in list(Priority)):
            raise RequestError(f"priority must be 1, 2 or 3, not {self.priority!r}")
        if not isinstance(self.parameters, Mapping):
            raise RequestError(f"parameters must be an object, not {self.parameters!r}")
        for name in ("not_before", "deadline", "slot"):
            instant = getattr(self, name)
            if instant is not None and (not isinstance(instant, datetime) or instant.tzinfo is None):
                raise RequestError(f"{name} must be an instant with a time zone, not {instant!r}")
        self._check_key()
        return self

    def _check_key(self) -> None:
        key: object = self.idempotency_key
        if key is not None and (not isinstance(key, str) or not 0 < len(key) <= KEY_LENGTH):
            raise RequestError(
                f"idempotency_key must be text of 1 to {KEY_LENGTH} characters: shorten it or leave it out"
            )
        if self.slot is not None and key is None:
            raise RequestError("slot needs an idempotency_key that names the schedule and the slot")

    def parameters_json(self) -> str:
        """The parameters as canonical JSON text. Raises RequestError when they are not JSON."""
        try:
            return json.dumps(dict(self.parameters), sort_keys=True, separators=(",", ":"), allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise RequestError(f"parameters are not JSON: {error}") from error


@dataclass(frozen=True, kw_only=True, slots=True)
class IBRequest:
    """One row of ``ib_requests``: a request in one state."""

    request_id: str
    revision: int
    request_type: str
    symbol: str
    priority: int
    status: RequestStatus
    parameters_json: str
    result_table: str
    created_at: datetime
    updated_at: datetime
    date: date
    result_data_json: str | None = None
    error_message: str | None = None
    attempt: int = 0
    crashes: int = 0
    not_before: datetime | None = None
    deadline: datetime | None = None
    error_code: int | None = None
    error_category: str | None = None
    worker_id: str | None = None
    source: str = ""
    idempotency_key: str | None = None

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """A request from a row of the table, also from one that somebody wrote past the checks.

        Raises:
            RequestError: the row has no request_id, or a status or revision that does not exist.
        """
        values = dict(row)
        values["parameters_json"] = values.pop("parameters") or "{}"
        values["result_data_json"] = values.pop("result_data")
        if not values["request_id"] or values["revision"] is None or values["created_at"] is None:
            raise RequestError("a row of ib_requests lacks request_id, revision or created_at")
        try:
            values["status"] = RequestStatus(values["status"])
        except ValueError as error:
            raise RequestError(f"request {values['request_id']} has no such status: {values['status']!r}") from error
        for name, default in _DEFAULTS.items():
            if values[name] is None:
                values[name] = default
        values["updated_at"] = values["updated_at"] or values["created_at"]
        return cls(**values)

    def to_row(self) -> dict[str, Any]:
        """The row as the table holds it."""
        row = {f.name: getattr(self, f.name) for f in fields(self)}
        row["parameters"] = row.pop("parameters_json")
        row["result_data"] = row.pop("result_data_json")
        row["status"] = str(self.status)
        return row

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters. Raises RequestError when the stored text is not a JSON object."""
        return _json_object(self.parameters_json, f"parameters of request {self.request_id}")

    @property
    def result_data(self) -> dict[str, Any]:
        """What is known about the result; empty when nothing is."""
        return _json_object(self.result_data_json or "{}", f"result_data of request {self.request_id}")

    @property
    def cancel_reason(self) -> str | None:
        """Why a person wants this claimed request cancelled; None when nobody does."""
        text = self.result_data_json or ""
        return None if f'"{CANCEL}"' not in text else _json_object(text, "result_data").get(CANCEL)

    def without_cancel(self) -> dict[str, Any]:
        """``result_data`` but for the wish to cancel."""
        return {name: value for name, value in self.result_data.items() if name != CANCEL}

    def next(self, status: RequestStatus, *, now: datetime, **changes: Any) -> IBRequest:
        """The following row: another state, one revision more, never older than this one."""
        return replace(self, status=status, revision=self.revision + 1, updated_at=max(now, self.updated_at), **changes)


_DEFAULTS: dict[str, Any] = {
    "request_type": "", "symbol": "", "priority": int(Priority.BACKGROUND), "result_table": "", "attempt": 0,
    "crashes": 0, "source": "",
}  # fmt: skip


def frame_of(requests: list[IBRequest]) -> pl.DataFrame:
    """Requests as rows of the table."""
    return REQUESTS.conform(pl.DataFrame([r.to_row() for r in requests], schema=_ROW_SCHEMA))


_ROW_SCHEMA = REQUESTS.schema


def _json_object(text: str, what: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"{what} are not JSON: {error}") from error
    if not isinstance(value, dict):
        raise RequestError(f"{what} are not a JSON object but {text[:80]}")
    return value
