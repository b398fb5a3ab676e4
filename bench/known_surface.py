"""A chain of any spot, volatility and skew by the simulated market's own pricing and quotes; what it should give."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import NormalDist

import numpy as np
import polars as pl

from v6.derivations.expiry_time import years_to
from v6.simulator.pricing import RATE, Terms, price
from v6.simulator.snapshots import quote

REVERSION = 4.0
LISTINGS = {"fund": (0.007, 84, 60), "stock": (0.025, 12, 12)}  # strike step over price, strikes below, above
STEPS = [unit * 10.0**power for power in range(-1, 5) for unit in (1, 2, 5)]
COARSER_FROM = 3.0  # in currency: options worth as much are often quoted in a coarser step


@dataclass(frozen=True, kw_only=True)
class Steps:
    """What quotes are rounded to below 3.00 and from there on, in cents. A bid below the first step is none."""

    cheap: int
    dear: int

    def outwards(self, bid: float, ask: float) -> tuple[float, float]:
        """Quotes in cents, rounded down and up to the steps."""
        return self._on_step(bid, math.floor), self._on_step(ask, math.ceil)

    def _on_step(self, quote: float, rounded: Callable[[float], int]) -> float:
        step = self.cheap if quote < COARSER_FROM else self.dear
        return rounded(round(quote * 100) / step) * step / 100


CENTS = Steps(cheap=1, dear=1)


@dataclass(frozen=True, kw_only=True)
class KnownSurface:
    """Volatility level and long run, tilt and curve of the skew by ln(K/F) / sqrt(T + 0.02); days to each expiry."""

    spot: float
    level: float
    long_run: float
    tilt: float
    curve: float
    dividend: float
    listing: str
    now: datetime
    days: tuple[int, ...]

    def years(self, days: int) -> float:
        return years_to(self.now.date() + timedelta(days=days), self.now)

    def forward(self, years: float) -> float:
        return self.spot * math.exp((RATE - self.dividend) * years)

    def at_the_money(self, years: float) -> float:
        fade = -math.expm1(-REVERSION * years) / (REVERSION * years)
        return self.long_run + (self.level - self.long_run) * fade

    def iv(self, strike: float, years: float) -> float:
        distance = min(max(math.log(strike / self.forward(years)) / math.sqrt(years + 0.02), -1.2), 0.9)
        return self.at_the_money(years) * (1 - self.tilt * distance + self.curve * distance * distance)

    def at_delta(self, delta: float, years: float) -> float:
        """The volatility at a delta on spot, by bisection over the strike."""
        low, high = 0.1 * self.spot, 10 * self.spot  # the delta falls with the strike
        for _ in range(80):
            middle = math.sqrt(low * high)
            low, high = (middle, high) if self._delta(middle, years, is_call=delta > 0) > delta else (low, middle)
        return self.iv(low, years)

    def _delta(self, strike: float, years: float, *, is_call: bool) -> float:
        deviation = self.iv(strike, years) * math.sqrt(years)
        share = NormalDist().cdf(math.log(self.forward(years) / strike) / deviation + deviation / 2)
        return math.exp(-self.dividend * years) * (share if is_call else share - 1)

    def tilt_at(self, delta: float, years: float) -> float:
        """The risk reversal."""
        return self.at_delta(delta, years) - self.at_delta(-delta, years)

    def strikes(self) -> list[float]:
        share, below, above = LISTINGS[self.listing]
        step = max([STEPS[0], *(step for step in STEPS if step <= share * self.spot)])
        middle = round(self.spot / step)
        return [round(place * step, 4) for place in range(max(1, middle - below), middle + above + 1)]

    def price(self, strike: float, years: float, *, is_call: bool) -> float:
        return price(self._terms(strike, years, is_call=is_call), self.iv(strike, years))

    def _terms(self, strike: float, years: float, *, is_call: bool) -> Terms:
        return Terms(spot=self.spot, strike=strike, years=years, dividend=self.dividend, is_call=is_call)

    def index(self, days: int) -> float:
        """The published VIX formula over one expiry, with exact prices, forward and rate."""
        years = self.years(days)
        options = [(strike, right) for strike in self.strikes() for right in "CP"]
        prices = {option: self.price(option[0], years, is_call=option[1] == "C") for option in options}
        return published_index(prices, self.forward(years), years)

    def at_tenor(self, days: int, of_expiry: Callable[[int], float]) -> float | None:
        """Between the expiries around a tenor, linear in total variance; None where they do not surround it."""
        wanted = days / 365
        near = [day for day in self.days if self.years(day) <= wanted]
        far = [day for day in self.days if self.years(day) > wanted]
        if not near or not far:
            return None
        ends = [(self.years(day), of_expiry(day)) for day in (near[-1], far[0])]
        share = (wanted - ends[0][0]) / (ends[1][0] - ends[0][0])
        return math.sqrt(sum(w * t * v * v for w, (t, v) in zip((1 - share, share), ends, strict=True)) / wanted)

    def rows(self, steps: Steps = CENTS) -> pl.DataFrame:
        """The chain as rows of option_snapshots, quoted in steps."""
        rows = pl.DataFrame(list(self._quotes(steps)))
        return rows.with_columns(
            timestamp=pl.lit(self.now).cast(pl.Datetime("us", "UTC")), date=pl.lit(self.now.date()),
            volume=pl.lit(1.0), open_interest=pl.lit(1.0), multiplier=pl.lit(100.0), trading_class=pl.lit("KNOWN"),
            underlying_price=pl.lit(self.spot),
        )  # fmt: skip

    def _quotes(self, steps: Steps) -> Iterator[dict[str, object]]:
        for days in self.days:
            years, expiry = self.years(days), self.now.date() + timedelta(days=days)
            for strike in self.strikes():
                for right in "CP":
                    terms = self._terms(strike, years, is_call=right == "C")
                    bid, ask = steps.outwards(*quote(terms, max(0.0, price(terms, self.iv(strike, years)))))
                    yield {"expiry": expiry, "strike": strike, "right": right, "bid": bid, "ask": ask}


def published_index(prices: Mapping[tuple[float, str], float], forward: float, years: float) -> float:
    """The published VIX formula over one expiry's prices by strike and right, in a plain loop, at the market's rate."""
    strikes = sorted({strike for strike, _ in prices})
    money = max(strike for strike in strikes if strike <= forward)
    total = 0.0
    for place, strike in enumerate(strikes):
        below, above = strikes[max(place - 1, 0)], strikes[min(place + 1, len(strikes) - 1)]
        width = (above - below) / (2 if 0 < place < len(strikes) - 1 else 1)
        call, put = prices[strike, "C"], prices[strike, "P"]
        value = (call + put) / 2 if strike == money else put if strike < money else call
        total += width / strike**2 * math.exp(RATE * years) * value
    return math.sqrt((2 * total - (forward / money - 1) ** 2) / years)


def spoiled(rows: pl.DataFrame, share: float, seed: int) -> pl.DataFrame:
    """The rows with a share of the quotes missing or crossed, half of them each."""
    lot = pl.Series(np.random.default_rng(seed).random(rows.height))
    is_missing, is_crossed = lot < share / 2, (lot >= share / 2) & (lot < share)
    bid = pl.when(is_missing).then(None).when(is_crossed).then(pl.col("ask") + 0.02).otherwise(pl.col("bid"))
    ask = pl.when(is_missing).then(None).when(is_crossed).then(pl.col("bid")).otherwise(pl.col("ask"))
    return rows.with_columns(bid=bid, ask=ask)
