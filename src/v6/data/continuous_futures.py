"""A continuous series of a future, derived at reading from the single months that ``market_bars`` keeps.

The rule is data: when to roll, and how the older months are put on the level of the newest. Nothing derived is stored,
so another rule is another question, never another load.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Self

import polars as pl

from v6.data.futures_snapshots import FuturesSnapshotsTable
from v6.data.lake import Lake
from v6.data.market_bars import MarketBarsTable
from v6.errors import RequestError

PRICES = ("open", "high", "low", "close", "wap")
SYNTAX = "write volume, open_interest or days:N, then /none, /ratio or /difference, for example volume/ratio"


class RollWhen(StrEnum):
    """What decides that the next month takes over."""

    VOLUME = "volume"
    OPEN_INTEREST = "open_interest"
    DAYS = "days"


class Adjustment(StrEnum):
    """How months before a roll are put on the level of the month after it."""

    NONE = "none"
    RATIO = "ratio"
    DIFFERENCE = "difference"


@dataclass(frozen=True, kw_only=True, slots=True)
class RollRule:
    """When a series rolls and how it is adjusted; ``days`` are calendar days before the last trading day.

    A session's volume or open interest decides for the session after it, so the series uses nothing that was not known;
    it never rolls back. Whatever the rule, a month is left at the latest after its last trading day.
    """

    when: RollWhen = RollWhen.VOLUME
    days: int = 0
    adjustment: Adjustment = Adjustment.RATIO

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``volume/ratio``, ``open_interest/none``, ``days:8/difference``. Raises RequestError."""
        when_text, _, adjustment = text.partition("/")
        name, _, days = when_text.partition(":")
        is_known = name in set(RollWhen) and (adjustment or "none") in set(Adjustment)
        if not is_known or (name == RollWhen.DAYS) != days.isdigit():
            raise RequestError(f"roll rule {text!r} cannot be read: {SYNTAX}")
        return cls(when=RollWhen(name), days=int(days or 0), adjustment=Adjustment(adjustment or Adjustment.RATIO))

    def __str__(self) -> str:
        days = f":{self.days}" if self.when is RollWhen.DAYS else ""
        return f"{self.when}{days}/{self.adjustment}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Roll:
    """From the trading date ``rolled_on`` on, another month.

    Closes are those of ``priced_on``, the last session before it on which both months traded; None without one.
    """

    rolled_on: date
    from_con_id: int
    from_expiry: date
    to_con_id: int
    to_expiry: date
    priced_on: date | None
    from_close: float | None
    to_close: float | None

    @property
    def ratio(self) -> float | None:
        """Close of the new month over that of the old."""
        if self.from_close is None or self.to_close is None or self.from_close == 0:
            return None
        return self.to_close / self.from_close

    @property
    def difference(self) -> float | None:
        """Close of the new month less that of the old."""
        return None if self.from_close is None or self.to_close is None else self.to_close - self.from_close


@dataclass(frozen=True, kw_only=True, slots=True)
class _Month:
    con_id: int
    expiry: date


class ContinuousFutures:
    """Reads single months of a lake as one series."""

    def __init__(self, lake: Lake) -> None:
        self._bars = MarketBarsTable(lake)
        self._snapshots = FuturesSnapshotsTable(lake)

    def rolls(
        self, symbol: str, rule: RollRule, *, bar_size: str = "1 day", as_of: datetime | None = None
    ) -> list[Roll]:
        """Every roll of the series, oldest first; decided from the bars of that size, TRADES, finished ones."""
        return list(self._segments(symbol, rule, bar_size, as_of).rolls)

    def bars(
        self,
        symbol: str,
        rule: RollRule,
        *,
        bar_size: str = "1 day",
        start: datetime | None = None,
        end: datetime | None = None,
        as_of: datetime | None = None,
    ) -> pl.LazyFrame:
        """The series: bars of the month in force on each trading date, in time order.

        Prices are adjusted by the rule, volume never; ``con_id`` and ``expiry`` say whose bar it is, ``factor`` and
        ``offset`` what was done to it (adjusted = price * factor + offset). Empty where no bars are
        stored. ``as_of`` is machine time.

        Raises:
            RequestError: the rule adjusts, and at some roll the two months share no session.
        """
        segments = self._segments(symbol, rule, bar_size, as_of)
        levels = segments.levels(rule)
        bars = self._single_months(symbol, bar_size, as_of, start, end)
        chosen = bars.join(levels.lazy(), on=["con_id", "date"], how="inner")
        adjusted = [(pl.col(name) * pl.col("factor") + pl.col("offset")).alias(name) for name in PRICES]
        return chosen.with_columns(adjusted).sort("timestamp")

    def _single_months(
        self,
        symbol: str,
        bar_size: str,
        as_of: datetime | None,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> pl.LazyFrame:
        return self._bars.current(
            symbol=symbol, sec_type="FUT", bar_size=bar_size, what_to_show="TRADES", final=True,
            start=start, end=end, as_of=as_of,
        )  # fmt: skip

    def _segments(self, symbol: str, rule: RollRule, bar_size: str, as_of: datetime | None) -> _Segments:
        sessions = (
            self._single_months(symbol, bar_size, as_of)
            .filter(pl.col("expiry").is_not_null())
            .sort("timestamp")
            .group_by("date", "con_id", "expiry")
            .agg(pl.col("close").last(), pl.col("volume").sum())
            .collect()
        )
        weights = sessions.select("date", "con_id", weight=pl.col("volume").fill_null(0.0))
        if rule.when is RollWhen.OPEN_INTEREST:
            weights = self._open_interest(symbol, as_of)
        return _Segments.of(sessions, weights, rule)

    def _open_interest(self, symbol: str, as_of: datetime | None) -> pl.DataFrame:
        """The last open interest of each trading date, from the snapshots: bars have none."""
        rows = self._snapshots.scan() if as_of is None else self._snapshots.as_of(as_of)
        known = rows.filter(pl.col("symbol") == symbol, pl.col("open_interest").is_not_null())
        return known.sort("timestamp").group_by("date", "con_id").agg(weight=pl.col("open_interest").last()).collect()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Segments:
    """Which month is in force on each trading date, and the rolls between."""

    in_force: Mapping[date, _Month]
    rolls: Sequence[Roll]

    @classmethod
    def of(cls, sessions: pl.DataFrame, weights: pl.DataFrame, rule: RollRule) -> Self:
        closes = {(day, con_id): close for day, con_id, close in sessions.select("date", "con_id", "close").iter_rows()}
        decider = _Decider(
            rule=rule,
            months=_months(sessions),
            traded=frozenset(closes),
            weights={(day, con_id): weight for day, con_id, weight in weights.iter_rows()},
        )
        days = sorted({day for day, _ in closes})
        in_force: dict[date, _Month] = {}
        rolls: list[Roll] = []
        previous: date | None = None
        for day in days:
            now = in_force[previous] if previous is not None else None
            chosen = decider.month_on(day, previous, now)
            if chosen is None:
                continue
            if now is not None and chosen != now:
                rolls.append(_roll(day, now, chosen, closes, [d for d in days if d < day]))
            in_force[day], previous = chosen, day
        return cls(in_force=in_force, rolls=rolls)

    def levels(self, rule: RollRule) -> pl.DataFrame:
        """Month, factor and offset of every trading date; the newest month stands as it is."""
        schema = {"date": pl.Date, "con_id": pl.Int64, "factor": pl.Float64, "offset": pl.Float64}
        rows = []
        later = list(self.rolls)
        factor, offset = 1.0, 0.0
        for day in sorted(self.in_force, reverse=True):
            while later and day < later[-1].rolled_on:
                factor, offset = _stepped(later.pop(), rule, factor, offset)
            rows.append((day, self.in_force[day].con_id, factor, offset))
        return pl.DataFrame(rows, schema=schema, orient="row")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Decider:
    rule: RollRule
    months: Sequence[_Month]  # by expiry
    traded: frozenset[tuple[date, int]]
    weights: Mapping[tuple[date, int], float]

    def month_on(self, day: date, previous: date | None, now: _Month | None) -> _Month | None:
        """The month in force on a trading date, given the one before; None where none can be."""
        if now is None:
            return next(self._candidates(day, date.min), None)
        if day > now.expiry:
            return next(self._candidates(day, now.expiry), None)
        later = list(self._candidates(day, now.expiry))
        return self._preferred(day, previous, now, later)

    def _candidates(self, day: date, after: date) -> Iterator[_Month]:
        """Months that traded on the day, of a later expiry, nearest first; by days only those that would stay."""
        for month in self.months:
            too_near = self.rule.when is RollWhen.DAYS and day >= month.expiry - timedelta(days=self.rule.days)
            if month.expiry > after and month.expiry >= day and (day, month.con_id) in self.traded and not too_near:
                yield month

    def _preferred(self, day: date, previous: date | None, now: _Month, later: Sequence[_Month]) -> _Month:
        if not later:
            return now
        if self.rule.when is RollWhen.DAYS:
            return later[0] if day >= now.expiry - timedelta(days=self.rule.days) else now
        heaviest = max(later, key=lambda month: self._weight(previous, month))
        return heaviest if self._weight(previous, heaviest) > self._weight(previous, now) else now

    def _weight(self, day: date | None, month: _Month) -> float:
        return -1.0 if day is None else self.weights.get((day, month.con_id), -1.0)


def _months(sessions: pl.DataFrame) -> list[_Month]:
    found = sessions.select("con_id", "expiry").unique().sort("expiry", "con_id")
    return [_Month(con_id=con_id, expiry=expiry) for con_id, expiry in found.iter_rows()]


def _roll(
    day: date, old: _Month, new: _Month, closes: Mapping[tuple[date, int], float], earlier: Sequence[date]
) -> Roll:
    both = (d for d in reversed(earlier) if (d, old.con_id) in closes and (d, new.con_id) in closes)
    priced_on = next(both, None)
    return Roll(
        rolled_on=day,
        from_con_id=old.con_id,
        from_expiry=old.expiry,
        to_con_id=new.con_id,
        to_expiry=new.expiry,
        priced_on=priced_on,
        from_close=None if priced_on is None else closes[priced_on, old.con_id],
        to_close=None if priced_on is None else closes[priced_on, new.con_id],
    )


def _stepped(roll: Roll, rule: RollRule, factor: float, offset: float) -> tuple[float, float]:
    """What brings prices from before a roll to the newest level, given what does it for those after."""
    if rule.adjustment is Adjustment.NONE:
        return factor, offset
    step = roll.ratio if rule.adjustment is Adjustment.RATIO else roll.difference
    if step is None:
        raise RequestError(
            f"the roll of {roll.rolled_on} from expiry {roll.from_expiry} to {roll.to_expiry} cannot be adjusted: "
            "no stored session has both months; load more of the later one, or use adjustment none"
        )
    return (factor * step, offset) if rule.adjustment is Adjustment.RATIO else (factor, offset + step)
