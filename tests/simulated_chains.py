"""Option chains that the simulated market prices, as rows of option_snapshots, and the surface they were priced on."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from functools import cache

import polars as pl
from bench.known_surface import KnownSurface, published_index

from v6.derivations.expiry_time import years_to
from v6.simulator.instruments import ContractQuery
from v6.simulator.market import Market

DIVIDEND, LONG_RUN = 0.015, 0.19  # of index funds; of volatility: docs/simulated-market.md


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


def surface_of(rows: pl.DataFrame, dividend: float = DIVIDEND) -> KnownSurface:
    """The surface that the market priced a chain with, by the formulas of docs/simulated-market.md; its level from the
    volatility of one option."""
    now: datetime = rows["timestamp"][0]
    option = rows.sort((pl.col("strike") - pl.col("underlying_price")).abs(), "expiry").row(-1, named=True)
    days = tuple((expiry - now.date()).days for expiry in rows["expiry"].unique().sort().to_list())
    flat = KnownSurface(
        spot=option["underlying_price"], level=0.0, long_run=LONG_RUN, tilt=0.9, curve=0.5, dividend=dividend,
        listing="fund", now=now, days=days,
    )  # fmt: skip
    years = years_to(option["expiry"], now)
    of_level_0, of_level_1 = (replace(flat, level=level).iv(option["strike"], years) for level in (0.0, 1.0))
    return replace(flat, level=(option["iv"] - of_level_0) / (of_level_1 - of_level_0))


def discretised_index(rows: pl.DataFrame, surface: KnownSurface, expiry: date, price: str) -> float:
    """The published VIX formula over one expiry, with exact forward and rate and a column's prices."""
    years = years_to(expiry, surface.now)
    own = rows.filter(pl.col("expiry") == expiry).select("strike", "right", price)
    prices = {(strike, right): value for strike, right, value in own.iter_rows()}
    return published_index(prices, surface.forward(years), years)


def index_at(rows: pl.DataFrame, surface: KnownSurface, days: int, price: str) -> float:
    """The index at a tenor: between the expiries around it, linear in total variance."""
    today = surface.now.date()
    found = surface.at_tenor(days, lambda d: discretised_index(rows, surface, today + timedelta(days=d), price))
    assert found is not None
    return found
