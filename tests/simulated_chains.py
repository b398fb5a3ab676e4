"""Option chains that the simulated market prices, as rows of option_snapshots, and the surface they were priced on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from statistics import NormalDist
from typing import Any

import numpy as np
import polars as pl

from v6.derivations.expiry_time import years_to
from v6.simulator import smile
from v6.simulator.instruments import ContractQuery
from v6.simulator.market import Market
from v6.simulator.pricing import RATE

DIVIDEND = 0.015  # of index funds, docs/simulated-market.md


@cache
def market() -> Market:
    return Market(seed=0)


def chain_rows(symbol: str, now: datetime, *, dte: range, cycle: str = "cycle") -> pl.DataFrame:
    """Every option with so many calendar days to live as the market quotes it, whole and live."""
    source = market()
    rows = []
    for option in source.find(ContractQuery(symbol=symbol, sec_type="OPT"), now):
        if option.expiry is None or (option.expiry - now.date()).days not in dte:
            continue
        shown = source.snapshot(option, now)
        model = shown.model_greeks
        assert model is not None
        rows.append(
            {
                "timestamp": now, "symbol": symbol, "con_id": option.con_id, "expiry": option.expiry,
                "strike": option.strike, "right": option.right, "bid": shown.bid, "ask": shown.ask,
                "volume": float(shown.volume or 0), "open_interest": float(shown.open_interest or 0),
                "iv": model.iv, "delta": model.delta, "model_price": model.price,
                "underlying_price": model.underlying, "multiplier": 100.0, "is_adjusted": False,
                "trading_class": option.trading_class, "market_data_type_requested": "live",
                "market_data_type": "live", "cycle": cycle, "date": now.date(),
            }
        )  # fmt: skip
    return pl.DataFrame(rows, infer_schema_length=None).with_columns(
        cycle_contracts=pl.lit(len(rows), pl.Int32), timestamp=pl.col("timestamp").cast(pl.Datetime("us", "UTC"))
    )


def stored(rows: pl.DataFrame, known_at: datetime) -> pl.DataFrame:
    """The rows with what the worker stamps."""
    return rows.with_columns(request_id=pl.lit("simulated"), known_at=pl.lit(known_at))


def spoiled(rows: pl.DataFrame, share: float, seed: int) -> pl.DataFrame:
    """The rows with a share of the quotes missing or crossed, half of them each."""
    lot = pl.Series(np.random.default_rng(seed).random(rows.height))
    is_missing, is_crossed = lot < share / 2, (lot >= share / 2) & (lot < share)
    crossed_bid = pl.when(is_crossed).then(pl.col("ask") + 0.02).otherwise(pl.col("bid"))
    return rows.with_columns(
        bid=pl.when(is_missing).then(None).otherwise(crossed_bid),
        ask=pl.when(is_missing).then(None).otherwise(pl.when(is_crossed).then(pl.col("bid")).otherwise(pl.col("ask"))),
    )


@dataclass(frozen=True, kw_only=True)
class KnownSurface:
    """The volatilities that the market priced a chain with, by the formulas of docs/simulated-market.md."""

    spot: float
    now: datetime
    level: float
    dividend: float = DIVIDEND

    @classmethod
    def of(cls, rows: pl.DataFrame, dividend: float = DIVIDEND) -> KnownSurface:
        """The surface of a chain: its level from one option's own volatility."""
        now: datetime = rows["timestamp"][0]
        option = rows.sort((pl.col("strike") - pl.col("underlying_price")).abs(), "expiry").row(-1, named=True)
        spot, years = option["underlying_price"], years_to(option["expiry"], now)
        forward = spot * math.exp((RATE - dividend) * years)
        middle = option["iv"] / smile.skew(option["strike"], forward, years)
        fade = -math.expm1(-smile.REVERSION * years) / (smile.REVERSION * years)
        level = smile.LONG_RUN + (middle - smile.LONG_RUN) / fade
        return cls(spot=spot, now=now, level=level, dividend=dividend)

    def forward(self, years: float) -> float:
        return self.spot * math.exp((RATE - self.dividend) * years)

    def iv(self, strike: float, years: float) -> float:
        return smile.volatility(self.level, strike, self.forward(years), years)

    def at_the_money(self, years: float) -> float:
        return smile.at_the_money(self.level, years)

    def at_delta(self, delta: float, years: float) -> float:
        """The volatility at a spot delta, by bisection over the strike."""
        fade, root = math.exp(-self.dividend * years), math.sqrt(years)

        def own(strike: float) -> float:
            iv = self.iv(strike, years)
            d1 = math.log(self.forward(years) / strike) / (iv * root) + iv * root / 2
            return fade * NormalDist().cdf(d1) if delta > 0 else -fade * NormalDist().cdf(-d1)

        low, high = 0.2 * self.spot, 3 * self.spot  # the delta falls with the strike
        for _ in range(100):
            middle = (low + high) / 2
            low, high = (middle, high) if own(middle) > delta else (low, middle)
        return self.iv(low, years)


def discretised_index(rows: pl.DataFrame, surface: KnownSurface, expiry: Any, price: str) -> float:
    """The published VIX formula over one expiry, in plain loops, with exact forward and rate and a column's prices."""
    years = years_to(expiry, surface.now)
    own = rows.filter(pl.col("expiry") == expiry)
    prices = {(strike, right): value for strike, right, value in own.select("strike", "right", price).iter_rows()}
    strikes = sorted({strike for strike, _ in prices})
    forward = surface.forward(years)
    money = max(strike for strike in strikes if strike <= forward)
    total = 0.0
    for place, strike in enumerate(strikes):
        below, above = strikes[max(place - 1, 0)], strikes[min(place + 1, len(strikes) - 1)]
        width = (above - below) / (2 if 0 < place < len(strikes) - 1 else 1)
        if strike == money:
            value = (prices[strike, "C"] + prices[strike, "P"]) / 2
        else:
            value = prices[strike, "P" if strike < money else "C"]
        total += width / strike**2 * math.exp(RATE * years) * value
    return math.sqrt((2 * total - (forward / money - 1) ** 2) / years)


def index_at(rows: pl.DataFrame, surface: KnownSurface, days: int, price: str) -> float:
    """The index at a tenor: between the expiries around it, linear in total variance."""
    wanted = days / 365
    points = [
        (years_to(expiry, surface.now), discretised_index(rows, surface, expiry, price))
        for expiry in rows["expiry"].unique().sort().to_list()
    ]
    near = [point for point in points if point[0] <= wanted][-1]
    far = next(point for point in points if point[0] > wanted)
    share = (wanted - near[0]) / (far[0] - near[0])
    return math.sqrt(((1 - share) * near[0] * near[1] ** 2 + share * far[0] * far[1] ** 2) / wanted)
