"""Bars and head time stamps."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from v6.simulator.bar_requests import (
    DAY_SECONDS,
    MAX_BARS,
    MONTH_SECONDS,
    BarRequest,
    bar_seconds,
    check_combination,
    end_instant,
    start_instant,
    what_to_show,
)
from v6.simulator.instruments import ContractQuery, Instrument, MarketBar
from v6.simulator.limits import SMALL_BAR_SECONDS
from v6.simulator.session import Handler, RequestRefused, Session
from v6.simulator.wire import Field, FieldReader, dashed_utc, zoned_time

KIND = "history"
HEAD = "head time stamp"
SERVICE = "Historical Market Data Service error message:"
UPDATE_SECONDS = 5.0


def request_bars(session: Session, fields: FieldReader) -> None:
    """20."""
    req_id, query = fields.integer(), fields.contract()
    query = replace(query, include_expired=fields.flag())
    end, size, duration, regular = fields.text(), fields.text(), fields.text(), fields.flag()
    shown, date_format = fields.text(), fields.integer()
    request = BarRequest(
        req_id=req_id,
        end=end,
        bar_size=size,
        duration=duration,
        what_to_show=shown,
        regular_hours=regular,
        epoch_seconds=date_format == 2,
        keep_up_to_date=fields.flag() if query.sec_type != "BAG" else False,
    )
    session.received("request_bars", req_id, query.con_id, end, size, duration, regular, shown, date_format)
    if session.has((KIND, req_id)):
        session.error(req_id, 322, "Error processing request.-'bV' : cause - Duplicate ticker id")
        return
    session.start((KIND, req_id), _serve(session, request, query))


async def _serve(session: Session, request: BarRequest, query: ContractQuery) -> None:
    instrument = session.resolve(query)
    check_combination(request, instrument)
    seconds, shown = bar_seconds(request.bar_size), what_to_show(request.what_to_show)
    if seconds <= SMALL_BAR_SECONDS:
        _admit(session, request, instrument, shown)
    opened = session.gateway.open_history
    key = (session.client_id, request.req_id)
    if len(opened) >= session.options.open_history_requests:
        cause = f"Only {session.options.open_history_requests} simultaneous API historical data requests allowed."
        raise RequestRefused(322, f"Error processing request.-'bX' : cause - {cause}")
    opened.add(key)
    try:
        last = await _answer(session, request, instrument, seconds=seconds, shown=shown)
        if request.keep_up_to_date:
            await _keep_up(session, request, instrument, seconds=seconds, shown=shown, last=last)
    finally:
        opened.discard(key)


def _admit(session: Session, request: BarRequest, instrument: Instrument, shown: str) -> None:
    admitted = session.gateway.history_pacing.admit(
        request=(instrument.con_id, instrument.exchange, replace(request, req_id=0)),
        contract=(instrument.con_id, instrument.exchange, shown),
        weight=2 if shown == "BID_ASK" else 1,
        now=session.clock.monotonic(),
    )
    if not admitted:
        raise RequestRefused(162, SERVICE + "Historical data request pacing violation")


async def _answer(
    session: Session, request: BarRequest, instrument: Instrument, *, seconds: int, shown: str
) -> MarketBar:
    """One message with all bars; the last bar. Raises RequestRefused (162, 321, 10314)."""
    await session.delay(session.draw(request.req_id, "history"), session.options.history_delay_seconds)
    now = session.now
    end = end_instant(request.end, instrument.time_zone_id, now)
    start = start_instant(session.market, instrument, request.duration, end, regular_hours=request.regular_hours)
    if (end - start).total_seconds() / seconds > MAX_BARS:
        raise RequestRefused(162, SERVICE + "Time length exceed max.")
    bars = _bars(session, instrument, request, start=start, end=end, seconds=seconds, shown=shown)
    if not bars:
        text = f"HMDS query returned no data: {instrument.local_symbol}@{instrument.exchange} {shown.title()}"
        raise RequestRefused(162, SERVICE + text)
    zone = instrument.time_zone_id
    head: list[Field] = [17, request.req_id, zoned_time(start, zone), zoned_time(end, zone), len(bars)]
    rows = [field for bar in bars for field in _bar_fields(bar, zone, epoch_seconds=request.epoch_seconds)]
    session.send_data("bars", request.req_id, instrument.con_id, *head, *rows)
    return bars[-1]


def _bars(
    session: Session,
    instrument: Instrument,
    request: BarRequest,
    *,
    start: datetime,
    end: datetime,
    seconds: int,
    shown: str,
) -> list[MarketBar]:
    bars = session.market.bars(
        instrument,
        start=start,
        end=end,
        now=session.now,
        bar_seconds=DAY_SECONDS if seconds == MONTH_SECONDS else seconds,
        what_to_show=shown,
        regular_hours=request.regular_hours,
    )
    return _by_month(list(bars)) if seconds == MONTH_SECONDS else list(bars)


def _by_month(days: list[MarketBar]) -> list[MarketBar]:
    months: dict[tuple[int, int], list[MarketBar]] = {}
    for day in days:
        months.setdefault((day.start.year, day.start.month), []).append(day)
    return [_merge(group) for group in months.values()]


def _merge(group: list[MarketBar]) -> MarketBar:
    volume = sum(bar.volume for bar in group)
    return MarketBar(
        start=group[-1].start,
        open=group[0].open,
        high=max(bar.high for bar in group),
        low=min(bar.low for bar in group),
        close=group[-1].close,
        volume=volume,
        wap=round(sum(bar.wap * bar.volume for bar in group) / volume, 4) if volume else group[-1].wap,
        count=sum(bar.count for bar in group),
    )


def _bar_time(bar: MarketBar, zone: str, *, epoch_seconds: bool) -> str:
    if not isinstance(bar.start, datetime):
        return f"{bar.start:%Y%m%d}"
    return str(int(bar.start.timestamp())) if epoch_seconds else zoned_time(bar.start, zone)


def _bar_fields(bar: MarketBar, zone: str, *, epoch_seconds: bool) -> list[Field]:
    time_text = _bar_time(bar, zone, epoch_seconds=epoch_seconds)
    return [time_text, bar.open, bar.high, bar.low, bar.close, bar.volume, bar.wap, bar.count]


async def _keep_up(
    session: Session, request: BarRequest, instrument: Instrument, *, seconds: int, shown: str, last: MarketBar
) -> None:
    """Message 90 with the newest bar every five seconds, until the client cancels."""
    del last
    while True:
        await session.clock.sleep(UPDATE_SECONDS)
        now = session.now
        start = now - timedelta(seconds=2 * seconds)
        bars = _bars(session, instrument, request, start=start, end=now, seconds=seconds, shown=shown)
        for bar in bars[-1:]:
            time_text = _bar_time(bar, instrument.time_zone_id, epoch_seconds=request.epoch_seconds)
            row = (bar.count, time_text, bar.open, bar.close, bar.high, bar.low, bar.wap, bar.volume)
            session.send_data("bar_update", request.req_id, instrument.con_id, 90, request.req_id, *row)


def cancel_bars(session: Session, fields: FieldReader) -> None:
    """25."""
    fields.skip()
    req_id = fields.integer()
    session.received("cancel_bars", req_id, 0)
    if session.cancel((KIND, req_id)):
        session.error(req_id, 162, f"{SERVICE}API historical data query cancelled: {req_id}")
    else:
        session.error(req_id, 366, f"No historical data query found for ticker id:{req_id}")


def request_head(session: Session, fields: FieldReader) -> None:
    """87."""
    req_id, query = fields.integer(), fields.contract()
    query = replace(query, include_expired=fields.flag())
    fields.skip()
    shown, date_format = fields.text(), fields.integer()
    session.received("request_head_time_stamp", req_id, query.con_id, shown, date_format)
    session.start((HEAD, req_id), _serve_head(session, req_id, query, shown, date_format))


async def _serve_head(session: Session, req_id: int, query: ContractQuery, shown: str, date_format: int) -> None:
    await session.delay(session.draw(req_id, "head"), session.options.history_delay_seconds)
    instrument = session.resolve(query)
    head = session.market.head_timestamp(instrument, what_to_show(shown))
    text = str(int(head.timestamp())) if date_format == 2 else dashed_utc(head)
    session.send_data("head_time_stamp", req_id, instrument.con_id, 88, req_id, text)


def cancel_head(session: Session, fields: FieldReader) -> None:
    """90."""
    session.cancel((HEAD, fields.integer()))


HANDLERS: dict[int, Handler] = {20: request_bars, 25: cancel_bars, 87: request_head, 90: cancel_head}
