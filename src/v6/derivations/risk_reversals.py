"""The skew and the wings of the smile at fixed deltas, of each expiry and at constant maturity."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from v6.derivations.chain import Chain, ExpiryQuotes
from v6.derivations.constant_maturity import TENORS, by_expiry, difference_at_tenor, money
from v6.derivations.statistic import Statistic, Value

NOT_REACHED = "the quotes do not reach the delta"
Wing = Callable[[float, float, float], float]  # of the volatilities of call, put and money


def at_delta(delta: float) -> Callable[[ExpiryQuotes], float | None]:
    """The volatility of an expiry at a delta, as a function."""
    return lambda quotes: quotes.smile.at_delta(delta)


def _tilt(call: float, put: float, _: float) -> float:
    return call - put


def _curve(call: float, put: float, middle: float) -> float:
    return (call + put) / 2 - middle


def _of_expiry(wing: Wing, delta: float) -> Callable[[ExpiryQuotes], float | None]:
    def of(quotes: ExpiryQuotes) -> float | None:
        call, put, middle = at_delta(delta)(quotes), at_delta(-delta)(quotes), money(quotes)
        return None if call is None or put is None or middle is None else wing(call, put, middle)

    return of


def _over_tenors(chain: Chain, wing: Wing, delta: float) -> Iterator[Value]:
    for days in TENORS:
        found = difference_at_tenor(chain.with_smile, days, _of_expiry(wing, delta))
        yield Value(value=found.iv, observations=found.observations, quality=found.quality, tenor_days=days)


def _over_expiries(chain: Chain, wing: Wing, delta: float) -> Iterator[Value]:
    for quotes in chain.expiries:
        yield by_expiry(quotes, _of_expiry(wing, delta), NOT_REACHED)


def risk_reversal_25_delta(chain: Chain) -> Iterator[Value]:
    """Volatility of the 25-delta call less that of the 25-delta put, at 7, 30, 60 and 90 days.

    Formula: σ(Δ = 0.25) - σ(Δ = -0.25), Δ = ± exp(-qT) N(± d1) of the option at its own volatility, the smile as for
    iv_at_the_money_by_expiry; linear in time between the expiries around the tenor.
    Source: Wystup, FX Options and Structured Products (2006), ch. 1.
    Ties: none arise.
    Null: no expiry on one of the sides of the tenor has quotes that reach both deltas.
    """
    return _over_tenors(chain, _tilt, 0.25)


def risk_reversal_10_delta(chain: Chain) -> Iterator[Value]:
    """Volatility of the 10-delta call less that of the 10-delta put, at 7, 30, 60 and 90 days.

    Formula: σ(Δ = 0.10) - σ(Δ = -0.10), as risk_reversal_25_delta.
    Source: Wystup, FX Options and Structured Products (2006), ch. 1.
    Ties: none arise.
    Null: no expiry on one of the sides of the tenor has quotes that reach both deltas.
    """
    return _over_tenors(chain, _tilt, 0.10)


def butterfly_25_delta(chain: Chain) -> Iterator[Value]:
    """How much the 25-delta wings lie above the money in volatility, at 7, 30, 60 and 90 days.

    Formula: (σ(Δ = 0.25) + σ(Δ = -0.25)) / 2 - σ(K = F), linear in time between the expiries around the
    tenor.
    Source: Wystup, FX Options and Structured Products (2006), ch. 1.
    Ties: none arise.
    Null: no expiry on one of the sides of the tenor has quotes that reach both deltas.
    """
    return _over_tenors(chain, _curve, 0.25)


def butterfly_10_delta(chain: Chain) -> Iterator[Value]:
    """How much the 10-delta wings lie above the money in volatility, at 7, 30, 60 and 90 days.

    Formula: (σ(Δ = 0.10) + σ(Δ = -0.10)) / 2 - σ(K = F), linear in time between the expiries around the
    tenor.
    Source: Wystup, FX Options and Structured Products (2006), ch. 1.
    Ties: none arise.
    Null: no expiry on one of the sides of the tenor has quotes that reach both deltas.
    """
    return _over_tenors(chain, _curve, 0.10)


def risk_reversal_25_delta_by_expiry(chain: Chain) -> Iterator[Value]:
    """Volatility of the 25-delta call less that of the 25-delta put, of each expiry.

    Formula: σ(Δ = 0.25) - σ(Δ = -0.25), as risk_reversal_25_delta without interpolation.
    Source: Wystup, FX Options and Structured Products (2006), ch. 1.
    Ties: none arise.
    Null: the expiry has no smile (as for iv_at_the_money_by_expiry), or its quotes do not reach both deltas.
    """
    return _over_expiries(chain, _tilt, 0.25)


def butterfly_25_delta_by_expiry(chain: Chain) -> Iterator[Value]:
    """How much the 25-delta wings of each expiry lie above its money in volatility.

    Formula: (σ(Δ = 0.25) + σ(Δ = -0.25)) / 2 - σ(K = F).
    Source: Wystup, FX Options and Structured Products (2006), ch. 1.
    Ties: none arise.
    Null: the expiry has no smile (as for iv_at_the_money_by_expiry), or its quotes do not reach both deltas.
    """
    return _over_expiries(chain, _curve, 0.25)


STATISTICS = (
    Statistic(name="risk_reversal_25_delta", unit="1/year", compute=risk_reversal_25_delta),
    Statistic(name="risk_reversal_10_delta", unit="1/year", compute=risk_reversal_10_delta),
    Statistic(name="butterfly_25_delta", unit="1/year", compute=butterfly_25_delta),
    Statistic(name="butterfly_10_delta", unit="1/year", compute=butterfly_10_delta),
    Statistic(name="risk_reversal_25_delta_by_expiry", unit="1/year", compute=risk_reversal_25_delta_by_expiry),
    Statistic(name="butterfly_25_delta_by_expiry", unit="1/year", compute=butterfly_25_delta_by_expiry),
)
