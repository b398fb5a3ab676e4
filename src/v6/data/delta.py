"""The one module that speaks to the storage library: what is done with one table object, and how a commit is made.

``v6.data.lake`` opens tables, ``v6.data.table_writer`` appends results (facts measured in docs/lake.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from urllib.parse import unquote

import polars as pl
import pyarrow as pa
import pyarrow.fs as pafs
from deltalake import (
    CommitProperties,
    DeltaTable,
    PostCommitHookProperties,
    QueryBuilder,
    Schema,
    Transaction,
    WriterProperties,
    write_deltalake,
)
from deltalake.exceptions import DeltaError, TableNotFoundError
from deltalake.fs import DeltaStorageHandler
from deltalake.transaction import AddAction, RemoveAction

__all__ = [
    "DataFile",
    "DeltaError",
    "DeltaTable",
    "Partition",
    "TableNotFoundError",
    "add_columns",
    "append",
    "bounds_by_file",
    "checkpoint",
    "data_files",
    "date_of",
    "drop_missing_files",
    "filesystem",
    "first_line",
    "has_deletion_vectors",
    "has_landed",
    "missing_columns",
    "partition_dates",
    "query",
    "replace_files",
    "scan_table",
    "to_arrow",
]

from v6.data.commit_file import TRANSACTIONS
from v6.data.table_spec import Column, TableSpec

COMMIT_TRIES = 8
RECENT_COMMITS = 100
MAINTENANCE = "maintenance"  # its app transaction keeps two maintainers from the same files
# Rows in a group, whose bounds a reader looks at before it reads it: one contract of a day lies in one or two of them.
GROUP_ROWS = 16_384
COMPRESSION = WriterProperties(compression="ZSTD", compression_level=3, max_row_group_size=GROUP_ROWS)
HOOKS = PostCommitHookProperties(create_checkpoint=True, cleanup_expired_logs=False)  # maintenance cleans the log


Partition = tuple[tuple[str, str | None], ...]  # the values of the columns that a table is split by


@dataclass(frozen=True, kw_only=True, slots=True)
class DataFile:
    """One file of a table: its path below the table's folder, what the log says of it, and its statistics by column.

    ``rows`` is None where the log has no number; ``modified_ms`` is when its youngest row was written, ms since 1970.
    """

    path: str
    size_bytes: int
    rows: int | None
    modified_ms: int
    partition: Partition = ()
    statistics: Mapping[str, Any] = field(default_factory=dict)


def scan_table(table: DeltaTable) -> pl.LazyFrame:
    """The rows of one table object at its version, lazily."""
    return pl.scan_delta(table)


def partition_dates(table: DeltaTable) -> list[date]:
    """The values of the partition ``date`` that have files at this table's version; reads the log only."""
    return [date_of(tuple(partition.items())) for partition in table.partitions()]


def date_of(partition: Partition) -> date:
    """The value of ``date`` in a partition: the log has text."""
    return date.fromisoformat(str(dict(partition)["date"]))


def bounds_by_file(table: DeltaTable, column: str) -> pl.DataFrame:
    """``path``, ``date`` (its partition), ``least`` and ``greatest`` of a column in each file; reads the log only.

    Null where the log does not tell.
    """
    files = pl.DataFrame(arrow_table(table.get_add_actions(flatten=True)))
    known = [
        pl.col(f"{bound}.{column}") if f"{bound}.{column}" in files.columns else pl.lit(None, pl.String)
        for bound in ("min", "max")
    ]
    return files.select(
        "path", pl.col("partition.date").alias("date"), known[0].alias("least"), known[1].alias("greatest")
    )


def query(tables: Mapping[str, DeltaTable], sql: str) -> pl.DataFrame:
    """The answer to a SELECT over table objects, each under its name, run by the library's DataFusion.

    Raises:
        DeltaError: the text cannot be run.
    """
    builder = QueryBuilder()
    for name, table in tables.items():
        builder = builder.register(name, table)
    return pl.DataFrame(arrow_table(builder.execute(sql)))


def arrow_table(stream: Any) -> pa.Table:
    """What has an Arrow stream, as a table. ``pa.table`` would import pandas to ask whether it is one of its frames."""
    return pa.RecordBatchReader.from_stream(stream).read_all()


def has_deletion_vectors(table: DeltaTable) -> bool:
    """Whether rows of its files are marked as deleted beside them: the files alone do not say which rows it has."""
    features = table.protocol().reader_features or ()
    try:
        return "deletionVectors" in features and any(batch.num_rows for batch in table.deletion_vectors())
    except DeltaError:  # they are there, and cannot even be read
        return True


def missing_columns(table: DeltaTable, spec: TableSpec) -> list[Column]:
    """The spec's columns that the stored table does not have."""
    stored = scan_table(table).collect_schema()
    return [column for column in spec.columns if column.name not in stored]


def add_columns(table: DeltaTable, columns: Sequence[Column]) -> None:
    """Give the stored table columns, null in every row so far. Writers that are open commit once more.

    Raises:
        DeltaError: the commit did not land.
    """
    arrow = pl.DataFrame(schema={column.name: column.dtype for column in columns})
    table.alter.add_columns(Schema.from_arrow(to_arrow(arrow).schema).fields)


def drop_missing_files(table: DeltaTable) -> None:
    """Commit that the files which the table names and which are not there belong to it no more.

    Raises:
        DeltaError: the commit did not land.
    """
    table.repair()


def filesystem(table: DeltaTable) -> pafs.FileSystem:
    """The folder of a table as a pyarrow file system, on any store."""
    return pafs.PyFileSystem(DeltaStorageHandler.from_table(table._table))


def to_arrow(frame: pl.DataFrame) -> pa.Table:
    """A frame as Arrow with plain strings, which every Delta reader knows."""
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest())


def append(
    table: DeltaTable,
    frame: pl.DataFrame,
    *,
    app_transactions: Mapping[str, int] | None = None,
    token: str | None = None,
) -> int:
    """Append rows in one commit from this very table object and return the table's version afterwards.

    ``token`` is stored in the commit, so that its writer can find it again.

    Raises:
        DeltaError: the commit did not land, or it is unknown whether it did.
    """
    transactions = [Transaction(app_id, version) for app_id, version in (app_transactions or {}).items()]
    rows = _with_stored_columns(table, frame)
    metadata = {TRANSACTIONS: str(len(transactions)), **({"token": token} if token else {})}
    write_deltalake(
        table,
        to_arrow(rows),
        mode="append",
        writer_properties=COMPRESSION,
        commit_properties=CommitProperties(custom_metadata=metadata, app_transactions=transactions or None),
        post_commithook_properties=HOOKS,
    )
    return int(table.version())


def has_landed(table: DeltaTable, token: str) -> bool:
    """True when a commit with that token is among the last ones up to the object's version."""
    return any(commit.get("token") == token for commit in table.history(RECENT_COMMITS))


def data_files(table: DeltaTable) -> list[DataFile]:
    """The files of a table object's version."""
    rows = pl.DataFrame(arrow_table(table.get_add_actions(flatten=True)))
    return [_data_file(row) for row in rows.iter_rows(named=True)]


def checkpoint(table: DeltaTable) -> None:
    """Write down all files of the object's version, so that readers need not read the commits before it.

    Raises:
        DeltaError: it could not be written.
    """
    table.create_checkpoint()


def _data_file(row: Mapping[str, Any]) -> DataFile:
    names = [name.removeprefix("partition.") for name in row if name.startswith("partition.")]
    values = [(name, row[f"partition.{name}"]) for name in names]
    return DataFile(
        path=unquote(row["path"]),  # the log has it encoded
        size_bytes=row["size_bytes"],
        rows=row["num_records"],
        modified_ms=row["modification_time"],
        partition=tuple((name, None if value is None else str(value)) for name, value in values),
        statistics={name: value for name, value in row.items() if name.startswith(("min.", "max."))},
    )


def replace_files(
    table: DeltaTable,
    removed: Sequence[DataFile],
    added: Sequence[tuple[DataFile, str]],
    *,
    deleted_ms: int,
    reason: str,
    retries: int = 0,
) -> int:
    """Put files in place of others, in one commit that brings nobody new rows; the table's version afterwards.

    ``added`` are files that lie in the table's folder already, each with its statistics as the log's JSON. Without
    ``retries`` the commit is refused unless it is the very next version after the object's; with them commits of
    others may come in between, but no other maintainer's. Appends of others, from whatever version, are never refused
    because of it (docs/maintenance.md).

    Raises:
        DeltaError: the commit did not land, or it is unknown whether it did.
    """
    adds = [
        AddAction(file.path, file.size_bytes, dict(file.partition), file.modified_ms, False, stats)
        for file, stats in added
    ]
    removes = [RemoveAction(f.path, False, deleted_ms, f.size_bytes, dict(f.partition)) for f in removed]
    table.create_write_transaction(
        [*adds, *removes],
        "append",
        table.schema(),
        table.metadata().partition_columns,
        commit_properties=CommitProperties(
            custom_metadata={"maintenance": reason, TRANSACTIONS: "1"},
            max_commit_retries=retries,
            app_transactions=[Transaction(MAINTENANCE, (table.transaction_version(MAINTENANCE) or 0) + 1)],
        ),
        post_commithook_properties=PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False),
    )
    table.update_incremental()  # the library leaves the object at the version before
    return int(table.version())


def _with_stored_columns(table: DeltaTable, frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with null for columns that a newer version added while this writer was open."""
    if all(field.name in frame.columns for field in table.schema().fields):
        return frame
    stored = scan_table(table).collect_schema()
    return frame.select(
        pl.col(name) if name in frame.columns else pl.lit(None, dtype).alias(name) for name, dtype in stored.items()
    )


def first_line(error: BaseException) -> str:
    """What to quote of an error."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
