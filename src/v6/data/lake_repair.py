"""Every table of a local lake examined and, on demand, repaired, the queue first.

The queue comes first because it says what was acknowledged: the rows of a request that it calls a success must be
there, those of one that is still open are fetched again.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from v6.data.describe import specs
from v6.data.flush import MARKS
from v6.data.ib_request import REQUESTS, IBRequest, RequestStatus
from v6.data.lake import Lake
from v6.data.queue_log import current, requests_of
from v6.data.table_examination import Depth, Examination, examine_table, first_fault
from v6.data.table_repair import Acknowledged, Aside, Repaired, TableRepair
from v6.data.table_spec import TableSpec
from v6.errors import LakeError, TableDamaged

REPORT = "lost_requests.jsonl"


@dataclass(frozen=True, kw_only=True, slots=True)
class ShortRequest:
    """A finished request whose rows are not all there any more: ask for it again."""

    request: IBRequest
    table: str
    rows_lacking: int

    def __str__(self) -> str:
        """In words, with what is needed to ask again."""
        r = self.request
        asked = f"{r.request_type} {r.symbol} {r.parameters_json}, {r.created_at:%Y-%m-%d %H:%M}"
        return f"{self.rows_lacking:,} rows of request {r.request_id} ({asked})"

    def as_json(self) -> dict[str, Any]:
        """What is needed to ask again."""
        return {
            "request_id": self.request.request_id,
            "request_type": self.request.request_type,
            "symbol": self.request.symbol,
            "parameters": dict(self.request.parameters),
            "created_at": self.request.created_at.isoformat(),
            "table": self.table,
            "rows_lacking": self.rows_lacking,
        }


def examine_lake(lake: Lake, names: Collection[str] = (), *, deep: bool = False) -> Iterator[Examination]:
    """Each table, or those named, the queue first; nothing is changed. Blocks.

    Raises:
        LakeError: the lake is no local folder, a table is not in it, or a folder cannot be read.
    """
    if not lake.is_local:
        raise LakeError(f"the lake {lake.url} is an object store: its tables can be examined on a local copy only")
    for name in _queue_first(lake, names):
        try:
            yield examine_table(Path(lake.url), name, Depth.ROWS if deep else Depth.FOOTERS)
        except OSError as error:
            raise LakeError(f"the table {name} in {lake.url} cannot be read: {error}") from error


def first_damage(lake: Lake) -> TableDamaged | None:
    """What is wrong with the first table of a local lake that is damaged, by its log and footers; None without one."""
    for name in all_tables(lake) if lake.is_local else ():
        fault = first_fault(Path(lake.url), name, Depth.FOOTERS)
        if fault is not None:
            return lake.damage(name, fault)
    return None


class LakeRepair:
    """One repair of several tables; what it takes away is in ``aside``."""

    def __init__(self, lake: Lake, now: datetime) -> None:
        self._lake = lake
        self._specs: Mapping[str, TableSpec] = {spec.name: spec for spec in specs()}
        self.aside = Aside.at(Path(lake.url), now)

    def repair(self, examination: Examination) -> tuple[Repaired, list[ShortRequest]]:
        """Repair one table and name the finished requests that lack rows in it. The queue must be sound by now.

        Raises:
            LakeError: it cannot be repaired, or the queue cannot be read.
        """
        table = examination.table
        requests = {} if table == REQUESTS.name else {r.request_id: r for r in self._requests(table)}
        finished = {name: r for name, r in requests.items() if r.status is RequestStatus.SUCCESS}
        acknowledged = Acknowledged(
            rows={name: int(request.result_data.get("rows") or 0) for name, request in finished.items()},
            others=frozenset(requests.keys() - finished.keys()),
        )
        spec = self._specs.get(table)
        repaired = TableRepair(self._lake, spec, examination, aside=self.aside, acknowledged=acknowledged).run()
        short = [
            ShortRequest(request=finished[request_id], table=table, rows_lacking=rows)
            for request_id, rows in repaired.short.items()
        ]
        self._write_report(short)
        return repaired, short

    def _requests(self, table: str) -> list[IBRequest]:
        rows = current(self._lake.scan(REQUESTS)).filter(pl.col("result_table") == table)
        return requests_of(rows.collect())

    def _write_report(self, short: list[ShortRequest]) -> None:
        if short:
            self.aside.folder.mkdir(parents=True, exist_ok=True)
            with (self.aside.folder / REPORT).open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(request.as_json()) + "\n" for request in short)


def all_tables(lake: Lake) -> list[str]:
    """The tables of a local lake by name, those included that were there once and have no commit left."""
    marked = {mark.name for mark in (Path(lake.url) / MARKS).glob("*")}
    lost = [name for name in marked | {spec.name for spec in specs()} if lake.is_lost(name)]
    return sorted({*lake.table_names(), *lost})


def _queue_first(lake: Lake, names: Collection[str]) -> list[str]:
    there = all_tables(lake)
    absent = sorted(set(names) - set(there))
    if absent:
        raise LakeError(f"the lake {lake.url} has no table {', '.join(absent)}: it has {', '.join(there) or 'none'}")
    chosen = [name for name in there if not names or name in names]
    return sorted(chosen, key=lambda name: (name != REQUESTS.name, name))
