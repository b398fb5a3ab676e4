"""What a reader is asked: arguments of the kinds that its signature says, or one line that names what is wrong."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Collection, Sequence
from datetime import date, datetime
from functools import cache, wraps
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, ParamSpec, TypeVar, get_args, get_origin, get_type_hints

from v6.errors import UsageError

P = ParamSpec("P")
R = TypeVar("R")

NO_ZONE = "has no zone: write datetime(2026, 11, 24, 15, tzinfo=UTC)"
NAMES: dict[Any, str] = {
    str: "a text that is not empty",
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    date: "a date such as date(2026, 11, 24)",
    datetime: "a datetime with its zone, such as datetime(2026, 11, 24, 15, tzinfo=UTC)",
}
ITEMS: dict[Any, str] = {str: "texts", float: "numbers", date: "dates such as date(2026, 11, 24)"}


def checked(reader: Callable[P, R]) -> Callable[P, R]:
    """The reader, which raises UsageError for an argument of a kind that its signature does not have."""
    signature = inspect.signature(reader)

    @wraps(reader)
    def asked(*args: P.args, **kwargs: P.kwargs) -> R:
        for name, value in signature.bind(*args, **kwargs).arguments.items():
            fault = _fault(value, _kinds(reader)[name])
            if fault:
                raise UsageError(f"{reader.__name__}({name}={_shown(value)}): {name} {fault}")
        return reader(*args, **kwargs)

    return asked


def one_of(known: Collection[str], what: str, *named: str | None) -> None:
    """Raise UsageError for a name that is none of the known ones: it says which come near, and all there are."""
    for name in named:
        if name is None or name in known:
            continue
        near = difflib.get_close_matches(name, known, n=3)
        guess = f"did you mean {' or '.join(near)}? " if near else ""
        raise UsageError(f"there is no {what} {name!r}: {guess}known are {', '.join(known)}")


@cache
def _kinds(reader: Callable[..., Any]) -> dict[str, tuple[Any, ...]]:
    """The kinds that each parameter may have."""
    hints = get_type_hints(reader)
    return {name: get_args(hint) if get_origin(hint) is UnionType else (hint,) for name, hint in hints.items()}


def _fault(value: Any, kinds: Sequence[Any]) -> str:
    """What is wrong with a value that should be of one of these kinds; empty when nothing is."""
    if any(_is(value, kind) for kind in kinds):
        return NO_ZONE if isinstance(value, datetime) and value.utcoffset() is None else ""
    return f"has to be {' or '.join(_name(kind) for kind in kinds if kind is not NoneType)}"


def _is(value: Any, kind: Any) -> bool:
    if get_origin(kind) is Sequence:
        (item,) = get_args(kind)
        is_list = hasattr(value, "__len__") and hasattr(value, "__iter__") and not isinstance(value, str | bytes | dict)
        return is_list and all(_is(one, item) for one in value)
    if kind is str:
        return isinstance(value, str) and bool(value.strip())
    if kind is date:
        return isinstance(value, date) and not isinstance(value, datetime)
    if kind in (int, float):
        return isinstance(value, Integral if kind is int else Real) and not isinstance(value, bool)
    return isinstance(value, kind)


def _name(kind: Any) -> str:
    if get_origin(kind) is Sequence:
        return f"a list of {ITEMS[get_args(kind)[0]]}"
    return NAMES.get(kind, f"a {kind.__name__}")


def _shown(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 40 else f"{text[:37]}…"
