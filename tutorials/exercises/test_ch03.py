"""Run by the reader of chapter 3: python -m pytest tutorials/exercises/test_ch03.py"""

import numpy as np
from ch03 import bb_steps, finishing_steps, stabilised_bb1

from refopt import BB1, PROBLEMS, descend
from refopt.problems import spd


def test_bb_steps_solve_their_least_squares_problems():
    s, y = np.array([1.0, 2.0, -1.0]), np.array([2.0, 3.0, 1.0])
    longer, shorter = bb_steps(s, y)
    for factor in (0.99, 1.01):
        assert np.linalg.norm(s / longer - y) < np.linalg.norm(s / (factor * longer) - y)
        assert np.linalg.norm(s - shorter * y) < np.linalg.norm(s - factor * shorter * y)


def test_bb_steps_have_no_sign():
    s, y = np.array([1.0, 2.0]), np.array([-1.0, -3.0])
    assert bb_steps(s, y) == bb_steps(s, -y)
    assert min(bb_steps(s, y)) > 0


def test_finishing_steps_finish():
    A = spd(np.array([1.0, 2.0, 2.0, 5.0, 5.0]))
    steps = finishing_steps(A)
    assert len(steps) == 3, "one for each different eigenvalue"
    X = np.eye(5)  # five starts, one in each column
    for eta in steps:
        X = X - eta * (A @ X)
    assert np.abs(X).max() < 1e-12


def last_of_bb1(problem, steps):
    """The point after so many steps of the package's BB1."""
    for step in descend(BB1(lr=0.1), problem, problem.x0):
        if step.t == steps:
            return step.x.copy()


def test_without_a_limit_the_stabilised_rule_is_bb1():
    problem = PROBLEMS["logistic"]()
    x = stabilised_bb1(lambda x: problem(x)[1], problem.x0, 0.1, np.inf, 12)
    np.testing.assert_allclose(x, last_of_bb1(problem, 12), rtol=1e-6)


def test_a_limit_breaks_the_cycle():
    seen = []

    def gradient(x):
        seen.append(x.copy())
        return np.tanh(x) + x / 100

    x = stabilised_bb1(gradient, np.array([3.0]), 0.1, 1.0, 60)
    assert len(seen) == 60
    assert abs(x[0]) < 1e-9
    assert np.abs(np.diff(np.ravel(seen))).max() <= 1 + 1e-12
