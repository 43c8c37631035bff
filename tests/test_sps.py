"""Stochastic Polyak steps: numbers by hand, and the theorems SP1 to SP8 with exact expectations.

Nothing is sampled. An expectation over k draws from n terms is the mean over all n^k paths; a one-step expectation is
the mean over the terms. "family" are three quadratics in the plane, each with a minimiser and a minimum of its own;
in its interpolating twin they share the minimiser. e = x - x*, d = |e|; a subscript + means after the step.
"""

import numpy as np
import pytest
from answers import Answers, at_each, check_by_hand, leading, one_step, parts, paths, problem, row_by_row, squares
from runs import Function, parabola, trajectory, values

from refopt import L2, SPS, DecSPS, FiniteSum, Level, MoMo, PSSDelta, Shuffled, SPSMax, SPSPlus, SPSSmooth
from refopt.linear_models import LeastSquares
from refopt.oracle import Block
from refopt.problems import design, vec

# --- by hand -------------------------------------------------------------------------------------------------------

bowl = parabola(1, 10)  # from (10, 1): f = 55, g = (10, 10)
bowl.blocks = Block("x", slice(0, 1), (1,)), Block("y", slice(1, 2), (1,))  # two tensors, and yet one rate
HALVES = [0.5, 0.25, 0.125]
BY_HAND: dict[str, tuple] = {  # rule, problem, x0, step sizes, iterates
    "c = 1/2 solves a parabola": (SPS(), parabola(4), [1], [0.25], [0]),
    "c = 1 is Polyak": (SPS(c=1.0), parabola(4), [1], [0.125] * 3, HALVES),
    "eps goes into the denominator": (SPS(eps=1e-8), parabola(4), [1], [0.249999999687], [1.25000010343e-9]),
    "SPSMax stops at eta_max": (
        SPSMax(), bowl, [10, 1],
        [0.55, 0.108910891089, 0.55],
        [[4.5, -4.5], [4.0099009901, 0.40099009901], [1.80445544554, -1.80445544554]],
    ),
    "and a small one binds": (SPSMax(eta_max=0.3), bowl, [10, 1], [0.3], [[7, -2]]),
    "c = 0.2 diverges on a parabola": (SPSSmooth(c=0.2), parabola(4), [1], [0.625] * 3, [-1.5, 2.25, -3.375]),
    "SPSSmooth doubles in an epoch of ten": (
        SPSSmooth(batch_fraction=0.1), parabola(0.05), [1],
        [1.07177346254, 1.148698355, 1.23114441334],
        [0.946411326873, 0.892054270157, 0.837141888602],
    ),
    "SPSPlus is Polyak on one sample": (SPSPlus(), parabola(4), [1], [0.125] * 3, HALVES),
    "without a bound": (SPSPlus(), parabola(0.25), [1], [2] * 3, HALVES),
    "DecSPS falls on a steep parabola": (
        DecSPS(eta_max=1.0), parabola(4), [1],
        [0.125, 0.0883883476483, 0.0721687836487],
        [0.5, 0.323223304703, 0.229916773714],
    ),
    "and from its bound on a flat one": (
        DecSPS(eta_max=1.0), parabola(0.25), [1],
        [1, 0.707106781187, 0.57735026919],
        [0.75, 0.617417478528, 0.52830094167],
    ),
    "DecSPS by c0 = 2: half the step, the same bound": (
        DecSPS(c=2.0, eta_max=0.05), parabola(4), [1], [0.05, 0.05 / 2**0.5], [0.8, 0.8 * (1 - 0.2 / 2**0.5)]
    ),
    "MoMo averages": (
        MoMo(), parabola(4), [1], [0.125, 0.0034626038781163, 0.0036278797892465], [0.5, 0.486842105263, 0.47372827453]
    ),
    "MoMo without memory is SPSMax with c = 1": (MoMo(beta=0.0), parabola(4), [1], [0.125] * 3, HALVES),
    "and is bounded by lr": (MoMo(beta=0.0, lr=0.05), parabola(4), [1], [0.05] * 2, [0.8, 0.64]),
}  # fmt: skip


@pytest.mark.parametrize("case", BY_HAND)
def test_the_first_steps_are_those_computed_by_hand(case):
    check_by_hand(*BY_HAND[case])


# --- odd cases -----------------------------------------------------------------------------------------------------

STOPS = {"g = 0": (1.0, [0.0, 0.0]), "f = f*": (0.0, [1.0, 2.0]), "f < f*": (-1.0, [1.0, 2.0])}
ALL = [SPS(), SPSMax(), SPSSmooth(), SPSPlus(), DecSPS(), MoMo()]


@pytest.mark.parametrize("stop", STOPS)
@pytest.mark.parametrize("rule", [*ALL, SPS(eps=0.1), SPSMax(eps=0.1)], ids=repr)
def test_there_is_no_step_where_the_gradient_is_zero_or_the_loss_at_its_infimum(rule, stop):
    x = np.array([3.0, 4.0])
    run = trajectory(rule, Answers(STOPS[stop]), x, 2)
    assert np.array_equal(run.x, [x] * 3)
    assert np.array_equal(run.eta, [0, 0])


@pytest.mark.parametrize("rule", ALL, ids=repr)
def test_f_star_comes_from_the_problem_and_a_field_overrules_it(rule):
    """One sample with f = 3, g = 2 where f* = 2.75, then 2.9: steps of 0.25/(4c) and 0.1/(4c), under every bound."""
    oracle, x, c = Answers((3.0, [2.0]), f_star=2.75), np.zeros(1), getattr(rule, "c", 1.0)
    assert one_step(rule, oracle, x)[1] == 0.25 / (4 * c)
    assert one_step(type(rule)(f_star=2.9), oracle, x)[1] == pytest.approx(0.1 / (4 * c), rel=1e-14)
    oracle.f_star = None
    with pytest.raises(ValueError, match="pass f_star"):
        one_step(rule, oracle, x)


@pytest.mark.parametrize(
    ("rule", "etas"), [(SPSSmooth(), [2, 0, 0, 4]), (DecSPS(eta_max=1.0), [1, 0, 0, 0.5])], ids=["SPSSmooth", "DecSPS"]
)
def test_degenerate_samples_do_not_poison_the_memory(rule, etas):
    """SP8; Orvieto et al. 2022. Samples that allow a step of 100, with g = 0 and f < f* between them: the bound stays.

    For SPSSmooth that is twice the last step, 2 then 4. DecSPS divides its bound 1 by √(k + 1), k = 3: 1/2.
    """
    far = (100.0, [1.0])
    run = trajectory(rule, Answers(far, (1.0, [0.0]), (-1.0, [1.0]), far), np.zeros(1), 4)
    assert np.array_equal(run.eta, etas)


@pytest.mark.parametrize(("field", "fraction"), [(None, 0.25), (0.5, 0.5)])
def test_the_growth_follows_the_share_of_the_data_in_a_batch(field, fraction):
    """SP8. Batches of 3 of 12 terms: the bound grows by 2^(1/4) a step, unless a field says otherwise; to 1e-14."""
    total = problem("least-squares")
    batches = FiniteSum(total, Shuffled(12, 3))
    run = trajectory(SPSSmooth(eta_init=1e-6, batch_fraction=field), batches, total.x0, 16)
    np.testing.assert_allclose(run.eta, 1e-6 * 2 ** (fraction * np.arange(1, 17)), rtol=1e-14)


def test_with_eps_the_step_stays_finite_where_the_gradient_vanishes_before_the_gap():
    """f = 1 at a gradient of 1e-200: |g|² is 0 in floating point, and so is the step, with eps or without."""
    for rule in (SPS(), SPS(eps=1e-8), SPSMax(eps=1e-8)):
        assert one_step(rule, Answers((1.0, [1e-200])), np.zeros(1))[1] == 0
    assert one_step(SPS(eps=1e-8), Answers((1.0, [1e-100])), np.zeros(1))[1] == pytest.approx(1e8, rel=1e-14)


# --- what a step is ------------------------------------------------------------------------------------------------

GRID = np.stack(np.meshgrid(*[np.linspace(-4, 4, 21)] * 2), axis=-1).reshape(-1, 2)


@pytest.mark.parametrize("c", [0.5, 1.0, 2.0])
def test_the_step_lies_between_the_reciprocals_of_curvature(c):
    """SP1. Loizou et al. 2021. 1/(2cL_i) ≤ γ ≤ 1/(2c mu_i), on the three terms of the family.

    On a 21 x 21 grid (one point is a minimiser), to 1e-9; from b_i along an extreme eigenvector, equal to 1e-12.
    """
    terms, checked, rule = problem("family").A, 0, SPS(c=c)
    for A, term in zip(terms, parts(problem("family")), strict=True):
        (mu, L), Q = np.linalg.eigh(A)
        gamma = np.array([one_step(rule, term, x)[1] for x in GRID if squares(x - term.x_star) > 1e-9])
        checked += len(gamma)
        assert ((gamma * 2 * c * L >= 1 - 1e-9) & (gamma * 2 * c * mu <= 1 + 1e-9)).all()
        for curvature, q in ((mu, Q[:, 0]), (L, Q[:, 1])):
            gamma = one_step(rule, term, term.x_star + q)[1]
            np.testing.assert_allclose(gamma * 2 * c * curvature, 1, rtol=1e-12)
    assert checked == 3 * 441 - 1


@pytest.mark.parametrize(("c", "factor"), [(0.25, -1), (0.5, 0), (1.0, 0.5), (2.0, 0.75)])
def test_on_a_parabola_x_is_multiplied_by_1_less_half_the_reciprocal_of_c(c, factor):
    """Every c > 1/4 converges linearly, and c = 1/4 not at all: 30 steps, exactly, in short binary fractions."""
    x = trajectory(SPS(c=c), parabola(4), np.ones(1), 30).x[:, 0]
    assert np.array_equal(x, factor ** np.arange(31.0))


def test_with_weight_decay_in_the_loss_c_one_half_jumps_for_ever():
    """(x - 1)²/2 + x²/2 = z² + 1/4, z = x - 1/2, is no longer 0 at its infimum. With f_i* = 0, z → -1/(4z) → z."""
    decayed = L2(Function(lambda x: ((x - 1) @ (x - 1) / 2, x - 1)), 1.0)
    x = trajectory(SPS(f_star=0.0), decayed, np.array([2.5]), 20).x[:, 0]
    assert np.array_equal(x, [2.5, 0.375] * 10 + [2.5])


@pytest.mark.parametrize(
    ("name", "c", "bound"),
    [("family", c, bound) for c in (0.5, 1.0) for bound in (0.05, 0.3, 2.0)] + [("family-interpolating", 0.5, np.inf)],
)
def test_with_strong_convexity_the_expected_distance_contracts_to_a_ball(name, c, bound):
    """SP2. Loizou et al. 2021. With mu the mean mu_i, α = min{1/(2cL_max), γ_b}:

    E d_k² ≤ (1 - mu α)^k d_0² + 2 γ_b σ²/(mu α), for k ≤ 7, over all 3^7 paths; to x* itself under interpolation,
    without a bound. On every path d_+² ≤ (1 - mu_i γ) d² + 2γ (f_i(x*) - f_i*), with γ by its definition: a shorter
    step would satisfy its own inequality. Both to 1e-12 (of d_0²).
    """
    total = problem(name)
    terms, x_star = parts(total), total.x_star
    mu_i, L_max = np.array([term.mu for term in terms]), max(term.L for term in terms)
    alpha = min(1 / (2 * c * L_max), bound)
    noise = 0 if total.interpolates else 2 * bound * total.sigma2 / (mu_i.mean() * alpha)
    slack = at_each(terms, [x_star]) - total.s  # s_i = f_i*, from the data and not from the certificate the rule reads
    d0, checked = squares(total.x0 - x_star), 0
    for k, (x, eta, after) in enumerate(paths(SPSMax(c=c, eta_max=bound), terms, total.x0, 7), start=1):
        d, d_after = squares(x - x_star)[:, None], squares(after - x_star)
        e = x[:, None] - total.b
        g = (total.A @ e[..., None])[..., 0]
        gamma = np.minimum((e * g).sum(axis=-1) / 2 / (c * squares(g)), bound)
        assert (d_after - (1 - mu_i * gamma) * d - 2 * gamma * slack <= 1e-12 * d0).all()
        assert (eta <= bound).all()
        assert d_after.mean() <= ((1 - mu_i.mean() * alpha) ** k * d0 + noise) * (1 + 1e-12)
        checked += d_after.size
    assert checked == (3**8 - 3) / 2


@pytest.mark.parametrize("name", ["family", "family-interpolating"])
@pytest.mark.parametrize(("c", "bound"), [(1.0, 0.05), (1.0, 1.0), (2.0, 0.05), (2.0, 1.0)])
def test_with_convexity_the_loss_at_the_mean_iterate_falls_like_one_over_k(name, c, bound):
    """SP3. Loizou et al. 2021 (c = 1); general c derived. With x̄ the mean of x_0, ..., x_(K-1):

    E f(x̄) - f* ≤ (d_0²/K + 2 γ_b σ²) / (α (2 - 1/c)), K ≤ 6, over all paths. The bound is slack; so on every path
    d_+² ≤ d² - 2γ (f_i - f_i(x*)) + (γ/c)(f_i - f_i*). Both to 1e-12 (of d_0²).
    """
    total = problem(name)
    terms, x_star = parts(total), total.x_star
    alpha = min(1 / (2 * c * max(term.L for term in terms)), bound)
    f_at_star = at_each(terms, [x_star])
    d0, sums = squares(total.x0 - x_star), np.zeros((1, 2))
    for K, (x, gamma, after) in enumerate(paths(SPSMax(c=c, eta_max=bound), terms, total.x0, 6), start=1):
        f = at_each(terms, x)
        fall = 2 * gamma * (f - f_at_star) - gamma / c * (f - total.s)
        assert (squares(after - x_star) - squares(x - x_star)[:, None] + fall <= 1e-12 * d0).all()
        sums = sums + x
        h = values(total, sums / K).mean() - total.f_star
        assert h <= (d0 / K + 2 * bound * total.sigma2) / (alpha * (2 - 1 / c)) * (1 + 1e-12)
        sums = sums.repeat(3, axis=0)
    assert len(sums) == 3**6


@pytest.mark.parametrize("c", [0.5, 1.0, 2.0])
def test_under_interpolation_every_path_approaches_by_a_known_amount(c):
    """SP4. From the proofs of Loizou et al. 2021; the identity derived. f_i = (a_i'x - b_i)²/2, all zero at x*:

    d² - d_+² = (4 - 1/c) γ f_i. Rows i = 7t mod 12, 200 steps, those with f_i > 1e-10; relative 1e-8.
    """
    total = problem("least-squares")
    run = trajectory(SPS(c=c, f_star=0.0), row_by_row(total, 7 * np.arange(200) % 12), total.x0, 200)
    large = run.f > 1e-10
    assert large.sum() >= 50, large.sum()
    fall, exact = -np.diff(squares(run.x - total.x_star)), (4 - 1 / c) * run.eta * run.f
    np.testing.assert_allclose(fall[large], exact[large], rtol=1e-8)


@pytest.mark.parametrize("cap", ["small", "1/(2cL_max)"])
@pytest.mark.parametrize("c", ["1", "L_max/(4mu) + 0.1"])
def test_one_step_of_a_bounded_rule_falls_to_a_level_set_by_noise(c, cap):
    """SP5. Loizou et al. 2021, f satisfying Polyak-Łojasiewicz with mu. With α = min{1/(2cL_max), γ_b}:

    E f(x_+) - f* ≤ γ_b (1/α - 2mu + L_max/(2c)) h + L σ² γ_b/(2c), on a 21 x 21 grid; to 1e-12. It contracts for the
    larger c and cap. The bound sees nothing but the cap: that γ ≤ γ_b is exact.
    """
    total = problem("family")
    terms = parts(total)
    mu, L, L_max = total.mu, total.L, max(term.L for term in terms)
    c = 1.0 if c == "1" else L_max / (4 * mu) + 0.1
    bound = 0.02 if cap == "small" else 1 / (2 * c * L_max)
    alpha = min(1 / (2 * c * L_max), bound)
    factor = bound * (1 / alpha - 2 * mu + L_max / (2 * c))
    _, gamma, after = zip(*[next(paths(SPSMax(c=c, eta_max=bound), terms, x, 1)) for x in GRID], strict=True)
    h, h_after = (values(total, np.reshape(x, (-1, 2))) - total.f_star for x in (GRID, after))
    excess = h_after.reshape(-1, 3).mean(axis=1) - factor * h - L * total.sigma2 * bound / (2 * c)
    assert (excess <= 1e-12).all()
    assert np.max(gamma) == bound, "nowhere above the bound, and somewhere at it"
    if c > 1 and cap != "small":
        assert factor < 1


# --- Kaczmarz ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rule", "w"), [(SPS(f_star=0.0), 1), (SPS(c=1.0, f_star=0.0), 3 / 4)], ids=["1/2", "1"])
def test_on_single_rows_it_is_kaczmarz_projection(rule, w):
    """SP6. Strohmer & Vershynin 2009; Needell, Ward, Srebro 2014. c = 1/2 projects onto the row: residual ≤ 1e-13.

    The mean over the 12 rows is exact: d² - E d_+² = w |D⁻¹A e|²/12, D = diag |a_i|, with w = 1 for c = 1/2, and 3/4
    for c = 1; to 1e-12.
    """
    total = problem("least-squares")
    steps = [one_step(rule, term, total.x0) for term in parts(total)]
    x, gamma = np.array([x for x, _ in steps]), np.array([eta for _, eta in steps])
    e = total.x0 - total.x_star
    fall = squares(e) - squares(x - total.x_star).mean()
    exact = (squares(total.A @ e / np.linalg.norm(total.A, axis=1))) / 12
    np.testing.assert_allclose(fall / exact, w, rtol=1e-12)
    np.testing.assert_allclose(gamma * squares(total.A), 1 if w == 1 else 1 / 2, rtol=1e-12)
    if w == 1:
        assert (abs((total.A * x).sum(axis=1) - total.b) <= 1e-13).all()


def test_on_single_rows_the_expected_distance_falls_at_the_rate_of_the_scaled_matrix():
    """SP6. E d_k² ≤ (1 - s_min(D⁻¹A)²/n)^k d_0²: three rows in the plane, k ≤ 7, all 3^7 paths; to 1e-12. Tight."""
    A = design(3, 2)
    total = LeastSquares(A, A @ vec(2, 1.0), np.full(2, 2.0))
    s_min = np.linalg.svd(A / np.linalg.norm(A, axis=1)[:, None])[1][-1]
    levels = paths(SPS(f_star=0.0), parts(total), total.x0, 7)
    d2 = np.array([squares(after - total.x_star).mean() for _, _, after in levels])
    ratio = d2 / ((1 - s_min**2 / 3) ** np.arange(1, 8) * squares(total.x0 - total.x_star))
    assert (ratio <= 1 + 1e-12).all()
    assert ratio.max() >= 0.99


# --- without interpolation -----------------------------------------------------------------------------------------

PULLS = [Function(lambda x, b=b: (squares(x - b) / 2, x - b), f_star=0.0) for b in (1, -1)]
"""Two parabolas with minima 0 at 1 and -1; their mean is least at 0, σ² = 1/2."""


@pytest.mark.parametrize(("rule", "jumps"), [(SPS(), True), (SPS(c=1.0), False)], ids=["1/2", "1"])
def test_without_interpolation_it_does_not_converge(rule, jumps):
    """SP7. Elementary; Loizou et al. 2021. On (x ∓ 1)²/2 from 3, over all 2^12 paths, to 1e-12:

    c = 1/2, the default, jumps between ±1, E x² = 1 for ever; with c = 1, E x² = 4^-k 9 + (1 - 4^-k)/3.
    """
    k = np.arange(1, 13)
    second = [squares(after).mean() for _, _, after in paths(rule, PULLS, np.array([3.0]), 12)]
    exact = np.ones(12) if jumps else 9 / 4.0**k + (1 - 1 / 4.0**k) / 3
    np.testing.assert_allclose(second, exact, rtol=1e-12)


def test_decsps_converges_there():
    """Orvieto et al. 2022. On the same two parabolas γ_k = 1/(2 √(k+1)) on every path, so, to 1e-12,

    E x² is multiplied by (1 - γ_k)², plus γ_k²: over 2^10 paths it falls below half of the 1/3 that c = 1 ends at.
    """
    exact = second = 9.0
    for k, (_, _, after) in enumerate(paths(DecSPS(), PULLS, np.array([3.0]), 10)):
        gamma = 0.5 / np.sqrt(k + 1)
        exact, second = (1 - gamma) ** 2 * exact + gamma**2, squares(after).mean()
        np.testing.assert_allclose(second, exact, rtol=1e-12)
    assert second < 1 / 6


def test_decsps_is_kings_delta_over_a_growing_divisor():
    """Orvieto et al. 2022: s_k = min{α_k, c_(k-1) s_(k-1)}/c_k. Asked the same, c_k s_k is a running minimum: δ_k.

    80 single rows of the noisy least squares at points of our own, and their lower bound ℓ = -1/2; c0 = 3,
    eta_max = 0.2, which binds at first; to 1e-14. And c_k s_k ≥ min{1/(2 L_max), c0 eta_max}, and nearly attains it.
    """
    total = problem("least-squares-noisy")
    samples = [total.sample([i % 12])(vec(5, i) * 2) for i in range(1, 81)]
    dec, delta = (
        trajectory(rule, Answers(*samples, f_star=-0.5), np.zeros(5), 80).eta
        for rule in (DecSPS(c=3.0, eta_max=0.2), PSSDelta(f_star=None, delta_init=0.6))
    )
    assert delta[0] == 0.6
    assert len(np.unique(delta)) >= 4
    np.testing.assert_allclose(dec * 3 * np.sqrt(np.arange(1, 81)), delta, rtol=1e-14)
    assert (np.diff(dec) < 0).all()
    assert 1 <= 2 * squares(total.A).max() * delta.min() < 1.1


def test_with_the_loss_at_the_solution_known_no_path_ever_recedes():
    """Garrigos et al. 2023. d_+² ≤ d² - max{f_i - f_i(x*), 0}²/|g_i|², without interpolation.

    Level sets are convex and contain x*. All 3^6 paths of the noisy family, to 1e-12 d_0²; γ is its formula, to 1e-12.
    SPS recedes there.
    """
    total = problem("family")
    terms = [Level(term, total.x_star) for term in parts(total)]
    checked, d0, level = 0, squares(total.x0 - total.x_star), at_each(terms, [total.x_star])
    for x, gamma, after in paths(SPSPlus(), terms, total.x0, 6):
        gap = np.maximum(at_each(terms, x) - level, 0)
        recession = squares(after - total.x_star) - squares(x - total.x_star)[:, None]
        assert (recession + gamma * gap <= 1e-12 * d0).all()
        g = (total.A @ (x[:, None] - total.b)[..., None])[..., 0]
        np.testing.assert_allclose(gamma, gap / squares(g), rtol=1e-12)
        checked += gap.size
    assert checked == (3**7 - 3) / 2
    assert any(
        (squares(after - total.x_star) > squares(x - total.x_star)[:, None]).any()
        for x, _, after in paths(SPS(c=1.0), parts(total), total.x0, 6)
    )


# --- memory --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("first", "rows"), [(1e-4, 100), (1e3, 20)])
def test_the_smooth_bound_doubles_in_an_epoch_at_most_and_forgets_where_it_started(first, rows):
    """SP8. Loizou et al. 2021; bounds derived by induction. Single rows i = 7k mod 12, τ = 2, c = 1/2:

    γ_(k+1) ≤ 2^(1/12) γ_k, so γ_(k+12) ≤ 2 γ_k; and γ_k ≥ min{1/L_max, 2^((k+1)/12) γ_init}; 240 steps while
    f_i > 1e-12; all to 1e-12.
    """
    total = problem("least-squares")
    rule = SPSSmooth(f_star=0.0, eta_init=first)
    run = trajectory(rule, row_by_row(total, 7 * np.arange(240) % 12), total.x0, 240)
    steps = leading(run.f > 1e-12)
    assert steps >= rows, steps
    eta, k = run.eta[:steps], np.arange(1, steps + 1)
    assert (eta[1:] <= 2 ** (1 / 12) * eta[:-1] * (1 + 1e-12)).all()
    assert (eta[12:] <= 2 * eta[:-12] * (1 + 1e-12)).all()
    floor = np.minimum(1 / squares(total.A).max(), 2 ** (k / 12) * first)
    assert (eta >= floor * (1 - 1e-12)).all()
    assert (eta / floor).min() <= 1 + 1e-12, "attained"


@pytest.mark.parametrize(("beta", "lr"), [(0.9, 10.0), (0.5, 10.0), (0.5, 0.3), (0.0, 10.0)])
def test_momo_steps_to_the_zero_of_the_averaged_model_and_no_path_recedes_under_interpolation(beta, lr):
    """Schaipp et al. 2024. From the whole history: weights w_j ∝ β^(k-j), w_0 = β^k and w_j = (1-β) β^(k-j) after it,

    m = Σ w_j (f_j + ⟨g_j, x - x_j⟩), d = Σ w_j g_j, step -min{lr, m₊/|d|²} d, to 1e-9 (m is a difference of terms up
    to 10³ times larger). m(x*) ≤ 0 as every term has its zero there, so |e_+|² ≤ |e|² - η m. 150 rows, m > 1e-6.
    """
    total = problem("least-squares")
    run = trajectory(MoMo(lr=lr, beta=beta, f_star=0.0), row_by_row(total, 7 * np.arange(150) % 12), total.x0, 150)
    d2, checked = squares(run.x - total.x_star), 0
    for k in range(150):
        w = np.where(np.arange(k + 1) == 0, 1, 1 - beta) * float(beta) ** np.arange(k, -1, -1)
        x, past = run.x[k], slice(k + 1)
        m = w @ (run.f[past] + (run.g[past] * (x - run.x[past])).sum(axis=1))
        d = w @ run.g[past]
        if m > 1e-6:
            checked += 1
            np.testing.assert_allclose(run.eta[k], min(lr, m / (d @ d)), rtol=1e-9)
            np.testing.assert_allclose(run.x[k + 1], x - run.eta[k] * d, rtol=0, atol=1e-14)
            assert d2[k + 1] <= d2[k] - run.eta[k] * m + 1e-12 * d2[0]
    assert checked >= 20, checked


def test_momo_sees_the_gap_of_each_sample_to_its_own_infimum():
    """Schaipp et al. 2024. Infima -1, 0.5 and 2: losses averaged against that of the last sample let paths recede.

    All terms are least at x*: |e| falls in each of 60 steps, while d² > 1e-20 d_0² and beyond.
    """
    total = problem("family-interpolating")
    run = trajectory(MoMo(lr=10.0, beta=0.5), row_by_row(total, np.arange(60) ** 2 % 3), total.x0, 60)
    d2 = squares(run.x - total.x_star)
    assert (d2[1:] <= d2[:-1] + 1e-12 * d2[0]).all()
    assert d2[-1] < 1e-6 * d2[0]


def test_momo_takes_every_sample_into_its_averages_and_goes_on_along_them():
    """Schaipp et al. 2024. β = 1/2, from 0: (f, g) = (1, 1), (1, 0), (-8, 1); f* = 0. By hand, all of it exact:

    ḡ = 1, 1/2, 3/4; F = 1, 1, -7/2; q = 0, 0, -1; m = 1, 1/2, -4; γ = 1, 2, 0; x = -1, -2, -2.
    """
    run = trajectory(MoMo(beta=0.5, lr=10.0), Answers((1.0, [1.0]), (1.0, [0.0]), (-8.0, [1.0])), np.zeros(1), 3)
    assert np.array_equal(run.eta, [1, 2, 0])
    assert np.array_equal(run.x[:, 0], [0, -1, -2, -2])


@pytest.mark.parametrize("rule", [SPS(), SPSMax()])
def test_at_a_kink_c_one_half_jumps_between_two_points_for_ever(rule):
    """On |x| from 0.3: the step 2|x| reflects. c = 1 is there at once."""
    kink = Function(lambda x: (abs(x[0]), np.sign(x)), f_star=0.0)
    assert np.allclose(trajectory(rule, kink, np.array([0.3]), 6).x[:, 0], [0.3, -0.3] * 3 + [0.3], rtol=1e-15)
    assert trajectory(SPS(c=1.0), kink, np.array([0.3]), 1).x[-1] == 0


def test_without_interpolation_the_default_bound_lets_c_one_half_jump_and_a_smaller_one_does_not_converge():
    """The pair (x ∓ 1)²/2 in turn, x* = 0, from 0.5: the default jumps between ±1; a bound of 0.1 ends in ±0.1/1.9."""
    turn = iter(range(10**6))
    pair = Function(lambda x: (float((x - pair.side) @ (x - pair.side)) / 2, x - pair.side), f_star=0.0)
    pair.draw = lambda: setattr(pair, "side", 1.0 if next(turn) % 2 else -1.0)
    assert np.array_equal(np.abs(trajectory(SPSMax(), pair, np.array([0.5]), 8).x[1:, 0]), np.ones(8))
    end = trajectory(SPSMax(eta_max=0.1), pair, np.array([0.5]), 400).x[-2:, 0]
    np.testing.assert_allclose(np.sort(end), [-0.1 / 1.9, 0.1 / 1.9], rtol=1e-12)
