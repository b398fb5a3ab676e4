"""Loads a year of 5-minute bars for 20 symbols twice: in one go, and killed half way and run again; compares the bars.

    python -m bench.drill_load                        a year, 20 symbols
    python -m bench.drill_load --symbols 3 --days 90  less

A simulated gateway, real workers, the real script. Both loader and worker are killed when half of the requests have
ended. The last line is one JSON object; the exit code is 1 when anything was wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from v6.data.ib_request import REQUESTS
from v6.data.lake import Lake
from v6.data.market_bars import KEY, MarketBarsTable
from v6.data.queue_log import current

SYMBOLS = (
    *("SPY", "QQQ", "IWM", "DIA", "AAPL", "MSFT", "NVDA", "AMZN", "META", "TSLA"),
    *("GOOGL", "JPM", "BAC", "WMT", "JNJ", "PG", "XOM", "CVX", "UNH", "HD"),
)
NOW = "2026-11-23T17:45:00Z"
SPEED = 20
STORED = ["symbol", *KEY, "open", "high", "low", "close", "volume", "is_final", "date"]
LOOK_SECONDS = 0.1


@contextmanager
def process(*command: str, env: dict[str, str], **more: Any) -> Iterator[subprocess.Popen[str]]:
    """A Python program that is gone at the end of the context."""
    child = subprocess.Popen([sys.executable, *command], env=env, text=True, **more)
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


@dataclass(frozen=True, kw_only=True)
class Load:
    """One lake and the script's arguments."""

    folder: Path
    arguments: Sequence[str]
    environment: dict[str, str]

    @property
    def lake(self) -> Lake:
        """Its lake."""
        return Lake(self.folder / "lake")

    def run(self) -> dict[str, Any]:
        """Worker and script until the script ends; what it printed, with its exit code and seconds."""
        began = time.monotonic()
        with self._worker():
            command = [sys.executable, *self._script, "--json"]
            done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        found: dict[str, Any] = json.loads(done.stdout or "{}")
        found["failed"] = len(found.get("failed", ()))
        return {**found, "exit_code": done.returncode, "took": round(time.monotonic() - began, 1)}

    def kill_half_way(self, requests: int) -> int:
        """Worker and script, both killed when half of the requests have ended; how many had."""
        with self._worker() as worker, process(*self._script, env=self.environment, **self._log()) as script:
            while (ended := self.ended()) < requests // 2 and script.poll() is None:
                time.sleep(LOOK_SECONDS)
            for child in (worker, script):
                child.send_signal(signal.SIGKILL)
                child.wait()
        return ended

    def ended(self) -> int:
        """How many requests have succeeded."""
        if not self.lake.exists(REQUESTS.name):
            return 0
        rows = current(self.lake.scan(REQUESTS)).filter(pl.col("status") == "SUCCESS")
        return int(rows.select(pl.len()).collect().item())

    def bars(self) -> pl.DataFrame:
        """The content, sorted."""
        return MarketBarsTable(self.lake).current().select(STORED).sort(STORED).collect()

    def doubled(self) -> int:
        """Stored rows of a bar beyond its first."""
        stored = MarketBarsTable(self.lake).scan().select(KEY).collect()
        return stored.height - stored.unique().height

    @property
    def _script(self) -> tuple[str, ...]:
        return ("scripts/load_historical_data.py", *self.arguments)

    @contextmanager
    def _worker(self) -> Iterator[subprocess.Popen[str]]:
        with process("-m", "v6", "worker", env=self.environment, **self._log()) as worker:
            yield worker

    def _log(self) -> dict[str, Any]:
        return {"stdout": subprocess.DEVNULL, "stderr": (self.folder / "log").open("a")}


@contextmanager
def gateway() -> Iterator[dict[str, str]]:
    """A simulated gateway; the settings of its clients."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith("V6_")}
    with process(
        *("-m", "v6", "gateway", "--json", "--port", "0"),
        env={**bare, "V6_CLOCK": f"{NOW}*{SPEED}"},
        stdout=subprocess.PIPE,
    ) as child:
        if child.stdout is None:
            raise RuntimeError("the gateway has no output")
        address = json.loads(child.stdout.readline())
        yield {**bare, "V6_GATEWAY_PORT": str(address["port"]), "V6_CLOCK": address["clock"], "V6_LOG_LEVEL": "warning"}


def compare(folder: Path, arguments: Sequence[str]) -> dict[str, Any]:
    """Both loads; the figures and what was wrong."""
    with gateway() as environment:
        loads = []
        for number, name in enumerate(("unbroken", "broken"), start=11):
            (folder / name).mkdir(parents=True)
            own = {"V6_LAKE": str(folder / name / "lake"), "V6_CLIENT_ID": str(number)}
            loads.append(Load(folder=folder / name, arguments=arguments, environment={**environment, **own}))
        unbroken, broken = loads
        whole = unbroken.run()
        print(json.dumps({"unbroken": whole}), flush=True)
        killed_at = broken.kill_half_way(int(whole["requests"]))
        rest = broken.run()
    print(json.dumps({"killed_at": killed_at, "rest": rest}), flush=True)
    wrong = [
        f"{name} ended with {run['exit_code']}"
        for name, run in (("one", whole), ("the rest", rest))
        if run["exit_code"]
    ]
    bars = unbroken.bars()
    if not bars.equals(broken.bars()):
        wrong.append("the bars differ")
    if doubled := unbroken.doubled() + broken.doubled():
        wrong.append(f"{doubled} bars are stored twice")
    if rest.get("loaded_before", 0) == 0:
        wrong.append("the second run began anew")
    return {
        "requests": whole["requests"],
        "bars": bars.height,
        "symbols": bars["symbol"].n_unique(),
        "killed_at": killed_at,
        "loaded_before": rest.get("loaded_before"),
        "seconds_unbroken": whole["took"],
        "seconds_rest": rest["took"],
        "wrong": wrong,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the drill; 0 when nothing is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--symbols", type=int, default=len(SYMBOLS), help="how many")
    parser.add_argument("--days", type=int, default=365, help="how many days back")
    parser.add_argument("--folder", type=Path, help="where lakes and logs go; without it a temporary one")
    options = parser.parse_args(arguments)
    folder = options.folder or Path(tempfile.mkdtemp(prefix="drill-load-"))
    asked = (*SYMBOLS[: options.symbols], "--bar-size", "5 mins", "--end", "2026-11-21", "--days", str(options.days))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that its processes are ended too
    result = compare(folder, asked)
    print(json.dumps({**result, "folder": str(folder)}))
    return 1 if result["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
