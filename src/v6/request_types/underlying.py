"""The one contract that is meant: asked for, never guessed."""

from __future__ import annotations

from collections.abc import Sequence

from v6.errors import ErrorCategory, GatewayError
from v6.request_types.base import Contract, ContractDetails, Gateway

CANDIDATES_SHOWN = 5


async def only_contract(gateway: Gateway, contract: Contract) -> ContractDetails:
    """The details of the one contract that fits.

    Raises:
        GatewayError: none fits, or several do; the text names them.
    """
    return only(contract, await gateway.contract_details(contract))


def only(contract: Contract, found: Sequence[ContractDetails]) -> ContractDetails:
    """The one that was found. Raises GatewayError when there is none, or several."""
    if len(found) == 1:
        return found[0]
    what = f"{contract.sec_type} {contract.symbol}"
    if not found:
        raise GatewayError(f"no contract {what} exists", category=ErrorCategory.CONTRACT, code=200)
    names = [_named(details.contract) for details in found[:CANDIDATES_SHOWN]]
    more = f" and {len(found) - len(names)} more" if len(found) > len(names) else ""
    raise GatewayError(
        f"{what} is ambiguous: {', '.join(names)}{more}; say which by exchange, primary_exchange or currency",
        category=ErrorCategory.CONTRACT,
    )


def _named(contract: Contract) -> str:
    place = contract.primary_exchange or contract.exchange
    return f"{contract.local_symbol or contract.symbol} {place} {contract.currency} (con_id {contract.con_id})"
