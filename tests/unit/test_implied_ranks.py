"""Rank and percentile over a year: on the real closes of the VIX, and by hand."""

from datetime import date

import numpy as np
import polars as pl
import pytest

from v6.derivations.implied_ranks import VolatilityYear, iv_percentile, iv_rank, variance_risk_premium
from v6.derivations.statistic import OK
from v6.derivations.volatility_year import index_year
from v6.simulator.history import HISTORY_FILE

CLOSES = dict(pl.read_parquet(HISTORY_FILE).filter(symbol="VIX").select("date", "close").iter_rows())


@pytest.mark.parametrize(("day", "expected"), [(date(2018, 2, 5), 100.0), (date(2017, 11, 3), 0.0)])
def test_the_rank_of_the_vix_at_its_extremes(day: date, expected: float) -> None:
    year = VolatilityYear(iv=index_year(CLOSES, day))
    value = next(iv_rank(year))
    assert (value.value, value.observations, value.window_days, value.quality) == (expected, 252, 252, OK)


def test_rank_and_percentile_are_those_of_plain_loops() -> None:
    days = sorted(CLOSES)
    for end in range(252, len(days), 97):
        window = [CLOSES[day] for day in days[end - 251 : end + 1]]
        year = VolatilityYear(iv=index_year(CLOSES, days[end]))
        expected = 100 * (window[-1] - min(window)) / (max(window) - min(window))
        assert next(iv_rank(year)).value == pytest.approx(expected, abs=1e-9)
        assert next(iv_percentile(year)).value == 100 * sum(one < window[-1] for one in window) / 252


def test_equal_volatilities_do_not_count_as_less() -> None:
    assert next(iv_percentile(VolatilityYear(iv=np.array([0.2] * 252)))).value == 0
    flat = next(iv_rank(VolatilityYear(iv=np.array([0.2] * 252))))
    assert (flat.value, flat.quality) == (None, "all volatilities are equal")


def test_missing_sessions_are_told_and_too_many_make_it_null() -> None:
    iv = np.linspace(0.1, 0.3, 252)
    iv[10:20] = np.nan
    some = next(iv_rank(VolatilityYear(iv=iv)))
    assert some.value == pytest.approx(100)
    assert some.quality == "242 of 252 sessions have a volatility"
    iv[10:60] = np.nan
    assert next(iv_rank(VolatilityYear(iv=iv))).value is None
    iv[:] = 0.2
    iv[-1] = np.nan
    last = next(iv_percentile(VolatilityYear(iv=iv, why_not="no expiry has it")))
    assert (last.value, last.quality) == (None, "no expiry has it")
    assert next(iv_rank(VolatilityYear(iv=np.array([])))).value is None


def test_the_premium_is_the_difference_of_variances() -> None:
    year = VolatilityYear(iv=np.array([0.2]), index=0.25, realised=0.15)
    assert next(variance_risk_premium(year)).value == pytest.approx(0.0625 - 0.0225)
    without = next(variance_risk_premium(VolatilityYear(iv=np.array([0.2]), index=0.25)))
    assert (without.value, without.quality) == (None, "no realised volatility")
