"""What every table promises, and that docs/lake.md says the same."""

from pathlib import Path

import polars as pl
import pytest

from v6.data import describe
from v6.data.lake import Lake
from v6.data.table import tables
from v6.data.table_spec import TableSpec
from v6.errors import TableIncompatible

DOCS = Path(__file__).parents[2] / "docs" / "lake.md"
SPECS = describe.specs()
RESULT_TABLES = ("option_snapshots", "futures_snapshots", "market_bars", "position_updates", "derived_statistics")
OPTION_COLUMNS = {
    *("timestamp", "symbol", "strike", "expiry", "right", "bid", "ask", "last", "volume", "open_interest"),
    *("iv", "delta", "gamma", "theta", "vega", "date"),
}
FUTURES_COLUMNS = {
    *("timestamp", "symbol", "expiry", "bid", "ask", "last", "volume", "open_interest", "implied_vol", "date"),
    *("change_1h", "change_4h", "change_overnight", "change_daily", "is_front_month"),
}


def test_the_page_describes_the_tables_as_they_are() -> None:
    page = DOCS.read_text(encoding="utf-8")
    assert describe.replace_generated(page, describe.describe(SPECS)) == page, (
        "run: python -m v6.data.describe docs/lake.md"
    )


def test_a_page_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="lacks the lines"):
        describe.replace_generated("# Lake", "tables")


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_a_spec_is_whole(spec: TableSpec) -> None:
    names = spec.schema.names()
    assert len(set(names)) == len(spec.columns)
    assert {*spec.partition_by, *spec.sort_by, *spec.key} <= set(names)
    assert all(column.description for column in spec.columns)
    assert not any(isinstance(dtype, pl.Datetime) and dtype.time_zone != "UTC" for dtype in spec.schema.values())


@pytest.mark.parametrize("name", RESULT_TABLES)
def test_result_tables_say_who_brought_a_row_and_when_it_was_known(name: str) -> None:
    never_null = {column.name for column in tables()[name].spec.columns if not column.nullable}
    assert {"request_id", "known_at", "timestamp", "date", "symbol"} <= never_null


def test_users_column_names_stay() -> None:
    known = tables()
    assert set(known["option_snapshots"].spec.schema.names()) >= OPTION_COLUMNS
    assert set(known["futures_snapshots"].spec.schema.names()) >= FUTURES_COLUMNS


def test_the_registry_names_each_table_once(tmp_path: Path) -> None:
    for name, table in tables().items():
        assert table.spec.name == name
        assert table(Lake(tmp_path)).scan().collect().schema == table.spec.schema


def test_rows_that_do_not_fit_are_refused_with_the_columns_named(tmp_path: Path) -> None:
    table = tables()["option_snapshots"](tmp_path)
    with pytest.raises(TableIncompatible, match=r"unknown columns \['bidd'\].*'strike'"):
        table.prepare(pl.DataFrame({"symbol": ["SPY"], "bidd": [1.0]}))
