"""Volatility surfaces: what was fitted, and volatilities at any strike and date."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path

import numpy as np
import polars as pl

from v6.data.lake import Lake
from v6.data.vol_surfaces import VolSurfacesTable
from v6.derivations.vol_surface import GRID, VolSurface
from v6.readers.asked import checked
from v6.readers.where import lake_of

STRIKES = 41


@checked
def iv_surface(
    symbol: str,
    *,
    day: date | None = None,
    strikes: Sequence[float] | None = None,
    expiries: Sequence[date] | None = None,
    as_of: datetime | None = None,
    lake: Lake | str | Path | None = None,
) -> pl.LazyFrame:
    """Implied volatilities by the fitted surface of a trading date, the newest without one: strike, expiry, iv (a year,
    as a fraction), ``extrapolation``, which says beyond which quotes a point lies and is null within them, and
    ``quality``: ok, by how much a fit that the point rests on misses its quotes, or why iv is null: a strike that is
    not above 0, an expiry before the date.

    Any strikes and dates may be asked for; without them the fitted expiries, and 41 strikes over all that were fitted.
    ``as_of`` (machine time) is what was known at that moment. No rows where no surface is stored.

    Raises:
        LakeError: the lake is not there or cannot be read.
    """
    surface = VolSurface.read(lake_of(lake), symbol, day, as_of=as_of)
    if surface is None:
        return pl.LazyFrame(schema=GRID)
    dates = [one.expiry for one in surface.slices] if expiries is None else expiries
    return surface.grid(_usual_strikes(surface) if strikes is None else strikes, dates).lazy()


@checked
def vol_surfaces(
    symbol: str | None = None,
    *,
    start: date | None = None,
    end: date | None = None,
    as_of: datetime | None = None,
    lake: Lake | str | Path | None = None,
) -> pl.LazyFrame:
    """The fitted smiles as they are stored (docs/lake.md, vol_surfaces): the last known of each symbol, date and
    expiry, for start <= date < end.

    Raises:
        LakeError: the lake is not there or cannot be read.
    """
    return VolSurfacesTable(lake_of(lake)).current(symbol=symbol, start=start, end=end, as_of=as_of)


def _usual_strikes(surface: VolSurface) -> list[float]:
    lowest = min(one.forward * float(np.exp(one.k_min)) for one in surface.slices)
    highest = max(one.forward * float(np.exp(one.k_max)) for one in surface.slices)
    return [float(strike) for strike in np.linspace(lowest, highest, STRIKES)]
