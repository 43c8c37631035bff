"""Rules with a rate for each coordinate do what Duchi, Zeiler, Kingma and Reddi proved of them, and no more.

Notation: g_t the gradients, v the sum or average of their squares, w the largest of these, d_t the displacements,
rho, b1, b2 the weights of the averages. Where an identity is exact but for rounding, 1e-12 is some thousand ulps.
"""

from dataclasses import fields
from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from runs import Function, Scripted, parabola, trajectory

from refopt import (
    PROBLEMS,
    AdaDelta,
    AdaGrad,
    Adam,
    AMSGrad,
    AMSGradCorrected,
    AMSGradOriginal,
    Box,
    Constrained,
    CUSAdam,
    RMSProp,
    RMSPropCentered,
    RMSPropMomentum,
    arrays,
    problems,
)

AMSGRADS = [AMSGradOriginal, AMSGrad, AMSGradCorrected]
SCALED = [AdaGrad, RMSProp, RMSPropMomentum, RMSPropCentered, Adam, *AMSGRADS, CUSAdam]  # all that have a lr
FAMILY = [*SCALED, AdaDelta]
SQUARES = np.arange(1, 1001) ** 2.0  # cos of them: a sequence without a pattern

every_rule = pytest.mark.parametrize("kind", FAMILY)
every_scaled_rule = pytest.mark.parametrize("kind", SCALED)
sizes = st.floats(1e-6, 1e3)  # their squares are far from underflow
gradients = hnp.arrays(float, (12, 2), elements=st.just(0.0) | sizes | sizes.map(lambda size: -size))


def displacements(rule, g):
    """d_t (T, n) on the scripted gradients g (T, n), or (T,), from x = 0; the rates (T, n)."""
    g = np.asarray(g, float).reshape(len(g), -1)
    oracle, x = Scripted(g), np.zeros(g.shape[1])
    rule.start(x, oracle)
    rows = []
    for _ in g:
        oracle.draw()
        rows.append((rule.step(x, oracle).copy(), np.copy(rule.eta)))
    d, eta = map(np.array, zip(*rows, strict=True))
    return d, eta


# --- numbers by hand -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "iterates"),
    [
        (AdaGrad(0.1), [0.900000000003, 0.833103526841, 0.780456181352]),
        (AdaDelta(), [0.996837723328, 0.993598167996, 0.990309036372]),
        (AdaDelta(rho=0.95), [0.99552786684, 0.991008663307, 0.986464436705]),
        (RMSProp(), [0.9000000025, 0.832917964323, 0.779982268874]),
        (RMSPropMomentum(mu=0.0), [0.9000000025, 0.832917964323, 0.779982268874]),
        (Adam(0.1), [0.90000000025, 0.800412228182, 0.701586272167]),
        (AMSGrad(0.1), [0.90000000025, 0.800412228182, 0.701586272167]),
        (AMSGradOriginal(0.1), [0.683772258983, 0.270206018214, -0.162141411132]),
        (CUSAdam(0.1), [0.990000000025, 0.971005217275, 0.943935021368]),
    ],
)
def test_three_steps_by_hand_on_one_parabola(rule, iterates):
    """f = 2x² from 1, with the default eps; 12 digits are given."""
    x = trajectory(rule, parabola(4.0), np.ones(1), 3).x[1:, 0]
    np.testing.assert_allclose(x, iterates, rtol=1e-12, atol=0.6e-12)


def test_adam_by_hand_on_two_coordinates_takes_equal_steps_along_both():
    """f = (x² + 10y²)/2 from (10, 1)."""
    x = trajectory(Adam(0.1), parabola(1.0, 10.0), np.array([10.0, 1.0]), 2).x[1:]
    np.testing.assert_allclose(x, [[9.9000000001, 0.9000000001], [9.80002745916, 0.800412227875]], rtol=1e-12)


def test_the_defaults_are_those_of_pytorch():
    assert AdaGrad() == AdaGrad(lr=0.01, eps=1e-10, eps_root=0.0, v_init=0.0)
    assert RMSProp() == RMSProp(lr=0.01, eps=1e-8, eps_root=0.0, rho=0.99)
    assert AdaDelta() == AdaDelta(lr=1.0, eps=0.0, eps_root=1e-6, rho=0.9, eps_u=1e-6)
    assert Adam() == Adam(lr=1e-3, eps=1e-8, eps_root=0.0, beta1=0.9, beta2=0.999)
    for kind in (*AMSGRADS, CUSAdam):
        assert [(f.name, f.default) for f in fields(kind)] == [(f.name, f.default) for f in fields(Adam)]


def test_the_two_steps_of_the_three_amsgrads_after_a_large_gradient_by_hand():
    """g = 4, 1, b1 = 0, b2 = 1/2, lr = 1: v = 8, 4.5. The second step divides by the root of 8; of 8/(3/4); of 16."""
    for kind, squares in zip(AMSGRADS, ([8, 8], [16, 32 / 3], [16, 16]), strict=True):
        d, _ = displacements(kind(1.0, 0.0, beta1=0.0, beta2=0.5), [4, 1])
        np.testing.assert_allclose(d[:, 0], [-4 / sqrt(squares[0]), -1 / sqrt(squares[1])], rtol=1e-15)


def test_the_first_average_of_the_amsgrads_keeps_its_bias_only_in_the_original():
    """g = 1, 1: b1 = 1/2 makes m = 1/2, 3/4; b2 = 0 makes v = 1."""
    for kind, expected in zip(AMSGRADS, ([0.5, 0.75], [1, 1], [1, 1]), strict=True):
        assert displacements(kind(1.0, 0.0, beta1=0.5, beta2=0.0), [1, 1])[0][:, 0].tolist() == [-e for e in expected]


def test_momentum_after_the_division_by_hand():
    """g = 3, 4, rho = 0 divides each gradient by itself: b = 1, 1.5, 1.75 with mu = 1/2, and keeps mu of each step."""
    rule = RMSPropMomentum(0.5, 0.0, rho=0.0, mu=lambda t: [0.9, 0.5, 0.25][t])
    assert displacements(rule, [3, 4, 5])[0][:, 0].tolist() == [-0.5, -0.75, -0.6875]


def test_constants_stand_inside_and_outside_the_root_as_they_are_called():
    """g = 4, lr = 1. AdaGrad starts from v_init."""
    for rule, divisor in [
        (AdaGrad(1.0, 0.5, 9.0), 5.5),
        (AdaGrad(1.0, 0.5, 0.0, 33.0), 7.5),
        (RMSProp(1.0, 0.5, 9.0, 0.0), 5.5),
        (Adam(1.0, 0.5, 9.0), 5.5),
        (AMSGrad(1.0, 0.5, 9.0), 5.5),
        (AMSGradCorrected(1.0, 0.5, 9.0), 5.5),
        (AMSGradOriginal(1.0, 0.5, 9.0, 0.0, 0.0), 5.5),
        (RMSPropMomentum(1.0, 0.5, 9.0, 0.0), 5.5),
        (RMSPropCentered(1.0, 0.5, 9.0, 0.75), sqrt(3 + 9) + 0.5),  # v - m² = 4 - 1
    ]:
        d, eta = displacements(rule, [4])
        assert abs(d[0, 0] + 4 / divisor) <= 1e-15
        assert abs(eta[0, 0] - 1 / divisor) <= 1e-15


# --- what eta reports ----------------------------------------------------------------------------------------------


@every_rule
def test_the_displacement_is_eta_times_the_gradient_or_its_average(kind):
    """For Adam and its kin that is m, corrected or not; with a schedule, it is the rate of this very step."""
    rule = kind(lambda t: 0.5 / (t + 1))
    g = np.stack([np.cos(SQUARES[:20]), 10 * np.sin(SQUARES[:20])], axis=1)
    d, eta = displacements(rule, g)
    along = g
    if isinstance(rule, Adam):
        along = np.array([sum(0.1 * 0.9 ** (t - s) * g[s] for s in range(t + 1)) for t in range(20)])
    if kind in (Adam, AMSGrad, AMSGradCorrected):
        along = along / (1 - 0.9 ** np.arange(1, 21))[:, None]
    if kind is RMSPropMomentum:
        b = np.zeros(2)
        for t in range(20):
            b = 0.9 * b + g[t] * eta[t] * 2 * (t + 1)  # eta without its lr
            np.testing.assert_allclose(d[t], -0.5 / (t + 1) * b, rtol=1e-12)
    else:
        np.testing.assert_allclose(d, -eta * along, rtol=1e-12)


@every_rule
def test_eta_is_asked_for_without_effect_and_survives_a_restart(kind):
    rule, g = kind(), np.ones((3, 2))
    displacements(rule, g)
    before, eta = {name: np.copy(value) for name, value in rule.state().items()}, rule.eta
    assert np.array_equal(rule.eta, eta)
    assert all(np.array_equal(value, before[name]) for name, value in rule.state().items())
    other = kind()
    other.start(np.zeros(2), Scripted(g))
    assert other.eta == 0.0
    other.load(rule.state())
    assert np.array_equal(other.eta, eta)


@every_rule
def test_a_vector_longer_than_a_tile_moves_as_its_parts_do(kind, monkeypatch):
    monkeypatch.setattr(arrays, "TILE", 3)
    g = np.cos(np.outer(SQUARES[:5], np.arange(1.0, 9)))
    d, eta = displacements(kind(), g)
    monkeypatch.undo()
    whole = displacements(kind(), g)
    assert np.array_equal(d, whole[0])
    assert np.array_equal(eta, whole[1])


# --- zeros ---------------------------------------------------------------------------------------------------------


@every_rule
def test_at_the_solution_nothing_moves_even_without_eps(kind):
    """0/0 is 0: x stays, rates are 0 where there is no constant, and everything stays finite. Warnings are errors."""
    constants = {field.name: 0.0 for field in fields(kind) if field.name in ("eps", "eps_root")}
    rule = kind(**constants)
    d, eta = displacements(rule, np.zeros((3, 2)))
    assert not d.any()
    assert not eta.any()
    assert all(np.isfinite(value).all() for value in rule.state().values())


@every_scaled_rule
def test_a_gradient_whose_square_is_lost_does_not_make_a_step_infinite(kind):
    """1e-30 squared is 0 in float32; without eps the rate is 0 then, and with it the step is less than 1e-20."""
    g = np.float32([1e-30])
    for eps in (0.0, 1e-8):
        rule, oracle = kind(0.1, eps), Function(lambda x: (0.0, g))
        x = np.zeros(1, np.float32)
        rule.start(x, oracle)
        assert abs(rule.step(x, oracle)[0]) <= 1e-20


# --- AdaGrad -------------------------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(gradients)
def test_adagrad_lemma_for_any_gradients(g):
    """AD1: sum_t g_t²/sqrt(v_t) <= 2 sqrt(v_T), and the rates never grow. Duchi, Hazan, Singer 2011, Lemma 4."""
    d, eta = displacements(AdaGrad(1.0, 0.0), g)
    assert (-(d * g).sum(axis=0) <= 2 * np.sqrt((g * g).sum(axis=0)) * (1 + 1e-12)).all()
    moved = np.cumsum(g * g, axis=0) > 0  # before its first gradient a coordinate has rate 0
    assert (np.diff(eta, axis=0)[moved[:-1]] <= 0).all()


@pytest.mark.parametrize(("g", "tightness"), [(np.ones(10_000), 0.99), (SQUARES[:100], 0.97)])
def test_adagrad_lemma_is_nearly_met_by_constants_and_by_growing_gradients(g, tightness):
    """AD1: of T constants, by 1 - 0.73/sqrt(T)."""
    d, _ = displacements(AdaGrad(1.0, 0.0), g)
    assert tightness <= -(d[:, 0] @ g) / (2 * sqrt(g @ g)) <= 1


def adversary(scales):
    """Linear losses whose gradients are the signs of x, each times its scale."""
    scales = np.array(scales)
    return Function(lambda x: (np.sign(x) @ (scales * x), scales * np.where(x >= 0, 1.0, -1.0)))


def regret(x, g):
    """sum_t <g_t, x_t> less its least value at one x in [-1, 1]^n."""
    return (g * x[:-1]).sum() + np.abs(g.sum(axis=0)).sum()


def test_adagrad_regret_on_a_box():
    """AD1: at most sqrt(2) D sum_i sqrt(sum_t g_ti²) with lr = D/sqrt(2), D = 2. Duchi, Hazan, Singer 2011, Thm 5."""
    run = trajectory(AdaGrad(sqrt(2), 0.0), Constrained(adversary([1, 10, 0.1]), Box(-1, 1)), np.ones(3), 2000)
    bound = 2 * sqrt(2) * np.sqrt((run.g**2).sum(axis=0)).sum()
    assert 0.3 * bound <= regret(run.x, run.g) <= bound


def test_adagrad_regret_and_average_iterate_in_one_dimension():
    """AD2, whose scalar rule is AdaGrad here: D = 10, lr = D/sqrt(2), mean |a x - b| on [-5, 5], every t <= 1000."""
    a = np.cos(1.7 * np.arange(1, 16))
    b = a * 0.8 + 0.3 * np.cos(5.0 * np.arange(15))

    def lad(x):
        r = a * x[0] - b
        return np.abs(r).mean(), np.array([(a * np.sign(r)).mean()])

    kinks = b / a
    f_star = min(lad([kink])[0] for kink in kinks)
    x_star = min(kinks, key=lambda kink: lad([kink])[0])
    assert abs(x_star) < 5
    run = trajectory(AdaGrad(10 / sqrt(2), 0.0), Constrained(Function(lad), Box(-5, 5)), np.array([-5.0]), 1000)
    t, G = np.arange(1, 1001), np.abs(a).mean()
    means = np.cumsum(run.x[:-1, 0]) / t
    assert all(lad([mean])[0] - f_star <= sqrt(2) * 10 * G / sqrt(k) for mean, k in zip(means, t, strict=True))
    linear = np.cumsum(run.g[:, 0] * (run.x[:-1, 0] - x_star))
    assert (linear <= sqrt(2) * 10 * np.sqrt(np.cumsum(run.g[:, 0] ** 2))).all()
    assert abs(displacements(AdaGrad(10 / sqrt(2), 0.0), [2.0] * 100)[1][-1, 0] - 10 / (20 * sqrt(2))) <= 1e-14


@every_rule
def test_without_eps_the_scale_of_each_coordinate_does_not_matter(kind):
    """AD1, AD10: gradient coordinates times powers of two, and the displacements are the same bit for bit.

    One accumulator for all coordinates, or a constant left under the root, would show.
    """
    g = np.stack([np.cos(SQUARES[:50]), np.sin(SQUARES[:50])], axis=1)
    d, _ = displacements(kind(0.1, 0.0, 0.0), g)
    for factors in ([1, 2.0**20], [2.0**-30, 1], [2.0**20, 2.0**20]):
        assert np.array_equal(displacements(kind(0.1, 0.0, 0.0), g * factors)[0], d)


@every_scaled_rule
def test_eps_spoils_the_scale_of_the_loss(kind):
    """AD10: with eps = 1e-8, 2^-30 times the loss changes the path by 1e-3 of it at least. 50 steps, IV's quadratic."""
    problem = problems.quadratic_exact()
    small = Function(lambda x: tuple(2.0**-30 * part for part in problem(x)))
    for eps, least, most in ((0.0, 0.0, 0.0), (1e-8, 1e-3, np.inf)):
        one, other = (trajectory(kind(0.01, eps), oracle, problem.x0, 50).x for oracle in (problem, small))
        assert least <= np.abs(one - other).max() / np.abs(one - one[0]).max() <= most


# --- RMSProp -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rho", [0.9, 0.99])
def test_rmsprop_never_steps_further_than_at_first(rho):
    """AD5: |d_t| <= lr/sqrt(1 - rho), with equality at t = 1: no bias correction. g = cos(t²) 10^(t mod 5)."""
    d, _ = displacements(RMSProp(0.1, 0.0, rho=rho), np.cos(SQUARES) * 10.0 ** (np.arange(1000) % 5))
    ratio = np.abs(d[:, 0]) * sqrt(1 - rho) / 0.1
    assert abs(ratio[0] - 1) <= 1e-13
    assert ratio.max() <= 1 + 1e-13


def test_rmsprop_with_its_bias_corrected_is_adam_without_momentum():
    """EQ1: v over 1 - b2^t makes the step sqrt(1 - b2^t) times as long. 30 gradients cos(t²), eps = 0."""
    g = np.cos(SQUARES[:30])
    adam, _ = displacements(Adam(0.1, 0.0, beta1=0.0, beta2=0.99), g)
    rmsprop, _ = displacements(RMSProp(0.1, 0.0, rho=0.99), g)
    np.testing.assert_allclose(adam, rmsprop * np.sqrt(1 - 0.99 ** np.arange(1, 31))[:, None], rtol=1e-13)


@settings(max_examples=50, deadline=None)
@given(gradients, st.sampled_from([0.0, 0.5, 0.99]))
def test_the_centred_form_divides_by_the_variance(g, rho):
    """v is the average of g² less the square of the average of g; 1e-12 of the former, where the difference cancels."""
    rule = RMSPropCentered(0.1, 1e-4, rho=rho)
    displacements(rule, g)
    weights = (1 - rho) * rho ** np.arange(len(g))[::-1]
    mean, square = weights @ g, weights @ (g * g)
    assert np.abs(rule.m - mean).max() <= 1e-12 * np.abs(g).max()
    assert (np.abs(rule.v - (square - mean * mean)) <= 1e-12 * (square + 1e-300)).all()
    assert (rule.v >= 0).all()


def test_under_a_constant_gradient_the_variance_vanishes_and_never_falls_below():
    """v - m² itself would: its rounding is 1e-16 of v, with either sign. What remains in the divisor is eps."""
    g = np.full(2000, 3.7)
    rule = RMSPropCentered(0.1, 1e-2, rho=0.9)
    d, eta = displacements(rule, g)
    assert (eta > 0).all()
    assert np.isfinite(d).all()
    np.testing.assert_allclose(eta[-1], 0.1 / 1e-2, rtol=1e-6)
    m = v = 0.0
    lost = []
    for step in g:
        m, v = 0.9 * m + 0.1 * step, 0.9 * v + 0.1 * step * step
        lost.append(v - m * m)
    assert min(lost) < 0, "the plain formula is no worse: the test compares nothing"


# --- AdaDelta ------------------------------------------------------------------------------------------------------

QUARTIC = Function(lambda x: (((x - 1) ** 4 / 4 + x**2)[0], (x - 1) ** 3 + 2 * x))


def test_adadelta_steps_are_bounded_by_the_steps_before():
    """AD6: the first is sqrt(eps) g / sqrt((1 - rho) g² + eps), and |d_t| <= RMS[d]_(t-1) / sqrt(1 - rho).

    The first to 1e-12; a gradient a million times the past meets the bound to 1e-6.
    """
    eps, rho = 1e-6, 0.95
    g = np.append(np.cos(SQUARES[:300]), 1e6)
    d, _ = displacements(AdaDelta(eps_root=eps, rho=rho, eps_u=eps), g)
    assert abs(d[0, 0] / (-sqrt(eps) * g[0] / sqrt((1 - rho) * g[0] ** 2 + eps)) - 1) <= 1e-12
    u, ratio = 0.0, []
    for step in d[:, 0]:
        ratio.append(abs(step) * sqrt(1 - rho) / sqrt(u + eps))
        u = rho * u + (1 - rho) * step**2
    assert 1 - 1e-6 <= max(ratio) <= 1 + 1e-12


def test_adadelta_is_in_units_of_x_and_ignores_those_of_the_loss():
    """AD6: with eps_u/s² and eps_root c² s², the path on c f(s x) is x/s bit for bit; with Zeiler's one eps it is not.

    f = (x - 1)⁴/4 + x² from 3, 300 steps, s = 2^-3, c = 2^6. With eps left alone c moves the path by 1e-9 of it at
    least, s by 1e-1: near the start the step is as long as sqrt(eps_u).
    """
    s, c, x0 = 2.0**-3, 2.0**6, np.array([3.0])

    def path(rule, c, s):
        scaled = Function(lambda x: (c * QUARTIC(s * x)[0], c * s * QUARTIC(s * x)[1]))
        return s * trajectory(rule, scaled, x0 / s, 300).x

    plain = path(AdaDelta(), 1.0, 1.0)
    assert np.array_equal(path(AdaDelta(eps_root=1e-6 * s**2, eps_u=1e-6 / s**2), 1.0, s), plain)
    assert np.array_equal(path(AdaDelta(eps_root=1e-6 * c**2), c, 1.0), plain)
    assert np.abs(path(AdaDelta(), c, 1.0) - plain).max() >= 1e-9
    assert np.abs(path(AdaDelta(), 1.0, s) - plain).max() >= 0.1


def test_adadelta_remembers_its_displacements_without_lr():
    """PyTorch's reading: lr = 1/2 halves the steps, on the same gradients, and changes nothing else."""
    g = np.cos(SQUARES[:30])
    assert np.array_equal(displacements(AdaDelta(0.5), g)[0], displacements(AdaDelta(), g)[0] / 2)


# --- Adam ----------------------------------------------------------------------------------------------------------


def test_under_a_constant_gradient_adam_steps_by_lr_for_ever():
    """AD3: -lr sign(g) in all of 2000 steps: it does not anneal by itself, against Sasse's eq. 2.20; 1e-12 of lr.

    CUSAdam: lr (1 - b1^t).
    """
    g, t = np.full(2000, -3.7), np.arange(1, 2001)
    np.testing.assert_allclose(displacements(Adam(0.1, 0.0), g)[0][:, 0], 0.1, rtol=1e-12)
    np.testing.assert_allclose(displacements(CUSAdam(0.1, 0.0), g)[0][:, 0], 0.1 * (1 - 0.9**t), rtol=1e-12)


@settings(max_examples=50, deadline=None)
@given(gradients, st.sampled_from([0.0, 0.5, 0.9]))
def test_adam_first_steps_by_lr_along_the_sign_of_any_gradient(g, beta1):
    """AD3, eps = 0: 1e-15 of lr."""
    d, _ = displacements(Adam(0.1, 0.0, beta1=beta1), g)
    assert np.abs(d[0] + 0.1 * np.sign(g[0])).max() <= 1e-16


def largest_step(t, b1, b2):
    """R_t: |d_t| <= lr R_t."""
    r = b1**2 / b2
    return (1 - b1) / sqrt(1 - b2) * sqrt((1 - r**t) / (1 - r)) * sqrt(1 - b2**t) / (1 - b1**t)


@pytest.mark.parametrize("t", [1, 10, 100, 1000])
def test_adams_longest_step_is_reached_by_growing_gradients(t):
    """AD4, eps = 0: g_s = (b2/b1)^s attains R_t, which Kingma and Ba's (1 - b1)/sqrt(1 - b2) = 3.16 does not bound."""
    d, _ = displacements(Adam(0.1, 0.0), (0.999 / 0.9) ** np.arange(1.0, t + 1))
    assert abs(abs(d[-1, 0]) / (0.1 * largest_step(t, 0.9, 0.999)) - 1) <= 1e-9
    if t == 1000:
        assert abs(d[-1, 0]) > 0.317


@settings(max_examples=50, deadline=None)
@given(gradients, st.sampled_from([(0.9, 0.999), (0.0, 0.5), (0.5, 0.9)]))
def test_no_gradients_make_adam_step_further(g, betas):
    """AD4; (0.9, 0.999) tends to 7.27. CUSAdam stays within 1 - b1^t of it, and AMSGrad within Adam's."""
    bound = 0.1 * np.array([[largest_step(t, *betas)] for t in range(1, 13)])
    adam, cus, ams = (np.abs(displacements(kind(0.1, 0.0, 0.0, *betas), g)[0]) for kind in (Adam, CUSAdam, AMSGrad))
    assert (adam <= bound * (1 + 1e-9)).all()
    assert (cus <= bound * (1 + 1e-9) * (1 - betas[0] ** np.arange(1, 13))[:, None]).all()
    assert (ams <= adam * (1 + 1e-12)).all()
    assert abs(largest_step(10**5, 0.9, 0.999) - 7.27) <= 5e-3


@settings(max_examples=50, deadline=None)
@given(gradients)
def test_cus_adam_is_adam_with_lr_warmed_up(g):
    """Sasse's section 3.2: lr times 1 - b1^t, whatever eps is."""
    cus, _ = displacements(CUSAdam(0.1, 1e-3), g)
    adam, _ = displacements(Adam(lambda k: 0.1 * (1 - 0.9 ** (k + 1)), 1e-3), g)
    np.testing.assert_allclose(cus, adam, rtol=1e-12, atol=1e-300)


def test_adam_without_memory_is_sign_descent_which_does_not_converge():
    """AD9: from lr/2 on x²/2 it jumps between lr/2 and -lr/2 for ever; from 32 lr it lands on 0. Bit for bit."""
    lr = 2.0**-4
    rule = Adam(lr, 0.0, 0.0, 0.0, 0.0)
    near = trajectory(rule, parabola(1.0), np.array([lr / 2]), 1000).x[:, 0]
    far = trajectory(rule, parabola(1.0), np.array([32 * lr]), 40).x[:, 0]
    assert np.array_equal(near, lr / 2 * (-1.0) ** np.arange(1001))
    assert np.array_equal(far, lr * np.maximum(32 - np.arange(41), 0))


# --- AMSGrad -------------------------------------------------------------------------------------------------------


class Reddi(Scripted):
    """3x at steps 1, 4, 7, ..., else -x, on [-1, 1]: the best point is -1."""

    def __init__(self, steps):
        super().__init__(np.where(np.arange(steps) % 3 == 0, 3.0, -1.0)[:, None])

    def __call__(self, x):
        g = super().__call__(x)[1]
        return g[0] * x[0], g

    def project(self, x, out=None):
        return Box(-1, 1).project(x, out)


def falling(k):
    return 0.5 / sqrt(k + 1)


@pytest.mark.parametrize("rule", [RMSProp(falling, 0.0, rho=0.1), Adam(falling, 0.0, beta1=0.0, beta2=0.1)])
def test_adam_stays_at_the_worst_point_for_ever(rule):
    """AD7: x = 1 after every third step, bit for bit, and regret 2C - 4 = 2 a cycle. Reddi, Kale, Kumar 2018, Thm 1.

    Their Adam corrects no bias: with b1 = 0 that is RMSProp.
    """
    run = trajectory(rule, Reddi(3000), np.ones(1), 3000)
    assert (run.x[::3] == 1.0).all()
    assert (run.f.sum() + run.g.sum()) / 3000 >= 2 / 3


@pytest.mark.parametrize("kind", AMSGRADS)
def test_amsgrad_leaves_it_and_finds_the_best_point(kind):
    """AD7: w tends to (1 - b2)(C² + b2 + b2²)/(1 - b2³); x to -1, slowly: to 1e-2 in 3000 steps.

    Three forms, the same in the long run; optax' max also sees v/(1 - b2) = C² at t = 1, before the average has grown.
    """
    rule = kind(falling, 0.0, beta1=0.0, beta2=0.1)
    run = trajectory(rule, Reddi(3000), np.ones(1), 3000)
    assert run.x[-1, 0] <= -0.99
    assert (run.f.sum() + run.g.sum()) / 3000 <= 0.04
    limit = 9.0 if kind is AMSGradCorrected else 0.9 * (9 + 0.1 + 0.01) / (1 - 0.001)
    assert abs(rule.w[0] / limit - 1) <= 1e-12


@pytest.mark.parametrize(
    ("oracle", "beta2", "steps"),
    [(lambda: Reddi(3000), 0.1, 3000), (lambda: Constrained(adversary([1, 10, 0.1]), Box(-1, 1)), 0.99, 2000)],
)
def test_amsgrad_regret_along_its_own_path(oracle, beta2, steps):
    """AD8: b1 = 0, lr_t = lr/sqrt(t), box of side D = 2: at most D² sqrt(T)/(2 lr) sum_i sqrt(w_T) + lr/2 sum_t sum_i
    g²/sqrt(t w_t). The proof needs sqrt(w_t)/lr_t to grow; Adam's falls.
    """
    n = 1 if steps == 3000 else 3
    t = np.arange(1, steps + 1)[:, None]
    run = trajectory(AMSGradOriginal(falling, 0.0, beta1=0.0, beta2=beta2), oracle(), np.ones(n), steps)
    root_w = falling(0) / np.sqrt(t) / run.eta
    bound = 4 * sqrt(steps) / (2 * 0.5) * root_w[-1].sum() + 0.25 * (run.g**2 / (np.sqrt(t) * root_w)).sum()
    assert 0.05 * bound <= regret(run.x, run.g) <= bound
    assert (np.diff(1 / run.eta, axis=0) >= 0).all()
    adam = trajectory(Adam(falling, 0.0, beta1=0.0, beta2=beta2), Reddi(steps), np.ones(1), steps)
    assert np.diff(1 / adam.eta, axis=0).min() < 0


@settings(max_examples=50, deadline=None)
@given(gradients)
def test_only_the_original_amsgrad_has_rates_that_never_grow_and_optax_after_it(g):
    """Constant lr. PyTorch's correction after the maximum shrinks w/(1 - b2^t) while no new maximum comes."""
    for kind in (AMSGradOriginal, AMSGradCorrected):
        _, eta = displacements(kind(0.1), g)
        assert (np.diff(eta, axis=0) <= 0).all()
    spike = np.append(1.0, np.full(9, 1e-3))
    assert (np.diff(displacements(AMSGrad(0.1), spike)[1], axis=0) > 0).all()


@settings(max_examples=30, deadline=None)
@given(gradients)
def test_while_gradients_grow_all_forms_of_amsgrad_are_what_they_correct(g):
    """Sorted by size, v grows with every step: AMSGrad is Adam, bit for bit; the original is it without corrections."""
    g = np.sort(np.abs(g), axis=0)
    adam, t = displacements(Adam(0.1, 0.0), g)[0], np.arange(1, 13)[:, None]
    assert np.array_equal(displacements(AMSGrad(0.1, 0.0), g)[0], adam)
    factor = (1 - 0.9**t) / np.sqrt(1 - 0.999**t)
    np.testing.assert_allclose(displacements(AMSGradOriginal(0.1, 0.0), g)[0], adam * factor, rtol=1e-12, atol=1e-300)


# --- on real problems ----------------------------------------------------------------------------------------------


@every_rule
def test_with_a_falling_lr_every_rule_of_the_family_finds_the_optimum_of_a_quadratic(kind):
    """Condition 70, 1500 steps, lr falling to 1e-3 of its start; the gap falls below 1e-5 of what it was."""
    problem, lr = PROBLEMS["quadratic-exact"](), {AdaDelta: 30.0, AdaGrad: 3.0}.get(kind, 0.3)
    x = trajectory(kind(lambda t: lr * 1e-3 ** (t / 1500)), problem, problem.x0, 1500).x[-1]
    assert problem.value(x) - problem.f_star <= 1e-5 * (problem.value(problem.x0) - problem.f_star)
