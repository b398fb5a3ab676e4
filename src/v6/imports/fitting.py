"""Rows of a source as rows of one of our tables: what is taken from where, what is null and why, what does not fit."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from v6.data.table_spec import Column, TableSpec
from v6.errors import UsageError
from v6.imports.conversion import convert, unreadable
from v6.imports.names import matched, plain

NAMESPACE = uuid.UUID("0c9b3b0e-6f2b-5c56-9a51-6f6d8a7e5b11")
SENSITIVITIES = ("delta", "gamma", "theta", "vega")
PRICES = ("bid", "ask", "last", "bid_size", "ask_size", "last_size", "volume", "open_interest", "model_price")
IDENTITY = {
    "option_snapshots": ("symbol", "expiry", "strike", "right", "timestamp"),
    "futures_snapshots": ("symbol", "expiry", "timestamp"),
    "market_bars": ("con_id", "sec_type", "bar_size", "what_to_show", "regular_hours", "timestamp"),
}
MADE = {
    "con_id": "made of the contract's terms, negative",
    "cycle": "made of symbol and minute",
    "request_id": "one for each file of the source",
    "known_at": "now",
    "date": "trading date of the timestamp, New York",
    "market_data_type_requested": "unknown",
    "is_front_month": "the nearest expiry of that moment",
    "sec_type": "FUT with an expiry, else STK",
    "what_to_show": "TRADES",
    "regular_hours": "true",
    "is_final": "true",
    "missing": "what is null, and why",
}
NEW_YORK = "America/New_York"
ABSENT = "the imported table has no such column"
WITHOUT = "the imported table had no value"
UNREADABLE = "the imported table's value could not be read"


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What a person may say about a source: the zone of naive times, columns by name, and constant values."""

    zone: str = "UTC"
    chosen: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Mapped:
    """Where one column comes from. ``source`` is empty where it is made or null; ``how`` says so in words."""

    column: str
    source: str
    how: str


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """The rows that fit, and those that do not, each with a ``reason``.

    ``unreadable`` are values that were there, could not be read and are null in rows that fit: how many by column, and
    one of them.
    """

    rows: pl.DataFrame
    rejects: pl.DataFrame
    unreadable: Mapping[str, tuple[int, str]]


class Fitting:
    """Fits rows of one source to one table."""

    def __init__(self, spec: TableSpec, source: Mapping[str, str], options: Options) -> None:
        """``source`` are names and types. Raises UsageError when a column that is needed cannot be had."""
        self.spec = spec
        self._options = options
        self._sources = matched(
            [c.name for c in spec.columns if c.name not in options.constants], source, options.chosen
        )
        if spec.name == "market_bars" and "timestamp" not in self._sources and "date" in self._sources:
            self._sources["timestamp"] = self._sources.pop("date")
        self._types = source
        self._check()

    @property
    def unused(self) -> list[str]:
        """Columns of the source that are not taken."""
        return [name for name in self._types if name not in self._sources.values()]

    def mapping(self) -> list[Mapped]:
        """Every column of the table and where it comes from."""
        return [self._mapped(column) for column in self.spec.columns]

    def fit(self, frame: pl.DataFrame, *, file: str, now: datetime) -> Fitted:
        """Convert rows of one file; ``file`` names it for ever, ``now`` is machine time."""
        taken, wrong = self._converted(frame)
        made = self._made(taken, wrong, file=file, now=now)
        reasons = pl.concat_str(
            pl.when(pl.col(name).is_not_null()).then(pl.lit("")).otherwise(_why(name, wrong))
            for name in self._needed()
            if name in made.columns
        )
        marked = made.with_columns(reason=reasons)
        fits = marked["reason"] == ""
        rejects = frame.with_columns(reason=marked["reason"].str.strip_suffix("; ")).filter(~fits)
        lost = {name: frame[self._sources[name]].filter(mask & fits) for name, mask in wrong.items()}
        return Fitted(
            rows=self.spec.conform(marked.filter(fits).drop("reason")),
            rejects=rejects,
            unreadable={name: (len(values), str(values[0])) for name, values in lost.items() if len(values)},
        )

    def _check(self) -> None:
        for name, source in self._options.chosen.items():
            if name not in self.spec.schema or source not in self._types:
                raise UsageError(f"--map {name}={source}: the table has no {name}, or the source no {source}")
        unknown = [name for name in self._options.constants if name not in self.spec.schema]
        for name, text in self._options.constants.items():
            if name not in unknown and self._constant(name, text, 1)[0] is None:
                raise UsageError(f"--set {name}={text}: it cannot be read as {self.spec.schema[name]}")
        lacking = [
            name
            for name in self._needed()
            if name not in self._sources and name not in MADE and name not in self._options.constants
        ]
        if unknown or lacking:
            what = f"no column {unknown[0]} to set" if unknown else f"nothing for {', '.join(lacking)}"
            raise UsageError(
                f"the import into {self.spec.name} finds {what}: say --map {(lacking or unknown)[0]}=COLUMN or "
                f"--set {(lacking or unknown)[0]}=VALUE; the source has {', '.join(self._types)}"
            )

    def _needed(self) -> list[str]:
        return [column.name for column in self.spec.columns if not column.nullable]

    def _mapped(self, column: Column) -> Mapped:
        name = column.name
        if name in self._options.constants:
            return Mapped(column=name, source="", how=f"set to {self._options.constants[name]}")
        if name in self._sources:
            source = self._sources[name]
            return Mapped(column=name, source=source, how=f"{self._types[source]} → {column.dtype}{self._zone(name)}")
        return Mapped(column=name, source="", how=MADE.get(name, f"null: {ABSENT}"))

    def _zone(self, name: str) -> str:
        dtype = self._types[self._sources[name]]
        is_naive = "time_zone=None" in dtype or dtype == "String"
        return (
            f", naive times are {self._options.zone}" if "Datetime" in str(self.spec.schema[name]) and is_naive else ""
        )

    def _converted(self, frame: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, pl.Series]]:
        """Our columns as far as the source has them; and where in them values were there and could not be read."""
        columns, wrong = [], {}
        for name, source in self._sources.items():
            given = frame[source] if source in frame.columns else pl.Series(source, [None] * frame.height)
            made = convert(given, name, self.spec.schema[name], self._options.zone)
            mask = unreadable(given, made)
            if mask.any():
                wrong[name] = mask
            columns.append(made)
        for name, text in self._options.constants.items():
            columns.append(self._constant(name, text, frame.height))
        return _zeros_as_null(pl.DataFrame(columns)), wrong

    def _constant(self, name: str, text: str, rows: int) -> pl.Series:
        value = pl.Series(name, [text] * rows, pl.String)
        return convert(value, name, self.spec.schema[name], self._options.zone)

    def _made(self, rows: pl.DataFrame, wrong: Mapping[str, pl.Series], *, file: str, now: datetime) -> pl.DataFrame:
        """The rows with what older tables do not have."""
        needed = set(self.spec.schema)
        local = pl.col("timestamp").dt.convert_time_zone(NEW_YORK)
        makers = {
            "request_id": pl.lit(str(uuid.uuid5(NAMESPACE, file))),
            "known_at": pl.lit(now).dt.cast_time_unit("us"),
            "date": _trading_date(local, self.spec.name, rows),
            "market_data_type_requested": pl.lit("unknown"),
            "cycle": pl.concat_str(pl.lit("import:"), "symbol", pl.lit(":"), local.dt.strftime("%Y%m%dT%H%M"))
            if "symbol" in rows.columns
            else pl.lit(None, pl.String),
            "sec_type": pl.when(pl.col("expiry").is_not_null()).then(pl.lit("FUT")).otherwise(pl.lit("STK"))
            if "expiry" in rows.columns
            else pl.lit("STK"),
            "what_to_show": pl.lit("TRADES"),
            "regular_hours": pl.lit(value=True),
            "is_final": pl.lit(value=True),
        }
        for name, made in makers.items():
            if name in needed:
                known = pl.col(name) if name in rows.columns else pl.lit(None, self.spec.schema[name])
                rows = rows.with_columns(pl.coalesce(known, made).alias(name))
        if "is_front_month" in needed and "is_front_month" not in rows.columns:
            first = pl.col("expiry").min().over("symbol", "cycle")
            rows = rows.with_columns(is_front_month=pl.col("expiry") == first)
        if "con_id" in needed:
            rows = _with_con_ids(rows)
        return self._with_reasons(rows, wrong) if "missing" in needed else rows

    def _with_reasons(self, rows: pl.DataFrame, wrong: Mapping[str, pl.Series]) -> pl.DataFrame:
        """The column ``missing``: field → reason, for what did not come."""
        wanted = [c.name for c in self.spec.columns if c.null_means.startswith("it did not come")]
        parts = [
            pl.when(pl.col(name).is_not_null()).then(pl.lit("")).otherwise(_reason(name, wrong))
            if name in rows.columns
            else pl.lit(f"{json.dumps(name)}:{json.dumps(ABSENT)},")
            for name in wanted
        ]
        text = pl.concat_str(parts).str.strip_suffix(",")
        return rows.with_columns(missing=pl.when(text != "").then(pl.concat_str(pl.lit("{"), text, pl.lit("}"))))


def _why(name: str, wrong: Mapping[str, pl.Series]) -> pl.Expr:
    """Why a row without that column does not fit."""
    is_null = pl.lit(f"{name} is null; ")
    cannot = pl.lit(f"{name} cannot be read; ")
    return pl.when(wrong[name]).then(cannot).otherwise(is_null) if name in wrong else is_null


def _reason(name: str, wrong: Mapping[str, pl.Series]) -> pl.Expr:
    """One entry of ``missing``."""
    without = pl.lit(f"{json.dumps(name)}:{json.dumps(WITHOUT)},")
    could_not = pl.lit(f"{json.dumps(name)}:{json.dumps(UNREADABLE)},")
    return pl.when(wrong[name]).then(could_not).otherwise(without) if name in wrong else without


def _zeros_as_null(rows: pl.DataFrame) -> pl.DataFrame:
    """Negative prices and sizes are none; neither are sensitivities that are all 0.0, or beside a volatility of 0.0."""
    there = [name for name in PRICES if name in rows.columns]
    rows = rows.with_columns(pl.when(pl.col(name) >= 0).then(pl.col(name)).alias(name) for name in there)
    sensitivities = [name for name in SENSITIVITIES if name in rows.columns]
    without_iv = (pl.col("iv") <= 0.0).fill_null(value=False) if "iv" in rows.columns else pl.lit(value=False)
    if sensitivities:
        are_zero = pl.all_horizontal(pl.col(name).fill_null(0.0) == 0.0 for name in sensitivities)
        absent = are_zero | without_iv
        rows = rows.with_columns(pl.when(~absent).then(pl.col(name)).alias(name) for name in sensitivities)
    return rows.with_columns(pl.when(~without_iv).then(pl.col("iv")).alias("iv")) if "iv" in rows.columns else rows


def _trading_date(local: pl.Expr, table: str, rows: pl.DataFrame) -> pl.Expr:
    """The day in New York, of futures from 18:00 on the next; a weekend belongs to the Friday before."""
    if table == "market_bars" and "bar_size" in rows.columns:
        is_daily = pl.col("bar_size").str.contains(r"(?i)day|week|month|^1d$|^d$")
        return pl.when(is_daily).then(pl.col("timestamp").dt.date()).otherwise(local.dt.date())
    day = (local.dt.offset_by("6h") if table == "futures_snapshots" else local).dt.date()
    back = pl.when(day.dt.weekday() > 5).then(day.dt.weekday() - 5).otherwise(0)
    return (day.cast(pl.Int32) - back.cast(pl.Int32)).cast(pl.Date)


def _with_con_ids(rows: pl.DataFrame) -> pl.DataFrame:
    """Where the contract's id is not known, a negative one made of its terms: the same terms give the same id."""
    terms = [name for name in ("symbol", "expiry", "strike", "right", "sec_type") if name in rows.columns]
    known = pl.col("con_id") if "con_id" in rows.columns else pl.lit(None, pl.Int64)
    text = pl.concat_str([pl.col(name).cast(pl.String).fill_null("") for name in terms], separator="|")
    marked = rows.with_columns(terms=text, con_id=pl.when(known > 0).then(known))
    unknown = marked.filter(pl.col("con_id").is_null())["terms"].unique().to_list()
    made = pl.DataFrame({"terms": unknown, "made": [_made_id(t) for t in unknown]}, schema={"terms": str, "made": int})
    joined = marked.join(made, on="terms", how="left", maintain_order="left")
    return joined.with_columns(con_id=pl.coalesce("con_id", "made")).drop("terms", "made")


def _made_id(terms: str) -> int:
    return -1 - int.from_bytes(hashlib.sha256(terms.encode()).digest()[:6], "big")


def guessed_table(columns: Mapping[str, str], name: str) -> str:
    """Which of our tables a source is for, by its name or its columns. Raises UsageError when neither tells."""
    if name in IDENTITY:
        return name
    there = {plain(column) for column in columns}
    found = matched(["strike", "right", "open", "high", "low", "close", "expiry"], columns, {})
    if "strike" in found and "right" in found:
        return "option_snapshots"
    if {"open", "high", "low", "close"} <= found.keys() and "bid" not in there:
        return "market_bars"
    if "expiry" in found:
        return "futures_snapshots"
    raise UsageError(f"{name}: its columns do not tell which table it is for: say --table {'|'.join(IDENTITY)}")
