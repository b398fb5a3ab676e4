"""A real worker whose requests are answered at once, with scripted failures: ``python -m bench.instant_worker``.

``--failures 3`` lets three requests in a hundred fail for good and three more fail once; which ones follows from their
ids, so a run can be repeated.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Any, cast
from uuid import UUID

import polars as pl

from v6.app import App
from v6.core.unified_queue_worker import UnifiedQueueWorker
from v6.data.ib_request import NewRequest
from v6.data.market_bars import MARKET_BARS
from v6.data.table import tables
from v6.errors import ErrorCategory, GatewayError
from v6.request_types.base import Backoff, Fetched, Gateway, Job, Parameters, Part, RequestType
from v6.request_types.catalogue import Catalogue
from v6.scheduler.trading_calendar import load_calendar
from v6.settings import load_settings
from v6.signals import stop_on_signals


class InstantType(RequestType[Any]):
    """A request type of the catalogue, answered at once."""

    def __init__(self, real: RequestType[Any], failures: int) -> None:
        self._real = real
        self._failures = failures
        self._tried: set[str] = set()
        self.parameters = real.parameters
        vars(self).update(
            name=real.name, result_table=real.result_table, concurrency=50, pacing=real.pacing, attempts=3
        )
        vars(self).update(backoff=Backoff(first_seconds=1.0, cap_seconds=5.0))

    async def fetch(self, job: Job[Any], part: Part, gateway: Gateway) -> Fetched:
        """Rows of bars, nothing but a count of anything else; or the failure that its id is down for."""
        lot = UUID(job.request_id).int % 100
        if lot < self._failures:
            raise GatewayError("scripted: no such contract", category=ErrorCategory.CONTRACT, code=200)
        if lot < 2 * self._failures and job.request_id not in self._tried:
            self._tried.add(job.request_id)
            raise GatewayError("scripted: no answer", category=ErrorCategory.TIMEOUT)
        if self._real.name == "market_bars":
            rows = _bars(job)
            return Fetched(rows=rows, summary={"bars": rows.height})
        empty = tables()[self._real.result_table].spec.empty().drop("request_id", "known_at")
        return Fetched(rows=empty, summary={"contracts": 3})


class InstantTypes:
    """The catalogue with instant types in place of the real ones."""

    def __init__(self, failures: int) -> None:
        self._real = Catalogue.load()
        self._types = {kind.name: InstantType(kind, failures) for kind in self._real.types()}

    def names(self) -> Sequence[str]:
        """All types."""
        return list(self._types)

    def get(self, name: str, /) -> RequestType[Any]:
        """One type."""
        return self._types[name]

    def check(self, new: NewRequest, /) -> NewRequest:
        """As the real one does."""
        return self._real.check(new)

    def parse(self, request_type: str, parameters: Mapping[str, Any], /) -> Parameters:
        """As the real one does."""
        return self._real.parse(request_type, parameters)


class NoSession:
    """A connection that is always ready and asks nobody."""

    account = "SIM-INSTANT"
    state = "ready"

    async def start(self) -> None:
        """Nothing to connect."""

    async def run(self) -> None:
        """Stay until cancelled."""
        await asyncio.Event().wait()

    async def stop(self) -> None:
        """Nothing to close."""

    def gateway(self, priority: int, request_id: str) -> Gateway:
        """Instant types ask nobody."""
        del priority, request_id
        return cast("Gateway", None)

    def admits(self, pacing: str, /) -> str | None:
        """Everything."""
        del pacing
        return None

    def usage(self) -> Mapping[str, Any]:
        """Nothing."""
        return {}


def _bars(job: Job[Any]) -> pl.DataFrame:
    """One bar for each session of the range."""
    wanted = job.parameters
    calendar = load_calendar("CME_EQUITY" if wanted.sec_type == "FUT" else "XNYS")
    end = wanted.end or datetime.now(UTC)
    rows = [
        {
            "timestamp": session.opens,
            "date": session.day,
            "symbol": job.symbol,
            "con_id": 1 + hash_of(f"{job.symbol}{wanted.month}"),
            "sec_type": wanted.sec_type,
            "bar_size": wanted.bar_size,
            "what_to_show": wanted.what_to_show,
            "regular_hours": wanted.regular_hours,
            **dict.fromkeys(("open", "high", "low", "close"), 100.0),
            "is_final": True,
            "expiry": _expiry(wanted.month),
        }
        for session in calendar.between(wanted.start or end - timedelta(days=1), end)
    ]
    schema = {name: kind for name, kind in MARKET_BARS.schema.items() if name not in ("request_id", "known_at")}
    return pl.DataFrame(rows, schema=schema)


def _expiry(month: str | None) -> Any:
    return None if month is None else datetime.combine(datetime.strptime(month, "%Y%m").date(), time()).date()  # noqa: DTZ007 - a month has no zone


def hash_of(text: str) -> int:
    """A small number of a text, the same in every process."""
    return sum((place + 1) * ord(letter) for place, letter in enumerate(text))


async def main(failures: int) -> None:
    """Work until stopped."""
    app = App(load_settings().settings)
    queue = app.queue(source="worker", worker_id=app.settings.worker_name)
    try:
        worker = UnifiedQueueWorker(
            queue=queue,
            connection=NoSession(),
            catalogue=InstantTypes(failures),
            lake=app.lake,
            clock=app.clock,
            events=app.events,
            worker_name=app.settings.worker_name,
            poll_seconds=0.05,
            upkeep=app.upkeep(queue),
        )
        with stop_on_signals(worker.stop):
            await worker.run()
    finally:
        await queue.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--failures", type=int, default=0, help="of a hundred requests")
    asyncio.run(main(parser.parse_args().failures))
