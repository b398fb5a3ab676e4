"""``futures_snapshot``: quotes of futures and how far they have moved."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Annotated, Any, ClassVar

from pydantic import Field, StringConstraints

from v6.data.futures_snapshots import FUTURES_SNAPSHOTS
from v6.errors import ErrorCategory, GatewayError
from v6.request_types.base import (
    Bar,
    Completeness,
    Contract,
    ContractDetails,
    Fetched,
    Gateway,
    Job,
    Parameters,
    Part,
    Quote,
    RequestType,
)
from v6.request_types.contract_lookup import DailyContracts
from v6.request_types.rows import cycle_name, frame_of, missing_fields, missing_json, quote_columns
from v6.request_types.side_by_side import side_by_side
from v6.request_types.trading_date import TradingHours, trading_hours

# Where a future is listed; IB wants the exchange. Others are asked for without one, or with the parameter.
EXCHANGES = {
    "ES": "CME", "NQ": "CME", "RTY": "CME", "MES": "CME", "MNQ": "CME", "M2K": "CME", "YM": "CBOT", "MYM": "CBOT",
    "ZN": "CBOT", "ZB": "CBOT", "CL": "NYMEX", "NG": "NYMEX", "GC": "COMEX", "SI": "COMEX", "HG": "COMEX",
}  # fmt: skip
FUTURE_QUOTE = Completeness(
    required=frozenset({"bid", "ask", "last", "close"}),
    wanted=frozenset({"volume", "open_interest", "implied_volatility"}),
    wanted_seconds=1.5,  # the options' volatility is computed about once a second, not with each price
    wait_seconds=11.0,
)
HISTORY_SECONDS = 2.5  # an urgent snapshot does not wait longer for the prices before
BAR = timedelta(minutes=5)
DAYS_BACK = 7  # how far a regular close is looked for in the bars where the gateway's hours do not list it

Month = Annotated[str, StringConstraints(pattern=r"^20\d\d(0[1-9]|1[0-2])$")]


class FuturesSnapshotParameters(Parameters):
    """Which months; without any, the front month."""

    months: Annotated[list[Month], Field(min_length=1, max_length=20)] | None = Field(
        None, description="contract months, YYYYMM; without them the front month"
    )
    exchange: Annotated[str, StringConstraints(min_length=1, max_length=16)] | None = Field(
        None, description="where it is listed; ES, NQ, RTY and other known ones need none"
    )


class FuturesSnapshot(RequestType[FuturesSnapshotParameters]):
    """One row a month: the quote, and the changes against an hour, four hours, a night and a session before."""

    name: ClassVar[str] = "futures_snapshot"
    description: ClassVar[str] = "Quotes of the front month or of given months of a future, with their changes."
    parameters = FuturesSnapshotParameters
    result_table: ClassVar[str] = FUTURES_SNAPSHOTS.name
    default_priority: ClassVar[int] = 1
    concurrency: ClassVar[int] = 10
    attempts: ClassVar[int] = 3
    pacing: ClassVar[str] = "market_data"
    timeout_seconds: ClassVar[float] = 60.0

    def __init__(self) -> None:
        self._contracts = DailyContracts()

    async def fetch(self, job: Job[FuturesSnapshotParameters], part: Part, gateway: Gateway) -> Fetched:
        """The months' quotes and bars, collected side by side."""
        del part
        now = job.clock.now()
        listed = [details for details in await self._months(job, gateway) if still_trades(details, now)]
        if not listed:
            raise _absent(job.symbol, "no month of it trades")
        chosen = _chosen(job, listed)
        cycle = cycle_name(job.created_at, job.request_id)
        quoted = await side_by_side(
            lambda details: _row(job, details, gateway), chosen, name=f"futures_snapshot {job.symbol}"
        )
        front = listed[0].contract.con_id
        rows = [
            {**row, "cycle": cycle, "is_front_month": details.contract.con_id == front}
            for row, details in zip(quoted, chosen, strict=True)
        ]
        return Fetched(
            rows=frame_of(FUTURES_SNAPSHOTS, rows),
            side=self._contracts.take_new(job),
            summary={"contracts": len(rows), "cycle": cycle},
        )

    async def _months(self, job: Job[FuturesSnapshotParameters], gateway: Gateway) -> list[ContractDetails]:
        """Every listed month, nearest first; looked up once a day."""
        exchange = job.parameters.exchange or EXCHANGES.get(job.symbol, "")
        asked = Contract(symbol=job.symbol, sec_type="FUT", exchange=exchange)
        found = await self._contracts.find(job, gateway, asked, job.clock.now().date())
        return sorted(found, key=lambda details: details.contract.expiry or date.max)


@dataclass(frozen=True, kw_only=True, slots=True)
class PricesBefore:
    """Earlier prices of a contract; where one is None, ``why`` says the reason."""

    hour: float | None = None
    four_hours: float | None = None
    regular_close: float | None = None
    why: str = ""


def still_trades(details: ContractDetails, now: datetime) -> bool:
    """True until the contract's last session has ended: by its own hours, else by its expiry's date."""
    expiry = details.contract.expiry
    hours = trading_hours(details)
    today = hours.trading_date(now)
    if expiry is None or expiry != today:
        return expiry is None or expiry > today
    closes = hours.closes_of(expiry)
    return closes is None or now < closes


def _chosen(job: Job[FuturesSnapshotParameters], listed: Sequence[ContractDetails]) -> list[ContractDetails]:
    months = job.parameters.months
    if months is None:
        return [listed[0]]
    chosen = [details for details in listed if _month_of(details) in months]
    absent = sorted(set(months) - {_month_of(details) for details in chosen})
    if absent:
        known = ", ".join(_month_of(details) for details in listed)
        raise _absent(job.symbol, f"no month {', '.join(absent)}; there are {known}")
    return chosen


def _month_of(details: ContractDetails) -> str:
    expiry = details.contract.expiry
    return details.contract_month or ("" if expiry is None else f"{expiry:%Y%m}")


def _absent(symbol: str, why: str) -> GatewayError:
    return GatewayError(f"future {symbol}: {why}", category=ErrorCategory.CONTRACT, code=200)


async def _row(job: Job[FuturesSnapshotParameters], details: ContractDetails, gateway: Gateway) -> dict[str, Any]:
    history = asyncio.create_task(_prices_before(job, details, gateway), name=f"history of {job.symbol}")
    try:
        quote = await gateway.quote(details.contract, FUTURE_QUOTE)
        before = await history
    finally:
        history.cancel()
    changes = _changes(quote, before)
    missing = missing_fields(quote) | {name: change for name, change in changes.items() if isinstance(change, str)}
    if quote.implied_volatility is None:
        missing["implied_vol"] = quote.missing.get("implied_volatility", "the gateway sent none")
    return {
        **quote_columns(quote),
        "contract_month": _month_of(details) or None,
        "implied_vol": quote.implied_volatility,
        **{name: None if isinstance(change, str) else change for name, change in changes.items()},
        "missing": missing_json(missing),
        "date": trading_hours(details).trading_date(quote.finished_at),
    }


def _changes(quote: Quote, before: PricesBefore) -> Mapping[str, float | str]:
    """Last price / earlier price - 1 by column, or the reason why it is not known."""
    earlier = {
        "change_1h": (before.hour, before.why),
        "change_4h": (before.four_hours, before.why),
        "change_overnight": (before.regular_close, before.why),
        "change_daily": (quote.close, quote.missing.get("close", "the gateway sent no close")),
    }
    return {name: _change(quote.last, price, why) for name, (price, why) in earlier.items()}


def _change(last: float | None, earlier: float | None, why: str) -> float | str:
    if last is None:
        return "there is no last price"
    if not earlier:
        return why or "no trade is known from that time"
    return last / earlier - 1


async def _prices_before(
    job: Job[FuturesSnapshotParameters], details: ContractDetails, gateway: Gateway
) -> PricesBefore:
    """Earlier prices from five-minute bars; a history that fails or is late costs the changes, not the snapshot."""
    try:
        async with job.clock.timeout(HISTORY_SECONDS):
            bars = await gateway.historical_bars(
                details.contract,
                end=None,
                duration="2 D",
                bar_size="5 mins",
                what_to_show="TRADES",
                regular_hours=False,
            )
    except TimeoutError:
        return PricesBefore(why=f"history did not come within {HISTORY_SECONDS:g} s")
    except GatewayError as error:
        return PricesBefore(why=f"history failed: {error}")
    return prices_before(bars, trading_hours(details, regular=True), job.clock.now())


def prices_before(bars: Sequence[Bar], regular: TradingHours, now: datetime) -> PricesBefore:
    """The prices one and four hours before ``now`` and at the last regular close, from five-minute bars."""
    closes = {bar.start + BAR: bar.close for bar in bars if isinstance(bar.start, datetime)}
    return PricesBefore(
        hour=_price_at(closes, now - timedelta(hours=1)),
        four_hours=_price_at(closes, now - timedelta(hours=4)),
        regular_close=_regular_close(closes, regular, now),
    )


def _price_at(closes: Mapping[datetime, float], moment: datetime) -> float | None:
    """The close of the last bar that had ended then; while trading rested, the price before the rest."""
    ended = max((end for end in closes if end <= moment), default=None)
    return None if ended is None else closes[ended]


def _regular_close(closes: Mapping[datetime, float], regular: TradingHours, now: datetime) -> float | None:
    listed = [session.closes for session in regular.sessions]
    # Hours are listed from today on: the days before end at the same local time where bars show that they traded.
    local = [moment.astimezone(regular.zone) for moment in listed[:1]]
    before = [moment - timedelta(days=day) for moment in local for day in range(1, DAYS_BACK + 1)]
    ended = [moment for moment in (*listed, *before) if moment <= now and moment in closes]
    return closes[max(ended)] if ended else None
