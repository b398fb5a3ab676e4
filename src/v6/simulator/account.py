"""The account: positions, values, profit and loss; orders, which are always refused; and what needs no contract."""

from __future__ import annotations

from v6.simulator.instruments import Holding
from v6.simulator.session import Handler, Session
from v6.simulator.wire import Field, FieldReader, contract_fields

CASH = 250_000.0
READ_ONLY = "Error validating request.-'bW' : cause - The API interface is currently in Read-Only mode."


def price_of(session: Session, holding: Holding) -> float:
    """The mark of a holding: the last price, else the previous close."""
    snapshot = session.market.snapshot(holding.instrument, session.now)
    return next((price for price in (snapshot.last, snapshot.close) if price is not None), 0.0)


def _factor(holding: Holding) -> float:
    return float(holding.instrument.multiplier or 1)


def _value(session: Session, holding: Holding) -> float:
    return round(price_of(session, holding) * holding.quantity * _factor(holding), 2)


def _cost(holding: Holding) -> float:
    return round(holding.average_cost * holding.quantity, 2)


def _account_values(session: Session) -> list[tuple[str, str, str]]:
    holdings = session.market.holdings(session.now)
    value = sum(_value(session, holding) for holding in holdings)
    unrealized = value - sum(_cost(holding) for holding in holdings)
    return [
        ("AccountType", "INDIVIDUAL", ""),
        ("NetLiquidation", f"{CASH + value:.2f}", "USD"),
        ("TotalCashValue", f"{CASH:.2f}", "USD"),
        ("GrossPositionValue", f"{abs(value):.2f}", "USD"),
        ("UnrealizedPnL", f"{unrealized:.2f}", "USD"),
        ("BuyingPower", f"{4 * CASH:.2f}", "USD"),
    ]


def request_positions(session: Session, fields: FieldReader) -> None:
    """61."""
    del fields
    session.received("request_positions", -1, 0)
    for holding in session.market.holdings(session.now):
        contract = contract_fields(holding.instrument)
        row = (61, 3, session.options.account, *contract, holding.quantity, holding.average_cost)
        session.send_data("position", -1, holding.instrument.con_id, *row)
    session.send(62, 1)


def request_positions_multi(session: Session, fields: FieldReader) -> None:
    """74."""
    fields.skip()
    req_id = fields.integer()
    session.received("request_positions_multi", req_id, 0)
    for holding in session.market.holdings(session.now):
        contract = contract_fields(holding.instrument)
        row = (71, 1, req_id, session.options.account, *contract, holding.quantity, holding.average_cost, "")
        session.send_data("position_multi", req_id, holding.instrument.con_id, *row)
    session.send(72, 1, req_id)


def request_account_updates(session: Session, fields: FieldReader) -> None:
    """6: values, portfolio, time, end."""
    fields.skip()
    if not fields.flag():
        return
    account = session.options.account
    for key, value, currency in _account_values(session):
        session.send(6, 2, key, value, currency, account)
    for holding in session.market.holdings(session.now):
        session.send_data("portfolio", -1, holding.instrument.con_id, *_portfolio_fields(session, holding))
    session.send(8, 1, f"{session.now:%H:%M}")
    session.send(54, 1, account)


def _portfolio_fields(session: Session, holding: Holding) -> list[Field]:
    contract = contract_fields(holding.instrument)
    contract[7] = holding.instrument.primary_exchange
    value = _value(session, holding)
    mark: list[Field] = [holding.quantity, price_of(session, holding), value, holding.average_cost]
    return [7, 8, *contract, *mark, round(value - _cost(holding), 2), 0.0, session.options.account]


def request_account_updates_multi(session: Session, fields: FieldReader) -> None:
    """76."""
    fields.skip()
    req_id = fields.integer()
    for key, value, currency in _account_values(session):
        session.send(73, 1, req_id, session.options.account, "", key, value, currency)
    session.send(74, 1, req_id)


def request_account_summary(session: Session, fields: FieldReader) -> None:
    """62: the tags that were asked for."""
    fields.skip()
    req_id = fields.integer()
    fields.skip()
    tags = {tag.strip() for tag in fields.text().split(",")}
    for key, value, currency in _account_values(session):
        if key in tags or not tags - {""}:
            session.send(63, 1, req_id, session.options.account, key, value, currency)
    session.send(64, 1, req_id)


def request_profit(session: Session, fields: FieldReader) -> None:
    """92: profit and loss of the account, once."""
    req_id = fields.integer()
    holdings = session.market.holdings(session.now)
    unrealized = round(sum(_value(session, holding) - _cost(holding) for holding in holdings), 2)
    session.send(94, req_id, 0.0, unrealized, 0.0)


def request_profit_of_position(session: Session, fields: FieldReader) -> None:
    """94: profit and loss of one position, once."""
    req_id = fields.integer()
    fields.skip(2)
    con_id = fields.integer()
    for holding in session.market.holdings(session.now):
        if holding.instrument.con_id == con_id:
            value = _value(session, holding)
            session.send(95, req_id, holding.quantity, 0.0, round(value - _cost(holding), 2), 0.0, value)


def request_executions(session: Session, fields: FieldReader) -> None:
    """7: there are none."""
    fields.skip()
    session.send(55, 1, fields.integer())


def request_current_time(session: Session, fields: FieldReader) -> None:
    """49."""
    del fields
    session.send(49, 1, int(session.now.timestamp()))


def request_managed_accounts(session: Session, fields: FieldReader) -> None:
    """17."""
    del fields
    session.send(15, 1, session.options.account)


def request_ids(session: Session, fields: FieldReader) -> None:
    """8."""
    del fields
    session.send(9, 1, 1)


def request_open_orders(session: Session, fields: FieldReader) -> None:
    """5 and 16: there are none."""
    del fields
    session.send(53, 1)


def request_completed_orders(session: Session, fields: FieldReader) -> None:
    """99: there are none."""
    del fields
    session.send(102)


def place_order(session: Session, fields: FieldReader) -> None:
    """3: refused."""
    session.error(fields.integer(), 321, READ_ONLY)


def change_order(session: Session, fields: FieldReader) -> None:
    """4 and 21: refused."""
    fields.skip()
    session.error(fields.integer(), 321, READ_ONLY)


def cancel_all_orders(session: Session, fields: FieldReader) -> None:
    """58: refused."""
    del fields
    session.error(-1, 321, READ_ONLY)


def accept(session: Session, fields: FieldReader) -> None:
    """Cancels of what is answered once, and settings without an effect here."""
    del session, fields


HANDLERS: dict[int, Handler] = {
    3: place_order,
    4: change_order,
    5: request_open_orders,
    6: request_account_updates,
    7: request_executions,
    8: request_ids,
    14: accept,
    15: accept,
    16: request_open_orders,
    17: request_managed_accounts,
    21: change_order,
    49: request_current_time,
    58: cancel_all_orders,
    61: request_positions,
    62: request_account_summary,
    63: accept,
    64: accept,
    74: request_positions_multi,
    75: accept,
    76: request_account_updates_multi,
    77: accept,
    92: request_profit,
    93: accept,
    94: request_profit_of_position,
    95: accept,
    99: request_completed_orders,
}
