"""``vol_surfaces``: the smile of every expiry as the five numbers of an SVI, one row a symbol, date and expiry.

A day that is derived again has newer rows where something changed; readers see the last.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import ClassVar

import polars as pl

from v6.data import columns
from v6.data.columns import number
from v6.data.table import Table, equals, known_by, last_known, on_dates
from v6.data.table_spec import Column, TableSpec

KEY = ("symbol", "date", "expiry")
NOT_FITTED = "it could not be fitted; quality says why"


def _fitted(name: str, description: str, unit: str = "1") -> Column:
    return number(name, description, unit, NOT_FITTED)


VOL_SURFACES = TableSpec(
    name="vol_surfaces",
    description="Smiles by expiry: total variance w(k) = a + b (rho (k - m) + sqrt((k - m)² + sigma²)), k = ln(K / F).",
    columns=(
        Column(
            name="timestamp",
            dtype=columns.TIMESTAMP.dtype,
            description="when the expiry's quotes came: the median (clock time)",
            unit="UTC",
        ),
        columns.SYMBOL,
        Column(name="expiry", dtype=pl.Date, description="the last trading day"),
        Column(name="years", dtype=pl.Float64, description="from the quotes to the expiry", unit="years of 365 days"),
        _fitted("spot", "the underlying's price while the quotes came: the median", "currency"),
        _fitted("forward", "the forward price that put-call parity implies", "currency"),
        _fitted("discount", "what 1 at the expiry is worth, by the implied rate"),
        _fitted("a", "SVI: level of total variance"),
        _fitted("b", "SVI: slope of the wings"),
        _fitted("rho", "SVI: tilt"),
        _fitted("m", "SVI: where the smile is centred, ln(K / F)"),
        _fitted("sigma", "SVI: how round the smile is, ln(K / F)"),
        Column(
            name="kind",
            dtype=pl.String,
            description="which bounds kept butterfly arbitrage out: svi, or ssvi where only its bounds did",
            null_means=NOT_FITTED,
        ),
        _fitted("k_min", "ln(K / F) of the lowest strike that was fitted"),
        _fitted("k_max", "ln(K / F) of the highest strike that was fitted"),
        Column(name="n_quotes", dtype=pl.Int64, description="how many quotes were fitted", unit="quotes"),
        _fitted("rms_error", "root mean square of the fit's errors within two standard deviations", "1/year"),
        _fitted("least_density", "the least of Durrleman's g: below 0 would be butterfly arbitrage"),
        Column(
            name="calendar_violations",
            dtype=pl.Int64,
            description="at how many of 41 strikes the total variance is below that of the fitted expiry before",
            unit="strikes",
            null_means="it could not be fitted, or no fitted expiry is nearer",
        ),
        Column(name="quality", dtype=pl.String, description="ok, or in a few words what limits the fit"),
        *columns.PROVENANCE,
        columns.DATE,
    ),
    partition_by=("symbol",),
    sort_by=("date", "expiry"),
    key=KEY,
)
_VALUES = [name for name in VOL_SURFACES.schema if name not in (*KEY, "request_id", "known_at")]


class VolSurfacesTable(Table):
    """Smiles by key; ``prepare`` keeps only what is new or different."""

    spec: ClassVar[TableSpec] = VOL_SURFACES

    def prepare(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The rows whose values are not the current ones already."""
        rows = super().prepare(frame)
        if rows.is_empty() or not self.lake.exists(self.spec.name):
            return rows
        symbols, days = rows["symbol"].unique().to_list(), rows["date"].unique().to_list()
        stored = self.scan().filter(pl.col("symbol").is_in(symbols), pl.col("date").is_in(days))
        same = [*KEY, *_VALUES]
        return rows.join(last_known(stored, KEY).select(same).collect(), on=same, how="anti", nulls_equal=True)

    def current(
        self,
        *,
        symbol: str | None = None,
        start: date | None = None,
        end: date | None = None,
        as_of: datetime | None = None,
    ) -> pl.LazyFrame:
        """One row a symbol, date and expiry: the last one known, for start <= date < end, in key order."""
        rows = self.scan().filter(*equals(symbol=symbol), *on_dates(start, end), *known_by(as_of))
        return last_known(rows, KEY).sort(KEY)

    def newest_date(self, symbol: str, *, as_of: datetime | None = None) -> date | None:
        """The last trading date of which the symbol has smiles; None where it has none."""
        rows = self.scan().filter(*equals(symbol=symbol), *known_by(as_of))
        newest: date | None = rows.select(pl.col("date").max()).collect().item()
        return newest
