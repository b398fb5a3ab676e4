"""Contract details and option parameters."""

from __future__ import annotations

from dataclasses import replace

from v6.simulator.instruments import ContractQuery, Instrument, OptionListing
from v6.simulator.session import NOT_FOUND, Handler, RequestRefused, Session
from v6.simulator.wire import Field, FieldReader

ORDER_TYPES = "ACTIVETIM,ADJUST,ALERT,LMT,MKT,STP"
CHUNK = 50  # messages between two looks at the event loop


def request_details(session: Session, fields: FieldReader) -> None:
    """9: every contract that fits, then the end."""
    fields.skip()
    req_id, query = fields.integer(), fields.contract()
    query = replace(query, include_expired=fields.flag())
    session.received("request_contract_details", req_id, query.con_id, query.symbol, query.sec_type, query.expiry)
    session.start(("details", req_id), _send_details(session, req_id, query))


async def _send_details(session: Session, req_id: int, query: ContractQuery) -> None:
    await session.delay(session.draw(req_id), session.options.details_delay_seconds)
    found = session.market.find(query, session.now)
    if not found:
        raise RequestRefused(200, NOT_FOUND)
    hours: dict[tuple[str, str, str], tuple[str, str]] = {}
    for number, instrument in enumerate(found, start=1):
        key = (instrument.symbol, instrument.sec_type, instrument.exchange)
        if key not in hours:
            hours[key] = _hours(session, instrument)
        session.send_data(
            "contract_details",
            req_id,
            instrument.con_id,
            *details_fields(session.version, req_id, instrument, hours[key]),
        )
        if number % CHUNK == 0:
            await session.clock.sleep(0)
    session.send(52, 1, req_id)


def _hours(session: Session, instrument: Instrument) -> tuple[str, str]:
    trading = session.market.trading_hours(instrument, session.now, liquid=False)
    return trading, session.market.trading_hours(instrument, session.now, liquid=True)


def details_fields(version: int, req_id: int, instrument: Instrument, hours: tuple[str, str]) -> list[Field]:
    """Message 10 in the layout of a server version."""
    one = instrument
    before = version < 164
    fields: list[Field] = [10, 8, req_id] if before else [10, req_id]
    fields += [one.symbol, one.sec_type, _last_trade(one), one.strike, one.right, one.exchange, one.currency]
    fields += [one.local_symbol, one.trading_class, one.trading_class, one.con_id, one.min_tick]
    fields += [100] if before else []
    fields += [one.multiplier, ORDER_TYPES, one.valid_exchanges, 1, one.under_con_id, one.long_name]
    fields += [one.primary_exchange, f"{one.expiry:%Y%m}" if one.expiry else "", one.industry, one.category]
    fields += [one.subcategory, one.time_zone_id, *hours, "", 0, 0, 1, one.under_symbol, one.under_sec_type, "26"]
    fields += [one.expiry, one.stock_type]
    if version == 163:
        fields += [1]
    return fields if before else [*fields, 1, 1, 1]


def _last_trade(instrument: Instrument) -> str:
    if instrument.expiry is None:
        return ""
    day = f"{instrument.expiry:%Y%m%d}"
    return f"{day} {instrument.real_expiry_time} {instrument.time_zone_id}" if instrument.real_expiry_time else day


def request_option_parameters(session: Session, fields: FieldReader) -> None:
    """78: one message an exchange and trading class, then the end."""
    req_id, symbol, exchange, sec_type = fields.integer(), fields.text(), fields.text(), fields.text()
    con_id = fields.integer()
    session.received("request_option_parameters", req_id, con_id, symbol, exchange, sec_type)
    query = ContractQuery(con_id=con_id)
    session.start(("parameters", req_id), _send_option_parameters(session, req_id, query, symbol, exchange))


async def _send_option_parameters(
    session: Session, req_id: int, query: ContractQuery, symbol: str, exchange: str
) -> None:
    await session.delay(session.draw(req_id), session.options.details_delay_seconds)
    found = session.market.find(query, session.now) if query.con_id else ()
    if not found or (symbol and found[0].symbol != symbol):
        raise RequestRefused(321, "Error validating request.-'bN' : cause - Invalid contract id")
    for listing in session.market.option_listings(query.con_id, session.now):
        for listed_on in listing.exchanges:
            if exchange in ("", listed_on):
                session.send_data(
                    "option_parameters", req_id, query.con_id, *_listing_fields(req_id, listed_on, listing)
                )
    session.send(76, req_id)


def _listing_fields(req_id: int, exchange: str, listing: OptionListing) -> list[Field]:
    return [
        75,
        req_id,
        exchange,
        listing.underlying_con_id,
        listing.trading_class,
        listing.multiplier,
        len(listing.expiries),
        *listing.expiries,
        len(listing.strikes),
        *listing.strikes,
    ]


HANDLERS: dict[int, Handler] = {9: request_details, 78: request_option_parameters}
