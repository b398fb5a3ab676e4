"""Checkpoints as other writers make them: with a file in an add and a remove, and with structs of nulls."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest

from v6.data.table_log import read_log
from v6.maintenance.table_log import TableLog

ADD = pa.struct([("path", pa.string()), ("size", pa.int64()), ("stats", pa.string())])
REMOVE = pa.struct([("path", pa.string()), ("deletionTimestamp", pa.int64())])
NOTHING = {"path": None}
LIVE = {"path": "live.parquet", "size": 10, "stats": json.dumps({"numRecords": 3})}
GONE = {"path": "gone.parquet", "deletionTimestamp": 7}


def checkpoint(lake: Path, rows: list[dict[str, Any]]) -> Path:
    """The checkpoint of version 4 of a table, and that version's commit."""
    log = lake / "notes" / "_delta_log"
    log.mkdir(parents=True)
    (log / f"{4:020d}.json").write_text(json.dumps({"commitInfo": {"timestamp": 1}}))
    schema = pa.schema([("metaData", pa.struct([("id", pa.string())])), ("add", ADD), ("remove", REMOVE)])
    pq.write_table(pa.Table.from_pylist(rows, schema), log / f"{4:020d}.checkpoint.parquet", row_group_size=1)
    return log.parent


@pytest.mark.parametrize("live_first", [True, False])
def test_a_file_that_a_checkpoint_adds_and_removes_is_live(tmp_path: Path, live_first: bool) -> None:
    old = {"remove": {"path": "live.parquet", "deletionTimestamp": 6}}
    rows: list[dict[str, Any]] = [{"add": LIVE}, old] if live_first else [old, {"add": LIVE}]
    checkpoint(tmp_path, [{"metaData": {"id": "a"}}, *rows, {"remove": GONE}])
    log = read_log(tmp_path, "notes")
    assert not log.faults
    assert {file.path: file.rows for file in log.files.values()} == {"live.parquet": 3}
    assert log.named == {"live.parquet", "gone.parquet"}


def test_a_struct_of_nulls_is_no_action(tmp_path: Path) -> None:
    nothing = {"metaData": {"id": None}, "add": NOTHING, "remove": NOTHING}
    table = checkpoint(tmp_path, [nothing, {**nothing, "add": LIVE}, {**nothing, "remove": GONE}])
    log = read_log(tmp_path, "notes")
    assert (set(log.files), log.has_metadata) == ({"live.parquet"}, False)
    assert log.named == {"live.parquet", "gone.parquet"}
    files = pafs.SubTreeFileSystem(str(table), pafs.LocalFileSystem())
    assert TableLog.listed(files).removed() == {"gone.parquet": 7}
