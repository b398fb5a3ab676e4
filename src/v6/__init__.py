"""v6: market data from Interactive Brokers through one queue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from v6.lazy import load

if TYPE_CHECKING:
    from v6.app import App as App
    from v6.clock import Clock as Clock
    from v6.errors import AccountMismatch as AccountMismatch
    from v6.errors import DerivationLost as DerivationLost
    from v6.errors import ErrorCategory as ErrorCategory
    from v6.errors import ExitCode as ExitCode
    from v6.errors import GatewayError as GatewayError
    from v6.errors import GatewayUnavailable as GatewayUnavailable
    from v6.errors import LakeError as LakeError
    from v6.errors import RequestConflict as RequestConflict
    from v6.errors import RequestError as RequestError
    from v6.errors import RequestFailed as RequestFailed
    from v6.errors import SettingsError as SettingsError
    from v6.errors import TableDamaged as TableDamaged
    from v6.errors import TableIncompatible as TableIncompatible
    from v6.errors import UnknownRequest as UnknownRequest
    from v6.errors import UsageError as UsageError
    from v6.errors import V6Error as V6Error
    from v6.errors import WorkerBusy as WorkerBusy
    from v6.readers.account import positions as positions
    from v6.readers.bars import bars as bars
    from v6.readers.collection import coverage as coverage
    from v6.readers.collection import request_history as request_history
    from v6.readers.collection import requests as requests
    from v6.readers.derived import statistics as statistics
    from v6.readers.derived import statistics_wide as statistics_wide
    from v6.readers.export import export as export
    from v6.readers.futures import continuous_futures as continuous_futures
    from v6.readers.futures import futures as futures
    from v6.readers.futures import futures_history as futures_history
    from v6.readers.futures import futures_rolls as futures_rolls
    from v6.readers.options import contracts as contracts
    from v6.readers.options import option_chain as option_chain
    from v6.readers.options import option_cycles as option_cycles
    from v6.readers.options import option_history as option_history
    from v6.readers.quality import quality_flags as quality_flags
    from v6.readers.quality import quality_reports as quality_reports
    from v6.readers.sql import sql as sql
    from v6.readers.surfaces import iv_surface as iv_surface
    from v6.readers.surfaces import vol_surfaces as vol_surfaces
    from v6.settings import Settings as Settings
    from v6.settings import load_settings as load_settings

EXPORTS = {
    "AccountMismatch": "v6.errors",
    "App": "v6.app",
    "Clock": "v6.clock",
    "DerivationLost": "v6.errors",
    "ErrorCategory": "v6.errors",
    "ExitCode": "v6.errors",
    "GatewayError": "v6.errors",
    "GatewayUnavailable": "v6.errors",
    "LakeError": "v6.errors",
    "RequestConflict": "v6.errors",
    "RequestError": "v6.errors",
    "RequestFailed": "v6.errors",
    "Settings": "v6.settings",
    "SettingsError": "v6.errors",
    "TableDamaged": "v6.errors",
    "TableIncompatible": "v6.errors",
    "UnknownRequest": "v6.errors",
    "UsageError": "v6.errors",
    "V6Error": "v6.errors",
    "WorkerBusy": "v6.errors",
    "bars": "v6.readers.bars",
    "continuous_futures": "v6.readers.futures",
    "contracts": "v6.readers.options",
    "coverage": "v6.readers.collection",
    "export": "v6.readers.export",
    "futures": "v6.readers.futures",
    "futures_history": "v6.readers.futures",
    "futures_rolls": "v6.readers.futures",
    "iv_surface": "v6.readers.surfaces",
    "load_settings": "v6.settings",
    "option_chain": "v6.readers.options",
    "option_cycles": "v6.readers.options",
    "option_history": "v6.readers.options",
    "positions": "v6.readers.account",
    "quality_flags": "v6.readers.quality",
    "quality_reports": "v6.readers.quality",
    "request_history": "v6.readers.collection",
    "requests": "v6.readers.collection",
    "sql": "v6.readers.sql",
    "statistics": "v6.readers.derived",
    "statistics_wide": "v6.readers.derived",
    "vol_surfaces": "v6.readers.surfaces",
}
__all__ = [
    "AccountMismatch",
    "App",
    "Clock",
    "DerivationLost",
    "ErrorCategory",
    "ExitCode",
    "GatewayError",
    "GatewayUnavailable",
    "LakeError",
    "RequestConflict",
    "RequestError",
    "RequestFailed",
    "Settings",
    "SettingsError",
    "TableDamaged",
    "TableIncompatible",
    "UnknownRequest",
    "UsageError",
    "V6Error",
    "WorkerBusy",
    "bars",
    "continuous_futures",
    "contracts",
    "coverage",
    "export",
    "futures",
    "futures_history",
    "futures_rolls",
    "iv_surface",
    "load_settings",
    "option_chain",
    "option_cycles",
    "option_history",
    "positions",
    "quality_flags",
    "quality_reports",
    "request_history",
    "requests",
    "sql",
    "statistics",
    "statistics_wide",
    "vol_surfaces",
]


def __getattr__(name: str) -> Any:
    return load(__name__, EXPORTS, name)


def __dir__() -> list[str]:
    return [*__all__, *globals()]
