"""What the commands over the ledger share: the days asked about, and the ledger as of now."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from v6.app import App
from v6.errors import RequestError

if TYPE_CHECKING:
    from v6.scheduler.ledger import Ledger

Day = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="first day; without it 14 days back")]
LastDay = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="last day; without it today")]
Symbol = Annotated[str | None, typer.Option(help="only this symbol")]
DAYS = 14


async def settled_ledger(app: App) -> Ledger:
    """The ledger, after it has taken in how the requests have ended."""
    from v6.scheduler.ledger import Ledger

    ledger = Ledger(app.lake, app.clock, history_types=app.history_types)
    waiting = ledger.waiting()
    if waiting:
        queue = app.queue(source="cli")
        try:
            ledger.settle(waiting, (await queue.open_requests()).keys())
        finally:
            await queue.close()
    return ledger


def asked_days(app: App, first: datetime | None, last: datetime | None) -> tuple[date, date]:
    """First and last day. Raises RequestError."""
    today = app.clock.now().date()
    begin = first.date() if first is not None else today - timedelta(days=DAYS - 1)
    end = last.date() if last is not None else max(today, begin)
    if begin > end:
        raise RequestError(f"--first {begin} is after --last {end}")
    return begin, end
