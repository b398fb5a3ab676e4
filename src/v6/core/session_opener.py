"""Opens a socket to the gateway and shakes hands; says in one line why it cannot."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from v6.clock import Clock
from v6.core.error_catalogue import ErrorAction, ErrorRule
from v6.core.gateway_session import GatewaySession
from v6.errors import ErrorCategory, GatewayUnavailable


@dataclass(frozen=True, kw_only=True, slots=True)
class GatewayAddress:
    """Where the gateway is, and the client ids to try there, in this order."""

    host: str
    port: int
    client_ids: Sequence[int]

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class SessionOpener:
    """Knows where the gateway is, and what it said when it refused."""

    def __init__(self, address: GatewayAddress, *, clock: Clock, timeout_seconds: float) -> None:
        """``timeout_seconds`` is machine time: a socket that answers is no matter of the clock."""
        self._address = address
        self._clock = clock
        self._timeout_seconds = timeout_seconds
        self._refusal: tuple[ErrorRule, str] | None = None

    def note_refusal(self, rule: ErrorRule, text: str) -> None:
        """The gateway said why it ends the session."""
        self._refusal = (rule, text)

    def is_client_id_taken(self) -> bool:
        """Whether the last try failed because the client id is in use."""
        return self._refusal is not None and self._refusal[0].action is ErrorAction.NEXT_CLIENT_ID

    async def open(self, session: GatewaySession, client_id: int) -> None:
        """Open a session, or close what was begun of it.

        Raises:
            GatewayUnavailable: nobody listens, nobody answers, or it was refused.
        """
        self._refusal = None
        try:
            await self._shake_hands(session, client_id)
        except (GatewayUnavailable, asyncio.CancelledError) as error:
            session.close(self.reason_of(error, client_id))
            await session.wait_closed()
            raise

    def reason_of(self, error: BaseException, client_id: int) -> str:
        """Why a session is not open, as one line."""
        if self.is_client_id_taken():
            return f"client id {client_id} is in use at {self._address}"
        return str(error) or "given up while connecting"

    async def _shake_hands(self, session: GatewaySession, client_id: int) -> None:
        opening = asyncio.create_task(
            session.client.connectAsync(self._address.host, self._address.port, client_id, None), name="gateway-open"
        )
        try:
            async with self._clock.timeout(self._timeout_seconds * self._clock.speed):
                ends: set[asyncio.Future[Any]] = {opening, session.lost}
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError as error:
            raise self._unavailable("does not answer the handshake") from error
        finally:
            opening.cancel()
            outcome = (await asyncio.gather(opening, return_exceptions=True))[0]
        if not session.client.isReady():
            cause = outcome if isinstance(outcome, Exception) else None
            what = "cannot be reached" if isinstance(cause, OSError) else "refused the session"
            raise self._unavailable(f"{what}{session.complaint}") from cause

    def _unavailable(self, what: str) -> GatewayUnavailable:
        refusal = self._refusal
        if refusal is not None and refusal[0].action is ErrorAction.NEXT_CLIENT_ID:
            ids = f"{self._address.client_ids[0]} to {self._address.client_ids[-1]}"
            return GatewayUnavailable(
                f"client ids {ids} are in use at the gateway {self._address}: set V6_CLIENT_ID to another number",
                category=ErrorCategory.SESSION,
                code=refusal[0].code,
            )
        detail = f" ({refusal[0].code}: {refusal[1]})" if refusal else ""
        return GatewayUnavailable(
            f"the gateway at {self._address} {what}{detail}: start IB Gateway or `v6 gateway`, "
            "or set V6_GATEWAY_HOST and V6_GATEWAY_PORT",
            category=ErrorCategory.SESSION if refusal else ErrorCategory.NETWORK,
            code=refusal[0].code if refusal else None,
        )
