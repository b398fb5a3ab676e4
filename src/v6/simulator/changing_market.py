"""A market whose listing and holdings faults can change; everything else is the market's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from v6.simulator.fault_values import FaultError
from v6.simulator.faults import Fault
from v6.simulator.instruments import (
    ContractQuery,
    Holding,
    Instrument,
    MarketBar,
    MarketSource,
    OptionListing,
    Snapshot,
)


class ChangingMarket:
    """Wraps a market."""

    def __init__(self, market: MarketSource) -> None:
        self._market = market
        self._expired: list[Fault] = []
        self._held: dict[int, Holding] = {}

    def expire(self, fault: Fault) -> None:
        """Contracts that fit are listed no longer."""
        self._expired.append(fault)

    def hold(self, fault: Fault, now: datetime) -> None:
        """The account holds another number of one contract. Raises FaultError when it is not one contract."""
        instrument = self.named_by(fault, now)
        quantity, cost = fault.values["quantity"], fault.values["average_cost"]
        self._held[instrument.con_id] = Holding(instrument=instrument, quantity=quantity, average_cost=cost)

    def named_by(self, fault: Fault, now: datetime) -> Instrument:
        """The one contract a fault names. Raises FaultError."""
        query = ContractQuery(
            con_id=fault.con_id,
            symbol=fault.symbol,
            sec_type=fault.sec_type or ("" if fault.con_id else "STK"),
            expiry=fault.expiry,
        )
        found = self._market.find(query, now)
        if len(found) != 1:
            raise FaultError("con_id" if fault.con_id else "symbol", f"{len(found)} contracts fit: name one")
        return found[0]

    def find(self, query: ContractQuery, now: datetime) -> Sequence[Instrument]:
        """Every listed contract that fits; an expired one only where expired ones are asked for."""
        found = self._market.find(query, now)
        if not self._expired or query.include_expired:
            return found
        return [one for one in found if not self._is_expired(one)]

    def _is_expired(self, one: Instrument) -> bool:
        expiry = f"{one.expiry:%Y%m%d}" if one.expiry else ""
        return any(fault.fits_contract(one.symbol, one.sec_type, expiry, one.con_id) for fault in self._expired)

    def option_listings(self, under_con_id: int, now: datetime) -> Sequence[OptionListing]:
        """What is listed on an underlying, without expiries that have expired whole."""
        listings = self._market.option_listings(under_con_id, now)
        gone = {fault.expiry for fault in self._expired if fault.expiry and not fault.con_id}
        if not gone:
            return listings
        return [
            replace(listing, expiries=tuple(day for day in listing.expiries if f"{day:%Y%m%d}" not in gone))
            for listing in listings
        ]

    def holdings(self, now: datetime) -> Sequence[Holding]:
        """The account's positions."""
        held = {holding.instrument.con_id: holding for holding in self._market.holdings(now)}
        return [holding for holding in (held | self._held).values() if holding.quantity]

    def snapshot(self, instrument: Instrument, now: datetime) -> Snapshot:
        """The market's own."""
        return self._market.snapshot(instrument, now)

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
        """The market's own."""
        return self._market.bars(
            instrument,
            start=start,
            end=end,
            now=now,
            bar_seconds=bar_seconds,
            what_to_show=what_to_show,
            regular_hours=regular_hours,
        )

    def sessions_back(self, instrument: Instrument, end: datetime, count: int, *, regular_hours: bool) -> datetime:
        """The market's own."""
        return self._market.sessions_back(instrument, end, count, regular_hours=regular_hours)

    def head_timestamp(self, instrument: Instrument, what_to_show: str) -> datetime:
        """The market's own."""
        return self._market.head_timestamp(instrument, what_to_show)

    def trading_hours(self, instrument: Instrument, now: datetime, *, liquid: bool) -> str:
        """The market's own."""
        return self._market.trading_hours(instrument, now, liquid=liquid)

    def last_completed_session(self, now: datetime) -> tuple[datetime, datetime]:
        """The market's own."""
        return self._market.last_completed_session(now)
