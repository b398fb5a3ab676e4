"""The checker itself: a whole lake passes, and everything that can be wrong with one is found."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from tests.drills import plan
from tests.drills.drill import LINES, NOW, gateway
from tests.drills.invariants import Findings, check
from tests.drills.processes import Site, killed_at_the_end

Change = Callable[[pl.DataFrame], pl.DataFrame]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A lake after one cycle without a crash."""
    folder = tmp_path_factory.mktemp("whole") / "drill"
    with gateway(folder) as served, killed_at_the_end([]) as children:
        site = Site(folder=folder, gateway=served, lines=LINES)
        plan.write(site.plan, plan.one_of_each(NOW, "cycle"))
        children.append(site.producer())
        assert children[-1].wait() == 0, children[-1].said()
        children.append(site.start("worker", "--drain"))
        assert children[-1].wait() == 0, children[-1].said()
    return site


def findings(site: Site, lake: Path, journal: Path | None = None) -> Findings:
    requests = plan.read(site.plan)
    journals = [journal or site.gateway.journal]
    return check(lake, journals, site.gateway.clock, plan=requests, acknowledged=site.acknowledged)


def changed(site: Site, folder: Path, table: str, change: Change) -> Path:
    """A copy of the lake whose table was changed."""
    lake = folder / "lake"
    shutil.copytree(site.lake, lake)
    path = str(lake / table)
    change(pl.read_delta(path)).write_delta(path, mode="overwrite")
    return lake


def test_a_cycle_without_a_crash_has_nothing_wrong(whole: Site) -> None:
    found = findings(whole, whole.lake)
    assert found.problems() == []
    assert found.statuses == {"SUCCESS": 4, "FAILED": 1}
    assert all(found.rows.values())
    assert found.fetches > 20


def success(rows: pl.DataFrame) -> pl.Expr:
    """The last row of the chain that succeeded."""
    return (pl.col("status") == "SUCCESS") & (pl.col("request_type") == "option_chain")


def earlier(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(pl.col("known_at") - timedelta(hours=1))


def reopened(rows: pl.DataFrame) -> pl.DataFrame:
    """The chain is put back after its SUCCESS."""
    again = rows.filter(success(rows)).with_columns(
        revision=pl.col("revision") + 1, status=pl.lit("PENDING", pl.String)
    )
    return pl.concat([rows, again])


WRONG: dict[str, tuple[str, Change, str]] = {
    "a row is gone": ("option_snapshots", lambda rows: rows.slice(1), "lost"),
    "a bar is gone": ("market_bars", lambda rows: rows.slice(1), "lost"),
    "a holding is gone": ("position_updates", lambda rows: rows.slice(1), "lost"),
    "a row is there twice": ("option_snapshots", lambda rows: pl.concat([rows, rows.head(1)]), "doubled"),
    "a bar is there twice": ("market_bars", lambda rows: pl.concat([rows, rows.head(1)]), "doubled"),
    "a contract is there twice": ("contracts", lambda rows: pl.concat([rows, rows.head(1)]), "doubled"),
    "a price is another": (
        "option_snapshots",
        lambda rows: rows.with_columns(bid=pl.col("bid") + 0.01),
        "wrong_values",
    ),
    "a greek is another": ("option_snapshots", lambda rows: rows.with_columns(vega=pl.col("vega") * 2), "wrong_values"),
    "a future is another": ("futures_snapshots", lambda rows: rows.with_columns(last=pl.lit(1.0)), "wrong_values"),
    "a bar is another": ("market_bars", lambda rows: rows.with_columns(close=pl.col("close") + 1), "wrong_values"),
    "a holding is another": ("position_updates", lambda rows: rows.with_columns(quantity=pl.lit(7.0)), "wrong_values"),
    "rows had landed before": ("option_snapshots", earlier, "refetched"),
    "bars had landed before": ("market_bars", earlier, "refetched"),
    "an end is gone": ("ib_requests", lambda rows: rows.filter(~success(rows)), "unfinished"),
    "a revision is gone": ("ib_requests", lambda rows: rows.filter(pl.col("revision") != 1), "bad_histories"),
    "a revision is there twice": (
        "ib_requests",
        lambda rows: pl.concat([rows, rows.filter(success(rows))]),
        "bad_histories",
    ),
    "an end was left": ("ib_requests", reopened, "bad_histories"),
    "a request is gone": ("ib_requests", lambda rows: rows.filter(pl.col("request_type") != "market_bars"), "lost"),
    "it failed for nothing": (
        "ib_requests",
        lambda rows: rows.with_columns(status=pl.col("status").replace({"SUCCESS": "FAILED"})),
        "wrongly_failed",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_found(whole: Site, tmp_path: Path, name: str) -> None:
    table, change, kind = WRONG[name]
    found = findings(whole, changed(whole, tmp_path, table, change))
    assert found.counts()[kind] > 0, found.figures()


def test_a_torn_file_is_found(whole: Site, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    shutil.copytree(whole.lake, lake)
    torn = next((lake / "futures_snapshots").rglob("*.parquet"))
    torn.write_bytes(torn.read_bytes()[:100])
    assert findings(whole, lake).counts()["unreadable"] == 1


def test_a_fetch_of_what_had_landed_is_found(whole: Site, tmp_path: Path) -> None:
    lines = whole.gateway.journal.read_text().splitlines()
    asked = [json.loads(line) for line in lines if '"kind":"request_market_data"' in line]
    option = next(entry for entry in reversed(asked) if entry["con_id"] in option_ids(whole))
    journal = tmp_path / "journal.jsonl"
    later = datetime.fromisoformat(option["time"]) + timedelta(minutes=5)
    again = {**option, "time": later.isoformat(), "req_id": 10_000}
    journal.write_text("\n".join([*lines, json.dumps(again, separators=(",", ":"))]) + "\n")
    found = findings(whole, whole.lake, journal)
    assert found.counts()["refetched"] == 1
    assert sum(found.counts().values()) == 1


def option_ids(site: Site) -> set[int]:
    return set(pl.read_delta(str(site.lake / "option_snapshots"))["con_id"])
