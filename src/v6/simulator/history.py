"""Daily index history laid over the calendar: real where there is some, drawn from it by a seed past both ends."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from zlib import crc32

import numpy as np
import numpy.typing as npt
import polars as pl

from v6.simulator.calendar import Sessions

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

HISTORY_FILE = Path(__file__).parent / "data" / "market_history.parquet"
EPOCH_HISTORY = date(2018, 12, 31)  # this session of the history …
EPOCH_SESSION = date(2026, 12, 31)  # … is this session of the market
MICRO = 1_000_000
OPEN, HIGH, LOW, CLOSE = range(4)
_FIELDS = ("open", "high", "low", "close")


@dataclass(frozen=True, kw_only=True, slots=True)
class History:
    """Index points in millionths, ``[open, high, low, close] x session``, shares a session, and VIX closes."""

    spx: IntArray
    comp: IntArray
    spx_volume: IntArray
    comp_volume: IntArray
    vix: FloatArray
    real: slice  # the sessions that come from history
    epoch: int  # the position of EPOCH_SESSION


def generator(seed: int, *keys: str | int) -> np.random.Generator:
    """An independent stream of random numbers for a seed and what it is for."""
    return np.random.default_rng([seed, *(crc32(key.encode()) if isinstance(key, str) else key for key in keys)])


def load_history(sessions: Sessions, seed: int) -> History:
    """Lay the history over the sessions; past either end both indices take the returns of the same drawn session."""
    frame = pl.read_parquet(HISTORY_FILE).sort("symbol", "date")
    spx, comp = (frame.filter(pl.col("symbol") == symbol) for symbol in ("SPX", "COMP"))
    epoch = sessions.position(EPOCH_SESSION)
    real = slice(epoch + 1 - spx.height, epoch + 1)
    picks = _picks(seed, len(sessions), spx.height)
    spx_points, comp_points = (_extend(_points(part), picks, real) for part in (spx, comp))
    return History(
        spx=spx_points,
        comp=comp_points,
        spx_volume=_volumes(spx, picks, real),
        comp_volume=_volumes(comp, picks, real),
        vix=_vix(frame.filter(pl.col("symbol") == "VIX"), spx_points[CLOSE] / MICRO, epoch),
        real=real,
        epoch=epoch,
    )


def _picks(seed: int, sessions: int, rows: int) -> IntArray:
    """The row of history that each session outside it takes its returns from."""
    return generator(seed, "returns").integers(1, rows, size=sessions)


def _points(part: pl.DataFrame) -> IntArray:
    columns = [np.rint(part[field].to_numpy() * MICRO) for field in _FIELDS]
    return np.asarray(columns, dtype=np.int64)


def _extend(points: IntArray, picks: IntArray, real: slice) -> IntArray:
    ratios = points[:, 1:] / points[CLOSE, :-1]  # of each row to the close before it
    drawn = ratios[:, picks - 1]
    result = np.empty(drawn.shape, dtype=np.int64)
    result[:, real] = points
    growth = np.cumprod(drawn[CLOSE, real.stop :])
    result[:, real.stop :] = np.rint(drawn[:, real.stop :] * points[CLOSE, -1] * (growth / drawn[CLOSE, real.stop :]))
    # Backwards: the close before session t is the close of t divided by the return of t.
    shrink = np.cumprod(1 / drawn[CLOSE, real.start : 0 : -1])[::-1]
    before = np.concatenate([[shrink[0] / drawn[CLOSE, 0]], shrink[:-1]])
    result[:, : real.start] = np.rint(drawn[:, : real.start] * points[CLOSE, 0] * before)
    return result


def _volumes(part: pl.DataFrame, picks: IntArray, real: slice) -> IntArray:
    """A session without volume in the source takes that of the session before it."""
    volume = part.select(pl.col("volume").replace(0, None).forward_fill())["volume"].to_numpy()
    result: IntArray = volume[picks].astype(np.int64)
    result[real] = volume
    return result


def _vix(part: pl.DataFrame, closes: FloatArray, epoch: int) -> FloatArray:
    """VIX closes: from history where there are some, else 4 + 0.9 x realised volatility of 21 sessions, in [9, 80]."""
    returns = np.diff(np.log(closes), prepend=np.log(closes[0]))
    sums, squares = np.cumsum(returns), np.cumsum(returns**2)
    window = np.minimum(np.arange(1, len(closes) + 1), 21)
    total, square = sums.copy(), squares.copy()
    total[21:] -= sums[:-21]
    square[21:] -= squares[:-21]
    realised = 100 * np.sqrt(252 * np.maximum(square / window - (total / window) ** 2, 0.0))
    result = np.round(np.clip(4 + 0.9 * realised, 9.0, 80.0), 2)
    after = part.filter(pl.col("date") > EPOCH_HISTORY).height
    last = epoch + after
    result[last + 1 - part.height : last + 1] = part["close"].to_numpy()
    return result
