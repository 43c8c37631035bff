"""A Newton step for the rate: numbers by hand, and what Retsinas et al. state of it, corrected where it has to be.

Notation: φ(α) = f(x - α u); p = ⟨u, ĝ⟩, q = ⟨u, g - ĝ⟩ with g at x and ĝ at x - α u; the factor is 1 + γ p/q.
Numbers by hand are exact to 12 digits: rtol = 1e-11.
"""

from itertools import islice

import numpy as np
import pytest
from answers import problem
from hypothesis import given, settings
from hypothesis import strategies as st
from runs import Function, Scripted, parabola, trajectory
from scipy.optimize import approx_fprime, rosen, rosen_der

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
from refopt.rules.trainable_rate import newton_factor

E1, ONE = parabola(4.0), np.ones(1)
CONCAVE = parabola(-1.0)
ROSEN = Function(lambda x: (rosen(x), rosen_der(x)))


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
    """On a parabola from lr = 1e-6, γ/(α λ) = 5e4 is cut to 100, three times, until the rate is 1."""
    close(factors(trajectory(NTLR(GradientDescent(1e-6)), E1, ONE, 6).eta), [1, 100, 100, 100, 5.8])
    assert factors(trajectory(NTLR(GradientDescent(1e-6), factor_max=7.0), E1, ONE, 3).eta)[1] == pytest.approx(7)


@pytest.mark.parametrize("rule", [NTLR(GradientDescent(0.1)), NTLRLookAhead(0.1), NTLRConsecutive(0.1)], ids=repr)
def test_where_f_is_concave_the_rate_stays(rule):
    """NT4, -x²/2 from 1: exactly, for ten steps."""
    assert (trajectory(rule, CONCAVE, ONE, 10).eta == 0.1).all()


# --- NT1: the derivatives ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ridge", "logistic", "quadratic"])
@pytest.mark.parametrize("scale", [(1, 1), (0.5, 2)])
def test_the_derivatives_with_respect_to_the_rate_are_those_of_the_derivation(name, scale):
    """NT1: φ' = -⟨∇f(x - αu), u⟩ to 1e-6, φ'' = ⟨u, ∇²f u⟩ to 1e-4, and (6) tends to it; SciPy's differences."""
    oracle = problem(name)
    x = oracle.x0
    u = oracle(x)[1] * np.linspace(*scale, x.size)
    for alpha in (0.0, 0.01, 0.1):
        phi = lambda a: float(oracle.value(x - a[0] * u))  # noqa: E731
        slope = lambda a: float(-oracle(x - a[0] * u)[1] @ u)  # noqa: E731
        here = np.array([alpha])
        assert approx_fprime(here, phi, 1e-7)[0] == pytest.approx(slope(here), rel=1e-4, abs=1e-6 * (u @ u))
        second = u @ oracle.hvp(x - alpha * u, u)
        assert approx_fprime(here, slope, 1e-7)[0] == pytest.approx(second, rel=1e-4)
        assert second >= 0
    tiny = 1e-6
    assert u @ (oracle(x)[1] - oracle(x - tiny * u)[1]) / tiny == pytest.approx(u @ oracle.hvp(x, u), rel=1e-4)


# --- NT2: the exact line search ------------------------------------------------------------------------------------


@pytest.mark.parametrize("gamma", [1.0, 0.33, 0.2])
@pytest.mark.parametrize("alpha", [1e-3, 0.01, 0.5])
@pytest.mark.parametrize("scale", [(1, 1), (0.5, 2)])
def test_on_a_quadratic_the_newton_step_goes_gamma_of_the_way_to_the_exact_line_search(gamma, alpha, scale):
    """NT2, (9): α⁺ - α* = (1 - γ)(α - α*), from any α > 0, along any u with ⟨u, g⟩ > 0; to 1e-9."""
    oracle = problem("quadratic")
    g = oracle(oracle.x0)[1]
    u = g * np.linspace(*scale, g.size)
    best = u @ g / (u @ oracle.hvp(oracle.x0, u))
    ahead = oracle(oracle.x0 - alpha * u)[1]
    factor = newton_factor(u @ ahead, u @ (g - ahead), gamma, np.inf)
    assert alpha * factor - best == pytest.approx((1 - gamma) * (alpha - best), abs=1e-9 * best)


@pytest.mark.parametrize("alpha", [1e-3, 0.01, 0.5])
def test_undamped_it_is_cauchys_step_on_a_quadratic(alpha):
    """NT2 through the rule: from any rate in one step, and so the next gradient is orthogonal. 1e-9."""
    oracle = problem("quadratic")
    run = trajectory(NTLRLookAhead(alpha, 1.0, np.inf), oracle, oracle.x0, 5)
    cauchy = [g @ g / (g @ oracle.hvp(x, g)) for x, g in zip(run.x, run.g, strict=False)]
    np.testing.assert_allclose(run.eta, cauchy, rtol=1e-9)


@pytest.mark.parametrize("name", ["logistic", "ridge", "log-sum-exp"])
def test_undamped_it_is_a_secant_step_for_the_slope(name):
    """NT2, (8): α φ'₀ / (φ'₀ - φ'(α)), for any smooth f; 1e-11 for the difference."""
    oracle = problem(name)
    g, alpha = oracle(oracle.x0)[1], 0.05
    here, there = -g @ g, -g @ oracle(oracle.x0 - alpha * g)[1]
    run = trajectory(NTLRLookAhead(alpha, 1.0, np.inf), oracle, oracle.x0, 1)
    assert run.eta[0] == pytest.approx(alpha * here / (here - there), rel=1e-11)


# --- NT3: Barzilai and Borwein -------------------------------------------------------------------------------------


@pytest.mark.parametrize("gamma", [1.0, 0.33])
@pytest.mark.parametrize(("oracle", "x0", "lr"), [
    (problem("ridge"), problem("ridge").x0, 0.05), (problem("softmax"), problem("softmax").x0, 0.05),
    (problem("log-sum-exp"), problem("log-sum-exp").x0, 0.05), (ROSEN, np.array([-1.2, 1.0]), 1e-4),
], ids=["ridge", "softmax", "log-sum-exp", "rosenbrock"])  # fmt: skip
def test_from_consecutive_gradients_it_is_a_damped_step_towards_bb1(oracle, x0, lr, gamma):
    """NT3, (12): α_t = (1 - γ) α_(t-1) + γ ⟨s, s⟩/⟨s, y⟩ where ⟨s, y⟩ > 0, for ten steps, to 1e-9."""
    run = trajectory(NTLRConsecutive(lr, gamma, np.inf), oracle, x0, 10)
    s, y = np.diff(run.x[:-1], axis=0), np.diff(run.g, axis=0)
    ss, sy = (s * s).sum(axis=1), (s * y).sum(axis=1)
    bent = sy > 1e-9 * ss
    assert bent.sum() >= 3
    expected = (1 - gamma) * run.eta[:-1] + gamma * ss / np.where(bent, sy, 1)
    np.testing.assert_allclose(run.eta[1:][bent], expected[bent], rtol=1e-9)
    assert run.eta[0] == lr


# --- NT4: guards ---------------------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(st.floats(-1e6, 1e6), st.floats(0, 1e6), st.floats(1e-3, 1), st.floats(1, 1e3))
def test_the_factor_stays_between_1_minus_gamma_and_the_cap_where_u_descends(p, ug, gamma, cap):
    """NT4: with ⟨u, g⟩ ≥ 0 and q = ⟨u, g⟩ - p; exactly 1 where q ≤ 0."""
    q = np.float64(ug - p)
    factor = newton_factor(np.float64(p), q, gamma, cap)
    assert 1 - gamma - 1e-9 <= factor <= cap
    assert q > 0 or factor == 1


@pytest.mark.parametrize("alpha", np.logspace(-4, 4, 9))
@pytest.mark.parametrize("name", ["ridge", "log-sum-exp", "huber"])
def test_on_convex_functions_the_rate_never_changes_its_sign_nor_grows_more_than_a_hundredfold(name, alpha):
    """NT4: one step from rates far too small and far too large."""
    oracle = problem(name)
    eta = trajectory(NTLRLookAhead(alpha, 0.33), oracle, oracle.x0, 1).eta[0]
    assert 0.67 * (1 - 1e-12) <= eta / alpha <= 100 * (1 + 1e-12)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_no_window_changes_the_sign_of_a_rate(seed):
    """NT4: factors in (1 - γ, 100], whatever the gradients: ⟨S_old, S_old⟩ ≥ 0 always."""
    g = np.random.default_rng(seed).standard_normal((40, 3)) + 0.5
    run = trajectory(NTLR(HeavyBall(0.01), 2), Scripted(g), np.zeros(3), 40)
    assert (factors(run.eta) > 0.8 - 1e-12).all()
    assert (factors(run.eta) <= 100 * (1 + 1e-12)).all()
    assert len(set(run.eta)) > 3


@pytest.mark.parametrize("rule", [NTLR(), NTLRLookAhead(), NTLRConsecutive()], ids=repr)
def test_zero_gradients_and_orthogonal_windows_change_no_rate(rule):
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


def test_the_window_of_one_step_is_the_consecutive_form_one_step_late():
    """The first two rates are lr; and where the older rate is the newer one, so at first, the factors agree."""
    late = trajectory(NTLR(GradientDescent(0.01)), E1, ONE, 3).eta
    close(late[:2], [0.01, 0.01])
    close(trajectory(NTLRConsecutive(0.01), E1, ONE, 2).eta, [0.01, late[2]])


def test_a_mean_in_place_of_the_sum_changes_nothing():
    """The factor has no units: S and c S give the same, for c a power of two bit for bit."""
    rng = np.random.default_rng(0)
    rule = NTLR()
    rule.start(np.zeros(5), parabola(*np.ones(5)))
    for _ in range(10):
        a, b = rng.standard_normal((2, 5)) + 1
        assert rule.adapted(a, b) == rule.adapted(a / 4, b / 4)
        assert rule.adapted(a, b) != rule.adapted(b, a)


def test_with_consecutive_gradients_and_a_projection_the_move_that_happened_counts():
    """On 2x² over [1, 2] the first step from 1.5 is cut at 1: s = 0.5, y = 2, and α moves to 1/λ = 1/4 by γ."""
    oracle = Constrained(E1, Box(1.0, 2.0))
    run = trajectory(NTLRConsecutive(0.2), oracle, 1.5 * ONE, 30)
    assert run.x[1] == 1
    p, q = 0.5 * 4, 0.5 * (6 - 4)
    close(run.eta[1], 0.2 * (1 + 0.2 * p / q))
    assert (run.eta[2:] == run.eta[2]).all()


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
    assert (trajectory(NTLR(base, 2), E1, ONE, 40).eta > 0).all()


def test_released_nothing_caps_the_factor():
    """Constant gradients |g| = 1, lr 0.125, K = 1: 1 + γ/1e-10 = 2e9. As meant, q = 0 keeps the rate."""
    constant = np.tile([1.0, 0], (6, 1))
    released = trajectory(NTLRReleased(GradientDescent(0.125), 1), Scripted(constant), np.zeros(2), 5)
    close(released.eta[4], 0.125 * (1 + 2e9))
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
