"""What the demo prints when it is done: rows of each table, the chain around the money, and the figures."""

from __future__ import annotations

from collections import Counter
from typing import Any

import polars as pl

from v6.data.lake import Lake
from v6.data.option_snapshots import OptionSnapshotsTable
from v6.data.table_summary import TableSummary, summarise
from v6.demo.runner import DemoFolder, DemoResult

LIMIT_PER_SECOND = 25.0  # 50 messages a second, two a contract
STRIKES_SHOWN = 7
CHAIN_COLUMNS = (
    "expiry",
    "strike",
    "right",
    "bid",
    "ask",
    "iv",
    "delta",
    "gamma",
    "theta",
    "vega",
    "volume",
    "open_interest",
)


def figures(result: DemoResult, folder: DemoFolder) -> dict[str, Any]:
    """Everything in numbers, for ``--json``."""
    lake = Lake(result.settings.lake)
    return {
        "seconds": round(result.seconds, 2),
        "requests": dict(Counter(str(request.status) for request in result.requests)),
        "option_rows": result.option_rows,
        "contracts_per_second": round(result.contracts_per_second, 2),
        "limit_contracts_per_second": LIMIT_PER_SECOND * result.settings.market_data_lines / 100,
        "urgent_seconds": result.urgent_seconds,
        "rows": {summary.name: summary.rows for summary in table_sizes(lake)},
        "request_ids": [request.request_id for request in result.requests],
        "clock": result.settings.clock,
        "lake": lake.url,
        "journal": str(folder.journal),
        "page": str(folder.page),
    }


def table_sizes(lake: Lake) -> list[TableSummary]:
    """Rows and size of every table."""
    return [summarise(lake, name) for name in lake.table_names()]


def around_the_money(lake: Lake, symbol: str) -> pl.DataFrame:
    """The strikes of a symbol's last chain that are nearest to the underlying's price, calls and puts."""
    chain = OptionSnapshotsTable(lake).latest_chain(symbol).collect()
    nearest = chain.with_columns(distance=(pl.col("strike") - pl.col("underlying_price").median()).abs())
    strikes = nearest.sort("distance").get_column("strike").unique(maintain_order=True).head(STRIKES_SHOWN)
    return chain.filter(pl.col("strike").is_in(strikes.implode())).select(CHAIN_COLUMNS).sort("strike", "right")
