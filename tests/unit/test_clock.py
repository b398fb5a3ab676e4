"""The clock: one setting makes every process agree, and a test can move it by hand."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from v6.clock import Clock, ClockSetting, ManualClock
from v6.errors import SettingsError

NOON = datetime(2026, 11, 23, 17, 0, tzinfo=UTC)


def test_a_clock_runs_from_its_origin_at_its_speed() -> None:
    machine = NOON.timestamp()
    clock = Clock(ClockSetting(origin=datetime(2020, 1, 2, tzinfo=UTC), anchor=NOON, speed=20), machine=lambda: machine)
    assert clock.now() == datetime(2020, 1, 2, tzinfo=UTC)
    machine += 3
    assert clock.now() == datetime(2020, 1, 2, 0, 1, tzinfo=UTC)
    assert clock.machine_now() == NOON + timedelta(seconds=3)


def test_the_full_text_of_a_setting_gives_the_same_clock_elsewhere() -> None:
    setting = ClockSetting.parse("2026-11-23T12:30:00-05:00*7.5")
    assert setting.origin == datetime(2026, 11, 23, 17, 30, tzinfo=UTC)
    assert ClockSetting.parse(str(setting)) == setting


@pytest.mark.parametrize("text", ["yesterday", "2026-11-23*fast", "2026-11-23*0", "2026-11-23*-1", "*2", "@*"])
def test_a_clock_that_cannot_be_read_names_the_text_and_the_form(text: str) -> None:
    with pytest.raises(SettingsError, match="ORIGIN"):
        ClockSetting.parse(text)


async def test_a_manual_clock_wakes_sleepers_in_order() -> None:
    clock = ManualClock(NOON)
    woken: list[str] = []

    async def sleeper(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(name)

    tasks = [asyncio.create_task(sleeper("late", 5)), asyncio.create_task(sleeper("early", 1))]
    await asyncio.sleep(0)
    await clock.advance(2)
    assert woken == ["early"]
    await clock.advance(3)
    assert woken == ["early", "late"]
    assert clock.now() == NOON + timedelta(seconds=5)
    await asyncio.gather(*tasks)


def test_stepping_the_wall_clock_back_leaves_elapsed_time_alone() -> None:
    clock = ManualClock(NOON)
    before = clock.monotonic()
    clock.step(timedelta(hours=-1))
    assert clock.now() == NOON - timedelta(hours=1)
    assert clock.monotonic() == before
