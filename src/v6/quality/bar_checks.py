"""Checks of market_bars: the rows of a date, beside those of the days before it."""

from __future__ import annotations

import polars as pl

from v6.data.market_bars import KEY, MARKET_BARS, VALUES
from v6.quality.check import Action, Check, found, number

SERIES = ("con_id", "sec_type", "bar_size", "what_to_show", "regular_hours")
SERIES_TEXT = pl.concat_str("bar_size", pl.lit(" "), "what_to_show")
SPIKE_RANGES = 10.0
FEWEST = 20  # bars of a series before they can judge one of them
TRADED = ("TRADES", "ADJUSTED_LAST")


def impossible(rows: pl.DataFrame) -> pl.DataFrame:
    """Low above open, close or high, high below one of them, a price of zero or less, or a volume below zero; only
    bars of prices are judged. ``value`` is high less low in currency."""
    prices = rows.filter("day", ~pl.col("what_to_show").str.contains("VOLATILITY"))
    body = [pl.col("open"), pl.col("close")]
    wrong = prices.filter(
        (pl.col("low") > pl.min_horizontal(*body, "high"))
        | (pl.col("high") < pl.max_horizontal(*body))
        | (pl.min_horizontal("open", "high", "low", "close") <= 0)
        | (pl.col("volume") < 0)
    )
    detail = pl.format("open {} high {} low {} close {}", *(number(n) for n in ("open", "high", "low", "close")))
    return found(wrong, value=pl.col("high") - pl.col("low"), detail=detail, series=SERIES_TEXT)


def spike(rows: pl.DataFrame) -> pl.DataFrame:
    """High or low lies further from the closes of the bars before and after it, and from its own open and close,
    than ten times the median range of the series. ``value`` is that distance in currency. Nothing is found of
    series with fewer than 20 bars."""
    last = _current(rows).sort(*SERIES, "timestamp")
    beside = last.with_columns(
        before=pl.col("close").shift(1).over(SERIES),
        after=pl.col("close").shift(-1).over(SERIES),
        usual=(pl.col("high") - pl.col("low")).median().over(SERIES),
        count=pl.len().over(SERIES),
    )
    calm = ("before", "after", "open", "close")
    up = pl.col("high") - pl.max_horizontal(*calm)
    down = pl.min_horizontal(*calm) - pl.col("low")
    away = beside.with_columns(away=pl.max_horizontal(up, down))
    wrong = away.filter("day", pl.col("count") >= FEWEST, pl.col("away") > SPIKE_RANGES * pl.col("usual"))
    detail = pl.format("high {} low {} where bars range over {}", number("high"), number("low"), number("usual"))
    return found(wrong, value=pl.col("away"), detail=detail, series=SERIES_TEXT)


def no_volume(rows: pl.DataFrame) -> pl.DataFrame:
    """A finished bar of trades in regular hours without volume, of a series that has volume at other times.
    ``value`` is its close in currency."""
    traded = _current(rows).filter(pl.col("what_to_show").is_in(TRADED), pl.col("regular_hours"), pl.col("is_final"))
    busy = traded.with_columns(busy=(pl.col("volume").median().over(SERIES)) > 0)
    wrong = busy.filter("day", "busy", pl.col("volume").fill_null(0) == 0)
    return found(wrong, value=pl.col("close"), detail=pl.lit("no volume"), series=SERIES_TEXT)


def duplicate(rows: pl.DataFrame) -> pl.DataFrame:
    """A bar that was written again without a change. ``value`` is which writing it is."""
    ordered = rows.filter("day").sort("known_at", "request_id", maintain_order=True)
    same = pl.all_horizontal(pl.col(name).eq_missing(pl.col(name).shift().over(KEY)) for name in VALUES)
    nth = pl.int_range(1, pl.len() + 1).over(KEY)
    wrong = ordered.with_columns(same=same, nth=nth).filter(pl.col("nth") > 1, "same")
    return found(wrong, value=pl.col("nth"), detail=pl.lit("written again unchanged"), series=SERIES_TEXT)


def _current(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.sort("is_final", "known_at", "request_id").unique(KEY, keep="last", maintain_order=True)


BAR_CHECKS = tuple(
    Check(name=name, table=MARKET_BARS.name, action=action, find=find)
    for name, action, find in (
        ("impossible", Action.QUARANTINE, impossible),
        ("spike", Action.QUARANTINE, spike),
        ("duplicate", Action.FLAG, duplicate),
        ("no_volume", Action.FLAG, no_volume),
    )
)
