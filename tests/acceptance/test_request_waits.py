"""A request says at any moment what it waits for and for how long: ``v6 requests show`` and ``v6 status``."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from tests.acceptance.test_worker_processes import SECONDS, Place, ended, start, start_worker, until
from tests.acceptance.test_worker_processes import place as place  # noqa: PLC0414 - a fixture

from v6.clock import Clock


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
    with ended(start_worker(place)) as worker:
        lines: list[dict[str, Any]] = []

        def says_how_long_it_waits_for_lines() -> bool:
            waits = shown(place, "requests", "show", chain)["waits"]
            lines[:] = [w for w in waits if w["reason"] == "market-data lines" and w["expected_seconds"] is not None]
            return bool(lines)

        await until(says_how_long_it_waits_for_lines, worker)
        assert lines[0]["steps"] > 100
        assert lines[0]["waited_seconds"] > 0
        assert "waits for" in text(place, "requests", "show", chain)
        await until(lambda: "market-data lines" in text(place, "status"), worker)
        (its_time,) = shown(place, "requests", "show", later)["waits"]
        assert its_time["reason"].startswith("its time")
        assert 10_000 < its_time["expected_seconds"] <= 10_800
        worker.terminate()
        worker.communicate(timeout=SECONDS)
    await queue.close()
