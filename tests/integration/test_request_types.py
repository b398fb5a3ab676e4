"""All request types against the simulated gateway over a real socket."""

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest

from v6.clock import Clock
from v6.core.ib_connection import IBConnectionManager
from v6.data.table import tables
from v6.events import EventBus
from v6.request_types.base import Fetched, Job
from v6.request_types.catalogue import Catalogue
from v6.simulator.market import Market
from v6.simulator.options import GatewayOptions
from v6.simulator.server import SimulatedGateway

# Answers come soon, and in the machine's own time: what waits a second or two for them has all of it on a busy machine.
OPTIONS = GatewayOptions(
    market_data_lines=400,
    quote_delay_seconds=(0.01, 0.1),
    details_delay_seconds=(0.0, 0.01),
    history_delay_seconds=(0.01, 0.05),
)
TUESDAY = "2026-11-24T17:30:00Z"


class Session:
    """One connection and the catalogue: runs a request as the worker does."""

    def __init__(self, connection: IBConnectionManager, clock: Clock) -> None:
        self.connection = connection
        self.clock = clock
        self.catalogue = Catalogue.load()

    async def run(self, request_type: str, symbol: str, **parameters: Any) -> list[Fetched]:
        kind = self.catalogue.get(request_type)
        job = Job[Any](
            request_id=f"{request_type}-{symbol}",
            symbol=symbol,
            priority=1,
            parameters=self.catalogue.parse(request_type, parameters),
            created_at=self.clock.now(),
            clock=self.clock,
        )
        gateway = self.connection.gateway(1, job.request_id)
        return [await kind.fetch(job, part, gateway) for part in await kind.plan(job, gateway)]

    async def rows(self, request_type: str, symbol: str, **parameters: Any) -> pl.DataFrame:
        """The rows as the result table takes them."""
        kind = self.catalogue.get(request_type)
        fetched = await self.run(request_type, symbol, **parameters)
        frame = pl.concat([one.rows for one in fetched])
        stamped = frame.with_columns(request_id=pl.lit("r"), known_at=pl.lit(self.clock.machine_now()))
        return tables()[kind.result_table].spec.conform(stamped)


@pytest.fixture
async def session() -> AsyncIterator[Session]:
    clock = Clock(TUESDAY)
    gateway = SimulatedGateway(Market(seed=0), clock=clock, options=OPTIONS)
    port = await gateway.start()
    connection = IBConnectionManager(
        host="127.0.0.1", port=port, client_id=1, clock=clock, events=EventBus(), market_data_lines=400
    )
    await connection.start()
    try:
        yield Session(connection, clock)
    finally:
        await connection.stop()
        await gateway.stop()


async def test_a_chain_is_the_contracts_nearest_the_money_with_greeks(session: Session) -> None:
    rows = await session.rows("option_chain", "SPY", dte=45, max_contracts=24)
    assert rows.height == 24
    (expiry,) = rows["expiry"].unique().to_list()
    assert abs((expiry - date(2026, 11, 24)).days - 45) <= 7
    assert rows["date"].unique().to_list() == [date(2026, 11, 24)]
    assert rows["cycle"].n_unique() == 1
    assert rows["cycle_contracts"].unique().to_list() == [24]
    assert rows.filter(pl.col("bid") <= pl.col("ask")).height == 24
    for name in ("iv", "delta", "gamma", "theta", "vega", "open_interest", "volume", "underlying_price"):
        assert rows[name].null_count() == 0, name
    assert rows.filter((pl.col("strike") / pl.col("underlying_price")).is_between(0.9, 1.1)).height == 24
    assert rows["market_data_type"].unique().to_list() == ["live"]


@pytest.mark.parametrize(
    ("symbol", "parameters", "classes"),
    [
        ("SPX", {"dte": 6}, {"SPXW"}),  # a Monday: weeklies only
        ("SPX", {"dte": 24}, {"SPX", "SPXW"}),  # the third Friday has both, on the same strikes
        ("SPXW", {"dte": 24}, {"SPXW"}),
        ("SPX", {"dte": 24, "trading_class": "SPX"}, {"SPX"}),
        ("VIX", {"dte": 22}, {"VIX"}),  # a Wednesday, 30 days before a third Friday
        ("VIX", {"dte": 8, "sec_type": "IND"}, {"VIXW"}),
        ("ES", {"dte": 24, "sec_type": "FUT"}, {"ES"}),
        ("ES", {"dte": 3, "sec_type": "FUT", "month": "202612"}, {"EW4"}),
        ("BAC", {"dte": 24}, {"BAC", "BAC1"}),
    ],
)
async def test_options_on_indices_and_futures_and_adjusted_ones(
    session: Session, symbol: str, parameters: dict[str, Any], classes: set[str]
) -> None:
    rows = await session.rows("option_chain", symbol, max_contracts=8, **parameters)
    assert set(rows["trading_class"]) == classes
    assert set(rows["symbol"]) == {symbol.removesuffix("W")}
    assert rows["con_id"].n_unique() == rows.height >= 8
    for name in ("bid", "ask", "iv", "delta", "underlying_price", "open_interest"):
        assert rows[name].null_count() == 0, name
    adjusted = rows.filter("is_adjusted")
    assert set(adjusted["trading_class"]) == {name for name in classes if name == "BAC1"}
    assert set(adjusted["multiplier"]) <= {150.0}
    assert set(rows.filter(~pl.col("is_adjusted"))["multiplier"]) == {50.0 if symbol == "ES" else 100.0}
    at_the_money = (rows["strike"] / rows["underlying_price"] - 1).abs()
    assert at_the_money.max() < 0.2  # type: ignore[operator]


async def test_a_future_has_its_front_month_and_its_changes(session: Session) -> None:
    for symbol in ("ES", "NQ", "RTY"):
        row = (await session.rows("futures_snapshot", symbol)).row(0, named=True)
        assert row["is_front_month"]
        assert row["contract_month"] == "202612"
        assert row["change_daily"] == row["last"] / row["close"] - 1
        for name in ("change_1h", "change_4h", "change_overnight"):
            assert abs(row[name]) < 0.2, (name, row["missing"])


async def test_given_months_are_served_nearest_first(session: Session) -> None:
    rows = await session.rows("futures_snapshot", "ES", months=["202703", "202612"])
    assert rows.select("contract_month", "is_front_month").rows() == [("202612", True), ("202703", False)]


async def test_daily_bars_of_a_year(session: Session) -> None:
    rows = await session.rows("market_bars", "SPY", bar_size="1 day", duration="1 Y")
    assert 245 <= rows.height <= 256
    assert rows.filter(~pl.col("is_final"))["date"].to_list() == [date(2026, 11, 24)]
    assert rows["timestamp"].dt.date().to_list() == rows["date"].to_list()


async def test_a_range_of_intraday_bars_is_paged_without_holes(session: Session) -> None:
    start, end = datetime(2026, 10, 12, tzinfo=UTC), datetime(2026, 11, 7, tzinfo=UTC)
    rows = await session.rows("market_bars", "QQQ", bar_size="5 mins", start=start.isoformat(), end=end.isoformat())
    assert rows.height == rows["timestamp"].n_unique() == 20 * 78
    assert rows.filter("is_final").height == rows.height
    assert rows.filter(pl.col("timestamp").is_between(start, end, closed="left")).height == rows.height


async def test_positions_of_all_symbols_and_of_one(session: Session) -> None:
    everything = await session.rows("position_update", "")
    one = await session.rows("position_update", "SPY")
    assert everything["scope"].null_count() == everything.height > 0
    assert set(one["symbol"]) <= {"SPY"}
    assert everything.filter(pl.col("symbol") == "SPY").height == one.height
