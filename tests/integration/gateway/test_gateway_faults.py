"""Every kind of fault, seen from the wire."""

from __future__ import annotations

import asyncio
import json
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import ib_async
import pytest
from tests.integration.gateway.conftest import NOON
from tests.integration.gateway.raw_client import OPTION, QQQ, SECONDS, SPY, RawClient, bare, raw

from v6.clock import ManualClock
from v6.simulator.error_texts import ERROR_TEXTS
from v6.simulator.fault_script import FaultScript, read_fault_script
from v6.simulator.faults import KINDS, make_fault


def script(*faults: str, seed: int = 0) -> FaultScript:
    """A script from lines such as ``do = "restart", seconds = 5``."""
    tables = ["[[fault]]\n" + "\n".join(fault.split("; ")) for fault in faults]
    return read_fault_script("\n".join([f"seed = {seed}", *tables]), "test")


def model(fields: list[str]) -> bool:
    return fields[0] == "21" and fields[2] in ("13", "83")


def price(messages: list[list[str]], tick_type: int) -> list[str]:
    return [fields[4] for fields in messages if fields[0] == "1" and fields[3] == str(tick_type)]


@pytest.mark.parametrize("code", sorted(ERROR_TEXTS))
async def test_every_code_comes_for_a_request_and_as_a_notice(start_gateway: Any, code: int) -> None:
    gateway = await start_gateway(faults=script(f'do = "error"; code = {code}; request = "market_data"; times = 1'))
    async with raw(gateway.port) as client:
        client.quote(1)
        assert (await client.error(code))[2:5] == ["1", str(code), ERROR_TEXTS[code]]
        client.quote(2)
        await client.until(model)
        gateway.faults.arm(make_fault({"do": "notice", "code": code, "text": "as told"}))
        assert (await client.error(code))[2:5] == ["-1", str(code), "as told"]


async def test_an_error_may_let_the_answer_follow(start_gateway: Any) -> None:
    gateway = await start_gateway(faults=script('do = "error"; code = 10090; goes_on = true'))
    async with raw(gateway.port) as client:
        client.quote(1)
        await client.error(10090)
        await client.until(model)


async def test_a_fault_strikes_what_it_is_aimed_at_and_nothing_else(start_gateway: Any) -> None:
    gateway = await start_gateway(faults=script('do = "error"; code = 200; symbol = "SPY"; sec_type = "STK"'))
    async with raw(gateway.port) as client:
        client.details(1, ("1", *[""] * 11))
        assert (await client.error(200))[2] == "1"
        client.details(2, QQQ)
        client.details(3, OPTION)
        found = await client.until_message(52) + await client.until_message(52)
        assert {fields[1] for fields in found if fields[0] == "10"} == {"2", "3"}


async def test_the_first_messages_pass_and_it_strikes_so_often(start_gateway: Any) -> None:
    gateway = await start_gateway(
        faults=script('do = "error"; code = 162; request = "bars"; after_messages = 2; times = 1')
    )
    async with raw(gateway.port) as client:
        answers = []
        for req_id in range(4):
            client.bars(req_id)
            answers.append((await client.until(lambda fields: fields[0] in ("17", "4")))[-1][0])
    assert answers == ["17", "17", "4", "17"]


async def struck(start_gateway: Any, seed: int, order: list[int]) -> set[int]:
    gateway = await start_gateway(faults=script('do = "error"; code = 162; probability = 0.5', seed=seed))
    lost = set()
    async with raw(gateway.port) as client:
        for con_id in order:
            client.details(con_id, (str(con_id), *[""] * 11))
            answer = (await client.until(lambda fields: fields[0] in ("52", "4")))[-1]
            lost |= {con_id} if answer[0] == "4" else set()
    return lost


async def test_chance_depends_on_the_seed_and_not_on_the_order(start_gateway: Any) -> None:
    order = [1, 2, 3, 11, 12, 100, 101, 200, 201]
    first = await struck(start_gateway, 5, order)
    assert first == await struck(start_gateway, 5, order[::-1])
    assert first != await struck(start_gateway, 6, order)
    assert 0 < len(first) < len(order)


async def test_silence_is_no_answer(start_gateway: Any) -> None:
    gateway = await start_gateway(faults=script('do = "silence"; request = "bars"'))
    async with raw(gateway.port) as client:
        client.bars(1)
        assert await client.quiet(0.2) == []
        assert await client.is_alive()


async def test_a_slow_answer_keeps_its_order(start_gateway: Any) -> None:
    gateway = await start_gateway(faults=script('do = "slow"; delay = [3, 4]; request = "contract_details"'))
    async with raw(gateway.port) as client:
        client.details(1, ("0", "SPY", "OPT", *[""] * 9))
        assert await client.quiet(0.2) == []
        assert [fields[0] for fields in await client.until_message(52)] == ["10"] * 4 + ["52"]


async def test_greeks_come_late_or_never(start_gateway: Any) -> None:
    late = 'do = "late_greeks"; delay = 5; con_id = 101'
    gateway = await start_gateway(faults=script(late, 'do = "no_greeks"; con_id = 100'))
    clock = gateway._gateway.clock
    async with raw(gateway.port) as client:
        client.quote(1, OPTION)
        client.quote(2, ("100", *OPTION[1:4], "240.0", *OPTION[5:]))
        asked = clock.monotonic()
        *before, greeks = await client.until_message(21)
        assert greeks[1] == "1"
        assert clock.monotonic() - asked >= 5
        assert "1" in {fields[2] for fields in before if fields[0] == "2"}  # the rest had not waited for them
        await client.quiet(0.3)
        assert any(sizes_of_two(fields) for fields in client.heard) or await client.until(sizes_of_two)
        assert {fields[1] for fields in client.heard if fields[0] == "21"} == {"1"}


def sizes_of_two(fields: list[str]) -> bool:
    return fields[0] == "2" and fields[2] == "2"


@pytest.mark.parametrize(("value", "seen"), [("-1", -1.0), ("nan", math.nan), ("0", 0.0)])
async def test_prices_that_are_none(start_gateway: Any, value: str, seen: float) -> None:
    gateway = await start_gateway(faults=script(f'do = "prices"; value = "{value}"; fields = ["bid"]'))
    async with raw(gateway.port) as client:
        client.quote(1)
        messages = await client.until(model)
        assert float(price(messages, 1)[0]) == pytest.approx(seen, nan_ok=True)
        assert price(messages, 2) == ["1.1"]


@pytest.mark.parametrize(("name", "number"), [("frozen", "2"), ("delayed", "3"), ("delayed_frozen", "4")])
async def test_another_type_of_data(start_gateway: Any, name: str, number: str) -> None:
    gateway = await start_gateway(faults=script(f'do = "data_type"; type = "{name}"'))
    async with raw(gateway.port) as client:
        client.quote(1)
        messages = await client.until(model)
        assert [fields[3] for fields in messages if fields[0] == "58"] == [number]
        assert price(messages, 66 if number > "2" else 1) == ["1.0"]
        assert any(fields[3] == "10167" for fields in messages if fields[0] == "4") == (number > "2")


async def test_ticks_twice_and_out_of_order(start_gateway: Any) -> None:
    twice, mixed = 'do = "duplicate_ticks"; con_id = 101', 'do = "shuffled_ticks"; con_id = 1; delay = [0, 20]'
    gateway = await start_gateway(faults=script(twice, mixed), quote_delay_seconds=(0.2, 0.3))
    async with raw(gateway.port) as client:
        client.quote(1, OPTION)
        assert price(await client.until(model), 1) == ["1.0", "1.0"]
        client.send(2, 1, 1)
        client.quote(2, SPY)
        kinds: list[str] = []
        while not set(kinds) >= {"0", "1", "2", "3", "4", "8"}:
            fields = await client.read()
            kinds += [fields[3]] if fields[0] in ("1", "2") and fields[2] == "2" else []
        assert kinds.index("0") < kinds.index("1") or kinds.index("3") < kinds.index("2") or kinds != sorted(kinds)


@pytest.mark.parametrize("change", [-2, 3])
async def test_a_wrong_number_of_fields(start_gateway: Any, change: int) -> None:
    gateway = await start_gateway(faults=script(f'do = "field_count"; change = {change}; request = "contract_details"'))
    async with raw(gateway.port) as client:
        client.details(1, QQQ)
        wrong = (await client.until(lambda fields: fields[0] == "10"))[-1]
        await client.until_message(52)
        gateway.faults.clear()
        client.details(2, QQQ)
        right = (await client.until_message(52))[-2]
        assert len(wrong) == len(right) + change


async def test_a_frame_in_two_halves_that_goes_on(start_gateway: Any) -> None:
    torn = 'do = "torn_frame"; then = "go_on"; delay = 5; times = 1; request = "contract_details"'
    gateway = await start_gateway(faults=script(torn))
    async with raw(gateway.port) as client:
        client.details(1)
        with pytest.raises(TimeoutError):
            await client.read(0.3)
        assert b"SPY" in await asyncio.wait_for(client.reader.readuntil(b"ETF\0"), SECONDS)


@pytest.mark.parametrize(("then", "is_open"), [("close", False), ("hang", True)])
async def test_a_frame_that_stays_torn(start_gateway: Any, then: str, is_open: bool) -> None:
    gateway = await start_gateway(faults=script(f'do = "torn_frame"; then = "{then}"; request = "contract_details"'))
    async with raw(gateway.port) as client:
        client.details(1)
        if is_open:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.reader.read(), 0.3)
        else:
            cut = await client.rest()
            assert 4 < len(cut) < int.from_bytes(cut[:4], "big")


async def test_a_wrong_length_and_garbage(start_gateway: Any) -> None:
    gateway = await start_gateway(faults=script('do = "bad_length"; length = 4000000000; request = "contract_details"'))
    async with raw(gateway.port) as client:
        client.details(1)
        assert await asyncio.wait_for(client.reader.readexactly(4), SECONDS) == (4_000_000_000).to_bytes(4, "big")
    gateway.faults.clear()
    async with raw(gateway.port) as client:
        gateway.faults.arm(make_fault({"do": "garbage", "bytes": 32}))
        assert len(await asyncio.wait_for(client.reader.readexactly(32), SECONDS)) == 32


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_socket_that_is_closed(start_gateway: Any, how: str) -> None:
    gateway = await start_gateway(faults=script(f'do = "disconnect"; how = "{how}"; request = "contract_details"'))
    async with raw(gateway.port) as client:
        client.details(1)
        if how == "reset":
            with pytest.raises(ConnectionResetError):
                await client.rest()
        else:
            assert await client.rest() == b""
    async with raw(gateway.port) as client:
        assert await client.is_alive()


async def test_a_half_open_socket_neither_answers_nor_closes(start_gateway: Any) -> None:
    gateway = await start_gateway(faults=script('do = "half_open"; request = "market_data"; after_messages = 1'))
    async with raw(gateway.port) as client:
        client.quote(1)
        await client.until(model)
        client.quote(2)
        await asyncio.sleep(0)
        client.send(49, 1)
        assert "49" not in [fields[0] for fields in await client.quiet(0.5)]
        async with raw(gateway.port) as again:
            assert await again.is_alive()


async def test_a_half_open_socket_may_keep_its_client_id_and_its_lines(start_gateway: Any) -> None:
    gateway = await start_gateway()
    async with raw(gateway.port, 7) as client:
        client.quote(1)
        await client.until(model)
        gateway.faults.arm(make_fault({"do": "half_open", "keeps_client_id": True}))
        await client.quiet(0.1)
        assert gateway.lines_in_use == 1
        async with bare(gateway.port) as again:
            with pytest.raises(asyncio.IncompleteReadError):
                await again.shake_hands(7)
            assert again.heard[-1][3] == "326"


async def test_a_gateway_that_hangs_for_a_while_answers_afterwards(start_gateway: Any) -> None:
    gateway = await start_gateway(faults=script('do = "half_open"; seconds = 5; request = "contract_details"'))
    async with raw(gateway.port) as client:
        client.details(1)
        client.send(49, 1)
        assert await client.quiet(0.3) == []
        await client.until_message(49)


@pytest.mark.parametrize(
    ("farm", "down", "up"), [("market_data", 2103, 2104), ("history", 2105, 2106), ("contracts", 2157, 2158)]
)
async def test_a_farm_goes_down_and_comes_back(start_gateway: Any, farm: str, down: int, up: int) -> None:
    gateway = await start_gateway()
    async with raw(gateway.port) as client:
        client.quote(1)
        await client.until(model)
        gateway.faults.arm(make_fault({"do": "farm_down", "farm": farm, "seconds": 3600}))
        await client.error(down)
        client.quote(2, SPY)
        client.bars(3)
        client.details(4)
        of_farms = {"history": "17", "contracts": "52", "market_data": "2"}
        expected = {kind for name, kind in of_farms.items() if name != farm}
        kinds: set[str] = set()
        while not kinds >= expected:
            kinds.add((await client.read())[0])
        kinds |= {fields[0] for fields in await client.quiet(0.3)}
        gateway.faults.clear()
        kinds |= {fields[0] for fields in await client.until(lambda fields: fields[0] == "4" and fields[3] == str(up))}
        assert kinds & set(of_farms.values()) == expected
        again = await client.until(lambda fields: fields[0] == "1" and fields[2] == "1" and fields[3] == "1")
        assert again  # the subscription goes on, and sends all of it again


@pytest.mark.parametrize("code", ["1100", "2110"])
async def test_contracts_are_unknown_while_connectivity_is_lost(start_gateway: Any, code: str) -> None:
    gateway = await start_gateway()
    async with raw(gateway.port) as client:
        client.quote(1)
        await client.until(model)
        gateway.faults.arm(make_fault({"do": "connectivity_lost", "code": code, "seconds": 3600}))
        await client.error(int(code))
        client.details(2)
        assert (await client.error(200))[2] == "2"
        assert await client.is_alive()
        gateway.faults.clear()
        heard = await client.until(lambda fields: fields[0] == "4" and fields[3] == "1102")
        assert {fields[0] for fields in heard} == {"4"}
        await client.until(lambda fields: fields[:4] == ["1", "6", "1", "1"])
        client.details(3)
        await client.until_message(52)


async def test_subscriptions_are_lost_with_1101(start_gateway: Any) -> None:
    gateway = await start_gateway()
    async with raw(gateway.port) as client:
        client.quote(1)
        await client.until(model)
        gateway.faults.arm(make_fault({"do": "connectivity_lost", "then": "1101", "seconds": 2}))
        await client.error(1101)
        assert gateway.lines_in_use == 0
        assert await client.quiet(0.5) == []
        client.send(2, 1, 1)
        assert (await client.error(300))[2] == "1"


@pytest.mark.parametrize("keeps", [True, False])
async def test_a_competing_session_takes_the_market_data(start_gateway: Any, keeps: bool) -> None:
    gateway = await start_gateway()
    async with raw(gateway.port) as client:
        client.quote(1)
        await client.until(model)
        gateway.faults.arm(make_fault({"do": "competing_session", "keeps_lines": keeps, "seconds": 3600}))
        assert (await client.error(10197))[2] == "1"
        client.quote(2, SPY)
        assert (await client.error(10197))[2] == "2"
        client.bars(3)
        await client.until_message(17)
        assert gateway.lines_in_use == (2 if keeps else 0)
        gateway.faults.clear()
        ticked = {fields[2] for fields in await client.quiet(0.5) if fields[0] == "1"}
        while keeps and ticked != {"1", "2"}:
            fields = await client.read()
            ticked |= {fields[2]} if fields[0] == "1" else set()
        assert keeps or not ticked


async def test_a_nightly_reset_ends_with_closed_sockets(start_gateway: Any) -> None:
    reset = 'do = "nightly_reset"; seconds = 5; closed_seconds = 3; at = 2026-11-23T17:00:03Z'
    clock = ManualClock(NOON)
    gateway = await start_gateway(clock=clock, faults=script(reset))
    async with raw(gateway.port) as client:
        await clock.advance(3)
        for code in (1100, 2103, 2105, 2157):
            await client.error(code)
        await clock.advance(5)
        assert await client.rest() == b""
    with pytest.raises(ConnectionRefusedError):
        async with raw(gateway.port):
            pytest.fail("it listens")
    await reachable(gateway.port, clock)


async def reachable(port: int, clock: ManualClock | None = None) -> None:
    """Try until it listens; a clock that is moved by hand goes on meanwhile."""
    async with asyncio.timeout(60):
        while True:
            try:
                async with raw(port) as client:
                    assert await client.is_alive()
                    return
            except (ConnectionError, asyncio.IncompleteReadError):
                await (asyncio.sleep(0) if clock is None else clock.advance(0.1))


async def test_a_restart_closes_the_socket_for_a_while(start_gateway: Any) -> None:
    clock = ManualClock(NOON)
    gateway = await start_gateway(clock=clock, faults=script('do = "restart"; seconds = 3; after_seconds = 2'))
    async with raw(gateway.port) as client:
        await clock.advance(2)
        assert await client.rest() == b""
    with pytest.raises(ConnectionRefusedError):
        async with raw(gateway.port):
            pytest.fail("it listens")
    await reachable(gateway.port, clock)


async def test_another_port(start_gateway: Any) -> None:
    gateway = await start_gateway()
    before = gateway.port
    async with raw(before) as client:
        gateway.faults.arm(make_fault({"do": "new_port"}))
        port = int((await client.error(1300))[4].rpartition(" - ")[2])
        assert await client.rest() == b""
    await reachable(port)
    assert port == gateway.port != before


async def test_a_gateway_that_takes_a_connection_and_says_nothing(start_gateway: Any) -> None:
    gateway = await start_gateway(faults=script('do = "mute"; seconds = 10'))
    async with bare(gateway.port) as client:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.shake_hands(7), 0.3)


async def test_a_client_id_that_passes_as_in_use(start_gateway: Any) -> None:
    gateway = await start_gateway(faults=script('do = "client_id_in_use"; client_id = 7'))
    async with bare(gateway.port) as client:
        with pytest.raises(asyncio.IncompleteReadError):
            await client.shake_hands(7)
        assert client.heard[-1][3] == "326"
    async with raw(gateway.port, 8) as client:
        assert await client.is_alive()


async def test_a_client_that_was_sent_away_and_stays_keeps_nothing_from_others(start_gateway: Any) -> None:
    gateway = await start_gateway()
    async with raw(gateway.port), bare(gateway.port) as refused:
        with pytest.raises(asyncio.IncompleteReadError):
            await refused.shake_hands(7)
        async with raw(gateway.port, 8) as other:
            gateway.faults.arm(make_fault({"do": "notice", "code": 2110}))
            assert (await other.error(2110))[2] == "-1"
            assert await other.is_alive()


async def send_many(client: RawClient, count: int) -> int:
    """How many of so many questions at once are answered."""
    for _ in range(count):
        client.send(8, 1, 1)
    client.send(49, 1)
    answered = await client.until(lambda fields: fields[0] in ("49", "4"))
    return sum(fields[0] == "9" for fields in answered)


async def test_above_the_limit_messages_are_refused_or_wait(start_gateway: Any) -> None:
    refusing = await start_gateway(speed=1)
    async with raw(refusing.port) as client:
        assert await send_many(client, 70) == 50
    assert refusing.status()["largest_window"] > 50
    queueing = await start_gateway(over_limit="queue")
    async with raw(queueing.port) as client:
        assert await send_many(client, 170) == 170
    assert queueing.status()["largest_window"] == 50
    asked = await start_gateway()
    async with raw(asked.port, options=b" +PACEAPI") as client:
        assert await send_many(client, 70) == 70


async def test_the_limit_can_change(start_gateway: Any) -> None:
    gateway = await start_gateway(speed=1, faults=script('do = "message_limit"; limit = 5'))
    async with raw(gateway.port) as client:
        assert await send_many(client, 9) == 5


async def test_positions_change_and_contracts_expire(start_gateway: Any) -> None:
    gateway = await start_gateway()
    async with raw(gateway.port) as client:
        gateway.faults.arm(make_fault({"do": "position", "symbol": "SPY", "quantity": 0}))
        gateway.faults.arm(make_fault({"do": "position", "con_id": 101, "quantity": -3, "average_cost": 105}))
        gateway.faults.arm(make_fault({"do": "expire", "symbol": "ES", "expiry": "202612"}))
        await client.is_alive()
        client.send(61, 1)
        held = [fields for fields in await client.until_message(62) if fields[0] == "61"]
        assert [(fields[3], float(fields[-2]), float(fields[-1])) for fields in held] == [("101", -3.0, 105.0)]
        client.details(1, ("0", "ES", "FUT", *[""] * 9))
        months = [fields for fields in await client.until_message(52) if fields[0] == "10"]
        assert ["ESH7" in fields for fields in months] == [True]
        client.details(2, ("0", "ES", "FUT", "202612", *[""] * 8))
        await client.error(200)


async def test_the_journal_has_what_went_out_and_not_what_was_held_back(start_gateway: Any, tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    faults = script('do = "no_greeks"', 'do = "prices"; value = "-1"; fields = ["bid"]')
    gateway = await start_gateway(journal=path, faults=faults)
    async with raw(gateway.port) as client:
        client.quote(1)
        await client.until(lambda fields: fields[0] == "2" and fields[3] == "27")
        sent = [fields for fields in client.heard if fields[0] in ("1", "2", "21", "45", "46")]
    await gateway.stop()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    ticks = [line["values"] for line in lines if line["kind"].startswith("tick_") and line["kind"] != "tick_parameters"]
    assert ticks[: len(sent)] == sent
    assert not any(line["kind"] == "tick_option_computation" for line in lines)


async def test_ib_async_lives_through_ticks_without_sense(start_gateway: Any) -> None:
    faults = script('do = "prices"; value = "nan"; fields = ["ask"]', 'do = "duplicate_ticks"')
    gateway = await start_gateway(faults=faults)
    client = ib_async.IB()
    await client.connectAsync("127.0.0.1", gateway.port, clientId=3, timeout=60)
    try:
        (ticker,) = await client.reqTickersAsync(ib_async.Option("SPY", "20261218", 250.0, "C", "SMART", conId=101))
        assert (ticker.bid, math.isnan(ticker.ask), ticker.last) == (1.0, True, 1.05)
    finally:
        client.disconnect()


async def test_faults_are_ordered_over_the_control_port(start_gateway: Any) -> None:
    gateway = await start_gateway(control_port=0)
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.control_port)

    async def order(text: str) -> dict[str, Any]:
        writer.write(text.encode() + b"\n")
        answer: dict[str, Any] = json.loads(await reader.readline())
        return answer

    assert (await order('{"do": "silence", "request": "bars"}'))["fault"]["do"] == "silence"
    assert "did you mean restart" in (await order('{"do": "restrt"}'))["error"]
    assert "this is not JSON" in (await order("restart"))["error"]
    assert not (await order("[]"))["ok"]
    assert not (await order('{"command": "explode"}'))["ok"]
    async with raw(gateway.port) as client:
        client.bars(1)
        assert await client.quiet(0.1) == []
        status = await order('{"command": "status"}')
        assert (status["clients"], status["faults"][0]["struck"]) == ([7], 1)
        assert (await order('{"command": "clear"}'))["ok"]
        client.bars(2)
        await client.until_message(17)
    writer.close()


def test_every_kind_of_fault_can_be_made() -> None:
    needed: dict[str, dict[str, Any]] = {
        "error": {"code": 200}, "notice": {"code": 1100}, "slow": {"delay": 1}, "late_greeks": {"delay": [1, 2]},
        "data_type": {"type": "frozen"}, "farm_down": {"seconds": 5}, "connectivity_lost": {"seconds": 5},
        "nightly_reset": {"seconds": 5}, "restart": {"seconds": 5}, "position": {"symbol": "SPY", "quantity": 1},
        "expire": {"symbol": "ES"},
    }  # fmt: skip
    made = [make_fault({"do": name, **needed.get(name, {})}) for name in KINDS]
    assert [fault.do for fault in made] == list(KINDS)
    assert make_fault({"do": "silence", "at": "2026-11-23T17:00:00"}).at == datetime(2026, 11, 23, 17, tzinfo=UTC)
