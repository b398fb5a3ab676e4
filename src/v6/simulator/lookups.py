"""Small answers that clients ask for beside market data, and refusals of what is not simulated.

A refusal carries the request's id and a code that ends the request in both clients, so that nobody waits for ever.
"""

from __future__ import annotations

from functools import partial

from v6.simulator.instruments import ContractQuery
from v6.simulator.session import Handler, Session
from v6.simulator.wire import Field, FieldReader

MARKET_RULE = 26  # the rule that contract details name


def request_matching_symbols(session: Session, fields: FieldReader) -> None:
    """81: stocks and indices of exactly this symbol."""
    req_id, pattern = fields.integer(), fields.text().strip().upper()
    session.received("request_matching_symbols", req_id, 0, pattern)
    found = session.market.find(ContractQuery(symbol=pattern), session.now) if pattern else ()
    samples = [one for one in found if one.sec_type in ("STK", "IND")]
    answer: list[Field] = [79, req_id, len(samples)]
    for one in samples:
        derivatives = ("OPT",) if session.market.option_listings(one.con_id, session.now) else ()
        answer += [one.con_id, one.symbol, one.sec_type, one.primary_exchange, one.currency]
        answer += [len(derivatives), *derivatives]
        answer += [one.long_name, ""] if session.version >= 176 else []
    session.send_data("symbol_samples", req_id, 0, *answer)


def request_market_rule(session: Session, fields: FieldReader) -> None:
    """91: one cent at every price, or 321 for a rule that no contract names."""
    rule = fields.integer()
    if rule == MARKET_RULE:
        session.send(93, rule, 1, 0.0, 0.01)
    else:
        session.error(-1, 321, f"Error validating request.-'bN' : cause - Invalid market rule id {rule}")


def request_user(session: Session, fields: FieldReader) -> None:
    """104: no white branding."""
    session.send(107, fields.integer(), "")


def request_soft_dollar_tiers(session: Session, fields: FieldReader) -> None:
    """79: there are none."""
    session.send(77, fields.integer(), 0)


def request_family_codes(session: Session, fields: FieldReader) -> None:
    """80: the account belongs to no family."""
    del fields
    session.send(78, 1, session.options.account, "")


def _none(message: int, session: Session, fields: FieldReader) -> None:
    """An answer that lists nothing."""
    del fields
    session.send(message, 0)


def _refuse(before_id: int, code: int, text: str, session: Session, fields: FieldReader) -> None:
    fields.skip(before_id)
    session.error(fields.integer(), code, text)


def _accept(session: Session, fields: FieldReader) -> None:
    """Cancels of what was refused."""
    del session, fields


_NOT_HERE = "Error processing request.-'sim' : cause - {} are not simulated"
# message: fields before the request id, code, text
REFUSALS: dict[int, tuple[int, int, str]] = {
    10: (1, 10092, "Deep market data is not supported for this combination of security type/exchange"),
    11: (1, 310, "Can't find the subscribed market depth"),
    22: (0, 322, _NOT_HERE.format("market scanners")),
    52: (1, 430, "The fundamentals data for the security specified is not available"),
    54: (1, 322, _NOT_HERE.format("calculations of implied volatility")),
    55: (1, 322, _NOT_HERE.format("calculations of option prices")),
    83: (0, 322, _NOT_HERE.format("components of SMART")),
    84: (0, 10172, "Failed to request news article: no provider is subscribed"),
    86: (0, 10276, "News feed is not allowed"),
    88: (0, 322, _NOT_HERE.format("histograms")),
    96: (0, 10187, "Failed to request historical ticks: they are not simulated"),
    97: (0, 10189, "Failed to request tick-by-tick data: it is not simulated"),
    98: (0, 300, "Can't find EId with this tickerId"),
    100: (0, 10277, "Corporate event data are not simulated"),
    102: (0, 10277, "Corporate event data are not simulated"),
}
CANCELS = (12, 13, 23, 53, 56, 57, 89, 101, 103)

HANDLERS: dict[int, Handler] = {
    79: request_soft_dollar_tiers,
    80: request_family_codes,
    81: request_matching_symbols,
    82: partial(_none, 80),
    85: partial(_none, 85),
    91: request_market_rule,
    104: request_user,
    **dict.fromkeys(CANCELS, _accept),
    **{message: partial(_refuse, *refusal) for message, refusal in REFUSALS.items()},
}
