"""The skew and the wings of the smile at fixed deltas, of each expiry and at constant maturity."""

from __future__ import annotations

import math
from collections.abc import Iterator

from v6.derivations.chain import Chain, ExpiryQuotes
from v6.derivations.constant_maturity import TENORS, Formula, by_expiry, difference_at_tenor, money
from v6.derivations.estimate import Estimate
from v6.derivations.statistic import Statistic, Value

NOT_REACHED = "the quotes do not reach the delta"
Wing = tuple[float, float, float]  # how much the volatilities of call, put and money count
_TILT: Wing = (1.0, -1.0, 0.0)
_CURVE: Wing = (0.5, 0.5, -1.0)


def at_delta(delta: float) -> Formula:
    """The volatility of an expiry at a delta, as a function."""
    return lambda quotes: None if quotes.obstacle else quotes.smile.at_delta(delta)


def _of_expiry(wing: Wing, delta: float) -> Formula:
    def of(quotes: ExpiryQuotes) -> Estimate | None:
        found = at_delta(delta)(quotes), at_delta(-delta)(quotes), money(quotes)
        known = [estimate for estimate in found if estimate is not None]
        return _together(known, wing) if len(known) == len(found) else None

    return of


def _together(points: list[Estimate], wing: Wing) -> Estimate:
    """What the forward's error moves apart or together counts as such, the noise of each point on its own."""
    parts = list(zip(points, wing, strict=True))
    return Estimate(
        value=sum(point.value * share for point, share in parts),
        by_quotes=math.hypot(*(point.by_quotes * share for point, share in parts)),
        by_forward=sum(point.by_forward * share for point, share in parts),
    )


def _over_tenors(chain: Chain, wing: Wing, delta: float) -> Iterator[Value]:
    for days in TENORS:
        found = difference_at_tenor(chain.expiries, days, _of_expiry(wing, delta))
        yield Value(value=found.iv, observations=found.observations, quality=found.quality, tenor_days=days)


def _over_expiries(chain: Chain, wing: Wing, delta: float) -> Iterator[Value]:
    for quotes in chain.expiries:
        yield by_expiry(quotes, _of_expiry(wing, delta), NOT_REACHED)


def risk_reversal_25_delta(chain: Chain) -> Iterator[Value]:
    """Volatility of the 25-delta call less that of the 25-delta put, at 7, 30, 60 and 90 days.

    Formula: σ(Δ = 0.25) - σ(Δ = -0.25), Δ = ± exp(-qT) N(± d1) of the option at its own volatility, the smile as for
    iv_at_the_money_by_expiry; between expiries by a cubic
    in the root of time, else as iv_constant_maturity.
    Source: Wystup, FX Options and Structured Products (2006), ch. 1.
    Ties: none arise.
    Null: no expiry on one of the sides of the tenor has quotes that reach both deltas.
    """
    return _over_tenors(chain, _TILT, 0.25)


def risk_reversal_10_delta(chain: Chain) -> Iterator[Value]:
    """Volatility of the 10-delta call less that of the 10-delta put, at 7, 30, 60 and 90 days.

    Formula: σ(Δ = 0.10) - σ(Δ = -0.10), as risk_reversal_25_delta.
    Source: Wystup, FX Options and Structured Products (2006), ch. 1.
    Ties: none arise.
    Null: no expiry on one of the sides of the tenor has quotes that reach both deltas.
    """
    return _over_tenors(chain, _TILT, 0.10)


def butterfly_25_delta(chain: Chain) -> Iterator[Value]:
    """How much the 25-delta wings lie above the money in volatility, at 7, 30, 60 and 90 days.

    Formula: (σ(Δ = 0.25) + σ(Δ = -0.25)) / 2 - σ(K = F), between expiries as
    risk_reversal_25_delta.
    Source: Wystup, FX Options and Structured Products (2006), ch. 1.
    Ties: none arise.
    Null: no expiry on one of the sides of the tenor has quotes that reach both deltas.
    """
    return _over_tenors(chain, _CURVE, 0.25)


def butterfly_10_delta(chain: Chain) -> Iterator[Value]:
    """How much the 10-delta wings lie above the money in volatility, at 7, 30, 60 and 90 days.

    Formula: (σ(Δ = 0.10) + σ(Δ = -0.10)) / 2 - σ(K = F), between expiries as
    risk_reversal_25_delta.
    Source: Wystup, FX Options and Structured Products (2006), ch. 1.
    Ties: none arise.
    Null: no expiry on one of the sides of the tenor has quotes that reach both deltas.
    """
    return _over_tenors(chain, _CURVE, 0.10)


def risk_reversal_25_delta_by_expiry(chain: Chain) -> Iterator[Value]:
    """Volatility of the 25-delta call less that of the 25-delta put, of each expiry.

    Formula: σ(Δ = 0.25) - σ(Δ = -0.25), as risk_reversal_25_delta without interpolation.
    Source: Wystup, FX Options and Structured Products (2006), ch. 1.
    Ties: none arise.
    Null: the expiry has no smile (as for iv_at_the_money_by_expiry), or its quotes do not reach both deltas.
    """
    return _over_expiries(chain, _TILT, 0.25)


def butterfly_25_delta_by_expiry(chain: Chain) -> Iterator[Value]:
    """How much the 25-delta wings of each expiry lie above its money in volatility.

    Formula: (σ(Δ = 0.25) + σ(Δ = -0.25)) / 2 - σ(K = F).
    Source: Wystup, FX Options and Structured Products (2006), ch. 1.
    Ties: none arise.
    Null: the expiry has no smile (as for iv_at_the_money_by_expiry), or its quotes do not reach both deltas.
    """
    return _over_expiries(chain, _CURVE, 0.25)


STATISTICS = (
    Statistic(name="risk_reversal_25_delta", unit="1/year", compute=risk_reversal_25_delta),
    Statistic(name="risk_reversal_10_delta", unit="1/year", compute=risk_reversal_10_delta),
    Statistic(name="butterfly_25_delta", unit="1/year", compute=butterfly_25_delta),
    Statistic(name="butterfly_10_delta", unit="1/year", compute=butterfly_10_delta),
    Statistic(name="risk_reversal_25_delta_by_expiry", unit="1/year", compute=risk_reversal_25_delta_by_expiry),
    Statistic(name="butterfly_25_delta_by_expiry", unit="1/year", compute=butterfly_25_delta_by_expiry),
)
