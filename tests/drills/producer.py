"""A process that inserts a plan: ``python -m tests.drills.producer PLAN ACKNOWLEDGED``, settings from the environment.

It writes down every request that the queue has acknowledged. Started again after a kill it goes back a few requests
behind the first that is not written down and repeats them, as somebody does who does not know how far he came: their
keys make that harmless. It inserts while few requests are open, and no more than the drill allows so far, so that there
is work throughout.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from tests.drills import plan
from tests.drills.plan import Planned
from tests.drills.processes import ALLOWANCE

from v6.app import App
from v6.data.ib_request_queue import IBRequestQueue
from v6.settings import load_settings

READY = "ready"
OPEN = 12  # so many requests are open at most before the next ones are inserted
BATCH = 12  # requests in one commit at most
REPEATED = 15  # acknowledged requests that a restarted producer inserts again


def main(plan_file: str, acknowledged_file: str) -> None:
    """Insert what is left of the plan."""
    asyncio.run(_produce(plan.read(Path(plan_file)), Path(acknowledged_file)))


async def _produce(requests: Sequence[Planned], acknowledged: Path) -> None:
    app = App(load_settings().settings)
    allowance = os.environ.get(ALLOWANCE)
    queue = app.queue(source="drill")
    begin = max(0, len(acknowledged_ids(acknowledged)) - REPEATED)
    with acknowledged.open("a") as file:
        print(READY, flush=True)
        at = begin
        for batch in _batches(requests[begin:]):
            at += len(batch)
            await _until_allowed(app, allowance, at)
            await _until_few_are_open(app, queue)
            ids = await queue.insert_many([request.new() for request in batch])
            _note(file, batch, ids)
    await queue.close()


def _batches(requests: Sequence[Planned]) -> Iterator[Sequence[Planned]]:
    at = 0
    while at < len(requests):
        size = random.randint(1, BATCH)
        yield requests[at : at + size]
        at += size


async def _until_allowed(app: App, allowance: str | None, count: int) -> None:
    """Wait while the drill's file says that so many requests are too many yet."""
    while allowance is not None and await asyncio.to_thread(_allowed, Path(allowance)) < count:
        await app.clock.sleep(0.1 * app.clock.speed)


def _allowed(allowance: Path) -> int:
    return int(allowance.read_text())


async def _until_few_are_open(app: App, queue: IBRequestQueue) -> None:
    while len(await queue.open_requests()) >= OPEN:
        await app.clock.sleep(0.05 * app.clock.speed)


def _note(file: TextIO, batch: Sequence[Planned], ids: Sequence[str]) -> None:
    """Only what was written to the end counts: a line that a kill tore is repeated."""
    file.write("".join(f"{json.dumps([request.key, id_])}\n" for request, id_ in zip(batch, ids, strict=True)))
    file.flush()


def acknowledged_ids(path: Path) -> dict[str, set[str]]:
    """The ids that the queue gave for each key: one each, however often it was inserted."""
    found: dict[str, set[str]] = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        if line.endswith("]"):
            key, request_id = json.loads(line)
            found.setdefault(key, set()).add(request_id)
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
