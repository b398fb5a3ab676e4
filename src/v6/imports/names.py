"""What older tables call the columns of ours. Case, underscores and blanks do not count."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

ALIASES: Mapping[str, tuple[str, ...]] = {
    "timestamp": ("ts", "datetime", "quote_time", "snapshot_time", "snapshot_ts", "bar_time", "bar_start", "time"),
    "symbol": ("underlying", "ticker", "root", "underlying_symbol"),
    "con_id": ("contract_id", "ib_con_id"),
    "expiry": (
        *("expiration", "expiration_date", "expiry_date", "exp", "maturity", "last_trade_date"),
        "last_trade_date_or_contract_month",
    ),
    "strike": ("strike_price",),
    "right": ("option_type", "put_call", "call_put", "cp_flag", "cp", "opt_type"),
    "bid": ("bid_price",),
    "ask": ("ask_price",),
    "last": ("last_price", "price", "mark"),
    "volume": ("vol", "day_volume"),
    "open_interest": ("oi",),
    "iv": ("implied_volatility", "implied_vol", "model_iv", "impl_vol"),
    "implied_vol": ("iv", "implied_volatility"),
    "delta": ("model_delta",),
    "gamma": ("model_gamma",),
    "theta": ("model_theta",),
    "vega": ("model_vega",),
    "model_price": ("opt_price", "option_price", "theo"),
    "underlying_price": ("und_price", "spot", "underlying_last", "stock_price"),
    "bar_size": ("timeframe", "interval", "resolution", "frequency"),
    "what_to_show": ("show",),
    "regular_hours": ("use_rth", "rth"),
    "sec_type": ("security_type",),
    "wap": ("average", "vwap"),
    "trade_count": ("bar_count", "count", "trades", "num_trades"),
    "cycle": ("cycle_id", "batch_id", "snapshot_id", "run_id"),
    "known_at": ("inserted_at", "ingested_at", "loaded_at", "fetched_at", "collected_at"),
    "contract_month": ("month",),
    "date": ("trade_date", "trading_date", "trading_day"),
}


def plain(name: str) -> str:
    """A name as it is compared."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def matched(target: Iterable[str], source: Iterable[str], chosen: Mapping[str, str]) -> dict[str, str]:
    """The source's column for each of ours that has one; ``chosen`` beats the names, our own name beats an alias."""
    by_name = {plain(name): name for name in source}
    found = dict(chosen)
    for column in target:
        names = (column, *ALIASES.get(column, ()))
        free = [by_name[plain(n)] for n in names if plain(n) in by_name and by_name[plain(n)] not in found.values()]
        if column not in found and free:
            found[column] = free[0]
    return found
