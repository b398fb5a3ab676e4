"""What the drills ask for: requests of all types, made so that what one fetches no other does.

Every option chain has an expiry and right of a symbol to itself, every request for bars days of a symbol: a contract
or a bar that is fetched twice was fetched again. Chains have at most 20 contracts. A few requests are such that the
gateway refuses them.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date, datetime, timedelta
from itertools import cycle
from pathlib import Path
from typing import Any

from v6.data.ib_request import NewRequest
from v6.simulator.instruments import ContractQuery
from v6.simulator.market import Market
from v6.simulator.universe import PRODUCTS

CHAIN_CONTRACTS = 20
OPTIONED = tuple(p.symbol for p in PRODUCTS if p.sec_type == "STK" and p.options is not None)
FUTURES = ("ES", "NQ", "RTY")
HELD = ("", "SPY", "ES", "AAPL")  # an update of all positions, of two that are held, and of one that is not
BAR_SIZES = ("5 mins", "15 mins", "30 mins")
# Of a hundred requests; the rest are position updates.
SHARES = {"option_chain": 33, "market_bars": 32, "futures_snapshot": 22, "refused": 3}


@dataclass(frozen=True, kw_only=True, slots=True)
class Planned:
    """One request to insert. ``refused`` says that the gateway will have none of it.

    A ``slot`` (ISO 8601) makes its key hold for ever; without one the key of a refused request is free again at once.
    """

    key: str
    request_type: str
    symbol: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    priority: int | None = None
    refused: bool = False
    slot: str | None = None

    def new(self) -> NewRequest:
        """It, as the queue takes it."""
        return NewRequest(
            request_type=self.request_type,
            symbol=self.symbol,
            parameters=self.parameters,
            priority=self.priority,
            idempotency_key=self.key,
            slot=None if self.slot is None else datetime.fromisoformat(self.slot),
        )


def planned(count: int, now: datetime, *, seed: int = 1) -> list[Planned]:
    """So many requests in a mixed order, for a market whose clock says ``now`` (UTC)."""
    rng = random.Random(seed)
    sources = {"option_chain": _chains(now), "market_bars": _bars(now), "futures_snapshot": _futures(now)}
    sources |= {"refused": _refused(), "position_update": _positions()}
    shares = SHARES | {"position_update": 100 - sum(SHARES.values())}
    kinds = [kind for kind, share in shares.items() for _ in range(share)]
    found = []
    for hundred in range(count // 100 + 1):
        rng.shuffle(kinds)
        found += [next(sources[kind]) for kind in kinds[: count - 100 * hundred]]
    return [_numbered(number, what, now) for number, what in enumerate(found)]


def _numbered(number: int, what: Planned, now: datetime) -> Planned:
    """With a key and a priority; every fifth is a schedule's slot."""
    slot = now.isoformat() if number % 5 == 0 else None
    return replace(what, key=f"drill/{number:05d}", priority=(1, 2, 2, 3)[number % 4], slot=slot)


def one_of_each(now: datetime, name: str, *, long_chain: bool = False) -> list[Planned]:
    """One small request of each type under keys of their own; with a chain of more than 500 contracts, too."""
    small = next(chain for chain in _chains(now) if chain.symbol == "QQQ")
    few = [small, next(_futures(now)), next(_bars(now)), next(_positions()), next(_refused())]
    if long_chain:
        few.append(_planned("option_chain", "SPY", {"dte_min": 1, "dte_max": 8}))
    return [replace(what, key=f"{name}/{number}") for number, what in enumerate(few)]


def _planned(request_type: str, symbol: str, parameters: Mapping[str, Any], *, refused: bool = False) -> Planned:
    return Planned(key="", request_type=request_type, symbol=symbol, parameters=parameters, refused=refused)


def _chains(now: datetime) -> Iterator[Planned]:
    """Each listed expiry and right of each symbol once; stops when there are no more."""
    market = Market()
    listed = {symbol: _expiries(market, symbol, now) for symbol in OPTIONED}
    depth = max(map(len, listed.values()))
    for number in range(depth):
        for symbol, expiries in listed.items():
            for right in ("C", "P") if number < len(expiries) else ():
                wanted = {"expiries": [expiries[number].isoformat()], "rights": [right]}
                yield _planned("option_chain", symbol, {**wanted, "max_contracts": CHAIN_CONTRACTS})


def _expiries(market: Market, symbol: str, now: datetime) -> Sequence[date]:
    """Those listed now and in the next days, so that none expires during the drill."""
    (stock,) = market.find(ContractQuery(symbol=symbol, sec_type="STK"), now)
    listed = {day for listing in market.option_listings(stock.con_id, now) for day in listing.expiries}
    return sorted(day for day in listed if day > now.date() + timedelta(days=1))


def _bars(now: datetime) -> Iterator[Planned]:
    """A day of a symbol in one bar size: finished sessions, going back."""
    market = Market()
    for days_back in range(3, 3_000):
        day = (now - timedelta(days=days_back)).date()
        if market.daily_bar(OPTIONED[0], day) is None:
            continue
        end = datetime(day.year, day.month, day.day, 23, tzinfo=now.tzinfo).isoformat()
        for symbol, size in zip(OPTIONED, cycle(BAR_SIZES), strict=False):
            yield _planned("market_bars", symbol, {"bar_size": size, "duration": "1 D", "end": end})


def _futures(now: datetime) -> Iterator[Planned]:
    """The front month, and two later months."""
    later = [f"{now.year + 1}{month}" for month in ("03", "06")]
    kinds: list[tuple[str, dict[str, Any]]] = [(s, {}) for s in FUTURES]
    for symbol, parameters in cycle([*kinds, *((s, {"months": later}) for s in FUTURES)]):
        yield _planned("futures_snapshot", symbol, parameters)


def _positions() -> Iterator[Planned]:
    for symbol in cycle(HELD):
        yield _planned("position_update", symbol, {})


def _refused() -> Iterator[Planned]:
    """A symbol that does not exist, an expiry that is not listed, a month that does not trade."""
    wrong: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("option_chain", "NOSUCH", {"dte": 30}),
        ("market_bars", "NOSUCH", {"duration": "1 D"}),
        ("futures_snapshot", "ES", {"months": ["209912"]}),
    )
    for request_type, symbol, parameters in cycle(wrong):
        yield _planned(request_type, symbol, parameters, refused=True)


def write(path: Path, requests: Sequence[Planned]) -> None:
    """A plan as a file, one JSON object a line."""
    path.write_text("".join(json.dumps(asdict(request)) + "\n" for request in requests))


def read(path: Path) -> list[Planned]:
    """A plan from a file."""
    return [Planned(**json.loads(line)) for line in path.read_text().splitlines()]
