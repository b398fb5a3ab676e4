"""Waits for a request and says on stderr how far it is, how fast it goes, how long it will take, or why it waits."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from v6.app import App
from v6.commands.verdict import WORKING
from v6.commands.worker_words import last_words

if TYPE_CHECKING:
    from v6.data.ib_request_queue import IBRequest, IBRequestQueue

LOOK_SECONDS = 1.0  # machine seconds between looks, and between lines on a terminal
LINE_EVERY_SECONDS = 5.0  # machine seconds between lines in a file or pipe
SIMILAR_WITHIN = timedelta(days=2)


@dataclass(frozen=True, kw_only=True, slots=True)
class Waiting:
    """One look. ``done`` of ``planned`` are contracts, or, while it waits, requests of the queue. Clock seconds."""

    status: str
    seconds: float
    what: str = ""
    done: int = 0
    planned: int = 0
    rate: float | None = None
    seconds_left: float | None = None
    why: str = ""

    def line(self) -> str:
        """The look as one line."""
        parts = [f"{self.status} for {self.seconds:,.0f} s"]
        parts += [f"{self.done:,} of {self.planned:,} {self.what}"] if self.planned else []
        parts += [f"{self.rate:,.1f}/s"] if self.rate else []
        parts += [] if self.seconds_left is None else [f"about {self.seconds_left:,.0f} s left"]
        return ", ".join([*parts, *([self.why] if self.why else [])])


async def wait_for(
    app: App, queue: IBRequestQueue, request_id: str, *, timeout_seconds: float | None = None
) -> IBRequest:
    """The request as it ended. Raises UnknownRequest, TimeoutError."""
    ended = asyncio.create_task(queue.wait(request_id, timeout_seconds=timeout_seconds), name="wait for the end")
    looks = _Looks(app, queue, request_id)
    with _shown() as show:
        try:
            while not ended.done():
                await asyncio.wait({ended}, timeout=LOOK_SECONDS)
                if not ended.done():
                    show(await looks.look())
        finally:
            ended.cancel()
    return ended.result()


class _Looks:
    """Looks at one request again and again."""

    def __init__(self, app: App, queue: IBRequestQueue, request_id: str) -> None:
        self._app = app
        self._queue = queue
        self._request_id = request_id
        self._began = app.clock.monotonic()
        self._status = ""
        self._status_since = self._began
        self._ended_at_first: int | None = None
        self._usual_seconds: float | None = None
        self._landed_last = (0, 0.0)  # contracts, and the seconds they took

    async def look(self) -> Waiting:
        """How it is now."""
        request = await self._queue.get(self._request_id)
        now = self._app.clock.monotonic()
        if request.status != self._status:
            self._status, self._status_since = str(request.status), now
            if self._status == "PROCESSING":
                self._usual_seconds = await asyncio.to_thread(self._usually, request)
        if self._status == "PROCESSING":
            return await asyncio.to_thread(self._processing, request, now - self._status_since)
        return await self._pending(now - self._began)

    async def _pending(self, seconds: float) -> Waiting:
        stats = await self._queue.stats()
        ended = sum(stats.counts[status] for status in ("SUCCESS", "FAILED", "CANCELLED"))
        if self._ended_at_first is None:
            self._ended_at_first = ended
        done = ended - self._ended_at_first
        rate = done / seconds if seconds > 0 and done else None
        return Waiting(
            status="PENDING",
            seconds=seconds,
            what="requests of the queue",
            done=done,
            planned=done + stats.due + stats.in_flight if done else 0,
            rate=rate,
            seconds_left=None if rate is None else (stats.due + stats.in_flight) / rate,
            why=await asyncio.to_thread(self._why),
        )

    def _why(self) -> str:
        """Why nothing happens; empty where a worker is at work."""
        words = last_words(self._app)
        if any(word["state"] in WORKING for word in words):
            return "; ".join(reason for word in words for reason in word["waiting"])
        reasons = [f"worker {word['worker_id']} is {word['state']}: {word['reason'] or 'no reason'}" for word in words]
        return "; ".join(reasons) or "no worker has worked on this lake: start `v6 worker`"

    def _processing(self, request: IBRequest, seconds: float) -> Waiting:
        parts = request.result_data.get("parts") or []
        planned = sum(len(part.get("contracts", ())) for part in parts)
        done = self._landed(request) if planned else 0
        if done > self._landed_last[0]:
            self._landed_last = (done, seconds)
        rate = done / self._landed_last[1] if done and self._landed_last[1] > 0 else None
        left = max(0.0, planned / rate - seconds) if rate else None  # a part lands at once, all contracts of it
        if left is None and self._usual_seconds is not None:
            left = max(0.0, self._usual_seconds - seconds)
        return Waiting(
            status="PROCESSING", seconds=seconds, what="contracts", done=done, planned=planned, rate=rate,
            seconds_left=left,
        )  # fmt: skip

    def _landed(self, request: IBRequest) -> int:
        import polars as pl

        from v6.data.table import tables

        table = tables()[request.result_table](self._app.lake, clock=self._app.clock)
        of_request = table.scan().filter(pl.col("request_id") == request.request_id)
        return int(of_request.select(pl.len()).collect().item())

    def _usually(self, request: IBRequest) -> float | None:
        """How long the last one of the same type, symbol and parameters took; None where there was none lately."""
        import polars as pl

        from v6.data.ib_request import REQUESTS
        from v6.data.queue_log import requests_of

        same = {
            "request_type": request.request_type, "symbol": request.symbol, "parameters": request.parameters_json,
            "status": "SUCCESS",
        }  # fmt: skip
        since = (self._app.clock.now() - SIMILAR_WITHIN).date()
        rows = self._app.lake.scan(REQUESTS).filter(pl.col("date") >= since, *(pl.col(n) == v for n, v in same.items()))
        last = requests_of(rows.sort("updated_at").tail(1).collect())
        return float(last[0].result_data["seconds"]) if last and "seconds" in last[0].result_data else None


@contextmanager
def _shown() -> Iterator[Callable[[Waiting], None]]:
    """What shows a look: a line that is redrawn on a terminal, a line every few seconds anywhere else."""
    if sys.stderr.isatty():
        from rich.console import Console

        with Console(stderr=True).status("waiting") as spinner:
            yield lambda look: spinner.update(look.line().replace("[", r"\["))
        return
    last = -LINE_EVERY_SECONDS

    def write(look: Waiting) -> None:
        nonlocal last
        if look.seconds - last >= LINE_EVERY_SECONDS or look.seconds < last:
            last = look.seconds
            sys.stderr.write(f"{look.line()}\n")

    yield write
