"""Which files of a table are to be joined.

In a partition that is being written, small files are joined with those not much larger than they are together, so that
a row is written anew only a few times however often maintenance comes by. A day that has gone quiet becomes one file.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from v6.data.delta import DataFile, Partition
from v6.data.table_spec import TableSpec

TARGET_BYTES = 64 * 2**20  # files of half this size are left alone
LIVE_FILES = 16  # so many small files of a partition that is being written are worth a commit
GROWTH = 4  # a file joins the smaller ones when it is at most so many times as large as they are together
QUIET_MS = 600_000  # machine time without a new row


def by_partition(files: Iterable[DataFile]) -> dict[Partition, list[DataFile]]:
    """The files of each partition."""
    found = defaultdict(list)
    for file in files:
        found[file.partition].append(file)
    return dict(found)


def is_quiet(files: Sequence[DataFile], now_ms: int, quiet_ms: int = QUIET_MS) -> bool:
    """True when nothing was written to a partition for a while."""
    return max(file.modified_ms for file in files) <= now_ms - quiet_ms


def to_join(
    spec: TableSpec, files: Sequence[DataFile], now_ms: int, *, thorough: bool = False
) -> Iterator[list[DataFile]]:
    """The groups of one partition's files that are to become one file each; ``thorough`` takes any for quiet."""
    small = [file for file in files if file.size_bytes < TARGET_BYTES // 2]
    if not thorough and not is_quiet(files, now_ms):
        group = _tier(small)
        if len(group) >= LIVE_FILES:
            yield group
    elif "date" in spec.partition_by:
        yield from _bins(small)
    else:
        group = _tier(small)
        if len(group) >= 2:
            yield group


def _tier(files: Sequence[DataFile]) -> list[DataFile]:
    """The smallest files, as many as belong together."""
    group: list[DataFile] = []
    total = 0
    for file in sorted(files, key=lambda file: (file.size_bytes, file.path)):
        if total + file.size_bytes > TARGET_BYTES or (len(group) > 1 and file.size_bytes > GROWTH * total):
            break
        group.append(file)
        total += file.size_bytes
    return group


def _bins(files: Sequence[DataFile]) -> Iterator[list[DataFile]]:
    """The files in the order they were written, as many as make one file of the target size."""
    group: list[DataFile] = []
    for file in sorted(files, key=lambda file: (file.modified_ms, file.path)):
        if sum(f.size_bytes for f in group) + file.size_bytes > TARGET_BYTES:
            if len(group) >= 2:
                yield group
            group = []
        group.append(file)
    if len(group) >= 2:
        yield group
