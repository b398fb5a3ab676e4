"""A lake and what was served to it, side by side, as the checks read them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path

import polars as pl
from tests.drills.served import Fetch, Served

from v6.clock import ClockSetting
from v6.data.futures_snapshots import FUTURES_SNAPSHOTS
from v6.data.ib_request import REQUESTS, IBRequest, RequestStatus
from v6.data.market_bars import MARKET_BARS
from v6.data.option_snapshots import OPTION_SNAPSHOTS
from v6.data.position_updates import POSITION_UPDATES
from v6.data.queue_log import requests_of
from v6.data.table_spec import TableSpec

QUOTES = (OPTION_SNAPSHOTS, FUTURES_SNAPSHOTS)
RESULTS = (*QUOTES, MARKET_BARS, POSITION_UPDATES)
BAR_WORDS = ("end", "bar_size", "duration", "regular_hours", "what_to_show")
# Machine time for which a message may be on its way, either way, when the machine is busy.
ON_THE_WAY = timedelta(seconds=2)
FOR_EVER = datetime(9000, 1, 1, tzinfo=UTC)

Finding = tuple[str, str]  # its kind, and what was found


@dataclass(frozen=True, kw_only=True)
class LakeState:
    """The rows of a lake, the fetches of its gateways, and the clock that they lived by."""

    lake: Path
    served: Served
    clock: ClockSetting

    def rows(self, spec: TableSpec) -> pl.DataFrame:
        """All rows of a table; none where it is absent."""
        if spec.name not in self._rows:
            path = self.lake / spec.name
            self._rows[spec.name] = pl.read_delta(str(path)) if (path / "_delta_log").is_dir() else spec.empty()
        return self._rows[spec.name]

    @cached_property
    def _rows(self) -> dict[str, pl.DataFrame]:
        return {}

    @cached_property
    def histories(self) -> dict[str, list[IBRequest]]:
        """Every request's rows, by revision."""
        found: dict[str, list[IBRequest]] = defaultdict(list)
        for row in requests_of(self.rows(REQUESTS).sort("revision", "created_at")):
            found[row.request_id].append(row)
        return dict(found)

    @cached_property
    def last(self) -> dict[str, IBRequest]:
        """Every request's state."""
        return {request_id: rows[-1] for request_id, rows in self.histories.items()}

    def of_type(self, request_type: str) -> Iterator[tuple[str, IBRequest]]:
        """The requests of one type that succeeded."""
        for request_id, request in self.last.items():
            if request.request_type == request_type and request.status is RequestStatus.SUCCESS:
                yield request_id, request

    def is_folded(self, request_id: str) -> bool:
        """Whether only its last row is left: then nobody knows when it was claimed."""
        return self.histories[request_id][0].revision > 0

    def claims(self, request_id: str) -> list[tuple[datetime, datetime]]:
        """From when to when a request was claimed, in clock time."""
        rows = self.histories[request_id]
        ends = [*(row.updated_at for row in rows[1:]), FOR_EVER]
        return [
            (row.updated_at, end) for row, end in zip(rows, ends, strict=True) if row.status is RequestStatus.PROCESSING
        ]

    @cached_property
    def landed(self) -> dict[str, dict[int, datetime]]:
        """When the rows of each request and contract were handed to the lake, in clock time."""
        found: dict[str, dict[int, datetime]] = defaultdict(dict)
        for spec in RESULTS:
            once = self.rows(spec).group_by("request_id", "con_id").agg(pl.col("known_at").max())
            for request_id, con_id, known_at in once.iter_rows():
                found[request_id][con_id] = self._clock_time(known_at)
        return dict(found)

    def _clock_time(self, machine: datetime) -> datetime:
        return self.clock.origin + (machine - self.clock.anchor) * self.clock.speed

    def bar_fetches(self, request: IBRequest) -> list[Fetch]:
        """Those that ask for the very bars of a request with a duration that one answer covers."""
        wanted = {"bar_size": "1 day", "what_to_show": "TRADES", "regular_hours": True, **request.parameters}
        end = datetime.fromisoformat(wanted["end"]).strftime("%Y%m%d-%H:%M:%S") if wanted.get("end") else ""
        regular = "1" if wanted["regular_hours"] else "0"
        words = (end, wanted["bar_size"], wanted.get("duration"), regular, wanted["what_to_show"])
        symbols = self.served.symbols
        return [f for f in self._bar_fetches.get(words, ()) if symbols.get(f.con_id) == request.symbol]

    @cached_property
    def _bar_fetches(self) -> dict[tuple[str | None, ...], list[Fetch]]:
        found: dict[tuple[str | None, ...], list[Fetch]] = defaultdict(list)
        for fetch in self.served.of_kind("bars"):
            found[tuple(fetch.asked[word] for word in BAR_WORDS)].append(fetch)
        return dict(found)
