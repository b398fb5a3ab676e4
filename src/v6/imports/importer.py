"""The import of one table: file by file, each in one commit, nothing twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import polars as pl

from v6.clock import Clock
from v6.data.lake import Lake
from v6.data.table import Table, tables
from v6.data.table_writer import SEQUENCE_BITS, TableWriter
from v6.errors import UsageError
from v6.imports.fitting import IDENTITY, Fitted, Fitting, Options, guessed_table
from v6.imports.rejects import Rejects
from v6.imports.source import SourceFile, SourceTable

APP_ID = "import"


@dataclass(kw_only=True)
class Tally:
    """What became of the rows of a source; ``nulls`` and ``reasons`` count rows by column and by reason, ``unreadable``
    values by column that could not be read in rows that fit; ``example`` is one of them."""

    files: int = 0
    read: int = 0
    imported: int = 0
    there: int = 0
    rejected: int = 0
    nulls: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    unreadable: Counter[str] = field(default_factory=Counter)
    example: dict[str, str] = field(default_factory=dict)

    def note(self, frame: pl.DataFrame, fitted: Fitted) -> None:
        """Count the rows of one file."""
        self.files += 1
        self.read += frame.height
        self.rejected += fitted.rejects.height
        self.nulls.update({name: fitted.rows[name].null_count() for name in fitted.rows.columns})
        self.reasons.update(fitted.rejects["reason"].to_list())
        for name, (count, value) in fitted.unreadable.items():
            self.unreadable[name] += count
            self.example.setdefault(name, value)


class Importer:
    """Imports one source into one table of a lake."""

    def __init__(self, lake: Lake, url: str, *, table: str | None, options: Options, clock: Clock) -> None:
        """Look at the source and find where its columns go.

        Raises:
            UsageError: there is no such table, or a column that is needed cannot be had.
            LakeError: the source cannot be read.
        """
        self.source = SourceTable(url)
        columns = self.source.columns()
        self.table = table or guessed_table(columns, self.source.name)
        if self.table not in IDENTITY:
            raise UsageError(f"{self.table} is no table to import into: choose {', '.join(IDENTITY)}")
        self._lake = lake
        self._clock = clock
        self._class: type[Table] = tables()[self.table]
        self.fitting = Fitting(self._class.spec, columns, options)

    def look(self) -> Tally:
        """Convert every row and write nothing. Blocks."""
        tally = Tally()
        for _, rows, _ in self._fitted(tally):
            tally.imported += rows.height
        return tally

    def run(self, rejects: Rejects) -> Tally:
        """Import what is not there yet; what does not fit goes to ``rejects``, a line a row. Blocks.

        Raises:
            UsageError: the file for what does not fit cannot be written.
            LakeError: the lake cannot be written; what was imported stays, and the next run goes on from there.
            LeaseLost: another import of this lake began; this one has stopped.
        """
        tally = Tally()
        table = self._class(self._lake, clock=self._clock)
        last = self._lake.ensure(self._class.spec).transaction_version(APP_ID) or 0
        epoch = max(int(self._clock.machine_now().timestamp()), (last >> SEQUENCE_BITS) + 1)
        writer = TableWriter(self._lake, self._class.spec, app_id=APP_ID, epoch=epoch)
        for _, rows, unfit in self._fitted(tally):
            news = self._new(rows)
            with self._lake.reading(self.table):
                news = table.prepare(news)
            if news.height:
                writer.append(news)
            tally.imported += news.height
            tally.there += rows.height - news.height
            rejects.add(self.source.url, unfit)
        return tally

    def _fitted(self, tally: Tally) -> Iterator[tuple[SourceFile, pl.DataFrame, pl.DataFrame]]:
        now = self._clock.machine_now()
        for file in self.source.files():
            frame = self.source.read(file)
            fitted = self.fitting.fit(frame, file=f"{self.source.id}/{file.path}", now=now)
            tally.note(frame, fitted)
            yield file, fitted.rows, fitted.rejects

    def _new(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows that are neither in the lake nor twice in the file: of those the one that was known last."""
        identity = list(IDENTITY[self.table])
        once = rows.sort("known_at", maintain_order=True).unique(identity, keep="last", maintain_order=True)
        if once.is_empty() or not self._lake.exists(self.table):
            return once
        days = pl.col("date").is_in(once["date"].unique().to_list())
        with self._lake.reading(self.table):
            stored = self._lake.scan(self._class.spec).filter(days).select(identity).unique().collect()
        return once.join(stored, on=identity, how="anti", nulls_equal=True, maintain_order="left")
