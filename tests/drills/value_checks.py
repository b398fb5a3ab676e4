"""Every stored number is what the gateway sent for it, and what it sent is there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import polars as pl
from tests.drills.lake_state import ON_THE_WAY, QUOTES, Finding, LakeState
from tests.drills.served import BAR_FIELDS, MODEL, PRICE_TICKS, SIZE_TICKS, Fetch

from v6.data.market_bars import MARKET_BARS
from v6.data.option_snapshots import OPTION_SNAPSHOTS
from v6.data.position_updates import POSITION_UPDATES

QUOTED = (*dict.fromkeys(PRICE_TICKS.values()), *dict.fromkeys(SIZE_TICKS.values()))
SIDE_BY_SIDE = 6  # requests that run at once and ask for one contract, at most

Bar = tuple[int, str, str, bool, datetime]  # contract, size, what it shows, regular hours, start


def chains(state: LakeState) -> Iterator[Finding]:
    """A chain has every contract of its plan."""
    whole = state.rows(OPTION_SNAPSHOTS).group_by("request_id").agg(pl.len(), pl.col("cycle_contracts").max())
    for request_id, there, planned in whole.iter_rows():
        if there != planned:
            yield "lost", f"chain {request_id} has {there} of {planned} contracts"


def quotes(state: LakeState) -> Iterator[Finding]:
    """Every number of a quote is the last one that was sent for the very fetch."""
    fetched = state.served.quotes()
    for spec in QUOTES:
        for row in state.rows(spec).iter_rows(named=True):
            before = [quote for quote in fetched.get(row["con_id"], ()) if quote.at <= row["timestamp"]]
            wrong = _wrong_values(row, before, state.clock.speed)
            if wrong is not None:
                yield "wrong_values", f"{spec.name}: {row['request_id']} {row['local_symbol']} {wrong}"


def _wrong_values(row: Mapping[str, Any], fetched: Sequence[Fetch], speed: float) -> str | None:
    names = [*QUOTED, *(MODEL if row.get("greeks_source") == "model" else ()), "implied_vol"]
    stored = {name: row[name] for name in names if row.get(name) is not None}
    if not stored:
        return None  # nothing came in time, and the row says so
    wrong = ["it was not asked for by then"]
    for quote in reversed(fetched[-SIDE_BY_SIDE:]):
        late = row["timestamp"] - ON_THE_WAY * speed
        wrong = [
            name for name, value in stored.items() if not _is_last_sent(quote, name, value, late, row["timestamp"])
        ]
        if not wrong:
            return None
    return f"not as sent: {', '.join(wrong)}"


def _is_last_sent(quote: Fetch, name: str, value: float, late: datetime, at: datetime) -> bool:
    """Whether it is the last value sent by then, or one before it where those after may still have been on the way."""
    sent = [(when, number) for when, number in quote.sent.get(name, ()) if when <= at]
    certain = max((index for index, (when, _) in enumerate(sent) if when <= late), default=0)
    return any(number == value for _, number in sent[certain:])


def bars(state: LakeState) -> Iterator[Finding]:
    """Every stored bar was sent, and every one that was sent for a request that succeeded is stored."""
    sent: dict[Bar, list[Mapping[str, Any]]] = defaultdict(list)
    for fetch in state.served.of_kind("bars"):
        for bar in fetch.bars:
            sent[_place(fetch, bar)].append(bar)
    stored = {_place_of_row(row): row for row in state.rows(MARKET_BARS).iter_rows(named=True)}
    for row in state.rows(MARKET_BARS).iter_rows(named=True):
        if not any(_same_bar(row, bar) for bar in sent.get(_place_of_row(row), ())):
            yield "wrong_values", f"bar {_place_of_row(row)} of {row['request_id']} was not sent so"
    for request_id, request in state.of_type("market_bars"):
        last = state.claims(request_id)[-1:]
        for fetch in state.bar_fetches(request):
            absent = [bar for bar in fetch.bars if _place(fetch, bar) not in stored]
            if absent and any(since <= fetch.at <= until for since, until in last):
                yield "lost", f"bars {request_id}: {len(absent)} of {len(fetch.bars)} are not stored"


def _place(fetch: Fetch, bar: Mapping[str, Any]) -> Bar:
    asked = fetch.asked
    return fetch.con_id, asked["bar_size"], asked["what_to_show"], asked["regular_hours"] == "1", bar["timestamp"]


def _place_of_row(row: Mapping[str, Any]) -> Bar:
    return row["con_id"], row["bar_size"], row["what_to_show"], row["regular_hours"], row["timestamp"]


def _same_bar(row: Mapping[str, Any], bar: Mapping[str, Any]) -> bool:
    return all(row[name] is None or row[name] == bar[name] for name in BAR_FIELDS)


def positions(state: LakeState) -> Iterator[Finding]:
    """Every holding is one that was sent by then."""
    for row in state.rows(POSITION_UPDATES).iter_rows(named=True):
        sent = state.served.positions.get(row["con_id"], ())
        held = row["quantity"], row["average_cost"]
        if not any(at <= row["timestamp"] and held == (quantity, cost) for at, quantity, cost in sent):
            yield "wrong_values", f"position {row['request_id']} {row['symbol']} was not sent so"
