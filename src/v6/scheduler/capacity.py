"""Whether the schedules fit the gateway's limits, with the arithmetic written out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from v6.data.ib_request import REQUESTS
from v6.data.lake import Lake
from v6.scheduler.schedule import Schedule
from v6.scheduler.triggers import WhileOpen

# Contracts of a whole cycle as planned for; what the last cycles really had replaces them.
PLANNED_CONTRACTS = {"SPY": 2400, "QQQ": 1800, "IWM": 1200}
USUAL_CONTRACTS = 1000
EXPIRING_SHARE = 0.05  # of a cycle's contracts, those that expire today
MESSAGES_A_CONTRACT = 2  # market data and its cancel
CHAIN_OVERHEAD = 20  # contract details, option parameters, one enumeration an expiry, the spot
MESSAGES = {"futures_snapshot": 3, "position_update": 2, "market_bars": 2}
CHAINS_READ = 100
USABLE = 0.95  # what pacing reaches of a limit


@dataclass(frozen=True, kw_only=True, slots=True)
class Load:
    """What one schedule asks of the gateway while its market is open."""

    schedule: Schedule
    messages_a_slot: float
    minutes: float

    @property
    def messages_a_second(self) -> float:
        """Averaged over the schedule's period."""
        return self.messages_a_slot / (self.minutes * 60)

    def describe(self) -> str:
        """The arithmetic in words."""
        return (
            f"{self.schedule.id} {self.messages_a_slot:,.0f} messages every {self.minutes:g} min "
            f"= {self.messages_a_second:.1f}/s"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Capacity:
    """All loads together against the limit, in messages per second."""

    loads: Sequence[Load]
    limit: float

    @property
    def needed(self) -> float:
        """Messages per second while every market is open."""
        return sum(load.messages_a_second for load in self.loads)

    @property
    def fits(self) -> bool:
        """True when pacing can serve it."""
        return self.needed <= self.limit * USABLE

    def describe(self) -> str:
        """The arithmetic on one line."""
        parts = "; ".join(load.describe() for load in self.loads) or "nothing recurs within the session"
        verdict = "fits" if self.fits else "does not fit: ask less often, for fewer expiries, or with more lines"
        return (
            f"{parts}; together {self.needed:.1f} of {self.limit:g} messages/s "
            f"({self.needed / self.limit:.0%}, usable {USABLE:.0%}): {verdict}"
        )


def capacity_of(
    schedules: Sequence[Schedule], *, market_data_lines: int, contracts: Mapping[str, int] | None = None
) -> Capacity:
    """What recurs within the session. ``contracts`` is how many a schedule and symbol had last, by ``id/symbol``."""
    loads = [
        Load(schedule=s, messages_a_slot=_messages(s, contracts or {}), minutes=s.trigger.minutes)
        for s in schedules
        if isinstance(s.trigger, WhileOpen)
    ]
    return Capacity(loads=loads, limit=market_data_lines / 2)


def recent_contracts(lake: Lake, schedules: Sequence[Schedule]) -> dict[str, int]:
    """How many contracts the newest chain of each schedule and symbol had, by ``id/symbol``."""
    prefixes = [s.id for s in schedules if s.request_type == "option_chain"]
    done = lake.scan(REQUESTS).filter(
        pl.col("status") == "SUCCESS",
        pl.col("request_type") == "option_chain",
        pl.col("idempotency_key").str.split("/").list.get(1, null_on_oob=True).is_in(prefixes),
    )
    newest = done.sort("created_at").unique(["idempotency_key"], keep="last", maintain_order=True).tail(CHAINS_READ)
    found = {}
    for key, result in newest.select("idempotency_key", "result_data").collect().iter_rows():
        _, schedule_id, symbol, _ = key.split("/")
        found[f"{schedule_id}/{symbol}"] = int(json.loads(result or "{}").get("contracts", 0))
    return {name: count for name, count in found.items() if count}


def _messages(schedule: Schedule, contracts: Mapping[str, int]) -> float:
    if schedule.request_type != "option_chain":
        months = len(schedule.parameters.get("months") or ()) or schedule.months or 1
        return MESSAGES.get(schedule.request_type, 2) * len(schedule.symbols) * months
    return sum(_chain_messages(schedule, symbol, contracts) for symbol in schedule.symbols)


def _chain_messages(schedule: Schedule, symbol: str, contracts: Mapping[str, int]) -> float:
    last = contracts.get(f"{schedule.id}/{symbol}")
    if last is None:
        share = EXPIRING_SHARE if schedule.parameters.get("dte_max") == 0 else 1.0
        last = int(PLANNED_CONTRACTS.get(symbol, USUAL_CONTRACTS) * share)
        last = min(last, schedule.parameters.get("max_contracts") or last)
    return last * MESSAGES_A_CONTRACT + CHAIN_OVERHEAD
