"""The log of one table as files: what was removed and when, where the checkpoints are, and which files may go.

A version is given up when it is far behind and was replaced a while ago: whoever opens the table meanwhile finds a
newer checkpoint and everything after it, and whoever tails the log is long past it or folds the table again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from v6.errors import LakeError

LOG = "_delta_log"
LAST_CHECKPOINT = "_last_checkpoint"
COMMIT = re.compile(r"^(\d{20})\.json$")
CHECKPOINT = re.compile(r"^(\d{20})\.checkpoint\.parquet$")
OF_A_VERSION = re.compile(r"^(\d{20})\.(json|crc|checkpoint\..*parquet)$")


@dataclass(frozen=True, kw_only=True, slots=True)
class LogFile:
    """One file of the log: the version it belongs to and when it was written (the store's time)."""

    name: str
    version: int
    written_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class TableLog:
    """The log's files as they were listed, by version."""

    files: pafs.FileSystem
    entries: tuple[LogFile, ...]

    @classmethod
    def listed(cls, files: pafs.FileSystem) -> TableLog:
        """List the log of the table whose folder is given."""
        found = []
        for info in files.get_file_info(pafs.FileSelector(LOG)):
            match = OF_A_VERSION.match(info.base_name)
            if match and info.is_file:
                found.append(LogFile(name=info.base_name, version=int(match[1]), written_at=info.mtime))
        return cls(files=files, entries=tuple(sorted(found, key=lambda file: (file.version, file.name))))

    @property
    def commits(self) -> list[LogFile]:
        """The commits that are there, oldest first."""
        return [file for file in self.entries if COMMIT.match(file.name)]

    @property
    def checkpoints(self) -> list[LogFile]:
        """The checkpoints in one file, oldest first."""
        return [file for file in self.entries if CHECKPOINT.match(file.name)]

    def since_checkpoint(self, version: int) -> int:
        """How many commits lie between the last checkpoint and a version."""
        return version - max((file.version for file in self.checkpoints), default=-1)

    def base(self, version: int, *, commits: int, written_before: datetime) -> LogFile | None:
        """The checkpoint below which everything may go: ``commits`` behind a version and written before an instant."""
        fit = [f for f in self.checkpoints if f.version <= version - commits and f.written_at < written_before]
        return fit[-1] if fit else None

    def before(self, base: LogFile) -> list[LogFile]:
        """What a checkpoint makes superfluous, oldest first."""
        return [file for file in self.entries if file.version < base.version]

    def removed(self) -> dict[str, int]:
        """Every data file that was removed, as far as the log remembers, and when (ms since 1970, machine time).

        Raises:
            FileNotFoundError: the log was shortened since it was listed.
        """
        found: dict[str, int] = {}
        for path, at in self._tombstones():
            found[path] = max(at, found.get(path, 0))
        return found

    def _tombstones(self) -> Iterator[tuple[str, int]]:
        newest = self.checkpoints[-1:]
        for file in newest:
            yield from self._of_checkpoint(file)
        for file in self.commits:
            yield from self._of_commit(file)

    def _of_checkpoint(self, file: LogFile) -> Iterator[tuple[str, int]]:
        with self.files.open_input_file(f"{LOG}/{file.name}") as source:
            parquet = pq.ParquetFile(source)
            names = {"remove.path", "remove.deletionTimestamp"}
            if not names <= {parquet.schema.column(i).path for i in range(len(parquet.schema))}:
                return
            removed = parquet.read(columns=sorted(names)).column("remove").drop_null().combine_chunks()
        removed = removed.filter(removed.field("path").is_valid())  # some writers fill in the structs with nulls
        moments = removed.field("deletionTimestamp").fill_null(0).to_pylist()
        yield from zip(map(unquote, removed.field("path").to_pylist()), moments, strict=True)

    def _of_commit(self, file: LogFile) -> Iterator[tuple[str, int]]:
        with self.files.open_input_stream(f"{LOG}/{file.name}") as source:
            lines = source.read().splitlines()
        for line in lines:
            if line.startswith(b'{"remove"'):
                action = json.loads(line)["remove"]
                yield unquote(action["path"]), int(action.get("deletionTimestamp") or 0)

    def last_checkpoint(self) -> int:
        """The version that readers are told to begin at; -1 where nothing says so."""
        try:
            with self.files.open_input_stream(f"{LOG}/{LAST_CHECKPOINT}") as source:
                return int(json.loads(source.read())["version"])
        except (FileNotFoundError, ValueError, KeyError):
            return -1

    def check(self, checkpoint: LogFile) -> None:
        """Read a checkpoint through. Raises LakeError when it is not whole."""
        path = f"{LOG}/{checkpoint.name}"
        try:
            with self.files.open_input_file(path) as source:
                pq.ParquetFile(source).read()
        except (OSError, pa.ArrowException) as error:
            raise LakeError(f"the checkpoint {path} cannot be read, so the log before it stays: {error}") from error

    def delete(self, superfluous: Sequence[LogFile]) -> int:
        """Delete files of the log; how many were there."""
        return sum(delete_file(self.files, f"{LOG}/{file.name}") for file in superfluous)


def delete_file(files: pafs.FileSystem, path: str) -> bool:
    """Delete one file; False when another was first."""
    try:
        files.delete_file(path)
    except FileNotFoundError:
        return False
    return True
