"""Gradient descent and momentum do what Polyak, Nesterov, Drori and Teboulle, and Lessard proved of them.

Notation: e_t = x_t - x*, d_t = |e_t|, h_t = f(x_t) - f*, g_t the gradient at x_t; q_1, q_n the eigenvectors of the
least and the largest eigenvalue of a quadratic, κ = L/mu, q = mu/L. Bounds are met up to 1e-12 of rounding; sequences
are followed until h_t is rounding itself.
"""

from math import sqrt

import numpy as np
import pytest
import scipy.special
from answers import displacements, leading
from hypothesis import given, settings
from hypothesis import strategies as st
from runs import Function, Scripted, parabola, trajectory, values

from refopt import (
    PROBLEMS,
    Cycle,
    GradientDescent,
    HeavyBall,
    HeavyBallDamped,
    HeavyBallEMA,
    HeavyBallVelocity,
    Nesterov,
    NesterovLookAhead,
    descend,
    problems,
)

CONVEX = {
    name: PROBLEMS[name]()
    for name in (
        "quadratic", "quadratic-exact", "least-squares", "least-squares-noisy", "least-squares-under", "ridge",
        "logistic", "softmax", "log-sum-exp", "huber", "family", "family-interpolating",
    )
}  # fmt: skip
SMOOTH = CONVEX | {"logistic-separable": PROBLEMS["logistic-separable"]()}  # the one that does not attain f*
QUADRATIC = SMOOTH["quadratic"]  # κ = 100
LAMBDA, Q = np.logspace(0, 2, 8), problems.rot(8)  # its eigenvalues, and its eigenvectors as columns


def gaps(problem, x):
    return values(problem, x) - problem.f_star


def norms(x):
    return np.linalg.norm(x, axis=1)


# --- numbers by hand -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "iterates"),
    [
        (GradientDescent(0.1), [0.6, 0.36, 0.216]),
        (GradientDescent(0.5), [-1, 1, -1]),  # 2/λ: for ever
        (HeavyBallEMA(0.1, 0.9), [0.96, 0.8856, 0.783216]),
        (HeavyBallEMA(1.0, 0.9), [0.6, 0, -0.54]),
        (HeavyBallEMA(0.1, 0.0), [0.6, 0.36, 0.216]),
        (HeavyBall(0.1, 0.9), [0.6, 0, -0.54]),
        (HeavyBallVelocity(0.1, 0.9), [0.6, 0, -0.54]),
        (HeavyBall(0.1, Cycle(0.9, 0.8, 4)), [0.6, 0.02, -0.452]),  # what ran as SGD, 0.1: PyTorch's CyclicLR around it
        (HeavyBallDamped(0.1, 0.9), [0.6, 0, -0.54]),
        (HeavyBallDamped(1.0, 0.9, 0.9), [-3, -5.4, -5.4]),
        (Nesterov(0.1, 0.9), [0.24, -0.2664, -0.433296]),
        (NesterovLookAhead(0.1, 0.9), [0.6, 0.144, -0.15984]),
    ],
    ids=repr,
)
def test_the_first_three_steps_on_2x2_from_1_are_those_computed_by_hand(rule, iterates):
    """f = 2 x², g = 4 x. The numbers are exact decimals: 1e-12 relative, 1e-14 for the zero."""
    run = trajectory(rule, parabola(4.0), np.ones(1), 3)
    np.testing.assert_allclose(run.x[1:, 0], iterates, rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(run.eta, rule.lr)


def products(mu):
    """P (T, T): P[k, j] = mu_(j+1) ... mu_k, what is left after step k of a gradient from step j ≤ k; else 0."""
    return np.array([[np.prod(mu[j + 1 : k + 1]) if j <= k else 0.0 for j in range(len(mu))] for k in range(len(mu))])


DISPLACEMENTS = {  # d (T,) from g, lr, mu (T,), with every sum of (3)-(12) written out
    GradientDescent: lambda g, lr, mu: -lr * g,
    HeavyBall: lambda g, lr, mu: -lr * (products(mu) @ g),
    HeavyBallDamped: lambda g, lr, mu: -lr * (products(mu) @ (g * np.where(np.arange(len(g)), 0.25, 1))),
    HeavyBallEMA: lambda g, lr, mu: -lr * (products(mu) @ ((1 - mu) * g)),
    HeavyBallVelocity: lambda g, lr, mu: -products(mu) @ (lr * g),
    NesterovLookAhead: lambda g, lr, mu: -products(mu) @ (lr * g),
    Nesterov: lambda g, lr, mu: -lr * (g + mu * (products(mu) @ g)),
}


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.floats(-3, 3), st.floats(0.01, 2), st.floats(0, 0.99)), min_size=3, max_size=6))
@pytest.mark.parametrize("kind", DISPLACEMENTS)
def test_gradients_rates_and_momenta_enter_each_in_its_own_step(kind, script):
    """Equations (2)-(12) under schedules of lr and mu, against their sums written out; damping 0.75.

    Gradients from a script, one a draw: a stale one, a rate or momentum of the step before or after, or a forgotten
    factor is another number. Six terms of size ≤ 6 sum to 36 at most: 1e-13 absolute is rounding.
    """
    g, lr, mu = np.array(script).T
    memory = {} if kind is GradientDescent else {"mu": list(mu).__getitem__}
    damping = {"damping": 0.75} if kind is HeavyBallDamped else {}
    rule = kind(lr=list(lr).__getitem__, **memory, **damping)
    run = trajectory(rule, Scripted(g[:, None]), np.zeros(1), len(g))
    np.testing.assert_allclose(run.x[1:, 0], np.cumsum(DISPLACEMENTS[kind](g, lr, mu)), rtol=0, atol=1e-13)
    np.testing.assert_array_equal(run.eta, lr)
    np.testing.assert_array_equal(run.g[:, 0], g)


@pytest.mark.parametrize("kind", DISPLACEMENTS)
def test_a_rule_started_at_the_solution_stays_there(kind):
    """g = 0 gives d = 0, bit for bit, with memory too; 5 steps."""
    run = trajectory(kind(), QUADRATIC, QUADRATIC.x_star, 5)
    assert run.x.shape == (6, 8)
    np.testing.assert_array_equal(run.x, np.tile(QUADRATIC.x_star, (6, 1)))


@pytest.mark.parametrize(
    ("kind", "wrong", "word"),
    [(kind, {"lr": value}, "lr") for kind in DISPLACEMENTS for value in (0.0, -1.0, np.inf, np.nan, "0.1", None)]
    + [(kind, {"mu": value}, "mu") for kind in list(DISPLACEMENTS)[1:] for value in (-0.1, 1.0, np.nan)]
    + [(HeavyBallDamped, {"damping": value}, "damping") for value in (-0.1, 1.0)],
)
def test_a_hyper_parameter_out_of_range_is_refused_by_name(kind, wrong, word):
    with pytest.raises(ValueError, match=f"^{word} must be"):
        kind(**wrong)


# --- gradient descent ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SMOOTH)
def test_a_step_of_one_over_the_smoothness_gains_half_of_what_the_slope_promises(name):
    """GD1, the descent lemma: f(x - g/L) ≤ f(x) - |g|²/(2L). Nesterov 2018.

    21 points s x0, -1 ≤ s ≤ 1, of every smooth problem; 1e-13 of max(1, |f|) for rounding.
    """
    problem, excess = SMOOTH[name], []
    for s in np.linspace(-1, 1, 21):
        run = trajectory(GradientDescent(1 / problem.L), problem, s * problem.x0, 1)
        gain = run.f[0] - problem.value(run.x[1])
        excess.append((run.g[0] @ run.g[0] / (2 * problem.L) - gain) / max(1, abs(run.f[0])))
    assert len(excess) == 21
    assert np.max(excess) <= 1e-13


def test_the_descent_lemma_is_an_equality_along_the_steepest_eigenvector():
    """GD1, tight: from x* + q_n on the quadratic, to 1e-12."""
    run = trajectory(GradientDescent(1 / QUADRATIC.L), QUADRATIC, QUADRATIC.x_star + Q[:, -1], 1)
    gain = run.f[0] - QUADRATIC.value(run.x[1])
    assert gain * 2 * QUADRATIC.L / (run.g[0] @ run.g[0]) == pytest.approx(1, rel=1e-12)


def test_each_eigenvector_of_a_quadratic_shrinks_by_a_factor_of_its_own():
    """GD2: Q' e_t = (1 - lr λ)ᵗ Q' e_0. Polyak 1987. lr = 0.013, every t ≤ 50, to 1e-13 d_0."""
    run = trajectory(GradientDescent(0.013), QUADRATIC, QUADRATIC.x0, 50)
    e = (run.x - QUADRATIC.x_star) @ Q
    expected = (1 - 0.013 * LAMBDA) ** np.arange(51)[:, None] * e[0]
    assert e.shape == (51, 8)
    assert abs(e - expected).max() <= 1e-13 * np.linalg.norm(e[0])


def test_the_best_constant_rate_shrinks_the_two_extreme_eigenvectors_alike():
    """GD3: lr = 2/(L + mu) gives d_t ≤ ϱᵗ d_0, ϱ = (κ - 1)/(κ + 1), with equality from e_0 = q_1 + q_n.

    Polyak 1963; Nesterov 2018. 100 steps to 1e-12; from x0 it comes within 5 %. A rate 1 % off leaves one of the two
    slower.
    """
    rho, lr = 99 / 101, 2 / (QUADRATIC.L + QUADRATIC.mu)
    bound = rho ** np.arange(101)
    extreme = trajectory(GradientDescent(lr), QUADRATIC, QUADRATIC.x_star + Q[:, 0] + Q[:, -1], 100)
    ratio = norms(extreme.x - QUADRATIC.x_star) / (sqrt(2) * bound)
    assert ratio.shape == (101,)
    assert abs(ratio - 1).max() <= 1e-12
    d = norms(trajectory(GradientDescent(lr), QUADRATIC, QUADRATIC.x0, 100).x - QUADRATIC.x_star)
    assert 0.95 <= (d / (bound * d[0]))[1:].max() <= 1 + 1e-12
    for other in (0.99 * lr, 1.01 * lr):
        ends = [trajectory(GradientDescent(other), QUADRATIC, QUADRATIC.x_star + q, 1).x[1] for q in Q.T[[0, -1]]]
        assert norms(np.array(ends) - QUADRATIC.x_star).max() >= rho + 1e-4


@pytest.mark.parametrize("eps", [0, 1e-3, -1e-3])
def test_twice_that_step_is_the_border_between_convergence_and_divergence(eps):
    """GD4: lr = (2/L)(1 + ε) multiplies q_n by -(1 + 2ε): |e_200| = (1 + 2ε)²⁰⁰ = 1, 1.49, 0.67, to 1e-10."""
    run = trajectory(GradientDescent(2 / QUADRATIC.L * (1 + eps)), QUADRATIC, QUADRATIC.x_star + Q[:, -1], 200)
    assert np.linalg.norm(run.x[200] - QUADRATIC.x_star) == pytest.approx((1 + 2 * eps) ** 200, rel=1e-10)


@pytest.mark.parametrize("factor", ["1/L", "2/(L+mu)", "1.9/L"])
@pytest.mark.parametrize("name", ["ridge", "logistic", "softmax"])
def test_two_trajectories_approach_each_other(name, factor):
    """GD5: |T(x) - T(y)| ≤ max(|1 - lr mu|, |1 - lr L|) |x - y| for strongly convex f. Ryu and Boyd 2016.

    From x0 and -x0/2, 60 steps while they are 1e-8 apart; 1e-10 for the rounding of so small a difference.
    """
    problem = SMOOTH[name]
    L, mu = problem.L, problem.mu
    lr = {"1/L": 1 / L, "2/(L+mu)": 2 / (L + mu), "1.9/L": 1.9 / L}[factor]
    one, other = (trajectory(GradientDescent(lr), problem, s * problem.x0, 60).x for s in (1, -0.5))
    apart = norms(one - other)
    checked = leading(apart > 1e-8)
    ratio = apart[1:checked] / apart[: checked - 1]
    assert len(ratio) >= 23
    assert ratio.max() <= max(abs(1 - lr * mu), abs(1 - lr * L)) * (1 + 1e-10)


def test_the_flattest_eigenvector_of_a_ridge_regression_shrinks_no_faster_than_the_contraction_says():
    """GD5, tight: from x* + q_1 and from x*, lr = 1/L: 1 - q exactly, to 1e-12."""
    ridge = SMOOTH["ridge"]
    flattest = np.linalg.eigh(ridge.hessian(ridge.x0))[1][:, 0]
    ends = [trajectory(GradientDescent(1 / ridge.L), ridge, ridge.x_star + s * flattest, 1).x[1] for s in (0, 1)]
    assert np.linalg.norm(ends[1] - ends[0]) == pytest.approx(1 - ridge.mu / ridge.L, rel=1e-12)


@pytest.mark.parametrize("N", [1, 5, 20, 100])
def test_a_huber_function_attains_the_bound_of_drori_and_teboulle(N):
    """GD6: h_N = L d_0²/(4N + 2) for lr = 1/L. Drori and Teboulle 2014, tight on L huber(τ, x).

    τ = R/(2N + 1), x_0 = R = 2, L = 3: all N steps are equal, τ long, and end where x = (N + 1)τ; to 1e-12.
    """
    L, R = 3.0, 2.0
    tau = R / (2 * N + 1)
    huber = Function(lambda x: (L * scipy.special.huber(tau, x[0]), L * np.clip(x, -tau, tau)), f_star=0.0)
    run = trajectory(GradientDescent(1 / L), huber, np.array([R]), N)
    assert huber.value(run.x[N]) / (L * R**2 / (4 * N + 2)) == pytest.approx(1, rel=1e-12)


def test_no_convex_function_of_the_suite_beats_the_bound_of_drori_and_teboulle():
    """GD6: h_N ≤ L d_0²/(4N + 2) for N = 1..200 on four problems, lr = 1/L; the worst comes within 31 % of it."""
    ratios = []
    for name in ("log-sum-exp", "huber", "least-squares", "least-squares-under"):
        problem = SMOOTH[name]
        run = trajectory(GradientDescent(1 / problem.L), problem, problem.x0, 200)
        d0 = np.linalg.norm(run.x[0] - problem.x_star)
        ratios.append(gaps(problem, run.x[1:]) * (4 * np.arange(1, 201) + 2) / (problem.L * d0**2))
    assert np.shape(ratios) == (4, 200)
    assert 0.69 <= np.max(ratios) <= 1 + 1e-12


@pytest.mark.parametrize("factor", [1, 1.9])
@pytest.mark.parametrize("name", CONVEX)
def test_loss_gradient_and_distance_fall_together(name, factor):
    """GD7: for lr ≤ 2/L none of f, |g|, d grows, and d_(t+1)² ≤ d_t² - lr (2/L - lr) |g_t|². Nesterov 2018.

    lr = 1/L and 1.9/L, 150 steps while h > 1e-10 max(1, |f*|); 1e-12 for rounding.
    """
    problem = CONVEX[name]
    lr = factor / problem.L
    run = trajectory(GradientDescent(lr), problem, problem.x0, 151)  # f and g at x_0..x_150
    T = leading(run.f - problem.f_star > 1e-10 * max(1, abs(problem.f_star)))
    f, g, d = run.f[:T], norms(run.g)[:T], norms(run.x - problem.x_star)[:T]
    assert T >= 10
    assert (np.diff(f) / np.maximum(1, abs(f[1:]))).max() <= 1e-12
    assert (np.diff(g) / g[:-1]).max() <= 1e-12
    assert (np.diff(d) / d[:-1]).max() <= 1e-12
    assert (np.diff(d**2) + lr * (2 / problem.L - lr) * g[:-1] ** 2).max() <= 1e-12 * d[0] ** 2


def test_a_gradient_that_dominates_the_gap_is_enough_for_a_geometric_rate():
    """GD8: h_t ≤ (1 - q)ᵗ h_0 for lr = 1/L where |g|² ≥ 2 mu h. Polyak 1963; Karimi, Nutini, Schmidt 2016.

    Least squares with many solutions, mu the least nonzero eigenvalue; t ≤ 100 while h > 1e-12. From x* plus the
    eigenvector of mu it is tight: h falls by (1 - q)² a step, and 1 - q = 0.98.
    """
    problem = SMOOTH["least-squares-under"]
    q = problem.mu / problem.L
    lam, vectors = np.linalg.eigh(problem.hessian(problem.x0))
    flattest = vectors[:, np.argmin(abs(lam - problem.mu))]
    for x0, tight in ((problem.x0, 0.14), (problem.x_star + flattest, 0.98)):
        run = trajectory(GradientDescent(1 / problem.L), problem, x0, 100)
        h = gaps(problem, run.x)
        T = leading(h > 1e-12)
        assert T == 101
        assert tight <= (h / ((1 - q) ** np.arange(101) * h[0]))[1:].max() <= 1 + 1e-12


@pytest.mark.parametrize("x0", [-3.0, 2.5, 7.0])
def test_the_geometric_rate_needs_no_convexity(x0):
    """GD8: the same for f = x² + 3 sin² x, not convex, L = 8, mu = min f'²/(2f) = 0.1755 ≥ 1/32, Karimi's constant.

    mu is measured on a grid, so 1e-9; all steps while h > 1e-12.
    """
    formula = Function(lambda x: (x @ x + 3 * np.sin(x) @ np.sin(x), 2 * x + 3 * np.sin(2 * x)))
    grid = np.linspace(0.01, 10, 100_000)  # f is even
    mu = ((2 * grid + 3 * np.sin(2 * grid)) ** 2 / (2 * (grid**2 + 3 * np.sin(grid) ** 2))).min()
    assert 1 / 32 <= mu == pytest.approx(0.175531, abs=1e-6)
    h = values(formula, trajectory(GradientDescent(1 / 8), formula, np.array([x0]), 100).x)
    T = leading(h > 1e-12)
    assert T >= 9
    assert (h[:T] / ((1 - mu / 8) ** np.arange(T) * h[0])).max() <= 1 + 1e-9


def test_the_loss_falls_to_an_infimum_that_is_nowhere_attained():
    """GD9: f(x_T) ≤ f(u) + L |x_0 - u|²/(2T) for every u, lr = 1/L. Nesterov 2018; Bubeck 2015.

    Separable logistic regression from 0, inf f = 0; u on the ray of the separating plane, every T ≤ 3000: f(x_T) stays
    below 0.57 of the best such bound, and |x_T| grows without end.
    """
    problem = SMOOTH["logistic-separable"]
    run = trajectory(GradientDescent(1 / problem.L), problem, np.zeros(4), 3000)
    f = values(problem, run.x)
    u = np.logspace(0, 4, 60)[:, None] * problems.vec(4, 1.0)
    T = np.arange(1, 3001)[:, None]
    bound = (values(problem, u) + problem.L * norms(u) ** 2 / (2 * T)).min(axis=1)
    assert 0.56 <= (f[1:] / bound).max() <= 0.57
    assert np.diff(f).max() <= 1e-15
    length = norms(run.x)[[100, 1000, 3000]]
    assert (length[1:] / length[:-1] >= [2.6, 1.5]).all()


# --- momentum ------------------------------------------------------------------------------------------------------


def radius(rule, curvature):
    """The spectral radius of one step of a momentum rule, as a linear map of (x, m), on curvature x²/2."""
    columns = []
    for x, m in np.eye(2):
        step = next(descend(rule, parabola(curvature), np.array([x]), state={"t": 1, "m": np.array([m])}, taken=1))
        columns.append([step.x[0], rule.m[0]])
    return abs(np.linalg.eigvals(np.transpose(columns))).max()


HEAVY_BALLS = {  # each with its own meaning of lr, for the step lr of (3)-(4)
    "sum": HeavyBall,
    "sum, not damped": HeavyBallDamped,
    "average": lambda lr, mu: HeavyBallEMA(lr / (1 - mu), mu),
    "velocity": HeavyBallVelocity,
}


@pytest.mark.parametrize("heavy_ball", HEAVY_BALLS.values(), ids=HEAVY_BALLS)
def test_polyaks_constants_give_every_eigenvector_the_same_rate(heavy_ball):
    """MO1: with lr = 4/(√L + √mu)², μ = ((√κ - 1)/(√κ + 1))² every radius is √μ = 9/11. Polyak 1964.

    The eigenvalues are double at mu and L, so known to half the digits: 1e-7. Either constant 5 % off: 1e-4 slower.
    """
    lr, mu = 4 / 11**2, (9 / 11) ** 2
    assert [radius(heavy_ball(lr, mu), lam) for lam in LAMBDA] == pytest.approx([9 / 11] * 8, abs=1e-7)
    for lr_factor, mu_factor in ((0.95, 1), (1.05, 1), (1, 0.95), (1, 1.05)):
        slowest = max(radius(heavy_ball(lr * lr_factor, mu * mu_factor), lam) for lam in LAMBDA)
        assert slowest >= 9 / 11 + 1e-4


@pytest.mark.parametrize("heavy_ball", HEAVY_BALLS.values(), ids=HEAVY_BALLS)
def test_heavy_ball_with_polyaks_constants_moves_the_flattest_eigenvector_in_closed_form(heavy_ball):
    """MO1: x_t = rᵗ (x_0 + t (x_1/r - x_0)), r = √μ, x_1 = (1 - lr mu) x_0: a double root. 80 steps, 1e-9 relative."""
    lr, r, t = 4 / 11**2, 9 / 11, np.arange(81)
    run = trajectory(heavy_ball(lr, r**2), QUADRATIC, QUADRATIC.x_star + Q[:, 0], 80)
    np.testing.assert_allclose(
        (run.x - QUADRATIC.x_star) @ Q[:, 0], r**t * (1 + t * ((1 - lr) / r - 1)), rtol=1e-9, atol=0
    )


def lessard(x):
    """f with f' = 25x below 1, x + 24 up to 2, 25x - 24 above: mu = 1, L = 25."""
    pieces = [x < 1, x <= 2, x > 2]
    f = np.select(pieces, [12.5 * x**2, x**2 / 2 + 24 * x - 12, 12.5 * x**2 - 24 * x + 36])[0]
    return f, np.select(pieces, [25 * x, x + 24, 25 * x - 24])


@pytest.mark.parametrize("rule", [HeavyBall(1 / 9, 4 / 9), HeavyBallEMA(0.2, 4 / 9), HeavyBallVelocity(1 / 9, 4 / 9)])
def test_heavy_ball_with_polyaks_constants_can_cycle_for_ever(rule):
    """MO2: from 3.3 the last 3 of 300 iterates are (792, -2208, 2592)/1225. Lessard, Recht, Packard 2016.

    f is strongly convex, but not a quadratic. In any order, to 1e-9.
    """
    run = trajectory(rule, Function(lessard), np.array([3.3]), 300)
    np.testing.assert_allclose(np.sort(run.x[-3:, 0]), np.array([-2208, 792, 2592]) / 1225, rtol=0, atol=1e-9)


@pytest.mark.parametrize("rule", [GradientDescent(1 / 13), Nesterov(1 / 25, 2 / 3), NesterovLookAhead(1 / 25, 2 / 3)])
def test_where_heavy_ball_cycles_gradient_descent_and_nesterov_converge(rule):
    """MO2: from the same start |x_300| ≤ 1e-9, with lr = 2/(L + mu), and lr = 1/L, μ = (1 - √q)/(1 + √q)."""
    assert abs(trajectory(rule, Function(lessard), np.array([3.3]), 300).x[-1, 0]) <= 1e-9


STEEP = problems.Quadratic(problems.spd(np.logspace(0, 3, 8)), problems.vec(8, 0.4), -2.5, np.full(8, 2.0))  # κ = 1000


@pytest.mark.parametrize("kind", [NesterovLookAhead, Nesterov])
@pytest.mark.parametrize(
    ("name", "tight"),
    [("flattest", 0.999), ("steep", 0.98), ("ridge", 0.45), ("logistic", 0.56), ("softmax", 0.82)],
)
def test_nesterovs_constant_momentum_shrinks_its_lyapunov_function_in_every_step(name, tight, kind):
    """MO5: h_k ≤ (1 - √q)ᵏ (h_0 + mu/2 d_0²) with lr = 1/L, μ = (1 - √q)/(1 + √q). Nesterov 2018.

    And step by step V_(k+1) ≤ (1 - √q) V_k, V_k = h_k + mu/2 |x_(k-1) + (x_k - x_(k-1))/√q - x*|², which alone sees
    where the gradient is taken; on a quadratic, κ = 1000, it is tight, most of all from x* + q_1. k ≤ 300 while
    h > 1e-11; 1e-9, and 1e-6 for the differences, of rounding. The iterates of Nesterov are the points y;
    x_(k+1) = y_k - g(y_k)/L.
    """
    problem = STEEP if name in ("flattest", "steep") else SMOOTH[name]
    x0 = STEEP.x_star + Q[:, 0] if name == "flattest" else problem.x0
    L, mu = problem.L, problem.mu
    root = sqrt(mu / L)
    run = trajectory(kind(1 / L, (1 - root) / (1 + root)), problem, x0, 300)
    x = run.x if kind is NesterovLookAhead else np.concatenate([run.x[:1], run.x[:-1] - run.g / L])
    h = gaps(problem, x)
    T = leading(h > 1e-11)
    assert T >= 15
    before = np.concatenate([x[:1], x[:-1]])
    V = h + mu / 2 * norms(before + (x - before) / root - problem.x_star) ** 2
    assert (h[:T] / ((1 - root) ** np.arange(T) * V[0])).max() <= 1 + 1e-9
    assert tight <= (V[1:T] / V[: T - 1]).max() / (1 - root) <= 1 + 1e-6


def test_nesterov_runs_at_the_look_ahead_points():
    """(11)-(12) is (10) seen from y_t = x_t + μ v_t, v_t = x_t - x_(t-1): 60 steps on softmax, to 1e-12 of |y|."""
    problem = SMOOTH["softmax"]
    x = trajectory(NesterovLookAhead(1.0, 0.8), problem, problem.x0, 60).x
    y = trajectory(Nesterov(1.0, 0.8), problem, problem.x0, 60).x
    assert abs(x[1:] + 0.8 * np.diff(x, axis=0) - y[1:]).max() <= 1e-12 * abs(y).max()
    assert abs(x[1:] - y[1:]).max() >= 0.1


def test_an_average_of_gradients_takes_the_steps_of_their_sum_with_a_smaller_rate():
    """MO6: HeavyBallEMA(lr, μ) is HeavyBall(lr (1 - μ), μ). Sasse eqs. 2.14-2.16. 100 steps to 1e-11 of d_0."""
    average = trajectory(HeavyBallEMA(0.02, 0.9), QUADRATIC, QUADRATIC.x0, 100).x
    total = trajectory(HeavyBall(0.02 * (1 - 0.9), 0.9), QUADRATIC, QUADRATIC.x0, 100).x
    assert average.shape == (101, 8)
    assert abs(average - total).max() <= 1e-11 * np.linalg.norm(QUADRATIC.x0 - QUADRATIC.x_star)


def test_an_average_that_starts_at_zero_is_biased_towards_it():
    """MO6: with the constant gradient G = 2.5, m_t = (1 - μᵗ) G: what Adam divides out. Kingma and Ba 2015, section 3.

    t ≤ 50, the displacement over -lr, lr = 1, to 1e-14.
    """
    m = -displacements(HeavyBallEMA(1.0, 0.9), np.full(50, 2.5))[0][:, 0]
    assert m.shape == (50,)
    assert abs(m / ((1 - 0.9 ** np.arange(1, 51)) * 2.5) - 1).max() <= 1e-14


@pytest.mark.parametrize(
    ("rule", "limit"),
    [
        (GradientDescent, 2.0), (HeavyBall, 2 * 1.9), (HeavyBallVelocity, 2 * 1.9), (HeavyBallEMA, 2 * 1.9 / 0.1),
        (NesterovLookAhead, 2 * 1.9 / 2.8), (Nesterov, 2 * 1.9 / 2.8),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)  # fmt: skip
def test_on_a_quadratic_a_rule_is_stable_up_to_its_limit_and_no_further(rule, limit):
    """On x²/2, μ = 0.9: 1000 steps shrink |x| at 1 % below the limit of lr L and blow it up at 1 % above it."""
    below, above = (
        abs(trajectory(rule(lr=factor * limit), parabola(1), np.ones(1), 1000).x[-1, 0]) for factor in (0.99, 1.01)
    )
    assert below < 0.1
    assert above > 10


def test_the_three_conventions_part_where_a_schedule_changes_what_they_keep():
    """(4) and (9) differ where lr changes, not where μ does; (4) and (7), up to 1 - μ, where μ does, not lr."""
    half, slower = lambda k: 0.02 / (1 + k), lambda k: 0.9 - 0.05 * (k % 5)

    def path(rule, **fields):
        return trajectory(rule(**fields), QUADRATIC, QUADRATIC.x0, 12).x

    same = {"rtol": 0, "atol": 1e-11}
    np.testing.assert_allclose(
        path(HeavyBall, lr=0.002, mu=slower), path(HeavyBallVelocity, lr=0.002, mu=slower), **same
    )
    np.testing.assert_allclose(path(HeavyBall, lr=half, mu=0.9), path(HeavyBallEMA, lr=lambda k: 10 * half(k)), **same)
    assert abs(path(HeavyBall, lr=half) - path(HeavyBallVelocity, lr=half)).max() > 1e-3
    ema = path(HeavyBallEMA, lr=lambda k: 0.002 / (1 - slower(k)), mu=slower)
    assert abs(path(HeavyBall, lr=0.002, mu=slower) - ema).max() > 1e-3
