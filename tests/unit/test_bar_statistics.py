"""Statistics from bars against computations of their own: loops over the real history, and cases done by hand."""

import math
import statistics
from collections.abc import Mapping
from datetime import date, timedelta
from functools import cache

import numpy as np
import polars as pl
import pytest

from v6.derivations import realised_volatility as rv
from v6.derivations import returns, trend
from v6.derivations.bar_history import BarHistory
from v6.derivations.catalogue import FROM_BARS
from v6.derivations.market_beta import beta, correlation
from v6.derivations.statistic import OK, Value
from v6.simulator.history import HISTORY_FILE

Row = tuple[date, float, float, float, float]


@cache
def history() -> list[Row]:
    """date, open, high, low, close of the S&P 500."""
    frame = pl.read_parquet(HISTORY_FILE).filter(pl.col("symbol") == "SPX").sort("date")
    return list(frame.select("date", "open", "high", "low", "close").iter_rows())


def bars(rows: list[Row], market: pl.DataFrame | None = None) -> BarHistory:
    return BarHistory.of(
        pl.DataFrame(rows, schema=["date", "open", "high", "low", "close"], orient="row"), market=market
    )


def by_window(values: object) -> Mapping[int | None, Value]:
    return {value.window_days: value for value in values}  # type: ignore[attr-defined]


def own_close_to_close(rows: list[Row], n: int) -> float:
    moves = [math.log(rows[i][4] / rows[i - 1][4]) for i in range(len(rows) - n, len(rows))]
    return statistics.stdev(moves) * math.sqrt(252)


def own_parkinson(rows: list[Row], n: int) -> float:
    total = math.fsum(math.log(high / low) ** 2 for _, _, high, low, _ in rows[-n:])
    return math.sqrt(252 * total / (n * 4 * math.log(2)))


def own_garman_klass(rows: list[Row], n: int) -> float:
    terms = [
        math.log(high / low) ** 2 / 2 - (2 * math.log(2) - 1) * math.log(close / open_) ** 2
        for _, open_, high, low, close in rows[-n:]
    ]
    return math.sqrt(252 * math.fsum(terms) / n)


def rogers_satchell_terms(rows: list[Row]) -> list[float]:
    return [
        math.log(high / close) * math.log(high / open_) + math.log(low / close) * math.log(low / open_)
        for _, open_, high, low, close in rows
    ]


def own_rogers_satchell(rows: list[Row], n: int) -> float:
    return math.sqrt(252 * math.fsum(rogers_satchell_terms(rows[-n:])) / n)


def own_yang_zhang(rows: list[Row], n: int) -> float:
    nights = [math.log(rows[i][1] / rows[i - 1][4]) for i in range(len(rows) - n, len(rows))]
    days = [math.log(close / open_) for _, open_, _, _, close in rows[-n:]]
    k = 0.34 / (1.34 + (n + 1) / (n - 1))
    drift_free = math.fsum(rogers_satchell_terms(rows[-n:])) / n
    daily = statistics.variance(nights) + k * statistics.variance(days) + (1 - k) * drift_free
    return math.sqrt(252 * daily)


ESTIMATORS = [
    (rv.close_to_close, own_close_to_close),
    (rv.parkinson, own_parkinson),
    (rv.garman_klass, own_garman_klass),
    (rv.rogers_satchell, own_rogers_satchell),
    (rv.yang_zhang, own_yang_zhang),
]


@pytest.mark.parametrize(("estimator", "own"), ESTIMATORS, ids=lambda function: function.__name__)
def test_realised_volatility_of_the_sp500_from_2014_on_is_that_of_plain_loops(estimator: object, own: object) -> None:
    rows = history()
    first = next(i for i, row in enumerate(rows) if row[0] >= date(2014, 1, 1))
    ends = [*range(first, len(rows), 61), len(rows) - 1]
    assert len(ends) > 20
    for end in ends:
        upto = rows[: end + 1]
        values = by_window(estimator(bars(upto[-300:])))  # type: ignore[operator]
        assert set(values) == {10, 20, 60, 252}
        for window, value in values.items():
            assert value.value == pytest.approx(own(upto, window), abs=1e-9), (upto[-1][0], window)  # type: ignore[operator]


def test_opens_that_repeat_the_close_are_told_by_quality_and_only_there() -> None:
    def qualities(year: int) -> dict[str, str]:
        part = bars([row for row in history() if row[0].year in (year - 1, year)])
        return {s.name: by_window(s.compute(part))[252].quality for s in FROM_BARS if "volatility" in s.name}

    overnight = ("yang_zhang", "garman_klass", "rogers_satchell")
    for year, repeated in ((2003, True), (2012, True), (2017, False)):
        for name, quality in qualities(year).items():
            says = "opens equal the close before" in quality
            assert says == (repeated and name.endswith(overnight)), (year, name, quality)
    assert next(returns.overnight_return(bars(history()[:300]))).quality == "1 of 1 opens equal the close before"


def test_what_lacks_sessions_is_null_and_says_how_many() -> None:
    short = bars(history()[-15:])
    for statistic in FROM_BARS:
        for value in statistic.compute(short):
            window = value.window_days or 0
            if window > 15:
                assert value.value is None, statistic.name
                assert value.quality.startswith("15 of "), statistic.name


def test_a_price_that_is_no_price_makes_its_windows_null_and_no_others() -> None:
    rows = history()[-300:]
    day, *prices = rows[-30]
    rows[-30] = (day, prices[0], prices[1], 0.0, prices[3])
    values = by_window(rv.parkinson(bars(rows)))
    assert values[20].value is not None
    assert values[60].value is None
    assert str(day) in values[60].quality


def test_a_gap_in_the_sessions_is_told() -> None:
    rows = history()[-300:]
    del rows[-9:-5]
    assert "a gap of " in by_window(rv.close_to_close(bars(rows)))[10].quality
    assert by_window(rv.close_to_close(bars(history()[-300:])))[20].quality == OK


def days(count: int) -> list[date]:
    return [date(2026, 3, 2) + timedelta(days=i) for i in range(count)]


def test_true_range_is_smoothed_as_wilder_does() -> None:
    ranges = np.array([2.0, 4.0, 6.0, 9.0])
    assert trend.wilder_average(ranges, 3) == pytest.approx(4 + (9 - 4) / 3)
    spans = trend.true_ranges(np.array([10.0, 12, 11]), np.array([9.0, 11, 8]), np.array([9.5, 11.5, 10]))
    assert spans.tolist() == [2.5, 3.5]  # from the close before up to the high, and down to the low


def test_drawdowns_moving_averages_and_returns_by_hand() -> None:
    closes = [100.0 + i for i in range(19)] + [59.0]
    part = bars([(day, c, c + 1, c - 1, c) for day, c in zip(days(20), closes, strict=True)])
    assert by_window(trend.drawdown(part))[20].value == pytest.approx(59 / 118 - 1)
    assert by_window(trend.max_drawdown(part))[20].value == pytest.approx(59 / 118 - 1)
    assert by_window(trend.simple_moving_average(part))[10].value == pytest.approx(statistics.mean(closes[-10:]))
    assert by_window(returns.total_return(part))[5].value == pytest.approx(59 / 114 - 1)
    assert next(returns.intraday_return(part)).value == 0


def test_beta_and_correlation_to_a_market_that_moves_half_as_much() -> None:
    moves = np.random.default_rng(1).normal(0, 0.01, 260)
    market = 100 * np.exp(np.cumsum(moves))
    own = 50 * np.exp(np.cumsum(2 * moves))
    index = pl.DataFrame({"date": days(260), "close": market})
    rows = [(day, c, c, c, c) for day, c in zip(days(260), own.tolist(), strict=True)]
    assert [v.value for v in beta(bars(rows, index))] == pytest.approx([2, 2])
    assert [v.value for v in correlation(bars(rows, index))] == pytest.approx([1, 1])
    holes = index.filter(pl.int_range(pl.len()) % 20 != 0)  # each hole costs two returns
    sparse = by_window(beta(bars(rows, holes)))[252]
    assert sparse.value == pytest.approx(2)
    assert "of 252 returns of SPY" in sparse.quality
    assert next(beta(bars(rows))).quality == "there are no daily bars of SPY"
    still = index.with_columns(close=pl.lit(100.0))
    assert next(beta(bars(rows, still))).value is None
