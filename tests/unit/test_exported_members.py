"""What each package makes public: all of it is there, the list changes on purpose, and importing it stays cheap."""

import importlib
import json
import subprocess
import sys

import pytest

ERRORS = {
    *("AccountMismatch", "DerivationLost", "ErrorCategory", "ExitCode", "GatewayError", "GatewayUnavailable"),
    "LakeError",
    *("RequestConflict", "RequestError", "RequestFailed", "SettingsError", "TableDamaged", "TableIncompatible"),
    *("UnknownRequest", "UsageError", "V6Error", "WorkerBusy"),
}
READERS = {
    *("bars", "continuous_futures", "contracts", "coverage", "export", "futures", "futures_history", "futures_rolls"),
    "iv_surface",
    *(
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
    ),
}
PUBLIC = {
    "v6": {"App", "Clock", "Settings", "load_settings", *ERRORS, *READERS},
    "v6.data": {
        *("Lake", "IBRequest", "IBRequestQueue", "NewRequest", "Priority", "QueueStats", "RequestStatus"),
        *("OptionSnapshotsTable", "FuturesSnapshotsTable", "MarketBarsTable", "PositionUpdatesTable"),
        *("DerivedStatisticsTable", "VolSurfacesTable", "WorkerStateTable"),
        *("Adjustment", "ContinuousFutures", "RollRule", "RollWhen"),
    },
    "v6.request_types": {
        *("Backoff", "Bar", "Catalogue", "Completeness", "Contract", "ContractDetails", "Fetched", "Gateway"),
        *("Greeks", "Job", "MarketDataType", "OptionParameters", "Parameters", "Part", "Position", "Quote"),
        "RequestType",
    },
}
HEAVY = {"polars", "deltalake", "pyarrow", "pydantic", "ib_async", "typer", "numpy", "structlog"}


@pytest.mark.parametrize("package", PUBLIC)
def test_the_public_names_are_these_and_can_be_had(package: str) -> None:
    module = importlib.import_module(package)
    assert set(module.__all__) == PUBLIC[package]
    assert list(module.__all__) == sorted(module.__all__)
    assert all(getattr(module, name) is not None for name in module.__all__)
    assert set(module.__all__) <= set(dir(module))


def test_the_names_are_those_of_the_modules() -> None:
    from v6.data import IBRequestQueue
    from v6.data.ib_request_queue import IBRequestQueue as here  # noqa: N813

    assert IBRequestQueue is here


@pytest.mark.parametrize("package", PUBLIC)
def test_a_name_that_is_not_public_is_refused(package: str) -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        importlib.import_module(package).nonsense  # noqa: B018 - the look-up is the test


@pytest.mark.parametrize("package", PUBLIC)
def test_importing_it_loads_nothing_heavy(package: str) -> None:
    script = f"import json, sys, {package}; print(json.dumps(list(sys.modules)))"
    loaded = json.loads(subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout)
    assert not HEAVY & set(loaded)
