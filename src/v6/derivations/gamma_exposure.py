"""What those who are long every call and short every put have to trade when the underlying moves 1 %."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from v6.derivations.chain import Chain, ExpiryQuotes, Floats
from v6.derivations.statistic import OK, Statistic, Value

SPOTS = np.linspace(0.8, 1.2, 81)  # of the spot, where a crossing is looked for
USUAL_MULTIPLIER = 100.0


@dataclass(frozen=True, kw_only=True, slots=True)
class _Held:
    """Strikes with open interest of one expiry: net contracts (calls less puts) times multiplier, and volatility."""

    quotes: ExpiryQuotes
    strikes: Floats
    units: Floats
    iv: Floats

    def exposure(self, spots: Floats) -> Floats:
        """Γ S² / 100 in currency for 1 %, a row a spot and a column a strike; volatilities stay when the spot moves."""
        quotes, root = self.quotes, math.sqrt(self.quotes.years)
        carried = spots[:, None] * math.exp(-quotes.forward.carry(quotes.years) * quotes.years)
        discounted = self.strikes[None, :] * quotes.forward.discount
        d1 = np.log(carried / discounted) / (self.iv * root) + self.iv * root / 2
        density = np.exp(-d1 * d1 / 2) / math.sqrt(2 * math.pi)
        exposure: Floats = self.units * carried * density / (self.iv * root) / 100  # Γ S² is this by Hull, ch. 19
        return exposure


def _held(chain: Chain) -> list[_Held]:
    return [held for quotes in chain.with_smile if len((held := _held_of(quotes)).strikes)]


def _held_of(quotes: ExpiryQuotes) -> _Held:
    calls, puts = quotes.calls, quotes.puts
    multiplier = np.where(np.isfinite(calls.multiplier), calls.multiplier, puts.multiplier)
    multiplier = np.where(np.isfinite(multiplier), multiplier, USUAL_MULTIPLIER)
    units = (np.nan_to_num(calls.open_interest) - np.nan_to_num(puts.open_interest)) * multiplier
    there = (np.nan_to_num(calls.open_interest) + np.nan_to_num(puts.open_interest)) > 0
    k = np.log(quotes.strikes[there] / (quotes.forward.ratio * quotes.spot))
    iv = np.maximum(quotes.smile.nearest_of(k), 0.01)
    return _Held(quotes=quotes, strikes=quotes.strikes[there], units=units[there], iv=iv)


def gamma_exposure_by_strike(chain: Chain) -> Iterator[Value]:
    """Gamma exposure at each strike over all expiries, in currency for a move of 1 %, calls counted + and puts -.

    Formula: Σ over expiries of (OI_call - OI_put) · multiplier · Γ(K, σ) · S² / 100; σ by the smile at the strike,
    beyond the quotes that of the outermost one; Γ of Black-Scholes-Merton on the implied forward.
    Source: the usual convention of dealers long calls and short puts.
    Ties: none arise.
    Null: never: strikes without open interest, and expiries without a smile or within a day, are left out.
    """
    spot, total, counts = np.array([chain.spot]), dict[float, float](), dict[float, int]()
    for held in _held(chain):
        for strike, value in zip(held.strikes.tolist(), held.exposure(spot)[0].tolist(), strict=True):
            total[strike] = total.get(strike, 0.0) + value
            counts[strike] = counts.get(strike, 0) + 1
    for strike, value in sorted(total.items()):
        yield Value(value=value, observations=counts[strike], strike=strike)


def gamma_exposure(chain: Chain) -> Iterator[Value]:
    """Gamma exposure of the whole chain, in currency for a move of 1 %.

    Formula: Σ over strikes of gamma_exposure_by_strike.
    Source: the usual convention of dealers long calls and short puts.
    Ties: none arise.
    Null: no expiry with a smile has open interest.
    """
    held = _held(chain)
    count = sum(len(one.strikes) for one in held)
    value = float(sum(one.exposure(np.array([chain.spot])).sum() for one in held)) if held else None
    yield Value(value=value, observations=count, quality=OK if held else "no expiry with a smile has open interest")


def gamma_exposure_zero(chain: Chain) -> Iterator[Value]:
    """The price of the underlying nearest to now at which the gamma exposure changes its sign, in currency.

    Formula: the zero of Σ (OI_call - OI_put) · multiplier · Γ(S') · S'² / 100 over S' from 80 % to 120 % of spot in
    steps of 0.5 %, each option keeping its volatility; linear between the steps.
    Source: the usual convention of dealers long calls and short puts.
    Ties: of equally near ones the lower.
    Null: no expiry with a smile has open interest, or the sign does not change within the range.
    """
    held = _held(chain)
    spots = SPOTS * chain.spot
    if not held:
        yield Value(value=None, observations=0, quality="no expiry with a smile has open interest")
        return
    totals = np.sum([one.exposure(spots).sum(axis=1) for one in held], axis=0)
    zero = zero_nearest(spots, totals, chain.spot)
    count = sum(len(one.strikes) for one in held)
    quality = OK if zero is not None else "the sign does not change from 80 % to 120 % of spot"
    yield Value(value=zero, observations=count, quality=quality)


def zero_nearest(places: Floats, values: Floats, to: float) -> float | None:
    """Where values, linear between ascending places, are zero, nearest to a place; None where they are nowhere."""
    signs = np.sign(values)
    changes = np.flatnonzero(signs[:-1] * signs[1:] < 0)
    steps, rises = places[changes + 1] - places[changes], values[changes + 1] - values[changes]
    zeros = np.sort(np.concatenate([places[signs == 0], places[changes] - values[changes] * steps / rises]))
    return float(zeros[int(np.argmin(np.abs(zeros - to)))]) if len(zeros) else None


STATISTICS = (
    Statistic(name="gamma_exposure", unit="currency for 1 %", compute=gamma_exposure),
    Statistic(name="gamma_exposure_by_strike", unit="currency for 1 %", compute=gamma_exposure_by_strike),
    Statistic(name="gamma_exposure_zero", unit="currency", compute=gamma_exposure_zero),
)
