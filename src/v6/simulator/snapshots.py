"""What an instrument shows at one second: quotes, the session so far, open interest and greeks."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

from v6.simulator import pricing
from v6.simulator.calendar import Sessions, new_york_second, utc
from v6.simulator.history import CLOSE, IntArray
from v6.simulator.instruments import Computation, Instrument, Snapshot
from v6.simulator.path import DayPath
from v6.simulator.prices import Prices
from v6.simulator.pricing import Greeks, Terms
from v6.simulator.smile import volatility
from v6.simulator.universe import Product

_SPREAD_FLOOR = 0.01
_MASK = 2**64 - 1
_Seconds = TypeVar("_Seconds", int, IntArray)


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """Where an instant falls: the session in force, the last second of it that counts, and whether it is open."""

    position: int
    second: int
    is_open: bool


def regular_moment(sessions: Sessions, second: int) -> Moment:
    """The regular session that has opened last."""
    position = sessions.last_opened(second)
    close = sessions.closes[position]
    return Moment(position=position, second=min(second, close), is_open=second < close)


def globex_moment(prices: Prices, second: int) -> Moment:
    """The Globex session that has begun last: each begins at 18:00 New York on the evening before."""
    sessions = prices.sessions
    position = min(sessions.closed_by(second), len(sessions) - 1)
    while position and prices.globex_hours(position)[0] > second:
        position -= 1
    end = prices.globex_hours(position)[1]
    return Moment(position=position, second=min(second, end), is_open=second < end)


def mixed(*numbers: int) -> int:
    """64 well-mixed bits from a few integers (splitmix64): noise that needs no generator."""
    state = 0
    for number in numbers:
        state = (state + number + 0x9E3779B97F4A7C15) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state


def is_at_ask(index: _Seconds) -> _Seconds:
    """1 when the trade of a second of the session took place at the ask, 0 when at the bid."""
    return (index * 2_654_435_761 >> 16) & 1


class Snapshots:
    """Snapshots of everything that trades."""

    def __init__(self, prices: Prices, seed: int) -> None:
        self._prices = prices
        self._sessions = prices.sessions
        self._seed = seed

    def moment(self, product: Product, now: datetime) -> Moment:
        """Where an instant falls for a product or for options on it."""
        second = int(now.timestamp())
        if product.sec_type == "FUT":
            return globex_moment(self._prices, second)
        return regular_moment(self._sessions, second)

    def outright(self, product: Product, month: int, now: datetime) -> Snapshot:
        """A stock, an index, or a future that is ``month`` months behind the front one."""
        moment = self.moment(product, now)
        path = self._prices.path(product, moment.position)
        index, tick = path.offset(moment.second), float(product.tick)
        bare = Snapshot(
            at=now,
            is_open=moment.is_open,
            bid=None,
            ask=None,
            last=_price(int(path.prices[index]), tick),
            bid_size=None,
            ask_size=None,
            last_size=None,
            last_time=utc(path.start + index),
            volume=None,
            open=_price(int(path.prices[0]), tick),
            high=_price(int(path.highs[index]), tick),
            low=_price(int(path.lows[index]), tick),
            close=_price(int(self._prices.daily(product).ticks[CLOSE, max(0, moment.position - 1)]), tick),
        )
        traded = self._traded(bare, product, month, moment, path) if product.volume_divisor else bare
        return self._with_option_totals(traded, product, moment, path)

    def _traded(self, bare: Snapshot, product: Product, month: int, moment: Moment, path: DayPath) -> Snapshot:
        """With what an index has not: quotes one tick apart, sizes and volume."""
        index, tick = path.offset(moment.second), float(product.tick)
        bid = int(path.prices[index]) - is_at_ask(index)
        sizes = mixed(self._seed, product.code, month, moment.position, index)
        return replace(
            bare,
            bid=_price(bid, tick),
            ask=_price(bid + 1, tick),
            bid_size=1 + sizes % 40,
            ask_size=1 + (sizes >> 8) % 40,
            last_size=1 + (sizes >> 16) % 9,
            volume=int(path.volume[index + 1]) // 10**month,
            open_interest=self._future_interest(product, month, moment.position),
        )

    def _future_interest(self, product: Product, month: int, position: int) -> int | None:
        if product.sec_type != "FUT":
            return None
        volume = int(self._prices.daily(product).volume[max(0, position - 1)])
        return (2_000_000 + volume // 10) // 8**month + mixed(self._seed, product.code, month, position) % 1_000

    def _with_option_totals(self, bare: Snapshot, product: Product, moment: Moment, path: DayPath) -> Snapshot:
        """The 30-day volatility of a future; of an underlying of options also round totals of all calls and puts."""
        if product.sec_type == "FUT":
            return replace(bare, implied_volatility=round(self.level(product, moment.position), 6))
        if product.options is None:
            return bare
        noise = mixed(self._seed, product.code, moment.position)
        share = (path.offset(moment.second) + 1) / len(path.prices)
        return replace(
            bare,
            call_open_interest=400_000 + noise % 200_000,
            put_open_interest=500_000 + (noise >> 20) % 300_000,
            call_volume=int(share * (50_000 + (noise >> 40) % 50_000)),
            put_volume=int(share * (60_000 + (noise >> 44) % 60_000)),
            implied_volatility=round(self.level(product, moment.position), 6),
        )

    def level(self, product: Product, position: int) -> float:
        """30-day volatility of a product through a session: VIX as it closed before, times the product's factor."""
        return float(self._prices.history.vix[max(0, position - 1)]) / 100 * product.volatility

    def option_price(self, option: Instrument, product: Product, spot: float, second: int, position: int) -> float:
        """The theoretical price of an option at a price of its underlying."""
        terms = option_terms(option, product, spot, second)
        return pricing.price(terms, self._volatility(terms, product, position))

    def _volatility(self, terms: Terms, product: Product, position: int) -> float:
        return volatility(self.level(product, position), terms.strike, terms.forward, terms.years)

    def option(self, option: Instrument, product: Product, now: datetime) -> Snapshot:
        """An option: the theoretical price with a spread around it, wider the dearer and farther from the money."""
        moment = self.moment(product, now)
        path = self._prices.path(product, moment.position)
        index = path.offset(moment.second)
        terms = option_terms(option, product, int(path.prices[index]) * float(product.tick), moment.second)
        sigma = self._volatility(terms, product, moment.position)
        model = pricing.greeks(terms, sigma)
        bid, ask = quote(terms, model.price)
        noise = mixed(self._seed, option.con_id, moment.position)
        traded_at = max(0, index - (index + noise) % (30 + noise % 300))
        first, high, low, last = self._trades(option, product, path, traded_at, moment.position)
        per_day = option_volume(option.strike, self._spot_before(product, moment.position), noise)
        sizes = mixed(noise, index)
        return Snapshot(
            at=now,
            is_open=moment.is_open,
            bid=bid,
            ask=ask,
            last=last,
            bid_size=1 + sizes % 200,
            ask_size=1 + (sizes >> 8) % 200,
            last_size=1 + (sizes >> 16) % 10,
            last_time=utc(path.start + traded_at),
            volume=1 + (per_day - 1) * (index + 1) // len(path.prices),
            open=first,
            high=high,
            low=low,
            close=self._close_before(option, product, moment.position),
            open_interest=10 + per_day * 3 + mixed(self._seed, option.con_id) % 500,
            bid_greeks=_computation(terms, bid, sigma),
            ask_greeks=_computation(terms, ask, sigma),
            last_greeks=_computation(terms, last, sigma),
            model_greeks=_record(terms, sigma, model, model.price),
        )

    def _trades(
        self, option: Instrument, product: Product, path: DayPath, index: int, position: int
    ) -> tuple[float, float, float, float]:
        """Open, high, low and last trade of the session at a second of it."""
        tick = float(product.tick)

        def at(ticks: int, offset: int) -> float:
            return to_cent(self.option_price(option, product, ticks * tick, path.start + offset, position))

        best, worst = int(path.highs[index]), int(path.lows[index])
        if option.right == "P":
            best, worst = worst, best
        first, last = at(int(path.prices[0]), 0), at(int(path.prices[index]), index)
        return first, max(first, last, at(best, 0)), min(first, last, at(worst, index)), last

    def _close_before(self, option: Instrument, product: Product, position: int) -> float:
        before = max(0, position - 1)
        spot = self._spot_before(product, position)
        return to_cent(self.option_price(option, product, spot, self._sessions.closes[before], before))

    def _spot_before(self, product: Product, position: int) -> float:
        return int(self._prices.daily(product).ticks[CLOSE, max(0, position - 1)]) * float(product.tick)


def option_terms(option: Instrument, product: Product, spot: float, second: int) -> Terms:
    """What an option is priced from. Time runs in calendar seconds to 16:00 New York, one minute at the least."""
    if option.expiry is None:
        raise ValueError(f"{option.local_symbol} is not an option: it has no expiry")
    years = (new_york_second(option.expiry, 16) - second) / pricing.YEAR_SECONDS
    return Terms(
        spot=spot,
        strike=option.strike,
        years=max(years, pricing.MIN_YEARS),
        dividend=product.dividend,
        is_call=option.right == "C",
    )


def option_volume(strike: float, close_before: float, noise: int) -> int:
    """Contracts traded over a whole day, most of them near the close before it; at least one."""
    distance = abs(math.log(strike / close_before))
    return 1 + int(500 / (1 + 200 * distance) * (1 + noise % 7))


def quote(terms: Terms, value: float) -> tuple[float, float]:
    """Bid and ask in cents around a theoretical price: the bid is at least one cent, the ask one more."""
    distance = abs(math.log(terms.strike / terms.spot))
    half = _SPREAD_FLOOR + 0.006 * value**0.8 * (1 + 2 * distance)
    bid = max(1, math.floor((value - half) * 100))
    return bid / 100, max(bid + 1, math.ceil((value + half) * 100)) / 100


def to_cent(value: float) -> float:
    """A trade price: the nearest cent, at least one."""
    return max(1, math.floor(value * 100 + 0.5)) / 100


def _price(ticks: int, tick: float) -> float:
    return round(ticks * tick, 2)


def _computation(terms: Terms, target: float, guess: float) -> Computation | None:
    """Greeks at the volatility that a price implies; None when no volatility does."""
    sigma = pricing.implied_volatility(terms, target, guess)
    return None if sigma is None else _record(terms, sigma, pricing.greeks(terms, sigma), target)


def _record(terms: Terms, sigma: float, values: Greeks, price: float) -> Computation:
    return Computation(
        iv=sigma,
        delta=values.delta,
        price=price,
        pv_dividend=terms.spot * -math.expm1(-terms.dividend * terms.years),
        gamma=values.gamma,
        vega=values.vega,
        theta=values.theta,
        underlying=terms.spot,
    )
