"""A set of request ids that costs twelve bytes each, however many there are.

Of a UUID the 96 bits at its ends are kept; what says its version lies between them. That two of ten million random ids
have the same is less likely than one in 10^15.
"""

from __future__ import annotations

import uuid
from bisect import bisect_left
from hashlib import blake2b
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import polars as pl

SHARDS = 256  # by an id's first byte
GATHER = 64  # ids of a shard that gather in a set before they become a sorted run
FACTOR = 4  # a run is merged into the one before it unless that is so many times as long
UUID_BYTES = 16
END_BYTES = 6  # of each end of a UUID
ID_BYTES = 2 * END_BYTES

Ids = npt.NDArray[np.bytes_]


class FinishedIds:
    """Ids by their first byte, so that none of the pieces is large.

    In one piece, merging a million ids would leave as much memory again with the allocator, and take a while at once.
    """

    def __init__(self) -> None:
        self._shards = [_Shard() for _ in range(SHARDS)]
        self._removed: set[bytes] = set()

    def __contains__(self, request_id: str) -> bool:
        key = _id_bytes(request_id)
        return key not in self._removed and key in self._shards[key[0]]

    def add(self, request_id: str) -> None:
        """Put one id in."""
        key = _id_bytes(request_id)
        self._removed.discard(key)
        self._shards[key[0]].add(key)

    def discard(self, request_id: str) -> None:
        """Take one id out."""
        self._removed.add(_id_bytes(request_id))

    def extend(self, request_ids: pl.Series) -> None:
        """Put many ids in at once."""
        ordered = np.sort(_array_of(request_ids))
        first_bytes = ordered.view(np.uint8)[::ID_BYTES]
        edges = np.searchsorted(first_bytes, np.arange(SHARDS + 1))
        for shard, (begin, end) in zip(self._shards, pairwise(edges), strict=True):
            if begin < end:
                shard.merge(ordered[begin:end].tobytes())


class _Shard:
    """Sorted runs of ids, each at least some times as long as the next, and what came last: an id is written anew only
    a few times."""

    def __init__(self) -> None:
        self._runs: list[bytes] = []
        self._recent: set[bytes] = set()

    def __contains__(self, key: bytes) -> bool:
        return key in self._recent or any(_has(run, key) for run in self._runs)

    def add(self, key: bytes) -> None:
        self._recent.add(key)
        if len(self._recent) >= GATHER:
            self.merge(b"".join(sorted(self._recent)))
            self._recent = set()

    def merge(self, run: bytes) -> None:
        while self._runs and len(self._runs[-1]) < FACTOR * len(run):
            run = _sorted(self._runs.pop() + run)
        self._runs.append(run)


def _sorted(ids: bytes) -> bytes:
    return np.sort(np.frombuffer(ids, dtype=f"S{ID_BYTES}"), kind="stable").tobytes()


def _has(run: bytes, key: bytes) -> bool:
    at = ID_BYTES * bisect_left(
        range(len(run) // ID_BYTES), key, key=lambda place: run[ID_BYTES * place : ID_BYTES * (place + 1)]
    )
    return run[at : at + ID_BYTES] == key


def _array_of(request_ids: pl.Series) -> Ids:
    """The ids as bytes; all at once where all are UUIDs as text."""
    text = request_ids.str.replace_all("-", "", literal=True)
    binary = text.str.decode("hex", strict=False)
    if binary.null_count() or not (binary.bin.size() == UUID_BYTES).all():
        return np.array([_id_bytes(request_id) for request_id in request_ids], dtype=f"S{ID_BYTES}")
    ends = text.str.head(2 * END_BYTES) + text.str.tail(2 * END_BYTES)
    return np.frombuffer(b"".join(ends.str.decode("hex")), dtype=f"S{ID_BYTES}")


def _id_bytes(request_id: str) -> bytes:
    try:
        whole = uuid.UUID(request_id).bytes
    except ValueError:  # an id that somebody wrote past the queue
        return blake2b(request_id.encode(), digest_size=ID_BYTES).digest()
    return whole[:END_BYTES] + whole[-END_BYTES:]
