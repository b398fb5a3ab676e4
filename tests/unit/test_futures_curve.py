"""Basis, slope and changes of futures, by hand."""

import json
import math
from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest

from v6.data.futures_snapshots import FUTURES_SNAPSHOTS
from v6.derivations import futures_curve as fc
from v6.derivations.expiry_time import years_to
from v6.derivations.statistic import OK

DAY = date(2026, 11, 24)
CLOSE = datetime(2026, 11, 24, 21, 0, tzinfo=UTC)
FRONT, NEXT = date(2026, 12, 18), date(2027, 3, 19)


def snapshot(con_id: int, at: datetime, price: float | None, **more: Any) -> dict[str, Any]:
    return {
        "timestamp": at, "symbol": "ES", "con_id": con_id, "expiry": FRONT if con_id == 1 else NEXT, "date": DAY,
        "bid": None if price is None else price - 0.25, "ask": None if price is None else price + 0.25,
        "known_at": at, **more,
    }  # fmt: skip


def curve(*rows: dict[str, Any], symbol: str = "ES", index: float | None = 2640.0) -> fc.FuturesCurve:
    schema = FUTURES_SNAPSHOTS.schema
    frame = pl.DataFrame([{name: row.get(name) for name in schema} for row in rows], schema=schema, orient="row")
    found = fc.FuturesCurve.of(frame, day=DAY, symbol=symbol, index_close=index)
    assert found is not None
    return found


def test_basis_and_slope_are_of_the_last_snapshots_by_the_close() -> None:
    minute = CLOSE.replace(hour=20, minute=59)
    made = curve(
        snapshot(1, CLOSE.replace(hour=15), 2600.0),
        snapshot(1, minute, 2645.0),
        snapshot(2, minute, 2660.0),
        snapshot(1, CLOSE.replace(hour=22), 2700.0),
    )
    front, later = fc.futures_basis_by_expiry(made)
    assert (front.value, front.tenor_days, front.quality) == (5.0, 24, OK)
    assert (later.value, later.tenor_days) == (20.0, 115)
    years = years_to(FRONT, minute), years_to(NEXT, minute)
    annual = next(fc.futures_basis_annual_by_expiry(made))
    assert annual.value == pytest.approx(math.log(2645 / 2640) / years[0])
    slope = next(fc.futures_calendar_slope(made))
    assert slope.value == pytest.approx(math.log(2660 / 2645) / (years[1] - years[0]))
    assert slope.tenor_days == 115


def test_what_is_missing_is_null_with_its_reason() -> None:
    early = CLOSE.replace(hour=18)
    made = curve(snapshot(1, early, 2645.0), index=None)
    basis = next(fc.futures_basis_by_expiry(made))
    assert (basis.value, basis.quality) == (None, "there is no daily bar of SPX")
    assert next(fc.futures_calendar_slope(made)).quality == "fewer than two months have a price"
    unknown = curve(snapshot(1, early, 2645.0), symbol="CL", index=None)
    assert next(fc.futures_basis_by_expiry(unknown)).quality == "the index that CL follows is not known"
    late = curve(snapshot(1, early, 2645.0))
    assert next(fc.futures_basis_by_expiry(late)).quality == "the last snapshot is of 13:00 New York"
    priceless = curve(snapshot(1, CLOSE, None))
    assert next(fc.futures_basis_by_expiry(priceless)).quality == "the month has no price"


def test_changes_are_the_columns_of_the_front_month_or_their_reasons() -> None:
    missing = json.dumps({"change_4h": "history did not come within 2.5 s"})
    made = curve(snapshot(2, CLOSE, 2660.0, change_1h=9.0), snapshot(1, CLOSE, 2645.0, change_1h=0.01, missing=missing))
    assert next(fc.futures_change_1h(made)).value == 0.01
    four = next(fc.futures_change_4h(made))
    assert (four.value, four.quality) == (None, "history did not come within 2.5 s")
    assert next(fc.futures_change_daily(made)).quality == "the snapshot has none"
