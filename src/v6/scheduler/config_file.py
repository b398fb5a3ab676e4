"""The sections of ``v6.toml`` that are the scheduler's, with the line on which each entry and key stands.

tomllib tells no lines, so the text is looked at once more; an entry written in an unusual way gets its section's line.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from v6.errors import SettingsError

_HEADER = re.compile(r"\s*\[\[?\s*([A-Za-z0-9_.\-\"]+)\s*\]\]?")
_KEY = re.compile(r"\s*\"?([A-Za-z0-9_-]+)\"?\s*[.=]")
_QUOTES = ('"""', "'''")


@dataclass(frozen=True, kw_only=True)
class ConfigFile:
    """One file: its values, and where they stand."""

    path: str
    values: Mapping[str, Any]
    lines: Sequence[str] = ()

    @classmethod
    def read(cls, path: Path | None) -> ConfigFile:
        """The file's content; nothing where there is no file. Raises SettingsError when it is not TOML."""
        if path is None:
            return cls(path="v6.toml", values={})
        try:
            return cls.parse(path.read_text(encoding="utf-8"), str(path))
        except OSError as error:
            raise SettingsError(f"the settings file {path} cannot be read: {error.strerror}") from error

    @classmethod
    def parse(cls, text: str, path: str) -> ConfigFile:
        """The content of a text. Raises SettingsError when it is not TOML."""
        try:
            values = tomllib.loads(text)
        except ValueError as error:
            raise SettingsError(f"the settings file {path} is not TOML: {error}") from error
        return cls(path=path, values=values, lines=text.splitlines())

    def entries(self, section: str) -> list[Mapping[str, Any]]:
        """The tables of an array ``[[section]]``. Raises SettingsError when it is something else."""
        found = self.values.get(section, [])
        if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
            raise SettingsError(f"{self.place(section)}: {section} must be tables: write [[{section}]] above each")
        return found

    def table(self, section: str) -> Mapping[str, Any]:
        """The table ``[section]``. Raises SettingsError when it is something else."""
        found = self.values.get(section, {})
        if not isinstance(found, dict):
            raise SettingsError(f"{self.place(section)}: {section} must be a table: write [{section}] above it")
        return found

    def place(self, section: str, index: int = 0, key: str | None = None) -> str:
        """``file:line`` of a key in the section's entry of that number, else of the entry, else of the section."""
        headers = [number for number, name in self._headers() if name == section]
        if not headers:
            inline = [n for n, line in enumerate(self.lines) if (m := _KEY.match(line)) and m[1] == section]
            return f"{self.path}:{inline[0] + 1}" if inline else self.path
        first = headers[min(index, len(headers) - 1)]
        following = [number for number, _ in self._headers() if number > first]
        last = following[0] if following else len(self.lines)
        for number in range(first + 1, last):
            found = _KEY.match(self.lines[number])
            if key is not None and found is not None and found[1] == key:
                return f"{self.path}:{number + 1}"
        return f"{self.path}:{first + 1}"

    def _headers(self) -> list[tuple[int, str]]:
        found, inside = [], ""
        for number, line in enumerate(self.lines):
            header = None if inside else _HEADER.match(line)
            if header is not None:
                found.append((number, header[1].strip('"')))
            for quote in _QUOTES:
                if line.count(quote) % 2 and inside in ("", quote):
                    inside = "" if inside else quote
        return found


def complaints(error: ValidationError, config: ConfigFile, section: str, index: int = 0) -> list[str]:
    """What pydantic found wrong with an entry, each with its place."""
    found = []
    for problem in error.errors(include_url=False):
        key = str(problem["loc"][0]) if problem["loc"] else None
        reason = problem["msg"].removeprefix("Value error, ").replace("\n", " ")
        if problem["type"] == "extra_forbidden":
            reason = "there is no such key"
        text = f"{reason[:1].lower()}{reason[1:]}"
        found.append(f"{config.place(section, index, key)}: {f'{key}: ' if key else ''}{text}")
    return found


def refusal_of(read: Callable[[], object]) -> str | None:
    """What a reader of the file has to say against it, None where nothing is wrong."""
    try:
        read()
    except SettingsError as error:
        return str(error)
    return None
