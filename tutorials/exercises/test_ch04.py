"""Run by the reader of chapter 4: python -m pytest tutorials/exercises/test_ch04.py"""

import numpy as np
from ch04 import armijo, global_bb1, passing_interval

from refopt import PROBLEMS, SPECIAL, Armijo, Goldstein, Oracle


def test_armijo_agrees_with_the_package():
    problem = PROBLEMS["logistic"]()
    for eta, c, beta in ((20.0, 0.4, 0.7), (1.0, 0.1, 0.5), (100.0, 0.9, 0.9)):
        rule = Armijo(eta_init=eta, c=c, beta=beta)
        rule.start(problem.x0, problem)
        rule.step(problem.x0, problem)
        np.testing.assert_allclose(armijo(problem, problem.x0, eta, c, beta), rule.eta, rtol=1e-12)


def test_armijo_takes_a_trial_that_passes_with_equality():
    """x²/2 from 1, c = 1/2: the exact step 1 lowers f by exactly half the promise."""
    assert armijo(lambda x: (x @ x / 2, x), np.ones(1), 1.0, 0.5, 0.5) == 1


class Parabola(Oracle):
    """2 x², of curvature 4."""

    def __call__(self, x):
        return 2 * (x @ x), 4 * x


def test_what_is_inside_the_interval_passes_and_what_is_outside_does_not():
    low, high = passing_interval(4.0, 0.1)
    for eta, passes in ((low * 1.001, True), (high * 0.999, True), (low * 0.999, False), (high * 1.001, False)):
        rule = Goldstein(eta_init=eta, c=0.1)
        rule.start(np.ones(1), Parabola())
        rule.step(np.ones(1), Parabola())
        assert (rule.eta == eta) == passes


def log_cosh(x):
    """The function of chapter 3 on which BB1 cycles."""
    return (np.logaddexp(x, -x) - np.log(2) + x * x / 200).sum(), np.tanh(x) + x / 100


def test_global_bb1_breaks_the_cycle():
    assert abs(global_bb1(log_cosh, np.array([3.0]), 0.1, 5, 60)[0]) < 1e-9


def values_seen(memory):
    """f at the points of a run on a quadratic of condition number 100."""
    problem, points = PROBLEMS["quadratic"](), [PROBLEMS["quadratic"]().x0]
    for _ in range(40):
        points.append(global_bb1(problem, points[0], 0.01, memory, len(points)))
    return np.array([problem.value(x) for x in points])


def test_without_a_memory_f_falls_in_every_step_and_with_one_it_may_rise():
    assert (np.diff(values_seen(1)) < 0).all()
    with_memory = values_seen(10)
    assert (np.diff(with_memory) > 0).any()
    for t in range(1, len(with_memory)):
        assert with_memory[t] < with_memory[max(0, t - 10) : t].max()


def test_global_bb1_solves_a_zigzag():
    problem = SPECIAL["zigzag"](10)
    assert np.abs(global_bb1(problem, np.array([10.0, 1.2]), 0.1, 10, 40)).max() < 1e-6
