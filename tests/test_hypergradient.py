"""The rate descends by its own derivative: numbers by hand, and what Almeida, Baydin and Retsinas et al. state of it.

Notation: g_t the gradient at x_t, α_t the rate of the step from there, u_t its direction, x_(t+1) = x_t - α_t u_t.
Numbers by hand are exact to 12 digits: rtol = 1e-11.
"""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
from answers import problem
from hypothesis import given, settings
from hypothesis import strategies as st
from runs import Function, Scripted, parabola, trajectory
from scipy.differentiate import derivative

from refopt import (
    NTLR,
    AdaGrad,
    Adam,
    AdamHD,
    AdamHDReleased,
    Box,
    Constrained,
    FiniteSum,
    GradientDescent,
    GradientDescentHD,
    HeavyBall,
    HeavyBallHD,
    HeavyBallVelocity,
    MultiplicativeHD,
    Nesterov,
    NesterovHD,
    NesterovLookAhead,
    NonFiniteError,
    Shuffled,
    WindowHD,
    WindowMultiplicativeHD,
    WindowSumHD,
    descend,
)
from refopt.oracle import Block, Wrapper
from refopt.rules.hypergradient import cosine

E1, ONE = parabola(4.0), np.ones(1)
D2, START = parabola(1.0, 10.0), np.array([10.0, 1.0])
D2.blocks = (Block("x", slice(0, 1), (1,)), Block("y", slice(1, 2), (1,)))
WINDOWS = [WindowHD, WindowSumHD, WindowMultiplicativeHD, NTLR]


def close(mine, hand):
    np.testing.assert_allclose(mine, hand, rtol=1e-11, atol=1e-14)


def rates(rule, oracle, x, steps):
    """The rate (steps,) of every step: `eta` is one per coordinate with Adam, and the base's with a window."""
    return np.array([float(np.max(rule.rate)) for _ in islice(descend(rule, oracle, x), steps)])


# --- numbers by hand -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "alpha", "x"),
    [
        (GradientDescentHD(0.1, 1e-3), [0.1, 0.1096, 0.112834816, 0.113831552962],
         [0.6, 0.33696, 0.184876721603, 0.100697504297]),
        (HeavyBallHD(0.05, 1e-3), [0.05, 0.0628, 0.072944512], [0.8, 0.37296, -0.182281954222]),
        (NesterovHD(0.05, 1e-3), [0.05, 0.068848, 0.0711547385528], [0.62, 0.072520704, -0.317119609594]),
        (AdamHD(0.1, 1e-3), [0.1, 0.103599999747, 0.106774168923], [0.900000007906, 0.796827082042, 0.691339334647]),
        (MultiplicativeHD(0.1, 0.1), [0.1, 0.11, 0.121], [0.6, 0.336, 0.173376]),
    ],
    ids=repr,
)  # fmt: skip
def test_the_first_steps_on_2x2_from_1_are_those_computed_by_hand(rule, alpha, x):
    run = trajectory(rule, E1, ONE, len(x))
    close(run.x[1:, 0], x)
    close(rates(rule, E1, ONE, len(alpha)), alpha)


@pytest.mark.parametrize(
    ("rule", "alpha"),
    [
        (GradientDescentHD(0.05, 1e-4), [0.05, 0.0645, 0.0738303875, 0.0812280232727]),
        (MultiplicativeHD(0.05, 0.1), [0.05, 0.0547753206841, 0.0600987214859, 0.0660496334682]),
        (AdamHD(0.1, 1e-3), [0.1, 0.118899999437, 0.136462128037]),
    ],
    ids=repr,
)
def test_two_coordinates_have_one_rate_by_hand(rule, alpha):
    close(rates(rule, D2, START, len(alpha)), alpha)


def test_adam_hd_as_meant_and_as_released_by_hand():
    """Released, y sees what x said in this step, and x what y said in the last: not in the sum at once."""
    meant = trajectory(AdamHD(0.1, 1e-3), D2, START, 3)
    close(meant.x[2:], [[9.7811326551, 0.781590145186], [9.64478108327, 0.64695750301]])
    rule = AdamHDReleased(0.1, 1e-3)
    released = trajectory(rule, D2, START, 3)
    close(released.x[1:], [[9.90000000316, 0.900000003162], [9.79013018334, 0.781590145186],
                           [9.66154240076, 0.646948628546]])  # fmt: skip
    close(rule.rate[-1], 0.136471123094)
    assert rule.rate[0] < rule.rate[1]
    close(rates(AdamHDReleased(0.1, 1e-3), D2, START, 2), [0.1, 0.118899999437])


def test_the_angles_are_those_computed_by_hand():
    """What the factors 1 + β cos hold, and what the points tell: cosines, and the mean directions of windows of two."""
    run = trajectory(MultiplicativeHD(0.05, 0.1), D2, START, 4)
    close((run.eta[1:] / run.eta[:-1] - 1) / 0.1, [0.955064136811, 0.971861184074, 0.990189447503])
    close(cosine(run.g[1], run.g[0]), 0.955064136811)
    run = trajectory(WindowHD(GradientDescent(0.1), 2, meta_lr=1e-3), E1, ONE, 6)
    close((run.x[:-1:2] - run.x[2::2])[:, 0] / (2 * run.eta[::2]), [3.2, 1.152, 0.41089794048])


def test_released_adam_hd_is_the_rule_where_all_is_one_tensor():
    """To 1e-12: a sum of products in one piece; on mini-batches of four rows of least squares."""
    total = problem("least-squares-noisy")
    meant, released = (
        trajectory(kind(0.01, 1e-3), FiniteSum(total, Shuffled(12, 4)), total.x0, 30).x
        for kind in (AdamHD, AdamHDReleased)
    )
    np.testing.assert_allclose(meant, released, rtol=1e-12, atol=1e-12)
    assert abs(meant - trajectory(Adam(0.01), FiniteSum(total, Shuffled(12, 4)), total.x0, 30).x).max() > 1e-3


@pytest.mark.parametrize(
    ("rule", "alpha"),
    [
        (WindowHD(meta_lr=1e-3), [0.1, 0.1036864, 0.104159754427, 0.104217515902]),
        (WindowSumHD(meta_lr=1e-3), [0.1, 0.1147456, 0.116586181559]),
        (WindowMultiplicativeHD(meta_lr=0.1), [0.1, 0.11, 0.121, 0.1331]),
    ],
    ids=repr,
)
def test_windows_of_two_steps_change_the_rate_as_computed_by_hand(rule, alpha):
    """The rate after window k is that of the steps of window k + 1, and the first two windows share theirs."""
    rule = replace(rule, base=GradientDescent(0.1), period=2)
    run = trajectory(rule, E1, ONE, 2 * len(alpha) + 2)
    close(run.eta[2::2], alpha)
    assert np.array_equal(run.eta[::2], run.eta[1::2])
    close(run.eta[0], 0.1)


# --- HG1: the derivative -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["quadratic", "ridge", "logistic", "softmax"])
@pytest.mark.parametrize("alpha", [0.01, 0.1])
@pytest.mark.parametrize("kind", [GradientDescentHD, HeavyBallHD, NesterovHD, AdamHD, MultiplicativeHD])
def test_the_rate_moves_by_the_derivative_of_the_loss_after_the_last_step(kind, name, alpha):
    """HG1. Almeida et al. 1999; Baydin et al. 2018. α_t - α_(t-1) = -β dφ/dα at α_(t-1), φ(α) = f(x_(t-1) - α u_(t-1)).

    The first three changes, to 1e-6; derivatives of values by SciPy. Multiplied, the change is α β cos. Without
    momentum u = g, to 1e-9.
    """
    oracle, beta = problem(name), 1e-3 if kind is MultiplicativeHD else 1e-7
    run, used = trajectory(kind(alpha, beta), oracle, oracle.x0, 4), rates(kind(alpha, beta), oracle, oracle.x0, 4)
    x = run.x
    for t in range(1, 4):
        u = (x[t - 1] - x[t]) / used[t - 1]
        if kind in (GradientDescentHD, MultiplicativeHD):
            np.testing.assert_allclose(u, run.g[t - 1], rtol=0, atol=1e-9 * abs(u).max())
        phi = np.vectorize(lambda a, x=x[t - 1], u=u: float(oracle.value(x - a * u)))
        slope = derivative(phi, used[t - 1], initial_step=abs(used[t - 1]) / 2).df
        if kind is MultiplicativeHD:
            slope *= used[t - 1] / (np.linalg.norm(u) * np.linalg.norm(oracle(x[t])[1]))
        assert (used[t] - used[t - 1]) / beta == pytest.approx(-slope, rel=1e-6)


def test_at_the_cauchy_step_the_rate_rests():
    """HG1. With the exact step on a quadratic successive gradients are orthogonal: change ≤ 1e-12 β |g_0| |g_1|."""
    oracle = problem("quadratic")
    g = oracle(oracle.x0)[1]
    cauchy = g @ g / (g @ oracle.hvp(oracle.x0, g))
    run = trajectory(GradientDescentHD(cauchy, 1e-3), oracle, oracle.x0, 2)
    size = 1e-3 * np.linalg.norm(run.g[0]) * np.linalg.norm(run.g[1])
    assert size > 1e-3
    assert abs(run.eta[1] - cauchy) <= 1e-12 * size + 1e-15


# --- HG2: bounds ---------------------------------------------------------------------------------------------------


def test_the_bounds_of_the_multiplicative_rate_are_attained():
    """HG2. By gradients that always agree, and by gradients that always turn round. Windows hold three steps each."""
    same, turning = Scripted(np.ones((24, 2))), Scripted([[(-1.0) ** t] * 2 for t in range(24)])
    by_three = Scripted([[(-1.0) ** (t // 3)] * 2 for t in range(24)])
    close(rates(MultiplicativeHD(0.5, 0.25), same, np.zeros(2), 9), 0.5 * 1.25 ** np.arange(9))
    close(rates(MultiplicativeHD(0.5, 0.25), turning, np.zeros(2), 9), 0.5 * 0.75 ** np.arange(9))
    window = WindowMultiplicativeHD(GradientDescent(0.5), 3, meta_lr=0.25)
    changes = np.maximum(np.arange(24) // 3 - 1, 0)
    same.drawn = 0
    close(rates(window, same, np.zeros(2), 24), 0.5 * 1.25**changes)
    close(rates(window, by_three, np.zeros(2), 24), 0.5 * 0.75**changes)


def test_the_additive_rate_stays_within_the_sum_of_products_of_norms():
    """HG2. Baydin et al. 2018. |α_t| ≤ |α_0| + β Σ |g_s| |g_(s-1)| ≤ |α_0| + β t M², M = max |g|; 50 steps.

    The first bound is nearly reached (0.995), as gradients hardly turn.
    """
    oracle = problem("logistic")
    run = trajectory(GradientDescentHD(0.5, 1e-2), oracle, oracle.x0, 50)
    norm = np.linalg.norm(run.g, axis=1)
    bound = 0.5 + 1e-2 * np.cumsum(norm[1:] * norm[:-1])
    assert len(bound) == 49
    assert (abs(run.eta[1:]) <= bound * (1 + 1e-15)).all()
    assert (bound <= 0.5 + 1e-2 * np.arange(1, 50) * norm.max() ** 2).all()
    assert run.eta[-1] >= 0.99 * bound[-1]


@pytest.mark.parametrize("period", [1, 3])
def test_where_the_gradient_is_constant_the_bound_of_the_additive_rate_is_attained(period):
    """HG2. |g|² = 5: a step, or a window from the second on, adds 5β; a window of K, with sums for means, 5 K² β."""
    constant = np.tile([1.0, -2], (5 * period, 1))
    if period == 1:
        close(rates(GradientDescentHD(0.5, 1e-2), Scripted(constant), np.zeros(2), 5), 0.5 + 0.05 * np.arange(5))
    for kind, per_window in [(WindowHD, 0.05), (WindowSumHD, 0.05 * period**2)]:
        rule = kind(GradientDescent(0.5), period, meta_lr=1e-2)
        alpha = rates(rule, Scripted(constant), np.zeros(2), 5 * period)
        close(alpha, 0.5 + per_window * np.repeat([0, 0, 1, 2, 3], period))


class Louder(Wrapper):
    """128 f."""

    def __call__(self, x):
        f, g = self.oracle(x)
        return 128 * f, 128 * g


@pytest.mark.parametrize("beta", [0.1, 0.5])
def test_the_multiplicative_rate_does_not_see_the_scale_of_the_loss(beta):
    """HG2. On 128 f, with α_0/128: the same points bit for bit, 50 steps, whole and in windows."""
    oracle = problem("logistic")
    for make in (lambda lr: MultiplicativeHD(lr, beta),
                 lambda lr: WindowMultiplicativeHD(GradientDescent(lr), 3, meta_lr=beta)):  # fmt: skip
        run = trajectory(make(0.5), oracle, oracle.x0, 50)
        other = trajectory(make(0.5 / 128), Louder(oracle), oracle.x0, 50)
        assert np.array_equal(run.x, other.x)
        assert np.array_equal(run.eta, 128 * other.eta)
        assert len(set(run.eta)) >= 16


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0, 0.99))
def test_the_multiplicative_rate_stays_between_its_powers(seed, beta):
    """HG2. α_0 (1 - β)^t ≤ α_t ≤ α_0 (1 + β)^t, per step and per window, whatever the gradients; 1e-12 of rounding."""
    oracle = Scripted(np.random.default_rng(seed).normal(0.5, 1, (30, 3)))
    for rule, t in [
        (MultiplicativeHD(0.5, beta), np.arange(30)),
        (WindowMultiplicativeHD(GradientDescent(0.5), 3, meta_lr=beta), np.maximum(np.arange(30) // 3 - 1, 0)),
    ]:
        oracle.drawn = 0
        alpha = rates(rule, oracle, np.zeros(3), 30)
        assert (alpha <= 0.5 * (1 + beta) ** t * (1 + 1e-12)).all()
        assert (alpha >= 0.5 * (1 - beta) ** t * (1 - 1e-12)).all()


# --- HG3: one variable ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.01, 0.25, 0.3])
def test_on_a_parabola_the_rate_rises_below_its_inverse_curvature_falls_above_and_rests_there(alpha):
    """HG3. α_t - α_(t-1) = β λ² x² (1 - α_(t-1) λ), x = x_(t-1), to 1e-13; the signs exactly, while it is not rounding.

    Below 1/λ it rises, above it falls, and from 1/λ, whose first step solves the problem, it does not move.
    """
    for steps in (3, 30):
        run = trajectory(GradientDescentHD(alpha, 1e-3), E1, 5 * ONE, steps)
        change = np.diff(run.eta)
        expected = 1e-3 * 16 * run.x[:-2, 0] ** 2 * (1 - run.eta[:-1] * 4)
        assert len(change) == steps - 1
        assert abs(change - expected).max() <= 1e-13
        assert abs(run.x[1:, 0] - (1 - run.eta * 4) * run.x[:-1, 0]).max() <= 1e-13
    if alpha == 0.25:
        assert (change == 0).all()
        assert (run.x[1:] == 0).all()
    else:
        live = abs(expected) > 1e-15
        assert live[:8].all()
        assert (np.sign(change[live]) == np.sign(0.25 - run.eta[:-1][live])).all()


# --- with nothing learned they are the rules they come from --------------------------------------------------------


@pytest.mark.parametrize(
    ("hyper", "plain"),
    [
        (GradientDescentHD(0.01, 0.0), GradientDescent(0.01)), (HeavyBallHD(0.01, 0.0), HeavyBall(0.01)),
        (NesterovHD(0.01, 0.0), Nesterov(0.01)), (MultiplicativeHD(0.01, 0.0), GradientDescent(0.01)),
    ],
    ids=repr,
)  # fmt: skip
def test_with_meta_rate_0_nothing_is_left_but_the_base(hyper, plain):
    """HG1 with β = 0. Bit for bit, 20 steps."""
    oracle = problem("logistic")
    assert np.array_equal(trajectory(hyper, oracle, oracle.x0, 20).x, trajectory(plain, oracle, oracle.x0, 20).x)


def test_adam_hd_with_meta_rate_0_is_adam_but_for_the_place_of_eps():
    """HG1 with β = 0. ε stands beside √v in one, beside √(v / (1 - β₂ᵗ)) in the other: with ε = 0 they are the same.

    To rounding, 20 steps. With ε = 0.01 and g = 1 the first step is -lr √0.001 / (√0.001 + 0.01).
    """
    oracle = problem("logistic")
    a, b = (trajectory(rule, oracle, oracle.x0, 20) for rule in (AdamHD(0.01, 0.0, eps=0.0), Adam(0.01, eps=0.0)))
    np.testing.assert_allclose(a.x, b.x, rtol=1e-12, atol=1e-13)
    assert abs(trajectory(AdamHD(0.01, 0.0, eps=1e-2), oracle, oracle.x0, 20).x
               - trajectory(Adam(0.01, eps=1e-2), oracle, oracle.x0, 20).x).max() > 1e-3  # fmt: skip
    first = trajectory(AdamHD(0.01, 0.0, eps=1e-2), Scripted(np.ones((1, 1))), np.zeros(1), 1).x[1, 0]
    assert first == pytest.approx(-0.01 * 0.001**0.5 / (0.001**0.5 + 0.01), rel=1e-13)


def test_eta_of_adam_hd_is_what_moves_the_average_gradient():
    """HG1 with any β. d = -eta m, one number a coordinate; 0 before the first step."""
    oracle, rule = problem("logistic"), AdamHD(0.01, 1e-3)
    x = oracle.x0
    rule.start(x, oracle)
    assert rule.eta == 0
    for _ in range(5):
        d = rule.step(x, oracle)
        np.testing.assert_allclose(d, -rule.eta * rule.m, rtol=1e-14)
        x = x + d
    assert rule.rate != 0.01


BASES = [GradientDescent(0.01), HeavyBall(0.01), Nesterov(0.01), AdaGrad(0.01), Adam(0.01)]
every_base = pytest.mark.parametrize("base", BASES, ids=lambda base: type(base).__name__)


@every_base
def test_a_window_whose_rate_stays_takes_the_steps_of_its_base(base):
    """Bit for bit, in float32 and float64, on mini-batches; and `eta` is what the base reports."""
    for dtype in (np.float32, np.float64):
        total = problem("least-squares-noisy").to(np, dtype)
        window, plain = (
            trajectory(rule, FiniteSum(total, Shuffled(12, 4)), total.x0, 12)
            for rule in (WindowHD(base, 2, meta_lr=0.0), base)
        )
        assert np.array_equal(window.x, plain.x)
        assert np.array_equal(window.eta, plain.eta.astype(dtype))


# --- windows around any base ---------------------------------------------------------------------------------------


@every_base
@pytest.mark.parametrize("kind", WINDOWS)
def test_a_window_measures_the_steps_of_any_base_and_sets_its_rate(kind, base):
    """The rates of a run, recomputed from its points alone: windows of 3 steps, S = (z - x)/α."""
    oracle, rule = problem("logistic"), kind(base, 3)
    path, used = [oracle.x0], []
    for step in islice(descend(rule, oracle, oracle.x0), 45):
        path.append(step.x.copy())
        used.append(float(rule.rate))
    alpha, old = 0.01, np.zeros_like(oracle.x0)
    for k in range(14):
        assert used[3 * k : 3 * k + 3] == pytest.approx([alpha] * 3, rel=1e-9)
        s = (path[3 * k] - path[3 * k + 3]) / alpha
        cos = s @ old / (np.linalg.norm(s) * np.linalg.norm(old)) if old.any() else 0.0
        if kind is WindowHD:
            alpha += 1e-5 * (s / 3) @ (old / 3)
        elif kind is WindowSumHD:
            alpha += 1e-5 * s @ old
        elif kind is WindowMultiplicativeHD:
            alpha *= 1 + 0.1 * cos
        elif old @ (old - s) > 0:
            alpha *= min(1 + 0.2 * (old @ s) / (old @ (old - s)), 100)
        old = s
    assert used[42:] == pytest.approx([alpha] * 3, rel=1e-9)
    assert used[-1] != 0.01


@pytest.mark.parametrize("kind", WINDOWS)
def test_windows_of_three_steps_around_any_base_keep_the_contract(kind):
    """The base's state is part of the state, under its own names; a run goes on bit for bit elsewhere, also amid a
    window; the given base is never touched, and float32 stays float32."""
    total = problem("least-squares-noisy").to(np, np.float32)
    for base in BASES:
        rule, before = kind(base, 3), dict(vars(base))
        oracle = FiniteSum(total, Shuffled(12, 4))
        steps = descend(rule, oracle, total.x0)
        x = [step.x.copy() for step in islice(steps, 8)][-1]
        state = rule.state()
        rest = [step.x.copy() for step in islice(steps, 7)]
        again = FiniteSum(total, Shuffled(12, 4))
        again.seek(8)
        resumed = descend(kind(base, 3), again, x, state=state, taken=8)
        assert np.array_equal(rest, [step.x.copy() for step in islice(resumed, 7)])
        assert vars(base) == before
        assert rule.rate.dtype == rest[-1].dtype == np.float32
        names = {name.removeprefix("inner.") for name in state if name.startswith("inner.")}
        plain = replace(base)
        plain.start(total.x0, oracle)
        assert names == set(plain.state())
        assert all("." not in name for name in set(state) - {f"inner.{name}" for name in names})


def test_a_bad_state_leaves_the_state_of_the_base_alone():
    oracle, rule = problem("logistic"), WindowHD(HeavyBall(0.01), 2)
    list(islice(descend(rule, oracle, oracle.x0), 3))
    before = rule.state()
    with pytest.raises(ValueError, match="not one of WindowHD"):
        rule.load({**before, "inner.m": np.zeros(2)})
    with pytest.raises(ValueError, match=r".+"):
        rule.load({**{name: 0 * value for name, value in before.items()}, "y": np.full(len(oracle.x0), "no number")})
    assert all(np.array_equal(value, before[name]) for name, value in rule.state().items())


@pytest.mark.parametrize("kind", WINDOWS)
def test_an_answer_refused_at_the_end_of_a_window_is_asked_again(kind):
    """The rate changes once, with the step that is taken: as if the bad sample had never been drawn."""
    g = np.random.default_rng(0).standard_normal((12, 2)) + 2
    bad = np.insert(g, [2, 4, 6], np.nan, axis=0)
    rule, other = kind(GradientDescent(0.01), 2), kind(GradientDescent(0.01), 2)
    good = [step.x.copy() for step in islice(descend(rule, Scripted(g), np.zeros(2)), 12)]
    skipped = [step.x.copy() for step in islice(descend(other, Scripted(bad), np.zeros(2), nonfinite="skip"), 15)]
    assert np.array_equal(good, np.delete(skipped, [2, 5, 8], axis=0))
    steps = descend(replace(other), Scripted(bad), np.zeros(2))
    next(steps), next(steps)
    with pytest.raises(NonFiniteError):
        next(steps)


@pytest.mark.parametrize(("share", "per_epoch", "K"), [(1 / 3, 390, 130), (0.2, 390, 78), (0.33, 390, 128), (0.1, 5, 1),
                                                       (1.0, None, 1), (1 / 3, None, 1)])  # fmt: skip
@pytest.mark.parametrize("kind", WINDOWS)
def test_the_window_is_a_share_of_an_epoch_rounded_down_and_at_least_a_step(kind, share, per_epoch, K):
    oracle = Scripted(np.ones((1, 2)))
    oracle.steps_per_epoch = per_epoch
    rule = kind(share=share)
    rule.start(np.zeros(2), oracle)
    assert rule.K == K
    rule = kind(period=7, share=share)
    rule.start(np.zeros(2), oracle)
    assert rule.K == 7


@pytest.mark.parametrize("kind", WINDOWS)
@pytest.mark.parametrize("base", [GradientDescent(lambda t: 0.1), None, 0.1, GradientDescent, HeavyBallVelocity(0.01),
                                  NesterovLookAhead(0.01), GradientDescentHD()])  # fmt: skip
def test_a_base_that_does_not_move_by_a_number_times_a_direction_is_refused(kind, base):
    """A schedule, what is no rule, and rules that remember old rates or find their own."""
    with pytest.raises(ValueError, match=r"^base must be a rule that moves by lr, a number, times a direction, "):
        kind(base)


# --- edges ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [GradientDescentHD, HeavyBallHD, NesterovHD, AdamHD, MultiplicativeHD, WindowHD,
                                  WindowSumHD, WindowMultiplicativeHD])  # fmt: skip
def test_zero_gradients_change_no_rate(kind):
    rule = kind()
    run = trajectory(rule, Scripted(np.zeros((6, 2))), np.ones(2), 6)
    assert (run.x == 1).all()
    assert rule.rate == (rule.base.lr if hasattr(rule, "base") else rule.lr)


def test_a_large_meta_rate_sends_the_rate_below_0_and_uphill_and_the_multiplicative_one_stays_positive():
    """λ = 4 from α = 0.4: the gradient turns, 4 and -2.4; -9.6 β = -0.48. Then the rate is -0.08, and f rises."""
    run = trajectory(GradientDescentHD(0.4, 0.05), E1, ONE, 2)
    close(run.eta, [0.4, -0.08])
    assert abs(run.x[2]) > abs(run.x[1])
    assert (trajectory(MultiplicativeHD(0.4, 0.99), E1, ONE, 50).eta > 0).all()


def test_a_window_of_one_step_is_the_rule_one_step_late():
    """HG1. The rate of step t knows the gradients up to t - 1: for the first two steps nothing."""
    late = trajectory(WindowHD(GradientDescent(0.1), 1, meta_lr=1e-3), E1, ONE, 3).eta
    close(late, [0.1, 0.1, 0.1 + 1e-3 * 4 * 2.4])
    close(trajectory(GradientDescentHD(0.1, 1e-3), E1, ONE, 2).eta, late[1:])


def test_late_in_training_the_additive_rate_is_often_slightly_negative_and_the_multiplicative_one_never():
    """On mini-batches, where successive gradients are opposed: logistic regression, 800 steps from α_0 = 0.1."""
    total = problem("logistic")
    additive, multiplicative = (
        rates(rule, FiniteSum(total, Shuffled(20, 4)), total.x0, 800)
        for rule in (GradientDescentHD(0.1, 0.02), MultiplicativeHD(0.1, 0.02))
    )
    assert (additive[:400] > 0).all()
    assert (additive[400:] < 0).mean() > 0.3
    assert additive.min() > -additive.max()
    assert (multiplicative > 0).all()


@pytest.mark.parametrize("base", BASES, ids=lambda base: type(base).__name__)
def test_sums_for_means_are_a_meta_rate_k_squared_times_as_large(base):
    """(12) and (13): bit for bit with K = 4, a power of two."""
    oracle = problem("logistic")
    means, sums = (trajectory(WindowHD(base, 4, meta_lr=16e-5), oracle, oracle.x0, 20),
                   trajectory(WindowSumHD(base, 4, meta_lr=1e-5), oracle, oracle.x0, 20))  # fmt: skip
    assert np.array_equal(means.x, sums.x)
    assert len(np.unique(means.eta, axis=0)) >= 4


@pytest.mark.parametrize("rule", [GradientDescentHD(1e-6, 1.0), MultiplicativeHD(1e-6), NTLR(GradientDescent(1e-6)),
                                  WindowHD(GradientDescent(1e-6), 1, meta_lr=1.0)], ids=repr)  # fmt: skip
def test_a_move_lost_in_the_rounding_of_x_tells_nothing(rule):
    """α g = 1e-8 at x = 1: in float32 no move, and the rate stays; in float64 it grows. (NTLR keeps it: f is flat.)"""
    for dtype, lost in [(np.float32, True), (np.float64, isinstance(rule, NTLR))]:
        run = trajectory(rule, Function(lambda x: (0.01 * x[0], [0.01])), np.ones(1, dtype), 4)
        assert (run.eta == dtype(1e-6)).all() == lost
        assert (run.x == 1).all() == (dtype is np.float32)


def test_at_a_constrained_solution_the_rate_rests():
    """HG1. There gradients agree for ever, but x does not move; with g in place of the move, α were 0.1 · 1.1^200."""
    oracle = Constrained(parabola(4.0), Box(1.0, 2.0))
    run = trajectory(MultiplicativeHD(0.1, 0.1), oracle, 1.5 * ONE, 200)
    assert run.x[-1] == 1
    assert run.eta[-1] < 0.12
    run = trajectory(GradientDescentHD(0.1, 1e-3), oracle, 1.5 * ONE, 200)
    assert run.eta[-1] == run.eta[10]
