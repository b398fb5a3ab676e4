"""The futures of one product on a date: basis to the index, slope between months, changes."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Self

import polars as pl

from v6.derivations.expiry_time import CLOSE, NEW_YORK, years_to
from v6.derivations.sound import is_price
from v6.derivations.statistic import OK, Statistic, Value

# The index that a future follows, as IB names both.
INDEX_OF = {
    "ES": "SPX", "MES": "SPX", "NQ": "NDX", "MNQ": "NDX", "RTY": "RUT", "M2K": "RUT", "YM": "INDU", "MYM": "INDU",
}  # fmt: skip
LONGEST_WAIT_MINUTES = 20  # between a month's last snapshot and the close: beyond, its price is another time's


@dataclass(frozen=True, kw_only=True, slots=True)
class Month:
    """One month as of its last snapshot by the close; price (the mid, else the last trade) in index points or None."""

    expiry: date
    day: date
    at: datetime
    price: float | None
    changes: dict[str, float | None]
    missing: dict[str, str]

    @classmethod
    def of_row(cls, row: dict[str, Any]) -> Self:
        """From a row of futures_snapshots."""
        bid, ask, last = row["bid"], row["ask"], row["last"]
        mid = (bid + ask) / 2 if is_price(bid) and is_price(ask) and bid <= ask else None
        traded = last if is_price(last) else None
        return cls(
            expiry=row["expiry"],
            day=row["date"],
            at=row["timestamp"],
            price=traded if mid is None else mid,
            changes={name: row[name] for name in CHANGES},
            missing=_reasons(row["missing"]),
        )

    @property
    def days(self) -> int:
        """Calendar days from the trading date to the expiry."""
        return (self.expiry - self.day).days

    @property
    def years(self) -> float:
        """To 16:00 New York of the last trading day, from the snapshot."""
        return years_to(self.expiry, self.at)

    @property
    def doubt(self) -> str:
        """That the snapshot is not of the close."""
        close = datetime.combine(self.day, CLOSE, NEW_YORK)
        minutes = (close - self.at).total_seconds() / 60
        local = self.at.astimezone(NEW_YORK)
        return f"the last snapshot is of {local:%H:%M} New York" if abs(minutes) > LONGEST_WAIT_MINUTES else OK


def _reasons(text: str | None) -> dict[str, str]:
    """By column why it is null; nothing where the source wrote no such object."""
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


CHANGES = ("change_1h", "change_4h", "change_overnight", "change_daily")


@dataclass(frozen=True, kw_only=True, slots=True)
class FuturesCurve:
    """A product's months on a date, nearest first, and the close of its index; None with the reason in ``why``."""

    months: tuple[Month, ...]
    index: float | None
    why: str

    @classmethod
    def of(cls, rows: pl.DataFrame, *, day: date, symbol: str, index_close: float | None) -> Self | None:
        """From the rows of futures_snapshots of a product and date; None without any."""
        close = datetime.combine(day, CLOSE, NEW_YORK).astimezone(UTC)
        by_close = rows.filter(pl.col("timestamp") <= close)
        used = by_close if by_close.height else rows
        used = used.filter(pl.col("expiry") >= day, pl.col("timestamp").is_not_null())
        last = used.sort("timestamp", "known_at").unique("con_id", keep="last", maintain_order=True).sort("expiry")
        if last.is_empty():
            return None
        months = tuple(Month.of_row(row) for row in last.iter_rows(named=True))
        index = INDEX_OF.get(symbol)
        why = f"there is no daily bar of {index}" if index else f"the index that {symbol} follows is not known"
        return cls(months=months, index=index_close, why=why)

    @property
    def at(self) -> datetime:
        """The newest snapshot that counts."""
        return max(month.at for month in self.months)


def futures_basis_by_expiry(curve: FuturesCurve) -> Iterator[Value]:
    """How much higher each month trades than its index at the close, in index points.

    Formula: F - I, F the mid (else the last trade) of the month's last snapshot by 16:00 New York, I the close of the
    index (ES: SPX, NQ: NDX, RTY: RUT, YM: INDU).
    Source: the definition.
    Ties: none arise.
    Null: the date has no daily bar of the index, or the month has no price.
    """
    for month in curve.months:
        yield _against_index(curve, month, lambda price, index, _: price - index)


def futures_basis_annual_by_expiry(curve: FuturesCurve) -> Iterator[Value]:
    """The yearly carry that each month implies: rate less dividends.

    Formula: ln(F / I) / T, T calendar time to 16:00 New York of the last trading day; F and I as for
    futures_basis_by_expiry.
    Source: Hull, ch. 5.
    Ties: none arise.
    Null: the date has no daily bar of the index, or the month has no price.
    """
    for month in curve.months:
        yield _against_index(curve, month, lambda price, index, years: math.log(price / index) / years)


def _against_index(curve: FuturesCurve, month: Month, formula: Any) -> Value:
    price, index = month.price, curve.index
    if price is None or index is None or not is_price(index):
        quality = "the month has no price" if is_price(index) else curve.why
        return Value(value=None, observations=0, quality=quality, tenor_days=month.days)
    value = float(formula(price, index, month.years))
    return Value(value=value, observations=2, quality=month.doubt, tenor_days=month.days)


def futures_calendar_slope(curve: FuturesCurve) -> Iterator[Value]:
    """The yearly carry between the two nearest months; above 0 the later one is dearer.

    Formula: ln(F_2 / F_1) / (T_2 - T_1).
    Source: Hull, ch. 5.
    Ties: none arise.
    Null: fewer than two months have a price.
    """
    priced = [(month, month.price) for month in curve.months if month.price is not None]
    later = [(month, price) for month, price in priced if month.years > priced[0][0].years]
    if not later:
        yield Value(value=None, observations=len(priced), quality="fewer than two months have a price")
        return
    (first, first_price), (second, second_price) = priced[0], later[0]
    value = math.log(second_price / first_price) / (second.years - first.years)
    yield Value(value=value, observations=2, quality=first.doubt, tenor_days=second.days)


def _change(curve: FuturesCurve, name: str) -> Iterator[Value]:
    front = curve.months[0]
    change = front.changes[name]
    value = change if change is not None and math.isfinite(change) else None
    quality = front.missing.get(name, "the snapshot has none") if value is None else front.doubt
    yield Value(value=value, observations=0 if value is None else 2, quality=quality, tenor_days=front.days)


def futures_change_1h(curve: FuturesCurve) -> Iterator[Value]:
    """How far the front month has moved in an hour at its last snapshot by 16:00 New York.

    Formula: P_t / P_{t - 1 h} - 1, the column change_1h of that snapshot: the last trade against the close of the
    five-minute bar that ended then, or before a rest.
    Source: the definition.
    Ties: none arise.
    Null: the column is, and quality is its reason.
    """
    return _change(curve, "change_1h")


def futures_change_4h(curve: FuturesCurve) -> Iterator[Value]:
    """How far the front month has moved in four hours at its last snapshot by 16:00 New York.

    Formula: P_t / P_{t - 4 h} - 1, the column change_4h of that snapshot.
    Source: the definition.
    Ties: none arise.
    Null: the column is, and quality is its reason.
    """
    return _change(curve, "change_4h")


def futures_change_overnight(curve: FuturesCurve) -> Iterator[Value]:
    """How far the front month has moved since the last regular close at its last snapshot by 16:00 New York.

    Formula: P_t / P_{regular close} - 1, the column change_overnight of that snapshot.
    Source: the definition.
    Ties: none arise.
    Null: the column is, and quality is its reason.
    """
    return _change(curve, "change_overnight")


def futures_change_daily(curve: FuturesCurve) -> Iterator[Value]:
    """How far the front month has moved since the session before at its last snapshot by 16:00 New York.

    Formula: P_t / C - 1, C the previous session's close; the column change_daily of that snapshot.
    Source: the definition.
    Ties: none arise.
    Null: the column is, and quality is its reason.
    """
    return _change(curve, "change_daily")


STATISTICS = (
    Statistic(name="futures_basis_by_expiry", unit="index points", compute=futures_basis_by_expiry),
    Statistic(name="futures_basis_annual_by_expiry", unit="1/year", compute=futures_basis_annual_by_expiry),
    Statistic(name="futures_calendar_slope", unit="1/year", compute=futures_calendar_slope),
    Statistic(name="futures_change_1h", unit="1", compute=futures_change_1h),
    Statistic(name="futures_change_4h", unit="1", compute=futures_change_4h),
    Statistic(name="futures_change_overnight", unit="1", compute=futures_change_overnight),
    Statistic(name="futures_change_daily", unit="1", compute=futures_change_daily),
)
