"""The gateway: reachable, client id, account, clock, farms, and what data each symbol gets. Opens its own session."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING

from v6.clock import Clock
from v6.data.lake import Lake
from v6.data.lake_account import LAKE_ACCOUNT, LakeAccount
from v6.data.readable import first_damage
from v6.doctor.finding import Finding, ok, problem, skipped, warning
from v6.errors import ErrorCategory, GatewayError, GatewayUnavailable
from v6.request_types.base import Completeness, Contract, Gateway, MarketDataType, Quote
from v6.request_types.futures_snapshot import EXCHANGES

if TYPE_CHECKING:
    from v6.core.ib_connection import IBConnectionManager

PROBE_IDS_FROM = 900  # client ids of the doctor's own session where a worker has the one that is set
LARGEST_OFFSET_SECONDS = 5.0
PRICES = Completeness(required=frozenset({"bid", "ask"}), wait_seconds=6.0)
AFTER_GATEWAY = ("account", "clock", "farms", "market data")


async def gateway_checks(
    connect: Callable[[int], IBConnectionManager],
    *,
    client_id: int,
    worker: str | None,
    lake: Lake,
    clock: Clock,
    symbols: Sequence[str],
) -> AsyncIterator[Finding]:
    """``connect`` makes a connection with a client id; ``worker`` is the live worker that holds the one set."""
    connection = connect(client_id if worker is None else client_id + PROBE_IDS_FROM)
    try:
        await connection.start()
    except GatewayUnavailable as error:
        check = "client id" if error.code is not None and error.category is ErrorCategory.SESSION else "gateway"
        yield problem(check, str(error), "log in to IB Gateway, allow API clients, and check host, port and client id")
        for later in AFTER_GATEWAY:
            yield skipped(later, "there is no session")
        return
    try:
        yield ok("gateway", f"{connection.host}:{connection.port} answers")
        holder = "free" if worker is None else f"held by worker {worker}"
        yield ok("client id", f"{client_id} is {holder}")
        yield await asyncio.to_thread(_account, lake, clock, connection.account)
        yield await _clock(connection, clock)
        yield _farms(connection)
        for symbol in symbols:
            yield await _entitlement(connection.gateway(2, f"doctor {symbol}"), symbol)
    finally:
        await connection.stop()


def _account(lake: Lake, clock: Clock, account: str) -> Finding:
    wrong = first_damage(lake, LAKE_ACCOUNT.name)
    if wrong is not None:
        return problem("account", wrong, "run `v6 doctor --tables`")
    owner = LakeAccount(lake, clock=clock).account()
    if owner is None:
        return ok("account", f"{account}; the lake belongs to nobody yet")
    if owner != account:
        advice = "set V6_LAKE to a folder of its own for this account, or connect to the other gateway"
        return problem("account", f"the gateway's is {account}, the lake's is {owner}", advice)
    return ok("account", f"{account}, which is the lake's")


async def _clock(connection: IBConnectionManager, clock: Clock) -> Finding:
    try:
        theirs = await connection.gateway_time()
    except GatewayError as error:
        return problem("clock", str(error), "restart IB Gateway")
    offset = (clock.now() - theirs).total_seconds()
    seen = f"{offset:+.1f} s against the gateway's {theirs:%Y-%m-%d %H:%M:%S} UTC"
    if abs(offset) > LARGEST_OFFSET_SECONDS * clock.speed:
        return warning("clock", seen, "set the machine's time by NTP; with a simulated gateway, V6_CLOCK as it printed")
    return ok("clock", seen)


def _farms(connection: IBConnectionManager) -> Finding:
    if connection.state == "ready":
        return ok("farms", "no data farm is reported down")
    return problem("farms", f"{connection.state}: {connection.reason}", "wait: IB's farms return by themselves")


async def _entitlement(gateway: Gateway, symbol: str) -> Finding:
    """What kind of data a symbol gets now."""
    check = f"market data {symbol}"
    try:
        quote = await gateway.quote(await _contract(gateway, symbol), PRICES)
    except GatewayError as error:
        text = str(error) if error.code is None else f"{error.code}: {error}"
        return _refused(check, text, error.category)
    return _received(check, quote)


def _refused(check: str, text: str, category: ErrorCategory) -> Finding:
    advice = {
        ErrorCategory.ENTITLEMENT: "subscribe in IB's client portal, or set V6_MARKET_DATA_TYPE=3 for delayed data",
        ErrorCategory.CONTRACT: "check the symbol with `v6 doctor --symbol`",
        ErrorCategory.RESOURCE: "all market-data lines are in use: try again when the worker has fewer",
    }
    return problem(check, text, advice.get(category, "see gateway and farms above"))


def _received(check: str, quote: Quote) -> Finding:
    kind = "no kind" if quote.received_type is None else quote.received_type.name.lower().replace("_", " and ")
    if quote.bid is None and quote.ask is None and quote.last is None:
        why = "; ".join(sorted(set(quote.missing.values()))) or "nothing came"
        return warning(
            check, f"{kind}, no price: {why}", "the market may be closed: set V6_MARKET_DATA_TYPE=2 (frozen)"
        )
    if quote.received_type is MarketDataType.LIVE:
        return ok(check, f"live, bid {quote.bid} ask {quote.ask}")
    return warning(check, f"{kind}, bid {quote.bid} ask {quote.ask}", "subscribe in IB's client portal for live data")


async def _contract(gateway: Gateway, symbol: str) -> Contract:
    """A stock, or the front month of a future that v6 knows."""
    if symbol not in EXCHANGES:
        return Contract(symbol=symbol, sec_type="STK")
    months = await gateway.contract_details(Contract(symbol=symbol, sec_type="FUT", exchange=EXCHANGES[symbol]))
    return min((details.contract for details in months), key=lambda contract: str(contract.expiry))
