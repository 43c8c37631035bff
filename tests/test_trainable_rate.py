"""A Newton step for the rate: numbers by hand, and what Retsinas et al. state of it, corrected where it has to be.

Notation: φ(α) = f(x - α u); p = ⟨u, ĝ⟩, q = ⟨u, g - ĝ⟩ with g at x and ĝ at x - α u; the factor is 1 + γ p/q.
Numbers by hand are exact to 12 digits: rtol = 1e-11.
"""

from itertools import islice

import numpy as np
import pytest
from answers import problem, squares
from hypothesis import given, settings
from hypothesis import strategies as st
from runs import Function, Scripted, parabola, trajectory
from scipy.differentiate import derivative
from scipy.optimize import rosen, rosen_der

from refopt import (
    NTLR,
    Adam,
    Box,
    Constrained,
    FiniteSum,
    GradientDescent,
    HeavyBall,
    NTLRConsecutive,
    NTLRLookAhead,
    NTLRReleased,
    Shuffled,
    descend,
)
from refopt.problems import vec
from refopt.rules.trainable_rate import newton_factor

E1, ONE = parabola(4.0), np.ones(1)
CONCAVE = parabola(-1.0)
ROSEN = Function(lambda x: (rosen(x), rosen_der(x)))


LATE = [("logistic", 0.05), ("softmax", 0.05), ("log-sum-exp", 0.05), ("ridge", 0.05), ("rosenbrock", 1e-4)]
"""Smooth functions, and a rate for the first step from x0."""


def smooth(name):
    """A problem of this name and its x0; Rosenbrock's valley is not convex."""
    return (ROSEN, np.array([-1.2, 1.0])) if name == "rosenbrock" else (problem(name), problem(name).x0)


def close(mine, hand):
    np.testing.assert_allclose(mine, hand, rtol=1e-11, atol=1e-14)


def factors(eta):
    return eta[1:] / eta[:-1]


# --- numbers by hand -----------------------------------------------------------------------------------------------


def test_looking_ahead_by_hand():
    run = trajectory(NTLRLookAhead(0.01), E1, ONE, 4)
    close(run.eta, [0.058, 0.0964, 0.12712, 0.151696])
    close(run.x[1:, 0], [0.768, 0.4718592, 0.231928233984, 0.0911978924543])


def test_windows_of_one_step_by_hand():
    run = trajectory(NTLR(GradientDescent(0.01)), E1, ONE, 6)
    close(run.eta, [0.01, 0.01, 0.058, 0.3364, 0.55912, 0.530399448276])
    close(run.x[1:, 0][:5], [0.96, 0.9216, 0.7077888, -0.24461180928, 0.302457609939])
    close(factors(run.eta), [1, 5.8, 5.8, 1.66206896552, 0.948632580262])


def test_windows_of_five_steps_by_hand():
    eta = trajectory(NTLR(GradientDescent(0.01), 5), E1, ONE, 26).eta
    close(eta[5::5], [0.01, 0.0188326340363, 0.0307496829172, 0.0405664329549, 0.0480570039912])
    close(factors(eta[::5]), [1, 1.88326340363, 1.6327871533, 1.31924719562, 1.18464948704])
    assert len(set(eta)) == 5


def test_from_above_by_hand():
    eta = trajectory(NTLR(GradientDescent(0.4)), E1, ONE, 5).eta
    close(factors(eta), [1, 0.925, 0.925, 0.935135135135])
    close(eta[1:], [0.4, 0.37, 0.34225, 0.32005])


def test_the_cap_by_hand():
    """On a parabola from lr = 1e-6, γ/(α λ) = 5e4 is cut to 100, three times, until the rate is 1.

    It acts from p/|u|² = 99/(99 + γ) = 0.99798 on.
    """
    close(factors(trajectory(NTLR(GradientDescent(1e-6)), E1, ONE, 6).eta), [1, 100, 100, 100, 5.8])
    assert factors(trajectory(NTLR(GradientDescent(1e-6), factor_max=7.0), E1, ONE, 3).eta)[1] == pytest.approx(7)
    for p, capped in [(0.99797, False), (0.99799, True)]:
        assert (newton_factor(np.float64(p), np.float64(1 - p), 0.2, 100.0) == 100) == capped


@pytest.mark.parametrize("rule", [NTLR(GradientDescent(0.1)), NTLRLookAhead(0.1), NTLRConsecutive(0.1)], ids=repr)
def test_where_f_is_concave_the_rate_stays(rule):
    """NT4. -x²/2 from 1: exactly, for ten steps."""
    assert (trajectory(rule, CONCAVE, ONE, 10).eta == 0.1).all()


# --- NT1: the derivatives ------------------------------------------------------------------------------------------


def slope(oracle, x, u, alpha):
    """φ'(α) from values alone, by SciPy."""
    return derivative(np.vectorize(lambda a: float(oracle.value(x - a * u))), alpha).df


@pytest.mark.parametrize("name", ["logistic", "ridge", "softmax", "quadratic"])
def test_the_derivatives_with_respect_to_the_rate_are_those_of_the_derivation(name):
    """NT1. φ' = -⟨∇f(x - αu), u⟩ to 1e-7, φ'' = ⟨u, ∇²f(x - αu) u⟩ ≥ 0 to 1e-6; derivatives by SciPy."""
    oracle = problem(name)
    x = oracle.x0
    for u in (oracle(x)[1], vec(x.size)):
        for alpha in (0.0, 0.3, 2.0):
            first = np.vectorize(lambda a, u=u: float(-oracle(x - a * u)[1] @ u))
            second = u @ oracle.hvp(x - alpha * u, u)
            assert slope(oracle, x, u, alpha) == pytest.approx(first(alpha), rel=1e-7)
            assert derivative(first, alpha).df == pytest.approx(second, rel=1e-6)
            assert second >= 0


@pytest.mark.parametrize("name", ["logistic", "ridge", "softmax", "quadratic"])
def test_the_step_of_the_rate_is_newtons_with_these_derivatives(name):
    """NT1, (4). (α⁺ - α)/γ → -φ'(0)/φ''(0) as α → 0: to 1e-4 at α = 1e-6, where (6) is off by O(α).

    In between and beyond, the rate rises where φ' < 0, the gradient ahead still pointing along u, and falls where
    φ' > 0. (In the list after their eq. 3 the signs of φ' are reversed.)
    """
    oracle = problem(name)
    g = oracle(oracle.x0)[1]
    tiny = trajectory(NTLRLookAhead(1e-6, 0.2, np.inf), oracle, oracle.x0, 1).eta[0] - 1e-6
    newton = -slope(oracle, oracle.x0, g, 0.0) / (g @ oracle.hvp(oracle.x0, g))
    assert tiny / 0.2 == pytest.approx(newton, rel=1e-4)
    signs = set()
    for alpha in np.logspace(-3, 2, 11):
        rising = trajectory(NTLRLookAhead(alpha), oracle, oracle.x0, 1).eta[0] > alpha
        assert rising == (slope(oracle, oracle.x0, g, alpha) < 0)
        signs.add(rising)
    assert signs == {True, False}


# --- NT2: the exact line search ------------------------------------------------------------------------------------


@pytest.mark.parametrize("gamma", [1.0, 0.33, 0.2])
@pytest.mark.parametrize("alpha", [1e-3, 0.01, 0.5])
@pytest.mark.parametrize("scale", [(1, 1), (0.5, 2)])
def test_on_a_quadratic_the_newton_step_goes_gamma_of_the_way_to_the_exact_line_search(gamma, alpha, scale):
    """NT2. Retsinas et al. eq. 8. α⁺ - α* = (1 - γ)(α - α*), from any α > 0, along any u with ⟨u, g⟩ > 0; to 1e-9."""
    oracle = problem("quadratic")
    g = oracle(oracle.x0)[1]
    u = g * np.linspace(*scale, g.size)
    best = u @ g / (u @ oracle.hvp(oracle.x0, u))
    ahead = oracle(oracle.x0 - alpha * u)[1]
    factor = newton_factor(u @ ahead, u @ (g - ahead), gamma, np.inf)
    assert alpha * factor - best == pytest.approx((1 - gamma) * (alpha - best), abs=1e-9 * best)
    if scale == (1, 1):
        run = trajectory(NTLRLookAhead(alpha, gamma, np.inf), oracle, oracle.x0, 1)
        assert run.eta[0] - best == pytest.approx((1 - gamma) * (alpha - best), abs=1e-9 * best)


@pytest.mark.parametrize("alpha", [1e-3, 0.01, 0.5])
def test_undamped_it_is_cauchys_step_on_a_quadratic(alpha):
    """NT2. From any rate in one step, and so the next gradient is orthogonal. Five steps, 1e-9."""
    oracle = problem("quadratic")
    run = trajectory(NTLRLookAhead(alpha, 1.0, np.inf), oracle, oracle.x0, 5)
    cauchy = [g @ g / (g @ oracle.hvp(x, g)) for x, g in zip(run.x, run.g, strict=False)]
    assert len(cauchy) == 5
    np.testing.assert_allclose(run.eta, cauchy, rtol=1e-9)
    norm = np.linalg.norm(run.g, axis=1)
    assert (abs((run.g[1:] * run.g[:-1]).sum(axis=1)) <= 1e-9 * norm[1:] * norm[:-1]).all()


@pytest.mark.parametrize("name", ["logistic", "ridge", "log-sum-exp"])
def test_undamped_it_is_a_secant_step_for_the_slope(name):
    """NT2, (8). α φ'₀ / (φ'₀ - φ'(α)), for any smooth f; 1e-12 for rates of the size of 1."""
    oracle = problem(name)
    g = oracle(oracle.x0)[1]
    for alpha in (0.3, 1.0, 2.0):
        here, there = -g @ g, -g @ oracle(oracle.x0 - alpha * g)[1]
        run = trajectory(NTLRLookAhead(alpha, 1.0, np.inf), oracle, oracle.x0, 1)
        assert run.eta[0] == pytest.approx(alpha * here / (here - there), rel=1e-12)


@pytest.mark.parametrize("period", [1, 2, 5])
@pytest.mark.parametrize("lr", [0.01, 0.1])
@pytest.mark.parametrize("gamma", [1.0, 0.2])
def test_from_afar_a_window_on_a_parabola_is_one_step(gamma, lr, period):
    """NT2. K steps at α multiply x by r = (1 - αλ)^K, so S = x (1 - r)/α: the rates of six windows, to 1e-10.

    The first change, from equal rates, is by 1 + γ r/(1 - r), as far as 100: undamped it leads to α/(1 - r), which is
    1/λ for K = 1.
    """
    alpha, x, s_old, r = [lr], 1.0, 0.0, (1 - 4 * lr) ** period
    for k in range(5):
        shrunk = (1 - 4 * alpha[k]) ** period
        s = x * (1 - shrunk) / alpha[k]
        q = s_old * (s_old - s)
        alpha.append(alpha[k] * min(1 + gamma * s_old * s / q, 100) if q > 0 else alpha[k])
        x, s_old = shrunk * x, s
    eta = trajectory(NTLR(GradientDescent(lr), period, gamma=gamma), E1, ONE, 6 * period).eta
    np.testing.assert_allclose(eta, np.repeat(alpha, period), rtol=1e-10)
    close(eta[2 * period], lr * (1 + gamma * r / (1 - r)))
    assert eta[-1] != eta[2 * period]
    if period == 1 and gamma == 1:
        close(eta[2], 0.25)


# --- NT3: Barzilai and Borwein -------------------------------------------------------------------------------------


@pytest.mark.parametrize("gamma", [1.0, 0.33])
@pytest.mark.parametrize(("name", "lr"), LATE)
def test_from_consecutive_gradients_it_is_a_damped_step_towards_bb1(name, lr, gamma):
    """NT3, (12). α_t = (1 - γ) α_(t-1) + γ ⟨s, s⟩/⟨s, y⟩ where ⟨s, y⟩ > 0, for ten changes, to 1e-10.

    Where Rosenbrock's function is concave along s, the rate stays.
    """
    oracle, x0 = smooth(name)
    run = trajectory(NTLRConsecutive(lr, gamma, np.inf), oracle, x0, 11)
    s, y = np.diff(run.x[:-1], axis=0), np.diff(run.g, axis=0)
    ss, sy = squares(s), (s * y).sum(axis=1)
    bent = sy > 0
    assert len(bent) == 10
    assert bent.all() or (name == "rosenbrock" and bent.sum() >= 3)
    expected = (1 - gamma) * run.eta[:-1] + gamma * ss / np.where(bent, sy, 1)
    np.testing.assert_allclose(run.eta[1:], np.where(bent, expected, run.eta[:-1]), rtol=1e-10)
    assert run.eta[0] == lr


@pytest.mark.parametrize("gamma", [1.0, 0.33])
@pytest.mark.parametrize(("name", "lr"), LATE)
def test_the_first_change_by_windows_of_one_step_is_a_damped_step_towards_bb1(name, lr, gamma):
    """NT3. With K = 1, S_old and S are g_0 and g_1, and both steps had the rate lr: one step late, the same. 1e-10."""
    oracle, x0 = smooth(name)
    run = trajectory(NTLR(GradientDescent(lr), 1, gamma=gamma, factor_max=np.inf), oracle, x0, 3)
    s, y = run.x[1] - run.x[0], run.g[1] - run.g[0]
    assert s @ y > 0
    assert (run.eta[:2] == lr).all()
    assert run.eta[2] == pytest.approx((1 - gamma) * lr + gamma * (s @ s) / (s @ y), rel=1e-10)


# --- NT4: guards ---------------------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(st.floats(-1e6, 1e6), st.floats(0, 1e6), st.floats(1e-3, 1), st.floats(1, 1e3))
def test_the_factor_stays_between_1_minus_gamma_and_the_cap_where_u_descends(p, ug, gamma, cap):
    """NT4. With ⟨u, g⟩ ≥ 0 and q = ⟨u, g⟩ - p; exactly 1 where q ≤ 0."""
    q = np.float64(ug - p)
    factor = newton_factor(np.float64(p), q, gamma, cap)
    assert 1 - gamma - 1e-9 <= factor <= cap
    assert q > 0 or factor == 1


@pytest.mark.parametrize("name", ["logistic", "log-sum-exp", "huber", "ridge"])
def test_on_convex_functions_the_rate_never_changes_its_sign_nor_grows_more_than_a_hundredfold(name):
    """NT4. One step from each of 33 rates, far too small to far too large, γ = 0.33: factors from 0.67 to 100.

    Both are reached, the lower one only where the slope grows with α without bound.
    """
    oracle, alpha = problem(name), np.logspace(-4, 4, 33)
    eta = np.array([trajectory(NTLRLookAhead(a, 0.33), oracle, oracle.x0, 1).eta[0] for a in alpha])
    assert len(eta) == 33
    assert (eta / alpha >= 0.67 * (1 - 1e-12)).all()
    assert (eta / alpha <= 100 * (1 + 1e-12)).all()
    assert (eta / alpha).min() <= (0.68 if name in ("logistic", "ridge") else 0.83)
    assert (eta / alpha).max() >= 100 * (1 - 1e-12)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_no_window_changes_the_sign_of_a_rate(seed):
    """NT4. Factors in (1 - γ, 100], whatever the gradients: ⟨S_old, S_old⟩ ≥ 0 always."""
    g = np.random.default_rng(seed).standard_normal((40, 3)) + 0.5
    run = trajectory(NTLR(HeavyBall(0.01), 2), Scripted(g), np.zeros(3), 40)
    assert (factors(run.eta) > 0.8 - 1e-12).all()
    assert (factors(run.eta) <= 100 * (1 + 1e-12)).all()
    assert len(set(run.eta)) > 3


@pytest.mark.parametrize("rule", [NTLR(), NTLRLookAhead(), NTLRConsecutive()], ids=repr)
def test_zero_gradients_and_orthogonal_windows_change_no_rate(rule):
    """NT4. q = 0, and p = 0."""
    assert len(set(trajectory(rule, Scripted(np.zeros((5, 2))), np.ones(2), 5).eta)) == 1
    orthogonal = Function(lambda x: (0.0, [1, 0] if abs(x[0] + x[1]) < 0.05 else [0, 1]))  # (0, 0) and then beyond
    assert len(set(trajectory(rule, orthogonal, np.zeros(2), 2).eta)) == 1


# --- the forms -----------------------------------------------------------------------------------------------------


def test_looking_ahead_asks_twice_on_one_sample_and_the_others_once():
    total, drawn = problem("least-squares-noisy"), []

    class Counting(FiniteSum):
        def __call__(self, x):
            drawn.append(self.drawn)
            return super().__call__(x)

    for rule, asked in [(NTLRLookAhead(), 2), (NTLRConsecutive(), 1), (NTLR(), 1)]:
        drawn.clear()
        list(islice(descend(rule, Counting(total, Shuffled(12, 4)), total.x0), 6))
        assert drawn == [t for t in range(1, 7) for _ in range(asked)]


def test_looking_ahead_does_not_project_and_may_ask_outside_the_feasible_set():
    asked = []
    oracle = Constrained(Function(lambda x: asked.append(x[0]) or (2 * x[0] ** 2, 4 * x)), Box(1.0, 2.0))
    list(islice(descend(NTLRLookAhead(0.3), oracle, 1.5 * ONE), 3))
    assert min(asked) < 0
    asked.clear()
    list(islice(descend(NTLRConsecutive(0.3), oracle, 1.5 * ONE), 3))
    assert min(asked) == 1


def test_the_window_of_one_step_is_the_consecutive_form_one_step_late():
    """NT3. The first two rates are lr; and where the older rate is the newer one, so at first, the factors agree."""
    late = trajectory(NTLR(GradientDescent(0.01)), E1, ONE, 3).eta
    close(late[:2], [0.01, 0.01])
    close(trajectory(NTLRConsecutive(0.01), E1, ONE, 2).eta, [0.01, late[2]])


def test_a_mean_in_place_of_the_sum_changes_nothing():
    """NT2. The factor has no units: S and c S give the same, for c a power of two bit for bit."""
    rng = np.random.default_rng(0)
    rule = NTLR()
    rule.start(np.zeros(5), parabola(*np.ones(5)))
    for _ in range(10):
        a, b = rng.standard_normal((2, 5)) + 1
        assert rule.adapted(a, b) == rule.adapted(a / 4, b / 4)
        assert rule.adapted(a, b) != rule.adapted(b, a)


def test_with_consecutive_gradients_and_a_projection_the_move_that_happened_counts():
    """NT3. On 2x² over [1, 2] the first step from 1.5 is cut at 1: s = 0.5, ⟨s, g_1⟩ = 2 and ⟨s, g_0 - g_1⟩ = 1."""
    oracle = Constrained(E1, Box(1.0, 2.0))
    run = trajectory(NTLRConsecutive(0.2), oracle, 1.5 * ONE, 30)
    assert run.x[1] == 1
    p, q = 0.5 * 4, 0.5 * (6 - 4)
    close(run.eta[1], 0.2 * (1 + 0.2 * p / q))
    assert (run.eta[2:] == run.eta[2]).all()


def test_a_move_that_was_cut_counts_as_cut():
    """NT3. In a box, (11) from the points: 1 - γ ⟨s, g_t⟩/⟨s, y⟩ with the moves that happened, to 1e-9."""
    total = problem("ridge")
    run = trajectory(NTLRConsecutive(0.2), Constrained(total, Box(-0.5, 0.5)), total.x0, 6)
    s, y = np.diff(run.x[:-1], axis=0), np.diff(run.g, axis=0)
    cut = abs(s + run.eta[:-1, None] * run.g[:-1]) > 1e-3
    assert (cut.any(axis=1) & (abs(s) > 1e-3).any(axis=1)).sum() >= 2
    sg, sy = (s * run.g[1:]).sum(axis=1), (s * y).sum(axis=1)
    assert (sy > 0).all()
    np.testing.assert_allclose(factors(run.eta), 1 - 0.2 * sg / sy, rtol=1e-9)


@pytest.mark.parametrize("rule", [NTLR(GradientDescent(1e-4)), NTLR(GradientDescent(1e-4), 5), NTLRLookAhead(1e-4),
                                  NTLRConsecutive(1e-4)], ids=repr)  # fmt: skip
def test_from_a_rate_far_too_small_it_solves_what_the_constant_rate_does_not(rule):
    """Ridge regression, lr 1e-4: in 300 steps within 1e-3 of the first gap; the constant rate keeps half of it."""
    oracle = problem("ridge")
    gap = [oracle.value(trajectory(r, oracle, oracle.x0, 300).x[-1]) - oracle.f_star
           for r in (rule, GradientDescent(1e-4))]  # fmt: skip
    first = oracle.value(oracle.x0) - oracle.f_star
    assert gap[0] < 1e-3 * first
    assert gap[1] > 0.1 * first


# --- as released ---------------------------------------------------------------------------------------------------


def test_released_rates_by_hand():
    """K = 1: the first change after step 3K + 1 = 4; the 1e-10 shows in the tenth digit."""
    close(trajectory(NTLRReleased(GradientDescent(0.01), 1), E1, ONE, 8).eta[1:],
          [0.01, 0.01, 0.01, 0.0579999999912, 0.336399999893, 0.559119999858, 0.530399448168])  # fmt: skip


def test_released_windows_of_five_change_the_rate_after_steps_16_21_26():
    eta = trajectory(NTLRReleased(GradientDescent(0.01), 5), E1, ONE, 31).eta
    assert [t for t in range(1, 31) if eta[t] != eta[t - 1]] == [16, 21, 26]
    close(eta[[16, 21, 26]], [0.0188326340362, 0.0307496829172, 0.0405664329548])


def test_released_a_concave_function_turns_the_rate_round():
    """-x²/2, K = 1, lr = 0.1: -0.12 after four steps, where the rule as meant keeps 0.1."""
    close(trajectory(NTLRReleased(GradientDescent(0.1), 1), CONCAVE, ONE, 5).eta[4], -0.12000000015)


def test_released_momentum_is_enough_to_turn_the_rate_round():
    """2x², μ = 0.8, K = 2, lr 0.01: after seven steps; as meant it is positive for ever."""
    base = HeavyBall(0.01, 0.8)
    close(trajectory(NTLRReleased(base, 2), E1, ONE, 8).eta[7], -0.0922899341803)
    meant = trajectory(NTLR(base, 2), E1, ONE, 40).eta
    assert (meant[:8] == 0.01).all(), "q ≤ 0 while momentum grows"
    assert (meant > 0).all()
    assert meant[8] > 0.03


def test_released_nothing_caps_the_factor():
    """Constant gradients |g| = 1, lr 0.125, K = 1: 1 + γ/1e-10 = 2e9. As meant, q = 0 keeps the rate.

    With |g| = 1/2 one change takes lr from 0.1 to 5e7; to 1e-5, for moves of 0.05 are rounded, and q is 1e-10.
    """
    constant = np.tile([1.0, 0], (6, 1))
    released = trajectory(NTLRReleased(GradientDescent(0.125), 1), Scripted(constant), np.zeros(2), 5)
    close(released.eta[4], 0.125 * (1 + 2e9))
    halved = trajectory(NTLRReleased(GradientDescent(0.1), 1), Scripted(constant / 2), np.zeros(2), 5)
    assert halved.eta[4] == pytest.approx(5e7, rel=1e-5)
    assert trajectory(NTLR(GradientDescent(0.125)), Scripted(constant), np.zeros(2), 6).eta[-1] == 0.125


def test_released_a_share_of_less_than_a_batch_changes_no_rate():
    total = problem("least-squares-noisy")
    for kind, changes in [(NTLRReleased, False), (NTLR, True)]:
        run = trajectory(kind(GradientDescent(0.01), share=0.2), FiniteSum(total, Shuffled(12, 4)), total.x0, 12)
        assert (len(set(run.eta)) > 1) == changes


def test_released_it_is_the_rule_one_step_and_one_window_late():
    """Around Adam, K = 3: the first factor comes after step 10, from the points after steps 4, 7 and 10."""
    oracle = problem("logistic")
    rule = NTLRReleased(Adam(0.01), 3)
    points = [oracle.x0] + [step.x.copy() for step in islice(descend(rule, oracle, oracle.x0), 11)]
    old, new = (points[4] - points[7]) / 0.01, (points[7] - points[10]) / 0.01
    assert rule.rate == pytest.approx(0.01 * (1 + 0.2 * (old @ new) / (old @ (old - new))), rel=1e-8)
    assert rule.rate != 0.01
