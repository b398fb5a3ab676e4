"""What one look found: a verdict, what was seen, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How good it is."""

    OK = "ok"
    WARNING = "warning"  # it works, or will not for much longer
    PROBLEM = "problem"  # nothing arrives while it is so
    SKIPPED = "skipped"  # it could not be looked at because of an earlier problem


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One line of the answer. ``advice`` says what to do, empty where there is nothing to do."""

    check: str
    verdict: Verdict
    seen: str
    advice: str = ""


def ok(check: str, seen: str) -> Finding:
    """All is well."""
    return Finding(check=check, verdict=Verdict.OK, seen=seen)


def warning(check: str, seen: str, advice: str) -> Finding:
    """It works, for now."""
    return Finding(check=check, verdict=Verdict.WARNING, seen=seen, advice=advice)


def problem(check: str, seen: str, advice: str) -> Finding:
    """It does not work."""
    return Finding(check=check, verdict=Verdict.PROBLEM, seen=seen, advice=advice)


def skipped(check: str, why: str) -> Finding:
    """It could not be looked at."""
    return Finding(check=check, verdict=Verdict.SKIPPED, seen=why)
