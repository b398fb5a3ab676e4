"""Cubics through points: as SciPy 1.17's PCHIP gives them, straight between two, and never against their points."""

import numpy as np
import pytest

from v6.derivations.monotone_cubic import cubic_at

RISING = [(1.0, 1.0), (2.0, 3.0), (4.0, 3.5), (7.0, 9.0)]
TURNING = [(0.0, 2.0), (1.0, 0.5), (3.0, 0.7), (4.0, 0.7)]
FALLING = [(1.0, 5.0), (2.5, 4.0), (3.0, 0.0)]


@pytest.mark.parametrize(
    ("points", "x", "expected"),
    [
        (RISING, 1.2, 1.5230990990990991),
        (RISING, 2.5, 3.175688537522294),
        (RISING, 3.9, 3.4608907600493892),
        (RISING, 6.9, 8.723336444820456),
        (TURNING, 0.3, 1.3771),
        (TURNING, 1.5, 0.53125),
        (TURNING, 2.9, 0.69855),
        (TURNING, 3.5, 0.7),
        (FALLING, 1.1, 4.996174682144832),
        (FALLING, 2.4, 4.137556661138751),
        (FALLING, 2.9, 1.0224079601990068),
    ],
)
def test_it_is_the_pchip_of_scipy(points: list[tuple[float, float]], x: float, expected: float) -> None:
    assert cubic_at(x, points) == pytest.approx(expected, abs=1e-12)


def test_two_points_make_a_straight_line() -> None:
    assert cubic_at(2.5, [(2.0, 10.0), (4.0, 18.0)]) == pytest.approx(12.0)


def test_it_rises_where_its_points_do() -> None:
    points = [(0.0, 0.0), (1.0, 0.01), (1.1, 5.0), (9.0, 5.2)]
    values = [cubic_at(x, points) for x in np.linspace(0, 9, 400).tolist()]
    assert all(np.diff(values) >= 0)


def test_nothing_is_extrapolated() -> None:
    with pytest.raises(ValueError, match="lies outside of"):
        cubic_at(5.0, [(2.0, 10.0), (4.0, 18.0)])
