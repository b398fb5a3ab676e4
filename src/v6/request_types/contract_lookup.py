"""Contract details, asked once a trading day: kept in memory, and in the contract master for the next process."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import fields
from datetime import date, datetime
from typing import Any

import polars as pl

from v6.data.contracts import CONTRACTS
from v6.request_types.base import Contract, ContractDetails, Gateway, Job
from v6.request_types.rows import frame_of

_CONTRACT_COLUMNS = (
    "con_id", "symbol", "sec_type", "expiry", "strike", "right", "multiplier", "exchange", "primary_exchange",
    "currency", "local_symbol", "trading_class",
)  # fmt: skip
_DETAIL_COLUMNS = (
    "min_tick", "contract_month", "long_name", "under_con_id", "under_symbol", "time_zone_id", "trading_hours",
    "liquid_hours",
)  # fmt: skip


class DailyContracts:
    """The answers of one trading day. Whoever fetches takes what is new along as rows of the contract master."""

    def __init__(self) -> None:
        self._answers: dict[tuple[str, str, date], Sequence[ContractDetails]] = {}
        self._new: dict[str, list[pl.DataFrame]] = {}
        self._asking: dict[tuple[str, str, date], asyncio.Lock] = {}

    async def find(self, job: Job[Any], gateway: Gateway, contract: Contract, day: date) -> Sequence[ContractDetails]:
        """Every contract that fits, as the gateway listed it on that day. Raises GatewayError as the gateway does."""
        asked = question(contract)
        key = (gateway.account, asked, day)
        async with self._one_at_a_time(key):
            if key not in self._answers:
                self._answers[key] = await self._look_up(job, gateway, contract, asked, day)
            return self._answers[key]

    async def _look_up(
        self, job: Job[Any], gateway: Gateway, contract: Contract, asked: str, day: date
    ) -> Sequence[ContractDetails]:
        self._forget_days_before(day)
        stored = await job.contracts.answer(asked, day)
        if not stored.is_empty():
            return [details_of(row) for row in stored.iter_rows(named=True)]
        listed = await gateway.contract_details(contract)
        frame = await asyncio.to_thread(_frame_of_answer, listed, asked, job.clock.now(), day)
        self._new.setdefault(job.request_id, []).append(frame)
        return listed

    def take_new(self, job: Job[Any]) -> Mapping[str, pl.DataFrame]:
        """What this request was the first to ask today, as a side table."""
        frames = self._new.pop(job.request_id, [])
        return {CONTRACTS.name: pl.concat(frames, rechunk=False)} if frames else {}

    @asynccontextmanager
    async def _one_at_a_time(self, key: tuple[str, str, date]) -> Any:
        lock = self._asking.setdefault(key, asyncio.Lock())
        try:
            async with lock:
                yield
        finally:
            if not lock.locked():
                self._asking.pop(key, None)

    def _forget_days_before(self, day: date) -> None:
        for key in [key for key in self._answers if (day - key[2]).days > 1]:
            del self._answers[key]


def _frame_of_answer(listed: Sequence[ContractDetails], asked: str, at: datetime, day: date) -> pl.DataFrame:
    same = {"asked": asked, "answer_size": len(listed), "timestamp": at, "date": day}
    return frame_of(CONTRACTS, [{**row_of(details), **same} for details in listed])


def question(contract: Contract) -> str:
    """A contract as it is asked for, as one text: what was left empty is left out."""
    given = ((one.name, getattr(contract, one.name)) for one in fields(contract))
    return " ".join(f"{name}={value}" for name, value in given if value not in ("", None, 0))


def row_of(details: ContractDetails) -> dict[str, Any]:
    """The columns of the contract master that tell the contract."""
    contract = {name: getattr(details.contract, name) for name in _CONTRACT_COLUMNS}
    more = {name: getattr(details, name) for name in _DETAIL_COLUMNS}
    return {name: None if value in ("", 0) else value for name, value in {**contract, **more}.items()}


def details_of(row: Mapping[str, Any]) -> ContractDetails:
    """The details that a row tells."""
    contract = Contract(**_without_nulls(row, _CONTRACT_COLUMNS))
    needed = dict.fromkeys(("contract_month", "time_zone_id", "trading_hours", "liquid_hours"), "")
    return ContractDetails(contract=contract, **{"min_tick": 0.0, **needed, **_without_nulls(row, _DETAIL_COLUMNS)})


def _without_nulls(row: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: row[name] for name in names if row[name] is not None}
