"""A script of faults: a TOML file with a seed and one ``[[fault]]`` a fault."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from v6.simulator.fault_values import FaultError
from v6.simulator.faults import Fault, make_fault

_TABLE = re.compile(r"\s*\[\[\s*fault\s*\]\]")
_HEADER = re.compile(r"\s*\[")


class FaultScriptError(Exception):
    """A script cannot be used; the text names file and line."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FaultScript:
    """Faults in the order of the file; everything that is drawn depends on the seed."""

    seed: int = 0
    faults: tuple[Fault, ...] = ()


def load_fault_script(path: Path) -> FaultScript:
    """Read and check a whole script. Raises FaultScriptError."""
    try:
        content = path.read_text(encoding="utf-8")
    except OSError as error:
        raise FaultScriptError(f"the fault script {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise FaultScriptError(f"the fault script {path} is not UTF-8 text") from error
    return read_fault_script(content, str(path))


def read_fault_script(content: str, name: str) -> FaultScript:
    """A script from its text; ``name`` stands for the file in messages. Raises FaultScriptError."""
    try:
        written = tomllib.loads(content)
    except tomllib.TOMLDecodeError as error:
        raise FaultScriptError(f"{name}:{_located(str(error), len(content.splitlines()))}") from error
    lines = content.splitlines()
    for key in written:
        if key not in ("seed", "fault"):
            raise FaultScriptError(f"{name}:{_key_line(lines, 0, key)}: {key}: a script has seed and [[fault]] only")
    seed = written.get("seed", 0)
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise FaultScriptError(f"{name}:{_key_line(lines, 0, 'seed')}: seed: it is a whole number")
    return FaultScript(seed=seed, faults=_faults(written.get("fault", []), lines, name))


def _faults(written: Any, lines: list[str], name: str) -> tuple[Fault, ...]:
    starts = [number for number, line in enumerate(lines) if _TABLE.match(line)]
    if not isinstance(written, list) or len(starts) != len(written):
        raise FaultScriptError(f"{name}:{_key_line(lines, 0, 'fault')}: write each fault as a table [[fault]]")
    found = []
    for start, values in zip(starts, written, strict=True):
        try:
            found.append(make_fault(values))
        except FaultError as error:
            raise FaultScriptError(f"{name}:{_key_line(lines, start, error.name)}: {error}") from error
    return tuple(found)


def _key_line(lines: list[str], start: int, key: str) -> int:
    """The line, from 1, on which a table that begins at ``start`` sets a key; the table's own when it does not."""
    pattern = re.compile(rf"\s*[\"']?{re.escape(key)}[\"']?\s*=")
    for number, line in enumerate(lines[start:], start=start):
        if number > start and _HEADER.match(line):
            break
        if key and pattern.match(line):
            return number + 1
    return start + 1


def _located(message: str, last_line: int) -> str:
    """``… (at line 3, column 5)`` as ``3: …``."""
    found = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)", message)
    if found is None:
        return f" {message}"
    return f"{found.group(1) or last_line}: {message.replace(found.group(0), '')}"
