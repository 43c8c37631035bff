"""ALI-G: numbers by hand, the theorems AG1 to AG6, and what PX1 and PX2 say of its step, a proximal one.

e = w - w*, d = |e|, l the loss of a sample; a subscript + means after the step.
"""

import numpy as np
import pytest
from answers import Answers, check_by_hand, leading, one_step, parts, problem, row_by_row, squares
from runs import Function, parabola, trajectory
from scipy.optimize import minimize, minimize_scalar

from refopt import ALIG, L2, SPS, ALIGAdjusted, Ball, Constrained, FiniteSum, Nesterov, PSSGamma, Shuffled, SPSMax
from refopt.nonsmooth import Hinge
from refopt.oracle import Block
from refopt.problems import design, signs, vec

# --- by hand -------------------------------------------------------------------------------------------------------

bowl = parabola(1, 10)  # from (10, 1): f = 55, g = (10, 10)
bowl.blocks = Block("x", slice(0, 1), (1,)), Block("y", slice(1, 2), (1,))  # two tensors, and yet one rate
BY_HAND: dict[str, tuple] = {  # rule, problem, x0, step sizes, iterates
    "without momentum": (
        ALIG(mu=0.0, eta_max=1.0), parabola(4), [1],
        [0.124999921875, 0.124999687501, 0.12499875002],
        [0.5000003125, 0.250000781248, 0.125001640608],
    ),
    "at the maximal rate": (ALIG(mu=0.0), parabola(4), [1], [0.1] * 3, [0.6, 0.36, 0.216]),
    "at the maximal rate, with momentum": (ALIG(), parabola(4), [1], [0.1] * 3, [0.24, -0.2664, -0.433296]),
    "adjusted, at the maximal rate": (ALIGAdjusted(), parabola(4), [1], [0.1] * 3, [0.24, -0.2664, -0.433296]),
    "below it, with momentum": (
        ALIG(eta_max=1.0), parabola(4), [1],
        [0.124999921875, 0.124968758552, 0.124999517738],
        [0.0500005937496, -0.402487845297, -0.404870818941],
    ),
    "adjusted, below it": (
        ALIGAdjusted(eta_max=1.0), parabola(4), [1],
        [0.124999921875, 0.124968758552, 0.124999517496],
        [0.0500005937496, -0.402386876131, -0.404869574692],
    ),
    "with one rate for all coordinates": (
        ALIG(), bowl, [10, 1], [0.1] * 3, [[8.1, -0.9], [5.751, 0], [3.27321, 0]]
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BY_HAND)
def test_the_first_steps_are_those_computed_by_hand(case):
    check_by_hand(*BY_HAND[case])


def test_the_ball_is_one_for_all_coordinates_and_holds_from_the_start():
    """(3, 4, 12) has norm 13; on the ball of radius 6.5 it is halved. There the loss is constant: nothing moves."""
    flat = Constrained(Answers((1.0, [0.0, 0.0, 0.0])), Ball(6.5))
    run = trajectory(ALIG(), flat, np.array([3.0, 4, 12]), 2)
    np.testing.assert_allclose(run.x, [[1.5, 2, 6]] * 3, rtol=1e-15)


# --- the step ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("delta", [0.0, 1e-5, 1.0])
@pytest.mark.parametrize("eta", [0.1, 1.0])
def test_the_step_is_bounded_by_rate_loss_and_delta_and_without_delta_it_is_two_other_rules(eta, delta):
    """AG1. Berrada et al. 2021 eq. 4; King 2024 eq. 2; Loizou et al. 2021.

    γ ≤ η, γ (|g|² + δ) ≤ l, γ|g| ≤ l/(2√δ) (means), to 1e-14, for l from 1e-6 to 1e3 and |g| from 1e-4 to 1e3. With
    δ = 0 the displacement is that of SPSMax(c=1) and PSSGamma, bit for bit. Without momentum both forms are one.
    """
    x, capped, checked = np.zeros(2), 0, 0
    for loss in np.geomspace(1e-6, 1e3, 25):
        for norm in np.geomspace(1e-4, 1e3, 25):
            g = norm * np.array([0.6, -0.8])
            here = Answers((loss, g))
            after, gamma = one_step(ALIG(eta_max=eta, mu=0.0, delta=delta), here, x)
            assert 0 < gamma <= eta
            assert np.array_equal(one_step(ALIGAdjusted(eta_max=eta, mu=0.0, delta=delta), here, x)[0], after)
            assert gamma * (g @ g + delta) <= loss * (1 + 1e-14)
            assert 2 * gamma * norm * np.sqrt(delta) <= loss * (1 + 1e-14)
            if delta == 0:
                for twin in (SPSMax(c=1.0, eta_max=eta, f_star=0.0), PSSGamma(eta_max=eta)):
                    assert np.array_equal(one_step(twin, here, x)[0], after)
            capped, checked = capped + (gamma == eta), checked + 1
    assert checked == 625
    assert 50 < capped < 575, "both sides of the minimum are met"


def test_the_bound_by_delta_is_attained():
    """AG1. γ|g| = l/(2√δ) where |g|² = δ: here δ = 1/4, l = 1, so γ|g| = 1; to 1e-15."""
    _, gamma = one_step(ALIG(eta_max=1e9, mu=0.0, delta=0.25), Answers((1.0, [0.5])), np.zeros(1))
    np.testing.assert_allclose(gamma * 0.5, 1, rtol=1e-15)


def test_without_delta_and_momentum_whole_runs_are_those_of_spsmax_and_king():
    """AG1. 200 mini-batches of 3 rows without interpolation: three rules, one path, bit for bit."""
    total = problem("least-squares-noisy")
    rules = ALIG(eta_max=1.0, mu=0.0, delta=0.0), SPSMax(c=1.0), PSSGamma()
    runs = [trajectory(rule, FiniteSum(total, Shuffled(12, 3)), total.x0, 200) for rule in rules]
    if_zero = trajectory(SPSMax(c=1.0, f_star=0.0), FiniteSum(total, Shuffled(12, 3)), total.x0, 200)
    assert np.array_equal(runs[2].x, if_zero.x)
    assert np.array_equal(runs[0].x, runs[1].x)


PROXIMAL = {  # with these fields and a bound all of them are one rule
    "ALIG": lambda eta: ALIG(eta_max=eta, mu=0.0, delta=0.0),
    "ALIGAdjusted": lambda eta: ALIGAdjusted(eta_max=eta, mu=0.0, delta=0.0),
    "SPSMax": lambda eta: SPSMax(c=1.0, eta_max=eta),
    "PSSGamma": lambda eta: PSSGamma(eta_max=eta),
}


@pytest.mark.parametrize("rule", PROXIMAL)
@pytest.mark.parametrize("eta", [0.1, 0.3, 1.0, 10.0])
def test_the_step_is_the_proximal_step_on_the_model_cut_off_at_zero(eta, rule):
    """AG5. Berrada et al. 2020. argmin_u |u - w|²/(2η) + max{0, l + ⟨g, u - w⟩} by SciPy's SLSQP, to 1e-6.

    The maximum is a variable t ≥ 0, t ≥ l + ⟨g, u - w⟩. δ = 0, μ = 0.
    """
    w, loss, g = np.array([1.0, -2, 0.5]), 1.7, np.array([0.5, -1, 2])
    after, _ = one_step(PROXIMAL[rule](eta), Answers((loss, g)), w)
    above = {"type": "ineq", "fun": lambda z: np.array([z[3], z[3] - loss - g @ (z[:3] - w)])}
    start, precise = np.append(w, loss), {"ftol": 1e-14, "maxiter": 500}
    found = minimize(
        lambda z: squares(z[:3] - w) / (2 * eta) + z[3], start, method="SLSQP", constraints=above, options=precise
    )
    assert found.success
    np.testing.assert_allclose(after, found.x[:3], rtol=0, atol=1e-6)


absolute = Function(lambda x: (abs(x).sum(), np.sign(x)), f_star=0.0)


@pytest.mark.parametrize("rule", PROXIMAL)
def test_on_the_absolute_value_the_step_is_soft_thresholding(rule):
    """PX2. Moreau 1965; Beck & Teboulle 2009. There the model is the loss itself as far as a step goes, so

    w_+ = argmin_u |u - w|²/2 + η|u|, by SciPy's bounded search to 1e-6, and w = w_+ + clip(w, -η, η), to 1e-15: what
    the step takes away is the projection on [-η, η]. η = 0.7, 25 points from -3 to 3.
    """
    points = np.linspace(-3, 3, 25)
    after = np.array([one_step(PROXIMAL[rule](0.7), absolute, points[[i]])[0][0] for i in range(25)])
    np.testing.assert_allclose(after + np.clip(points, -0.7, 0.7), points, rtol=0, atol=1e-15)
    for w, w_after in zip(points, after, strict=True):
        found = minimize_scalar(
            lambda u, w=w: (u - w) ** 2 / 2 + 0.7 * abs(u), bounds=(-4, 4), method="bounded", options={"xatol": 1e-9}
        )
        assert abs(w_after - found.x) <= 1e-6


@pytest.mark.parametrize("rule", PROXIMAL)
def test_on_the_norm_what_the_step_takes_away_is_the_projection_on_a_ball(rule):
    """PX2. Moreau 1965, in the plane: f = |w|, w = w_+ + P(w), P on the ball of radius η = 0.7; to 1e-15, 49 points."""
    norm = Function(lambda x: (np.hypot(*x), x / max(np.hypot(*x), 1e-300)), f_star=0.0)
    for w in np.stack(np.meshgrid(*[np.linspace(-1, 1, 7)] * 2), axis=-1).reshape(-1, 2):
        after, _ = one_step(PROXIMAL[rule](0.7), norm, w)
        np.testing.assert_allclose(after + Ball(0.7).project(w), w, rtol=0, atol=1e-15)


@pytest.mark.parametrize("rule", PROXIMAL)
def test_on_the_absolute_value_the_gap_falls_as_that_of_the_proximal_point_method(rule):
    """PX1. Beck & Teboulle 2009, without its smooth part, L = 1/η. f_k ≤ x_0²/(2ηk), and f never grows.

    The factor 2 is not sharp: f_k = |x_0| - ηk until 0 is hit, so f_k ≤ x_0²/(4ηk), equal where x_0 = 2ηk. η = 1/8,
    x_0 = -6: every number is exact, and k = 24 of 60 is that point.
    """
    run = trajectory(PROXIMAL[rule](0.125), absolute, np.array([-6.0]), 60)
    f, k = abs(run.x[:, 0]), np.arange(61)
    assert np.array_equal(f, np.maximum(6 - k / 8, 0))
    assert (f[1:] <= 36 / (4 * 0.125 * k[1:])).all()
    assert f[24] == 36 / (4 * 0.125 * 24)
    assert (np.diff(f) <= 0).all()


# --- its theorems, without momentum --------------------------------------------------------------------------------

SEPARABLE = Hinge(design(12, 3), signs(12, 3), np.full(3, 2.0))
MARGIN = vec(3, 1.0) / (signs(12, 3) * (design(12, 3) @ vec(3, 1.0))).min()  # here every margin is at least 1
ORDERS = {"cyclic": np.arange(400) % 12, "irregular": (5 * np.arange(400) + np.arange(400) ** 2) % 12}


@pytest.mark.parametrize("delta", [0.0, 1e-3, 1.0])
@pytest.mark.parametrize("eta", [0.05, 1.0, 100.0])
@pytest.mark.parametrize("order", ORDERS)
def test_with_kinks_the_mean_loss_falls_like_one_over_root_t_in_every_order(order, eta, delta):
    """AG2. Berrada et al. 2020; pathwise form derived. Hinge losses that w* brings to 0, |g| ≤ C, T < 400:

    mean of T + 1 losses ≤ d_0²/(η(T+1)) + √((C² + δ) d_0²/(T+1)); d_+² ≤ d² - γ l, to 1e-12 d_0².
    """
    rule = ALIG(eta_max=eta, mu=0.0, delta=delta, f_star=0.0)
    run = trajectory(rule, row_by_row(SEPARABLE, ORDERS[order]), SEPARABLE.x0, 400)
    d2, terms, C2 = squares(run.x - MARGIN), np.arange(1, 401), squares(SEPARABLE.A).max()
    assert (np.diff(d2) + run.eta * run.f <= 1e-12 * d2[0]).all()
    assert (np.cumsum(run.f) / terms <= d2[0] / (eta * terms) + np.sqrt((C2 + delta) * d2[0] / terms)).all()
    assert (run.f > 0).sum() >= 12, "some samples are still to be learned"


def test_in_a_ball_that_holds_a_solution_the_distance_still_falls():
    """AG2 with a projection, which brings w no farther from any point of the set: d_+² ≤ d² - γ l, to 1e-12 d_0².

    (x² + 10 y²)/2 on the disc of radius 3 around (0, 3), which ends at the solution (0, 0): the zigzag hits it. Every
    iterate is feasible, to rounding, and the last is the solution.
    """
    center = np.array([0.0, 3.0])
    run = trajectory(ALIG(eta_max=100.0, mu=0.0), Constrained(bowl, Ball(3.0, center)), np.array([10.0, 1]), 40)
    d2 = squares(run.x)
    assert (np.diff(d2) + run.eta * run.f <= 1e-12 * d2[0]).all()
    assert (np.sqrt(squares(run.x - center)) <= 3 * (1 + 1e-15)).all()
    moved = run.x[:-1] - run.eta[:, None] * run.g
    assert (np.sqrt(squares(moved - center)) > 3 * (1 + 1e-6)).sum() >= 8, "the disc is needed"
    assert run.f[-1] < 1e-6


@pytest.mark.parametrize("delta", [0.0, 1e-2, 1.0])
@pytest.mark.parametrize("eta", ["0.3/(2β)", "1/(2β)", "10"])
def test_on_smooth_losses_the_mean_loss_falls_like_one_over_t(eta, delta):
    """AG3. Berrada et al. 2020. β-smooth losses that w* brings to 0, T < 400, single rows:

    mean of T + 1 losses ≤ max{2β, 1/η} d_0²/(T+1) + δ/(2β).
    """
    total = problem("least-squares")
    beta = squares(total.A).max()
    eta = {"0.3/(2β)": 0.3 / (2 * beta), "1/(2β)": 1 / (2 * beta), "10": 10.0}[eta]
    rule = ALIG(eta_max=eta, mu=0.0, delta=delta, f_star=0.0)
    run = trajectory(rule, row_by_row(total, ORDERS["cyclic"]), total.x0, 400)
    terms, rate = np.arange(1, 401), max(2 * beta, 1 / eta)
    bound = rate * squares(total.x0 - total.x_star) / terms + delta / (2 * beta)
    ratio = np.cumsum(run.f) / terms / bound
    assert (ratio <= 1).all()
    assert ratio.max() >= 0.05


def test_delta_makes_the_rate_sublinear_and_without_it_a_parabola_is_halved():
    """AG4. Derived. On x²/2, η = ∞: 1/x² grows by nearly 1/δ a step once x² ≪ δ, so t x_t²/δ → 1.

    δ = 1, x_0 = 0.1, t = 5000: within [0.98, 1]. δ = 0: x_t = 2^-t exactly, for 30 steps; and the constant c of SPS, a
    factor where δ is a term, leaves it linear: c = 2, x_t = (3/4)^t exactly.
    """
    x = trajectory(ALIG(eta_max=np.inf, mu=0.0, delta=1.0), parabola(1), np.array([0.1]), 5000).x[-1, 0]
    assert 0.98 <= 5000 * x**2 <= 1
    halves = trajectory(ALIG(eta_max=np.inf, mu=0.0, delta=0.0), parabola(1), np.ones(1), 30).x[:, 0]
    assert np.array_equal(halves, 0.5 ** np.arange(31))
    assert np.array_equal(trajectory(SPS(c=2.0), parabola(1), np.ones(1), 30).x[:, 0], 0.75 ** np.arange(31))


@pytest.mark.parametrize("times", [1, 2, 4, np.inf])
def test_on_strongly_convex_losses_every_path_contracts(times):
    """AG6. Berrada et al. 2020, rate exp(-α/(4β)); sharper constants derived. δ = 0, order t² mod 3, 60 steps.

    Each sample α_i-strongly convex, all β-smooth and least at w*, η = `times`/(2β), `times` ≥ 1: with q = α_i/β,
    (d_+/d)² ≤ (1 - q/2)². While the cap is idle, 1 - 5q/4 + q²/2, now with q = α_i/β_i. Both to 1e-9, while d² > 1e-9.
    So no loss exceeds its infimum by more than β/2 times d_0² and the product of the factors so far.
    """
    total = problem("family-interpolating")
    order = np.arange(60) ** 2 % 3
    mu, L = np.array([(term.mu, term.L) for term in parts(total)]).T
    beta, q = L.max(), mu / L
    rule = ALIG(eta_max=times / (2 * beta), mu=0.0, delta=0.0)
    run = trajectory(rule, row_by_row(total, order), total.x0, 60)
    d2 = squares(run.x - total.x_star)
    steps = leading(d2[:-1] > 1e-9)
    bound = (1 - mu / (2 * beta)) ** 2 if times < np.inf else 1 - 5 * q / 4 + q**2 / 2
    bound = bound[order][:steps]
    ratio = d2[1 : steps + 1] / d2[:steps] / bound
    assert steps >= 20, steps
    assert (ratio <= 1 + 1e-9).all()
    assert ratio.max() >= 0.6
    gap = (run.f - total.s[order])[:steps]
    assert (gap <= beta / 2 * d2[0] * np.cumprod(np.append(1, bound[:-1])) * (1 + 1e-9)).all()


def test_where_the_cap_binds_the_contraction_is_sharp():
    """AG6. From w* along the least eigenvector of sample i, η = 1/(2β): (d_+/d)² = (1 - α_i/(2β))², to 1e-12.

    So 1 - 5q/4 + q²/2 with q = α_i/β, which is smaller, needs an idle cap.
    """
    total = problem("family-interpolating")
    beta = max(term.L for term in parts(total))
    for A, term in zip(total.A, parts(total), strict=True):
        e = np.linalg.eigh(A)[1][:, 0]
        after, _ = one_step(ALIG(eta_max=1 / (2 * beta), mu=0.0, delta=0.0), term, total.x_star + e)
        np.testing.assert_allclose(squares(after - total.x_star), (1 - term.mu / (2 * beta)) ** 2, rtol=1e-12)


# --- momentum and odd cases ----------------------------------------------------------------------------------------


def test_at_a_constant_rate_both_momenta_are_nesterovs():
    """Berrada et al. 2020, the authors' code. Capped in every step, γ = η: with γ inside the velocity or outside, the

    path is that of Nesterov's form in gradients, to 1e-12.
    """
    total = problem("ridge")
    rules = ALIG(eta_max=0.02, mu=0.8), ALIGAdjusted(eta_max=0.02, mu=0.8), Nesterov(lr=0.02, mu=0.8)
    standard, adjusted, nesterov = (trajectory(rule, total, total.x0, 20) for rule in rules)
    assert (standard.eta == 0.02).all()
    np.testing.assert_allclose(adjusted.x, standard.x, rtol=1e-12)
    np.testing.assert_allclose(nesterov.x, standard.x, rtol=1e-12)


@pytest.mark.parametrize("rule", [ALIG(eta_max=10.0, delta=0.1), ALIGAdjusted(eta_max=10.0, delta=0.1)], ids=repr)
def test_the_ball_bounds_the_point_and_never_the_velocity(rule):
    """Berrada et al. 2020, the authors' code. Both momenta, written from the gradients: w_+ = P(w + d), to 1e-13.

    30 steps on a quadratic whose minimiser lies outside the ball; the rate changes, and the ball is hit.
    """
    total, ball = problem("quadratic"), Ball(2.0)
    run = trajectory(rule, Constrained(total, ball), total.x0, 30)
    v, mu, hits = np.zeros(8), 0.9, 0
    for k, (g, gamma) in enumerate(zip(run.g, run.eta, strict=True)):
        if isinstance(rule, ALIGAdjusted):
            v = mu * v - g
            moved = run.x[k] + gamma * (mu * v - g)
        else:
            v = mu * v - gamma * g
            moved = run.x[k] + mu * v - gamma * g
        np.testing.assert_allclose(run.x[k + 1], ball.project(moved), rtol=0, atol=1e-13 * max(1, abs(moved).max()))
        hits += squares(moved) > 4
    assert hits >= 3, hits
    assert np.ptp(run.eta) > 0.01


@pytest.mark.parametrize("sample", [(1.0, [0.0]), (0.0, [1.0]), (-1.0, [1.0])], ids=["g = 0", "l = 0", "l < 0"])
@pytest.mark.parametrize(("rule", "further"), [(ALIG(eta_max=0.5), 0.81), (ALIGAdjusted(eta_max=0.5), None)])
def test_a_sample_with_nothing_to_say_leaves_the_momentum_going(rule, further, sample):
    """Berrada et al. 2020. First l = 1, g = 1: γ = 1/2. Then a degenerate sample: rate 0; it moves on by μ² v, v = -γ.

    The adjusted form scales its velocity by the new γ: with γ = 0 it stops. Where g = 0, γ is min{l/δ, η} = η.
    """
    run = trajectory(rule, Answers((1.0, [1.0]), sample), np.zeros(1), 2)
    assert run.eta[0] == pytest.approx(0.5)
    assert run.eta[1] == 0
    moved = run.x[2, 0] - run.x[1, 0]
    if further:
        assert moved == pytest.approx(-further * 0.5, rel=1e-14)
    elif sample[0] > 0:
        assert moved == pytest.approx(-0.81 * 0.5, rel=1e-14)
    else:
        assert moved == 0


def test_f_star_comes_from_the_problem_and_a_field_overrules_it():
    """Berrada et al. 2020. l = 3, |g|² = 4 and δ = 1 above the infimum 2: γ = 1/5; above 1: 2/5."""
    oracle, rule = Answers((3.0, [2.0]), f_star=2.0), ALIG(eta_max=1.0, delta=1.0)
    assert one_step(rule, oracle, np.zeros(1))[1] == 1 / 5
    assert one_step(ALIG(eta_max=1.0, delta=1.0, f_star=1.0), oracle, np.zeros(1))[1] == 2 / 5
    with pytest.raises(ValueError, match="pass f_star"):
        one_step(rule, Function(lambda x: (x @ x, 2 * x)), np.ones(1))


def test_where_the_loss_cannot_reach_zero_it_wanders():
    """(x ∓ 1)²/2 in turn, x* = 0: with the bound 0.1 it ends alternating between ±0.1/1.9, and stays there."""
    turn = iter(range(10**6))
    pair = Function(lambda x: (float((x - pair.side) @ (x - pair.side)) / 2, x - pair.side), f_star=0.0)
    pair.side = 1.0
    pair.draw = lambda: setattr(pair, "side", 1.0 if next(turn) % 2 else -1.0)
    end = trajectory(ALIG(mu=0.0, delta=0.0), pair, np.array([0.5]), 400).x[-2:, 0]
    np.testing.assert_allclose(np.sort(end), [-0.1 / 1.9, 0.1 / 1.9], rtol=1e-12)


def test_weight_decay_as_a_ball_converges_and_as_a_term_of_the_loss_does_not():
    """Berrada et al. 2020. Single rows of a consistent system, without δ and momentum, 600 steps.

    In the ball of radius |x*| it reaches x* to 1e-12. With 0.05 |x|² added, rows can no longer be fitted to 0: in each
    of the last 100 steps the rate is at its cap, and x moves by more than 0.01.
    """
    total, rule = problem("least-squares"), ALIG(mu=0.0, delta=0.0, f_star=0.0)
    rows = row_by_row(total, ORDERS["cyclic"])
    ball = trajectory(rule, Constrained(rows, Ball(np.linalg.norm(total.x_star))), total.x0, 600)
    assert np.linalg.norm(ball.x[-1] - total.x_star) < 1e-12
    term = trajectory(rule, L2(rows, 0.1), total.x0, 600)
    assert (term.eta[-100:] == 0.1).all()
    assert (squares(np.diff(term.x[-101:], axis=0)) > 1e-4).all()
