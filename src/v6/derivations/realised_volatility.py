"""Realised volatility from daily bars by five estimators, per year of 252 sessions, as a fraction: 0.2 is 20 %."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from v6.derivations.bar_history import YEAR, BarHistory, Floats
from v6.derivations.bar_windows import over_windows
from v6.derivations.statistic import Statistic, Value

WINDOWS = (10, 20, 60, 252)


def close_to_close_volatility(close: Floats) -> float:
    """Sample standard deviation of the logarithmic returns, annualised; n + 1 closes give n returns, n at least 2."""
    return float(np.std(np.diff(np.log(close)), ddof=1) * math.sqrt(YEAR))


def parkinson_volatility(high: Floats, low: Floats) -> float:
    """Parkinson's estimator, annualised, from n highs and lows."""
    return math.sqrt(float(np.mean(np.log(high / low) ** 2)) / (4 * math.log(2)) * YEAR)


def garman_klass_volatility(open_: Floats, high: Floats, low: Floats, close: Floats) -> float:
    """Garman and Klass's practical estimator, annualised, from n bars."""
    daily = 0.5 * np.log(high / low) ** 2 - (2 * math.log(2) - 1) * np.log(close / open_) ** 2
    return _annual(float(np.mean(daily)))


def rogers_satchell_volatility(open_: Floats, high: Floats, low: Floats, close: Floats) -> float:
    """Rogers and Satchell's estimator, annualised, from n bars."""
    return _annual(float(np.mean(_rogers_satchell_terms(open_, high, low, close))))


def yang_zhang_volatility(open_: Floats, high: Floats, low: Floats, close: Floats) -> float:
    """Yang and Zhang's estimator, annualised; the first of the n + 1 bars gives its close alone, n at least 2."""
    overnight, intraday = np.log(open_[1:] / close[:-1]), np.log(close[1:] / open_[1:])
    n = len(overnight)
    k = 0.34 / (1.34 + (n + 1) / (n - 1))
    drift_free = float(np.mean(_rogers_satchell_terms(open_, high, low, close)[1:]))
    daily = np.var(overnight, ddof=1) + k * np.var(intraday, ddof=1) + (1 - k) * drift_free
    return _annual(float(daily))


def _rogers_satchell_terms(open_: Floats, high: Floats, low: Floats, close: Floats) -> Floats:
    terms: Floats = np.log(high / close) * np.log(high / open_) + np.log(low / close) * np.log(low / open_)
    return terms


def _annual(daily_variance: float) -> float:
    """Bars that contradict themselves can give a negative variance: no number then."""
    return math.sqrt(daily_variance * YEAR) if daily_variance >= 0 else math.nan


def close_to_close(bars: BarHistory) -> Iterator[Value]:
    """Standard deviation of the last n daily logarithmic returns, annualised.

    Formula: sqrt(252 / (n - 1) · Σ (r_i - r̄)²), r_i = ln(C_i / C_{i-1}); n returns need n + 1 closes.
    Source: the sample standard deviation; Hull, Options, Futures, and Other Derivatives, ch. 15.
    Ties: none arise.
    Null: fewer than n + 1 sessions are stored up to the date, or a price is missing or not positive.
    """
    return over_windows(bars, WINDOWS, lambda part: close_to_close_volatility(part.close), before=1)


def parkinson(bars: BarHistory) -> Iterator[Value]:
    """Volatility from the daily ranges of the last n sessions, annualised; blind to overnight moves.

    Formula: sqrt(252 / (4 n ln 2) · Σ ln(H_i / L_i)²).
    Source: Parkinson, The Extreme Value Method for Estimating the Variance of the Rate of Return, J. of Business 53
    (1980).
    Ties: none arise.
    Null: fewer than n sessions are stored up to the date, or a price is missing or not positive.
    """
    return over_windows(bars, WINDOWS, lambda part: parkinson_volatility(part.high, part.low))


def garman_klass(bars: BarHistory) -> Iterator[Value]:
    """Volatility from open, high, low and close of the last n sessions, annualised; blind to overnight moves.

    Formula: sqrt(252 / n · Σ (0.5 ln(H_i / L_i)² - (2 ln 2 - 1) ln(C_i / O_i)²)).
    Source: Garman and Klass, On the Estimation of Security Price Volatilities from Historical Data, J. of Business 53
    (1980), the practical estimator.
    Ties: none arise.
    Null: fewer than n sessions are stored up to the date, or a price is missing or not positive.
    """
    return over_windows(
        bars, WINDOWS, lambda p: garman_klass_volatility(p.open, p.high, p.low, p.close), uses_open=True
    )


def rogers_satchell(bars: BarHistory) -> Iterator[Value]:
    """Volatility from open, high, low and close of the last n sessions that a drift does not bias, annualised.

    Formula: sqrt(252 / n · Σ (ln(H_i / C_i) ln(H_i / O_i) + ln(L_i / C_i) ln(L_i / O_i))).
    Source: Rogers and Satchell, Estimating Variance from High, Low and Closing Prices, Annals of Applied Probability 1
    (1991).
    Ties: none arise.
    Null: fewer than n sessions are stored up to the date, or a price is missing or not positive.
    """
    return over_windows(
        bars, WINDOWS, lambda p: rogers_satchell_volatility(p.open, p.high, p.low, p.close), uses_open=True
    )


def yang_zhang(bars: BarHistory) -> Iterator[Value]:
    """Volatility from the last n nights and sessions that neither drift nor jumps at the open bias, annualised.

    Formula: sqrt(252 · (V_o + k V_c + (1 - k) V_rs)), V_o and V_c the sample variances (n - 1) of ln(O_i / C_{i-1}) and
    ln(C_i / O_i), V_rs the mean of the Rogers-Satchell terms, k = 0.34 / (1.34 + (n + 1) / (n - 1)); n need n + 1 bars.
    Source: Yang and Zhang, Drift-Independent Volatility Estimation Based on High, Low, Open, and Close Prices, J. of
    Business 73 (2000).
    Ties: none arise.
    Null: fewer than n + 1 sessions are stored up to the date, or a price is missing or not positive.
    """
    return over_windows(
        bars, WINDOWS, lambda p: yang_zhang_volatility(p.open, p.high, p.low, p.close), before=1, uses_open=True
    )


STATISTICS = (
    Statistic(name="realised_volatility_close_to_close", unit="1/year", compute=close_to_close),
    Statistic(name="realised_volatility_parkinson", unit="1/year", compute=parkinson),
    Statistic(name="realised_volatility_garman_klass", unit="1/year", compute=garman_klass),
    Statistic(name="realised_volatility_rogers_satchell", unit="1/year", compute=rogers_satchell),
    Statistic(name="realised_volatility_yang_zhang", unit="1/year", compute=yang_zhang),
)
