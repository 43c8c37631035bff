"""Line searches: numbers and trials by hand, the theorems LS1 to LS4, and where a search ends without a step.

`Counted` says how many trials a step took; an expectation over k samples is the mean over all of `answers.paths`.
"""

from dataclasses import replace
from math import inf, nan

import numpy as np
import pytest
from answers import leading, one_step, parts, paths, problem, row_by_row, squares
from hypothesis import given, settings
from hypothesis import strategies as st
from runs import Function, parabola, trajectory, values
from scipy.optimize import minimize_scalar, rosen, rosen_der

from refopt import (
    SLS,
    Armijo,
    Ball,
    Box,
    Cauchy,
    Constrained,
    FiniteSum,
    Goldstein,
    Shuffled,
    SLSKeep,
    SLSReleased,
    SLSRestart,
)
from refopt.oracle import Oracle, Wrapper

SMOOTH = [
    "quadratic", "quadratic-exact", "least-squares", "least-squares-noisy", "least-squares-under", "ridge", "logistic",
    "logistic-separable", "softmax", "log-sum-exp", "huber", "family", "family-interpolating",
]  # fmt: skip
SEARCHES = [Armijo, SLSRestart, SLSKeep, SLS, Goldstein]
x0 = np.ones(1)


class Counted(Wrapper):
    """Keeps the points where f alone was asked for."""

    def __init__(self, oracle):
        super().__init__(oracle)
        self.points = []

    def value(self, x):
        self.points.append(x.copy())
        return self.oracle.value(x)


class Turns(Oracle):
    """One oracle a draw, from a list; the last one stays."""

    def __init__(self, *oracles):
        self.oracles, self.drawn = oracles, 0

    def draw(self):
        self.drawn += 1

    def __call__(self, x):
        return self.oracles[min(max(self.drawn, 1), len(self.oracles)) - 1](x)


def thirds():
    """Mini-batches of three of the twelve rows of a least-squares problem that has a solution."""
    return FiniteSum(problem("least-squares"), Shuffled(12, 3))


def trials(rule, oracle, start, steps):
    """How many trials each step took: differences between runs of 1, 2, ... steps."""
    so_far = [0]
    for t in range(1, steps + 1):
        counted = Counted(oracle)
        trajectory(rule, counted, start, t)
        so_far.append(len(counted.points))
    return list(np.diff(so_far))


# --- by hand -------------------------------------------------------------------------------------------------------

STEEP = parabola(4)
NINE = 0.9**8
BY_HAND: dict[str, tuple] = {  # rule, step sizes, iterates, trials; on 2x² from 1, where η passes iff η ≤ (1 - c)/2
    "Armijo halves twice": (Armijo(), [0.25], [0], [3]),
    "Armijo shrinks from 1 in every step": (
        Armijo(c=0.1, beta=0.9), [0.43046721] * 3, [-0.72186884, 0.521094622163, -0.376161970431], [9] * 3
    ),
    "so does SLSRestart": (SLSRestart(), [0.43046721] * 3, [-0.72186884, 0.521094622163, -0.376161970431], [9] * 3),
    "SLSKeep only once": (SLSKeep(), [0.43046721] * 3, [-0.72186884, 0.521094622163, -0.376161970431], [9, 1, 1]),
    "SLS in batches of a tenth": (
        SLS(batch_fraction=0.1),
        [0.415226998953, 0.445029278406, 0.429273513583], [-0.660907995812, 0.515585638065, -0.369723395555],
        [10, 1, 2],
    ),
    "SLS in batches of 1/500": (
        SLS(batch_fraction=1 / 500),
        [0.431064378096, 0.431662374616, 0.432261200711], [-0.724257512382, 0.526281358132, -0.383682688979],
        [9, 1, 1],
    ),
    "Goldstein shrinks to 0.45": (Goldstein(), [NINE] * 2, [1 - 4 * NINE, (1 - 4 * NINE) ** 2], [9, 1]),
    "and doubles to 0.05": (Goldstein(eta_init=0.01), [0.08] * 2, [0.68, 0.4624], [4, 1]),
    "and stops at eta_max": (Goldstein(eta_init=0.01, eta_max=0.03), [0.03] * 2, [0.88, 0.7744], [3, 1]),
    "0.051 and 0.449 pass": (Goldstein(eta_init=0.051), [0.051], [0.796], [1]),
    "both": (Goldstein(eta_init=0.449), [0.449], [-0.796], [1]),
    "0.049 does not": (Goldstein(eta_init=0.049), [0.098], [0.608], [2]),
    "nor does 0.451": (Goldstein(eta_init=0.451), [0.4059], [-0.6236], [2]),
    "between short and long it takes the middle": (
        Goldstein(0.2, 0.49), [0.249318], [0.002728], [8]  # 0.2, 0.4, 0.36, 0.324, 0.2916, 0.26244, 0.236196
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BY_HAND)
def test_the_first_steps_and_their_trials_are_those_computed_by_hand(case):
    """Twelve digits were computed by hand, so 1e-11."""
    rule, eta, x, count = BY_HAND[case]
    run = trajectory(rule, STEEP, x0, len(eta))
    np.testing.assert_allclose(run.eta, eta, rtol=1e-11)
    np.testing.assert_allclose(run.x[1:, 0], x, rtol=1e-11, atol=1e-15)
    assert trials(rule, STEEP, x0, len(eta)) == count


# --- Cauchy's step -------------------------------------------------------------------------------------------------


def test_cauchy_goes_to_the_lowest_point_along_the_gradient():
    """LS1. Cauchy 1847; Kantorovich 1948. On the quadratic with κ = 100:

    the step is Brent's, to 1e-6 (√eps); in 60 steps |cos(g, g+)| ≤ 1e-9, and h falls by |g|⁴/(2 g'Ag), to 1e-10, and
    to ρ² h or less, to 1e-12, but within 1 % of it. h = e'Ae/2, which loses no digits.
    """
    total = problem("quadratic")
    for x in (total.x0, np.arange(8.0), total.x0 - 2.5, -total.x0):
        brent = minimize_scalar(lambda a, x=x: total.value(x - a * total(x)[1]), method="brent").x
        assert one_step(Cauchy(), total, x)[1] == pytest.approx(brent, rel=1e-6)
    run = trajectory(Cauchy(), total, total.x0, 60)
    g, g_next = run.g[:-1], run.g[1:]
    cosine = (g * g_next).sum(axis=1) / np.sqrt(squares(g) * squares(g_next))
    assert cosine.shape == (59,)
    assert abs(cosine).max() <= 1e-9
    e = run.x - total.x_star
    h, curvature = (e @ total.A * e).sum(axis=1) / 2, (run.g @ total.A * run.g).sum(axis=1)
    np.testing.assert_allclose(h[:-1] - h[1:], squares(run.g) ** 2 / (2 * curvature), rtol=1e-10)
    rate = ((total.L - total.mu) / (total.L + total.mu)) ** 2
    assert 0.99 <= (h[1:] / (rate * h[:-1])).max() <= 1 + 1e-12


@pytest.mark.parametrize("k", [3.0, 10.0])
def test_from_the_worst_start_cauchy_zig_zags_in_closed_form(k):
    """LS2. Akaike 1959. diag(1, κ) from (κ, 1): x_t = ρᵗ (κ, (-1)ᵗ) to 1e-11, every step 2/(1 + κ) to 1e-12.

    So f_t = ρ²ᵗ f_0, and g_t and g_(t+2) are parallel. Function knows no Hessian, so its product is a difference of
    gradients: 1e-9. From (κ, 2) steps differ.
    """
    exact = problem("quadratic")
    total = type(exact)(np.diag([1.0, k]), np.zeros(2), 0.0, np.array([k, 1.0]))
    run, t = trajectory(Cauchy(), total, total.x0, 40), np.arange(41)
    rho = (k - 1) / (k + 1)
    closed = rho ** t[:, None] * np.stack([np.full(41, k), (-1.0) ** t], axis=1)
    assert (abs(run.x - closed) <= 1e-11 * rho ** t[:, None]).all()
    np.testing.assert_allclose(run.eta, 2 / (1 + k), rtol=1e-12)
    np.testing.assert_allclose(run.f, rho ** (2 * t[:-1]) * run.f[0], rtol=1e-11)
    np.testing.assert_allclose(run.g[2:], rho**2 * run.g[:-2], rtol=1e-11)
    np.testing.assert_allclose(trajectory(Cauchy(), parabola(1, k), total.x0, 10).eta, 2 / (1 + k), rtol=1e-9)
    x = np.array([k, 2.0])
    for eta in trajectory(Cauchy(), total, x, 4).eta:
        g = x * [1, k]
        assert eta == pytest.approx((g @ g) / (g @ (g * [1, k])), rel=1e-12)
        x = x - eta * g


def test_cauchy_takes_no_step_where_there_is_no_lowest_point():
    """Negative curvature, none (a linear f), and a zero gradient: nan and infinite steps are the slips."""
    for formula in (lambda x: (-x @ x / 2, -x), lambda x: (x.sum(), np.ones_like(x)), lambda x: (1.0, 0 * x)):
        rule = Cauchy()
        run = trajectory(rule, Function(formula), np.ones(2), 2)
        assert rule.t == 2
        assert np.array_equal(run.eta, [0, 0])
        assert np.array_equal(run.x, np.ones((3, 2)))


# --- sufficient decrease -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("c", [0.1, 0.4, 0.5, 0.9])
def test_on_a_parabola_a_step_passes_if_and_only_if_it_is_not_longer_than_its_bound(c):
    """LS3. Vaswani et al. 2019. f = 7x²/2 from 1.3: η ≤ 2(1 - c)/7 passes, and not 1e-9 more.

    Goldstein's other test passes if and only if η ≥ 2c/7: 1e-9 less is lengthened.
    """
    bowl, start, bound = parabola(7), np.array([1.3]), 2 * (1 - c) / 7
    rules = [kind(c=c, beta=0.9) for kind in SEARCHES if c < kind.c_below]
    assert len(rules) == (5 if c < 0.5 else 4)
    for kind in rules:
        for share, passes in ((1 - 1e-9, True), (1 + 1e-9, False)):
            rule = replace(kind, eta_init=bound * share, **({"tau": 1.0} if isinstance(kind, SLS) else {}))
            counted = Counted(bowl)
            x, eta = one_step(rule, counted, start)
            assert eta == rule.eta_init * (1 if passes else 0.9)
            assert x == start - eta * (7 * start)
            assert len(counted.points) == (1 if passes else 2)
    for share, passes in ((1 + 1e-9, True), (1 - 1e-9, False)) if c < 0.5 else ():
        first = 2 * c / 7 * share
        eta = one_step(Goldstein(first, c), bowl, start)[1]
        assert eta == first if passes else eta > 1.1 * first


@pytest.mark.parametrize("rule", [Armijo(100.0, c, beta) for c, beta in ((0.5, 0.9), (0.1, 0.7), (0.9, 0.5))], ids=repr)
@pytest.mark.parametrize("name", SMOOTH)
def test_the_step_is_the_first_of_its_grid_that_passes_and_not_shorter_than_its_bound(name, rule):
    """LS3. η = 100 βʲ passes f(x - ηg) ≤ f - cη|g|², η/β does not, and η ≥ min{100, 2β(1-c)/L}, to 1e-12.

    While f - f* > 1e-10 max{1, |f*|}; below, differences of f are noise.
    """
    total = problem(name)
    run = trajectory(rule, total, total.x0, 30)
    steps = leading(run.f - total.f_star > 1e-10 * max(1, abs(total.f_star)))
    assert steps >= 5
    assert (run.eta[:steps] > 0).all()

    def passes(x, f, g, eta):
        return total.value(x - eta * g) <= f - rule.c * eta * (g @ g)

    for x, f, g, eta in list(zip(run.x, run.f, run.g, run.eta, strict=False))[:steps]:
        j = round(np.log(eta / 100) / np.log(rule.beta))
        assert eta == pytest.approx(100 * rule.beta**j, rel=1e-12)
        assert passes(x, f, g, eta)
        assert j == 0 or not passes(x, f, g, eta / rule.beta)
        assert eta >= min(100, 2 * rule.beta * (1 - rule.c) / total.L) * (1 - 1e-12)


def test_gradients_vanish_without_convexity():
    """The sum of cη|g|² is at most f(x_0) - f*: Rosenbrock's function from (-1.2, 1), f* = 0, 300 steps."""
    banana = Function(lambda x: (rosen(x), rosen_der(x)))
    for rule in (Armijo(), Armijo(c=0.3), SLS(), Goldstein(c=0.3)):
        run = trajectory(rule, banana, np.array([-1.2, 1.0]), 300)
        assert (run.eta > 0).all()
        assert (rule.c * run.eta * squares(run.g)).sum() <= run.f[0] * (1 + 1e-12)
        assert (np.diff(run.f) < 0).all()


# --- on samples ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("c", "first"), [(0.5, 10.0), (0.5, 0.15), (0.8, 10.0), (0.8, 0.15)])
def test_under_interpolation_the_expected_distance_and_loss_fall_at_their_rates(c, first):
    """LS4. Vaswani et al. 2019, for backtracking by β. With η the least step, min{η₀, 2β(1 - c)/L_max}:

    E d_T² ≤ (1 - mu η)ᵀ d_0², and E f(x̄_T) - f* ≤ c d_0²/((2c - 1) η T) for c > 1/2, T ≤ 6, over all 3^6 paths.
    They are slack, so at every node: the sampled f_i passes and η/β does not, d_+² ≤ (1 - mu_i η) d² - (2 - 1/c) η
    (f_i - f_i*), and η is at most Polyak's step. All to 1e-12 (of d_0²).
    """
    total, rule = problem("family-interpolating"), SLSRestart(first, c)
    terms = parts(total)
    mu_i, L_max = np.array([term.mu for term in terms]), max(term.L for term in terms)
    least = min(first, 2 * 0.9 * (1 - c) / L_max)
    d0, sums, checked, shrunk = squares(total.x0 - total.x_star), np.zeros((1, 2)), 0, 0

    def term(A, b, s):
        return Function(lambda x: (s + (x - b) @ A @ (x - b) / 2, A @ (x - b)))  # as `parts`, but faster

    def each(x):
        """f_i (m, 3) and g_i (m, 3, 2), the i-th at x (m, 3, 2), or (m, 1, 2)."""
        e = x - total.b
        g = (total.A @ e[..., None])[..., 0]
        return (e * g).sum(axis=-1) / 2 + total.s, g

    light = [term(*data) for data in zip(total.A, total.b, total.s, strict=True)]
    for T, (x, eta, after) in enumerate(paths(rule, light, total.x0, 6), start=1):
        (f, g), d2 = each(x[:, None]), squares(x - total.x_star)[:, None]
        gg = squares(g)
        assert (each(after)[0] <= f - c * eta * gg + 1e-12).all()
        rejected = each(x[:, None] - (eta / 0.9)[..., None] * g)[0] > f - c * eta / 0.9 * gg
        assert (rejected | (eta == first)).all()
        assert (eta <= (f - total.s) / (c * gg) * (1 + 1e-12)).all()
        assert (eta >= least * (1 - 1e-12)).all()
        fall = (1 - mu_i * eta) * d2 - (2 - 1 / c) * eta * (f - total.s)
        assert (squares(after - total.x_star) - fall <= 1e-12 * d0).all()
        assert squares(after - total.x_star).mean() <= (1 - mu_i.mean() * least) ** T * d0 * (1 + 1e-12)
        sums = sums + x
        if c > 1 / 2:
            gap = values(total, sums / T).mean() - total.f_star
            assert gap <= c * d0 / ((2 * c - 1) * least * T) * (1 + 1e-12)
        sums, checked, shrunk = sums.repeat(3, axis=0), checked + eta.size, shrunk + (eta < first).sum()
    assert checked == (3**7 - 3) / 2
    assert (shrunk > 0) == (first == 10.0 or c == 0.8)


@pytest.mark.parametrize("rule", [kind(eta_init=10.0, c=0.4) for kind in SEARCHES], ids=repr)
def test_a_search_on_samples_compares_values_of_the_sample_it_steps_on(rule):
    """LS4: the sampled f_i passes, to 1e-12, and where η has shrunk in this step, f_i at η/β does not.

    Single terms 0, 1, 2, 1, 2, 0, 2, ..., while f_i - f_i* > 1e-10. The mean, and the next term, would each have turned
    away five of the steps or more.
    """
    total, t = problem("family-interpolating"), np.arange(60)
    order = (t + t // 3) % 3
    terms, counted = parts(total), Counted(row_by_row(total, order))
    run = trajectory(rule, counted, total.x0, 59)
    steps, turned_away = leading(run.f - total.s[order[:59]] > 1e-10), np.zeros(2, int)
    assert steps >= 15
    for k, (x, f, g, eta) in enumerate(list(zip(run.x, run.f, run.g, run.eta, strict=False))[:steps]):
        own, following, longer = terms[order[k]], terms[order[k + 1]], x - eta / rule.beta * g

        def passes(oracle, point, x=x, g=g):
            return oracle.value(point) <= oracle.value(x) + rule.c * g @ (point - x) + 1e-12

        assert f == own.value(x)
        assert np.array_equal(run.x[k + 1], x - eta * g)
        assert passes(own, x - eta * g)
        assert not any(np.allclose(point, longer, 1e-12, 1e-14) for point in counted.points) or not passes(own, longer)
        turned_away += [not passes(other, x - eta * g) for other in (total, following)]
    assert (turned_away >= 5).all()


def test_below_one_half_a_path_can_recede():
    """f = x on the right of 0 and -x/10 on the left, from 1 with η = 5: x = -4 passes if c ≤ 0.12. Not by c = 1/2."""
    slope = Function(lambda x: (max(x[0], -x[0] / 10), np.where(x > 0, 1.0, -0.1)))
    assert one_step(SLSRestart(5.0), slope, x0)[0] == -4
    assert abs(one_step(SLSRestart(5.0, c=0.5), slope, x0)[0]) <= 1


@pytest.mark.parametrize("first", [1e-4, 50.0])
def test_the_first_trial_grows_tau_fold_in_an_epoch_and_the_step_forgets_where_it_started(first):
    """(8). Single rows i = 7k mod 12, τ = 2: η_(k+12) ≤ 2 η_k and η_k ≥ min{2^((k+1)/12) η_init, 2β(1-c)/L_max};

    steps with f_i > 1e-12; to 1e-12. From 1e-4 the first bound is attained.
    """
    total = problem("least-squares")
    oracle = row_by_row(total, 7 * np.arange(240) % 12)
    run = trajectory(SLS(first), oracle, total.x0, 240)
    steps = leading(run.f > 1e-12)
    assert steps >= 15, steps
    eta, k = run.eta[:steps], np.arange(1, steps + 1)
    assert (eta[12:] <= 2 * eta[:-12] * (1 + 1e-12)).all()
    floor = np.minimum(2 ** (k / 12) * first, 2 * 0.9 * 0.9 / squares(total.A).max())
    assert (eta >= floor * (1 - 1e-12)).all()
    if first < 1:
        assert (eta / floor).min() <= 1 + 1e-12, "attained"


def test_the_growth_follows_the_share_of_the_data_in_a_batch_unless_a_field_says_another():
    """Batches of 3 of 12: 2^(1/4) a step; a field of 1/2: 2^(1/2); all of it: 2. Steps of 1e-6 all pass; 1e-13."""
    total = problem("least-squares")
    for field, oracle, share in ((None, thirds(), 0.25), (0.5, thirds(), 0.5), (None, total, 1.0)):
        run = trajectory(SLS(1e-6, batch_fraction=field), oracle, total.x0, 8)
        np.testing.assert_allclose(run.eta, 1e-6 * 2 ** (share * np.arange(1, 9)), rtol=1e-13)
    same, kept = (trajectory(rule, thirds(), total.x0, 30).x for rule in (SLS(tau=1.0), SLSKeep()))
    assert np.array_equal(same, kept)


def test_a_kept_step_only_falls_and_a_restarted_one_remembers_nothing():
    """Batches of three of least squares: a steep sample lowers all steps of SLSKeep to come, and none of SLSRestart."""
    total = problem("least-squares")
    kept, restarted = (trajectory(rule(50.0), thirds(), total.x0, 40) for rule in (SLSKeep, SLSRestart))
    assert (np.diff(kept.eta) <= 0).all()
    assert len(np.unique(kept.eta)) >= 3
    oracle = thirds()
    for x, eta in zip(restarted.x, restarted.eta, strict=False):
        oracle.draw()
        assert eta == one_step(SLSRestart(50.0), oracle, x)[1]
    assert (np.diff(restarted.eta) > 0).any()


# --- neither too long nor too short --------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [1e-4, 0.02, 30.0])
@pytest.mark.parametrize("c", [0.1, 0.25, 0.49, 0.4999])
def test_goldstein_finds_the_window_of_a_quadratic_from_anywhere(c, first):
    """(10). 2c/λ ≤ η ≤ 2(1 - c)/λ for the curvature λ along g, to 1e-9; 20 steps, η found in 60 trials each or fewer.

    With c near 1/2 the window is narrower than the factor 0.9, and without a bracket trials jump over it for ever.
    """
    total = problem("quadratic")
    counted = Counted(total)
    run = trajectory(Goldstein(first, c, eta_max=30.0), counted, total.x0, 20)
    curvature = np.array([g @ total.hvp(g, g) / (g @ g) for g in run.g])
    assert (run.eta * curvature >= 2 * c * (1 - 1e-9)).all()
    assert (run.eta * curvature <= 2 * (1 - c) * (1 + 1e-9)).all()
    assert len(counted.points) <= 20 * 60 + 100


@pytest.mark.parametrize("c", [0.1, 0.4])
@pytest.mark.parametrize("name", SMOOTH)
def test_a_goldstein_step_passes_both_tests_and_is_not_shorter_than_its_bound(name, c):
    """f - (1-c) η|g|² ≤ f(x - ηg) ≤ f - c η|g|², so η ≥ 2c/L, to 1e-9. While f - f* > 1e-9 max{1, |f*|}, 30 steps."""
    total = problem(name)
    rule = Goldstein(c=c, eta_max=inf)
    run = trajectory(rule, total, total.x0, 30)
    f, promise = values(total, run.x)[1:], run.eta * squares(run.g)
    steps = leading((run.f - total.f_star > 1e-9 * max(1, abs(total.f_star))) & (promise > 1e-9))
    assert steps >= 5
    fall = (run.f - f)[:steps] / promise[:steps]
    assert (fall >= c - 1e-6).all()
    assert (fall <= 1 - c + 1e-6).all()
    assert (run.eta[:steps] >= 2 * c / total.L * (1 - 1e-9)).all()


def test_goldstein_is_held_by_eta_max_where_no_step_is_too_long():
    """A linear f: 1, 2, 4, 8, 10, and there at once; so a first trial beyond is refused."""
    plane = Function(lambda x: (-x.sum(), -np.ones_like(x)))
    assert trials(Goldstein(), plane, x0, 2) == [5, 1]
    assert np.array_equal(trajectory(Goldstein(), plane, x0, 2).eta, [10, 10])
    assert np.array_equal(trajectory(Goldstein(eta_init=10.0), plane, x0, 2).eta, [10, 10])
    with pytest.raises(ValueError, match=r"^eta_init must not exceed eta_max = 10.0, got 20.0$"):
        Goldstein(eta_init=20.0)


def test_at_a_cliff_goldstein_takes_the_longest_step_that_is_short_of_it():
    """f = -x up to 1, NaN beyond: no step passes both tests. From 0 the bracket closes on η = 1, to 1e-15."""
    cliff = Counted(Function(lambda x: (-x[0] if x[0] <= 1 else nan, [-1.0])))
    x, eta = one_step(Goldstein(eta_init=0.3), cliff, np.zeros(1))
    assert eta == pytest.approx(1, rel=1e-15)
    assert x[0] <= 1
    assert len(cliff.points) <= 100


def test_goldstein_may_turn_away_the_lowest_point_itself():
    """|x| from 1: η = 1 is the minimum and too short; 2/(2 - c) ≤ η ≤ 2/(1 + c) passes, 20/19 and 20/11."""
    kink = Function(lambda x: (abs(x[0]), np.sign(x)))
    for first in (0.1, 0.7, 1.0, 1.05, 1.82, 9.0):
        eta = one_step(Goldstein(first), kink, x0)[1]
        assert 20 / 19 <= eta <= 20 / 11


# --- where a search ends without a step ----------------------------------------------------------------------------

NOWHERE = {
    "no gradient": Function(lambda x: (1.0, 0 * x)),
    "every trial is NaN": Function(lambda x: (1.0 if x[0] == 1 else nan, [1.0])),
    "every trial is infinite": Function(lambda x: (1.0 if x[0] == 1 else inf, [1.0])),
    "-g leads uphill": Function(lambda x: (1 + abs(x[0] - 1), [1.0])),
    "a corner": Constrained(Function(lambda x: (x[0], [1.0])), Box(1.0, 2.0)),
}


@pytest.mark.parametrize("rule", SEARCHES)
@pytest.mark.parametrize("where", NOWHERE)
def test_a_search_without_success_ends_and_neither_moves_nor_is_remembered(rule, where):
    """Step 0, x as it is, and the search after it begins where this one did: on 2x² both find the same step."""
    counted = Counted(NOWHERE[where])
    run = trajectory(rule(), counted, x0, 1)
    assert run.eta == [0]
    assert run.x[1] == 1
    assert len(counted.points) <= (0 if where in ("no gradient", "a corner") else 400)
    if not isinstance(counted.oracle, Constrained):
        later = trajectory(rule(), Turns(NOWHERE[where], NOWHERE[where], STEEP), x0, 3)
        assert np.array_equal(later.eta, [0, 0, *trajectory(rule(), STEEP, x0, 1).eta])


def test_a_nan_is_rejected_and_the_next_trial_taken():
    """2x² is NaN beyond |x| = 1/2: from 1, trials of 1 and 0.5 end outside, and 0.25 in 0, which passes."""
    island = Function(lambda x: (2 * x[0] ** 2 if abs(x[0]) <= 1 / 2 or x[0] == 1 else nan, 4 * x))
    assert trials(Armijo(), island, x0, 1) == [3]
    assert one_step(Armijo(), island, x0) == (0, 0.25)


def test_a_search_gives_up_only_when_the_whole_promise_is_lost_in_the_rounding_of_f():
    """f = 1 at 0 and the next number above 1 elsewhere, g = 1: η/16 is lost from 2^-54 on, in trial 51.

    But on 1 + 2x² from 3e-8, where the share c of the promise is lost and all of it is not, it goes on.
    """
    flat = Counted(Function(lambda x: (1.0 if x[0] == 0 else np.nextafter(1, 2), [1.0])))
    assert one_step(Armijo(), flat, np.zeros(1))[1] == 0
    assert len(flat.points) == 51
    raised, start = Function(lambda x: (1 + 2 * x[0] ** 2, 4 * x)), np.array([3e-8])
    promise = (4 * start[0]) ** 2
    assert 1 - 1e-4 * promise == 1
    assert one_step(Armijo(beta=0.4), raised, start)[1] == 0.4


def test_the_search_asks_on_one_sample_and_for_one_gradient():
    """It draws nothing; (f, g) is asked once a step."""
    asked = []
    total = problem("least-squares")
    oracle = thirds()

    class Watch(Wrapper):
        def __call__(self, x):
            asked.append(self.position())
            return self.oracle(x)

        def value(self, x):
            assert self.position() == len(asked)
            return self.oracle.value(x)

    for rule in SEARCHES:
        oracle.seek(0)
        asked.clear()
        trajectory(rule(), Watch(oracle), total.x0, 8)
        assert asked == list(range(1, 9))


# --- projected -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [Armijo(c=0.5, beta=0.8), *(kind() for kind in [*SEARCHES, SLSReleased])], ids=repr)
@pytest.mark.parametrize("feasible", [Ball(1.5), Box(-1.0, 0.5)], ids=["ball", "box"])
def test_with_a_projection_trials_are_feasible_and_steps_keep_their_share_of_the_promise(rule, feasible):
    """(3) and (5): |s|² ≤ -η⟨g, s⟩ and f(x+) ≤ f + c⟨g, s⟩, to 1e-12, in 60 steps on least squares; the last trial of

    a step that found one is x+, bit for bit. The steps end where x = P(x - g), to 1e-6.
    """
    total = problem("least-squares-noisy")
    counted = Counted(Constrained(total, feasible))
    run = trajectory(rule, counted, total.x0, 60)
    f, s = values(total, run.x), np.diff(run.x, axis=0)
    promise = (run.g * s).sum(axis=1)
    assert (squares(s) <= -run.eta * promise + 1e-12).all()
    assert (f[1:] <= f[:-1] + rule.c * promise + 1e-12).all()
    assert all(np.array_equal(feasible.project(point), point) for point in counted.points if isinstance(feasible, Box))
    assert all(np.linalg.norm(point) <= 1.5 + 1e-12 for point in counted.points if isinstance(feasible, Ball))
    tried = {point.tobytes() for point in counted.points}
    assert all(x.tobytes() in tried for x, eta in zip(run.x[1:], run.eta, strict=True) if eta)
    last = run.x[-1]
    assert abs(feasible.project(last - total(last)[1]) - last).max() <= 1e-6
    assert (abs(last) > 0.4).any()


# --- hyper-parameters ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", SEARCHES)
def test_a_share_that_no_step_can_keep_and_a_factor_that_does_not_shrink_are_refused(rule):
    with pytest.raises(ValueError, match=r"^c must be below (1.0|0.5), .* got 1.0$"):
        rule(c=1.0)
    for beta in (0, 1, 1.1):
        with pytest.raises(ValueError, match=r"^beta must be "):
            rule(beta=beta)
    rule(c=0.49)
    if rule is Goldstein:
        with pytest.raises(ValueError, match=r"^c must be below 0.5, .* got 0.5$"):
            rule(c=0.5)
    else:
        rule(c=0.99)


# --- as released ---------------------------------------------------------------------------------------------------


@settings(max_examples=10, deadline=None)
@given(st.floats(1e-3, 100), st.floats(0.05, 0.6))
def test_the_released_search_is_the_rule_while_searches_succeed(first, c):
    """Bit for bit, on 40 batches of a least-squares problem without a solution."""
    total = problem("least-squares-noisy")
    meant, released = (
        trajectory(rule(first, c), FiniteSum(total, Shuffled(12, 3)), total.x0, 40) for rule in (SLS, SLSReleased)
    )
    assert np.array_equal(meant.x, released.x)
    assert np.array_equal(meant.eta, released.eta)


def test_the_released_search_grows_on_zero_gradients():
    """Three samples without a gradient, batches of a tenth: the first trial is 2^0.4, not 2^0.1, on f = x²/1000.

    |g| = 0.9e-8 counts as no gradient, 1.1e-8 does not.
    """
    empty, gentle = NOWHERE["no gradient"], parabola(2e-3)
    for rule, first in ((SLS, 2**0.1), (SLSReleased, 2**0.4)):
        run = trajectory(rule(batch_fraction=0.1), Turns(empty, empty, empty, gentle), x0, 4)
        np.testing.assert_allclose(run.eta, [0, 0, 0, first], rtol=1e-14)
    for g, moves in ((0.9e-8, False), (1.1e-8, True)):
        tiny = Function(lambda x, g=g: (g * x[0], [g]))
        assert (one_step(SLSReleased(), tiny, np.zeros(1))[1] > 0) == moves
        assert one_step(SLS(), tiny, np.zeros(1))[1] > 0


def test_a_failed_released_search_moves_by_a_millionth_and_shortens_the_steps_to_come():
    """100 trials of NaN: x - 1e-6 g, and the next search begins at 0.9^100 of before, times the growth 2."""
    wall = Counted(NOWHERE["every trial is NaN"])
    x, eta = one_step(SLSReleased(), wall, x0)
    assert (x[0], eta) == (1 - 1e-6, 1e-6)
    assert len(wall.points) == 100
    later = trajectory(SLSReleased(), Turns(wall.oracle, STEEP), x0, 2)
    assert later.eta[1] == pytest.approx(4 * 0.9**100, rel=1e-12)
    assert trajectory(SLS(), Turns(wall.oracle, STEEP), x0, 2).eta[1] == pytest.approx(2 * 0.9**15, rel=1e-12)
    assert trajectory(SLSReleased(c=2.0), STEEP, x0, 1).eta == 1e-6
