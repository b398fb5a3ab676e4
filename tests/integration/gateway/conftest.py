"""A gateway over a small market that is the same at every instant: a stock, two futures, and options on the stock."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from v6.clock import Clock
from v6.simulator.instruments import (
    Computation,
    ContractQuery,
    Holding,
    Instrument,
    MarketBar,
    OptionListing,
    Snapshot,
)
from v6.simulator.options import GatewayOptions
from v6.simulator.server import SimulatedGateway

NOON = datetime(2026, 11, 23, 17, 0, tzinfo=UTC)
EXPIRY = date(2026, 12, 18)
STRIKES = (240.0, 250.0)
GREEKS = Computation(
    iv=0.2, delta=0.5, price=1.05, pv_dividend=0.0, gamma=0.01, vega=0.3, theta=-0.05, underlying=250.0
)


def _stock(con_id: int, symbol: str) -> Instrument:
    return Instrument(
        con_id=con_id, symbol=symbol, sec_type="STK", exchange="SMART", primary_exchange="ARCA", currency="USD",
        local_symbol=symbol, trading_class=symbol, long_name="SOCIÉTÉ", min_tick=0.01, stock_type="ETF",
    )  # fmt: skip


def _future(con_id: int, local_symbol: str, expiry: date) -> Instrument:
    return Instrument(
        con_id=con_id, symbol="ES", sec_type="FUT", exchange="CME", primary_exchange="", currency="USD",
        local_symbol=local_symbol, trading_class="ES", long_name="E-mini S&P 500", min_tick=0.25, multiplier="50",
        expiry=expiry, time_zone_id="US/Central", real_expiry_time="08:30:00",
    )  # fmt: skip


def _option(con_id: int, strike: float, right: str) -> Instrument:
    return Instrument(
        con_id=con_id, symbol="SPY", sec_type="OPT", exchange="SMART", primary_exchange="", currency="USD",
        local_symbol=f"SPY   261218{right}{int(strike * 1000):08d}", trading_class="SPY", long_name="SPDR",
        min_tick=0.01, multiplier="100", expiry=EXPIRY, strike=strike, right=right, under_con_id=1, under_symbol="SPY",
        under_sec_type="STK",
    )  # fmt: skip


class SmallMarket:
    """Bid 1.00, ask 1.10, last 1.05; bars from 1.0 to 1.5; one session each day."""

    instruments = (
        _stock(1, "SPY"),
        _stock(2, "QQQ"),
        _stock(3, "IWM"),
        _future(11, "ESZ6", EXPIRY),
        _future(12, "ESH7", date(2027, 3, 19)),
        *(_option(100 + number, strike, right) for number, strike in enumerate(STRIKES) for right in "C"),
        *(_option(200 + number, strike, right) for number, strike in enumerate(STRIKES) for right in "P"),
    )
    is_open = True

    def find(self, query: ContractQuery, now: datetime) -> Sequence[Instrument]:
        del now
        return [one for one in self.instruments if self._fits(one, query)]

    @staticmethod
    def _fits(one: Instrument, query: ContractQuery) -> bool:
        expiry = f"{one.expiry:%Y%m%d}" if one.expiry else ""
        return (
            query.con_id in (0, one.con_id)
            and query.symbol in ("", one.symbol)
            and query.sec_type in ("", one.sec_type)
            and expiry.startswith(query.expiry)
            and query.strike in (0.0, one.strike)
            and query.right in ("", one.right)
        )

    def option_listings(self, under_con_id: int, now: datetime) -> Sequence[OptionListing]:
        del now
        listing = OptionListing(
            exchanges=("SMART", "CBOE"), underlying_con_id=1, trading_class="SPY", multiplier="100", expiries=(EXPIRY,),
            strikes=STRIKES,
        )  # fmt: skip
        return [listing] if under_con_id == 1 else []

    def snapshot(self, instrument: Instrument, now: datetime) -> Snapshot:
        greeks = GREEKS if instrument.sec_type == "OPT" else None
        return Snapshot(
            at=now, is_open=self.is_open, bid=1.0, ask=1.1, last=1.05, bid_size=10, ask_size=20, last_size=3,
            last_time=NOON, volume=500, open=1.0, high=1.2, low=0.9, close=1.01, open_interest=77,
            call_open_interest=5, put_open_interest=6, call_volume=7, put_volume=8, implied_volatility=0.2,
            bid_greeks=greeks, ask_greeks=greeks, last_greeks=greeks, model_greeks=greeks,
        )  # fmt: skip

    def bars(
        self,
        instrument: Instrument,
        *,
        start: datetime,
        end: datetime,
        now: datetime,
        bar_seconds: int,
        what_to_show: str,
        regular_hours: bool,
    ) -> Sequence[MarketBar]:
        del instrument, what_to_show, regular_hours
        step = timedelta(seconds=bar_seconds)
        count = int((min(end, now) - start) / step)
        if start < datetime(2020, 1, 1, tzinfo=UTC):
            return []
        starts = [start + step * number for number in range(count)]
        return [self._bar(at.date() if bar_seconds >= 86400 else at) for at in starts]

    @staticmethod
    def _bar(start: date) -> MarketBar:
        return MarketBar(start=start, open=1.0, high=1.5, low=0.5, close=1.25, volume=10, wap=1.1, count=3)

    def sessions_back(self, instrument: Instrument, end: datetime, count: int, *, regular_hours: bool) -> datetime:
        del instrument, regular_hours
        return end - timedelta(days=count)

    def head_timestamp(self, instrument: Instrument, what_to_show: str) -> datetime:
        del instrument, what_to_show
        return datetime(1993, 1, 29, 14, 30, tzinfo=UTC)

    def trading_hours(self, instrument: Instrument, now: datetime, *, liquid: bool) -> str:
        del instrument, now, liquid
        return "20261123:0400-20261123:2000"

    def holdings(self, now: datetime) -> Sequence[Holding]:
        del now
        return [Holding(instrument=self.instruments[0], quantity=100.0, average_cost=200.0)]

    def last_completed_session(self, now: datetime) -> tuple[datetime, datetime]:
        del now
        return NOON - timedelta(hours=3), NOON


StartGateway = Callable[..., Awaitable[SimulatedGateway]]


@pytest.fixture
async def start_gateway() -> AsyncIterator[StartGateway]:
    """Starts gateways in this loop; time runs ten times as fast unless a test gives a speed or a clock."""
    started: list[SimulatedGateway] = []

    async def start(
        *, speed: float = 10, clock: Clock | None = None, journal: Path | None = None, **options: object
    ) -> SimulatedGateway:
        chosen = GatewayOptions(journal=journal, **options)  # type: ignore[arg-type]
        gateway = SimulatedGateway(SmallMarket(), clock=clock or Clock(f"{NOON.isoformat()}*{speed:g}"), options=chosen)
        started.append(gateway)
        await gateway.start()
        return gateway

    yield start
    for gateway in started:
        await gateway.stop()
