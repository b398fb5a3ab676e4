"""Daily prices of the simulated market against the history file, by the documented mapping."""

from __future__ import annotations

import multiprocessing
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import v6.simulator
from v6.simulator.calendar import load_sessions
from v6.simulator.history import load_history
from v6.simulator.instruments import ContractQuery
from v6.simulator.market import Market
from v6.simulator.prices import Prices
from v6.simulator.universe import PRODUCTS, Product

HISTORY = pl.read_parquet(Path(v6.simulator.__file__).parent / "data" / "market_history.parquet")
FIELDS = ("open", "high", "low", "close")
# symbol: (part of the S&P 500, part of the NASDAQ Composite, tick)
MAPPING = {
    "SPY": ("0.1", "0", "0.01"),
    "QQQ": ("0", "0.025", "0.01"),
    "IWM": ("0.03", "0.009", "0.01"),
    "DIA": ("0.093", "0", "0.01"),
    "SPX": ("1", "0", "0.01"),
    "NDX": ("0", "1", "0.01"),
    "ES": ("1", "0", "0.25"),
    "NQ": ("0", "1", "0.25"),
    "RTY": ("0.3", "0.09", "0.1"),
}
SESSIONS = load_sessions()
EPOCH = SESSIONS.position(date(2026, 12, 31))


@pytest.fixture(scope="module")
def market() -> Market:
    return Market()


def points(symbol: str, row: int) -> list[Decimal]:
    part = HISTORY.filter(pl.col("symbol") == symbol).sort("date").row(row, named=True)
    return [Decimal(repr(part[field])) for field in FIELDS]


@pytest.mark.parametrize("symbol", MAPPING)
@pytest.mark.parametrize("sessions_before_epoch", [0, 1, 7, 25, 253, 1006, 2468, 4000, 5030])
def test_daily_bars_are_the_history_scaled_and_rounded_half_up(
    market: Market, symbol: str, sessions_before_epoch: int
) -> None:
    spx_part, comp_part, tick = (Decimal(text) for text in MAPPING[symbol])
    row = 5030 - sessions_before_epoch
    expected = [
        float(((spx * spx_part + comp * comp_part) / tick).quantize(Decimal(1), ROUND_HALF_UP) * tick)
        for spx, comp in zip(points("SPX", row), points("COMP", row), strict=True)
    ]

    bar = market.daily_bar(symbol, SESSIONS.dates[EPOCH - sessions_before_epoch])

    assert bar is not None
    assert [bar.open, bar.high, bar.low, bar.close] == expected


def test_the_first_session_of_history_lies_five_thousand_sessions_before_the_epoch() -> None:
    assert HISTORY.filter(pl.col("symbol") == "SPX").height == 5031
    assert SESSIONS.dates[EPOCH - 5030] == date(2007, 1, 3)


def test_vix_is_history_where_there_is_some(market: Market) -> None:
    bar = market.daily_bar("VIX", date(2026, 12, 31))
    assert bar is not None
    assert bar.close == 25.42
    assert bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high


@pytest.mark.parametrize("product", PRODUCTS, ids=lambda product: product.symbol)
def test_every_session_of_every_product_has_its_extremes_outside_open_and_close(
    product: Product, market: Market
) -> None:
    ticks = Prices(SESSIONS, load_history(SESSIONS, market.seed), market.seed).daily(product).ticks
    first, high, low, last = ticks
    assert ticks.shape == (4, len(SESSIONS))
    assert np.all(low >= 1)
    assert np.all(low <= np.minimum(first, last))
    assert np.all(high >= np.maximum(first, last))


def test_volume_is_the_history_divided(market: Market) -> None:
    bar = market.daily_bar("SPY", date(2026, 12, 31))
    assert bar is not None
    assert bar.volume == 3_442_870_000 // 30


def test_no_session_or_no_symbol_has_no_bar(market: Market) -> None:
    assert market.daily_bar("SPY", date(2026, 11, 26)) is None
    assert market.daily_bar("NOSUCH", date(2026, 11, 25)) is None


def test_history_does_not_depend_on_the_seed_but_the_future_does(market: Market) -> None:
    other = Market(seed=7)
    assert _ohlc(other, date(2026, 11, 24)) == _ohlc(market, date(2026, 11, 24))
    assert _ohlc(other, date(2028, 11, 24)) != _ohlc(market, date(2028, 11, 24))


def _ohlc(market: Market, day: date) -> tuple[float, ...]:
    bar = market.daily_bar("SPY", day)
    assert bar is not None
    return bar.open, bar.high, bar.low, bar.close


def _fingerprint(seed: int) -> list[str]:
    market = Market(seed)
    now = datetime(2027, 3, 3, 17, 30, 12, tzinfo=UTC)
    future = market.find(ContractQuery(symbol="RTY", sec_type="FUT"), now)[1]
    option = market.find(ContractQuery(symbol="NVDA", sec_type="OPT", right="P"), now)[100]
    bars = market.bars(
        future,
        start=datetime(2027, 3, 3, 14, 30, tzinfo=UTC),
        end=now,
        now=now,
        bar_seconds=300,
        what_to_show="TRADES",
        regular_hours=False,
    )
    return [repr(market.snapshot(option, now)), repr(market.snapshot(future, now)), repr(bars)]


def test_another_process_sees_the_same_market() -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        elsewhere = pool.apply(_fingerprint, (3,))
    assert elsewhere == _fingerprint(3)
