"""Values of older tables as ours: each converter takes a column of whatever type and gives one of the type we store.

What cannot be read becomes null, and the caller tells that from what was null before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import polars as pl

from v6.data.table_spec import UTC_MICROSECONDS

Convert = Callable[[pl.Series], pl.Series]
DAY_FORMATS = ("%Y%m%d", "%Y-%m-%d", "%Y/%m/%d", "%m/%d/%Y", "%d-%b-%Y")
INSTANT_FORMATS = (
    *("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y%m%d %H:%M:%S", "%Y%m%d  %H:%M:%S"),
    *("%Y%m%d-%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d", "%Y%m%d"),
)
ZONED_FORMATS = ("%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f%#z")
RIGHTS = {"c": "C", "call": "C", "calls": "C", "p": "P", "put": "P", "puts": "P"}
TRUTHS = {
    "true": True,
    "t": True,
    "1": True,
    "yes": True,
    "y": True,
    "false": False,
    "f": False,
    "0": False,
    "no": False,
}
EPOCH_UNITS = ((10**11, 10**6), (10**14, 10**3), (10**17, 1))  # below this: so many microseconds each


def convert(series: pl.Series, column: str, dtype: pl.DataType, zone: str) -> pl.Series:
    """A column of ours, of that type, of whatever the source has; ``zone`` is that of naive times."""
    try:
        return _converter(column, dtype, zone)(series).alias(column)
    except pl.exceptions.PolarsError:  # a list, a struct, bytes: nothing of it can be read
        return pl.Series(column, [None] * len(series), dtype)


def unreadable(given: pl.Series, made: pl.Series) -> pl.Series:
    """True where something was there and could not be read; blank texts and NaN are nothing."""
    is_something = given.is_not_null()
    if given.dtype == pl.String:
        is_something &= given.str.strip_chars() != ""
    elif given.dtype.is_float():
        is_something &= given.is_not_nan()
    return (is_something & made.is_null()).fill_null(value=False).alias(made.name)


def _converter(column: str, dtype: pl.DataType, zone: str) -> Convert:
    if column in SPECIAL:
        return SPECIAL[column]
    if dtype == UTC_MICROSECONDS:
        return lambda series: _instant(series, zone)
    if dtype == pl.Date:
        return _day
    if dtype == pl.Boolean:
        return _truth
    if dtype == pl.String:
        return _text
    return lambda series: _number(series, dtype)


def _text(series: pl.Series) -> pl.Series:
    text = series.cast(pl.String).str.strip_chars()
    return text.set(text == "", None)


def _number(series: pl.Series, dtype: pl.DataType) -> pl.Series:
    numbers = series.cast(pl.Float64, strict=False) if series.dtype != pl.Boolean else series.cast(pl.Int8)
    finite = pl.select(pl.when(numbers.cast(pl.Float64).is_finite()).then(numbers.cast(pl.Float64))).to_series()
    return finite.cast(dtype, strict=False).alias(series.name)


def _truth(series: pl.Series) -> pl.Series:
    if series.dtype == pl.Boolean:
        return series
    text = series.cast(pl.Int64, strict=False) if series.dtype.is_numeric() else series
    return text.cast(pl.String).str.to_lowercase().replace_strict(TRUTHS, default=None, return_dtype=pl.Boolean)


def _right(series: pl.Series) -> pl.Series:
    text = series.cast(pl.String).str.strip_chars().str.to_lowercase()
    return text.replace_strict(RIGHTS, default=None, return_dtype=pl.String)


def _month(series: pl.Series) -> pl.Series:
    """YYYYMM of that, of YYYY-MM, or of a day; the number of a month alone says too little."""
    text = _text(series).str.replace_all("-", "", literal=True)
    return text.str.extract(r"^((?:19|20)\d{2}(?:0[1-9]|1[0-2]))(?:\d{2})?(?:\.0)?$")


def _day(series: pl.Series) -> pl.Series:
    if series.dtype == pl.Date:
        return series
    if series.dtype.is_temporal():
        return series.dt.date()
    if series.dtype.is_float():
        series = series.cast(pl.Int64, strict=False)
    text = series.cast(pl.String).str.strip_chars()
    tries = [text.str.to_date(form, strict=False) for form in DAY_FORMATS]
    return _first(tries, series.name)


def _instant(series: pl.Series, zone: str) -> pl.Series:
    dtype = series.dtype
    if isinstance(dtype, pl.Datetime):
        return series.dt.convert_time_zone("UTC").dt.cast_time_unit("us") if dtype.time_zone else _placed(series, zone)
    if dtype == pl.Date:
        return series.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")  # a day, not an hour of some place
    if dtype.is_numeric():
        return _epoch(series)
    text = series.cast(pl.String).str.strip_chars().str.replace(r"Z$", "+00:00")
    zoned = [text.str.to_datetime(form, time_unit="us", time_zone="UTC", strict=False) for form in ZONED_FORMATS]
    naive = [_placed(text.str.to_datetime(form, time_unit="us", strict=False), zone) for form in INSTANT_FORMATS]
    return _first([*zoned, *naive], series.name)


def _placed(series: pl.Series, zone: str) -> pl.Series:
    """Naive times as instants. Of an hour that comes twice the first; an hour that never was is null."""
    local = series.dt.cast_time_unit("us").dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    return local.dt.convert_time_zone("UTC")


def _epoch(series: pl.Series) -> pl.Series:
    """Seconds, milliseconds, microseconds or nanoseconds since 1970, told apart by their size."""
    numbers = series.cast(pl.Float64, strict=False)
    micros = numbers // 1000  # nanoseconds
    frame = pl.DataFrame({"n": numbers, "us": micros})
    scaled = pl.col("us")
    for limit, factor in reversed(EPOCH_UNITS):
        scaled = pl.when(pl.col("n").abs() < limit).then(pl.col("n") * factor).otherwise(scaled)
    return frame.select(scaled.cast(pl.Int64, strict=False).cast(UTC_MICROSECONDS)).to_series().alias(series.name)


def _first(tries: list[pl.Series], name: str) -> pl.Series:
    frame = pl.DataFrame([series.alias(str(number)) for number, series in enumerate(tries)])
    return frame.select(pl.coalesce(pl.all())).to_series().alias(name)


SPECIAL: Mapping[str, Convert] = {"right": _right, "contract_month": _month}
