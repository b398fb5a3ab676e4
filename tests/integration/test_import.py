"""Tables of older programs, with their names and types, imported into a lake."""

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import write_deltalake

from v6.clock import Clock
from v6.data.lake import Lake
from v6.data.lake_account import LakeAccount
from v6.data.market_bars import MarketBarsTable
from v6.data.option_snapshots import OptionSnapshotsTable
from v6.errors import UsageError
from v6.imports.fitting import Options
from v6.imports.importer import Importer, Tally
from v6.imports.rejects import Rejects

MORNING = datetime(2024, 1, 16, 9, 45)  # noqa: DTZ001 - older programs wrote naive times
NIGHT = datetime(2024, 1, 16, 20, 0)  # noqa: DTZ001

SIX_ROWS = {  # deleted: the protocol's own example
    "storageType": "i",
    "pathOrInlineDv": "^Bg9^0rr910000000000iXQKl0rr91000f55c8Xg0@@D72lkbi5=-{L",
    "sizeInBytes": 44,
    "cardinality": 6,
}


def option(**changed: Any) -> dict[str, Any]:
    row = {
        "Time": MORNING, "underlying": "SPY", "expiration": "20240119", "strike_price": 470, "cp": "CALL",
        "bid": 1.5, "ask": 1.6, "lastPrice": -1.0, "Volume": 1200, "openInterest": 5000, "impliedVol": 0.14,
        "delta": 0.51, "gamma": 0.02, "theta": -0.1, "vega": 0.4, "undPrice": 470.1, "yearmonth": "202401", "junk": 1,
    }  # fmt: skip
    return row | changed


def write(path: Path, rows: list[dict[str, Any]], **options: Any) -> Path:
    write_deltalake(str(path), pl.DataFrame(rows, infer_schema_length=None).to_arrow(), **options)
    return path


@pytest.fixture
def chains(tmp_path: Path) -> Path:
    rows = [
        option(),
        option(cp="put", delta=0.0, gamma=0.0, theta=0.0, vega=0.0, impliedVol=0.0),
        option(cp="C", strike_price=471, bid=-1.0),
        option(cp="P", Time=NIGHT, expiration="20240315", Volume=0),
        option(expiration="2024-13-45"),
        option(cp="straddle"),
        option(),
    ]
    return write(tmp_path / "old" / "spy_options", rows, partition_by=["yearmonth"])


def commit_lines(log: Path, version: int) -> list[str]:
    return (log / f"{version:020d}.json").read_text().splitlines()


def rename_file(table: Path, old: str, new: str) -> None:
    """Gives a data file another name, in the log as well."""
    (table / old).rename(table / new)
    for commit in (table / "_delta_log").glob("*.json"):
        commit.write_text(commit.read_text().replace(old, new))


def importer(lake: Path, source: Path, *, table: str | None = None, **options: Any) -> Importer:
    return Importer(Lake(lake), str(source), table=table, options=Options(**options), clock=Clock())


def run(lake: Path, source: Path, *, table: str | None = None, **options: Any) -> Tally:
    return importer(lake, source, table=table, **options).run(Rejects(lake.parent / "rejects.jsonl"))


def test_names_types_zeros_and_naive_times_become_ours(chains: Path, tmp_path: Path) -> None:
    tally = run(tmp_path / "lake", chains, zone="America/New_York")
    assert (tally.read, tally.imported, tally.rejected, tally.there) == (7, 4, 2, 1)
    rows = OptionSnapshotsTable(tmp_path / "lake").scan().sort("timestamp", "strike", "right").collect()
    assert rows["right"].to_list() == ["C", "P", "C", "P"]
    assert rows["expiry"].to_list() == [date(2024, 1, 19)] * 3 + [date(2024, 3, 15)]
    assert rows["timestamp"][0] == datetime(2024, 1, 16, 14, 45, tzinfo=UTC)
    assert rows["date"].to_list() == [date(2024, 1, 16)] * 4
    assert rows["volume"].to_list() == [1200.0, 1200.0, 1200.0, 0.0]
    assert rows["last"].to_list() == [None] * 4
    assert rows["bid"].to_list() == [1.5, 1.5, None, 1.5]
    assert rows.select("iv", "delta", "vega").row(1) == (None, None, None)
    assert rows.select("iv", "delta", "underlying_price").row(0) == (0.14, 0.51, 470.1)
    assert rows["con_id"].n_unique() == 4
    assert (rows["con_id"] < 0).all()
    assert rows["cycle_contracts"].null_count() == 4, "it never counts as complete"
    missing = json.loads(rows["missing"][1])
    assert missing["delta"] == "the imported table had no value"
    assert missing["bid_size"] == "the imported table has no such column"
    assert "bid" not in missing


def test_greeks_of_nothing_but_zeros_are_missing_whatever_stands_beside_them(tmp_path: Path) -> None:
    zeros = dict.fromkeys(("delta", "gamma", "theta", "vega"), 0.0)
    rows = [
        option(strike_price=1, **zeros),
        option(strike_price=2, **zeros | {"delta": 1.0}),
        option(strike_price=3, impliedVol=0.0),
        option(strike_price=4, impliedVol=None, **zeros),
        option(strike_price=5, impliedVol=None),
    ]
    run(tmp_path / "lake", write(tmp_path / "old", rows))
    stored = OptionSnapshotsTable(tmp_path / "lake").scan().sort("strike").collect()
    assert stored.select("iv", "delta", "vega").rows() == [
        (0.14, None, None),
        (0.14, 1.0, 0.0),
        (None, None, None),
        (None, None, None),
        (None, 0.51, 0.4),
    ]


def test_what_does_not_fit_is_listed_with_its_reason(chains: Path, tmp_path: Path) -> None:
    tally = run(tmp_path / "lake", chains)
    assert dict(tally.reasons) == {"expiry cannot be read": 1, "right cannot be read": 1}
    lines = [json.loads(line) for line in (tmp_path / "rejects.jsonl").read_text().splitlines()]
    assert [(line["expiration"], line["cp"]) for line in lines] == [("2024-13-45", "CALL"), ("20240119", "straddle")]


def test_run_again_nothing_is_imported_twice_even_when_the_source_was_compacted(chains: Path, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    write(chains, [option(Time=MORNING + timedelta(minutes=5))], mode="append")
    assert run(lake, chains).imported == 5
    Lake(chains.parent).open(chains.name).optimize.compact()
    again = run(lake, chains)
    assert (again.imported, again.there) == (0, 6)
    assert OptionSnapshotsTable(lake).scan().collect().height == 5
    write(chains, [option(Time=MORNING + timedelta(minutes=10))], mode="append")
    assert run(lake, chains).imported == 1


def test_a_dry_look_writes_nothing(chains: Path, tmp_path: Path) -> None:
    looked = importer(tmp_path / "lake", chains)
    tally = looked.look()
    assert (tally.read, tally.rejected, tally.nulls["last"], tally.nulls["bid"]) == (7, 2, 5, 1)
    assert not (tmp_path / "lake").exists()
    by_column = {m.column: m for m in looked.fitting.mapping()}
    assert by_column["expiry"].source == "expiration"
    assert "naive times are UTC" in by_column["timestamp"].how
    assert by_column["con_id"].how.startswith("made of the contract's terms")
    assert by_column["bid_size"].how == "null: the imported table has no such column"
    assert looked.fitting.unused == ["yearmonth", "junk"]


def test_bars_need_their_size_and_are_revised_not_doubled(tmp_path: Path) -> None:
    bars = [
        {"date": date(2024, 1, day), "ticker": "SPY", "open": 1.0, "high": 2.0, "low": 0.5, "close": 1.5, "volume": 10}
        for day in (16, 17)
    ]
    source = write(tmp_path / "daily", bars)
    with pytest.raises(UsageError, match=r"nothing for bar_size: say --map bar_size=COLUMN or --set bar_size=VALUE"):
        importer(tmp_path / "lake", source)
    assert run(tmp_path / "lake", source, constants={"bar_size": "1 day"}).imported == 2
    assert run(tmp_path / "lake", source, constants={"bar_size": "1 day"}).imported == 0
    rows = MarketBarsTable(tmp_path / "lake").current(symbol="SPY", bar_size="1 day").collect()
    assert rows["timestamp"].to_list() == [datetime(2024, 1, day, tzinfo=UTC) for day in (16, 17)]
    assert rows.select("sec_type", "what_to_show", "date").row(0) == ("STK", "TRADES", date(2024, 1, 16))


def test_of_a_row_that_the_source_has_twice_the_newest_is_taken(tmp_path: Path) -> None:
    bar = {"date": date(2024, 1, 16), "ticker": "SPY", "open": 1.0, "high": 2.0, "low": 0.5, "close": 1.1}
    source = tmp_path / "daily"
    for close in (1.1, 1.3, 1.2):  # fetched again while the day went on; the names of files tell no order
        write(source, [bar | {"close": close}], mode="append")
    late, early = datetime(2024, 1, 17, 9), datetime(2024, 1, 16, 9)  # noqa: DTZ001
    write(source, [bar | {"close": 1.9, "inserted_at": late}, bar | {"close": 1.8, "inserted_at": early}],
          mode="append", schema_mode="merge")  # fmt: skip
    tally = run(tmp_path / "lake", source, constants={"bar_size": "1 day"})
    assert (tally.read, tally.imported, tally.there) == (5, 1, 4)
    assert MarketBarsTable(tmp_path / "lake").current().collect()["close"].to_list() == [1.9]
    assert run(tmp_path / "lake", source, constants={"bar_size": "1 day"}).imported == 0


def test_futures_belong_to_the_date_of_their_evening(tmp_path: Path) -> None:
    row = {"ts": 1705446000000, "root": "ES", "maturity": 20240315, "last": 4800, "conId": 533620665}
    source = write(tmp_path / "fut", [row, row | {"maturity": 20240621, "conId": 551601561}])
    run(tmp_path / "lake", source)
    rows = pl.read_delta(str(tmp_path / "lake" / "futures_snapshots")).sort("expiry")
    assert rows["timestamp"].to_list() == [datetime(2024, 1, 16, 23, 0, tzinfo=UTC)] * 2
    assert rows["date"].to_list() == [date(2024, 1, 17)] * 2
    assert rows["con_id"].to_list() == [533620665, 551601561]
    assert rows["is_front_month"].to_list() == [True, False]


def test_a_column_that_only_some_files_have_is_taken_from_them(tmp_path: Path) -> None:
    source = write(tmp_path / "old", [{name: value for name, value in option().items() if name != "openInterest"}])
    write(source, [option(strike_price=471)], mode="append", schema_mode="merge")
    for version, name in enumerate(("z-first.parquet", "a-second.parquet")):  # the order of names tells nothing
        add = next(json.loads(line)["add"] for line in commit_lines(source / "_delta_log", version) if '"add"' in line)
        rename_file(source, add["path"], name)
    run(tmp_path / "lake", source)
    rows = OptionSnapshotsTable(tmp_path / "lake").scan().sort("strike").collect()
    assert rows["open_interest"].to_list() == [None, 5000.0]


def test_values_that_cannot_be_read_are_counted_and_no_list_or_struct_stops_the_others(tmp_path: Path) -> None:
    rows = [
        option(bid="1.5", ask={"x": 1}),
        option(bid="n/a", ask={"x": 2}, strike_price=471),
        option(bid=" ", ask=None, strike_price=472),
    ]
    tally = run(tmp_path / "lake", write(tmp_path / "old", rows))
    assert (tally.imported, tally.rejected) == (3, 0)
    assert dict(tally.unreadable) == {"bid": 1, "ask": 2}
    assert tally.example["bid"] == "n/a"
    missing = [
        json.loads(text) for text in OptionSnapshotsTable(tmp_path / "lake").scan().sort("strike").collect()["missing"]
    ]
    assert [row.get("bid") for row in missing] == [
        None,
        "the imported table's value could not be read",
        "the imported table had no value",
    ]


def test_the_number_of_a_month_is_no_contract_month(tmp_path: Path) -> None:
    row = {"ts": MORNING, "symbol": "ES", "expiry": "20240315", "last": 4800.0}
    months = {"2024-03": "202403", "202406": "202406", "20240920": "202409", "3": None, "March": None}
    rows = [row | {"month": month, "expiry": f"202{n}0315"} for n, month in enumerate(months)]
    run(tmp_path / "lake", write(tmp_path / "fut", rows))
    stored = pl.read_delta(str(tmp_path / "lake" / "futures_snapshots")).sort("expiry")
    assert stored["contract_month"].to_list() == list(months.values())


def with_feature(
    source: Path, feature: str, configuration: dict[str, str], vector: dict[str, Any] | None = None
) -> None:
    """Turns a plain table into one of a newer protocol, as other engines write them."""
    path = source / "_delta_log" / f"{0:020d}.json"
    actions = [json.loads(line) for line in path.read_text().splitlines()]
    for action in actions:
        if "protocol" in action:
            features = ["timestampNtz", feature]
            action["protocol"] = {
                "minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": features, "writerFeatures": features,
            }  # fmt: skip
        if "metaData" in action:
            action["metaData"]["configuration"] = configuration
            schema = json.loads(action["metaData"]["schemaString"])
            for number, column in enumerate(schema["fields"]):
                names = {"delta.columnMapping.id": number, "delta.columnMapping.physicalName": f"col-{number}"}
                column["metadata"] = names if "Mapping" in feature else {}
            action["metaData"]["schemaString"] = json.dumps(schema)
        if "add" in action and vector:
            action["add"]["deletionVector"] = vector
    path.write_text("\n".join(map(json.dumps, actions)))


def test_a_table_whose_files_do_not_say_which_rows_it_has_is_refused(tmp_path: Path) -> None:
    source = write(tmp_path / "deleted", [option(strike_price=400 + n) for n in range(40)])
    with_feature(source, "deletionVectors", {"delta.enableDeletionVectors": "true"})
    assert run(tmp_path / "lake", source).imported == 40, "the feature alone deletes nothing"
    with_feature(source, "deletionVectors", {"delta.enableDeletionVectors": "true"}, SIX_ROWS)
    with pytest.raises(UsageError, match="uses deletion vectors"):
        importer(tmp_path / "lake", source)
    mapped = write(tmp_path / "mapped", [option()])
    with_feature(mapped, "columnMapping", {"delta.columnMapping.mode": "name"})
    with pytest.raises(UsageError, match="uses column mapping"):
        importer(tmp_path / "lake", mapped)


def test_columns_can_be_chosen_and_wrong_choices_are_named(chains: Path, tmp_path: Path) -> None:
    rows = importer(tmp_path / "lake", chains, chosen={"last": "ask"})
    assert {m.column: m.source for m in rows.fitting.mapping()}["last"] == "ask"
    with pytest.raises(UsageError, match="--map last=nothing"):
        importer(tmp_path / "lake", chains, chosen={"last": "nothing"})
    with pytest.raises(UsageError, match="--set strike=high: it cannot be read as Float64"):
        importer(tmp_path / "lake", chains, constants={"strike": "high"})
    with pytest.raises(UsageError, match="choose option_snapshots"):
        importer(tmp_path / "lake", chains, table="options")
    with pytest.raises(UsageError, match="is no Delta table"):
        importer(tmp_path / "lake", tmp_path)


def v6(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "v6", "import", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_the_command_shows_first_asks_for_the_account_and_never_mixes_two(chains: Path, tmp_path: Path) -> None:
    lake = ["--lake", str(tmp_path / "lake")]
    nobody = v6(str(chains), *lake)
    assert (nobody.returncode, "say --account" in nobody.stderr) == (2, True)
    rejects = ["--rejects", str(tmp_path / "rejects.jsonl")]
    shown = v6(str(chains.parent), *lake, "--account", "U1", "--dry-run")
    assert "expiration" in shown.stdout
    assert "5 would be imported at most, 2 do not fit" in shown.stdout
    assert not (tmp_path / "lake").exists()
    done = json.loads(v6(str(chains.parent), *lake, "--account", "U1", "--json", *rejects).stdout)
    assert (done[0]["imported"], done[0]["table"]) == (4, "option_snapshots")
    assert LakeAccount(tmp_path / "lake").account() == "U1"
    mixed = v6(str(chains), *lake, "--account", "SIM1")
    assert (mixed.returncode, "U1" in mixed.stderr, "SIM1" in mixed.stderr) == (3, True, True)
    other = v6(str(tmp_path / "lake" / "option_snapshots"), "--lake", str(tmp_path / "sim"), "--account", "SIM1")
    assert (other.returncode, "U1" in other.stderr) == (3, True)


def test_of_a_folder_what_cannot_be_imported_is_named_and_the_rest_is_imported(chains: Path, tmp_path: Path) -> None:
    old = chains.parent
    write(old / "a_list_of_symbols", [{"symbol": "SPY"}])
    with_feature(write(old / "a_new_feature", [option()]), "ofTomorrow", {})
    cut = write(old / "cut", [option()])
    next(cut.glob("*.parquet")).write_bytes(b"PAR1")
    Lake(old).open(write(old / "emptied", [option()]).name).delete()
    write(old / "zz", [option(strike_price=900), option(cp="straddle")])
    rejects = tmp_path / "rejects.jsonl"
    arguments = [str(old), "--lake", str(tmp_path / "lake"), "--account", "U1", "--rejects", str(rejects)]
    done = v6(*arguments)
    assert done.returncode == 2
    assert [line.partition(" ")[0] for line in done.stdout.splitlines() if "→" in line] == [
        "emptied",
        "spy_options",
        "zz",
    ]
    first, unknown, second = done.stderr.splitlines()
    assert "a_list_of_symbols: its columns do not tell" in first
    assert ("a_new_feature" in unknown, "ofTomorrow" in unknown) == (True, True)
    assert ("cut" in second, ".parquet" in second) == (True, True)
    assert [json.loads(line)["source_table"] for line in rejects.read_text().splitlines()] == [str(chains)] * 2 + [
        str(old / "zz")
    ]
    assert [entry.get("imported") for entry in json.loads(v6(*arguments, "--json").stdout)] == [
        None,
        None,
        None,
        0,
        0,
        0,
    ]
    full = tmp_path / "full"
    full.symlink_to("/dev/full")
    assert v6(*arguments[:2], str(tmp_path / "other"), *arguments[3:-1], str(full)).stderr.count("file for rows") == 1
    assert full.is_symlink()
    assert v6(str(old / "none"), *arguments[1:]).returncode == 2
    assert rejects.is_file(), "a source that gives nothing takes nothing away"
    refused = v6(str(chains), "--lake", str(tmp_path / "lake"), "--account", "U1", "--rejects", str(tmp_path))
    assert (refused.returncode, "name another with --rejects" in refused.stderr) == (2, True)


def test_an_import_that_was_killed_is_finished_by_the_next(tmp_path: Path) -> None:
    source = tmp_path / "old"
    for minute in range(40):
        rows = [option(Time=MORNING + timedelta(minutes=minute), strike_price=400 + n) for n in range(50)]
        write(source, rows, mode="append")
    settings = ["--lake", str(tmp_path / "lake"), "--account", "U1", "--rejects", str(tmp_path / "r")]
    slowly = ["nice", "-n", "19"]  # so that this process looks often enough to see its middle
    process = subprocess.Popen([*slowly, sys.executable, "-m", "v6", "import", str(source), *settings])
    log = tmp_path / "lake" / "option_snapshots" / "_delta_log"
    while process.poll() is None and not (log / f"{5:020d}.json").exists():
        os.sched_yield()
    process.send_signal(signal.SIGKILL)
    process.wait()
    began = OptionSnapshotsTable(tmp_path / "lake").scan().collect().height
    assert 0 < began < 2000
    tally = run(tmp_path / "lake", source)
    assert (tally.imported, tally.there) == (2000 - began, began)
    stored = OptionSnapshotsTable(tmp_path / "lake").scan().collect()
    assert (stored.height, stored.select("timestamp", "strike").n_unique()) == (2000, 2000)
