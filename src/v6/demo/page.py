"""The demo's page: candles, implied volatility by strike, and futures; nothing in it is loaded from outside."""

from __future__ import annotations

from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import polars as pl

from v6.data.futures_snapshots import FuturesSnapshotsTable
from v6.data.lake import Lake
from v6.data.market_bars import MarketBarsTable
from v6.data.option_snapshots import OptionSnapshotsTable
from v6.demo.plan import DAILY, FUTURES, STOCKS
from v6.errors import SettingsError

WIDTH, HEIGHT = 760, 260
STYLE = "<style>body { margin: 24px; font-family: system-ui, sans-serif; }</style>"
UP, DOWN = "#1a7f37", "#b42318"


def check_charts() -> None:
    """Make sure that the page can be drawn, before anything is collected for it. Raises SettingsError."""
    try:
        for name in ("altair", "vl_convert"):
            import_module(name)
    except ModuleNotFoundError as error:
        raise SettingsError(f"the demo's page needs the package {error.name}: pip install 'v6[demo]'") from error


def write_page(lake: Lake, path: Path, *, as_of: datetime) -> None:
    """Write the page for the newest rows of a lake; ``as_of`` (clock time) is shown as its moment."""
    import altair as alt

    with alt.data_transformers.enable("default", max_rows=None):
        charts = [_candles(alt, lake, symbol) for symbol in STOCKS] + [_smiles(alt, lake), _futures(alt, lake)]
        title = f"v6: market data as collected, {as_of:%Y-%m-%d %H:%M} UTC (simulated)"
        # Each chart has its own colours, so that the legend stands beside the chart it belongs to.
        stack = alt.vconcat(*charts, title=alt.TitleParams(title, fontSize=18, anchor="start", offset=16), spacing=28)
        page: str = stack.resolve_scale(color="independent", shape="independent").to_html(
            inline=True, embed_options={"actions": False}
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    head = f'<html lang="en"><head><title>{title}</title>{STYLE}'
    path.write_text(page.replace("<html>\n<head>", head, 1), encoding="utf-8")


def _candles(alt: Any, lake: Lake, symbol: str) -> Any:
    table = MarketBarsTable(lake)
    bars = table.current(symbol=symbol, bar_size=DAILY["bar_size"]).select("timestamp", "open", "high", "low", "close")
    frame = bars.collect()
    base = alt.Chart(frame).encode(
        x=alt.X("timestamp:T", title=None, axis=alt.Axis(format="%b %Y")),
        tooltip=[alt.Tooltip("timestamp:T", title="date"), "open:Q", "high:Q", "low:Q", "close:Q"],
        color=alt.condition("datum.open <= datum.close", alt.value(UP), alt.value(DOWN)),
    )
    scale = alt.Scale(zero=False)
    wick = base.mark_rule().encode(y=alt.Y("low:Q", scale=scale, title="price"), y2="high:Q")
    body = base.mark_bar(size=2).encode(y=alt.Y("open:Q", scale=scale), y2="close:Q")
    return (wick + body).properties(width=WIDTH, height=HEIGHT, title=f"{symbol}: daily bars of a year")


def _smiles(alt: Any, lake: Lake) -> Any:
    options = OptionSnapshotsTable(lake)
    chains = pl.concat([options.latest_chain(symbol).collect() for symbol in STOCKS])
    frame = chains.filter(pl.col("iv").is_not_null()).select(
        moneyness=pl.col("strike") / pl.col("underlying_price"),
        iv="iv",
        line=pl.col("symbol") + " " + pl.col("expiry").dt.to_string("%Y-%m-%d"),
        right="right",
    )
    chart = alt.Chart(frame).mark_point(size=14, filled=True)
    return chart.encode(
        x=alt.X("moneyness:Q", scale=alt.Scale(zero=False), title="strike / underlying price"),
        y=alt.Y("iv:Q", axis=alt.Axis(format="%"), scale=alt.Scale(zero=False), title="implied volatility"),
        color=alt.Color("line:N", title="symbol and expiry"),
        shape=alt.Shape("right:N", title="right"),
    ).properties(width=WIDTH, height=HEIGHT, title="Implied volatility by expiry")


def _futures(alt: Any, lake: Lake) -> Any:
    table = FuturesSnapshotsTable(lake)
    rows = pl.concat([table.latest(symbol).collect() for symbol in FUTURES])
    changes = ["change_1h", "change_4h", "change_overnight", "change_daily"]
    month = pl.format("{} {}: {}", "symbol", pl.col("expiry").dt.to_string("%b %Y"), "last").alias("future")
    front = rows.filter("is_front_month").select(month, *changes)
    frame = front.unpivot(changes, index="future", variable_name="since", value_name="change")
    chart = alt.Chart(frame.with_columns(pl.col("since").str.strip_prefix("change_"))).mark_bar()
    return chart.encode(
        x=alt.X("change:Q", axis=alt.Axis(format="+.2%"), title="change"),
        y=alt.Y("since:N", sort=["1h", "4h", "overnight", "daily"], title=None),
        row=alt.Row("future:N", title=None, header=alt.Header(labelAngle=0, labelAlign="left", labelOrient="top")),
        color=alt.condition("datum.change >= 0", alt.value(UP), alt.value(DOWN)),
    ).properties(width=WIDTH, height=80, title="Futures: front month, last price and how it has changed")
