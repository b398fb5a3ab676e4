"""How near statistics of chains come to the surface that they were priced on, by spot and days to expiry.

    python -m bench.bench_surface [--spots 5 20 60 …] [--chains 8] [--seed 1]

Chains by the simulated market's own pricing and quotes at drawn volatilities (10 % to 100 %), skews, dividends,
listings (as funds and as stocks) and moments; each quoted in cents, in cents below 3.00 and nickels from there on, and
in nickels and dimes (as SPX); each whole, and once more with a tenth of its quotes missing or crossed. An error is in
basis points of volatility; ``wide`` counts those beyond 10 (50 of spoiled chains), ``silent`` those of them whose
quality does not say that the quotes leave so much open, or between which far expiries it lies. The last line is one
JSON object.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
from bench.known_surface import CENTS, LISTINGS, KnownSurface, Steps, spoiled

from v6.derivations.chain import Chain
from v6.derivations.constant_maturity import iv_at_the_money_by_expiry, iv_constant_maturity
from v6.derivations.risk_reversals import risk_reversal_25_delta, risk_reversal_25_delta_by_expiry
from v6.derivations.statistic import Value
from v6.derivations.variance_index import variance_index

SPOTS = (5.0, 20.0, 60.0, 100.0, 250.0, 600.0, 2500.0, 6000.0)
DAYS = (1, 2, 3, 4, 7, 10, 14, 21, 28, 35, 49, 63, 91, 126, 182, 273, 400)
PARTS = (4, 14, 28, 63, 126, 400)  # days up to which errors are counted together
BASIS_POINT = 1e-4
TOLERANCE = {"whole": 10.0, "spoiled": 50.0}
SAYS = "leave|between expiries"

QUOTED = {"cents": CENTS, "cents, nickels": Steps(cheap=1, dear=5), "nickels, dimes": Steps(cheap=5, dear=10)}

Row = dict[str, Any]


def surfaces(spots: Iterable[float], count: int, seed: int) -> Iterator[KnownSurface]:
    """Drawn surfaces, so many of each spot."""
    random = np.random.default_rng(seed)
    for spot in spots:
        for place in range(count):
            start = datetime(2026, 1, 5, 15, 0, tzinfo=UTC)
            yield KnownSurface(
                spot=round(spot * math.exp(random.uniform(-0.15, 0.15)), 2),
                level=math.exp(random.uniform(math.log(0.1), 0.0)),
                long_run=math.exp(random.uniform(math.log(0.12), math.log(0.5))),
                tilt=random.uniform(0.0, 1.2),
                curve=random.uniform(0.1, 0.8),
                dividend=random.uniform(0.0, 0.04),
                listing=list(LISTINGS)[place % len(LISTINGS)],
                now=start + timedelta(days=int(random.integers(330)), seconds=int(random.integers(18_000))),
                days=DAYS,
            )


def compared(surface: KnownSurface, rows: pl.DataFrame) -> Iterator[tuple[str, Value, float | None]]:
    """Name, value and what it should be."""
    made = Chain.of(rows, day=surface.now.date())
    for value in iv_at_the_money_by_expiry(made):
        yield "at the money", value, surface.at_the_money(surface.years(_days(value)))
    for value in risk_reversal_25_delta_by_expiry(made):
        yield "risk reversal", value, surface.tilt_at(0.25, surface.years(_days(value)))
    for value in iv_constant_maturity(made):
        yield "constant maturity", value, surface.at_the_money(_days(value) / 365)
    for value in risk_reversal_25_delta(made):
        yield "risk reversal at constant maturity", value, surface.tilt_at(0.25, _days(value) / 365)
    for value in variance_index(made):
        yield "variance index", value, surface.at_tenor(_days(value), surface.index)


def _days(value: Value) -> int:
    assert value.tenor_days is not None
    return value.tenor_days


def errors(spots: Iterable[float], count: int, seed: int) -> Iterator[Row]:
    """A row a value: spot, steps of its quotes, chain, statistic, days, error in basis points (null where there is no
    value), quality."""
    for place, surface in enumerate(surfaces(spots, count, seed)):
        nearest = min(SPOTS, key=lambda spot: abs(math.log(spot / surface.spot)))
        for quoted, steps in QUOTED.items():
            whole = surface.rows(steps)
            for chain, rows in (("whole", whole), ("spoiled", spoiled(whole, 0.1, place))):
                for row in _errors_of(surface, rows, TOLERANCE[chain]):
                    yield {"spot": nearest, "quoted": quoted, "chain": chain, **row}


def _errors_of(surface: KnownSurface, rows: pl.DataFrame, tolerance: float) -> Iterator[Row]:
    for name, value, known in compared(surface, rows):
        is_there = value.value is not None and known is not None
        error = abs((value.value or 0.0) - (known or 0.0)) / BASIS_POINT if is_there else None
        is_wide = error is not None and error > tolerance
        yield {
            "statistic": name, "days": _days(value), "error": error, "is_wide": is_wide, "quality": value.quality,
        }  # fmt: skip


def summary(rows: pl.DataFrame, *by: str) -> pl.DataFrame:
    """Quantiles of the errors and how often quality speaks, by some columns."""
    says = pl.col("quality").str.contains(SAYS)
    return rows.group_by(by).agg(
        values=pl.len(),
        null=pl.col("error").is_null().sum(),
        median=pl.col("error").median().round(1),
        p95=pl.col("error").quantile(0.95).round(1),
        largest=pl.col("error").max().round(1),
        wide=pl.col("is_wide").sum(),
        silent=(pl.col("is_wide") & ~says).sum(),
        says=(says & pl.col("error").is_not_null()).sum(),
    ).sort(by)  # fmt: skip


def main() -> None:
    """Draw, derive, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spots", type=float, nargs="+", default=SPOTS)
    parser.add_argument("--chains", type=int, default=8, help="of each spot")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    began = time.perf_counter()
    rows = pl.DataFrame(list(errors(options.spots, options.chains, options.seed)), infer_schema_length=None)
    part = pl.col("days").replace_strict({days: _part(days) for days in rows["days"].unique()}, return_dtype=pl.Int64)
    rows = rows.with_columns(upto_days=part)
    whole = rows.filter(chain="whole", quoted="cents")
    with pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_width_chars=120, tbl_hide_dataframe_shape=True):
        for name in ("at the money", "risk reversal"):
            print(
                f"{name}, whole, in cents",
                summary(whole.filter(pl.col("statistic") == name), "spot", "upto_days"),
                sep="\n",
            )
        totals = summary(rows, "quoted", "chain", "statistic")
        print(totals)
    print(json.dumps({"seconds": round(time.perf_counter() - began), "errors": totals.to_dicts()}))


def _part(days: int) -> int:
    return next(last for last in PARTS if days <= last)


if __name__ == "__main__":
    main()
