"""The faults of a running gateway: arms them, waits for their moment, and stands between the sessions and the wire."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from v6.clock import Clock
from v6.simulator.answer_faults import Delivery, Effect, Message
from v6.simulator.armed_fault import ArmedFault
from v6.simulator.changing_market import ChangingMarket
from v6.simulator.error_texts import error_text
from v6.simulator.fault_script import FaultScript
from v6.simulator.faults import Fault, Scope
from v6.simulator.instruments import ContractQuery
from v6.simulator.messages import ANSWERS, RequestSeen, cancelled_request, request_seen
from v6.simulator.outages import COMPETING, FARM_DOWN, FARM_UP, Outage, Outages
from v6.simulator.wire import encode_frame

if TYPE_CHECKING:
    from v6.simulator.session import Session

LOG = logging.getLogger(__name__)
DELAYED_FOLLOWS = 10167
NEW_PORT = 1300


class Host(Protocol):
    """The server, as faults need it."""

    def open_sessions(self) -> Collection[Session]:
        """Every connection."""
        ...

    async def restart(self, seconds: float) -> None:
        """Close everything, listen again after so many clock seconds."""
        ...

    async def move(self, port: int) -> int:
        """Listen on another port from now on, and close every connection; the port."""
        ...

    async def free_port(self, port: int) -> int:
        """The port itself, or a free one for 0."""
        ...


class FaultsInForce:
    """What is armed, and what is lost at the moment."""

    def __init__(self, *, clock: Clock, market: ChangingMarket, host: Host, seed: int = 0) -> None:
        self.outages = Outages()
        self._clock = clock
        self._market = market
        self._host = host
        self._seed = seed
        self._armed: list[ArmedFault] = []
        self._effects: dict[tuple[int, int], list[Effect]] = {}  # by client and request id
        self._tasks: set[asyncio.Task[None]] = set()
        self._count = 0

    # --- arming ---

    def start(self, script: FaultScript) -> None:
        """Arm a whole script."""
        self._seed = script.seed
        for fault in script.faults:
            self.arm(fault)

    def arm(self, fault: Fault) -> ArmedFault:
        """Arm one fault. Raises FaultError when it names no contract."""
        now = self._clock.now()
        if fault.do == "position":
            self._market.named_by(fault, now)
        self._count += 1
        armed = ArmedFault(fault, number=self._count, seed=self._seed, now=now)
        self._armed.append(armed)
        if not fault.waits_for_message and fault.kind.scope is not Scope.WINDOW:
            self._spawn(self._strike_in_time(armed))
        return armed

    def clear(self) -> None:
        """Disarm everything; what is lost comes back at once."""
        self._armed.clear()
        self._effects.clear()
        for task in list(self._tasks):
            task.cancel()

    async def stop(self) -> None:
        """End every task."""
        self.clear()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def as_json(self) -> list[dict[str, Any]]:
        """What is armed."""
        return [armed.as_json() for armed in self._armed]

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(_logged(work), name="simulated fault")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: work.close())  # cancelled before its first step, it never began

    async def _strike_in_time(self, armed: ArmedFault) -> None:
        await self._clock.sleep((armed.begins - self._clock.now()).total_seconds())
        armed.struck += 1
        fits = armed.fault.client
        self._strike(armed, [one for one in self._host.open_sessions() if fits in (None, one.client_id)])

    # --- what the sessions ask ---

    def is_muted(self) -> bool:
        """Whether new connections are never answered."""
        return self._window("mute") is not None

    def has_taken(self, client_id: int) -> bool:
        """Whether a client id passes as in use."""
        window = self._window("client_id_in_use")
        return window is not None and window.values["client_id"] in (0, client_id)

    def message_limit(self) -> Fault | None:
        """The limit of messages in force, where it is not the gateway's own."""
        return self._window("message_limit")

    def _window(self, do: str) -> Fault | None:
        now = self._clock.now()
        for armed in self._armed:
            if armed.fault.do == do and armed.begins <= now and not armed.is_over(now):
                return armed.fault
        return None

    def receive(self, session: Session, fields: Sequence[str]) -> bool:
        """Look at a message of a client; False when it is not to be served."""
        if not self._armed and not self.outages.any:
            return True
        cancelled = cancelled_request(fields)
        if cancelled is not None:
            self._effects.pop((session.client_id, cancelled[1]), None)
        request = request_seen(fields)
        if request is not None:
            request = self._with_contract(request)
            self._effects.pop((session.client_id, request.req_id), None)
        if not self._struck(session, request):
            return False
        return request is None or self._survives(session, request)

    def _with_contract(self, request: RequestSeen) -> RequestSeen:
        """A request that names a contract by its id alone, with the rest."""
        if not request.con_id or (request.symbol and request.sec_type and request.expiry):
            return request
        found = self._market.find(ContractQuery(con_id=request.con_id), self._clock.now())
        if len(found) != 1:
            return request
        one = found[0]
        expiry = f"{one.expiry:%Y%m%d}" if one.expiry else ""
        return replace(request, symbol=one.symbol, sec_type=one.sec_type, expiry=expiry)

    def _struck(self, session: Session, request: RequestSeen | None) -> bool:
        """Strike with what fits; False when the message is lost by that."""
        now, is_served = self._clock.now(), True
        for armed in list(self._armed):
            if not armed.strikes(session.client_id, request, now):
                continue
            if armed.fault.kind.scope is Scope.REQUEST and request is not None:
                is_served = self._strike_request(armed, session, request) and is_served
            else:
                is_served = False
                self._strike(armed, [session])
        return is_served

    def _strike_request(self, armed: ArmedFault, session: Session, request: RequestSeen) -> bool:
        fault = armed.fault
        if fault.do == "silence":
            return False
        if fault.do == "error":
            code = fault.values["code"]
            session.error(request.req_id, code, fault.values["text"] or error_text(code))
            return bool(fault.values["goes_on"])
        if fault.do == "data_type" and fault.values["type"] != "frozen":
            session.error(request.req_id, DELAYED_FOLLOWS, error_text(DELAYED_FOLLOWS))
        effect = Effect(fault, armed.draw(session.client_id, request))
        self._effects.setdefault((session.client_id, request.req_id), []).append(effect)
        return True

    def _survives(self, session: Session, request: RequestSeen) -> bool:
        outage = self.outages.met_by(request)
        if outage is None:
            return True
        code = outage.answers.get(request.kind, 0)
        if code:
            session.error(request.req_id, code, error_text(code))
        return outage.subscribes and session.is_subscription(request)

    def deliver(self, session: Session, message: Message) -> list[Delivery]:
        """What goes out in place of a message, and when."""
        if self.outages.any and self.outages.holds_back(message.number):
            return []
        position = ANSWERS.get(message.number) if self._effects else None
        if position is None or position >= len(message.texts):
            return [(0.0, message)]
        deliveries: list[Delivery] = [(0.0, message)]
        for effect in self._effects.get((session.client_id, int(message.texts[position])), ()):
            if effect.fault.do in _TEARS:
                if not effect.is_spent:
                    effect.is_spent = True
                    _TEARS[effect.fault.do](effect, session, message)
                    return []
                continue
            deliveries = [(held + more, one) for held, was in deliveries for more, one in effect.on(was)]
        return deliveries

    # --- striking ---

    def _strike(self, armed: ArmedFault, sessions: Sequence[Session]) -> None:
        fault = armed.fault
        if fault.kind.scope is Scope.SESSION:
            for session in sessions:
                _SESSION_STRIKES[fault.do](armed, session)
        elif fault.do == "expire":
            self._market.expire(fault)
        elif fault.do == "position":
            self._market.hold(fault, self._clock.now())
        else:
            self._spawn(_GATEWAY_STRIKES[fault.do](self, fault))

    def _tell(self, code: int, text: str = "") -> None:
        for session in self._host.open_sessions():
            session.error(-1, code, text or error_text(code))

    async def _farm_down(self, fault: Fault) -> None:
        farm = fault.values["farm"]
        outage = Outage.of_farm(farm, answers=fault.values["answers"])
        self._tell(FARM_DOWN[farm])
        self.outages.begin(outage)
        try:
            await self._clock.sleep(fault.seconds or 0.0)
        finally:
            self.outages.end(outage)
            self._tell(FARM_UP[farm])

    async def _connectivity_lost(self, fault: Fault) -> None:
        outage = Outage.of_connectivity(answers=fault.values["answers"])
        self._tell(int(fault.values["code"]))
        self.outages.begin(outage)
        try:
            await self._clock.sleep(fault.seconds or 0.0)
        finally:
            if fault.values["then"] == "1101":
                for session in self._host.open_sessions():
                    session.drop_subscriptions()
            self.outages.end(outage)
            self._tell(int(fault.values["then"]))

    async def _competing_session(self, fault: Fault) -> None:
        outage = Outage.of_competing_session(keeps_lines=fault.values["keeps_lines"])
        for session in self._host.open_sessions():
            for req_id in session.open_quotes():
                session.error(req_id, COMPETING, error_text(COMPETING))
            if not outage.subscribes:
                session.drop_subscriptions()
        self.outages.begin(outage)
        try:
            await self._clock.sleep(float("inf") if fault.seconds is None else fault.seconds)
        finally:
            self.outages.end(outage)

    async def _nightly_reset(self, fault: Fault) -> None:
        outage = Outage.of_connectivity(answers="silence")
        for code in (1100, *FARM_DOWN.values()):
            self._tell(code)
        self.outages.begin(outage)
        try:
            await self._clock.sleep(fault.seconds or 0.0)
            await self._host.restart(fault.values["closed_seconds"])
        finally:
            self.outages.end(outage)

    async def _restart(self, fault: Fault) -> None:
        await self._host.restart(fault.seconds or 0.0)

    async def _new_port(self, fault: Fault) -> None:
        port = await self._host.free_port(fault.values["port"])
        self._tell(NEW_PORT, f"{error_text(NEW_PORT)} - {port}")
        await self._host.move(port)


async def _logged(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except Exception:
        LOG.exception("a fault could not strike")


def _tear(effect: Effect, session: Session, message: Message) -> None:
    frame = encode_frame(message.texts)
    half = max(5, len(frame) // 2)
    session.write_raw(frame[:half])
    then = effect.fault.values["then"]
    if then == "close":
        session.close()
    else:
        session.stall(effect.delay if then == "go_on" else None, rest=frame[half:])


def _lie_about_length(effect: Effect, session: Session, message: Message) -> None:
    length = min(effect.fault.values["length"], 2**32 - 1)
    session.write_raw(length.to_bytes(4, "big") + encode_frame(message.texts)[4:])


def _notice(armed: ArmedFault, session: Session) -> None:
    code = armed.fault.values["code"]
    session.error(-1, code, armed.fault.values["text"] or error_text(code))


def _garbage(armed: ArmedFault, session: Session) -> None:
    session.write_raw(armed.draw(session.client_id, None).randbytes(armed.fault.values["bytes"]))


def _disconnect(armed: ArmedFault, session: Session) -> None:
    if armed.fault.values["how"] == "reset":
        session.reset()
    else:
        session.close()


def _half_open(armed: ArmedFault, session: Session) -> None:
    if armed.fault.seconds is None and not armed.fault.values["keeps_client_id"]:
        session.forget_client()
    session.stall(armed.fault.seconds)


_TEARS: Mapping[str, Callable[[Effect, Session, Message], None]] = {
    "torn_frame": _tear,
    "bad_length": _lie_about_length,
}
_SESSION_STRIKES: Mapping[str, Callable[[ArmedFault, Session], None]] = {
    "notice": _notice,
    "garbage": _garbage,
    "disconnect": _disconnect,
    "half_open": _half_open,
}
_GATEWAY_STRIKES: Mapping[str, Callable[[FaultsInForce, Fault], Coroutine[Any, Any, None]]] = {
    "farm_down": FaultsInForce._farm_down,
    "connectivity_lost": FaultsInForce._connectivity_lost,
    "competing_session": FaultsInForce._competing_session,
    "nightly_reset": FaultsInForce._nightly_reset,
    "restart": FaultsInForce._restart,
    "new_port": FaultsInForce._new_port,
}
