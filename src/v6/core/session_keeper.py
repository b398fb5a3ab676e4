"""Opens the session with the gateway, keeps it open, and closes it: one socket at a time, for one account."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime

from v6.core.back_off import BackOff
from v6.core.error_catalogue import ALL_KINDS
from v6.core.gateway_calls import GatewayCalls
from v6.core.gateway_link import GatewayLink
from v6.core.gateway_notices import GatewayNotices
from v6.core.gateway_receiver import GatewayReceiver
from v6.core.gateway_session import ClientFactory, GatewaySession
from v6.core.heartbeat import OWN_WORK, Heartbeat
from v6.core.session_opener import GatewayAddress, SessionOpener
from v6.core.session_state import SessionState
from v6.errors import ErrorCategory, GatewayError, GatewayUnavailable
from v6.events import EventBus

STABLE_SECONDS = 30.0  # a session that lived shorter counts as one more failed try


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionTimes:
    """How long an answer to the opening may take, and quiet last before the gateway is asked (machine seconds);
    how long market data are left alone at first when another session has them (clock seconds)."""

    connect_seconds: float
    heartbeat_seconds: float
    competing_hold_seconds: float


class SessionKeeper:
    """Owns the socket in use."""

    def __init__(
        self,
        link: GatewayLink,
        calls: GatewayCalls,
        *,
        address: GatewayAddress,
        make_client: ClientFactory,
        times: SessionTimes,
        events: EventBus,
        back_off: BackOff,
    ) -> None:
        self._link = link
        self._calls = calls
        self._address = address
        self._make_client = make_client
        self._back_off = back_off
        self._account = ""
        self._opener = SessionOpener(address, clock=link.clock, timeout_seconds=times.connect_seconds)
        self._notices = GatewayNotices(
            link, opener=self._opener, competing_hold_seconds=times.competing_hold_seconds, events=events
        )
        self._heartbeat = Heartbeat(
            link,
            address=str(address),
            quiet_seconds=times.heartbeat_seconds,
            answer_seconds=times.connect_seconds,
            on_beat=self._look,
        )
        calls.on_whole_quote = self._notices.whole_quote_came

    @property
    def account(self) -> str:
        """The account of the session, empty before the first one."""
        return self._account

    async def start(self) -> None:
        """Open the session. Raises GatewayUnavailable with what to do when there is none to be had."""
        self._link.current.is_stopped = False
        await self._open()

    async def _open(self) -> None:
        client_ids = self._address.client_ids
        for client_id in client_ids:
            try:
                await self._start(client_id)
            except GatewayUnavailable:
                if not self._opener.is_client_id_taken() or client_id == client_ids[-1]:
                    raise
            else:
                return

    async def _start(self, client_id: int) -> None:
        link = self._link
        link.status.move(SessionState.CONNECTING, f"connecting to {self._address} as client {client_id}")
        session = GatewaySession(self._receiver(), self._make_client)
        try:
            await self._opener.open(session, client_id)
            self._check_wanted(session)
            self._know_account(session)
        except (GatewayUnavailable, asyncio.CancelledError) as error:
            link.status.move(SessionState.DISCONNECTED, self._opener.reason_of(error, client_id))
            raise
        link.current.session = session
        link.pacing.messages.opened()
        link.breaker.reset()
        self._notices.session_opened()
        session.lost.add_done_callback(lambda lost: self._end(session, lost.result()))
        link.status.move(SessionState.READY, f"account {self._account}")
        data_type = int(self._calls.market_data_type)
        await self._calls.send(OWN_WORK, session, lambda client: client.reqMarketDataType(data_type))

    def _receiver(self) -> GatewayReceiver:
        return GatewayReceiver(
            on_notice=self._notices.take,
            on_proof=self._link.pacing.messages.proven,
            is_answer_reliable=lambda: self._link.status.is_answer_reliable,
            clock=self._link.clock,
        )

    def _check_wanted(self, session: GatewaySession) -> None:
        """A stop may come while the hands are shaken: then nobody would close the session."""
        if self._link.current.is_stopped:
            session.close("v6 closed the session")
            raise GatewayUnavailable("v6 was stopped while it connected", category=ErrorCategory.SESSION)

    def _know_account(self, session: GatewaySession) -> None:
        """The account of the first session is that of all: somebody may log in to the gateway as another user."""
        account = session.client.getAccounts()[0]
        if self._account not in {"", account}:
            reason = (
                f"the gateway at {self._address} has account {account} now, and this worker began with "
                f"{self._account}: log in to the gateway as before, or start the worker anew on another lake"
            )
            session.close(reason)
            raise GatewayUnavailable(reason, category=ErrorCategory.SESSION)
        self._account = account

    async def keep_open(self) -> None:
        """Reconnect with exponential back-off and jitter, until stopped."""
        current, clock, failures = self._link.current, self._link.clock, 0
        while not current.is_stopped:
            if current.session is None:
                try:
                    await self._open()
                except GatewayError as error:
                    if self._link.current.is_stopped:
                        return
                    failures += 1
                    await self._back_off.wait(failures, str(error))
                    continue
            began = clock.machine_monotonic()
            await self._heartbeat.watch()
            failures = 0 if clock.machine_monotonic() - began >= STABLE_SECONDS else failures + 1
            if failures > 1:  # it was lost soon after it was opened, and not for the first time
                await self._back_off.wait(failures - 1, self._link.status.reason)

    def ask_for_echo(self) -> None:
        """The message limiter wants a question sent that is answered at once."""
        self._heartbeat.ask_for_echo()

    async def gateway_time(self) -> datetime:
        """What time the gateway says it is, UTC, whole seconds. Raises GatewayError when it does not answer."""
        return await self._heartbeat.gateway_time()

    def _look(self, now: float) -> None:
        """Clear what time has cleared, and let the breaker show."""
        self._notices.look(now)
        self._calls.report_breaker()

    async def stop(self) -> None:
        """Close the session in order; what is in flight fails."""
        self._link.current.is_stopped = True
        session = self._link.current.session
        if session is not None:
            session.close("v6 closed the session")
            self._end(session, "v6 closed the session")
            await session.wait_closed()
        await self._heartbeat.stop()

    def _end(self, session: GatewaySession, reason: str) -> None:
        if self._link.current.is_in_use(session):
            self._link.current.session = None
            self._link.status.move(SessionState.DISCONNECTED, reason)
            self._link.pacing.messages.forget()
        session.receiver.fail(ALL_KINDS, f"session lost: {reason}")
