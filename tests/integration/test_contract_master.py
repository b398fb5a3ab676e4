"""The contract master: asked once a day, kept for the next process, and expired contracts stay known."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from v6.clock import ManualClock
from v6.core.stored_contracts import StoredContracts
from v6.data.contracts import ContractsTable
from v6.data.lake import Lake
from v6.request_types.base import (
    Bar,
    Completeness,
    Contract,
    ContractDetails,
    Greeks,
    Job,
    MarketDataType,
    OptionParameters,
    Position,
    Quote,
)
from v6.request_types.option_chain import OptionChain, OptionChainParameters
from v6.request_types.side_by_side import at_once

NOW = datetime(2026, 11, 23, 17, 30, tzinfo=UTC)
EXPIRIES = (date(2026, 12, 4), date(2026, 12, 18))
HOURS = "20261123:0930-20261123:1600;20261124:0930-20261124:1600"


def details(contract: Contract, under_con_id: int = 0) -> ContractDetails:
    return ContractDetails(
        contract=contract, min_tick=0.01, contract_month="", time_zone_id="US/Eastern", trading_hours=HOURS,
        liquid_hours=HOURS, under_con_id=under_con_id,
    )  # fmt: skip


class OneChain:
    """A gateway with one underlying and its options; counts what it is asked."""

    account = "SIM1"

    def __init__(self, clock: ManualClock, underlying: Contract, *, has_model: bool = True) -> None:
        self.clock = clock
        self.underlying = underlying
        self.has_model = has_model
        self.details_asked: list[Contract] = []
        self.option_type = "FOP" if underlying.sec_type == "FUT" else "OPT"

    async def contract_details(self, contract: Contract) -> Sequence[ContractDetails]:
        self.details_asked.append(contract)
        if contract.sec_type == self.underlying.sec_type:
            return [details(self.underlying)]
        assert contract.expiry is not None
        return [
            details(
                replace(
                    contract, con_id=EXPIRIES.index(contract.expiry) * 1000 + strike * 2 + (right == "P"),
                    strike=float(strike), right=right, multiplier=100.0,
                    trading_class="SPXW" if strike % 2 else "SPX",
                ),
                self.underlying.con_id,
            )
            for strike in range(95, 106) for right in "CP"
        ]  # fmt: skip

    async def option_parameters(self, underlying: ContractDetails) -> Sequence[OptionParameters]:
        return [
            OptionParameters(
                exchange="CME" if self.option_type == "FOP" else "SMART", underlying_con_id=underlying.contract.con_id,
                trading_class=name, multiplier=100.0, expiries=EXPIRIES, strikes=(100.0,),
            )
            for name in ("SPX", "SPXW")
        ]  # fmt: skip

    def line_up(self, quotes: int) -> AbstractContextManager[Callable[[], Awaitable[None]]]:
        del quotes
        return nullcontext(at_once)

    async def quote(self, contract: Contract, completeness: Completeness) -> Quote:
        del completeness
        model = Greeks(iv=0.2, delta=0.5, gamma=0.1, vega=0.1, theta=-0.1, underlying_price=100.5)
        is_option = contract.sec_type == self.option_type
        return Quote(
            contract=contract, requested_type=MarketDataType.LIVE, received_type=MarketDataType.LIVE,
            started_at=self.clock.now(), finished_at=self.clock.now(), bid=2.9, ask=3.1, last=100.0, volume=1.0,
            open_interest=2.0, bid_size=1.0, ask_size=1.0, last_size=1.0,
            model=model if is_option and self.has_model else None, missing={"model": "late"},
        )  # fmt: skip

    async def historical_bars(self, contract: Contract, **asked: Any) -> Sequence[Bar]:
        raise NotImplementedError

    async def positions(self) -> Sequence[Position]:
        raise NotImplementedError


SPX = Contract(symbol="SPX", sec_type="IND", con_id=416904, exchange="CBOE")
ES = Contract(symbol="ES", sec_type="FUT", con_id=4958, exchange="CME", expiry=date(2026, 12, 18), multiplier=50.0)


class Collector:
    """Runs chains as the worker does, side tables first."""

    def __init__(self, lake: Lake, clock: ManualClock) -> None:
        self.lake = lake
        self.clock = clock
        self.kind = OptionChain()
        self.number = 0

    async def run(self, gateway: OneChain, symbol: str, **parameters: Any) -> pl.DataFrame:
        self.number += 1
        job = Job(
            request_id=f"r{self.number}", symbol=symbol, priority=2,
            parameters=OptionChainParameters.model_validate_json(json.dumps(parameters)), created_at=self.clock.now(),
            clock=self.clock, contracts=StoredContracts(self.lake),
        )  # fmt: skip
        frames = []
        for part in await self.kind.plan(job, gateway):
            fetched = await self.kind.fetch(job, part, gateway)
            for rows in fetched.side.values():
                stamps = {"request_id": pl.lit(job.request_id), "known_at": pl.lit(self.clock.machine_now())}
                ContractsTable(self.lake).append(rows.with_columns(**stamps))
            frames.append(fetched.rows)
        return pl.concat(frames)


@pytest.fixture
def collector(tmp_path: Path) -> Collector:
    return Collector(Lake(tmp_path / "lake"), ManualClock(NOW))


async def test_a_warm_cycle_asks_for_no_details_again_also_in_another_process(collector: Collector) -> None:
    gateway = OneChain(collector.clock, SPX)
    cold = await collector.run(gateway, "SPX", sec_type="IND", dte_max=60)
    assert cold.height == 44
    assert len(gateway.details_asked) == 3
    await collector.run(gateway, "SPX", sec_type="IND", dte_max=60)
    assert len(gateway.details_asked) == 3
    collector.kind = OptionChain()
    warm = await collector.run(gateway, "SPX", sec_type="IND", dte_max=60)
    assert len(gateway.details_asked) == 3
    assert warm["con_id"].sort().to_list() == cold["con_id"].sort().to_list()


async def test_the_next_day_asks_anew_and_the_master_knows_first_and_last(collector: Collector) -> None:
    gateway = OneChain(collector.clock, SPX)
    await collector.run(gateway, "SPX", sec_type="IND", expiries=["2026-12-04"])
    await collector.clock.advance(86400)
    await collector.run(gateway, "SPX", sec_type="IND", expiries=["2026-12-04"])
    assert len(gateway.details_asked) == 4
    known = ContractsTable(collector.lake).known(symbol="SPX", sec_type="OPT").collect()
    assert known.height == 22
    assert set(known.select("first_seen", "last_seen").rows()) == {(date(2026, 11, 23), date(2026, 11, 24))}
    stored = ContractsTable(collector.lake).scan().collect()
    assert stored.height == stored.unique(["date", "asked", "con_id"]).height


async def test_an_answer_that_is_not_stored_whole_does_not_count(collector: Collector) -> None:
    gateway = OneChain(collector.clock, SPX)
    await collector.run(gateway, "SPX", sec_type="IND", expiries=["2026-12-04"])
    table = ContractsTable(collector.lake)
    asked = table.scan().filter(pl.col("sec_type") == "OPT").select("asked").unique().collect().item()
    assert table.answer(asked, NOW.date()).height == 22
    short = table.scan().collect().with_columns(answer_size=pl.lit(30), asked=pl.lit("other"))
    table.append(short)
    assert table.answer("other", NOW.date()).is_empty()


async def test_an_index_has_its_classes_and_one_can_be_chosen(collector: Collector) -> None:
    rows = await collector.run(
        OneChain(collector.clock, SPX), "SPX", sec_type="IND", trading_class="SPXW", expiries=["2026-12-04"]
    )
    assert set(rows["trading_class"]) == {"SPXW"}
    assert not rows["is_adjusted"].any()


async def test_options_on_a_future_are_collected_with_its_price(collector: Collector) -> None:
    rows = await collector.run(OneChain(collector.clock, ES, has_model=False), "ES", sec_type="FUT", dte_max=30)
    assert rows.height == 44
    assert set(rows["underlying_price"]) == {100.0}
    near = rows.filter(pl.col("strike") == 100.0)
    assert set(near["greeks_source"]) == {"pyvolr mid"}
    assert near["iv"].null_count() == 0
