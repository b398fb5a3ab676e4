"""Maintenance between real processes: beside producers, workers and readers, and as a worker's own helper."""

import asyncio
import json
import multiprocessing as mp
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl

from v6.clock import Clock, ClockSetting
from v6.data.delta import data_files
from v6.data.ib_request import REQUESTS, NewRequest
from v6.data.ib_request_queue import IBRequestQueue
from v6.data.lake import Lake
from v6.data.outcome import Done, Outcome, RetryAt
from v6.data.queue_log import current
from v6.errors import ErrorCategory
from v6.maintenance.maintainer import Maintainer, Promises

ROOT = Path(__file__).parents[2]
REQUESTS_IN_ALL = 1_000
DAY_SECONDS = 3.0  # machine seconds that a day of the queue's clock takes
READERS = Promises(queue_reader_hours=20 / 3600)
TIMEOUT_SECONDS = 600.0

Call = tuple[Callable[..., Any], tuple[Any, ...]]


def queue_of(lake: str, clock: str, worker: str = "") -> IBRequestQueue:
    return IBRequestQueue(lake, clock=Clock(clock), worker_id=worker, check=NewRequest.checked)


def produce(lake: str, clock: str, inserted: Any) -> list[str]:
    """Insert ten at a time, some with keys, as fast as it goes."""

    async def run() -> list[str]:
        queue, ids = queue_of(lake, clock), list[str]()
        for batch in range(REQUESTS_IN_ALL // 10):
            ids += await queue.insert_many(
                [
                    NewRequest(request_type="t", symbol="SPY", idempotency_key=f"{batch}-{n}" if n % 3 == 0 else None)
                    for n in range(10)
                ]
            )
        inserted.set()
        return ids

    return asyncio.run(run())


def work(lake: str, clock: str, name: str, inserted: Any) -> list[str]:
    """Claim and settle, some at the second attempt, until all is done; the ids that this worker brought to SUCCESS."""

    async def run() -> list[str]:
        queue, claimed, done = queue_of(lake, clock, name), list[Any](), list[str]()
        while True:
            now = Clock(clock).now()
            again = RetryAt(at=now, message="again", category=ErrorCategory.TIMEOUT)
            outcomes: dict[str, Outcome] = {
                r.request_id: again if r.attempt == 0 and r.request_id < "4" else Done() for r in claimed
            }
            turn = await queue.settle_and_claim(outcomes, 20)
            assert not turn.refused
            done += [i for i in turn.settled if isinstance(outcomes[i], Done)]
            claimed = list(turn.claimed)
            counts = (await queue.stats()).counts
            if not claimed and inserted.is_set() and not counts["PENDING"] and not counts["PROCESSING"]:
                return done

    return asyncio.run(run())


def read(lake: str, end: Any) -> int:
    """Read now, and again what was opened a little before: nothing ever goes missing. How often it read."""
    opened: list[tuple[pl.LazyFrame, int]] = []
    most = looks = 0
    while not end.is_set():
        rows = Lake(lake).scan(REQUESTS)
        seen = current(rows).select("request_id").collect().height
        assert seen >= most
        most, looks = seen, looks + 1
        opened.append((rows, seen))
        if len(opened) > 3:
            older, then = opened.pop(0)
            assert current(older).select("request_id").collect().height == then
    return looks


def maintain(lake: str, clock: str, end: Any) -> dict[str, int]:
    """Maintain in a loop; what was done."""
    done: Counter[str] = Counter()
    maintainer = Maintainer(Lake(lake), Clock(clock), READERS, [REQUESTS])
    while not end.is_set():
        for report in maintainer.round(thorough=True):
            assert report.error is None
            done.update(joined=report.joined, folded=report.folded_rows, deleted=report.deleted_files)
    return dict(done)


def maintain_until_killed(lake: str, clock: str) -> None:
    """Maintain for ever."""
    maintain(lake, clock, mp.get_context("spawn").Event())


def kill_again_and_again(lake: str, clock: str, end: Any) -> int:
    """Start a maintainer and kill it, wherever it is, again and again; how often."""
    context, kills = mp.get_context("spawn"), 0
    while not end.is_set():
        victim = context.Process(target=maintain_until_killed, args=(lake, clock))
        victim.start()
        end.wait(1.5 + 0.2 * (kills % 7))
        victim.kill()
        victim.join()
        kills += 1
    return kills


def _run(call: Callable[..., Any], arguments: tuple[Any, ...], out: Any) -> None:
    try:
        out.put((call.__name__, call(*arguments), None))
    except BaseException as error:  # noqa: BLE001 - the parent shall see it
        out.put((call.__name__, None, repr(error)))


def test_every_request_once_beside_readers_and_maintainers_that_are_killed(tmp_path: Path) -> None:
    lake = str(tmp_path / "lake")
    Lake(lake).ensure(REQUESTS)
    clock = str(ClockSetting.parse(f"2026-03-02T12:00:00Z*{86_400 / DAY_SECONDS}"))
    context = mp.get_context("spawn")
    out, inserted, end = context.Queue(), context.Event(), context.Event()
    front: list[Call] = [(produce, (lake, clock, inserted)), *((work, (lake, clock, name, inserted)) for name in "ab")]
    behind: list[Call] = [(read, (lake, end)), (maintain, (lake, clock, end))]
    behind.append((kill_again_and_again, (lake, clock, end)))
    calls = [*front, *behind]
    processes = [context.Process(target=_run, args=(*call, out)) for call in calls]
    for process in processes:
        process.start()
    results: dict[str, list[Any]] = {call.__name__: [] for call, _ in calls}
    try:
        for number in range(len(calls)):
            if number == len(front):
                end.set()
            name, result, error = out.get(timeout=TIMEOUT_SECONDS)
            assert error is None, f"{name}: {error}"
            results[name].append(result)
    finally:
        end.set()
        for process in processes:
            process.join(60)
            process.kill()
    ids = results["produce"][0]
    done = Counter(request_id for mine in results["work"] for request_id in mine)
    assert len(set(ids)) == REQUESTS_IN_ALL
    assert set(done) == set(ids)
    assert max(done.values()) == 1
    assert results["read"][0] > 5
    assert results["maintain"][0]["joined"] > 0
    assert results["kill_again_and_again"][0] > 0
    _check_what_is_left(Lake(lake), clock, set(ids))


def _check_what_is_left(lake: Lake, clock: str, ids: set[str]) -> None:
    later = Clock(ClockSetting.parse(f"{Clock(clock).now() + timedelta(days=2):%Y-%m-%dT%H:%M:%SZ}"))
    for report in Maintainer(lake, later, READERS, [REQUESTS]).round(thorough=True):
        assert report.error is None
    rows = lake.scan(REQUESTS).collect()
    assert rows["status"].unique().to_list() == ["SUCCESS"]
    assert sorted(rows["request_id"]) == sorted(ids)
    assert len(data_files(lake.open(REQUESTS.name))) == rows["date"].n_unique()


# The worker's helper


@contextmanager
def instant_worker(lake: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    environment = {
        **os.environ,
        "V6_LAKE": str(lake),
        "V6_LOG_LEVEL": "debug",
        "V6_LOG_FORMAT": "json",
        "V6_MAINTENANCE_SECONDS": "1",
    }
    with (tmp_path / "worker.log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.instant_worker"], cwd=ROOT, env=environment, stderr=log, text=True
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def helpers_of(process: subprocess.Popen[str]) -> list[int]:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii")
    return [int(pid) for pid in children.split()]


def wait_for(condition: Callable[[], Any]) -> Any:
    clock, until = Clock(), time.monotonic() + 240
    while time.monotonic() < until:
        found = condition()
        if found:
            return found
        clock.pause(0.05)
    raise AssertionError("it did not come")


def events_of(log: Path, name: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
    return [line for line in lines if line.get("event") == name]


async def _insert(lake: Path, count: int) -> None:
    queue = IBRequestQueue(lake)
    for _ in range(count):
        await queue.insert(request_type="position_update", symbol="")
    await queue.close()


def test_a_worker_has_its_lake_maintained_by_a_helper_that_ends_with_it(tmp_path: Path) -> None:
    lake, log = tmp_path / "lake", tmp_path / "worker.log"
    with instant_worker(lake, tmp_path) as worker:
        asyncio.run(_insert(lake, 60))
        (joined, *_) = wait_for(lambda: [e for e in events_of(log, "table.maintained") if e["joined"]])
        assert joined["files_after"] < joined["files_before"]
        (helper,) = wait_for(lambda: helpers_of(worker))
        os.kill(helper, signal.SIGKILL)
        wait_for(lambda: events_of(log, "maintenance.failed"))
        (helper,) = wait_for(lambda: helpers_of(worker))
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(240) == 0
        assert not Path(f"/proc/{helper}").exists()


def test_a_helper_ends_when_its_worker_is_killed(tmp_path: Path) -> None:
    with instant_worker(tmp_path / "lake", tmp_path) as worker:
        (helper,) = wait_for(lambda: helpers_of(worker))
        worker.kill()
        worker.wait()
        wait_for(lambda: not Path(f"/proc/{helper}").exists() or "(zombie)" in _status(helper))


def _status(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):
        return "(zombie)"


def test_the_command_maintains_and_says_what_it_did(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    asyncio.run(_insert(lake, 20))
    command = [sys.executable, "-m", "v6", "maintain", "--lake", str(lake), "--json"]

    def run(*more: str) -> tuple[int, str]:
        done = subprocess.run([*command, *more], capture_output=True, text=True, timeout=240, check=False)
        return done.returncode, done.stdout or done.stderr

    code, planned = run("--dry-run", "--table", "ib_requests")
    assert code == 0
    assert json.loads(planned)["tables"][0]["joined"] == 20
    code, done = run()
    assert code == 0
    assert json.loads(done)["tables"][0]["files_after"] == 1
    code, text = run("--table", "ib_request")
    assert code == 2
    assert "there is no table ib_request: known are" in text
    (lake / "ib_requests" / "_delta_log" / "00000000000000000003.json").write_text("{", encoding="utf-8")
    code, text = run()
    assert code == 3
