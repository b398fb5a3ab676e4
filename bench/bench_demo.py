"""Contracts a second in the demo against what the gateway's limits allow, with gateway and worker as real processes.

    python bench/bench_demo.py [--seed 0] [--lines 100]

It runs ``v6 demo`` into a folder of its own. 100 lines make 50 messages a second, two a contract: 25 contracts.
The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

from v6.clock import parse_utc


def demo(folder: Path, seed: int, lines: int) -> dict[str, Any]:
    """Run it; what it says with ``--json``."""
    command = [sys.executable, "-m", "v6", "demo", "--json", "--seed", str(seed), "--market-data-lines", str(lines)]
    command += ["--lake", str(folder / "lake"), "--folder", str(folder / "page")]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def pace(journal: Path) -> dict[str, float]:
    """What the gateway saw: options asked for a second, from the first to the last, and the longest gap between two."""
    entries = [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]
    options = {one["con_id"] for one in entries if one["kind"] == "contract_details" and "OPT" in one["values"][:5]}
    asked = [
        parse_utc(one["time"]).timestamp()
        for one in entries
        if one["kind"] == "request_market_data" and one["con_id"] in options
    ]
    return {
        "asked_per_second": round((len(asked) - 1) / (asked[-1] - asked[0]), 2),
        "longest_gap_seconds": round(max(later - earlier for earlier, later in pairwise(asked)), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lines", type=int, default=100, help="market-data lines")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = demo(Path(folder), options.seed, options.lines)
        seen = pace(Path(figures["journal"]))
    limit = figures["limit_contracts_per_second"]
    names = ("seconds", "option_rows", "contracts_per_second", "limit_contracts_per_second", "urgent_seconds")
    share = round(seen["asked_per_second"] / limit, 3)
    print(f"{figures['option_rows']} contracts, {seen['asked_per_second']} a second of at most {limit}")
    print(json.dumps({"benchmark": "demo", **{name: figures[name] for name in names}, **seen, "share_of_limit": share}))


if __name__ == "__main__":
    main()
