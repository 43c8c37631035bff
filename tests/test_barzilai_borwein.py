"""Barzilai and Borwein: numbers by hand, and the theorems BB1 to BB9.

s and y are the differences of two iterates, and of their gradients; s_t, y_t end at x_t.
"""

import numpy as np
import pytest
from answers import Answers, check_by_hand, one_step, problem, squares
from runs import Function, Scripted, parabola, trajectory, values
from scipy.optimize import minimize_scalar

from refopt import (
    BB1,
    BB2,
    Ball,
    Box,
    Constrained,
    FiniteSum,
    GradientDescent,
    Shuffled,
    StochasticBB,
    StochasticBBBounded,
    StochasticBBReleased,
)
from refopt.convex import Quadratic
from refopt.problems import spd, vec

both = pytest.mark.parametrize("kind", [BB1, BB2])

# --- by hand -------------------------------------------------------------------------------------------------------

bowl = parabola(1, 10)
BY_HAND: dict[str, tuple] = {  # rule, problem, x0, step sizes, iterates
    "one variable": (BB1(), parabola(4), [1], [0.1, 0.25], [0.6, 0]),
    "one variable, the other way": (BB2(), parabola(4), [1], [0.1, 0.25], [0.6, 0]),
    "BB1": (
        BB1(lr=0.05), bowl, [10, 1],
        [0.05, 0.181818181818, 0.338721528288, 0.338721528288],
        [[9.5, 0.5], [7.77272727273, -0.409090909091], [5.13993721194, 0.976588070269]],
    ),
    "BB2": (
        BB2(lr=0.05), bowl, [10, 1],
        [0.05, 0.108910891089, 0.131357977029, 0.804772234273],
        [[9.5, 0.5], [8.46534653465, -0.0445544554455], [7.35335573901, 0.0139713759041]],
    ),
    "negative curvature: the absolute value": (BB1(), parabola(-4), [1], [0.1, 0.25, 0.25], [1.4, 2.8, 5.6]),
    "and of the other": (BB2(), parabola(-4), [1], [0.1, 0.25, 0.25], [1.4, 2.8, 5.6]),
}  # fmt: skip


@pytest.mark.parametrize("case", BY_HAND)
def test_the_first_steps_are_those_computed_by_hand(case):
    check_by_hand(*BY_HAND[case])


EPOCHS: dict[str, tuple] = {  # curvature, rule, the rates of epochs 0 to 4
    "every gradient its own average": (
        0.5,
        StochasticBB(beta=1.0, period=4),
        [0.1, 0.1, 0.475, 0.543210778161, 0.3883743031],
    ),
    "half its own": (0.5, StochasticBB(beta=0.5, period=4), [0.1, 0.1, 0.48739995512, 0.660258161143, 0.341459038143]),
    "steep": (4, StochasticBB(beta=1.0, period=4), [0.1, 0.1, 0.0375, 0.0283833033134, 0.0498163829697]),
    "flat, beyond the window": (0.02, StochasticBB(beta=1.0, period=2), [0.1, 0.1, 1 / 3, 1 / 4, 1 / 5]),
}


@pytest.mark.parametrize("case", EPOCHS)
def test_the_rates_of_the_first_epochs_are_those_computed_by_hand(case):
    """Twelve digits; 1e-10 for differences of averages."""
    curvature, rule, rates = EPOCHS[case]
    T = rule.period
    run = trajectory(rule, parabola(curvature), np.ones(1), 5 * T)
    np.testing.assert_allclose(run.eta, np.repeat(rates, T), rtol=1e-10)
    if case == "every gradient its own average":
        ends = [0.81450625, 0.663420431289, 0.224258149604, 0.0631269970281]
        np.testing.assert_allclose(run.x[T : 5 * T : T, 0], ends, rtol=1e-10)


# --- odd cases -----------------------------------------------------------------------------------------------------


@both
def test_at_the_solution_it_stays_and_keeps_its_rate(kind):
    run = trajectory(kind(lr=0.3), bowl, np.zeros(2), 4)
    assert np.array_equal(run.x, np.zeros((5, 2)))
    assert np.array_equal(run.eta, [0.3] * 4)


@both
def test_where_s_and_y_are_orthogonal_or_y_vanishes_the_last_rate_stays(kind):
    """From s = (-0.1, 0): y = (0, 1), then y = 0 (a linear function), then y = 4 s: the rate 1/4; then y = 0 again."""
    g = [[1, 0], [1, 1], [1, 1], [0.6, 0.6], [0.6, 0.6]]
    run = trajectory(kind(), Scripted(g), np.zeros(2), 5)
    np.testing.assert_allclose(run.eta, [0.1, 0.1, 0.1, 0.25, 0.25], rtol=1e-14)


def test_the_rates_are_those_of_the_moves_that_happened_under_a_projection():
    """A box stops one coordinate and not the other: written from the iterates, to 1e-12."""
    total = problem("quadratic")
    run = trajectory(BB1(lr=0.02), Constrained(total, Box(-0.5, 0.5)), total.x0, 20)
    s, y = np.diff(run.x[:-1], axis=0), np.diff(run.g, axis=0)
    moved = squares(s) > 1e-12
    assert moved.sum() >= 8
    np.testing.assert_allclose(run.eta[1:][moved], squares(s[moved]) / (s * y).sum(axis=1)[moved], rtol=1e-12)
    assert (abs(run.x[1:-1]) == 0.5).any()


def test_in_a_ball_the_constrained_optimum_is_found():
    """min of a quadratic over a ball that excludes x*: there -g points to the centre's far side, x = -r g/|g|; 1e-8."""
    total = Quadratic(np.diag([1.0, 2, 5]), np.array([2.0, -1, 1]), 0.0, np.zeros(3))
    run = trajectory(BB1(), Constrained(total, Ball(1.0)), total.x0, 60)
    g = total(run.x[-1])[1]
    np.testing.assert_allclose(run.x[-1], -g / np.sqrt(g @ g), rtol=0, atol=1e-8)


@both
def test_in_float32_the_rate_is_as_good_as_the_gradients(kind):
    """Ten steps on a quadratic: the curvature within [m, L], to 1e-3 for float32 differences; all in float32."""
    total = problem("quadratic").to(np, np.float32)
    run = trajectory(kind(lr=0.01), total, total.x0, 10)
    assert run.eta.dtype == np.float32
    assert (run.eta * total.L >= 1 - 1e-3).all()
    assert (run.eta * total.mu <= 1 + 1e-3).all()


# --- what the two steps are ----------------------------------------------------------------------------------------


def test_they_are_the_two_least_squares_readings_of_the_secant_equation():
    """BB8. Barzilai & Borwein 1988; Liang et al. section 3.1, which has them right. The longer is argmin |s/η - y|, the

    shorter argmin |s - η y|: SciPy's bounded minimisation; its own accuracy, 1e-6.
    """
    s = vec(6, 0.1)
    y = spd(np.linspace(1, 9, 6)) @ s
    bounded = {"method": "bounded", "bounds": (1e-3, 10), "options": {"xatol": 1e-12}}
    first = minimize_scalar(lambda eta: squares(s / eta - y), **bounded).x
    second = minimize_scalar(lambda eta: squares(s - eta * y), **bounded).x
    assert BB1.fit(s, y) == pytest.approx(first, rel=1e-6)
    assert BB2.fit(s, y) == pytest.approx(second, rel=1e-6)
    assert first > second * 1.01, "two different numbers"


@pytest.mark.parametrize("name", ["quadratic", "ridge", "logistic", "softmax"])
def test_both_are_inverse_curvatures_and_the_second_is_the_shorter(name):
    """BB1. Barzilai & Borwein 1988; Raydan 1993; Nesterov 2018. 1/L ≤ η₂ ≤ η₁ ≤ 1/m, the shorter and the longer, on

    every m-strongly convex, L-smooth f, to 1e-9; 60 of the longer steps, while |g| > 1e-6.
    """
    total = problem(name)
    run = trajectory(BB1(lr=1 / total.L), total, total.x0, 60)
    steps = int((squares(run.g) > 1e-12).sum()) - 1
    s, y = np.diff(run.x[:-1], axis=0)[:steps], np.diff(run.g, axis=0)[:steps]
    second = np.array([BB2.fit(*pair) for pair in zip(s, y, strict=True)])
    first = run.eta[1 : steps + 1]
    assert steps >= 8
    assert (second * total.L >= 1 - 1e-9).all()
    assert (second <= first * (1 + 1e-9)).all()
    assert (second < 0.99 * first).any(), "two different numbers"
    assert (first * total.mu <= 1 + 1e-9).all()


@pytest.mark.parametrize(("kind", "power"), [(BB1, 0), (BB2, 1)])
def test_on_a_quadratic_they_are_the_exact_line_searches_of_the_step_before(kind, power):
    """BB2. Barzilai & Borwein 1988; Raydan 1993; Friedlander et al. 1999. The longer is g'g/g'Ag, the shorter

    g'Ag/g'A²g with g = g_{t-1}, whatever step was taken: here 0.3 or 0.9 of it.
    While |g| > 1e-3 |g_0|: y loses digits to cancellation; 1e-7.
    """
    total = problem("quadratic")
    rule, x, gradients, etas = kind(lr=1e-3), total.x0.copy(), [], []
    rule.start(x, total)
    for t in range(40):
        gradients.append(total(x)[1])
        x = x + rule.step(x, total) * (0.3, 0.9)[t % 2]
        etas.append(rule.eta)
    g = np.array(gradients)
    Ag = g @ total.A
    exact = ((g * g).sum(axis=1) / (g * Ag).sum(axis=1), (g * Ag).sum(axis=1) / squares(Ag))[power]
    use = np.sqrt(squares(g[1:])) > 1e-3 * np.sqrt(squares(g[0]))
    assert use.sum() >= 20
    np.testing.assert_allclose(np.array(etas)[1:][use], exact[:-1][use], rtol=1e-7)
    assert abs(np.array(etas)[1:] / exact[1:] - 1)[use].max() > 0.1, "not the exact step of now"


# --- convergence ---------------------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("lr", [0.01, 0.001, 0.2])
def test_where_all_curvatures_are_equal_the_second_step_ends_at_the_solution(kind, lr):
    """BB4. Barzilai & Borwein 1988. 7(x - 3)²/2 + 5 from -11, and 4 I in three variables: |x_2 - x*| ≤ 1e-13 |x_0 -
    x*|, for every lr."""
    line = Quadratic(7 * np.eye(1), np.array([3.0]), 5.0, np.array([-11.0]))
    space = Quadratic(4 * np.eye(3), vec(3), 0.0, np.full(3, 9.0))
    for total in (line, space):
        x = trajectory(kind(lr=lr), total, total.x0, 2).x
        assert squares(x[2] - total.x_star) <= 1e-26 * squares(total.x0 - total.x_star)


def test_the_flattest_component_shrinks_steadily_and_the_steepest_flips():
    """BB3. Raydan 1993; Dai & Liao 2002; Li & Sun 2021. In the eigenbasis, from the first of its own steps on: the part
    of g along the smallest curvature m is multiplied by [0, 1 - 1/κ] (to 1e-9), that of the largest L by [-(κ - 1), 0]
    (1e-6 and 1e-9). So |g_t^m| ≤ (1 - 1/κ)^(t-1) |g_1^m|, and g^L, where it is no rounding error, flips.
    """
    total = problem("quadratic")
    lam, Q = np.linalg.eigh(total.A)
    kappa = lam[-1] / lam[0]
    run = trajectory(BB1(lr=1 / total.L), total, total.x0, 60)
    steps = int((squares(run.g) > 1e-12).sum())
    parts = (run.g @ Q)[1:steps]
    flat, steep = parts[1:, 0] / parts[:-1, 0], (1 - lam[-1] * run.eta)[1:steps]
    assert steps == 60
    assert flat.min() >= -1e-9
    assert flat.max() <= 1 - 1 / kappa + 1e-9
    assert (abs(parts[:, 0]) <= (1 - 1 / kappa) ** np.arange(steps - 1) * abs(parts[0, 0]) * (1 + 1e-9)).all()
    assert -(kappa - 1) - 1e-6 <= steep.min() < -10
    assert steep.max() <= 1e-9
    large = abs(parts[:-1, -1]) > 1e-7
    assert large.sum() >= 30
    np.testing.assert_allclose((parts[1:, -1] / parts[:-1, -1])[large], steep[:-1][large], rtol=1e-5)


def test_in_two_variables_the_order_is_the_root_of_two_and_one_start_is_only_linear():
    """BB5. Barzilai & Borwein 1988; Dai & Fletcher 2005. diag(1, 10), first step exact; u = log|g¹/g²| obeys
    u_{t+1} = u_t - 2 u_{t-1} (1e-6 for t < 7, before rounding), so E = u_t² - u_t u_{t-1} + 2 u_{t-1}² doubles. The
    same step in logarithms, which do not cancel, agrees with it to 1e-6 and goes on: -log|g| grows like √2^t. From
    |g¹| = |g²| u stays 0: linear, (κ - 1)/(κ + 1) = 9/11 a step, 1e-8 after 20."""
    total, A = parabola(1, 10), np.array([1.0, 10])

    def gradients(g0, steps):
        g0 = np.array(g0, float)
        return trajectory(BB1(lr=(g0 @ g0) / (g0 @ (A * g0))), total, g0 / A, steps).g

    g = gradients([1, 3], 8)
    u = np.log(abs(g[:, 0] / g[:, 1]))
    assert abs(u[2:] - u[1:-1] + 2 * u[:-2])[:6].max() <= 1e-6
    E = (u[1:] ** 2 - u[1:] * u[:-1] + 2 * u[:-1] ** 2)[:7]
    np.testing.assert_allclose(E[1:] / E[:-1], 2, rtol=1e-6)

    logs, inverse = np.log(abs(g[:2])), np.log([1, 10])  # 1/η = Σ λ w, w = |g_{t-1}|² normalised; 1 - λη = ±9 η w
    for _ in range(59):
        w = 2 * logs[-2] - np.logaddexp(*(2 * logs[-2]))
        log_eta = -np.logaddexp(*(inverse + w))
        logs = np.vstack([logs, logs[-1] + np.log(9) + log_eta + w[::-1]])
    np.testing.assert_allclose(logs[:8], np.log(abs(g)), rtol=0, atol=1e-6)
    length = -0.5 * np.logaddexp(*(2 * logs.T))
    assert len(length) == 61
    assert 1.38 <= (length[60] / length[20]) ** (1 / 40) <= 1.45

    slow = gradients([1, 1], 21)
    assert np.sqrt(squares(slow[20]) / squares(slow[0])) == pytest.approx((9 / 11) ** 20, rel=1e-8)


@pytest.mark.parametrize(("kappa", "most"), [(100, 300), (1000, 1500)])
@pytest.mark.parametrize("lr", ["small", "1/L", "1/m"])
def test_it_converges_on_every_quadratic_and_not_monotonically(kappa, most, lr):
    """BB6. Raydan 1993; Dai & Liao 2002. |g| < 1e-8 |g_0| within 300 (κ = 100) or 1500 (κ = 1000) steps; f and |g|

    rise on the way. Every component obeys |g_t^i| ≤ C_i θ^t, θ = 1 - 1/κ (constants after Li & Sun 2021), to 1e-6.
    """
    lam = np.geomspace(1, kappa, 8)
    total = Quadratic(spd(lam), vec(8, 0.4), -2.5, np.full(8, 2.0))
    run = trajectory(BB1(lr={"small": 1e-3, "1/L": 1 / kappa, "1/m": 1.0}[lr]), total, total.x0, most)
    norms = np.sqrt(squares(run.g))
    steps = int((norms < 1e-8 * norms[0]).argmax())
    assert steps > 0
    assert (np.diff(run.f[:steps]) > 0).any()
    assert (np.diff(norms[:steps]) > 0).any()

    parts, theta = abs(run.g @ np.linalg.eigh(total.A)[1])[:steps], 1 - 1 / kappa
    C = np.maximum(parts[0], parts[1] / theta)
    for i in range(1, 8):
        delta = max(lam[i] / lam[0] - 1, 1)
        C[i] = max(C[i], delta**2 * theta**-2.5 * np.sqrt(squares(C[:i])))
    assert (parts <= C * theta ** np.arange(steps)[:, None] * (1 + 1e-6)).all()


@both
def test_on_a_strongly_convex_function_it_may_cycle_for_ever(kind):
    """Cf. Burdakov, Dai, Huang 2019. log cosh x + x²/200 from 3: 100, 100 (√5 - 2), -100, -100 (√5 - 2)."""
    f = Function(lambda x: (float(np.log(np.cosh(x)).sum() + x @ x / 200), np.tanh(x) + x / 100))
    x = trajectory(kind(), f, np.array([3.0]), 108).x[100:, 0]
    np.testing.assert_allclose(x, np.resize([100, 23.60679774997897, -100, -23.60679774997897], 9), rtol=1e-9)


def test_steps_of_all_inverse_curvatures_end_a_quadratic_which_is_what_it_lives_on():
    """BB7. Lai 1981. Six eigenvalues, six steps of their inverses, in a mixed order: x*, to 1e-11 |x_0 - x*|."""
    lam = np.linspace(1, 10, 6)
    total = Quadratic(spd(lam), vec(6), 0.0, np.full(6, 2.0))
    order = 1 / lam[[5, 0, 4, 1, 3, 2]]
    x = trajectory(GradientDescent(lr=lambda t: order[t]), total, total.x0, 6).x
    assert np.sqrt(squares(x[6] - total.x_star)) <= 1e-11 * np.sqrt(squares(x[0] - total.x_star))


# --- one rate per epoch --------------------------------------------------------------------------------------------


def test_outside_the_window_the_rate_is_replaced_and_not_clipped():
    """BB9 (i). Liang et al. eq. 13. Rates of 1e-4 to 1e4, mixed, epochs 0 to 499: inside [0.33, 3]/(k + 1) as they are,

    else 1/(k + 1), bit for bit.

    So Σ η ≥ 0.33 H_500, and Σ η² ≤ 9 π²/6.
    """
    raw = np.logspace(-4, 4, 500)[(np.arange(500) * 181) % 500]
    rule, k = StochasticBB(tau_min=0.33, tau_max=3.0), np.arange(500)
    rates = np.array([rule.bounded(np.float64(eta), int(i)) for i, eta in enumerate(raw)])
    inside = (raw * (k + 1) >= 0.33) & (raw * (k + 1) <= 3)
    assert 30 < inside.sum() < 470
    assert np.array_equal(rates[inside], raw[inside])
    assert np.array_equal(rates[~inside], (1 / (k + 1))[~inside])
    assert rates.sum() >= 0.33 * (1 / (k + 1)).sum()
    assert (rates**2).sum() <= 9 * np.pi**2 / 6


@pytest.mark.parametrize("bounds", [(0.5, 3.0), (0.25, 0.5)])
def test_the_window_is_closed(bounds):
    """BB9 (i). Rates at its ends are inside: 0.5/(k + 1) for τ_min = 0.5, and for τ_max = 0.5; k + 1 a power of two."""
    rule = StochasticBB(tau_min=bounds[0], tau_max=bounds[1], tau_0=0.3)
    for k in (1, 3, 7):
        assert rule.bounded(np.float64(0.5 / (k + 1)), k) == 0.5 / (k + 1)


@pytest.mark.parametrize(("beta", "weight"), [(None, 4 / 7), (0.25, 0.25), (1.0, 1.0)])
def test_the_average_of_a_constant_gradient_misses_what_its_zero_start_weighs(beta, weight):
    """BB9 (ii). Liang et al. eq. 12. ḡ = (1 - (1 - β)^T) g after T = 7 steps, in every epoch; β = 4/T unless given."""
    rule, g = StochasticBB(beta=beta, period=7), np.array([3.0, -1])
    oracle = Answers((0.0, g))
    for steps in (7, 14):
        trajectory(rule, oracle, np.zeros(2), steps)
        np.testing.assert_allclose(rule.g_mean, (1 - (1 - weight) ** 7) * g, rtol=1e-15)


@pytest.mark.parametrize(("T", "weight"), [(1, 1.0), (3, 1.0), (5, 1 - 0.2**5), (400, 0.982)])
def test_the_default_weight_is_four_over_the_steps_of_an_epoch_and_at_most_one(T, weight):
    """BB9 (ii). 4/T would be 4 for epochs of one step. For long ones the average holds 1 - e^-4 of g; to 1e-4."""
    rule = StochasticBB(period=T)
    trajectory(rule, Answers((0.0, np.ones(1))), np.zeros(1), T)
    assert rule.g_mean[0] == pytest.approx(weight, abs=1e-4 if T == 400 else 1e-15)


def test_it_is_shorter_than_barzilai_borwein_by_the_steps_of_an_epoch():
    """BB9 (iii). Liang et al. eqs. 8-10. 2 I, T = 5, η = 0.01, β = 1: the third epoch's rate is (1 - ηλ)/(Tλ); 1e-10
    for differences."""
    rule = StochasticBB(lr=0.01, beta=1.0, period=5, tau_min=1e-3)
    run = trajectory(rule, parabola(2, 2), np.array([3.0, -1]), 11)
    assert run.eta[10] == pytest.approx((1 - 0.02) / 10, rel=1e-10)


@pytest.mark.parametrize("kind", [StochasticBB, StochasticBBReleased])
def test_negative_curvature_gives_a_positive_rate(kind):
    """BB9, StochasticBBReleased. -x², λ = -2: epochs of one step, β = 1: the third rate is |1 - ηλ|/|λ| = 1.2/2, not
    its negative."""
    run = trajectory(kind(beta=1.0), parabola(-2), np.ones(1), 3)
    np.testing.assert_allclose(run.eta, [0.1, 0.1, 0.6], rtol=1e-14)


def test_the_epoch_is_the_oracles_partial_last_batch_included_unless_a_field_says_another():
    """BB9. 12 rows in batches of 5: three a pass. Without mini-batches, one."""
    total = problem("least-squares")
    for rule, oracle, T in [
        (StochasticBB(), FiniteSum(total, Shuffled(12, 5)), 3),
        (StochasticBB(), FiniteSum(total, Shuffled(12, 5, drop_last=True)), 2),
        (StochasticBB(period=4), FiniteSum(total, Shuffled(12, 5)), 4),
        (StochasticBB(), total, 1),
    ]:
        eta = trajectory(rule, oracle, total.x0, 6 * T).eta.reshape(6, T)
        assert (eta == eta[:, :1]).all(), "one rate per epoch"
        assert (eta[:2] == 0.1).all()
        assert len(np.unique(eta[2:, 0])) >= 3


def test_its_second_epochs_look_back_at_means_of_gradients_and_at_where_epochs_begin():
    """BB9. Equations (7)-(10) written from the recorded gradients of five epochs of three mini-batches, to 1e-12."""
    total = problem("least-squares-noisy")
    rule = StochasticBB(beta=0.3)
    run = trajectory(rule, FiniteSum(total, Shuffled(12, 4)), total.x0, 15)
    weights = 0.3 * 0.7 ** np.arange(2, -1, -1)
    means, begins = np.einsum("t,ktn->kn", weights, run.g.reshape(5, 3, -1)), run.x[:-1:3]
    for k in (2, 3, 4):
        s, y = (begins[k] - begins[k - 1]) / 3, means[k - 1] - means[k - 2]
        eta = squares(s) / abs(s @ y)
        expected = eta if 0.1 <= eta * (k + 1) <= 10 else 1 / (k + 1)
        np.testing.assert_allclose(run.eta[3 * k : 3 * k + 3], expected, rtol=1e-12)
        np.testing.assert_allclose(begins[k], begins[k - 1] - (run.eta[:, None] * run.g)[3 * k - 3 : 3 * k].sum(axis=0))


def test_the_bounded_form_differs_in_the_first_two_epochs_alone():
    """BB9, eq. 13. lr = 30 is outside [0.1, 10]: τ_0/1, τ_0/2. lr = 6 is inside in epoch 0 and not in 1, [0.05, 5].
    0.2: in both."""
    for lr, expected in [(30.0, [1, 0.5]), (6.0, [6, 0.5]), (0.2, [0.2, 0.2])]:
        run = trajectory(StochasticBBBounded(lr=lr, period=2), parabola(0.1), np.ones(1), 4)
        assert np.array_equal(run.eta, np.repeat(expected, 2))
        assert np.array_equal(trajectory(StochasticBB(lr=lr, period=2), parabola(0.1), np.ones(1), 4).eta, [lr] * 4)
    inside = [trajectory(kind(period=2), parabola(0.1), np.ones(1), 10) for kind in (StochasticBB, StochasticBBBounded)]
    assert np.array_equal(inside[0].x, inside[1].x)


def test_epochs_that_went_nowhere_take_the_middle_of_the_window_and_as_released_the_last_rate():
    """StochasticBBReleased. At the solution s = y = 0: τ_0/(k + 1), and as released 0.1 for ever."""
    here = trajectory(StochasticBB(period=2), parabola(1), np.zeros(1), 8)
    np.testing.assert_allclose(here.eta, np.repeat([0.1, 0.1, 1 / 3, 1 / 4], 2), rtol=1e-15)
    released = trajectory(StochasticBBReleased(period=2), parabola(1), np.zeros(1), 8)
    assert np.array_equal(released.eta, [0.1] * 8)
    assert np.array_equal(released.x, here.x)


@pytest.mark.parametrize(("size", "same"), [(1e-3, True), (1e-6, False)])
def test_as_released_a_problem_in_small_units_never_changes_its_rate(size, same):
    """StochasticBBReleased. |⟨Δx, y⟩| < 1e-10 counts as 0, with the whole displacement Δx = T s: x = 1e-6 is below, x =
    1e-3 above."""
    meant, released = (
        trajectory(kind(beta=1.0, period=4), parabola(0.5), np.full(1, size), 20)
        for kind in (StochasticBB, StochasticBBReleased)
    )
    assert np.array_equal(meant.eta, released.eta) == same
    assert same or (released.eta == 0.1).all()


def test_the_threshold_of_the_released_code_is_on_the_whole_displacement():
    """StochasticBBReleased. T = 4, s = 1e-5, y = 5e-6: ⟨s, y⟩ = 5e-11 is below 1e-10, T ⟨s, y⟩ is not: the rate is s/y
    = 2, inside."""
    rule, s, y = StochasticBBReleased(period=4), np.array([1e-5]), np.array([5e-6])
    rule.start(s, parabola(1))
    assert rule.fit(s, y, 2) == pytest.approx(2)
    assert rule.fit(s, y / 4, 2) == 0.1


def test_bad_windows_and_weights_are_refused_in_one_sentence():
    with pytest.raises(ValueError, match=r"^tau_min must be at most tau_max, 1\.0, got 2\.0$"):
        StochasticBB(tau_min=2.0, tau_max=1.0)
    for beta in (0.0, 1.5, -1.0, np.nan, "a"):
        with pytest.raises(ValueError, match=r"^beta must be a number in \(0, 1\], got"):
            StochasticBB(beta=beta)
    StochasticBB(tau_min=1.0, tau_max=1.0, beta=1)


def test_on_a_function_that_is_not_convex_it_still_descends_on_average():
    """1 - cos x, from the concave side, x = 2.5: the absolute value turns the step downhill, and it ends at 0."""
    wave = Function(lambda x: (float((1 - np.cos(x)).sum()), np.sin(x)))
    run = trajectory(BB1(), wave, np.array([2.5]), 20)
    assert (np.diff(run.g[:2], axis=0) * np.diff(run.x[:2], axis=0) < 0).all(), "negative curvature is met"
    assert values(wave, run.x[-1:]) <= 1e-12
    assert one_step(BB1(lr=0.5), wave, np.array([2.5]))[1] == 0.5
