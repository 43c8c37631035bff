"""Run by the reader of chapter 8: python -m pytest tutorials/exercises/test_ch08.py"""

import numpy as np
from ch08 import chebyshev_cycle, rate_for_floor, triangle

from refopt import Cycle


def test_triangle_is_the_package_s():
    for steps in (10, 7):
        expected = [Cycle(0.1, 0.9, steps)(k) for k in range(3 * steps)]
        np.testing.assert_allclose([triangle(k, 0.1, 0.9, steps) for k in range(3 * steps)], expected, rtol=1e-12)


def test_one_chebyshev_step_is_the_best_constant():
    np.testing.assert_allclose(chebyshev_cycle(1.0, 9.0, 1), [0.2])


def test_chebyshev_cycle_has_the_factor_of_theorem_1_and_is_sorted():
    etas = np.array(chebyshev_cycle(1.0, 30.0, 6))
    assert (np.diff(etas) < 0).all()
    factors = abs(np.prod(1 - etas[:, None] * np.linspace(1, 30, 2000), axis=0))
    np.testing.assert_allclose(factors.max(), 1 / np.cosh(6 * np.arccosh(31 / 29)), rtol=1e-9)


def test_the_floor_is_reached():
    """E x² ← (1 - η)² E x² + η² V."""
    eta, moment = rate_for_floor(0.05, 2.0), 3.0
    assert 0 < eta < 2
    for _ in range(2000):
        moment = (1 - eta) ** 2 * moment + eta**2 * 2.0
    np.testing.assert_allclose(moment, 0.05, rtol=1e-9)
