"""Non-linear least squares of a few parameters: Levenberg-Marquardt with differences for derivatives."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

STEPS = 60
DAMPING = 1e-3
LARGEST_DAMPING = 1e10
DIFFERENCE = 1e-6
TOLERANCE = 1e-6  # relative gain of a step below which it ends

Floats = npt.NDArray[np.float64]
Residuals = Callable[[Floats], Floats]


def least_squares(residuals: Residuals, start: Floats) -> Floats:
    """The parameters near ``start`` at which the sum of squared residuals is least.

    Source: Levenberg (1944), Marquardt (1963), with Marquardt's scaling. The same start gives the same answer.
    """
    x, damping = start.astype(np.float64), DAMPING
    r = residuals(x)
    cost = float(r @ r)
    for _ in range(STEPS):
        jacobian = _jacobian(residuals, x, r)
        normal, gradient = jacobian.T @ jacobian, jacobian.T @ r
        better = False
        while not better and damping < LARGEST_DAMPING:
            scaled = normal + damping * np.diag(np.maximum(np.diag(normal), 1e-12))
            trial = x - np.linalg.solve(scaled, gradient)
            r_trial = residuals(trial)
            trial_cost = float(r_trial @ r_trial)
            better = np.isfinite(trial_cost) and trial_cost < cost
            damping = max(damping / 5, 1e-12) if better else damping * 4
        if not better:
            break
        gain, x, r, cost = cost - trial_cost, trial, r_trial, trial_cost
        if gain <= TOLERANCE * cost:
            break
    return x


def _jacobian(residuals: Residuals, x: Floats, r: Floats) -> Floats:
    columns = np.empty((len(r), len(x)))
    for place in range(len(x)):
        moved = x.copy()
        moved[place] += DIFFERENCE
        columns[:, place] = (residuals(moved) - r) / DIFFERENCE
    return columns
