"""A set of request ids that costs sixteen bytes each, however many there are."""

from __future__ import annotations

import uuid
from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import polars as pl

GATHER = 8_192  # ids that gather in a set before they become a sorted array
FACTOR = 4  # an array is merged into the one before it unless that is so many times as long
ID_BYTES = 16

Ids = npt.NDArray[np.bytes_]


class FinishedIds:
    """Sorted arrays of sixteen bytes an id, each at least some times as long as the next, and what came last.

    So an id is written anew only a few times, and no addition ever has to move all of them at once but rarely.
    """

    def __init__(self) -> None:
        self._arrays: list[Ids] = []
        self._recent: set[bytes] = set()
        self._removed: set[bytes] = set()

    def __contains__(self, request_id: str) -> bool:
        key = _id_bytes(request_id)
        if key in self._removed:
            return False
        return key in self._recent or any(_has(array, key) for array in self._arrays)

    def add(self, request_id: str) -> None:
        """Put one id in."""
        key = _id_bytes(request_id)
        self._removed.discard(key)
        self._recent.add(key)
        if len(self._recent) >= GATHER:
            self._merge(np.array(sorted(self._recent), dtype=f"S{ID_BYTES}"))
            self._recent = set()

    def discard(self, request_id: str) -> None:
        """Take one id out."""
        key = _id_bytes(request_id)
        self._recent.discard(key)
        self._removed.add(key)

    def extend(self, request_ids: pl.Series) -> None:
        """Put many ids in at once."""
        if len(request_ids):
            self._merge(np.sort(_array_of(request_ids)))

    def _merge(self, array: Ids) -> None:
        while self._arrays and len(self._arrays[-1]) < FACTOR * len(array):
            array = np.sort(np.concatenate([self._arrays.pop(), array]), kind="stable")
        self._arrays.append(array)


def _has(array: Ids, key: bytes) -> bool:
    at = int(np.searchsorted(array, np.bytes_(key)))
    return at < len(array) and bool(array[at] == np.bytes_(key))


def _array_of(request_ids: pl.Series) -> Ids:
    """The ids as bytes; all at once where all are UUIDs as text."""
    binary = request_ids.str.replace_all("-", "", literal=True).str.decode("hex", strict=False)
    if binary.null_count() or not (binary.bin.size() == ID_BYTES).all():
        return np.array([_id_bytes(request_id) for request_id in request_ids], dtype=f"S{ID_BYTES}")
    return np.frombuffer(b"".join(binary), dtype=f"S{ID_BYTES}")


def _id_bytes(request_id: str) -> bytes:
    try:
        return uuid.UUID(request_id).bytes
    except ValueError:  # an id that somebody wrote past the queue
        return blake2b(request_id.encode(), digest_size=ID_BYTES).digest()
