"""The requests a worker runs at this moment: their tasks, the places they take, and what has finished."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from v6.data.ib_request import IBRequest
from v6.data.outcome import Outcome


@dataclass(frozen=True, kw_only=True, slots=True)
class Finished:
    """One run that ended: what, how, and after how many seconds of clock time."""

    request: IBRequest
    outcome: Outcome
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Collected:
    """What ended: with an outcome, by cancellation, or by an error that is no outcome and must stop the worker."""

    finished: list[Finished] = field(default_factory=list)
    cancelled: list[IBRequest] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)


class InFlight:
    """One named task a request; every end wakes whoever waits for news."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._running: dict[asyncio.Task[Outcome], tuple[IBRequest, float]] = {}
        self.news = asyncio.Event()
        self.urgent_news = asyncio.Event()

    def __len__(self) -> int:
        return len(self.tasks())

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs and every end has been collected."""
        return not self._running

    def start(self, request: IBRequest, run: Coroutine[Any, Any, Outcome]) -> None:
        """Run a request in a task of its own."""
        task = asyncio.create_task(run, name=f"request {request.request_type} {request.symbol} {request.request_id}")
        self._running[task] = (request, self._monotonic())
        task.add_done_callback(self._note_end)

    def cancel(self, request_id: str) -> bool:
        """End the run of a request before its rows land, if it still can be; False when it does not run."""
        found = [task for task, (request, _) in self._running.items() if request.request_id == request_id]
        return any(task.cancel() for task in found)

    def runs_alone(self, crash_limit: int) -> bool:
        """Whether one runs that has crashed its worker so often that nothing may run beside it."""
        return any(request.crashes >= crash_limit for request in self._active())

    def normal(self) -> int:
        """How many of priority 2 and 3 are running."""
        return sum(1 for request in self._active() if request.priority > 1)

    def by_type(self) -> Counter[str]:
        """How many of each type are running."""
        return Counter(request.request_type for request in self._active())

    def collect(self) -> Collected:
        """What ended since the last call."""
        self.news.clear()
        self.urgent_news.clear()
        collected = Collected()
        for task in [task for task in self._running if task.done()]:
            request, began = self._running.pop(task)
            if task.cancelled():
                collected.cancelled.append(request)
            elif (error := task.exception()) is not None:
                collected.failures.append(error)
            else:
                seconds = round(self._monotonic() - began, 3)
                collected.finished.append(Finished(request=request, outcome=task.result(), seconds=seconds))
        return collected

    def tasks(self) -> list[asyncio.Task[Outcome]]:
        """Those that still run."""
        return [task for task in self._running if not task.done()]

    def _active(self) -> list[IBRequest]:
        return [request for task, (request, _) in self._running.items() if not task.done()]

    def _note_end(self, task: asyncio.Task[Outcome]) -> None:
        self.news.set()
        request, _ = self._running.get(task, (None, 0.0))
        if request is not None and request.priority == 1:
            self.urgent_news.set()
