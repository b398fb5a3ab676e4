"""Numbers that no market has: whatever a source sends, statistics are values or reasons, and the sound rows count."""

import math
import operator
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any

import numpy as np
import polars as pl
import pytest
from tests.simulated_chains import chain_rows

from v6.derivations import black_scholes
from v6.derivations.bar_history import BarHistory
from v6.derivations.black_scholes import Terms, greeks, implied_volatilities, prices
from v6.derivations.catalogue import FROM_BARS, FROM_FUTURES, FROM_OPTIONS, FROM_SURFACE
from v6.derivations.chain import Chain
from v6.derivations.constant_maturity import iv_at_the_money_by_expiry
from v6.derivations.futures_curve import FuturesCurve
from v6.derivations.implied_ranks import STATISTICS, VolatilityYear, rank
from v6.derivations.statistic import OK, Value
from v6.derivations.vol_surface import fit_surface

NOW = datetime(2026, 11, 24, 20, 50, tzinfo=UTC)
DAY = NOW.date()
NAN, INF = math.nan, math.inf
UNSOUND: list[tuple[str, Any]] = [
    *(("underlying_price", value) for value in (0.0, -267.0, NAN, 1e308)),
    *(("strike", value) for value in (0.0, -5.0, NAN, 1e-300, 1e300)),
    *(("bid", value) for value in (-1.0, NAN, -INF, 1e308)),
    *(("ask", value) for value in (-1.0, 0.0, INF, 1e308)),
    *(("volume", value) for value in (-5.0, INF, 1e308)),
    *(("open_interest", value) for value in (-5.0, INF, 1e308)),
    *(("multiplier", value) for value in (0.0, NAN, None)),
    *(("right", value) for value in ("X", None)),
    *(("expiry", value) for value in (date(2020, 1, 1), None)),
    ("timestamp", None),
]  # fmt: skip


@cache
def options() -> pl.DataFrame:
    return chain_rows("KO", NOW, dte=range(20, 60)).with_columns(pl.col("strike").cast(pl.Float64))


def spoilt(frame: pl.DataFrame, column: str, value: Any, every: int) -> pl.DataFrame:
    """The rows with a value in a column of every so many of them."""
    is_hit = pl.int_range(pl.len()) % every == every // 2
    return frame.with_columns(
        pl.when(is_hit).then(pl.lit(value, frame.schema[column])).otherwise(pl.col(column)).alias(column)
    )


def from_options(frame: pl.DataFrame) -> Iterator[Value]:
    chain = Chain.of(frame, day=DAY)
    for statistic in FROM_OPTIONS:
        yield from statistic.compute(chain)
    for fitted in FROM_SURFACE:
        yield from fitted.compute(fit_surface(chain))


def at_the_money(frame: pl.DataFrame) -> list[float | None]:
    return [one.value for one in iv_at_the_money_by_expiry(Chain.of(frame, day=DAY)) if (one.tenor_days or 0) < 100]


@pytest.mark.parametrize(("column", "value"), UNSOUND, ids=str)
def test_a_chain_with_what_no_option_has_gives_values_or_reasons_and_the_rest_of_it_counts(
    column: str, value: Any
) -> None:
    few = spoilt(options(), column, value, 30)
    for frame in (few, spoilt(options(), column, value, 1)):
        assert all(one.value is not None or one.quality != OK for one in from_options(frame))
    assert at_the_money(few) == pytest.approx(sound_volatilities(), abs=15e-4)


@cache
def sound_volatilities() -> list[float | None]:
    found = at_the_money(options())
    assert len(found) == 3
    assert None not in found
    return found


def test_a_chain_without_a_sound_row_has_no_expiry() -> None:
    chain = Chain.of(spoilt(options(), "strike", -1.0, 1), day=DAY)
    assert chain.expiries == ()
    assert {one.value for statistic in FROM_OPTIONS for one in statistic.compute(chain)} == {None}


@pytest.mark.parametrize("value", [0.0, -1.0, NAN, INF, -INF, 1e308, 1e-320])
@pytest.mark.parametrize("field", ["spot", "strike", "years", "rate", "carry", "flags"])
def test_terms_that_cannot_be_have_neither_volatility_nor_price_nor_greeks(field: str, value: float) -> None:
    if field in ("rate", "carry") and abs(value) < 10:
        return
    numbers = {"spot": 100.0, "strike": 100.0, "years": 0.25, "rate": 0.04, "carry": 0.01}
    arrays = {name: np.array([number, number]) for name, number in numbers.items()}
    flags = np.array(["c", "p"])
    if field == "flags":
        flags[1] = "x"
    else:
        arrays[field][1] = value
    terms = Terms(flags=flags, **arrays)
    found = implied_volatilities(np.array([4.0, 4.0]), terms)
    assert found.why.tolist() == [black_scholes.SOLVED, black_scholes.UNSOUND]
    iv = np.array([0.2, 0.2])
    tangents = operator.attrgetter("delta", "gamma", "vega", "theta")(greeks(terms, iv))
    for answer in (found.iv, prices(terms, iv), *tangents):
        assert np.isfinite(answer).tolist() == [True, False]


@pytest.mark.parametrize("iv", [NAN, INF, -0.2])
def test_no_volatility_has_no_price(iv: float) -> None:
    terms = Terms(
        flags=np.array(["c"]), **{name: np.array([1.0]) for name in ("spot", "strike", "years", "rate", "carry")}
    )
    assert np.isnan(prices(terms, np.array([iv]))).all()
    assert np.isnan(greeks(terms, np.array([iv])).vega).all()


@cache
def bars() -> pl.DataFrame:
    steps = np.random.default_rng(1).normal(0, 0.01, 300)
    close = 100 * np.exp(np.cumsum(steps))
    days = [date(2025, 12, 1) + timedelta(days=day) for day in range(len(close))]
    open_ = close * np.exp(-steps / 2)
    return pl.DataFrame(
        {"date": days, "open": open_, "high": np.maximum(open_, close) * 1.01, "low": np.minimum(open_, close) * 0.99,
         "close": close}
    )  # fmt: skip


def from_bars(own: pl.DataFrame, market: pl.DataFrame) -> list[Value]:
    history = BarHistory.of(own, market=market)
    part = history.upto(len(history) - 1, sessions=253)
    return [value for statistic in FROM_BARS for value in statistic.compute(part)]


@pytest.mark.parametrize("value", [0.0, -1.0, NAN, INF, None, 1e308, 1e-308])
@pytest.mark.parametrize("column", ["open", "high", "low", "close"])
def test_a_bar_that_no_market_has_makes_what_rests_on_it_null(column: str, value: float | None) -> None:
    whole = from_bars(bars(), bars())
    for every in (60, 1):
        bad = spoilt(bars(), column, value, every)
        assert {one.value for one in from_bars(bad, bars()) if one.window_days == 252} == {None}
        for one, other in zip(whole, from_bars(bars(), bad), strict=True):
            is_told = other.value is None or one.value is None or other.quality != OK
            assert is_told or other.value == pytest.approx(one.value, rel=1e-9)


def test_of_two_bars_of_a_date_the_last_counts_and_one_without_a_date_does_not() -> None:
    doubled = pl.concat([bars(), bars().tail(1), bars().tail(1).with_columns(date=pl.lit(None, pl.Date))])
    assert from_bars(doubled, bars()) == from_bars(bars(), bars())


def future(**values: Any) -> dict[str, Any]:
    month = {
        "timestamp": NOW - timedelta(minutes=5), "date": DAY, "symbol": "ES", "con_id": 1, "expiry": date(2026, 12, 18),
        "bid": 100.0, "ask": 101.0, "last": 100.5, "change_1h": 0.1, "change_4h": 0.1, "change_overnight": 0.1,
        "change_daily": 0.1, "missing": None, "known_at": NOW,
    }  # fmt: skip
    return {**month, **values}


def from_futures(index: float | None, *months: dict[str, Any]) -> list[Value]:
    schema: dict[str, Any] = {
        "missing": pl.String,
        "expiry": pl.Date,
        "change_1h": pl.Float64,
        "timestamp": pl.Datetime("us", "UTC"),
    }
    curve = FuturesCurve.of(pl.DataFrame(months, schema_overrides=schema), day=DAY, symbol="ES", index_close=index)
    return [] if curve is None else [value for statistic in FROM_FUTURES for value in statistic.compute(curve)]


@pytest.mark.parametrize(
    "values",
    [
        {"bid": NAN, "ask": INF, "last": -1.0}, {"last": INF, "bid": None}, {"bid": 0.0, "last": 0.0}, {"ask": 1e308},
        {"change_1h": NAN}, {"change_1h": INF}, {"missing": "no JSON"}, {"missing": "[1]"}, {"expiry": None},
        {"expiry": date(2020, 1, 1)}, {"timestamp": None},
    ],
    ids=str,
)  # fmt: skip
def test_futures_that_no_market_has_give_values_or_reasons(values: dict[str, Any]) -> None:
    later = future(con_id=2, expiry=date(2027, 3, 19))
    for found in (from_futures(100.0, future(**values), later), from_futures(100.0, future(**values))):
        assert all(one.value is not None or one.quality != OK for one in found)


@pytest.mark.parametrize("index", [None, 0.0, -1.0, NAN, INF, 1e-308])
def test_an_index_without_a_price_is_named(index: float | None) -> None:
    basis = from_futures(index, future())[0]
    assert (basis.value, basis.quality) == (None, "there is no daily bar of SPX")


def test_two_months_that_expire_at_once_have_no_slope() -> None:
    slope = [
        one
        for one in from_futures(100.0, future(), future(con_id=2))
        if one.quality == "fewer than two months have a price"
    ]
    assert len(slope) == 1


@pytest.mark.parametrize("value", [NAN, INF, -1.0, 1e308, None])
def test_a_year_of_volatility_with_what_is_none(value: float | None) -> None:
    iv = np.linspace(0.1, 0.3, 252)
    assert rank(np.append(np.full(10, INF), iv)) == 100.0
    for statistic in STATISTICS:
        for one in statistic.compute(VolatilityYear(iv=iv, index=value, realised=value)):
            assert (one.value is None) == (statistic.name == "variance_risk_premium")
