"""Which expiries and strikes are listed on an underlying, asked once a trading day."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from v6.request_types.base import ContractDetails, Gateway, OptionParameters


class DailyListings:
    """The listings of the newest trading day by account and underlying."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], tuple[date, Sequence[OptionParameters]]] = {}

    async def of(self, gateway: Gateway, underlying: ContractDetails, day: date) -> Sequence[OptionParameters]:
        """The listings on that day. Raises GatewayError as the gateway does."""
        key = (gateway.account, underlying.contract.con_id)
        known = self._known.get(key)
        if known is not None and known[0] == day:
            return known[1]
        listings = await gateway.option_parameters(underlying)
        if listings:
            self._known[key] = (day, listings)
        return listings
