"""Where a function of one number is zero, between two places at which it has different signs."""

from __future__ import annotations

from collections.abc import Callable

STEPS = 60
NEAR_ENOUGH = 1e-10


def zero_between(function: Callable[[float], float], one: float, other: float) -> float | None:
    """A place between two at which a continuous function is zero; None where both values have the same sign.

    Source: the Illinois variant of regula falsi, Dowell and Jarratt, BIT 11 (1971).
    """
    at_one, at_other = function(one), function(other)
    if at_one * at_other > 0:
        return None
    for _ in range(STEPS):
        if abs(other - one) < NEAR_ENOUGH or at_other == at_one:
            break
        place = other - at_other * (other - one) / (at_other - at_one)
        value = function(place)
        if value * at_other < 0:
            one, at_one = other, at_other
        else:
            at_one /= 2
        other, at_other = place, value
    return other
