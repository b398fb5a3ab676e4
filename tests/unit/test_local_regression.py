"""Local fits, how well they are known, how wide they look; where a function is zero."""

import math

import numpy as np
import pytest

from v6.derivations.bracketing import zero_between
from v6.derivations.estimate import Estimate
from v6.derivations.local_regression import local_fit, smoother, widest_bandwidth

BANDWIDTHS = (0.1, 0.3, 1.0)
X = np.linspace(-1, 1, 81)
ERROR = np.full(81, 0.01)


def test_a_local_fit_gives_back_a_quadratic() -> None:
    targets = np.array([-1.0, 0.0, 0.33, 1.0])
    fitted = local_fit(X, 1 + 2 * X - 3 * X * X, ERROR, targets, 0.3)
    assert fitted == pytest.approx(1 + 2 * targets - 3 * targets * targets, abs=1e-7)


def test_the_counts_of_a_smoother_give_the_scatter_of_its_fits() -> None:
    counts = smoother(X, ERROR, np.zeros(1), 0.3)[0]
    noise = np.random.default_rng(1).normal(0, 0.01, (4000, 81))
    assert float(np.std(noise @ counts)) == pytest.approx(0.01 * math.sqrt(float(counts @ counts)), rel=0.05)


def test_the_bandwidth_is_wide_where_noise_hides_a_bend_and_narrow_where_it_does_not() -> None:
    bend, draws = np.abs(X), np.random.default_rng(2).normal(0, 1, (20, 81))

    def found(noise: float) -> list[float]:
        errors = np.full(81, noise)
        return [widest_bandwidth(X, bend + noise * draw, ERROR, errors, BANDWIDTHS) for draw in draws]

    assert found(1e-4) == [0.1] * 20
    assert found(1.0).count(1.0) > 10


def test_a_bend_at_one_place_keeps_the_bandwidth_narrow_everywhere() -> None:
    bent = np.where(X > 0.8, 5 * (X - 0.8), 0.0)
    precise = np.full(81, 1e-3)
    assert widest_bandwidth(X, bent, ERROR, precise, BANDWIDTHS) == 0.1


@pytest.mark.parametrize(("low", "high"), [(0.0, 3.0), (3.0, 0.0), (0.0, 1000.0)])
def test_a_zero_is_found_between_two_signs(low: float, high: float) -> None:
    assert zero_between(lambda x: x**3 - 2, low, high) == pytest.approx(2 ** (1 / 3), abs=1e-9)


def test_between_equal_signs_there_is_no_zero() -> None:
    assert zero_between(lambda x: x * x + 1, -1.0, 1.0) is None


def test_an_estimate_says_what_it_leaves_open_beyond_ten_basis_points() -> None:
    assert Estimate(value=0.2, by_quotes=0.0003).doubt == ""
    assert Estimate(value=0.2, by_quotes=0.0003, by_forward=-0.0004).doubt == "the quotes leave 15 basis points open"
