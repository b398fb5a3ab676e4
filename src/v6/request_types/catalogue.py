"""Every request type there is: the modules of this package, and what other packages add by an entry point.

A new type is one new file here. Requests are checked against the catalogue before they are inserted.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import json
import pkgutil
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Self

from pydantic import ValidationError

import v6.request_types as package
from v6.data.ib_request import NewRequest
from v6.errors import RequestError, SettingsError
from v6.request_types.base import Parameters, RequestType

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

ENTRY_POINT_GROUP = "v6.request_types"
PRIORITIES = (1, 2, 3)
SHOWN_LENGTH = 80  # characters of a wrong value that an error shows
_SYMBOL = re.compile(r"[A-Z0-9](?:[A-Z0-9. -]{0,28}[A-Z0-9.])?")


class Catalogue:
    """The request types by name."""

    def __init__(self, types: Mapping[str, RequestType[Any]]) -> None:
        self._types = dict(types)

    @classmethod
    def load(cls) -> Self:
        """The types of this package and of the installed entry points.

        Raises:
            SettingsError: an installed type cannot be loaded, or two have one name.
        """
        types: dict[str, RequestType[Any]] = {}
        for kind in [*_built_in(), *_added()]:
            if kind.name in types:
                raise SettingsError(f"two request types are named {kind.name}: remove one of the packages")
            types[kind.name] = kind()
        return cls(types)

    def names(self) -> list[str]:
        """The names of all types, sorted."""
        return sorted(self._types)

    def types(self) -> list[RequestType[Any]]:
        """All types by name."""
        return [self._types[name] for name in self.names()]

    def get(self, name: str) -> RequestType[Any]:
        """A type by name. Raises RequestError with the names there are and a guess at the one that was meant."""
        kind = self._types.get(name)
        if kind is None:
            near = difflib.get_close_matches(name, self._types, n=1)
            guess = f" Did you mean {near[0]}?" if near else ""
            raise RequestError(f"request_type {name!r} is not known: it is one of {', '.join(self.names())}.{guess}")
        return kind

    def parse(self, request_type: str, parameters: Mapping[str, Any]) -> Parameters:
        """A type's validated parameters. Raises RequestError that names the field."""
        return _parse(self.get(request_type), parameters)

    def check(self, new: NewRequest) -> NewRequest:
        """The request with its type's defaults filled in.

        Raises:
            RequestError: the type is not known or a field is wrong; the text names the field.
        """
        kind = self.get(new.request_type)
        _check_symbol(kind, new.symbol)
        _parse(kind, new.parameters)
        priority = kind.default_priority if new.priority is None else _checked_priority(new.priority)
        if new.result_table not in (None, "", kind.result_table):
            raise RequestError(
                f"result_table {new.result_table!r} is not where {kind.name} writes: leave it out or say "
                f"{kind.result_table}"
            )
        return replace(new, priority=priority, result_table=kind.result_table)


def check_request(new: NewRequest) -> NewRequest:
    """Check a request against the installed catalogue: what the queue does by default at every insert."""
    return _installed().check(new)


@cache
def _installed() -> Catalogue:
    return Catalogue.load()


def _built_in() -> Iterator[type[RequestType[Any]]]:
    for module in sorted(pkgutil.iter_modules(package.__path__), key=lambda found: found.name):
        name = f"{package.__name__}.{module.name}"
        for _, kind in inspect.getmembers(importlib.import_module(name), inspect.isclass):
            if issubclass(kind, RequestType) and kind.__module__ == name and not inspect.isabstract(kind):
                yield kind


def _added() -> Iterator[type[RequestType[Any]]]:
    for point in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda found: found.name):
        try:
            kind = point.load()
        except Exception as error:
            raise SettingsError(f"request type {point.name} ({point.value}) cannot be loaded: {error}") from error
        if not (inspect.isclass(kind) and issubclass(kind, RequestType)):
            raise SettingsError(f"request type {point.name} ({point.value}) is not a subclass of RequestType")
        yield kind


def _check_symbol(kind: RequestType[Any], symbol: object) -> None:
    if not isinstance(symbol, str):
        raise RequestError(f"symbol must be text, not {symbol!r}")
    if symbol == "":
        if kind.symbol_optional:
            return
        raise RequestError(f"symbol is missing: {kind.name} needs one, for example SPY")
    if _SYMBOL.fullmatch(symbol) is None:
        wanted = symbol.strip().upper()
        allowed = "at most 30 letters A-Z, digits, dots, spaces and hyphens"
        hint = f"write {wanted}" if _SYMBOL.fullmatch(wanted) else allowed
        raise RequestError(f"symbol {_short(symbol)} is not one IB knows: {hint}")


def _checked_priority(priority: object) -> int:
    if isinstance(priority, bool) or not isinstance(priority, int) or priority not in PRIORITIES:
        raise RequestError(f"priority must be 1 (immediate), 2 (normal) or 3 (background), not {priority!r}")
    return int(priority)


def _parse(kind: RequestType[Any], parameters: object) -> Parameters:
    if not isinstance(parameters, Mapping):
        raise RequestError(f"parameters must be an object, not {parameters!r}")
    try:
        # The text is what the queue stores and what the worker reads back: dates are ISO text in it.
        text = json.dumps(dict(parameters), allow_nan=False)
        parsed: Parameters = kind.parameters.model_validate_json(text)
    except ValidationError as error:
        raise RequestError(_explained(kind, error)) from error
    except (TypeError, ValueError, RecursionError) as error:
        raise RequestError(f"parameters are not JSON: {error}") from error
    return parsed


def _explained(kind: RequestType[Any], error: ValidationError) -> str:
    texts = []
    for found in error.errors(include_url=False):
        path = ".".join(str(part) for part in ("parameters", *found["loc"]))
        if found["type"] == "extra_forbidden":
            texts.append(f"{path} is unknown: {kind.name} has {', '.join(kind.parameters.model_fields) or 'none'}")
        else:
            texts.append(f"{path}: {_reason(found)}")
    return "; ".join(texts)


def _reason(found: ErrorDetails) -> str:
    """What is wrong with one value, which is named unless the reason names it."""
    if found["type"].startswith(("datetime", "timezone")):
        return f"write an instant with its zone, such as 2026-11-23T17:30:00Z, not {_short(found['input'])}"
    reason = found["msg"].removeprefix("Value error, ")
    names_it = not found["loc"] or ", not " in reason or _short(found["input"]) in reason
    return reason if names_it else f"{reason}, not {_short(found['input'])}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN_LENGTH else f"{text[:SHOWN_LENGTH]}…"
