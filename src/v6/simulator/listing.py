"""Which expiries and strikes are listed at a session. What is listed once stays listed until it expires."""

from __future__ import annotations

import math
from datetime import date, timedelta
from enum import Enum
from functools import lru_cache

from v6.simulator.calendar import Sessions, new_york_second, third_friday
from v6.simulator.history import CLOSE
from v6.simulator.prices import Prices
from v6.simulator.universe import OptionRules, Product

FRIDAY = 4
DAILY_DAYS = 14
MONTHLY_DAYS = 372
QUARTERS = 5
ROLL_SESSIONS = 5  # so many sessions before its last, a future's volume has moved to the next month
_STEP_TENTHS = tuple(unit * 10**power for power in range(5) for unit in (1, 2, 5))
# Strikes up to a bound (in tenths) are multiples of a unit (in tenths): contract ids count these units.
BANDS = ((1_000, 1), (10_000, 5), (100_000, 50), (1_000_000, 500))


class Cycle(Enum):
    """Why an expiry exists."""

    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"


def cycle_of(sessions: Sessions, expiry: date, weekday: int = FRIDAY) -> Cycle:
    """The cycle of a session as an expiry: the last session up to Friday is the week's; the third Friday a month's.

    Of Wednesdays a month's is the one 30 days before a third Friday, as VIX has it.
    """
    last = expiry + timedelta(days=weekday - expiry.weekday())
    if sessions.dates[sessions.on_or_before(last)] != expiry:
        return Cycle.DAILY
    friday = last if weekday == FRIDAY else last + timedelta(days=30)
    return Cycle.MONTHLY if friday == third_friday(friday.year, friday.month) else Cycle.WEEKLY


def on_grid(tenths: int) -> bool:
    """Whether a strike, in tenths, can be listed at all."""
    unit = next((unit for bound, unit in BANDS if tenths <= bound), 0)
    return tenths > 0 and unit > 0 and tenths % unit == 0


class Listing:
    """Expiries and strikes of options, and months of futures."""

    def __init__(self, prices: Prices) -> None:
        self._prices = prices
        self._sessions = prices.sessions
        self.strikes = lru_cache(maxsize=4096)(self._strikes)
        self.expiries = lru_cache(maxsize=256)(self._expiries)

    def current(self, second: int) -> int:
        """The session whose listing is in force: the first one that has not closed."""
        return min(self._sessions.closed_by(second), len(self._sessions) - 1)

    def first_listed(self, product: Product, expiry: date) -> int | None:
        """The session at which an expiry is listed; None when it never is."""
        rules = product.options
        if rules is None or expiry not in self._sessions:
            return None
        days = _horizon(rules, cycle_of(self._sessions, expiry, rules.weekday))
        return self._sessions.on_or_after(expiry - timedelta(days=days)) if days else None

    def _expiries(self, product: Product, position: int) -> tuple[date, ...]:
        today = self._sessions.dates[position]
        stop = self._sessions.on_or_before(today + timedelta(days=MONTHLY_DAYS)) + 1
        found = []
        for expiry in self._sessions.dates[position:stop]:
            first = self.first_listed(product, expiry)
            if first is not None and first <= position:
                found.append(expiry)
        return tuple(found)

    def _strikes(self, product: Product, expiry: date, position: int) -> tuple[int, ...]:
        """Strikes in tenths, ascending, as listed at a session: those of the first one and what was added since."""
        first, rules = self.first_listed(product, expiry), product.options
        if first is None or rules is None or position < first:
            return ()
        closes = self._prices.daily(product).ticks[CLOSE, max(0, first - 1) : max(1, position)] * float(product.tick)
        step = strike_step(float(closes[0]) * rules.step)
        below, above = _reach(rules, cycle_of(self._sessions, expiry, rules.weekday))
        centre = round(10 * float(closes[0]) / step)
        low = min(centre - below, math.floor(10 * float(closes.min()) / step) - below // 3)
        high = max(centre + above, math.ceil(10 * float(closes.max()) / step) + above // 3)
        return tuple(tenths for tenths in range(low * step, high * step + 1, step) if on_grid(tenths))

    def class_of(self, product: Product, expiry: date) -> str:
        """The trading class of an expiry: of options on futures the weeks are numbered within their month."""
        rules = product.options
        if rules is None:
            return product.symbol
        if product.sec_type == "FUT":
            is_quarter = expiry == self.quarter(expiry.year, expiry.month) and expiry.month % 3 == 0
            return rules.trading_class if is_quarter else f"{rules.weekly_class}{(expiry.day - 1) // 7 + 1}"
        is_month = cycle_of(self._sessions, expiry, rules.weekday) is Cycle.MONTHLY
        return rules.trading_class if is_month else rules.weekly_class or rules.trading_class

    def quarter_after(self, expiry: date) -> date:
        """The expiry of the futures month that an option on it is settled into: the first one not before."""
        return self._nearest_quarter(expiry)

    def quarters(self, second: int) -> tuple[date, ...]:
        """The listed expiries of futures: the third Fridays of the next quarterly months, until 09:30 that day."""
        today = self._sessions.dates[self._sessions.last_opened(second)]
        months = [(today.year + number // 4, 3 * (number % 4) + 3) for number in range(QUARTERS + 5)]
        expiries = [self.quarter(year, month) for year, month in months]
        return tuple(expiry for expiry in expiries if new_york_second(expiry, 9, 30) > second)[:QUARTERS]

    def months_behind(self, expiry: date, position: int) -> int:
        """A future's place by trading at a session: 0 the busiest month, 1 the next one; the same whenever it is asked.

        It is the number of listed months that expire before it; in the last sessions of the nearest month that one and
        its successor change places.
        """
        today = self._sessions.dates[position]
        nearest = self._nearest_quarter(today)
        behind = 4 * (expiry.year - nearest.year) + (expiry.month - nearest.month) // 3
        has_rolled = position >= self._sessions.position(nearest) - ROLL_SESSIONS
        return 1 - behind if has_rolled and behind in (0, 1) else max(0, behind)

    def _nearest_quarter(self, today: date) -> date:
        month = 3 * ((today.month + 2) // 3)
        expiry = self.quarter(today.year, month)
        return expiry if expiry >= today else self.quarter(today.year + month // 12, month % 12 + 3)

    def quarter(self, year: int, month: int) -> date:
        """The last trading day of a futures month: its third Friday, or the session before it."""
        return self._sessions.dates[self._sessions.on_or_before(third_friday(year, month))]


def strike_step(widest: float) -> int:
    """The largest step of 1, 2, 5 x 10^n not above ``widest`` dollars, in tenths; at least one tenth."""
    return max((step for step in _STEP_TENTHS if step <= widest * 10), default=_STEP_TENTHS[0])


def _horizon(rules: OptionRules, cycle: Cycle) -> int:
    if cycle is Cycle.MONTHLY:
        return MONTHLY_DAYS
    if cycle is Cycle.WEEKLY:
        return rules.weekly_days
    return DAILY_DAYS if rules.daily_each_side else 0


def _reach(rules: OptionRules, cycle: Cycle) -> tuple[int, int]:
    if cycle is Cycle.DAILY:
        return rules.daily_each_side, rules.daily_each_side
    return rules.below, rules.above
