"""One symbol's chain on a trading date, by expiry, as arrays by strike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import cached_property
from typing import Self, cast

import numpy as np
import numpy.typing as npt
import polars as pl

from v6.derivations.estimate import ROUNDING
from v6.derivations.expiry_time import CLOSE, NEW_YORK, years_to
from v6.derivations.forward import Forward, fit_forward
from v6.derivations.quote_steps import QuoteSteps
from v6.derivations.smile import Smile, fit_smile
from v6.derivations.smile_prices import SmilePrices, smile_prices
from v6.derivations.sound import sound_rows
from v6.derivations.statistic import joined

LEAST_YEARS = 1 / 365  # an expiry within a day has no smile: its options are worth their intrinsic value
UNUSABLE_SHARE = 0.02  # of quotes missing or crossed that every chain has
DEFAULT_RATE = 0.04  # a year, where no expiry's parity tells one
RATE_YEARS = 21 / 365  # expiries from here on tell the rate of nearer ones

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
CHEAP = 0.05  # in currency: what is asked for an option that nobody bids for
TWO_SIDED = (pl.col("bid") > 0) & (pl.col("ask") >= pl.col("bid")) & pl.col("ask").is_finite()
FIELDS = ("bid", "ask", "volume", "open_interest", "underlying_price", "multiplier")


@dataclass(frozen=True, kw_only=True)
class Side:
    """The calls or the puts of an expiry, by strike; NaN where nothing came. ``steps`` are those of the quotes."""

    bid: Floats
    ask: Floats
    volume: Floats
    open_interest: Floats
    underlying_price: Floats
    multiplier: Floats
    steps: QuoteSteps

    @cached_property
    def is_crossed(self) -> Bools:
        """Where the bid is above the ask."""
        crossed: Bools = self.bid > self.ask
        return crossed

    @cached_property
    def is_missing(self) -> Bools:
        """Where a side lacks; a cheap ask alone is an option that nobody bids for."""
        lacks: Bools = ~(np.isfinite(self.ask) & (np.isfinite(self.bid) | self.has_no_bid))
        return lacks

    @cached_property
    def has_no_bid(self) -> Bools:
        """Where the bid is zero, or the gateway sent none beside an ask of a few cents."""
        nobody: Bools = (self.bid == 0) | (~np.isfinite(self.bid) & (self.ask <= CHEAP))
        return nobody

    @cached_property
    def is_usable(self) -> Bools:
        """Where there is a bid above zero and an ask that is not below it."""
        usable: Bools = (self.bid > 0) & (self.ask >= self.bid) & np.isfinite(self.ask)
        return usable

    def spot(self, otherwise: float) -> Floats:
        """The underlying's price when each quote came; another where it is not known."""
        return np.where(self.underlying_price > 0, self.underlying_price, otherwise)

    @cached_property
    def mid(self) -> Floats:
        """Half way between bid and ask where both can be used, else NaN."""
        return np.where(self.is_usable, (self.bid + self.ask) / 2, np.nan)

    @cached_property
    def step(self) -> Floats:
        """What the quotes of each strike are rounded to, in currency."""
        return self.steps.at(self.ask)

    @cached_property
    def doubt(self) -> Floats:
        """How far the price may lie from the mid: half the spread, and half a step of rounding."""
        doubt: Floats = (self.ask - self.bid + self.step) / 2
        return doubt

    @cached_property
    def rounding(self) -> Floats:
        """Standard deviation that rounding alone gives a mid."""
        return ROUNDING * self.step

    @cached_property
    def is_least(self) -> Bools:
        """Where the quote is the least there can be: one step bid and two asked."""
        least: Bools = self.is_least_bid & (self.ask < 2.5 * self.step)
        return least

    @cached_property
    def is_least_bid(self) -> Bools:
        """Where no more than one step is bid."""
        least: Bools = self.bid < 1.5 * self.step
        return least


@dataclass(frozen=True, kw_only=True)
class ExpiryQuotes:
    """One expiry's options of one trading class, by strike ascending. Prices in currency, ``days`` in calendar days."""

    expiry: date
    day: date
    at: datetime
    strikes: Floats
    calls: Side
    puts: Side
    usual_rate: float | None = None

    @classmethod
    def of(cls, rows: pl.DataFrame, *, day: date, steps: QuoteSteps) -> Self:
        """From the rows of one expiry and class, quoted in steps."""
        sides = {right: rows.filter(pl.col("right") == right).sort("strike") for right in "CP"}
        strikes = np.unique(rows["strike"].cast(pl.Float64).to_numpy())
        at = rows["timestamp"].median()
        return cls(
            expiry=rows["expiry"][0],
            day=day,
            at=cast("datetime", at),
            strikes=strikes,
            calls=_side(sides["C"], strikes, steps),
            puts=_side(sides["P"], strikes, steps),
        )

    @property
    def days(self) -> int:
        """Calendar days from the trading date to the expiry."""
        return (self.expiry - self.day).days

    @cached_property
    def years(self) -> float:
        """To the expiry, from when its quotes came."""
        return years_to(self.expiry, self.at)

    @cached_property
    def spot(self) -> float:
        """The underlying's price while the quotes came: the median; NaN where none came."""
        both = np.concatenate([self.calls.underlying_price, self.puts.underlying_price])
        known = both[np.isfinite(both)]
        return float(np.median(known)) if len(known) else float("nan")

    @cached_property
    def forward(self) -> Forward:
        """What put-call parity says of the forward price and of the rate."""
        return fit_forward(self, usual_rate=self.usual_rate)

    @cached_property
    def smile(self) -> Smile:
        """Implied volatility by strike, of the options out of the money."""
        return fit_smile(self)

    @cached_property
    def call_prices(self) -> SmilePrices:
        """What the smile says that the calls are worth."""
        return smile_prices(self, self.calls, "c")

    @cached_property
    def put_prices(self) -> SmilePrices:
        """What the smile says that the puts are worth."""
        return smile_prices(self, self.puts, "p")

    @cached_property
    def obstacle(self) -> str:
        """Why the expiry has no smile; empty when it has one."""
        if self.years < LEAST_YEARS:
            return "it expires within a day"
        if not np.isfinite(self.spot):
            return "the underlying's price is missing"
        return self.forward.obstacle or self.smile.obstacle

    @cached_property
    def quotes(self) -> int:
        """How many quotes there are that can be used."""
        return int(self.calls.is_usable.sum() + self.puts.is_usable.sum())

    @cached_property
    def missing(self) -> int:
        """How many calls and puts of its strikes lack a bid or an ask."""
        return sum(int(side.is_missing.sum()) for side in (self.calls, self.puts))

    @cached_property
    def crossed(self) -> int:
        """How many bids lie above their ask."""
        return sum(int(side.is_crossed.sum()) for side in (self.calls, self.puts))

    @property
    def doubts(self) -> str:
        """What limits values from these quotes: missing and crossed ones."""
        return quote_doubts((self,))


@dataclass(frozen=True, kw_only=True)
class Chain:
    """A symbol's expiries on a trading date, nearest first. ``at`` is the newest quote."""

    day: date
    at: datetime
    expiries: tuple[ExpiryQuotes, ...]

    @classmethod
    def of(cls, rows: pl.DataFrame, *, day: date) -> Self:
        """From rows of option_snapshots of one symbol and date, one row a contract; what cannot be is left out."""
        sound = sound_rows(rows, day)
        at = cast("datetime | None", sound["timestamp"].max()) or datetime.combine(day, CLOSE, NEW_YORK)
        chosen = _one_class_each(sound)
        steps = _steps(chosen)
        bare = [ExpiryQuotes.of(part, day=day, steps=steps) for part in chosen.sort("expiry").partition_by("expiry")]
        return cls(day=day, at=at, expiries=tuple(_with_usual_rate(bare)))

    @cached_property
    def with_smile(self) -> tuple[ExpiryQuotes, ...]:
        """The expiries that have one."""
        return tuple(quotes for quotes in self.expiries if not quotes.obstacle)

    @property
    def spot(self) -> float:
        """The underlying's price: that of the expiry quoted last; NaN where none came."""
        known = [quotes for quotes in self.expiries if np.isfinite(quotes.spot)]
        return max(known, key=lambda quotes: quotes.at).spot if known else float("nan")


def quote_doubts(expiries: Sequence[ExpiryQuotes]) -> str:
    """What limits values from the quotes of these expiries together: missing and crossed ones."""
    total = sum(2 * len(quotes.strikes) for quotes in expiries)
    missing, crossed = sum(q.missing for q in expiries), sum(q.crossed for q in expiries)
    if missing + crossed <= UNUSABLE_SHARE * total:
        return ""
    counts = ((missing, "missing"), (crossed, "crossed"))
    return joined(*(f"{count} of {total} quotes {what}" for count, what in counts if count))


def _side(rows: pl.DataFrame, strikes: Floats, steps: QuoteSteps) -> Side:
    own = rows["strike"].cast(pl.Float64).to_numpy()
    places = np.searchsorted(strikes, own)
    values = {}
    for name in FIELDS:
        values[name] = np.full(len(strikes), np.nan)
        values[name][places] = rows[name].cast(pl.Float64).to_numpy()
    return Side(**values, steps=steps)


def _one_class_each(rows: pl.DataFrame) -> pl.DataFrame:
    """Of expiries that several trading classes share, the class with the most two-sided quotes; then the first name."""
    named = rows.with_columns(pl.col("trading_class").fill_null(""))
    sizes = named.group_by("expiry", "trading_class").agg(quotes=TWO_SIDED.sum())
    chosen = sizes.sort("expiry", "quotes", "trading_class", descending=[False, True, False])
    best = chosen.unique("expiry", keep="first", maintain_order=True).select("expiry", "trading_class")
    return named.join(best, on=["expiry", "trading_class"], how="semi")


def _steps(rows: pl.DataFrame) -> QuoteSteps:
    """Of all quotes that can be used: an exchange gives a class one rule."""
    usable = rows.filter(TWO_SIDED)
    return QuoteSteps.of(pl.concat([usable["bid"], usable["ask"]]).cast(pl.Float64).to_numpy())


def _with_usual_rate(expiries: list[ExpiryQuotes]) -> list[ExpiryQuotes]:
    """Each expiry with the rate that the later ones tell: near ones cannot tell it themselves."""
    rates = [quotes.forward.rate for quotes in expiries if quotes.years >= RATE_YEARS]
    told = [rate for rate in rates if rate is not None]
    usual = float(np.median(told)) if told else DEFAULT_RATE
    return [replace(quotes, usual_rate=usual) for quotes in expiries]
