"""The tables: one module owns one table; delta.py alone speaks to the storage library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from v6.lazy import load

if TYPE_CHECKING:
    from v6.data.continuous_futures import Adjustment as Adjustment
    from v6.data.continuous_futures import ContinuousFutures as ContinuousFutures
    from v6.data.continuous_futures import RollRule as RollRule
    from v6.data.continuous_futures import RollWhen as RollWhen
    from v6.data.derived_statistics import DerivedStatisticsTable as DerivedStatisticsTable
    from v6.data.futures_snapshots import FuturesSnapshotsTable as FuturesSnapshotsTable
    from v6.data.ib_request import IBRequest as IBRequest
    from v6.data.ib_request import NewRequest as NewRequest
    from v6.data.ib_request import Priority as Priority
    from v6.data.ib_request import RequestStatus as RequestStatus
    from v6.data.ib_request_queue import IBRequestQueue as IBRequestQueue
    from v6.data.ib_request_queue import QueueStats as QueueStats
    from v6.data.lake import Lake as Lake
    from v6.data.market_bars import MarketBarsTable as MarketBarsTable
    from v6.data.option_snapshots import OptionSnapshotsTable as OptionSnapshotsTable
    from v6.data.position_updates import PositionUpdatesTable as PositionUpdatesTable
    from v6.data.vol_surfaces import VolSurfacesTable as VolSurfacesTable
    from v6.data.worker_state import WorkerStateTable as WorkerStateTable

EXPORTS = {
    "Adjustment": "v6.data.continuous_futures",
    "ContinuousFutures": "v6.data.continuous_futures",
    "DerivedStatisticsTable": "v6.data.derived_statistics",
    "FuturesSnapshotsTable": "v6.data.futures_snapshots",
    "IBRequest": "v6.data.ib_request",
    "IBRequestQueue": "v6.data.ib_request_queue",
    "Lake": "v6.data.lake",
    "MarketBarsTable": "v6.data.market_bars",
    "NewRequest": "v6.data.ib_request",
    "OptionSnapshotsTable": "v6.data.option_snapshots",
    "PositionUpdatesTable": "v6.data.position_updates",
    "Priority": "v6.data.ib_request",
    "QueueStats": "v6.data.ib_request_queue",
    "RequestStatus": "v6.data.ib_request",
    "RollRule": "v6.data.continuous_futures",
    "RollWhen": "v6.data.continuous_futures",
    "VolSurfacesTable": "v6.data.vol_surfaces",
    "WorkerStateTable": "v6.data.worker_state",
}
__all__ = [
    "Adjustment",
    "ContinuousFutures",
    "DerivedStatisticsTable",
    "FuturesSnapshotsTable",
    "IBRequest",
    "IBRequestQueue",
    "Lake",
    "MarketBarsTable",
    "NewRequest",
    "OptionSnapshotsTable",
    "PositionUpdatesTable",
    "Priority",
    "QueueStats",
    "RequestStatus",
    "RollRule",
    "RollWhen",
    "VolSurfacesTable",
    "WorkerStateTable",
]


def __getattr__(name: str) -> Any:
    return load(__name__, EXPORTS, name)


def __dir__() -> list[str]:
    return [*__all__, *globals()]
