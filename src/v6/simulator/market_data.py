"""Market data: snapshots and streaming quotes, with the ticks, the order and the entitlements of the real gateway."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise

from v6.simulator.instruments import ContractQuery, Instrument, Snapshot
from v6.simulator.session import QUOTE, Handler, RequestRefused, Session
from v6.simulator.ticks import GENERIC_TICKS, Part, Tick, generic_parts, quote_parts
from v6.simulator.wire import FieldReader

KIND = QUOTE
VOLATILITY_DAYS = 30
DELAY = timedelta(minutes=15)
LIVE, FROZEN, DELAYED, DELAYED_FROZEN = 1, 2, 3, 4
NOT_SUBSCRIBED = (
    "Requested market data is not subscribed. Check API status by selecting the Account menu then under Management "
    "choose Market Data Subscription Manager and/or availability of delayed data."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class QuoteRequest:
    """A request for market data as it was read."""

    req_id: int
    query: ContractQuery
    generic_ticks: frozenset[int]
    is_snapshot: bool
    asked_type: int


def request_market_data_type(session: Session, fields: FieldReader) -> None:
    """59: later requests obey it."""
    fields.skip()
    wanted = fields.integer()
    if wanted not in (LIVE, FROZEN, DELAYED, DELAYED_FROZEN):
        session.error(-1, 321, f"Error validating request.-'bS' : cause - Invalid market data type {wanted}")
        return
    session.market_data_type = wanted
    session.received("request_market_data_type", -1, 0, wanted)


def request_quote(session: Session, fields: FieldReader) -> None:
    """1: checks that need no market, then the quote in the background."""
    fields.skip()
    req_id, query = fields.integer(), fields.contract()
    if query.sec_type == "BAG":
        session.error(req_id, 321, "Error validating request.-'bW' : cause - Combinations are not quoted here")
        return
    if fields.flag():
        fields.skip(3)
    generic, is_snapshot = fields.text(), fields.flag()
    session.received("request_market_data", req_id, query.con_id, generic, is_snapshot, session.market_data_type)
    if session.has((KIND, req_id)):
        session.error(req_id, 322, "Error processing request.-'bW' : cause - Duplicate ticker id")
        return
    try:
        request = QuoteRequest(
            req_id=req_id,
            query=query,
            generic_ticks=_generic_ticks(generic, is_snapshot=is_snapshot),
            is_snapshot=is_snapshot,
            asked_type=session.market_data_type,
        )
    except RequestRefused as refusal:
        session.error(req_id, refusal.code, refusal.text)
        return
    session.start((KIND, req_id), _serve(session, request))


def _generic_ticks(text: str, *, is_snapshot: bool) -> frozenset[int]:
    names = [name.strip().partition(":")[0] for name in text.split(",") if name.strip()]
    if names and is_snapshot:
        cause = "Snapshot market data subscription is not applicable to generic ticks"
        raise RequestRefused(321, f"Error validating request.-'bW' : cause - {cause}")
    wrong = [name for name in names if not name.isdigit() or int(name) not in GENERIC_TICKS]
    if wrong:
        legal = ", ".join(str(tick) for tick in sorted(GENERIC_TICKS))
        cause = f"Incorrect generic tick list of {text}. Legal ones: {legal}"
        raise RequestRefused(321, f"Error validating request.-'bW' : cause - {cause}")
    return frozenset(int(name) for name in names)


def cancel_quote(session: Session, fields: FieldReader) -> None:
    """2."""
    fields.skip()
    req_id = fields.integer()
    session.received("cancel_market_data", req_id, 0)
    if not session.cancel((KIND, req_id)):
        session.error(req_id, 300, f"Can't find EId with tickerId:{req_id}")


async def _serve(session: Session, request: QuoteRequest) -> None:
    instrument = session.resolve(request.query)
    lines = session.gateway.lines
    if not lines.take(instrument.con_id):
        raise RequestRefused(101, "Max number of tickers has been reached")
    try:
        await _Quote(session, request, instrument).run()
    finally:
        lines.release(instrument.con_id)


class _Quote:
    """One subscription."""

    def __init__(self, session: Session, request: QuoteRequest, instrument: Instrument) -> None:
        self._session = session
        self._request = request
        self._instrument = instrument
        self._draw = session.draw(request.req_id, str(instrument.con_id))
        self._sent: dict[str, tuple[Tick, ...]] = {}
        self._resumed = session.gateway.faults.outages.resumed

    async def run(self) -> None:
        """All parts of the quote, staggered; then the snapshot's end, or updates until the task is cancelled."""
        session, request = self._session, self._request
        delivered = self._entitle()
        delayed = delivered in (DELAYED, DELAYED_FROZEN)
        session.send_data("market_data_type", request.req_id, self._instrument.con_id, 58, 1, request.req_id, delivered)
        session.send_data(
            "tick_parameters", request.req_id, self._instrument.con_id, 81, request.req_id,
            self._instrument.min_tick, "9c0001" if self._instrument.exchange == "SMART" else "", 3,
        )  # fmt: skip
        limit = session.options.snapshot_limit_seconds if request.is_snapshot else None
        try:
            async with session.clock.timeout(limit):
                await self._send_staggered(self._parts(delivered=delivered, delayed=delayed))
        except TimeoutError:
            self._end_snapshot()
            return
        if request.is_snapshot:
            self._end_snapshot()
            return
        await self._update(delivered=delivered, delayed=delayed)

    def _end_snapshot(self) -> None:
        self._session.send_data(
            "snapshot_end", self._request.req_id, self._instrument.con_id, 57, 1, self._request.req_id
        )

    def _snapshot(self, *, delayed: bool) -> Snapshot:
        now = self._session.now - (DELAY if delayed else timedelta(0))
        return self._session.market.snapshot(self._instrument, now)

    def _is_open(self) -> bool:
        return self._snapshot(delayed=False).is_open

    def _entitle(self) -> int:
        """The market-data type that is delivered. Raises RequestRefused; sends the notice that delayed data follow."""
        session, asked = self._session, self._request.asked_type
        symbol = self._instrument.symbol
        if symbol not in session.options.not_subscribed:
            return FROZEN if asked in (FROZEN, DELAYED_FROZEN) and not self._is_open() else LIVE
        if asked in (LIVE, FROZEN):
            raise RequestRefused(354, NOT_SUBSCRIBED)
        if symbol in session.options.without_delayed:
            raise RequestRefused(10168, "Requested market data is not subscribed. Delayed market data is not enabled.")
        session.error(
            self._request.req_id, 10167, "Requested market data is not subscribed. Displaying delayed market data."
        )
        return DELAYED_FROZEN if asked == DELAYED_FROZEN and not self._is_open() else DELAYED

    def _parts(self, *, delivered: int, delayed: bool) -> list[Part]:
        snapshot = self._snapshot(delayed=delayed)
        shows_quotes = snapshot.is_open or delivered in (FROZEN, DELAYED_FROZEN)
        parts = quote_parts(self._instrument, snapshot, delayed=delayed, shows_quotes=shows_quotes)
        wanted = self._request.generic_ticks
        return parts + generic_parts(self._instrument, snapshot, wanted, self._historical_volatility)

    def _historical_volatility(self) -> float | None:
        """Yearly, from the closes of the last thirty days' returns."""
        market, now = self._session.market, self._session.now
        start = market.sessions_back(self._instrument, now, VOLATILITY_DAYS + 1, regular_hours=True)
        bars = market.bars(
            self._instrument, start=start, end=now, now=now, bar_seconds=86400, what_to_show="TRADES",
            regular_hours=True,
        )  # fmt: skip
        returns = [math.log(later.close / earlier.close) for earlier, later in pairwise(bars)]
        return round(statistics.stdev(returns) * math.sqrt(252), 6) if len(returns) > 1 else None

    async def _send_staggered(self, parts: list[Part]) -> None:
        """Each part after its own share of the drawn delay; the greeks come last."""
        total = self._draw.uniform(*self._session.options.quote_delay_seconds)
        shares = sorted(self._draw.random() for _ in parts)
        shares[-1:] = [1.0]
        waited = 0.0
        for share, part in zip(shares, parts, strict=True):
            await self._session.clock.sleep((share - waited) * total)
            waited = share
            self._send(part)

    async def _update(self, *, delivered: int, delayed: bool) -> None:
        """What changed, every few seconds, until the client cancels."""
        while True:
            await self._session.delay(self._draw, self._session.options.update_interval_seconds)
            self._forget_after_outage()
            for part in self._parts(delivered=delivered, delayed=delayed):
                if self._sent.get(part.name) != part.ticks:
                    self._send(part)

    def _forget_after_outage(self) -> None:
        """What was sent while data did not come has to be sent again."""
        resumed = self._session.gateway.faults.outages.resumed
        if resumed != self._resumed:
            self._resumed = resumed
            self._sent.clear()

    def _send(self, part: Part) -> None:
        self._sent[part.name] = part.ticks
        for tick in part.ticks:
            fields = tick.fields(self._request.req_id)
            self._session.send_data(tick.kind, self._request.req_id, self._instrument.con_id, *fields)


HANDLERS: dict[int, Handler] = {1: request_quote, 2: cancel_quote, 59: request_market_data_type}
