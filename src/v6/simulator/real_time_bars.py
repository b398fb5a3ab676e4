"""Real-time bars: one of five seconds every five seconds, each subscription on a market-data line."""

from __future__ import annotations

from datetime import datetime, timedelta

from v6.simulator.bar_requests import what_to_show
from v6.simulator.instruments import ContractQuery, Instrument
from v6.simulator.session import REAL_TIME_BARS, Handler, RequestRefused, Session
from v6.simulator.wire import FieldReader

KIND = REAL_TIME_BARS
BAR = timedelta(seconds=5)


def request_real_time_bars(session: Session, fields: FieldReader) -> None:
    """50: bars of five seconds, whatever length is asked for."""
    fields.skip()
    req_id, query = fields.integer(), fields.contract()
    fields.skip()
    shown, regular = fields.text(), fields.flag()
    session.received("request_real_time_bars", req_id, query.con_id, shown, regular)
    if session.has((KIND, req_id)):
        session.error(req_id, 322, "Error processing request.-'bR' : cause - Duplicate ticker id")
        return
    session.start((KIND, req_id), _serve(session, req_id, query, shown, regular_hours=regular))


def cancel_real_time_bars(session: Session, fields: FieldReader) -> None:
    """51."""
    fields.skip()
    req_id = fields.integer()
    session.received("cancel_real_time_bars", req_id, 0)
    if not session.cancel((KIND, req_id)):
        session.error(req_id, 300, f"Can't find EId with tickerId:{req_id}")


async def _serve(session: Session, req_id: int, query: ContractQuery, shown: str, *, regular_hours: bool) -> None:
    instrument = session.resolve(query)
    kind = what_to_show(shown)
    if instrument.symbol in session.options.not_subscribed:
        raise RequestRefused(420, "Invalid Real-time Query: No market data permissions")
    if not session.gateway.lines.take(instrument.con_id):
        raise RequestRefused(101, "Max number of tickers has been reached")
    try:
        while True:
            began = _last_full_bar(session.now)
            await session.clock.sleep((began + 2 * BAR - session.now).total_seconds())
            _send(session, req_id, instrument, began + BAR, kind, regular_hours=regular_hours)
    finally:
        session.gateway.lines.release(instrument.con_id)


def _last_full_bar(now: datetime) -> datetime:
    seconds = int(now.timestamp()) // 5 * 5
    return datetime.fromtimestamp(seconds, now.tzinfo) - BAR


def _send(
    session: Session, req_id: int, instrument: Instrument, start: datetime, kind: str, *, regular_hours: bool
) -> None:
    """The bar that has just ended; nothing while the market is closed."""
    bars = session.market.bars(
        instrument,
        start=start,
        end=start + BAR,
        now=session.now,
        bar_seconds=5,
        what_to_show=kind,
        regular_hours=regular_hours,
    )
    for bar in bars[:1]:
        prices = (bar.open, bar.high, bar.low, bar.close, bar.volume, bar.wap, bar.count)
        fields = (50, 3, req_id, int(start.timestamp()), *prices)
        session.send_data("real_time_bar", req_id, instrument.con_id, *fields)


HANDLERS: dict[int, Handler] = {50: request_real_time_bars, 51: cancel_real_time_bars}
