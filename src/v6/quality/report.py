"""One examined date as what people read: a page that loads nothing from outside, and a CSV of every finding."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from html import escape
from typing import Any

import polars as pl

from v6.data.lake import Lake
from v6.data.quality_flags import QUALITY_FLAGS
from v6.data.quality_reports import QUALITY_REPORTS
from v6.quality.check import Action
from v6.quality.examine import CHECKS, Examined, examine, newest_day

STAMPED = ("request_id", "known_at")  # by the worker
SHOWN = 200  # findings of one check that the page lists; the CSV has all
CSV_COLUMNS = (
    *("date", "table_name", "symbol", "check", "action", "timestamp", "con_id", "series", "value", "detail"),
    "row_request_id",
)
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1b1f24; background: #fff;
  max-width: 72rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2rem }
table { border-collapse: collapse; margin: .6rem 0; display: block; overflow-x: auto }
th, td { text-align: left; padding: .2rem .8rem .2rem 0; border-bottom: 1px solid #d8dee4; white-space: nowrap }
td.number { text-align: right; font-variant-numeric: tabular-nums }
.quarantine { color: #a40e26 } p.note { color: #57606a }
"""


def report(lake: Lake, day: date | None, now: datetime, symbol: str = "") -> dict[str, pl.DataFrame]:
    """The rows by table of a date's quality report, or of the newest date with data; none where there is nothing.

    Of all symbols, or of one when it is given. ``now`` is clock time. Raises LakeError.
    """
    chosen = newest_day(lake, now.date(), symbol) if day is None else day
    if chosen is None:
        return {}
    examined = examine(lake, chosen, symbol)
    flags = examined.flags.select(name for name in QUALITY_FLAGS.schema if name not in STAMPED)
    return {QUALITY_REPORTS.name: _row(examined, made_at=now), QUALITY_FLAGS.name: flags}


def _row(examined: Examined, *, made_at: datetime) -> pl.DataFrame:
    values = {
        "timestamp": made_at,
        "rows_examined": int(examined.rows["rows"].sum() or 0),
        "flagged": counted(examined, Action.FLAG),
        "quarantined": counted(examined, Action.QUARANTINE),
        "html": html_of(examined, made_at=made_at),
        "csv": csv_of(examined),
        "scope": examined.symbol or None,
        "date": examined.day,
    }
    return pl.DataFrame(
        [values], schema={name: kind for name, kind in QUALITY_REPORTS.schema.items() if name in values}
    )


def html_of(examined: Examined, *, made_at: datetime) -> str:
    """The report as a page: what was looked at, what each check found, and the findings themselves."""
    title = escape(
        f"Quality of {examined.symbol} on {examined.day}" if examined.symbol else f"Quality of {examined.day}"
    )
    body = [f"<h1>{title}</h1>", _summary(examined, made_at), _looked_at(examined), _found(examined)]
    for check in CHECKS:
        rows = examined.flags.filter(pl.col("table_name") == check.table, pl.col("check") == check.name)
        if not rows.is_empty():
            body += [f"<h2>{escape(check.table)}: {escape(check.name)}</h2>", _note(check.description), _findings(rows)]
    head = f"<meta charset=utf-8><meta name=viewport content='width=device-width'><title>{title}</title>"
    return (
        f"<!doctype html><html lang=en><head>{head}<style>{STYLE}</style></head><body>{''.join(body)}</body></html>\n"
    )


def csv_of(examined: Examined) -> str:
    """Every finding, one a line, instants in ISO 8601."""
    return examined.flags.select(CSV_COLUMNS).write_csv(datetime_format="%Y-%m-%dT%H:%M:%S%.6f%:z")


def counted(examined: Examined, action: Action) -> int:
    """How many findings mean that."""
    return int((examined.flags["action"] == str(action)).sum())


def _summary(examined: Examined, made_at: datetime) -> str:
    rows = int(examined.rows["rows"].sum() or 0)
    doubts = f"{counted(examined, Action.QUARANTINE):,} quarantined, {counted(examined, Action.FLAG):,} flagged"
    return f"<p>{rows:,} rows examined: {doubts}. Made {made_at:%Y-%m-%d %H:%M} UTC.</p>"


def _looked_at(examined: Examined) -> str:
    return f"<h2>What was examined</h2>{_table(['table', 'symbol', 'rows'], examined.rows.rows())}"


def _found(examined: Examined) -> str:
    if examined.flags.is_empty():
        return "<h2>What was found</h2><p>Nothing to doubt.</p>"
    groups = examined.flags.group_by("table_name", "check", "action", "symbol").len()
    ordered = groups.sort("action", "table_name", "check", "symbol", descending=[True, False, False, False])
    return "<h2>What was found</h2>" + _table(["table", "check", "action", "symbol", "findings"], ordered.rows())


def _findings(rows: pl.DataFrame) -> str:
    shown = rows.head(SHOWN).select("symbol", "timestamp", "con_id", "series", "detail")
    more = rows.height - shown.height
    note = _note(f"… and {more:,} more in the CSV.") if more else ""
    return _table(["symbol", "time (UTC)", "contract", "series", "what"], shown.rows()) + note


def _note(text: str) -> str:
    return f"<p class=note>{escape(text)}</p>"


def _table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    head = "".join(f"<th scope=col>{escape(text)}</th>" for text in heads)
    lines = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>"


def _cell(value: Any) -> str:
    if value is None:
        return "<td></td>"
    if isinstance(value, int):
        return f"<td class=number>{value:,}</td>"
    if isinstance(value, datetime):
        return f"<td>{value:%Y-%m-%d %H:%M:%S}</td>"
    mark = " class=quarantine" if value == str(Action.QUARANTINE) else ""
    return f"<td{mark}>{escape(str(value))}</td>"
