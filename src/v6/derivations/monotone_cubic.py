"""A smooth curve through points that rises where they rise: piecewise cubic between neighbours.

Fritsch and Butland, A Method for Constructing Local Monotone Piecewise Cubic Interpolants, SIAM J. Sci. Stat. Comput. 5
(1984), with the three-point ends that PCHIP has.
"""

from __future__ import annotations

from collections.abc import Sequence


def cubic_at(x: float, points: Sequence[tuple[float, float]]) -> float:
    """The value at ``x`` between two of two or more points (x, y), ascending in x; of two points a straight line.

    Between two neighbours the answer depends on them and on the one before and after them alone.

    Raises:
        ValueError: ``x`` lies outside of the points.
    """
    place = next((i for i in range(len(points) - 1) if points[i][0] <= x <= points[i + 1][0]), None)
    if place is None:
        raise ValueError(f"{x} lies outside of {points[0][0]} to {points[-1][0]}")
    (left, low), (right, high) = points[place], points[place + 1]
    step, t = right - left, (x - left) / (right - left)
    start, end = _slope(points, place), _slope(points, place + 1)
    rise = t * t * (3 - 2 * t)
    return low + rise * (high - low) + step * t * (1 - t) * (start * (1 - t) - end * t)


def _slope(points: Sequence[tuple[float, float]], place: int) -> float:
    """The derivative of the curve at a point."""
    if len(points) == 2:
        return _steepness(points, 0)
    if 0 < place < len(points) - 1:
        return _inner_slope(points, place)
    return _end_slope(points, *((0, 1) if place == 0 else (place - 1, place - 2)))


def _inner_slope(points: Sequence[tuple[float, float]], place: int) -> float:
    """The weighted harmonic mean of the steepness on both sides; 0 where they differ in sign."""
    before, after = _steepness(points, place - 1), _steepness(points, place)
    if before * after <= 0:
        return 0.0
    left, right = _width(points, place - 1), _width(points, place)
    heavy, light = 2 * right + left, right + 2 * left
    return (heavy + light) / (heavy / before + light / after)


def _end_slope(points: Sequence[tuple[float, float]], nearest: int, next_: int) -> float:
    """By the parabola through three points, held to the steepness of the interval at the end."""
    near, far = _steepness(points, nearest), _steepness(points, next_)
    width, further = _width(points, nearest), _width(points, next_)
    slope = ((2 * width + further) * near - width * far) / (width + further)
    if slope * near <= 0:
        return 0.0
    return 3 * near if near * far <= 0 and abs(slope) > 3 * abs(near) else slope


def _steepness(points: Sequence[tuple[float, float]], place: int) -> float:
    return (points[place + 1][1] - points[place][1]) / _width(points, place)


def _width(points: Sequence[tuple[float, float]], place: int) -> float:
    return points[place + 1][0] - points[place][0]
