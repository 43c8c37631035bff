"""Run by the reader of chapter 2: python -m pytest tutorials/exercises/test_ch02.py"""

import numpy as np
from ch02 import onto_row, polyak_from_below, polyak_step

from refopt import PROBLEMS, SPS, Oracle


def test_polyak_step_is_the_gap_over_the_squared_gradient():
    assert polyak_step(5.0, 3.0, np.array([3.0, 4.0])) == 2 / 25


def test_polyak_step_is_zero_where_there_is_nothing_to_gain():
    assert polyak_step(3.0, 3.0, np.array([3.0, 4.0])) == 0
    assert polyak_step(2.0, 3.0, np.array([3.0, 4.0])) == 0
    assert polyak_step(5.0, 3.0, np.zeros(2)) == 0


class Row(Oracle):
    """(a'x - b)²/2: least, 0, on a hyperplane."""

    f_star = 0.0

    def __init__(self, a, b):
        self.a, self.b = a, b

    def __call__(self, x):
        r = self.a @ x - self.b
        return r * r / 2, r * self.a


def test_onto_row_ends_on_the_hyperplane_by_the_shortest_way():
    x, a = np.array([1.0, 2.0, -1.0]), np.array([2.0, -1.0, 0.5])
    y = onto_row(x, a, 3.0)
    assert abs(a @ y - 3) < 1e-12
    assert np.linalg.norm(np.cross(y - x, a)) < 1e-12


def test_onto_row_is_the_stochastic_polyak_step_with_c_one_half():
    x, a, rule = np.array([1.0, 2.0, -1.0]), np.array([2.0, -1.0, 0.5]), SPS(c=0.5)
    rule.start(x, Row(a, 3.0))
    np.testing.assert_allclose(onto_row(x, a, 3.0), x + rule.step(x, Row(a, 3.0)), rtol=1e-12)


def test_polyak_from_below_solves_the_absolute_value_by_halves():
    """On |x| from 4 with lower = -1: x+ = (|x| - 1)/2 at first."""
    seen = []

    def f(x):
        seen.append(float(x[0]))
        return abs(x[0]), np.sign(x)

    polyak_from_below(f, np.array([4.0]), lower=-1.0, epochs=1, steps=3)
    np.testing.assert_allclose(seen[:3], [4, 1.5, 0.25], rtol=1e-12)


def test_polyak_from_below_keeps_what_its_theorem_promises():
    problem, T, K = PROBLEMS["least-absolute"](), 400, 12
    lower = problem.f_star - 10
    best = polyak_from_below(problem, problem.x0.copy(), lower, K, T)
    distance = np.linalg.norm(problem.x0 - problem.x_star)
    assert 0 <= best - problem.f_star <= max(2**0.5 * problem.G * distance / T**0.5, 10 / 2 ** (K - 1))
    assert best - problem.f_star < 0.05
