"""Whatever is wrong from outside gives one clear line and an exit code: no traceback, and nothing is lost."""

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from v6.errors import ExitCode

TIMEOUT = 240.0
DAMAGE = "00000000000000000000.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """Its one line of complaint, made sure to be the only one."""
        assert "Traceback" not in self.err
        lines = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, self.err
        return lines[0]


def environment(**variables: str) -> dict[str, str]:
    kept = {name: text for name, text in os.environ.items() if not name.startswith("V6_")}
    return {**kept, **variables}


def v6(folder: Path, *arguments: str, **variables: str) -> Ended:
    done = subprocess.run(
        [sys.executable, "-m", "v6", *arguments],
        cwd=folder,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    return Ended(code=done.returncode, out=done.stdout, err=done.stderr)


def answer(folder: Path, *arguments: str) -> Any:
    done = v6(folder, *arguments, "--json")
    assert done.code == 0, done.err
    return json.loads(done.out)


@contextlib.contextmanager
def gateway(folder: Path, account: str = "SIM000001") -> Iterator[dict[str, Any]]:
    """A simulated gateway in the middle of its last session: what it says of itself."""
    command = [sys.executable, "-m", "v6", "gateway", "--json", "--port", "0", "--now", "last-session"]
    process = subprocess.Popen(
        [*command, "--account", account],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield json.loads(process.stdout.readline())
    finally:
        process.terminate()
        process.communicate(timeout=TIMEOUT)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The settings that lead to a running gateway."""
    with gateway(tmp_path_factory.mktemp("gateway")) as said:
        yield {"V6_GATEWAY_PORT": str(said["port"]), "V6_CLOCK": said["clock"]}


@pytest.fixture
def unused_port() -> Iterator[int]:
    """A port that nobody listens on."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield int(bound.getsockname()[1])


REFUSED_REQUESTS = {
    "unknown type": (["option_chian", "SPY"], "Did you mean option_chain?"),
    "priority that is not there": (["option_chain", "SPY", "--priority", "7"], "priority must be 1"),
    "priority that is no number": (["option_chain", "SPY", "--priority", "high"], "--priority"),
    "dte that is text": (["option_chain", "SPY", "--parameters", '{"dte": "x"}'], "parameters.dte"),
    "unknown parameter": (["option_chain", "SPY", "--parameters", '{"dtee": 3}'], "parameters.dtee is unknown"),
    "two ways to choose": (["option_chain", "SPY", "--parameters", '{"dte": 1, "dte_max": 2}'], "one way"),
    "instant without a zone": (
        ["market_bars", "SPY", "--parameters", '{"start": "2026-01-05"}'],
        "parameters.start: write an instant with its zone, such as 2026-11-23T17:30:00Z, not '2026-01-05'",
    ),
    "a name twice": (["option_chain", "SPY", "--parameters", '{"dte": 1, "dte": 2}'], "dte is there more than once"),
    "nested without end": (["option_chain", "SPY", "--parameters", "[" * 100_000], "nested too deep"),
    "symbol that is too long": (["option_chain", "A" * 31], "at most 30"),
    "key without end": (["option_chain", "SPY", "--key", "k" * 501], "1 to 500 characters"),
    "not JSON": (["option_chain", "SPY", "--parameters", "dte=3"], "--parameters is not JSON"),
    "not a number of JSON": (["option_chain", "SPY", "--parameters", '{"dte": NaN}'], "NaN"),
    "not an object": (["option_chain", "SPY", "--parameters", "[1]"], "not an object"),
    "symbol with a slash": (["option_chain", "SPY/QQQ"], "symbol 'SPY/QQQ'"),
    "symbol that climbs": (["option_chain", "../SPY"], "symbol '../SPY'"),
    "symbol in small letters": (["option_chain", "spy"], "write SPY"),
    "no symbol": (["option_chain"], "symbol is missing"),
    "table that is a path": (["option_chain", "SPY", "--result-table", "../x"], "option_snapshots"),
    "table of another type": (["option_chain", "SPY", "--result-table", "market_bars"], "option_snapshots"),
    "empty key": (["option_chain", "SPY", "--key", ""], "idempotency_key"),
    "unknown option": (["option_chain", "SPY", "--prio", "1"], "--prio"),
}


@pytest.mark.parametrize(("arguments", "named"), REFUSED_REQUESTS.values(), ids=REFUSED_REQUESTS.keys())
def test_a_request_that_is_wrong_is_refused_and_nothing_is_inserted(
    tmp_path: Path, arguments: list[str], named: str
) -> None:
    done = v6(tmp_path, "submit", *arguments)
    assert (done.code, done.out) == (ExitCode.USAGE, "")
    assert named in done.error
    assert not list(tmp_path.glob("**/*.parquet"))


USAGE = {
    "unknown command": (["collect"], "collect"),
    "request that is not there": (["requests", "show", "nope"], "no request has the id nope"),
    "cancel of what is not there": (["requests", "cancel", "nope"], "no request has the id nope"),
    "retry of what is not there": (["requests", "retry", "nope"], "no request has the id nope"),
    "retry of nothing": (["requests", "retry"], "name the requests, or give --failed"),
    "retry of one and of all": (["requests", "retry", "nope", "--failed"], "name the requests, or give --failed"),
    "retry of a category": (["requests", "retry", "--failed", "--category", "bad"], "--category bad is no category"),
    "retry of a type": (["requests", "retry", "--failed", "--type", "option_chian"], "Did you mean option_chain?"),
    "list of a type": (["requests", "list", "--type", "option_chian"], "Did you mean option_chain?"),
    "status that does not exist": (["requests", "list", "--status", "done"], "--status done"),
    "port that is too high": (["gateway", "--port", "70000"], "--port"),
    "port that is text": (["status", "--gateway-port", "ib"], "--gateway-port is wrong ('ib')"),
    "port 0": (["worker", "--gateway-port", "0"], "--gateway-port is wrong ('0')"),
    "instant that is none": (["gateway", "--now", "soon"], "--now is wrong ('soon')"),
    "instant before the market": (["gateway", "--now", "1980-01-02"], "lives from 1990-01-01 to 2046-12-31"),
    "instant after the market": (["up", "--simulated", "--now", "2050-01-03"], "lives from 1990-01-01 to 2046-12-31"),
    "seed below 0": (["gateway", "--seed", "-1"], "--seed"),
    "folder that cannot be": (["demo", "--folder", "/dev/null/x"], "choose another --folder"),
    "account of two lines": (["gateway", "--account", "SIM\n1"], "letters and digits"),
    "account that looks real": (["gateway", "--account", "DU123"], "has to start with SIM"),
    "journal that cannot be": (["gateway", "--port", "0", "--journal", "/dev/null/x"], "--journal"),
    "worker's name that climbs": (["worker", "--worker-name", "../x"], "--worker-name is wrong"),
}


@pytest.mark.parametrize(("arguments", "named"), USAGE.values(), ids=USAGE.keys())
def test_a_command_that_is_wrong_names_what_to_correct(tmp_path: Path, arguments: list[str], named: str) -> None:
    done = v6(tmp_path, *arguments)
    assert done.code == ExitCode.USAGE
    assert named in done.error


VARIABLES = {
    "unknown name": ("V6_GATWAY_PORT", "4002", "did you mean V6_GATEWAY_PORT?"),
    "garbage": ("V6_GATEWAY_PORT", "\x01\x02", "V6_GATEWAY_PORT is wrong"),
    "negative": ("V6_CLIENT_ID", "-1", "V6_CLIENT_ID is wrong"),
    "clock that stands": ("V6_CLOCK", "2026-11-23*0", "V6_CLOCK is wrong"),
    "file that is not there": ("V6_CONFIG", "nowhere.toml", "nowhere.toml cannot be read"),
}


@pytest.mark.parametrize(("name", "text", "named"), VARIABLES.values(), ids=VARIABLES.keys())
def test_a_variable_that_is_wrong_is_named(tmp_path: Path, name: str, text: str, named: str) -> None:
    done = v6(tmp_path, "settings", **{name: text})
    assert done.code == ExitCode.USAGE
    assert named in done.error


FILES = {
    "corrupt": (b'lake = "x"\nclient_id = = 3\n', "v6.toml is not TOML: Invalid value (at line 2"),
    "not text": (b"\xff\xfe\x00", "v6.toml is not TOML"),
    "unknown key": (b"gatway_port = 3\n", "did you mean gateway_port?"),
    "unknown table": (b"[worker]\nname = 'x'\n", "worker in v6.toml is no setting"),
    "wrong kind": (b"client_id = 'x'\n", "client_id in v6.toml is wrong ('x')"),
}


@pytest.mark.parametrize(("content", "named"), FILES.values(), ids=FILES.keys())
def test_a_settings_file_that_is_wrong_is_named_with_the_line(tmp_path: Path, content: bytes, named: str) -> None:
    (tmp_path / "v6.toml").write_bytes(content)
    done = v6(tmp_path, "status")
    assert done.code == ExitCode.USAGE
    assert named in done.error


@pytest.mark.parametrize(
    "command",
    [["submit", "position_update"], ["status"], ["tables"], ["requests", "list"], ["worker"]],
    ids=lambda command: command[0],
)
@pytest.mark.parametrize("lake", ["file", "file/below"])
def test_a_lake_that_is_a_file_is_named(tmp_path: Path, lake: str, command: list[str]) -> None:
    (tmp_path / "file").write_text("precious")
    done = v6(tmp_path, *command, "--lake", lake)
    assert done.code == ExitCode.LAKE
    assert f"the lake {lake}" in done.error
    assert "set V6_LAKE to a folder" in done.error
    assert (tmp_path / "file").read_text() == "precious"


@pytest.mark.parametrize("command", [["submit", "position_update"], ["status"], ["requests", "list"], ["tables"]])
def test_a_damaged_queue_is_named(tmp_path: Path, command: list[str]) -> None:
    log = tmp_path / "data" / "lake" / "ib_requests" / "_delta_log"
    log.mkdir(parents=True)
    (log / DAMAGE).write_text("garbage")
    done = v6(tmp_path, *command)
    assert done.code == ExitCode.LAKE
    assert "ib_requests" in done.error
    assert (log / DAMAGE).read_text() == "garbage"


def test_a_gateway_that_is_not_there_ends_the_worker_in_one_line_and_loses_nothing(
    tmp_path: Path, unused_port: int
) -> None:
    v6(tmp_path, "submit", "position_update")
    done = v6(tmp_path, "worker", "--drain", "--gateway-port", str(unused_port))
    assert done.code == ExitCode.GATEWAY
    assert f"127.0.0.1:{unused_port} cannot be reached: start IB Gateway or `v6 gateway`" in done.error
    status = answer(tmp_path, "status")
    assert status["queue"]["pending"] == 1
    assert not status["collecting"]
    assert "cannot be reached" in status["not_collecting_because"][0]


def test_a_gateway_that_says_nothing_ends_the_worker_in_bounded_time(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        done = v6(tmp_path, "worker", "--gateway-port", str(port), "--connect-timeout-seconds", "1")
    assert done.code == ExitCode.GATEWAY
    assert "does not answer the handshake" in done.error


def test_a_worker_told_to_wait_for_its_gateway_says_why_it_waits_and_stops_in_order(
    tmp_path: Path, unused_port: int
) -> None:
    waiting = [sys.executable, "-m", "v6", "worker", "--wait-for-gateway", "--gateway-port", str(unused_port)]
    with subprocess.Popen(
        [*waiting, "--log-format", "json"], cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        line = next(json.loads(text) for text in process.stderr if '"reconnect.scheduled"' in text)
        process.terminate()
        rest = process.communicate(timeout=TIMEOUT)[1]
    assert "cannot be reached" in line["reason"]
    assert process.returncode == ExitCode.OK
    assert "Traceback" not in rest


def test_client_ids_that_are_all_in_use_are_named(tmp_path: Path, served: dict[str, str]) -> None:
    with contextlib.ExitStack() as clients:
        for client_id in range(7, 11):
            clients.enter_context(ib_client(int(served["V6_GATEWAY_PORT"]), client_id))
        done = v6(tmp_path, "worker", "--client-id", "7", **served)
    assert done.code == ExitCode.GATEWAY
    assert "client ids 7 to 10 are in use" in done.error
    assert "set V6_CLIENT_ID" in done.error


@contextlib.contextmanager
def ib_client(port: int, client_id: int) -> Iterator[socket.socket]:
    """A client that holds its id: handshake, start, and the account's name has come."""
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT) as client:
        versions = b"v157..178"
        client.sendall(b"API\0" + len(versions).to_bytes(4, "big") + versions)
        received = client.recv(4096)
        assert b"178" in received
        start = f"71\x002\x00{client_id}\x00\x00".encode()
        client.sendall(len(start).to_bytes(4, "big") + start)
        while b"SIM" not in received:
            received += client.recv(4096)
        yield client


def test_a_gateway_of_another_account_is_refused_with_both_named(tmp_path: Path, served: dict[str, str]) -> None:
    v6(tmp_path, "submit", "position_update", **served)
    assert v6(tmp_path, "worker", "--drain", **served).code == ExitCode.OK
    before = answer(tmp_path, "tables")
    v6(tmp_path, "submit", "position_update", **served)
    with gateway(tmp_path, account="SIM000002") as other:
        done = v6(tmp_path, "worker", "--drain", "--gateway-port", str(other["port"]))
    assert done.code == ExitCode.LAKE
    assert "SIM000001" in done.error
    assert "SIM000002" in done.error
    assert answer(tmp_path, "status")["queue"]["pending"] == 1
    rows = {table["name"]: table["rows"] for table in answer(tmp_path, "tables")}
    assert rows["position_updates"] == {table["name"]: table["rows"] for table in before}["position_updates"]


def test_a_request_that_fails_ends_its_waiter_with_the_reason(tmp_path: Path, served: dict[str, str]) -> None:
    worker = subprocess.Popen(
        [sys.executable, "-m", "v6", "worker"], cwd=tmp_path, env=environment(**served), stderr=subprocess.DEVNULL
    )
    try:
        done = v6(tmp_path, "submit", "futures_snapshot", "NOPE", "--wait", **served)
    finally:
        worker.terminate()
        assert worker.wait(timeout=TIMEOUT) == ExitCode.OK
    assert done.code == ExitCode.REQUEST_FAILED
    assert "is FAILED" in done.error
    request_id = done.out.split()[0]
    nothing = v6(tmp_path, "requests", "retry", "--failed", "--symbol", "ES", **served)
    assert (nothing.code, nothing.out) == (0, "no failed request fits: nothing was changed\n")
    said = v6(tmp_path, "requests", "retry", "--failed", "--category", "contract", "--dry-run", **served)
    assert (said.code, said.out) == (0, f"{request_id} would be put back\n")
    again = v6(tmp_path, "requests", "retry", "--failed", "--type", "futures_snapshot", **served)
    assert (again.code, again.out) == (0, f"{request_id} PENDING\n")
    cancelled = v6(tmp_path, "requests", "cancel", request_id, **served)
    assert (cancelled.code, cancelled.out) == (0, f"{request_id} CANCELLED\n")
    twice = v6(tmp_path, "requests", "cancel", request_id, **served)
    assert twice.code == ExitCode.USAGE
    assert request_id in twice.error


def test_a_waiter_that_waited_long_enough_says_why_nothing_happens(tmp_path: Path) -> None:
    done = v6(tmp_path, "submit", "position_update", "--wait", "--wait-seconds", "1.5")
    assert done.code == ExitCode.REQUEST_FAILED
    assert "has not ended yet" in done.error
    assert "no worker has worked on this lake: start `v6 worker`" in done.err


def test_a_second_worker_of_the_same_name_is_refused(tmp_path: Path, served: dict[str, str]) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "v6", "worker", "--log-format", "json", "--client-id", "11"],
        cwd=tmp_path,
        env=environment(**served),
        stderr=subprocess.PIPE,
        text=True,
    ) as first:
        assert first.stderr is not None
        next(line for line in first.stderr if '"worker.started"' in line)
        done = v6(tmp_path, "worker", "--client-id", "12", **served)
        first.terminate()
        first.communicate(timeout=TIMEOUT)
    assert first.returncode == ExitCode.OK
    assert done.code == ExitCode.BUSY
    assert "a worker named worker is running already" in done.error
