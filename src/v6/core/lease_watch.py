"""Judges whether other workers that have claims are alive: by their locks, and where those say nothing, by leases.

A lease is renewed by every heartbeat, a commit to ``worker_state`` under the worker's own app transaction. It is judged
by this observer's own monotonic time since the last heartbeat it saw, never by what a row says of its time: clocks of
machines differ and step. An observer that was suspended itself begins to count anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from v6.core.worker_lock import Holder, holder_of
from v6.data.delta import DeltaTable
from v6.data.lake import Lake
from v6.data.worker_state import WORKER_STATE

LOOKS = 5  # in the length of a lease


@dataclass(frozen=True, kw_only=True, slots=True)
class Dead:
    """A worker whose claims may be taken over. ``epoch`` is its place in the queue; ``holder`` is what its lock says:
    where that is not DEAD its lease has run out, and where it is ALIVE it is only suspended."""

    worker: str
    epoch: int
    holder: Holder
    silent_seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class _Sign:
    """The last sign of life of one worker that was seen, and when (machine seconds)."""

    epoch: int
    heartbeat: int | None
    seen_at: float


class LeaseWatch:
    """Remembers each claimant's last sign of life. Blocks: call it off the event loop, by one caller at a time."""

    def __init__(self, *, lake: Lake, lock_folder: Path, lease_seconds: float, monotonic: Callable[[], float]) -> None:
        """``lease_seconds`` and ``monotonic`` are machine time."""
        self._lake = lake
        self._folder = lock_folder
        self._lease_seconds = lease_seconds
        self._monotonic = monotonic
        self._signs: dict[str, _Sign] = {}
        self._looked_at = float("-inf")
        self._states: DeltaTable | None = None

    @property
    def look_seconds(self) -> float:
        """How often to look: machine seconds."""
        return self._lease_seconds / LOOKS

    def dead(self, claimants: Mapping[str, int]) -> list[Dead]:
        """Those of the claimants (worker → epoch of its place) that are dead or whose lease has run out.

        Raises:
            LakeError: the heartbeats cannot be read.
        """
        now = self._monotonic()
        if now - self._looked_at > self._lease_seconds / 2:  # nobody looked: silence in between proves nothing
            self._signs.clear()
        self._looked_at = now
        self._refresh()
        self._signs = {worker: self._sign(worker, epoch, now) for worker, epoch in claimants.items()}
        return [found for worker, sign in self._signs.items() if (found := self._judge(worker, sign, now)) is not None]

    def heartbeat(self, worker: str) -> int | None:
        """The number of a worker's newest heartbeat; None when it never beat. Raises LakeError."""
        self._refresh()
        return self._heartbeat(worker)

    def _sign(self, worker: str, epoch: int, now: float) -> _Sign:
        heartbeat, known = self._heartbeat(worker), self._signs.get(worker)
        if known is not None and (known.epoch, known.heartbeat) == (epoch, heartbeat):
            return known
        return _Sign(epoch=epoch, heartbeat=heartbeat, seen_at=now)

    def _refresh(self) -> None:
        if self._lake.exists(WORKER_STATE.name):
            self._states = self._lake.reopened(WORKER_STATE.name, self._states)

    def _heartbeat(self, worker: str) -> int | None:
        return None if self._states is None else self._states.transaction_version(worker)

    def _judge(self, worker: str, sign: _Sign, now: float) -> Dead | None:
        holder = holder_of(self._folder, worker)
        silent = now - sign.seen_at
        if holder is not Holder.DEAD and silent < self._lease_seconds:
            return None
        return Dead(worker=worker, epoch=sign.epoch, holder=holder, silent_seconds=round(silent, 3))
