"""Polyak's step and King's bounds on it: numbers by hand, closed forms, and the inequalities of the proofs.

The statements have numbers, PS1 to PS10 and KG1. PS9, a Polyak step with only a lower bound on f*, is left out: it is
a method of its own, which this project does not have. e = x - x*, d = |e|, h = f - f*; a subscript + means after the
step. Inequalities are asserted to 1e-12 of |e_0|², for rounding, and while h is large enough to have digits left.
"""

import numpy as np
import pytest
from answers import Answers, check_by_hand, leading, one_step, problem, squares
from runs import Function, parabola, trajectory, values

from refopt import L2, PSS, SPS, Clip, Polyak, PSSDelta, PSSDeltaLiteral, PSSGamma
from refopt.convex import Quadratic
from refopt.oracle import Block
from refopt.problems import design, rot, spd, vec

# --- by hand -------------------------------------------------------------------------------------------------------

quartic = Function(lambda x: ((x**4).sum() / 4, x**3), f_star=0.0)
bowl = parabola(1, 10)  # from (10, 1): f = 55, g = (10, 10)
bowl.blocks = Block("x", slice(0, 1), (1,)), Block("y", slice(1, 2), (1,))  # two tensors, and yet one rate
HALVES = [0.5, 0.25, 0.125]
EARLY = [0.25, 0.444444444444, 0.79012345679]
BY_HAND: dict[str, tuple] = {  # rule, problem, x0, step sizes, iterates
    "Polyak halves a steep parabola": (Polyak(), parabola(4), [1], [0.125] * 3, HALVES),
    "and a flat one": (Polyak(), parabola(0.25), [1], [2] * 3, HALVES),
    "Polyak uses one norm for all coordinates": (
        Polyak(), bowl, [10, 1],
        [0.275, 0.115920571329, 0.428486891768],
        [[7.25, -1.75], [6.40957585786, 0.278609998258], [3.66315662098, -0.915197323434]],
    ),
    "Polyak on x^4 / 4 shrinks by 3/4": (
        Polyak(), quartic, [1], [*EARLY, 1.40466392318], [0.75, 0.5625, 0.421875, 0.31640625]
    ),
    "PSS takes f* for 0": (PSS(), parabola(4), [1], [0.125] * 3, HALVES),
    "PSSGamma stops at 1": (PSSGamma(), parabola(0.25), [1], [1] * 3, [0.75, 0.5625, 0.421875]),
    "PSSGamma leaves small steps": (PSSGamma(), parabola(4), [1], [0.125] * 3, HALVES),
    "PSSGamma stops at 1 when the time comes": (
        PSSGamma(), quartic, [1], [*EARLY, 1], [0.75, 0.5625, 0.421875, 0.346790313721]
    ),
    "PSSGamma with another bound": (PSSGamma(eta_max=0.4), quartic, [1], [0.25, 0.4], [0.75, 0.58125]),
    "PSSDelta never grows": (
        PSSDelta(), quartic, [1], [0.25] * 4, [0.75, 0.64453125, 0.577593371272, 0.529420047725]
    ),
    "PSSDelta remembers its smallest": (
        PSSDelta(), bowl, [10, 1],
        [0.275, 0.115920571329, 0.115920571329],
        [[7.25, -1.75], [6.40957585786, 0.278609998258], [5.66657416244, -0.0443563035025]],
    ),
    "PSSDelta starts at 1": (PSSDelta(), parabola(0.25), [1], [1] * 3, [0.75, 0.5625, 0.421875]),
    "PSSDelta leaves a steep parabola to Polyak": (PSSDelta(), parabola(4), [1], [0.125] * 3, HALVES),
    "PSSDelta can start at the first step": (PSSDelta(delta_init=np.inf), parabola(0.25), [1], [2] * 3, HALVES),
}  # fmt: skip


@pytest.mark.parametrize("case", BY_HAND)
def test_the_first_steps_are_those_computed_by_hand(case):
    check_by_hand(*BY_HAND[case])


STOPS = {"g = 0": (1.0, [0.0, 0.0]), "f = f*": (0.0, [1.0, 2.0]), "f < f*": (-1.0, [1.0, 2.0])}


@pytest.mark.parametrize("stop", STOPS)
@pytest.mark.parametrize("rule", [Polyak(), PSS(), PSSGamma(), PSSDelta(), PSSDeltaLiteral()], ids=repr)
def test_there_is_no_step_where_the_gradient_is_zero_or_the_loss_at_its_infimum(rule, stop):
    x = np.array([3.0, 4.0])
    run = trajectory(rule, Answers(STOPS[stop]), x, 2)
    assert np.array_equal(run.x, [x] * 3)
    assert np.array_equal(run.eta, [0, 0])


def test_the_running_minimum_is_over_the_whole_past_and_leaves_degenerate_samples_out():
    """KG1. α = 0.5, then g = 0, f ≤ f*, then α = 0.1, 0.3, 0.9: δ is compared with the last δ, not with the last α.

    So one small α lowers all rates to come.
    """
    samples = [(0.5, [1.0]), *STOPS.values(), (0.1, [1.0]), (0.3, [1.0]), (0.9, [1.0])]
    run = trajectory(PSSDelta(), Answers(*[(f, g[:1]) for f, g in samples]), np.zeros(1), 7)
    assert np.array_equal(run.eta, [0.5, 0, 0, 0, 0.1, 0.1, 0.1])


def test_to_the_letter_one_degenerate_sample_ends_the_run():
    """KG1. The literal rule takes a 0 into its minimum; without one, the two are the same rule bit for bit."""
    run = trajectory(PSSDeltaLiteral(), Answers((0.5, [1.0]), (1.0, [0.0]), (0.7, [1.0])), np.zeros(1), 9)
    assert np.array_equal(run.eta, [0.5] + [0] * 8)
    lse = problem("log-sum-exp")
    literal, usual = (trajectory(rule(f_star=None), lse, lse.x0, 40) for rule in (PSSDeltaLiteral, PSSDelta))
    assert np.array_equal(literal.x, usual.x)


@pytest.mark.parametrize("rule", [PSSDelta, PSSDeltaLiteral])
def test_where_delta_starts_no_longer_matters_from_the_first_step_below_1_on(rule):
    """KG1. α = 2, 3, 0.7, 0.9. From δ_{-1} = 1 and from δ_{-1} = ∞, the two readings of a start King does not give."""
    samples = [(alpha, [1.0]) for alpha in (2.0, 3.0, 0.7, 0.9)]
    bounded, free = (trajectory(r, Answers(*samples), np.zeros(1), 4).eta for r in (rule(), rule(delta_init=np.inf)))
    assert np.array_equal(bounded, [1, 1, 0.7, 0.7])
    assert np.array_equal(free, [2, 2, 0.7, 0.7])


def test_without_f_star_polyak_asks_for_it_and_a_field_overrules_the_problem():
    x = np.ones(1)
    with pytest.raises(ValueError, match="pass f_star"):
        one_step(Polyak(), Function(lambda x: (x @ x / 2, x)), x)
    shifted = Function(lambda x: (x @ x / 2 + 3, x), f_star=3.0)
    assert one_step(Polyak(), shifted, x)[1] == 0.5
    assert one_step(Polyak(f_star=2.75), shifted, x)[1] == 0.75
    assert one_step(PSS(), shifted, x)[1] == 3.5, "King's f* is 0, whatever the problem knows"


# --- closed forms --------------------------------------------------------------------------------------------------


def test_polyak_halves_a_parabola_bit_for_bit_and_half_the_c_solves_it():
    """PS6. Elementary. f = 4 x² from 3, all in short binary fractions: x_t = 3 · 2^-t exactly, for 20 steps."""
    steep, x0 = parabola(8), np.array([3.0])
    assert np.array_equal(trajectory(Polyak(), steep, x0, 20).x[:, 0], 3 * 0.5 ** np.arange(21))
    assert trajectory(SPS(), steep, x0, 1).x[1] == 0


def test_polyak_solves_the_absolute_value_in_one_step_and_twice_it_jumps_across():
    """PS6. Elementary. f = |x| from 3: c = 1 lands on 0, c = 1/2 on -3, exactly."""
    absolute, x0 = Function(lambda x: (abs(x).sum(), np.sign(x)), f_star=0.0), np.array([3.0])
    assert trajectory(Polyak(), absolute, x0, 1).x[1] == 0
    assert trajectory(SPS(), absolute, x0, 1).x[1] == -3


def test_polyak_is_newton_on_a_multiple_root():
    """PS6. f = x⁴ from 1, 20 steps: x_t = (1 - 1/4)^t, to 1e-13 for the rounding of 20 products."""
    fourth = Function(lambda x: ((x**4).sum(), 4 * x**3), f_star=0.0)
    x = trajectory(Polyak(), fourth, np.ones(1), 20).x[:, 0]
    np.testing.assert_allclose(x, 0.75 ** np.arange(21), rtol=1e-13)


def test_too_low_an_f_star_makes_polyak_newtons_method_for_a_root_that_is_not_there():
    """PS8 (a). Folklore on Newton's method. f = x²/2 from 2, f* taken for -1/2: x_t = cot(2^t arccot 2).

    The map doubles an angle, and so every error: relative 1e-11 · 2^t, for 12 steps.
    """
    x = trajectory(Polyak(f_star=-0.5), parabola(1), np.array([2.0]), 12).x[:, 0]
    doublings = 2.0 ** np.arange(13)
    exact = 1 / np.tan(doublings * np.arctan(1 / 2))
    assert (abs(x / exact - 1) <= 1e-11 * doublings).all()
    assert abs(x[6]) < 0.2, "it comes near the minimiser ..."
    assert abs(x[7]) > 2.7, "... and is thrown out again"


def test_with_weight_decay_in_the_loss_f_star_0_is_too_low_and_pss_never_settles():
    """PS8 (a), as King's f* = 0 meets it. f = (x - 1)²/2 + x²/2 = z² + 1/4, z = x - 1/2: z_t = cot(2^t arccot 2z_0)/2.

    From z = 1, relative 1e-11 · 2^t, for 12 steps.
    """
    decayed = L2(Function(lambda x: ((x - 1) @ (x - 1) / 2, x - 1)), 1.0)
    z = trajectory(PSS(), decayed, np.array([1.5]), 12).x[:, 0] - 0.5
    doublings = 2.0 ** np.arange(13)
    assert (abs(2 * z * np.tan(doublings * np.arctan(1 / 2)) - 1) <= 1e-11 * doublings).all()


# --- the distance to a solution ------------------------------------------------------------------------------------

CONVEX = ["least-absolute", "svm-l1", "svm-l2", "logistic", "log-sum-exp", "huber", "quadratic"]


def fejer(run, oracle):
    """Return d_+² - d² + h²/|g|² over d_0² (T,), which convexity makes ≤ 0, and h (T,)."""
    d2, h = squares(run.x - oracle.x_star), run.f - oracle.f_star
    return (np.diff(d2) + h**2 / squares(run.g)) / d2[0], h


@pytest.mark.parametrize("name", CONVEX)
def test_the_distance_to_the_solution_falls_by_the_squared_gap_over_the_squared_gradient(name):
    """PS1. Polyak 1987; Hazan & Kakade 2019. d_+² ≤ d² - h²/|g|² for every convex f, smooth or not.

    Seven problems, up to 200 steps while h > 1e-9; excess ≤ 1e-12 d_0².
    """
    oracle = problem(name)
    excess, h = fejer(trajectory(Polyak(), oracle, oracle.x0, 200), oracle)
    steps = leading(h > 1e-9)
    assert steps >= 12, steps
    assert (excess[:steps] <= 1e-12).all()


def test_for_a_homogeneous_function_it_falls_by_exactly_that():
    """PS1. If h is homogeneous of degree 1 about x*, ⟨g, e⟩ = h, and the inequality is an equality.

    f = mean |A x| + 1.5, 60 steps while h > 1e-6: relative 1e-9, for d² falls only by a small part of itself.
    """
    A = design(15, 4)
    cone = Function(lambda x: (abs(A @ x).mean() + 1.5, A.T @ np.sign(A @ x) / 15), f_star=1.5)
    run = trajectory(Polyak(), cone, np.full(4, 2.0), 60)
    h, fall = run.f - 1.5, -np.diff(squares(run.x))
    steps = leading(h > 1e-6)
    assert steps >= 15, steps
    np.testing.assert_allclose((fall * squares(run.g))[:steps], h[:steps] ** 2, rtol=1e-9)


@pytest.mark.parametrize("name", ["least-absolute", "svm-l1"])
def test_with_kinks_the_best_gap_falls_like_one_over_root_t_though_the_gap_is_not_monotone(name):
    """PS2. Polyak 1987; Hazan & Kakade 2019. Every subgradient at most G: min_{s≤t} h_s ≤ G d_0/√(t+1).

    And the falls of PS1 add up: Σ h²/|g|² ≤ d_0² - d_t². 2000 steps, at every t; sums to 1e-12.
    """
    oracle = problem(name)
    run = trajectory(Polyak(), oracle, oracle.x0, 2000)
    d2, h = squares(run.x - oracle.x_star), run.f - oracle.f_star
    t = np.arange(1, 2001)
    assert (np.minimum.accumulate(h) * np.sqrt(t) <= oracle.G * np.sqrt(d2[0])).all()
    ratio = np.cumsum(h**2 / squares(run.g)) / (d2[0] - d2[1:])
    assert (ratio <= 1 + 1e-12).all()
    assert ratio.max() > 0.7, "the telescoped sum is nearly tight"
    assert (np.diff(h) > 0).sum() > 100, "the last gap has no bound: f goes up, again and again"


def test_on_smooth_functions_the_step_is_at_least_half_of_one_over_l():
    """PS3. Loizou et al. 2021. L-smooth: 2 L γ ≥ 1, to 1e-9 while h > 1e-10. Six problems, 300 steps.

    Along the top eigenvector of a quadratic, 2 L γ = 1: to 1e-12.
    """
    checked = 0
    for name in SMOOTH:
        oracle = problem(name)
        run = trajectory(Polyak(), oracle, oracle.x0, 300)
        steps = leading(run.f - oracle.f_star > 1e-10)
        checked += steps
        assert (run.eta[:steps] * 2 * oracle.L >= 1 - 1e-9).all(), name
    assert checked >= 500, checked
    quadratic = problem("quadratic")
    _, gamma = one_step(Polyak(), quadratic, quadratic.x_star + rot(8)[:, -1])
    np.testing.assert_allclose(gamma * 2 * quadratic.L, 1, rtol=1e-12)


SMOOTH = ["log-sum-exp", "huber", "least-squares", "least-squares-under", "logistic", "quadratic"]


@pytest.mark.parametrize("name", SMOOTH)
def test_on_smooth_functions_the_best_gap_falls_like_one_over_t(name):
    """PS3. Hazan & Kakade 2019. min_{s≤t} h_s ≤ 2 L d_0²/(t+1), at every t of 300 while h > 1e-10."""
    oracle = problem(name)
    run = trajectory(Polyak(), oracle, oracle.x0, 300)
    h = run.f - oracle.f_star
    steps = leading(h > 1e-10)
    assert steps >= 12, steps
    best = np.minimum.accumulate(h[:steps])
    assert (best * np.arange(1, steps + 1) <= 2 * oracle.L * squares(oracle.x0 - oracle.x_star)).all()


def bent(kappa, x0=None, f_star=0.0):
    """Return a quadratic with eigenvalues from 1 to kappa, from its worst start unless told.

    The worst start, e_0 = A^(-1/2) (q_1 + q_n), has the two modes that Kantorovich's inequality is tight for.
    """
    lam, Q, x_star = np.geomspace(1, kappa, 8), rot(8), vec(8, 0.4)
    worst = x_star + Q[:, 0] / np.sqrt(lam[0]) + Q[:, -1] / np.sqrt(lam[-1])
    return Quadratic(spd(lam), x_star, f_star, worst if x0 is None else x0)


def contraction(run, oracle):
    """Return (d_+/d)² (T,) of the steps taken while h > 1e-10."""
    d2 = squares(run.x - oracle.x_star)
    steps = leading(run.f - oracle.f_star > 1e-10)
    assert steps >= 8, steps
    return d2[1 : steps + 1] / d2[:steps]


STRONG = [problem(name) for name in ("ridge", "logistic", "softmax")] + [
    bent(kappa, x0) for kappa in (1, 1.5, 4, 100) for x0 in (np.full(8, 2.0), vec(8, 2.0) + 3, None)
]


def test_on_strongly_convex_functions_every_step_contracts():
    """PS4. Derived from the interpolation inequality; sharper than 1 - q/4 of Hazan & Kakade 2019.

    (d_+/d)² ≤ 1 - 5q/4 + q²/2 with q = mu/L. Fifteen runs of 300 steps while h > 1e-10; to 1e-9, the rounding of d.
    """
    tightest = []
    for oracle in STRONG:
        q = oracle.mu / oracle.L
        ratio = contraction(trajectory(Polyak(), oracle, oracle.x0, 300), oracle) / (1 - 5 * q / 4 + q * q / 2)
        assert (ratio <= 1 + 1e-9).all(), oracle
        tightest.append(ratio.max())
    assert max(tightest) >= 1 - 1e-9, "attained where q = 1"


def test_the_contraction_is_sharp_on_quadratics():
    """PS4. Kantorovich. One step from the worst start: (d_+/d)² = 1 - 3κ/(κ+1)², to 1e-12; for κ = 1 it is 1/4."""
    for kappa in (1, 1.5, 4, 100):
        oracle = bent(kappa)
        x, _ = one_step(Polyak(), oracle, oracle.x0)
        ratio = squares(x - oracle.b) / squares(oracle.x0 - oracle.b)
        np.testing.assert_allclose(ratio, 1 - 3 * kappa / (kappa + 1) ** 2, rtol=0, atol=1e-12)


@pytest.mark.parametrize("c", [0.5, 1.0, 2.0])
def test_on_quadratics_the_fall_is_known_exactly_for_every_c(c):
    """PS4. Derived. d² - d_+² = (4c - 1)/(4c²) · (e'Ae)²/(e'A²e): one step from (2, ..., 2), to 1e-11."""
    oracle = problem("quadratic")
    x, _ = one_step(SPS(c=c), oracle, oracle.x0)
    e = oracle.x0 - oracle.b
    Ae = oracle.A @ e
    fall = squares(e) - squares(x - oracle.b)
    np.testing.assert_allclose(fall * (Ae @ Ae) / (e @ Ae) ** 2, (4 * c - 1) / (4 * c * c), rtol=1e-11)


def test_with_kinks_and_strong_convexity_both_gap_and_distance_fall_like_one_over_t():
    """PS5. Order of Hazan & Kakade 2019; constants derived: 1/d_+² - 1/d² ≥ a²/(4G²).

    f a-strongly convex, subgradients at most G: d_T² ≤ 4G²/(a² T), min_{s≤T} h_s ≤ 4G²/(a T), at T = 2, 4, ..., 400.
    f = |x|²/2 + |x|_1, and the SVM. Slack 60-fold: PS1 is the test of factors.
    """
    start = np.array([5.0, -4, 3, -2, 1])
    elastic = Function(lambda x: (x @ x / 2 + abs(x).sum(), x + np.sign(x)), f_star=0.0)
    svm = problem("svm-l2")
    for oracle, x0, x_star, a, G in [
        (elastic, start, np.zeros(5), 1, np.linalg.norm(start) + np.sqrt(5)),
        (svm, svm.x0, svm.x_star, 0.1, svm.G),
    ]:
        run, T = trajectory(Polyak(), oracle, x0, 400), np.arange(2, 401, 2)
        assert (squares(run.x - x_star)[T] <= 4 * G**2 / (a**2 * T)).all()
        best = np.minimum.accumulate(values(oracle, run.x) - oracle.f_star)
        assert (best[T] <= 4 * G**2 / (a * T)).all()


@pytest.mark.parametrize("worst", [False, True])
def test_on_quadratics_half_the_c_minimises_the_distance_along_the_gradient(worst):
    """PS7. Kantorovich; cf. Barré, Taylor, d'Aspremont 2020. ⟨e_+, g⟩ = 0, so |e_+| ≤ ρ |e| with ρ = (κ-1)/(κ+1).

    SPS() has c = 1/2, and knows neither L nor mu. κ = 100, f* = -2.5, 40 steps: cosine ≤ 1e-10; ρ to 1e-12. From the
    worst start γ = 2/(L + mu) in every step, and |e_40| = ρ^40 |e_0|: both to 1e-8.
    """
    oracle = bent(100, None if worst else np.full(8, 2.0), f_star=-2.5)
    run, rho = trajectory(SPS(), oracle, oracle.x0, 40), 99 / 101
    e = run.x - oracle.b
    d = np.sqrt(squares(e))
    assert (abs((e[1:] * run.g).sum(axis=1)) <= 1e-10 * d[:-1] * np.sqrt(squares(run.g))).all()
    assert (d[1:] / d[:-1] <= rho * (1 + 1e-12)).all()
    assert (d[1:] / d[:-1]).max() >= 0.99 * rho
    if worst:
        np.testing.assert_allclose(run.eta, 2 / 101, rtol=1e-8)
        np.testing.assert_allclose(d[40], rho**40 * d[0], rtol=1e-8)


@pytest.mark.parametrize("high", [0.2, 0.002])
def test_too_high_an_f_star_brings_polyak_to_that_level_and_no_further(high):
    """PS8 (b). Polyak 1987. F = f* + 0.2, or + 0.002, on least absolute deviations, 3000 steps; h = f - F.

    d_+² ≤ d² - h²/|g|² - 2h (F - f*)/|g|² while h > 0, to 1e-12 d_0²; min h ≤ G d_0/√(t+1); F is reached to 1e-6.
    For any u with f(u) ≤ F in place of x*, the same two without their last term: u farthest from x* towards x_0.
    """
    oracle = problem("least-absolute")
    run = trajectory(Polyak(f_star=oracle.f_star + high), oracle, oracle.x0, 3000)
    d2, h = squares(run.x - oracle.x_star), run.f - oracle.f_star - high
    above = h > 0
    assert above.sum() >= 3, "such a step can overshoot into the level set: it takes few"
    excess = np.diff(d2) + (h**2 + 2 * h * high) / squares(run.g)
    assert (excess[above] <= 1e-12 * d2[0]).all()
    best = np.minimum.accumulate(h)
    assert (best * np.sqrt(np.arange(1, 3001)) <= oracle.G * np.sqrt(d2[0])).all()
    assert best[-1] <= 1e-6
    assert (run.eta[~above] == 0).all(), "below the level it stands still"
    us = oracle.x_star + np.linspace(0, 1, 1001)[:, None] * (oracle.x0 - oracle.x_star)
    u = us[leading(values(oracle, us) <= oracle.f_star + high) - 1]
    to_u2 = squares(run.x - u)
    assert to_u2[0] < d2[0]
    assert ((np.diff(to_u2) + h**2 / squares(run.g))[above] <= 1e-12 * d2[0]).all()
    assert (best * np.sqrt(np.arange(1, 3001)) <= oracle.G * np.sqrt(to_u2[0])).all()


@pytest.mark.parametrize("tau", [10, 100, 1000])
def test_where_the_infimum_is_not_attained_no_comparator_is_left_behind(tau):
    """PS10. Derived from Polyak's inequality, for King's f* = 0 on a separable logistic regression.

    |x_+ - u|² ≤ |x - u|² - (f/|g|²)(f - 2 f(u)) for every u: here tau vec(4), 200 steps from 0; to 1e-12 |x_0 - u|².
    """
    oracle, u = problem("logistic-separable"), tau * vec(4, 1.0)
    run = trajectory(PSS(), oracle, np.zeros(4), 200)
    d2 = squares(run.x - u)
    gamma = run.f / squares(run.g)
    assert (run.eta > 0).all()
    assert (np.diff(d2) + gamma * (run.f - 2 * oracle.value(u)) <= 1e-12 * d2[0]).all()


def test_where_the_infimum_is_not_attained_the_best_loss_still_falls():
    """PS10. min_{s<T} f_s ≤ min_u 2 f(u) + 2 L |x_0 - u|²/T, for T = 1..200 and 60 points u on a ray, 1 to 10⁴ long.

    The last f has no bound, and is chaotic.
    """
    oracle = problem("logistic-separable")
    run, T = trajectory(PSS(), oracle, np.zeros(4), 200), np.arange(1, 201)
    us = np.geomspace(1, 1e4, 60)[:, None] * vec(4, 1.0)
    bound = (2 * values(oracle, us)[:, None] + 2 * oracle.L * squares(us)[:, None] / T).min(axis=0)
    ratio = np.minimum.accumulate(run.f) / bound
    assert (ratio <= 1).all()
    assert ratio.max() > 0.3


# --- King's bounds -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["log-sum-exp", "huber", "logistic", "quadratic", "ridge"])
@pytest.mark.parametrize("bound", [1.0, 0.25])
@pytest.mark.parametrize("kind", [PSSGamma, PSSDelta, PSSDeltaLiteral])
def test_kings_bounds_keep_the_distance_falling_and_the_rate(kind, bound, name):
    """KG1. King 2024 eqs. 1-3; bounds derived. γ = min{α, b}, δ = min{α, δ}, in (0, b], with the bound b = 1, or 1/4.

    d_+² ≤ d² - η h, to 1e-12 d_0²; L-smooth: η ≥ min{b, 1/(2L)}, to 1e-9; min h ≤ max{1/b, 2L} d_0²/(t+1). δ never
    grows, exactly; η is its formula, to 1e-15. Up to 300 steps while h > 1e-10.
    """
    oracle = problem(name)
    run = trajectory(kind(None, bound), oracle, oracle.x0, 300)
    d2, h = squares(run.x - oracle.x_star), run.f - oracle.f_star
    n = leading(h > 1e-10)
    assert n >= 15, n
    eta, floor = run.eta[:n], min(bound, 1 / (2 * oracle.L))
    assert ((eta > 0) & (eta <= bound)).all()
    assert ((np.diff(d2) + run.eta * h)[:n] <= 1e-12 * d2[0]).all()
    assert (eta >= floor * (1 - 1e-9)).all()
    assert (np.minimum.accumulate(h)[:n] * np.arange(1, n + 1) <= d2[0] / floor).all()
    gamma = np.minimum(h / squares(run.g), bound)[:n]
    if kind is PSSGamma:
        np.testing.assert_allclose(eta, gamma, rtol=1e-15)
    else:
        np.testing.assert_allclose(eta, np.minimum.accumulate(gamma), rtol=1e-15)
        assert (np.diff(eta) <= 0).all()


def test_a_clipped_gradient_lengthens_the_step():
    """|d| = (f - f*)/|g|: half the gradient, twice the displacement. Why Clip is not for these rules."""
    quad = problem("quadratic")
    g = np.linalg.norm(quad(quad.x0)[1])
    free, clipped = (one_step(Polyak(), oracle, quad.x0)[0] - quad.x0 for oracle in (quad, Clip(quad, g / 2)))
    np.testing.assert_allclose(np.linalg.norm(clipped), 2 * np.linalg.norm(free), rtol=1e-12)
