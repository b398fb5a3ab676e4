"""v6: market data from Interactive Brokers through one queue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from v6.lazy import load

if TYPE_CHECKING:
    from v6.app import App as App
    from v6.clock import Clock as Clock
    from v6.errors import AccountMismatch as AccountMismatch
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
    from v6.settings import Settings as Settings
    from v6.settings import load_settings as load_settings

EXPORTS = {
    "AccountMismatch": "v6.errors",
    "App": "v6.app",
    "Clock": "v6.clock",
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
    "load_settings": "v6.settings",
}
__all__ = [
    "AccountMismatch",
    "App",
    "Clock",
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
    "load_settings",
]


def __getattr__(name: str) -> Any:
    return load(__name__, EXPORTS, name)


def __dir__() -> list[str]:
    return [*__all__, *globals()]
