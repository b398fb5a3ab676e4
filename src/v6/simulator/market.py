"""The simulated market: a pure function of seed and instant. It answers everything the server asks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta

from v6.simulator.bars import BarRequest, Bars
from v6.simulator.calendar import NEW_YORK, load_sessions, utc
from v6.simulator.contract_master import Contracts, cash
from v6.simulator.history import load_history
from v6.simulator.hours import trading_hours
from v6.simulator.instruments import (
    OPTION_TYPES,
    ContractQuery,
    Holding,
    Instrument,
    MarketBar,
    OptionListing,
    Snapshot,
)
from v6.simulator.listing import Listing
from v6.simulator.prices import Prices
from v6.simulator.snapshots import Snapshots
from v6.simulator.universe import PRODUCTS, Product


class Market:
    """Prices, contracts and positions for every instant between 1990 and 2046."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self._sessions = load_sessions()
        self._prices = Prices(self._sessions, load_history(self._sessions, seed), seed)
        self._listing = Listing(self._prices)
        self._contracts = Contracts(self._sessions, self._listing)
        self._snapshots = Snapshots(self._prices, seed)
        self._bars = Bars(self._prices, self._listing, self._snapshots)

    def find(self, query: ContractQuery, now: datetime) -> Sequence[Instrument]:
        """Every listed contract that fits, in (expiry, strike, right) order; empty is error 200."""
        return self._contracts.find(query, now)

    def option_listings(self, under_con_id: int, now: datetime) -> Sequence[OptionListing]:
        """What is listed on a stock, an index or a future: one record a class, with all its exchanges."""
        classes = self._contracts.classes_on(under_con_id, now)
        return [listing for product in classes for listing in self._class_listings(product, under_con_id, now)]

    def _class_listings(self, product: Product, under_con_id: int, now: datetime) -> Iterator[OptionListing]:
        rules, position = product.options, self._listing.current(int(now.timestamp()))
        if rules is None:
            return
        by_class: dict[str, list[date]] = {}
        for expiry in self._listing.expiries(product, position):
            if self._contracts.underlies(under_con_id, product, expiry):
                by_class.setdefault(self._listing.class_of(product, expiry), []).append(expiry)
        for trading_class, expiries in by_class.items():
            strikes = {tenths for expiry in expiries for tenths in self._listing.strikes(product, expiry, position)}
            yield OptionListing(
                exchanges=rules.exchanges,
                underlying_con_id=under_con_id,
                trading_class=trading_class,
                multiplier=rules.multiplier,
                expiries=tuple(expiries),
                strikes=tuple(tenths / 10 for tenths in sorted(strikes)),
            )

    def snapshot(self, instrument: Instrument, now: datetime) -> Snapshot:
        """The market of one instrument; outside its session the last values of it."""
        product = self._contracts.product(instrument)
        if instrument.sec_type in OPTION_TYPES:
            return self._snapshots.option(instrument, product, now)
        return self._snapshots.outright(product, self._months_behind(instrument, now), now)

    def bars(
        self,
        instrument: Instrument,
        *,
        start: datetime,
        end: datetime,
        now: datetime,
        bar_seconds: int,
        what_to_show: str,
        regular_hours: bool,
    ) -> Sequence[MarketBar]:
        """Bars with start <= bar start < end and not after ``now``, oldest first. A day or week counts from the
        regular open of its first session; daily bars of futures are those of the regular session."""
        request = BarRequest(
            start=-int(-start.timestamp() // 1),
            end=-int(-end.timestamp() // 1),
            now=int(now.timestamp()),
            bar_seconds=bar_seconds,
            what_to_show=what_to_show,
            regular_hours=regular_hours,
        )
        product = self._contracts.product(instrument)
        return self._bars.bars(instrument, product, request)

    def daily_bar(self, symbol: str, day: date) -> MarketBar | None:
        """The finished daily bar of a stock, an index or a future's symbol; None when there is no session or symbol."""
        product = next((found for found in PRODUCTS if found.symbol == symbol), None)
        if product is None or day not in self._sessions:
            return None
        instrument = cash(product)
        close = self._sessions.closes[self._sessions.position(day)]
        request = BarRequest(
            start=self._sessions.opens[self._sessions.position(day)],
            end=close,
            now=close,
            bar_seconds=86_400,
            what_to_show="TRADES",
            regular_hours=True,
        )
        return self._bars.bars(instrument, product, request)[0]

    def sessions_back(self, instrument: Instrument, end: datetime, count: int, *, regular_hours: bool) -> datetime:
        """The open of the session ``count`` sessions back, the one that contains or precedes ``end`` counted first."""
        product = self._contracts.product(instrument)
        position = self._snapshots.moment(product, end).position
        first = max(0, position - max(count, 1) + 1)
        return utc(self._bars.hours(product, first, regular_hours=regular_hours)[0])

    def head_timestamp(self, instrument: Instrument, what_to_show: str) -> datetime:
        """The first instant with data, whatever it shows."""
        del what_to_show
        product = self._contracts.product(instrument)
        first = self._bars.first_position(instrument, product)
        return utc(self._bars.hours(product, first, regular_hours=True)[0])

    def trading_hours(self, instrument: Instrument, now: datetime, *, liquid: bool) -> str:
        """IB's text for six days from the day of ``now`` on, New York time."""
        today = now.astimezone(NEW_YORK).date()
        return trading_hours(self._prices, self._contracts.product(instrument), instrument, today, liquid=liquid)

    def holdings(self, now: datetime) -> Sequence[Holding]:
        """The account's positions: a stock, an option near the money two to six weeks out, and a future."""
        spy, es = (self._product(symbol) for symbol in ("SPY", "ES"))
        option = self._near_the_money(spy, now)
        future = self._contracts.front(es, now)
        multiplier = float(future.multiplier)
        return (
            Holding(instrument=cash(spy), quantity=100.0, average_cost=self._close_before(spy, now)),
            Holding(instrument=option, quantity=-2.0, average_cost=100 * (self.snapshot(option, now).close or 0.0)),
            Holding(instrument=future, quantity=1.0, average_cost=multiplier * self._close_before(es, now)),
        )

    def last_completed_session(self, now: datetime) -> tuple[datetime, datetime]:
        """Open and close (UTC) of the last XNYS session that has ended."""
        position = self._sessions.last_closed(int(now.timestamp()))
        return utc(self._sessions.opens[position]), utc(self._sessions.closes[position])

    def _product(self, symbol: str) -> Product:
        return next(product for product in PRODUCTS if product.symbol == symbol)

    def _close_before(self, product: Product, now: datetime) -> float:
        return self._snapshots.outright(product, 0, now).close or 0.0

    def _near_the_money(self, product: Product, now: datetime) -> Instrument:
        earliest = now.date() + timedelta(days=14)
        listed = self._listing.expiries(product, self._listing.current(int(now.timestamp())))
        expiry = min(day for day in listed if day >= earliest)
        query = ContractQuery(symbol=product.symbol, sec_type="OPT", expiry=f"{expiry:%Y%m%d}", right="C")
        spot = self._close_before(product, now)
        return min(self._contracts.find(query, now), key=lambda option: abs(option.strike - spot))

    def _months_behind(self, instrument: Instrument, now: datetime) -> int:
        """A future's place among the months by trading; each has a tenth of the volume of the one before."""
        if instrument.sec_type != "FUT" or instrument.expiry is None:
            return 0
        position = self._snapshots.moment(self._contracts.product(instrument), now).position
        return self._listing.months_behind(instrument.expiry, position)
