"""Run by the reader of chapter 1: python -m pytest tutorials/exercises/test_ch01.py"""

from itertools import islice

import numpy as np
from ch01 import best_constant_step, largest_curvature, steps_needed

from refopt import PROBLEMS, SPECIAL, GradientDescent, descend


def distances(problem, eta, steps):
    """|x_t - x*| for t = 0 .. steps."""
    points = [problem.x0] + [s.x.copy() for s in islice(descend(GradientDescent(eta), problem, problem.x0), steps)]
    return [float(np.linalg.norm(x - problem.x_star)) for x in points]


def test_best_constant_step_has_the_factor_it_says():
    problem = SPECIAL["zigzag"](10)
    eta, rho = best_constant_step(np.array([10.0, 1.0]))
    d = distances(problem, eta, 20)
    np.testing.assert_allclose(d, d[0] * rho ** np.arange(21), rtol=1e-9)


def test_no_other_constant_step_is_better_in_the_worst_case():
    eigenvalues = np.array([3.0, 0.5, 7.0])
    eta, rho = best_constant_step(eigenvalues)
    assert np.isclose(rho, abs(1 - eta * eigenvalues).max())
    for other in eta * np.array([0.9, 0.99, 1.01, 1.1]):
        assert abs(1 - other * eigenvalues).max() > rho


def test_steps_needed_suffice_and_are_not_too_many():
    problem = SPECIAL["zigzag"](10)
    steps = steps_needed(10, 3)
    assert steps == int(steps)
    d = distances(problem, 2 / 11, int(steps))
    assert d[-1] <= 1e-3 * d[0] < d[-2]


def test_largest_curvature_is_l():
    problem = PROBLEMS["quadratic"]()
    found = largest_curvature(lambda v: problem.hvp(problem.x0, v), np.arange(1.0, 9), 60)
    np.testing.assert_allclose(found, problem.L, rtol=1e-9)


def test_largest_curvature_does_not_overflow():
    assert np.isclose(largest_curvature(lambda v: np.array([1e30, 1.0]) * v, np.ones(2), 50), 1e30)


def test_largest_curvature_makes_as_many_products_as_it_was_told():
    """Two products with diag(4, 1) turn (1, 1) to (16, 1), whose Rayleigh quotient is 1025/257."""
    np.testing.assert_allclose(largest_curvature(lambda v: np.array([4.0, 1]) * v, np.ones(2), 2), 1025 / 257)
