"""Every statistic with formula, unit, source, ties and nulls, as Markdown, from the docstrings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from v6.derivations.catalogue import all_statistics
from v6.derivations.statistic import SECTIONS, Statistic


def describe_statistics() -> str:
    """A section for each family, an entry for each statistic."""
    return "\n\n".join(_family(name, statistics) for name, statistics in all_statistics().items())


def _family(name: str, statistics: Sequence[Statistic[Any]]) -> str:
    return "\n\n".join([f"## {name}", *(_entry(statistic) for statistic in statistics)])


def _entry(statistic: Statistic[Any]) -> str:
    lines = [f"### {statistic.name}", "", statistic.summary, "", "| | |", "|---|---|", f"| unit | {statistic.unit} |"]
    lines += [f"| {name.lower()} | {statistic.section(name).replace('|', chr(92) + '|')} |" for name in SECTIONS]
    return "\n".join(lines)
