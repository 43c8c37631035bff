"""Gradient descent on samples and on kinks: what Robbins, Monro, Shor and Nesterov proved of it.

Notation: d_t = |x_t - x*|, h_t = f(x_t) - f*, V a variance. Expectations are means over all paths, not samples of them.
"""

from itertools import combinations

import numpy as np
import pytest
from answers import parts, paths, problem, squares
from runs import trajectory, values

from refopt import FiniteSum, GradientDescent, InverseTime, Polyak, Recorded
from refopt.linear_models import LeastSquares
from refopt.nonsmooth import LeastAbsolute
from refopt.problems import maximum, vec


def points(b):
    """Return mean (x - b_i)²/2, from 2."""
    return LeastSquares(np.ones((len(b), 1)), np.array(b, float), np.full(1, 2.0))


# --- samples -------------------------------------------------------------------------------------------------------


def test_a_constant_step_ends_in_noise_of_known_size():
    """ST1: E x_k² = (1 - η)^2k x_0² + η V (1 - (1 - η)^2k)/(2 - η), to 1e-12. Moulines, Bach 2011.

    (x - b_i)²/2 for b = -1, 0, 1: V = 2/3; all 3⁷ paths.
    """
    p, eta = points([-1, 0, 1]), 0.3
    levels = list(paths(GradientDescent(eta), parts(p), p.x0, 7))
    assert levels[-1][2].shape == (3**6, 3, 1)
    for k, (_, _, after) in enumerate(levels, 1):
        left = (1 - eta) ** (2 * k)
        assert squares(after).mean() == pytest.approx(4 * left + eta * 2 / 3 * (1 - left) / (2 - eta), rel=1e-12)


def test_the_noise_of_a_strongly_convex_mean_is_bounded():
    """ST1: E d_k² ≤ (1 - η mu)ᵏ d_0² + 2 η s²/mu with η = 1/(2 max L_i), s² = mean |g_i(x*)|². Needell et al. 2014.

    Three quadratics, all 3⁷ paths; the bound is met within 37 %.
    """
    p = problem("family")
    eta = 1 / (2 * max(part.L for part in parts(p)))
    s2 = np.mean([squares(part(p.x_star)[1]) for part in parts(p)])
    ratios = []
    for k, (_, _, after) in enumerate(paths(GradientDescent(eta), parts(p), p.x0, 7), 1):
        bound = (1 - eta * p.mu) ** k * squares(p.x0 - p.x_star) + 2 * eta * s2 / p.mu
        ratios.append(squares(after - p.x_star).mean() / bound)
    assert len(ratios) == 7
    assert 0.63 <= max(ratios) <= 1


def test_steps_of_one_over_t_are_the_running_mean():
    """ST2: on (x - a_t)²/2, one a draw, x_t = (a_1 + ... + a_t)/t for every t, from any start. Robbins, Monro 1951.

    200 terms of size 1; 1e-14 is some ten roundings.
    """
    a = vec(200)
    oracle = FiniteSum(points(a), Recorded(np.arange(200)[:, None], steps_per_epoch=200))
    x = trajectory(GradientDescent(InverseTime(1.0)), oracle, np.full(1, 7.0), 200).x
    assert abs(x[1:, 0] - np.cumsum(a) / np.arange(1, 201)).max() <= 1e-14


def test_mini_batches_without_replacement_are_unbiased_and_vary_less():
    """ST4: over all batches of b = 3 of n = 8, E g = g, to 1e-13, and E |g_B - g|² is (n - b)/(b (n - 1)) times that of
    single terms, to 1e-12. Cochran 1977.
    """
    p = problem("least-squares-noisy").sample(range(8))
    g = p(p.x0)[1]
    single = np.array([part(p.x0)[1] for part in parts(p)])
    batches = np.array([p.sample(list(batch))(p.x0)[1] for batch in combinations(range(8), 3)])
    assert batches.shape == (56, 5)
    np.testing.assert_allclose(batches.mean(axis=0), g, rtol=0, atol=1e-13)
    ratio = squares(batches - g).mean() / squares(single - g).mean()
    assert ratio == pytest.approx((8 - 3) / (3 * 7), rel=1e-12)


# --- kinks ---------------------------------------------------------------------------------------------------------

STEPS = {
    "constant": lambda p, R, T: GradientDescent(R / (p.G * T**0.5)),
    "falling": lambda p, R, T: GradientDescent(lambda k: R / (p.G * (k + 1) ** 0.5)),
    "Polyak": lambda p, R, T: Polyak(),
}
every_step = pytest.mark.parametrize("step", STEPS)


@every_step
@pytest.mark.parametrize("name", ["least-absolute", "svm-l1", "svm-l2", "lasso"])
def test_subgradients_lead_below_the_bound_of_shor(name, step):
    """ST3: min h_s ≤ (d_0² + G² Σ η²)/(2 Σ η) after T = 1000 steps of any size, since in each

    d_(t+1)² ≤ d_t² - 2 η h_t + η² |g_t|², to 1e-12 d_0². Shor; Nesterov 2018.
    """
    p = problem(name)
    d2 = squares(p.x0 - p.x_star)
    run = trajectory(STEPS[step](p, np.sqrt(d2), 1000), p, p.x0, 1000)
    h, eta, d = run.f - p.f_star, run.eta, squares(run.x - p.x_star)
    assert len(h) == 1000
    assert (np.diff(d) + 2 * eta * h - eta**2 * squares(run.g)).max() <= 1e-12 * d2
    assert h.min() <= (d2 + p.G**2 * (eta**2).sum()) / (2 * eta.sum())


def test_the_bound_of_shor_is_nearly_attained():
    """ST3: |x| from 1, η = 2: 1, -1, 1, -1 for ever, h = 1, bound 17/16."""
    p = LeastAbsolute(np.eye(1), np.zeros(1), np.ones(1))
    run = trajectory(GradientDescent(2.0), p, p.x0, 4)
    assert run.x[:, 0].tolist() == [1, -1, 1, -1, 1]
    assert run.f.min() == 1
    assert (1 + p.G**2 * 4 * 4) / (2 * 4 * 2) == 17 / 16


@every_step
def test_a_maximum_resists_as_long_as_it_has_variables(step):
    """ST3: max x_j on the unit ball, n = 50: for 49 steps of any size h ≥ 1/√n = -f*. Nesterov 2018.

    g is the unit vector of the first x_j that is largest, so that after t steps all but t variables are still 0.
    """
    p = maximum(50)
    x = trajectory(STEPS[step](p, 1.0, 49), p, p.x0, 49).x
    assert (x[np.arange(50) >= np.arange(50)[:, None]] == 0).all()
    assert all(x[t, t - 1] < 0 for t in range(1, 50))
    assert (values(p, x) >= 0).all()
    assert p.f_star == pytest.approx(-(50**-0.5), rel=1e-15)
    assert (squares(x) <= 1 + 1e-15).all()
