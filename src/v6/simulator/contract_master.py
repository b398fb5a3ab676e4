"""The contract master of the simulated market: from what a client asked for to the listed contracts."""

from __future__ import annotations

import calendar
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime
from functools import lru_cache

from v6.simulator.calendar import Sessions
from v6.simulator.contract_ids import (
    CONTINUOUS_BASE,
    STOCK_BASE,
    ContractKey,
    decode,
    future_id,
    option_code,
    option_id,
)
from v6.simulator.instruments import OPTION_TYPES, ContractQuery, Instrument
from v6.simulator.listing import Listing
from v6.simulator.universe import CLASSES, PRODUCTS, Product

_RIGHTS = {"": "", "C": "C", "CALL": "C", "P": "P", "PUT": "P"}
_MONTH_LETTERS = {3: "H", 6: "M", 9: "U", 12: "Z"}
_ALL_MONTH_LETTERS = "FGHJKMNQUVXZ"


class Contracts:
    """Finds listed contracts. Every question carries its instant."""

    def __init__(self, sessions: Sessions, listing: Listing) -> None:
        self._sessions = sessions
        self._listing = listing
        self._by_code = {product.code: product for product in PRODUCTS}
        self._by_symbol = {product.symbol: product for product in PRODUCTS}
        self._classes = [product for product in PRODUCTS if product.options is not None] + list(CLASSES)
        self._by_option_code = {product.code: product for product in self._classes}
        self._chain = lru_cache(maxsize=512)(self._build_chain)

    def product(self, instrument: Instrument) -> Product:
        """What the prices of an instrument are made from: for an option its underlying, as its class has it."""
        if instrument.sec_type in OPTION_TYPES:
            return self._by_option_code[option_code(instrument.con_id)]
        return self._by_symbol[instrument.symbol]

    def classes_on(self, con_id: int, now: datetime) -> list[Product]:
        """The classes of options on a stock, an index or a listed future."""
        key = decode(con_id, now.date())
        product = None if key is None or key.kind not in {"STK", "FUT"} else self._by_code.get(key.code)
        return [] if product is None else [one for one in self._classes if one.symbol == product.symbol]

    def underlies(self, con_id: int, product: Product, expiry: date) -> bool:
        """Whether that contract is what options of a class and an expiry are written on."""
        return self._under_con_id(product, expiry) == con_id

    def find(self, query: ContractQuery, now: datetime) -> tuple[Instrument, ...]:
        """Every listed contract that fits, in (expiry, strike, right) order."""
        candidates = self._of_id(query, now) if query.con_id else self._candidates(query, now)
        return tuple(_routed(found, query) for found in candidates if _fits(found, query))

    def _of_id(self, query: ContractQuery, now: datetime) -> Iterator[Instrument]:
        key = decode(query.con_id, now.date())
        if key is None:
            return
        product = (self._by_option_code if key.kind == "OPT" else self._by_code).get(key.code)
        if product is None:
            return
        is_future = product.sec_type == "FUT"
        if key.kind == "OPT":
            yield from self._option_of_key(key, product, now, include_expired=query.include_expired)
        elif key.kind == "FUT" and is_future:
            yield from self._future_of_key(key, product, now, include_expired=query.include_expired)
        elif key.kind == "CONTFUT" and is_future:
            yield self._continuous(product, now)
        elif key.kind == "STK" and not is_future:
            yield cash(product)

    def _option_of_key(
        self, key: ContractKey, product: Product, now: datetime, *, include_expired: bool
    ) -> Iterator[Instrument]:
        if key.expiry is None or key.expiry not in self._sessions:
            return
        second = int(now.timestamp())
        expired = self._has_expired(key.expiry, second)
        if expired and not include_expired:
            return
        position = self._sessions.position(key.expiry) if expired else self._listing.current(second)
        if key.strike_tenths in self._listing.strikes(product, key.expiry, position):
            yield self._option(product, key.expiry, key.strike_tenths, key.right)

    def _future_of_key(
        self, key: ContractKey, product: Product, now: datetime, *, include_expired: bool
    ) -> Iterator[Instrument]:
        expiry = self._listing.quarter(key.year, key.month)
        if expiry in self._listing.quarters(int(now.timestamp())) or (include_expired and expiry <= now.date()):
            yield self._future(product, key.year, key.month)

    def _candidates(self, query: ContractQuery, now: datetime) -> Iterator[Instrument]:
        product = self._product_named(query)
        query = _with_symbol(query)
        if product is None:
            return
        if query.sec_type in OPTION_TYPES:
            for one in self._classes:
                if one.symbol == product.symbol and _option_type(one) == query.sec_type:
                    yield from self._options(one, query, now)
        elif query.sec_type == "CONTFUT" and product.sec_type == "FUT":
            yield self._continuous(product, now)
        elif query.sec_type in ("", "FUT") and product.sec_type == "FUT":
            yield from self._futures(product, query, now)
        elif query.sec_type in ("", product.sec_type):
            yield cash(product)

    def _product_named(self, query: ContractQuery) -> Product | None:
        """By its symbol; a local symbol of an option begins with its class."""
        name = _with_symbol(query).symbol
        product = self._by_symbol.get(name)
        if product is not None or query.symbol:
            return product
        fits = (one for one in self._classes if name in _class_names(one))
        return next((self._by_symbol[one.symbol] for one in fits), None)

    def _has_expired(self, expiry: date, second: int) -> bool:
        """An option can be traded until its last session closes."""
        return self._sessions.closes[self._sessions.position(expiry)] <= second

    def _options(self, product: Product, query: ContractQuery, now: datetime) -> Iterator[Instrument]:
        second = int(now.timestamp())
        current = self._listing.current(second)
        for expiry in self._option_expiries(product, query, current):
            expired = self._has_expired(expiry, second)
            position = self._sessions.position(expiry) if expired else current
            yield from self._chain(product, expiry, position)

    def _option_expiries(self, product: Product, query: ContractQuery, current: int) -> list[date]:
        """Listed expiries that fit; expired ones too when they are asked for by day or month."""
        listed = [day for day in self._listing.expiries(product, current) if f"{day:%Y%m%d}".startswith(query.expiry)]
        if not (query.include_expired and query.expiry):
            return listed
        first, last = _expiry_range(query.expiry)
        stop = min(current, self._sessions.on_or_before(last) + 1)
        before = self._sessions.dates[self._sessions.on_or_after(first) : stop]
        return [day for day in before if self._listing.first_listed(product, day) is not None] + listed

    def _build_chain(self, product: Product, expiry: date, position: int) -> tuple[Instrument, ...]:
        strikes = self._listing.strikes(product, expiry, position)
        return tuple(self._option(product, expiry, tenths, right) for tenths in strikes for right in "CP")

    def _futures(self, product: Product, query: ContractQuery, now: datetime) -> Iterator[Instrument]:
        listed = self._listing.quarters(int(now.timestamp()))
        first, last = _expiry_range(query.expiry)
        if query.include_expired and last < listed[0] and first >= self._sessions.dates[0]:
            month = first.month
            if month in _MONTH_LETTERS:
                yield self._future(product, first.year, month)
            return
        for expiry in listed:
            yield self._future(product, expiry.year, expiry.month)

    def front(self, product: Product, now: datetime) -> Instrument:
        """The next month to expire."""
        expiry = self._listing.quarters(int(now.timestamp()))[0]
        return self._future(product, expiry.year, expiry.month)

    def _continuous(self, product: Product, now: datetime) -> Instrument:
        return replace(self.front(product, now), con_id=CONTINUOUS_BASE + product.code, sec_type="CONTFUT")

    def _future(self, product: Product, year: int, month: int) -> Instrument:
        return Instrument(
            con_id=future_id(product.code, year, month),
            symbol=product.symbol,
            sec_type="FUT",
            exchange=product.exchange,
            primary_exchange="",
            currency="USD",
            local_symbol=f"{product.symbol}{_MONTH_LETTERS[month]}{year % 10}",
            trading_class=product.symbol,
            long_name=product.long_name,
            min_tick=float(product.tick),
            multiplier=product.multiplier,
            expiry=self._listing.quarter(year, month),
            under_symbol=product.symbol,
            under_sec_type="IND",
            valid_exchanges=f"{product.exchange},QBALGO",
            industry=product.industry,
            category=product.category,
            real_expiry_time="09:30:00",
        )

    def _option(self, product: Product, expiry: date, tenths: int, right: str) -> Instrument:
        rules, trading_class = product.options, self._listing.class_of(product, expiry)
        is_on_future = product.sec_type == "FUT"
        local = f"{trading_class:<6}{expiry:%y%m%d}{right}{tenths * 100:08d}"
        if is_on_future:
            letter = _ALL_MONTH_LETTERS[expiry.month - 1]
            local = f"{trading_class}{letter}{expiry.year % 10} {right}{tenths / 10:g}"
        return Instrument(
            con_id=option_id(product.code, expiry, tenths, right),
            symbol=product.symbol,
            sec_type=_option_type(product),
            exchange=product.exchange if is_on_future else "SMART",
            primary_exchange="",
            currency="USD",
            local_symbol=local,
            trading_class=trading_class,
            long_name=product.long_name,
            min_tick=0.01,
            multiplier=rules.multiplier if rules else "100",
            expiry=expiry,
            strike=tenths / 10,
            right=right,
            under_con_id=self._under_con_id(product, expiry),
            under_symbol=product.symbol,
            under_sec_type=product.sec_type,
            valid_exchanges=",".join(rules.exchanges if rules else ()),
            real_expiry_time="16:00:00",
        )

    def _under_con_id(self, product: Product, expiry: date) -> int:
        underlying = self._by_symbol[product.symbol]
        if product.sec_type != "FUT":
            return STOCK_BASE + underlying.code
        quarter = self._listing.quarter_after(expiry)
        return future_id(underlying.code, quarter.year, quarter.month)


def cash(product: Product) -> Instrument:
    """A stock or an index."""
    is_stock = product.sec_type == "STK"
    return Instrument(
        con_id=STOCK_BASE + product.code,
        symbol=product.symbol,
        sec_type=product.sec_type,
        exchange="SMART" if is_stock else product.exchange,
        primary_exchange=product.exchange if is_stock else "",
        currency="USD",
        local_symbol=product.symbol,
        trading_class=product.symbol if is_stock else "",
        long_name=product.long_name,
        min_tick=float(product.tick),
        valid_exchanges=f"SMART,{product.exchange}" if is_stock else product.exchange,
        industry=product.industry,
        category=product.category,
        stock_type=product.stock_type,
    )


def _class_names(product: Product) -> set[str]:
    rules = product.options
    return {rules.trading_class, rules.weekly_class} - {""} if rules else set()


def _option_type(product: Product) -> str:
    return "FOP" if product.sec_type == "FUT" else "OPT"


def _with_symbol(query: ContractQuery) -> ContractQuery:
    """A local symbol alone names its contract: its symbol and type are read from it."""
    local = query.local_symbol
    if query.symbol or not local:
        return query
    if len(local) == 21:
        return replace(query, symbol=local[:6].strip(), sec_type=query.sec_type or "OPT", expiry="20" + local[6:12])
    if local[-1:].isdigit() and local[-2:-1] in _MONTH_LETTERS.values():
        return replace(query, symbol=local[:-2], sec_type=query.sec_type or "FUT")
    return replace(query, symbol=local)


def _expiry_range(text: str) -> tuple[date, date]:
    """The days that YYYYMM or YYYYMMDD stands for; text of another form stands for no day."""
    nothing = date.max, date.min
    if not text.isdigit() or len(text) not in (6, 8):
        return nothing
    year, month, day = int(text[:4]), int(text[4:6]), int(text[6:] or 1)
    if year == 0 or not 1 <= month <= 12:
        return nothing
    days = calendar.monthrange(year, month)[1]
    if not 1 <= day <= days:
        return nothing
    return date(year, month, day), date(year, month, days if len(text) == 6 else day)


def _fits(found: Instrument, query: ContractQuery) -> bool:
    expiry = f"{found.expiry:%Y%m%d}" if found.expiry else ""
    return (
        query.sec_type in ("", found.sec_type)
        and query.symbol in ("", found.symbol)
        and query.currency in ("", found.currency)
        and query.exchange in ("", *found.valid_exchanges.split(","))
        and expiry.startswith(query.expiry)
        and (query.strike == 0 or abs(query.strike - found.strike) < 1e-9)
        and _RIGHTS.get(query.right.upper(), "?") in ("", found.right)
        and query.multiplier in ("", found.multiplier)
        and query.primary_exchange in ("", found.primary_exchange, found.exchange)
        and query.local_symbol in ("", found.local_symbol)
        and query.trading_class in ("", found.trading_class)
    )


def _routed(found: Instrument, query: ContractQuery) -> Instrument:
    return replace(found, exchange=query.exchange) if query.exchange not in ("", found.exchange) else found
