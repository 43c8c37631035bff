"""Functions on which a bound is attained, or on which a method fails: what they are for, with the methods.

Notation: h_k = f(x_k) - f*, R = |x0 - x*|.
"""

from functools import partial
from math import sqrt

import numpy as np
import pytest
from answers import problem, squares
from runs import trajectory, values

from refopt import (
    BB1,
    BB2,
    SPS,
    AdaGrad,
    Adam,
    Cauchy,
    GradientDescent,
    HeavyBall,
    Nesterov,
    NesterovLookAhead,
    Newton,
    Polyak,
)
from refopt.problems import drori_teboulle, lessard, nesterov_chain, polyak_lojasiewicz, zigzag

# --- Nesterov's chain ------------------------------------------------------------------------------------------------


def fista(steps):
    """Return t (steps + 1,) with t_0 = t_1 = 1, and the momenta (t_k - 1)/t_(k+1) of the steps k = 0, 1, ..."""
    t = [1.0, 1.0]
    while len(t) < steps + 2:
        t.append((1 + sqrt(1 + 4 * t[-1] ** 2)) / 2)
    t = np.array(t)
    return t[:-1], ((t[:-1] - 1) / t[1:]).tolist()


@pytest.mark.parametrize(
    ("name", "tight"), [("chain", 0.15), ("log-sum-exp", 0.19), ("huber", 0.4), ("least-squares-under", 0.16)]
)
@pytest.mark.parametrize("kind", [NesterovLookAhead, Nesterov])
def test_nesterovs_growing_momentum_is_as_fast_as_beck_and_teboulle_prove(name, tight, kind):
    """MO3: h_k ≤ 2 L R²/(k + 1)². Beck, Teboulle 2009.

    200 steps. The bound alone does not see where the gradient is taken; the function it is proved by does:
    2/L t_k² h_k + |t_k x_k - (t_k - 1) x_(k-1) - x*|² never grows, to 1e-11 R². Nesterov runs at the points y_k where
    the gradient is taken; then x_k = y_(k-1) - g/L.
    """
    p = nesterov_chain(400) if name == "chain" else problem(name)
    t, momenta = fista(200)
    run = trajectory(kind(1 / p.L, momenta.__getitem__), p, p.x0, 200)
    x = run.x if kind is NesterovLookAhead else np.concatenate([run.x[:1], run.x[:-1] - run.g / p.L])
    h, R2, k = values(p, x) - p.f_star, squares(p.x0 - p.x_star), np.arange(201)
    assert tight <= (h * (k + 1) ** 2 / (2 * p.L * R2))[1:].max() <= 1
    E = (2 / p.L * t**2 * h)[1:] + squares(t[1:, None] * x[1:] - (t[1:, None] - 1) * x[:-1] - p.x_star)
    assert len(E) == 200
    assert np.diff(E).max() <= 1e-11 * R2


def test_gradient_descent_is_slower_than_that_on_the_chain():
    """MO3."""
    p = nesterov_chain(400)
    h, k = values(p, trajectory(GradientDescent(1 / p.L), p, p.x0, 200).x) - p.f_star, np.arange(201)
    assert 1.02 <= (h * (k + 1) ** 2)[1:].max() / (2 * p.L * squares(p.x_star)) <= 1.03


EYELESS = {  # they see gradients alone
    "gradient descent": lambda L: GradientDescent(1 / L),
    "heavy ball": lambda L: HeavyBall(1 / L, 0.5),
    "Nesterov": lambda L: Nesterov(1 / L, 0.8),
    "Nesterov, look-ahead": lambda L: NesterovLookAhead(1 / L, 0.8),
    "Polyak": lambda L: Polyak(),
    "Polyak, twice the step": lambda L: SPS(c=0.5),
    "Cauchy": lambda L: Cauchy(),
    "BB1": lambda L: BB1(1 / L),
    "BB2": lambda L: BB2(1 / L),
    "AdaGrad": lambda L: AdaGrad(0.5, 0.0),
    "Adam": lambda L: Adam(0.1, 0.0),
}


@pytest.mark.parametrize("k", [5, 10, 20])
@pytest.mark.parametrize("rule", EYELESS)
def test_no_method_that_sees_gradients_alone_beats_the_lower_bound(rule, k):
    """MO4: h_k ≥ 3 L R²/(32 (k + 1)²) on the chain of 2k + 1, L = 4/(n + 1). Nesterov 2018.

    From 0, x_j knows j variables: the others are 0, bit for bit, whatever the rule makes of their gradients.
    """
    p = nesterov_chain(2 * k + 1)
    L = 4 / (p.x0.size + 1)
    x = trajectory(EYELESS[rule](L), p, p.x0, k).x
    assert (x[np.arange(2 * k + 1) >= np.arange(k + 1)[:, None]] == 0).all()
    assert all(x[j, j - 1] for j in range(1, k + 1)), "the bound is for methods that use all they know"
    assert (values(p, x) - p.f_star)[k] >= 3 * L * squares(p.x_star) / (32 * (k + 1) ** 2)


def test_the_lower_bound_is_no_bound_for_newton():
    """MO4: who inverts the Hessian is at x* after one step, to rounding."""
    p = nesterov_chain(11)
    x = trajectory(Newton(), p, p.x0, 1).x[1]
    np.testing.assert_allclose(x, p.x_star, rtol=0, atol=1e-13)
    assert x[-1] > 0


# --- one function, one method ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("N", [1, 5, 20, 100])
def test_drori_and_teboulles_bound_is_attained_bit_for_bit(N):
    """GD6: h_N = L R²/(4N + 2) = N + 1/2: N steps of size 1/L, all of length 1, do not get to the end of the slope."""
    p = drori_teboulle(N)
    x = trajectory(GradientDescent(1 / p.L), p, p.x0, N).x
    assert x[:, 0].tolist() == list(range(2 * N + 1, N, -1))
    assert p.value(x[N]) == N + 1 / 2 == p.L * p.x0[0] ** 2 / (4 * N + 2)


def test_lessards_function_keeps_heavy_ball_in_a_cycle_of_three():
    """MO2: (792, -2208, 2592)/1225, in any order, to 1e-9, where gradient descent converges."""
    last = partial(trajectory, oracle=lessard(), x0=lessard().x0, steps=300)
    heavy, plain = (last(rule).x[-3:, 0] for rule in (HeavyBall(1 / 9, 4 / 9), GradientDescent(1 / 13)))
    np.testing.assert_allclose(np.sort(heavy), np.array([-2208, 792, 2592]) / 1225, rtol=0, atol=1e-9)
    assert abs(plain).max() <= 1e-9


def test_zigzag_zigzags():
    """LS2: x_t = ρᵗ (κ, (-1)ᵗ) with ρ = 9/11, every step 2/11; 40 steps, to 1e-11."""
    p, t = zigzag(), np.arange(41)
    run = trajectory(Cauchy(), p, p.x0, 40)
    closed = (9 / 11) ** t[:, None] * np.stack([np.full(41, 10), (-1.0) ** t], axis=1)
    assert (abs(run.x - closed) <= 1e-11 * (9 / 11) ** t[:, None]).all()
    np.testing.assert_allclose(run.eta, 2 / 11, rtol=1e-12)


def test_the_rate_of_gradient_descent_needs_no_convexity():
    """GD8: h_t ≤ (1 - mu/L)ᵗ h_0 with lr = 1/L, while it is above 1e-12."""
    p = polyak_lojasiewicz()
    f = values(p, trajectory(GradientDescent(1 / p.L), p, p.x0, 100).x)
    checked = f > 1e-12
    assert checked.sum() >= 9
    assert (f <= (1 - p.mu / p.L) ** np.arange(101) * f[0] * (1 + 1e-12))[checked].all()
