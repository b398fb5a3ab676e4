"""Every installed request type with its parameters, as Markdown."""

from __future__ import annotations

from typing import Any

from pydantic.fields import FieldInfo

from v6.request_types.base import RequestType
from v6.request_types.catalogue import Catalogue


def describe_request_types() -> str:
    """A section for each type: where its rows go, its numbers, its parameters."""
    return "\n\n".join(_section(kind) for kind in Catalogue.load().types())


def _section(kind: RequestType[Any]) -> str:
    symbol = "may be empty: then all" if kind.symbol_optional else "required"
    facts = [
        ("result table", f"[`{kind.result_table}`](lake.md#{kind.result_table})"),
        ("symbol", symbol),
        ("priority when none is given", kind.default_priority),
        ("at once", f"{kind.concurrency} requests of this type"),
        ("attempts", f"{kind.attempts}, {_backoff(kind)}"),
        ("limit", _limiter(kind)),
        ("time-out", f"{kind.timeout_seconds:g} s for one part"),
        ("needs", kind.pacing),
    ]
    lines = [f"### {kind.name}", "", kind.description, "", "| | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in facts]
    fields = kind.parameters.model_fields
    if not fields:
        return "\n".join([*lines, "", "It has no parameters."])
    lines += ["", "| parameter | default | what it is |", "|---|---|---|"]
    return "\n".join([*lines, *(_row(name, field) for name, field in fields.items())])


def _backoff(kind: RequestType[Any]) -> str:
    backoff = kind.backoff
    return f"waiting up to {backoff.first_seconds:g} s, doubled each time, at most {backoff.cap_seconds:g} s"


def _limiter(kind: RequestType[Any]) -> str:
    limiter = kind.limiter
    return "none" if limiter is None else f"{limiter.requests} in {limiter.seconds:g} s"


def _row(name: str, field: FieldInfo) -> str:
    description = (field.description or "").replace("|", "\\|")
    default = "" if field.default is None else f"`{field.default!r}`".replace("'", '"').replace("True", "true")
    return f"| `{name}` | {default} | {description} |"
