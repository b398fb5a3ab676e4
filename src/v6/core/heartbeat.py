"""Signs of life: whether the gateway still answers, asked after some quiet, for the breaker's probe, and for pacing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from v6.core.error_catalogue import ACCOUNT
from v6.core.fair_queue import Claimant
from v6.core.gateway_link import GatewayLink
from v6.core.gateway_receiver import CURRENT_TIME_CALL
from v6.core.gateway_session import GatewaySession, note_outcome
from v6.errors import ErrorCategory, GatewayError

OWN_WORK = Claimant(priority=0, request_id="session")
LOOK_MACHINE_SECONDS = 0.5
ANSWER_MACHINE_SECONDS = 6.0


class Heartbeat:
    """Asks the gateway for the time; a session whose gateway does not answer is closed.

    A socket that is open on one side only shows in no other way.
    """

    def __init__(
        self,
        link: GatewayLink,
        *,
        address: str,
        quiet_seconds: float,
        answer_seconds: float,
        on_beat: Callable[[float], None],
    ) -> None:
        """``quiet_seconds`` and ``answer_seconds`` are machine time; ``on_beat`` is told the time at each look."""
        self._current = link.current
        self._pacing = link.pacing
        self._breaker = link.breaker
        self._clock = link.clock
        self._address = address
        self._quiet_seconds = quiet_seconds
        self._answer_seconds = min(answer_seconds, ANSWER_MACHINE_SECONDS)
        self._on_beat = on_beat
        self._echo: asyncio.Task[None] | None = None
        self._asking: asyncio.Task[int | None] | None = None
        self._asked: GatewaySession | None = None

    async def watch(self) -> None:
        """Look often whether anything came in, until the session is lost."""
        while (session := self._current.session) is not None:
            pause = asyncio.create_task(
                self._clock.sleep(LOOK_MACHINE_SECONDS * self._clock.speed), name="gateway-heartbeat-pause"
            )
            ends: set[asyncio.Future[Any]] = {session.lost, pause}
            try:
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            finally:
                pause.cancel()
            if self._current.is_in_use(session):
                await self._beat(session)

    async def _beat(self, session: GatewaySession) -> None:
        now = self._clock.monotonic()
        self._on_beat(now)
        is_probe = self._breaker.take_probe(now)
        quiet = now - session.receiver.heard_at
        if not is_probe and quiet < self._quiet_seconds * self._clock.speed:
            return
        if await self._answers(session) and is_probe:
            self._breaker.succeed(probe=True)
        self._on_beat(now)

    async def _answers(self, session: GatewaySession) -> bool:
        try:
            await self._time(session)
        except GatewayError as error:
            session.close(f"the gateway at {self._address} does not answer any more ({error})")
            return False
        return True

    def ask_for_echo(self) -> None:
        """The message limiter wants to know what has arrived."""
        if self._current.session is not None and (self._echo is None or self._echo.done()):
            self._echo = asyncio.create_task(self._echo_of(self._current.session), name="gateway-echo")

    async def _echo_of(self, session: GatewaySession) -> None:
        await self._answers(session)

    async def gateway_time(self) -> datetime:
        """What time the gateway says it is, UTC, whole seconds. Raises GatewayError when it does not answer."""
        session = self._current.session
        seconds = None if session is None else await self._time(session)
        if seconds is None:
            raise GatewayError("there is no session with the gateway", category=ErrorCategory.SESSION)
        return datetime.fromtimestamp(seconds, UTC)

    async def _time(self, session: GatewaySession) -> int | None:
        """The gateway's time, epoch seconds; None where the session was replaced meanwhile.

        Those who ask at once share one question, for its answer carries no request id.
        """
        if self._asking is None or self._asking.done() or self._asked is not session:
            self._asked, self._asking = session, asyncio.create_task(self._ask(session), name="gateway-time")
            self._asking.add_done_callback(note_outcome)
        return await asyncio.shield(self._asking)

    async def _ask(self, session: GatewaySession) -> int | None:
        with session.receiver.expect(CURRENT_TIME_CALL, "current time", ACCOUNT) as call:
            async with self._pacing.messages.message(OWN_WORK, is_echo=True) as number:
                if not self._current.is_in_use(session):
                    return None
                session.client.reqCurrentTime()
                session.receiver.proof_of(CURRENT_TIME_CALL, number)
            try:
                async with self._clock.timeout(self._answer_seconds * self._clock.speed):
                    answer = await call.answer
            except TimeoutError as error:
                # Its answer may still come, and would pass for one to the next question: no session outlives this.
                session.close(f"the gateway at {self._address} does not answer any more (no heartbeat)")
                raise GatewayError("no heartbeat", category=ErrorCategory.TIMEOUT) from error
            return int(answer[0])

    async def stop(self) -> None:
        """Ask nothing more."""
        tasks = [task for task in (self._echo, self._asking) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
