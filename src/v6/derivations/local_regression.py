"""Local quadratic regression: the value at a place from the points around it, how well it is known, how wide to look.

Cleveland, Robust Locally Weighted Regression, JASA 74 (1979), with tricube weights; standard errors as in Cleveland and
Devlin, Locally Weighted Regression, JASA 83 (1988); the bandwidth by the method of Lepski, On a Problem of Adaptive
Estimation in Gaussian White Noise, Theory of Probability and Its Applications 35 (1990).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np
import numpy.typing as npt

NEIGHBOURS = 8  # points that a local fit uses at the least
MOST_PLACES = 40  # at which bandwidths are compared
LEAST_ERROR = 1e-6
AGREEMENT = 2.5  # standard errors

Floats = npt.NDArray[np.float64]


def local_fit(x: Floats, values: Floats, error: Floats, targets: Floats, bandwidth: float) -> Floats:
    """A quadratic through the points around each target, weighted by nearness and by 1 / error², at the target."""
    fitted: Floats = smoother(x, error, targets, bandwidth) @ values
    return fitted


def smoother(x: Floats, error: Floats, targets: Floats, bandwidth: float) -> Floats:
    """How much each point's value counts at each target: a row a target; each has eight points where there are so many.

    Values times a row are the local fit; the root of the squares of a row times the points' variances its standard
    error.
    """
    distance = np.abs(x[None, :] - targets[:, None])
    count = min(NEIGHBOURS, len(x)) - 1
    reach = np.maximum(bandwidth, 1.001 * np.partition(distance, count, axis=1)[:, count])
    near = np.maximum(1 - _cube(distance / reach[:, None]), 0)
    weight = _cube(near) / np.maximum(error, LEAST_ERROR)[None, :] ** 2
    z = (x[None, :] - targets[:, None]) / reach[:, None]
    moments = [np.sum(part, axis=1) for part in accumulate((weight, z, z, z, z), np.multiply)]
    left = np.array([[moments[i + j] for j in range(3)] for i in range(3)]).transpose(2, 0, 1)
    ridge = 1e-10 * np.trace(left, axis1=1, axis2=2)[:, None, None] * np.eye(3)[None, :, :]
    first = np.tile(np.array([1.0, 0.0, 0.0])[:, None], (len(targets), 1, 1))
    c = np.linalg.solve(left + ridge, first)[:, :, 0]
    counts: Floats = weight * (c[:, :1] + c[:, 1:2] * z + c[:, 2:] * z * z)
    return counts


def _cube(values: Floats) -> Floats:
    return values * values * values  # many times faster than a power


def widest_bandwidth(x: Floats, values: Floats, error: Floats, noise: Floats, bandwidths: Sequence[float]) -> float:
    """Of ascending bandwidths the widest whose fit agrees with those of all narrower ones.

    Fits agree where they differ by less than 2.5 standard errors of the narrower one at each of 40 places, evenly
    spaced among the points; ``noise`` is the standard deviation of each value.
    """
    places = x[np.unique(np.linspace(0, len(x) - 1, min(MOST_PLACES, len(x))).round().astype(np.int64))]
    fits: list[tuple[Floats, Floats]] = []
    for bandwidth in bandwidths:
        counts = smoother(x, error, places, bandwidth)
        fit = counts @ values
        if any(np.any(np.abs(fit - narrower) > AGREEMENT * doubt) for narrower, doubt in fits):
            break
        fits.append((fit, np.sqrt(counts**2 @ noise**2)))
    return bandwidths[len(fits) - 1]
