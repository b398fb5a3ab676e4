"""Each cause is produced on real tables and named; an incident is told once, and once more when it is over."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from v6.cli import run
from v6.clock import ManualClock
from v6.data.futures_snapshots import FuturesSnapshotsTable
from v6.data.ib_request_queue import IBRequestQueue
from v6.data.incidents import IncidentsTable, IncidentState
from v6.data.outcome import FailedBecause
from v6.data.queue_controls import QUEUE, SCHEDULES, Action, QueueControlsTable
from v6.data.schedule_log import ScheduleLogTable
from v6.data.scheduler_state import SchedulerState, SchedulerStateTable
from v6.data.worker_state import WorkerState, WorkerStateTable
from v6.errors import ErrorCategory, SettingsError
from v6.events import Event, EventBus
from v6.request_types.catalogue import Catalogue
from v6.scheduler.alerts import Alerts, AlertSettings, Command, Mail, Message, Sender, Webhook, load_senders
from v6.scheduler.config_file import ConfigFile
from v6.scheduler.diagnosis import ADVICE, FULL_BYTES, Cause, Evidence, diagnose
from v6.scheduler.expectations import Expectation, FreshnessEntry, load_expectations
from v6.scheduler.freshness import Freshness, Reading, read_freshness
from v6.scheduler.freshness_watch import FreshnessWatch
from v6.scheduler.schedule_file import load_schedules
from v6.scheduler.scheduler_events import AlertFailed, FreshnessRestored, FreshnessViolated

CATALOGUE = Catalogue.load()
OPEN = datetime(2026, 11, 24, 15, 0, tzinfo=UTC)
CLOSED = datetime(2026, 11, 28, 15, 0, tzinfo=UTC)  # a Saturday
DOCS = Path(__file__).parents[2] / "docs" / "alerts.md"
MESSAGE = Message(
    kind="opened",
    incident_id="1",
    cause="worker down",
    detail="no worker",
    advice="start it",
    affected=("futures_snapshots of ES",),
    opened_at="2026-11-24T15:00:00+00:00",
    lake="lake",
)
ES = Expectation(
    table="futures_snapshots",
    symbol="ES",
    request_type="futures_snapshot",
    minutes=5.0,
    calendar_name="CME_EQUITY",
    schedule_id="futures",
)


class Chain:
    """A lake on which every part of the chain works, until a test breaks one."""

    def __init__(self, lake: Path) -> None:
        self.path = lake
        self.clock = ManualClock(OPEN)
        self.queue = IBRequestQueue(lake, clock=self.clock, check=CATALOGUE.check, worker_id="w")
        self.lake = self.queue.lake
        self.events: list[Event] = []
        self.bus = EventBus()
        self.bus.subscribe(Event, self.events.append)
        ScheduleLogTable(lake, clock=self.clock).record({"futures": "{}"})

    def row(self) -> None:
        """One more row of ES, known now."""
        now = self.clock.now()
        values = {
            **{
                "symbol": "ES",
                "con_id": 1,
                "expiry": now.date(),
                "is_front_month": True,
                "cycle": "c",
                "request_id": "r",
            },
            **{"market_data_type_requested": "live", "timestamp": now, "known_at": now, "date": now.date()},
        }
        table = FuturesSnapshotsTable(self.lake)
        table.append(pl.DataFrame([values], schema_overrides=table.spec.schema))

    def beat(self, state: str = "ready", reason: str | None = None, *, scheduler: bool = True) -> None:
        """Worker and scheduler say that they live."""
        WorkerStateTable(self.lake, clock=self.clock).record(
            WorkerState(worker_id="w", state=state, in_flight=0, reason=reason)
        )
        if scheduler:
            SchedulerStateTable(self.lake, clock=self.clock).record(
                SchedulerState(scheduler_id="s", state="running", schedules=1, slots_asked=0, next_slot=None)
            )

    async def wait(self, minutes: float = 10) -> None:
        await self.clock.advance(minutes * 60)

    async def look_twice(self, *watches: FreshnessWatch) -> None:
        """Two looks of each, so far apart that any cause is sure."""
        for watch in watches:
            await watch.look_now()
        await self.clock.advance(7)
        for watch in watches:
            await watch.look_now()

    def read(self, expectation: Expectation = ES) -> Reading:
        (reading,) = read_freshness(self.lake, self.clock, [expectation])
        return reading

    def cause(self) -> tuple[Cause, str]:
        diagnosis = self.read().diagnosis
        assert diagnosis is not None
        return diagnosis.cause, diagnosis.detail

    async def fail(self, category: ErrorCategory, message: str) -> None:
        await self.queue.insert(request_type="futures_snapshot", symbol="ES")
        (request,) = await self.queue.claim()
        await self.queue.settle({request.request_id: FailedBecause(message=message, category=category)})

    def watch(self, senders: Sequence[Sender]) -> FreshnessWatch:
        alerts = Alerts(senders, clock=self.clock, events=self.bus)
        return FreshnessWatch(lake=self.lake, clock=self.clock, events=self.bus, alerts=alerts, expectations=[ES])


@pytest.fixture
async def chain(tmp_path: Path) -> Any:
    found = Chain(tmp_path / "lake")
    yield found
    await found.queue.close()


async def test_a_table_that_grows_is_fresh(chain: Chain) -> None:
    chain.row()
    await chain.wait(4)
    reading = chain.read()
    assert (reading.state, reading.age_minutes, reading.diagnosis) == (Freshness.FRESH, 4.0, None)


async def test_a_closed_market_is_no_violation_and_the_night_does_not_count(chain: Chain) -> None:
    chain.row()
    chain.clock.step(CLOSED - OPEN)
    assert chain.read().state is Freshness.MARKET_CLOSED
    chain.clock.step(datetime(2026, 11, 24, 21, 58, tzinfo=UTC) - CLOSED)
    chain.row()
    chain.clock.step(timedelta(minutes=64))  # the hour of rest counts nothing
    assert (chain.read().state, chain.read().age_minutes) == (Freshness.FRESH, 4.0)


async def test_what_has_no_rows_yet_counts_from_when_its_schedule_began(chain: Chain) -> None:
    await chain.wait(4)
    assert chain.read().state is Freshness.FRESH
    await chain.wait(4)
    assert chain.read().state is Freshness.STALE


async def test_scheduler_down(chain: Chain) -> None:
    await chain.wait()
    chain.beat(scheduler=False)
    assert chain.cause()[0] is Cause.SCHEDULER_DOWN


async def test_worker_down(chain: Chain) -> None:
    chain.beat()
    await chain.wait()
    SchedulerStateTable(chain.lake, clock=chain.clock).record(
        SchedulerState(scheduler_id="s", state="running", schedules=1, slots_asked=0, next_slot=None)
    )
    assert chain.cause()[0] is Cause.WORKER_DOWN


@pytest.mark.parametrize(
    ("state", "cause"),
    [
        ("disconnected", Cause.GATEWAY_DOWN),
        ("connecting", Cause.GATEWAY_DOWN),
        ("held", Cause.GATEWAY_HELD),
        ("degraded", Cause.GATEWAY_DEGRADED),
    ],
)
async def test_gateway(chain: Chain, state: str, cause: Cause) -> None:
    await chain.wait()
    chain.beat(state, "10197: competing live session")
    assert chain.cause() == (cause, f"worker w says {state}: 10197: competing live session")


async def test_pauses_of_queue_type_and_schedule(chain: Chain) -> None:
    controls = QueueControlsTable(chain.lake, clock=chain.clock)
    await chain.wait()
    chain.beat()
    for target, cause in (
        (QUEUE, Cause.QUEUE_PAUSED),
        ("type:futures_snapshot", Cause.QUEUE_PAUSED),
        (SCHEDULES, Cause.SCHEDULE_PAUSED),
        ("schedule:futures", Cause.SCHEDULE_PAUSED),
    ):
        controls.record(target, Action.PAUSE, reason="repairs", source="test")
        found = chain.cause()
        assert (found[0], "repairs" in found[1], target in found[1]) == (cause, True, True)
        await chain.wait(0.01)
        controls.record(target, Action.RESUME, source="test")
    controls.record("type:option_chain", Action.PAUSE, source="test")
    assert chain.cause()[0] is Cause.UNKNOWN


async def test_no_entitlement_and_other_failures(chain: Chain) -> None:
    await chain.wait()
    chain.beat()
    await chain.fail(ErrorCategory.ENTITLEMENT, "354: not subscribed")
    assert chain.cause() == (Cause.NO_ENTITLEMENT, "354: not subscribed")
    await chain.wait(0.1)
    await chain.fail(ErrorCategory.CONTRACT, "200: no such contract")
    assert chain.cause() == (Cause.REQUESTS_FAIL, "200: no such contract")


async def test_what_expired_before_it_began_is_a_queue_that_is_too_long(chain: Chain) -> None:
    await chain.queue.insert(request_type="futures_snapshot", symbol="ES", deadline=OPEN + timedelta(minutes=1))
    await chain.wait()
    chain.beat()
    assert await chain.queue.claim() == []
    cause, detail = chain.cause()
    assert (cause, detail.startswith("expired: ")) == (Cause.BACKLOG, True)


async def test_a_worker_that_tries_again_was_held_a_moment_ago(chain: Chain) -> None:
    await chain.wait()
    chain.beat("held", "10197: competing live session")
    await chain.wait(0.1)
    chain.beat("ready")
    assert chain.cause()[0] is Cause.GATEWAY_HELD
    await chain.wait(0.4)
    chain.beat("ready")
    assert chain.cause()[0] is Cause.UNKNOWN


async def test_damage_on_the_way_is_seen_while_everything_grows(chain: Chain) -> None:
    await chain.queue.insert(request_type="futures_snapshot", symbol="ES")
    chain.row()
    chain.beat()
    file = next((chain.path / "ib_requests").rglob("*.parquet"))
    file.write_bytes(file.read_bytes()[:50])
    assert chain.cause()[0] is Cause.TABLE_DAMAGED


async def test_an_emptied_commit_is_damage_though_the_library_takes_it(chain: Chain) -> None:
    await chain.queue.insert(request_type="futures_snapshot", symbol="ES")
    max((chain.path / "ib_requests" / "_delta_log").glob("*.json")).write_bytes(b"")
    cause, detail = chain.cause()
    assert (cause, "has an empty commit: 0000" in detail) == (Cause.TABLE_DAMAGED, True)


async def test_a_queue_that_is_too_long(chain: Chain) -> None:
    await chain.wait()
    chain.beat()
    await chain.queue.insert(request_type="futures_snapshot", symbol="ES")
    assert chain.cause() == (Cause.BACKLOG, "1 of its requests have not ended")


@pytest.mark.parametrize("damage", ["truncated", "garbled", "absent", "log"])
async def test_a_damaged_table(chain: Chain, damage: str) -> None:
    chain.row()
    (file,) = (chain.path / "futures_snapshots").glob("*/*.parquet")
    if damage == "truncated":
        file.write_bytes(file.read_bytes()[:100])
    elif damage == "garbled":
        file.write_bytes(b"?" * file.stat().st_size)
    elif damage == "absent":
        file.unlink()
    else:
        (chain.path / "futures_snapshots" / "_delta_log" / f"{1:020d}.json").write_text("{")
    chain.beat()
    cause, detail = chain.cause()
    assert cause is Cause.TABLE_DAMAGED
    assert "futures_snapshots" in detail
    assert "\n" not in detail


class Box(BaseHTTPRequestHandler):
    """A webhook that keeps what it gets."""

    received: list[dict[str, Any]]

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        self.received.append(json.loads(self.rfile.read(length)))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def webhook() -> Iterator[tuple[Webhook, list[dict[str, Any]]]]:
    received: list[dict[str, Any]] = []
    server = HTTPServer(("127.0.0.1", 0), type("OneBox", (Box,), {"received": received}))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield Webhook(f"http://127.0.0.1:{server.server_port}/"), received
    server.shutdown()
    thread.join()
    server.server_close()


async def test_an_incident_is_told_once_and_its_end_once(
    chain: Chain, webhook: tuple[Webhook, list[dict[str, Any]]]
) -> None:
    sender, received = webhook
    await chain.wait()
    chain.beat(scheduler=False)
    one, two = chain.watch([sender]), chain.watch([sender])
    await chain.look_twice(one, two)
    await chain.look_twice(one, two, chain.watch([sender]))
    (opened,) = received
    assert (opened["kind"], opened["cause"]) == ("opened", "scheduler down")
    assert opened["affected"] == ["futures_snapshots of ES"]
    assert "start `v6 scheduler`" in opened["text"]
    await chain.wait(1)
    chain.row()
    for watch in (two, one):
        await watch.look_now()
    assert [message["kind"] for message in received] == ["opened", "recovered"]
    violated = [event for event in chain.events if isinstance(event, FreshnessViolated)]
    assert {event.cause for event in violated} == {"scheduler down"}
    assert {event.age_minutes for event in violated} <= {10.1, 10.2}
    assert any(isinstance(event, FreshnessRestored) for event in chain.events)
    assert IncidentsTable(chain.lake).standing() == {}


async def test_an_incident_sleeps_while_the_market_does(
    chain: Chain, webhook: tuple[Webhook, list[dict[str, Any]]]
) -> None:
    sender, received = webhook
    await chain.wait()
    chain.beat(scheduler=False)
    watch = chain.watch([sender])
    await chain.look_twice(watch)
    chain.clock.step(CLOSED - OPEN)
    await watch.look_now()
    assert [message["kind"] for message in received] == ["opened"]
    assert len(IncidentsTable(chain.lake).standing()) == 1


async def test_a_changed_cause_is_told_and_the_first_one_ends_in_silence(
    chain: Chain, webhook: tuple[Webhook, list[dict[str, Any]]]
) -> None:
    sender, received = webhook
    await chain.wait()
    chain.beat(scheduler=False)
    watch = chain.watch([sender])
    await chain.look_twice(watch)
    await chain.wait(0.1)
    chain.beat("held", "10197")
    await watch.look_now()
    await watch.look_now()
    assert [(m["kind"], m["cause"]) for m in received] == [("opened", "scheduler down"), ("opened", "gateway held")]


async def test_an_outage_that_goes_through_several_states_is_one_incident(
    chain: Chain, webhook: tuple[Webhook, list[dict[str, Any]]]
) -> None:
    sender, received = webhook
    await chain.wait()
    watch = chain.watch([sender])
    for state, reason in (("degraded", "1100"), ("disconnected", "refused"), ("held", "nightly reset")):
        chain.beat(state, reason)
        await chain.look_twice(watch)
    chain.beat()
    chain.row()
    await watch.look_now()
    assert [(m["kind"], m["cause"]) for m in received] == [
        ("opened", "gateway degraded"),
        ("recovered", "gateway degraded"),
    ]


async def test_an_incident_whose_cause_is_gone_is_over_when_the_table_is_fresh(
    chain: Chain, webhook: tuple[Webhook, list[dict[str, Any]]]
) -> None:
    sender, received = webhook
    controls = QueueControlsTable(chain.lake, clock=chain.clock)
    await chain.wait()
    chain.beat()
    controls.record(QUEUE, Action.PAUSE, source="test")
    watch = chain.watch([sender])
    await watch.look_now()
    await watch.look_now()
    await chain.wait(0.01)
    controls.record(QUEUE, Action.RESUME, source="test")
    for _ in range(3):  # still stale, for no reason that anybody can see
        await watch.look_now()
    assert [message["kind"] for message in received] == ["opened"]
    chain.row()
    await watch.look_now()
    assert [(m["kind"], m["cause"]) for m in received] == [("opened", "queue paused"), ("recovered", "queue paused")]


async def test_what_explains_nothing_is_told_when_it_lasts(
    chain: Chain, webhook: tuple[Webhook, list[dict[str, Any]]]
) -> None:
    sender, received = webhook
    await chain.wait()
    watch = chain.watch([sender])
    for _ in range(4):
        chain.beat()
        await watch.look_now()
        await chain.clock.advance(10)
    assert received == []
    chain.beat()
    await watch.look_now()
    assert [message["cause"] for message in received] == ["unknown"]


@pytest.mark.parametrize("table", ["ib_requests", "worker_state", "queue_controls", "scheduler_state"])
async def test_damage_of_a_table_that_requests_pass_through(chain: Chain, table: str) -> None:
    await chain.queue.insert(request_type="futures_snapshot", symbol="ES")
    QueueControlsTable(chain.lake, clock=chain.clock).record("schedule:x", Action.PAUSE, source="test")
    await chain.wait()
    chain.beat()
    file = next((chain.path / table).rglob("*.parquet"))
    file.write_bytes(file.read_bytes()[:50])
    cause, detail = chain.cause()
    assert cause is Cause.TABLE_DAMAGED
    assert table in detail


async def test_a_person_is_told_when_incidents_cannot_be_written(
    chain: Chain, webhook: tuple[Webhook, list[dict[str, Any]]]
) -> None:
    sender, received = webhook
    IncidentsTable(chain.lake, clock=chain.clock).open("seen before", "…", [])
    file = next((chain.path / "incidents").rglob("*.parquet"))
    file.write_bytes(file.read_bytes()[:50])
    await chain.wait()
    chain.beat(scheduler=False)
    one, two = chain.watch([sender]), chain.watch([sender])
    await chain.look_twice(one, two)
    await chain.look_twice(one, two)
    chain.row()
    for watch in (two, one):
        await watch.look_now()
    assert [(m["kind"], m["cause"]) for m in received] == [
        ("opened", "scheduler down"),
        ("recovered", "scheduler down"),
    ]


async def test_a_full_disk_is_named_before_anything_else(chain: Chain) -> None:
    nearly = Evidence(free_bytes=FULL_BYTES - 1, scheduler_alive=False)
    assert diagnose(ES, nearly).cause is Cause.DISK_FULL
    assert diagnose(ES, Evidence(free_bytes=FULL_BYTES, scheduler_alive=False)).cause is Cause.SCHEDULER_DOWN


async def test_what_its_finder_could_not_tell_is_told_by_another(
    chain: Chain, webhook: tuple[Webhook, list[dict[str, Any]]]
) -> None:
    sender, received = webhook
    await chain.wait()
    chain.beat(scheduler=False)
    incidents = IncidentsTable(chain.lake, clock=chain.clock)
    assert incidents.open("scheduler down", "seen", ["futures_snapshots of ES"]) is not None
    assert incidents.open("scheduler down", "seen again", []) is None
    watch = chain.watch([sender])
    for _ in range(2):
        await watch.look_now()
    assert received == []
    await chain.wait(3)
    chain.beat(scheduler=False)
    await watch.look_now()
    assert [message["detail"] for message in received] == ["seen"]
    assert incidents.standing()["scheduler down"].state is IncidentState.ALERTED


class Broken:
    name = "broken"

    def __init__(self) -> None:
        self.tries = 0

    def send(self, message: Message) -> None:
        self.tries += 1
        raise OSError("nobody home")


async def test_a_way_that_fails_is_tried_thrice_and_reported(chain: Chain) -> None:
    import asyncio

    broken = Broken()
    sending = asyncio.create_task(Alerts([broken], clock=chain.clock, events=chain.bus).send(MESSAGE))
    while not sending.done():
        await chain.clock.advance(1)
        await asyncio.sleep(0)
    assert broken.tries == 3
    (failed,) = [event for event in chain.events if isinstance(event, AlertFailed)]
    assert failed.message == "OSError: nobody home"


def test_a_command_gets_the_message(tmp_path: Path) -> None:
    out = tmp_path / "out"
    program = f"import os, sys; open({str(out)!r}, 'w').write(os.environ['V6_ALERT'] + sys.stdin.read())"
    Command([sys.executable, "-c", program]).send(MESSAGE)
    assert "v6 not collecting: worker down" in out.read_text()
    with pytest.raises(OSError, match="exit status 3"):
        Command([sys.executable, "-c", "raise SystemExit(3)"]).send(MESSAGE)


SERVER = """
import socket, sys
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
line, _ = server.accept()
with line, line.makefile("rwb") as talk:
    def say(text):
        talk.write(text.encode() + b"\\r\\n"); talk.flush()
    say("220 here")
    body = False
    for got in talk:
        text = got.decode().strip()
        if body:
            sys.stdout.write(text + "\\n")
            body = text != "."
            if not body:
                say("250 taken")
        elif text.upper() == "DATA":
            body = True
            say("354 go on")
        elif text.upper() == "QUIT":
            say("221 bye")
            break
        else:
            say("250 fine")
"""


def test_a_mail_is_sent() -> None:
    with subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        settings = AlertSettings.model_validate(
            {"mail_to": ["desk@example.org"], "smtp_host": "127.0.0.1", "smtp_port": port}
        )
        Mail(settings, {}).send(MESSAGE)
        said = server.stdout.read()
    assert "Subject: v6 not collecting: worker down (1 affected)" in said
    assert "To: desk@example.org" in said
    assert "what to do: start it" in said


def test_alerts_that_are_wrong_are_refused_with_file_and_line() -> None:
    text = '[alerts]\nwebhook = "ftp://x"\nmail_to = ["nobody"]\nhook = 1'
    with pytest.raises(SettingsError) as caught:
        load_senders(ConfigFile.parse(text, "v6.toml"))
    assert "v6.toml:2: webhook: " in str(caught.value)
    assert "v6.toml:4: hook: there is no such key" in str(caught.value)
    good = '[alerts]\nwebhook = "https://x"\ncommand = ["true"]\nmail_to = ["a@b"]'
    assert [sender.name for sender in load_senders(ConfigFile.parse(good, "v6.toml"))] == ["webhook", "command", "mail"]


def test_schedules_bring_their_expectations_and_the_file_others() -> None:
    schedules = load_schedules(ConfigFile.read(None), CATALOGUE)
    text = '[[freshness]]\ntable = "option_snapshots"\nsymbol = "SPY"\nminutes = 30'
    found = {e.name: e.minutes for e in load_expectations(ConfigFile.parse(text, "v6.toml"), CATALOGUE, schedules)}
    assert found["option_snapshots of SPY"] == 30
    assert found["option_snapshots of QQQ"] == 13
    assert found["futures_snapshots of ES"] == 5
    assert found["position_updates"] == 13
    bad = '[[freshness]]\ntable = "optionsnapshots"\nminutes = 30\n[[freshness]]\ntable = "market_bars"'
    with pytest.raises(SettingsError) as caught:
        load_expectations(ConfigFile.parse(bad, "v6.toml"), CATALOGUE, schedules)
    assert "v6.toml:2: table 'optionsnapshots' is no result table" in str(caught.value)
    assert "v6.toml:4: minutes: field required" in str(caught.value)


def test_the_scheduler_refuses_a_file_with_all_that_is_wrong_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    bad = '[[schedules]]\nid = "a"\n[[freshness]]\ntable = "x"\nminutes = "y"\ncalendar = "z"\n[alerts]\nhook = 1\n'
    Path("v6.toml").write_text(bad)
    assert run(["scheduler"]) == 2
    text = capsys.readouterr().err
    for wanted in (
        "toml:1: request_type",
        "toml:4: table 'x'",
        "toml:5: minutes",
        "toml:6: calendar 'z'",
        "toml:8: hook",
    ):
        assert wanted in text


def test_the_command_says_what_is_stale_and_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("v6.toml").write_text('[[freshness]]\ntable = "option_snapshots"\nsymbol = "SPY"\nminutes = 5\n')
    assert run(["freshness", "--clock", "2026-11-24T15:00:00Z", "--json"]) == 7
    (spy,) = [row for row in json.loads(capsys.readouterr().out) if row["state"] == "stale"]
    assert (spy["symbol"], spy["cause"], spy["advice"]) == ("SPY", "worker down", ADVICE[Cause.WORKER_DOWN])
    assert run(["freshness", "--clock", "2026-11-28T15:00:00Z"]) == 0
    assert "market closed" in capsys.readouterr().out


def test_every_key_and_every_cause_is_documented() -> None:
    page = DOCS.read_text(encoding="utf-8")
    for model in (AlertSettings, FreshnessEntry):
        for name, info in model.model_fields.items():
            assert f"| `{name}` | {info.description} |" in page
    for cause in Cause:
        assert f"| {cause} |" in page
        assert f"| {ADVICE[cause]} |" in page
