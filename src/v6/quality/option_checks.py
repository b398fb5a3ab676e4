"""Checks of option_snapshots."""

from __future__ import annotations

import polars as pl

from v6.data.option_snapshots import OPTION_SNAPSHOTS
from v6.quality.check import Action, Check, found, number
from v6.quality.quotes import MID, crossed, duplicate, last_outside_range, no_bid, stale

FEWEST = 5  # snapshots of a contract before its own day can judge one of them
SPIKE_SPREADS = 5.0
SPIKE_SHARE = 0.25
PAIRS = 5  # call and put pairs of an expiry before they can judge one of them
PARITY_SHARE = 0.001  # of the underlying, beyond the two half spreads
CELL = ("cycle", "symbol", "trading_class", "expiry")


def spike(rows: pl.DataFrame) -> pl.DataFrame:
    """The mid lies further from where its contract's day says than five spreads and than a quarter of the median
    mid. Where it says: the day's median mid, moved by delta for what the underlying moved. ``value`` is the
    distance in currency. Nothing is found of contracts with fewer than five snapshots that day."""
    mids = rows.with_columns(mid=MID, spread=pl.col("ask") - pl.col("bid")).drop_nulls(["mid", "underlying_price"])
    day = mids.with_columns(
        *(
            pl.col(name).median().over("con_id").alias(f"usual_{name}")
            for name in ("mid", "spread", "underlying_price")
        ),
        steady=pl.col("delta").median().over("con_id").fill_null(0.0),
        count=pl.len().over("con_id"),
    )
    due = pl.col("usual_mid") + pl.col("steady") * (pl.col("underlying_price") - pl.col("usual_underlying_price"))
    away = (pl.col("mid") - due).abs()
    bound = pl.max_horizontal(SPIKE_SPREADS * pl.col("usual_spread").abs(), SPIKE_SHARE * pl.col("usual_mid"))
    wrong = day.with_columns(due=due, away=away).filter(pl.col("count") >= FEWEST, pl.col("away") > bound)
    return found(wrong, value=pl.col("away"), detail=pl.format("mid {} where {} was due", number("mid"), number("due")))


def parity(rows: pl.DataFrame) -> pl.DataFrame:
    """Call less put disagrees with the other strikes of its cycle and expiry by more than both half spreads and 0.1
    % of the underlying. Put-call parity says that call mid less put mid is a straight line over the strikes; the
    line is fitted by least squares, once more without the strikes that lie far off. ``value`` is the distance in
    currency, on both rows of the pair. Nothing is found of expiries with fewer than five pairs. American exercise
    bends the line for strikes deep in the money: those beyond 10 % from the underlying are left out."""
    near = (pl.col("strike") / pl.col("underlying_price") - 1).abs() <= 0.1
    quoted = rows.filter(near).with_columns(mid=MID, half=(pl.col("ask") - pl.col("bid")) / 2).drop_nulls("mid")
    sides = [quoted.filter(pl.col("right") == right) for right in ("C", "P")]
    pairs = (
        sides[0]
        .join(sides[1], on=[*CELL, "strike"], suffix="_put", nulls_equal=True)
        .with_columns(difference=pl.col("mid") - pl.col("mid_put"), allowed=(pl.col("half") + pl.col("half_put")).abs())
    )
    first = pairs.with_columns(away=_from_line(pl.lit(value=True))).with_columns(
        near=pl.col("away") <= 3 * pl.col("away").median().over(CELL) + 1e-9
    )
    away = first.with_columns(away=_from_line(pl.col("near")), count=pl.len().over(CELL))
    bound = pl.col("allowed") + PARITY_SHARE * pl.col("underlying_price")
    wrong = away.filter(pl.col("count") >= PAIRS, pl.col("away") > bound)
    detail = pl.format("call less put {} is {} off its expiry's line", number("difference"), number("away"))
    put = wrong.with_columns(con_id="con_id_put", timestamp="timestamp_put", request_id="request_id_put")
    return pl.concat([found(one, value=pl.col("away"), detail=detail) for one in (wrong, put)])


def _from_line(counted: pl.Expr) -> pl.Expr:
    """Distance of each difference from the least-squares line over the strikes that count, by cycle and expiry."""
    x, y = pl.col("strike"), pl.col("difference")
    mean_x, mean_y = x.filter(counted).mean().over(CELL), y.filter(counted).mean().over(CELL)
    covariance = pl.cov(x.filter(counted), y.filter(counted)).over(CELL)
    slope = covariance / x.filter(counted).var().over(CELL)
    return (y - mean_y - slope * (x - mean_x)).abs()


def greeks_out_of_range(rows: pl.DataFrame) -> pl.DataFrame:
    """Implied volatility not within 0 to 10 (1000 %), delta beyond 1 or of the wrong sign, gamma or vega below 0.
    ``value`` is the implied volatility per year."""
    sign = pl.when(pl.col("right") == "C").then(1).otherwise(-1)
    wrong = rows.filter(
        (pl.col("iv") <= 0)
        | (pl.col("iv") > 10)
        | ((pl.col("delta") * sign) < -1e-6)
        | (pl.col("delta").abs() > 1 + 1e-6)
        | (pl.col("gamma") < 0)
        | (pl.col("vega") < 0)
    )
    detail = pl.format("iv {}, delta {}, gamma {}, vega {}", *(number(n) for n in ("iv", "delta", "gamma", "vega")))
    return found(wrong, value=pl.col("iv"), detail=detail)


OPTION_CHECKS = tuple(
    Check(name=name, table=OPTION_SNAPSHOTS.name, action=action, find=find)
    for name, action, find in (
        ("crossed", Action.QUARANTINE, crossed),
        ("spike", Action.QUARANTINE, spike),
        ("duplicate", Action.QUARANTINE, duplicate),
        ("no_bid", Action.FLAG, no_bid),
        ("stale", Action.FLAG, stale),
        ("parity", Action.FLAG, parity),
        ("last_outside_range", Action.FLAG, last_outside_range),
        ("greeks_out_of_range", Action.FLAG, greeks_out_of_range),
    )
)
