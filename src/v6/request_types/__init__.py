"""What can be asked of the gateway: one file a request type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from v6.lazy import load

if TYPE_CHECKING:
    from v6.request_types.base import Backoff as Backoff
    from v6.request_types.base import Bar as Bar
    from v6.request_types.base import Completeness as Completeness
    from v6.request_types.base import Contract as Contract
    from v6.request_types.base import ContractDetails as ContractDetails
    from v6.request_types.base import Fetched as Fetched
    from v6.request_types.base import Gateway as Gateway
    from v6.request_types.base import Greeks as Greeks
    from v6.request_types.base import Job as Job
    from v6.request_types.base import MarketDataType as MarketDataType
    from v6.request_types.base import OptionParameters as OptionParameters
    from v6.request_types.base import Parameters as Parameters
    from v6.request_types.base import Part as Part
    from v6.request_types.base import Position as Position
    from v6.request_types.base import Quote as Quote
    from v6.request_types.base import RequestType as RequestType
    from v6.request_types.catalogue import Catalogue as Catalogue

EXPORTS = {
    "Backoff": "v6.request_types.base",
    "Bar": "v6.request_types.base",
    "Catalogue": "v6.request_types.catalogue",
    "Completeness": "v6.request_types.base",
    "Contract": "v6.request_types.base",
    "ContractDetails": "v6.request_types.base",
    "Fetched": "v6.request_types.base",
    "Gateway": "v6.request_types.base",
    "Greeks": "v6.request_types.base",
    "Job": "v6.request_types.base",
    "MarketDataType": "v6.request_types.base",
    "OptionParameters": "v6.request_types.base",
    "Parameters": "v6.request_types.base",
    "Part": "v6.request_types.base",
    "Position": "v6.request_types.base",
    "Quote": "v6.request_types.base",
    "RequestType": "v6.request_types.base",
}
__all__ = [
    "Backoff",
    "Bar",
    "Catalogue",
    "Completeness",
    "Contract",
    "ContractDetails",
    "Fetched",
    "Gateway",
    "Greeks",
    "Job",
    "MarketDataType",
    "OptionParameters",
    "Parameters",
    "Part",
    "Position",
    "Quote",
    "RequestType",
]


def __getattr__(name: str) -> Any:
    return load(__name__, EXPORTS, name)


def __dir__() -> list[str]:
    return [*__all__, *globals()]
