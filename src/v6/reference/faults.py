"""Every fault that the simulated gateway knows, as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from v6.simulator.fault_values import REQUIRED, Value
from v6.simulator.faults import COMMON, KINDS, Scope

_HEADINGS = {
    Scope.REQUEST: "They strike requests that fit, one by one",
    Scope.SESSION: "They strike open connections, once",
    Scope.GATEWAY: "They strike the whole gateway, once",
    Scope.WINDOW: "They hold for the whole gateway as long as they are armed",
    Scope.MARKET: "They change what is listed or held",
}


def describe_faults() -> str:
    """The values that every fault takes, then the kinds by what they strike."""
    return "\n\n".join(["Every fault takes", _table(COMMON), *(_scope(scope) for scope in Scope)])


def _scope(scope: Scope) -> str:
    lines = ["| fault | what happens | its own values |", "|---|---|---|"]
    lines += [
        f"| `{kind.name}` | {kind.meaning} | {'; '.join(_values(kind.values)) or '–'} |"
        for kind in KINDS.values()
        if kind.scope is scope
    ]
    return "\n".join([f"{_HEADINGS[scope]}:", "", *lines])


def _values(values: Mapping[str, Value]) -> Iterator[str]:
    for name, value in values.items():
        default = "required" if value.default is REQUIRED else _default(value.default)
        yield f"`{name}` ({default}): {value.meaning}" if default else f"`{name}`: {value.meaning}"


def _table(values: Mapping[str, Value]) -> str:
    rows = [f"| `{name}` | {_default(value.default)} | {value.meaning} |" for name, value in values.items()]
    return "\n".join(["| value | default | what it is |", "|---|---|---|", *rows])


def _default(default: object) -> str:
    if default in (None, "", 0) and not isinstance(default, bool):
        return ""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, tuple):
        return f"`{list(default)}`".replace("'", '"')
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"
