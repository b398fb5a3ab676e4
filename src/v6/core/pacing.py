"""All of the gateway's limits in one place: what each request and contract takes of them, and what waits for which."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from v6.clock import Clock
from v6.core.fair_queue import Claimant, Wait
from v6.core.line_limiter import LineLimiter, SlotLimiter
from v6.core.message_limiter import MessageLimiter
from v6.core.pacing_record import PacingRecord
from v6.core.small_bar_limiter import SmallBarLimiter
from v6.request_types.base import Contract

SMALL_BAR_SIZES = frozenset({"1 secs", "5 secs", "10 secs", "15 secs", "30 secs"})
COUNTS_TWICE = "BID_ASK"
BROAD_DETAILS_AT_ONCE = 4  # IB holds broad ones back, the longer the more there are


class Pacing:
    """The limiters. Each serves by priority, and within a priority in turns between requests."""

    def __init__(
        self,
        *,
        clock: Clock,
        market_data_lines: int,
        messages_per_second: int | None = None,
        historical_slots: int = 50,
        record: PacingRecord | None = None,
        echo: Callable[[], None] | None = None,
    ) -> None:
        """``echo`` is called when the message limiter wants a question sent that every gateway answers at once."""
        per_second = messages_per_second or max(1, market_data_lines // 2)
        self.messages = MessageLimiter(per_second=per_second, clock=clock, echo=echo or _nothing)
        self.lines = LineLimiter(lines=market_data_lines, clock=clock)
        self.historical = SlotLimiter(slots=historical_slots, clock=clock, reason="open historical requests")
        self.details = SlotLimiter(slots=BROAD_DETAILS_AT_ONCE, clock=clock, reason="broad contract-details requests")
        self.small_bars = SmallBarLimiter(clock=clock, record=record)

    @asynccontextmanager
    async def contract_details(self, contract: Contract, claimant: Claimant) -> AsyncIterator[Callable[[], None]]:
        """Hold a place for a contract-details request; one that names its contract needs none."""
        async with AsyncExitStack() as held:
            if is_broad(contract):
                await held.enter_async_context(self.details.slot(claimant))
            yield _nothing

    @asynccontextmanager
    async def history(
        self,
        contract: Contract,
        *,
        bar_size: str,
        what_to_show: str,
        identity: object,
        claimant: Claimant,
        is_patient: bool,
    ) -> AsyncIterator[Callable[[], None]]:
        """Hold one of the open historical requests, after the rules for small bars; call what it gives when sent.

        Raises:
            GatewayError: it would wait long and is not patient.
        """
        async with AsyncExitStack() as held:
            note_sent: Callable[[], None] = _nothing
            if bar_size in SMALL_BAR_SIZES:
                series = f"{contract.con_id or contract} {contract.exchange} {what_to_show}"
                note_sent = await held.enter_async_context(
                    self.small_bars.request(
                        series=series,
                        identity=f"{series} {identity}",
                        weight=2 if what_to_show.upper() == COUNTS_TWICE else 1,
                        claimant=claimant,
                        is_patient=is_patient,
                    )
                )
            await held.enter_async_context(self.historical.slot(claimant))
            yield note_sent

    def usage(self) -> dict[str, Any]:
        """The limits in use."""
        return {
            "lines_in_use": self.lines.in_use,
            "lines": self.lines.lines,
            "messages_last_second": self.messages.in_last_second(),
            "messages_per_second": self.messages.per_second,
            "historical_in_use": self.historical.in_use,
            "historical_slots": self.historical.slots,
            "small_bars_in_window": self.small_bars.in_window(),
        }

    def waits(self) -> Mapping[str, list[Wait]]:
        """What each request waits for, by request."""
        found: dict[str, list[Wait]] = {}
        for limiter in (self.messages, self.lines, self.historical, self.details, self.small_bars):
            for request_id, wait in limiter.waits().items():
                found.setdefault(request_id, []).append(wait)
        return found


def is_broad(contract: Contract) -> bool:
    """Whether a description may fit many contracts: an option or future without its strike, right or day."""
    if contract.con_id or contract.local_symbol:
        return False
    if contract.sec_type in {"OPT", "FOP"}:
        return contract.expiry is None or contract.strike is None or not contract.right
    return False


@asynccontextmanager
async def free_admission() -> AsyncIterator[Callable[[], None]]:
    """For calls that no limit but the messages concerns."""
    yield _nothing


def _nothing() -> None:
    return None
