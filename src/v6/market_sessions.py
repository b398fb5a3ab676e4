"""When markets trade, as exchange_calendars and pandas_market_calendars say, kept in a file beside this module.

To ask the libraries takes a command half a second and more, most of it pandas. The file has what they say in the
versions that it names; another version that is installed is asked itself. ``python -m v6.market_sessions`` asks both
and writes the file anew.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import polars as pl

FILE = Path(__file__).with_suffix(".parquet")
FIRST_DAY = date(1990, 1, 1)
LAST_DAY = date(2046, 12, 31)
NANOSECONDS = 1_000_000_000
SCHEMA = {
    "library": pl.String,
    "version": pl.String,
    "calendar": pl.String,
    "day": pl.Date,
    "opens": pl.Int64,
    "closes": pl.Int64,
}


class MarketSession(NamedTuple):
    """A session: its date, and the UTC seconds at which it opens and closes."""

    day: date
    opens: int
    closes: int


def market_sessions(library: str, calendar: str, *, file: Path = FILE) -> Sequence[MarketSession]:
    """What a library says of a market, oldest first. Raises ModuleNotFoundError when it is not installed."""
    kept = _kept(library, calendar, file) if find_spec(library) else ()
    return kept or list(ask(library, calendar))


def ask(library: str, calendar: str) -> Iterator[MarketSession]:
    """What the library itself says. Raises ModuleNotFoundError when it is not installed."""
    with warnings.catch_warnings():
        # Both libraries read columns in ways that pandas 3.1 announces it will change; the values are right today.
        warnings.filterwarnings("ignore", message="Series.values returning an ndarray that drops timezone")
        warnings.filterwarnings("ignore", module="pandas_market_calendars")
        warnings.filterwarnings("ignore", module="exchange_calendars")
        yield from _LIBRARIES[library](calendar)


def write(file: Path = FILE) -> None:
    """Ask for all that v6 uses, and write it."""
    rows = [
        (library, version(library), calendar, *session)
        for library, calendar in USED
        for session in ask(library, calendar)
    ]
    pl.DataFrame(rows, SCHEMA, orient="row").write_parquet(file, compression="zstd", compression_level=19)


def _kept(library: str, calendar: str, file: Path) -> Sequence[MarketSession]:
    """What the file has of the version that is installed; nothing when it has another."""
    rows = pl.read_parquet(file).filter(library=library, version=version(library), calendar=calendar)
    return [MarketSession(*row) for row in rows.select(MarketSession._fields).iter_rows()]


def _of_exchange_calendars(calendar: str) -> Iterator[MarketSession]:
    import exchange_calendars

    found = exchange_calendars.get_calendar(calendar, start=FIRST_DAY.isoformat(), end=LAST_DAY.isoformat())
    for stamp, opens, closes in zip(
        found.sessions, found.opens_nanos.tolist(), found.closes_nanos.tolist(), strict=True
    ):
        yield MarketSession(stamp.date(), opens // NANOSECONDS, closes // NANOSECONDS)


def _of_pandas_market_calendars(calendar: str) -> Iterator[MarketSession]:
    import pandas_market_calendars

    found = pandas_market_calendars.get_calendar(calendar).schedule(FIRST_DAY.isoformat(), LAST_DAY.isoformat())
    for stamp, opens, closes in zip(found.index, found["market_open"], found["market_close"], strict=True):
        yield MarketSession(stamp.date(), opens.value // NANOSECONDS, closes.value // NANOSECONDS)


_LIBRARIES: Mapping[str, Callable[[str], Iterator[MarketSession]]] = {
    "exchange_calendars": _of_exchange_calendars,
    "pandas_market_calendars": _of_pandas_market_calendars,
}
XNYS = ("exchange_calendars", "XNYS")
GLOBEX = ("pandas_market_calendars", "CME Globex Equity")
CBOE_OPTIONS = ("pandas_market_calendars", "CBOE_Index_Options")
USED = (XNYS, GLOBEX, CBOE_OPTIONS)


if __name__ == "__main__":
    write()
