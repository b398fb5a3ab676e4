"""A request says at any moment what it waits for and for how long: ``v6 requests show`` and ``v6 status``."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.test_worker_processes import SECONDS, Place, ended, start, start_worker, until
from tests.acceptance.test_worker_processes import place as place  # noqa: PLC0414 - a fixture

from v6.app import App
from v6.clock import Clock
from v6.commands.request_waits import longest_waits
from v6.commands.worker_words import last_words
from v6.settings import Settings

LINES_ARE_LACKING = "market-data lines"


def shown(place: Place, *arguments: str) -> dict[str, Any]:
    with ended(start("--json", *arguments, "--lake", str(place.lake), "--clock", place.clock)) as process:
        output, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, errors
    answer: dict[str, Any] = json.loads(output)
    return answer


def text(place: Place, *arguments: str) -> str:
    command = ["--lake", str(place.lake), "--clock", place.clock]
    with ended(start(*arguments, *command)) as process:
        return process.communicate(timeout=SECONDS)[0]


async def test_a_chain_at_work_waits_for_lines_and_says_how_much_longer(place: Place) -> None:
    queue = place.queue()
    chain = await queue.insert(request_type="option_chain", symbol="SPY", parameters={"dte_min": 0, "dte_max": 60})
    later = await queue.insert(
        request_type="futures_snapshot", symbol="ES", not_before=Clock(place.clock).now() + timedelta(hours=3)
    )
    (nobody,) = shown(place, "requests", "show", chain)["waits"]
    assert "no worker has worked on this lake" in nobody["reason"]
    app = App(Settings(lake=str(place.lake), clock=place.clock))
    few = ["--market-data-lines", "20"]  # so that it waits for minutes, however long it takes to look
    with ended(start_worker(place, "--grace-seconds", "0", *few)) as worker:
        lines: list[dict[str, Any]] = []

        def says_how_long_it_waits_for_lines() -> bool:
            if LINES_ARE_LACKING not in {wait["reason"] for wait in longest_waits(last_words(app))}:
                return False  # a process only once there is something to see
            waits = shown(place, "requests", "show", chain)["waits"]
            lines[:] = [w for w in waits if w["reason"] == LINES_ARE_LACKING and w["expected_seconds"] is not None]
            return bool(lines)

        await until(says_how_long_it_waits_for_lines, worker)
        assert lines[0]["steps"] > 100
        assert lines[0]["waited_seconds"] > 0
        await until(lambda: "waits for" in text(place, "requests", "show", chain), worker)
        await until(lambda: LINES_ARE_LACKING in text(place, "status"), worker)
        (its_time,) = shown(place, "requests", "show", later)["waits"]
        assert its_time["reason"].startswith("its time")
        assert 10_000 < its_time["expected_seconds"] <= 10_800
        worker.terminate()
        worker.communicate(timeout=SECONDS)
    await queue.close()


@pytest.fixture
def two_snapshots_an_hour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("v6.toml").write_text("[request_types.futures_snapshot]\nlimit = 2\nlimit_seconds = 3600\n", encoding="utf-8")


@pytest.mark.usefixtures("two_snapshots_an_hour")
async def test_a_limit_of_the_settings_keeps_back_its_type_alone_and_says_when_the_next_may_begin(place: Place) -> None:
    queue = place.queue()
    first, second, third = [
        await queue.insert(request_type="futures_snapshot", symbol=symbol) for symbol in ("ES", "NQ", "RTY")
    ]
    positions = await queue.insert(request_type="position_update", symbol="", priority=3)
    with ended(start_worker(place, "--grace-seconds", "0")) as worker:
        for each in (first, second, positions):
            assert (await queue.wait(each, timeout_seconds=SECONDS)).status == "SUCCESS"
        (wait,) = shown(place, "requests", "show", third)["waits"]
        assert wait["reason"] == "the limit of 2 futures_snapshot in 3600 s"
        assert 0 < wait["expected_seconds"] <= 3600
        await until(lambda: "the limit of 2 futures_snapshot in 3600 s" in text(place, "status"), worker)
        worker.terminate()
        worker.communicate(timeout=SECONDS)
    assert (await queue.get(third)).attempt == 0
    await queue.close()
