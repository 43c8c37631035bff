"""Rules with a rate for each coordinate do what Duchi, Zeiler, Kingma and Reddi proved of them, and no more.

Notation: g_t the gradients, v the sum or average of their squares, w the largest of these, d_t the displacements,
rho, b1, b2 the weights of the averages. Where an identity is exact but for rounding, 1e-12 is some thousand ulps.
"""

from dataclasses import fields
from math import sqrt

import numpy as np
import pytest
from answers import SQUARES, adversary, displacements, gradients, regret
from hypothesis import given, settings
from hypothesis import strategies as st
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

every_rule = pytest.mark.parametrize("kind", FAMILY)
every_scaled_rule = pytest.mark.parametrize("kind", SCALED)


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
    """AdaGrad, AdaDelta, RMSProp, Adam and its kin on f = 2x² from 1, with the default eps; 12 digits are given."""
    x = trajectory(rule, parabola(4.0), np.ones(1), 3).x[1:, 0]
    np.testing.assert_allclose(x, iterates, rtol=1e-12, atol=0.6e-12)


def test_the_defaults_are_those_of_pytorch():
    assert AdaGrad() == AdaGrad(lr=0.01, eps=1e-10, eps_root=0.0, v_init=0.0)
    assert RMSProp() == RMSProp(lr=0.01, eps=1e-8, eps_root=0.0, rho=0.99)
    assert AdaDelta() == AdaDelta(lr=1.0, eps=0.0, eps_root=1e-6, rho=0.9, eps_u=1e-6)
    assert Adam() == Adam(lr=1e-3, eps=1e-8, eps_root=0.0, beta1=0.9, beta2=0.999)
    for kind in (*AMSGRADS, CUSAdam):
        assert [(f.name, f.default) for f in fields(kind)] == [(f.name, f.default) for f in fields(Adam)]


def test_momentum_after_the_division_by_hand():
    """RMSPropMomentum. g = 3, 4, 5, rho = 0 divides each by itself: b = 1, 1.5, 1.375 with mu = 0.9, 1/2, 1/4."""
    rule = RMSPropMomentum(0.5, 0.0, rho=0.0, mu=lambda t: [0.9, 0.5, 0.25, 0.75][t])
    assert displacements(rule, [3, 4, 5])[0][:, 0].tolist() == [-0.5, -0.75, -0.6875]


def test_constants_stand_inside_and_outside_the_root_as_they_are_called():
    """AdaGrad, RMSPropMomentum, RMSPropCentered: g = 4, lr = 1. The first starts from v_init."""
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
    """AdaDelta, RMSPropMomentum, CUSAdam, and all the others. For Adam and its kin that is m, corrected or not; with a
    schedule, it is the rate of this very step, 0.5/(t + 1), times what lr = 1 would give."""
    rule = kind(lambda t: 0.5 / (t + 1))
    g = np.stack([np.cos(SQUARES[:20]), 10 * np.sin(SQUARES[:20])], axis=1)
    d, eta = displacements(rule, g)
    np.testing.assert_allclose(eta, 0.5 / np.arange(1, 21)[:, None] * displacements(kind(1.0), g)[1], rtol=1e-12)
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
    """AD10. 1e-30 squared is 0 in float32; without eps the rate is 0 then, and with it the step is less than 1e-20."""
    g = np.float32([1e-30])
    for eps in (0.0, 1e-8):
        rule, oracle = kind(0.1, eps), Function(lambda x: (0.0, g))
        x = np.zeros(1, np.float32)
        rule.start(x, oracle)
        assert abs(rule.step(x, oracle)[0]) <= 1e-20


@every_rule
def test_where_the_square_of_a_gradient_overflows_the_coordinate_rests_for_ever(kind):
    """From 1.3e154 on; the others go on."""
    x = trajectory(kind(), Scripted([[1e200, 1.0], *[[1.0, 1.0]] * 9]), np.ones(2), 10).x
    assert (x[:, 0] == 1).all()
    assert (np.diff(x[:, 1]) < 0).all()


# --- AdaGrad -------------------------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(gradients)
def test_adagrad_lemma_for_any_gradients(g):
    """AD1. Duchi, Hazan, Singer 2011. sum_t g_t²/sqrt(v_t) <= 2 sqrt(v_T), and the rates never grow."""
    d, eta = displacements(AdaGrad(1.0, 0.0), g)
    assert (-(d * g).sum(axis=0) <= 2 * np.sqrt((g * g).sum(axis=0)) * (1 + 1e-12)).all()
    moved = np.cumsum(g * g, axis=0) > 0  # before its first gradient a coordinate has rate 0
    assert (np.diff(eta, axis=0)[moved[:-1]] <= 0).all()


@pytest.mark.parametrize(("g", "tightness"), [(np.ones(10_000), 0.99), (SQUARES[:100], 0.97)])
def test_adagrad_lemma_is_nearly_met_by_constants_and_by_growing_gradients(g, tightness):
    """AD1. Of T constants, by 1 - 0.73/sqrt(T)."""
    d, _ = displacements(AdaGrad(1.0, 0.0), g)
    assert tightness <= -(d[:, 0] @ g) / (2 * sqrt(g @ g)) <= 1


def test_adagrad_regret_on_a_box():
    """AD1. Duchi, Hazan, Singer 2011. At most sqrt(2) D sum_i sqrt(sum_t g_ti²) with lr = D/sqrt(2), D = 2."""
    run = trajectory(AdaGrad(sqrt(2), 0.0), Constrained(adversary([1, 10, 0.1]), Box(-1, 1)), np.ones(3), 2000)
    bound = 2 * sqrt(2) * np.sqrt((run.g**2).sum(axis=0)).sum()
    assert 0.3 * bound <= regret(run.x, run.g) <= bound


def test_adagrad_regret_and_average_iterate_in_one_dimension():
    """AD2. Streeter & McMahan 2010; Orabona 2019. The scalar rule is AdaGrad in one dimension: D = 10, lr = D/sqrt(2),
    mean |a x - b| on [-5, 5]. Gap of the average iterate, and regret against x*, at every t <= 3000; 1e-14 at t = 100.
    """
    a = np.cos(1.7 * np.arange(1, 16))
    b = a * 0.8 + 0.3 * np.cos(5.0 * np.arange(15))

    def lad(x):
        r = a * x[0] - b
        return np.abs(r).mean(), np.array([(a * np.sign(r)).mean()])

    kinks = b / a
    f_star = min(lad([kink])[0] for kink in kinks)
    x_star = min(kinks, key=lambda kink: lad([kink])[0])
    assert abs(x_star) < 5
    run = trajectory(AdaGrad(10 / sqrt(2), 0.0), Constrained(Function(lad), Box(-5, 5)), np.array([-5.0]), 3000)
    t, G = np.arange(1, 3001), np.abs(a).mean()
    means = np.cumsum(run.x[:-1, 0]) / t
    assert all(lad([mean])[0] - f_star <= sqrt(2) * 10 * G / sqrt(k) for mean, k in zip(means, t, strict=True))
    linear = np.cumsum(run.g[:, 0] * (run.x[:-1, 0] - x_star))
    assert (linear <= sqrt(2) * 10 * np.sqrt(np.cumsum(run.g[:, 0] ** 2))).all()
    assert (np.diff(run.eta[:, 0]) <= 0).all()
    d, eta = displacements(AdaGrad(10 / sqrt(2), 0.0), [2.0] * 100)
    assert abs(eta[-1, 0] - 10 / (20 * sqrt(2))) <= 1e-14
    assert abs(d[-1, 0] + 2 * 10 / (20 * sqrt(2))) <= 2e-14


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
    """AD10. Kingma & Ba 2015; Sasse section 2.3. 50 steps on a quadratic, and on 2^k times it: with eps = 0 the path is

    the same, bit for bit, k = 20 and -30. With eps = 1e-8 k = -30 changes it by 1e-3 of its length at least.
    """
    problem = problems.quadratic_exact()

    def path(eps, k):
        scaled = Function(lambda x: tuple(2.0**k * part for part in problem(x)))
        return trajectory(kind(0.01, eps), scaled, problem.x0, 50).x

    assert np.array_equal(path(0.0, 0), path(0.0, 20))
    assert np.array_equal(path(0.0, 0), path(0.0, -30))
    one, other = path(1e-8, 0), path(1e-8, -30)
    assert np.abs(one - other).max() >= 1e-3 * np.abs(one - one[0]).max()


# --- RMSProp -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rho", [0.9, 0.99])
def test_rmsprop_never_steps_further_than_at_first(rho):
    """AD5. Tieleman & Hinton 2012. |d_t| <= lr/sqrt(1 - rho), with equality at t = 1: no bias correction.

    g = cos(t²) 10^(t mod 5), 1000 steps.
    """
    d, _ = displacements(RMSProp(0.1, 0.0, rho=rho), np.cos(SQUARES) * 10.0 ** (np.arange(1000) % 5))
    ratio = np.abs(d[:, 0]) * sqrt(1 - rho) / 0.1
    assert len(ratio) == 1000
    assert abs(ratio[0] - 1) <= 1e-14
    assert ratio.max() <= 1 + 1e-14


def test_rmsprop_with_its_bias_corrected_is_adam_without_momentum():
    """EQ1. v over 1 - b2^t makes the step sqrt(1 - b2^t) times as long. 30 gradients cos(t²), eps = 0."""
    g = np.cos(SQUARES[:30])
    adam, _ = displacements(Adam(0.1, 0.0, beta1=0.0, beta2=0.99), g)
    rmsprop, _ = displacements(RMSProp(0.1, 0.0, rho=0.99), g)
    np.testing.assert_allclose(adam, rmsprop * np.sqrt(1 - 0.99 ** np.arange(1, 31))[:, None], rtol=1e-14)


@settings(max_examples=50, deadline=None)
@given(gradients, st.sampled_from([0.0, 0.5, 0.99]))
def test_the_centred_form_divides_by_the_variance(g, rho):
    """RMSPropCentered. v is the average of g² less the square of the average of g; 1e-12 of the former, where the
    difference cancels."""
    rule = RMSPropCentered(0.1, 1e-4, rho=rho)
    displacements(rule, g)
    weights = (1 - rho) * rho ** np.arange(len(g))[::-1]
    mean, square = weights @ g, weights @ (g * g)
    assert np.abs(rule.m - mean).max() <= 1e-12 * np.abs(g).max()
    assert (np.abs(rule.v - (square - mean * mean)) <= 1e-12 * (square + 1e-300)).all()
    assert (rule.v >= 0).all()


def test_under_a_constant_gradient_the_variance_vanishes_and_never_falls_below():
    """RMSPropCentered. v - m² itself would: its rounding is 1e-16 of v, with either sign. What remains in the divisor
    is eps."""
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
    """AD6. Zeiler 2012. The first is sqrt(eps) g / sqrt((1 - rho) g² + eps), and |d_t| <= RMS[d]_(t-1) / sqrt(1 - rho).

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
    """AD6. Zeiler 2012 section 3.2. With eps_u/s² and eps_root c² s², the path on c f(s x) is x/s bit for bit; with
    Zeiler's one eps it is not. f = (x - 1)⁴/4 + x² from 3, 300 steps, s = 2^-3, c = 2^6. With eps left alone c moves
    the path by 1e-9 of its length at least, s by 1e-1: near the start the step is as long as sqrt(eps_u).
    """
    s, c, x0 = 2.0**-3, 2.0**6, np.array([3.0])

    def path(rule, c, s):
        scaled = Function(lambda x: (c * QUARTIC(s * x)[0], c * s * QUARTIC(s * x)[1]))
        return s * trajectory(rule, scaled, x0 / s, 300).x

    plain = path(AdaDelta(), 1.0, 1.0)
    assert np.array_equal(path(AdaDelta(eps_root=1e-6 * s**2, eps_u=1e-6 / s**2), 1.0, s), plain)
    assert np.array_equal(path(AdaDelta(eps_root=1e-6 * c**2), c, 1.0), plain)
    length = np.abs(plain - plain[0]).max()
    assert np.abs(path(AdaDelta(), c, 1.0) - plain).max() >= 1e-9 * length
    assert np.abs(path(AdaDelta(), 1.0, s) - plain).max() >= 0.1 * length


def test_adadelta_remembers_its_displacements_without_lr():
    """AD6, in PyTorch's reading: lr = 1/2 halves the steps, on the same gradients, and changes nothing else."""
    g = np.cos(SQUARES[:30])
    assert np.array_equal(displacements(AdaDelta(0.5), g)[0], displacements(AdaDelta(), g)[0] / 2)


# --- on real problems ----------------------------------------------------------------------------------------------


@every_rule
def test_with_a_falling_lr_every_rule_of_the_family_finds_the_optimum_of_a_quadratic(kind):
    """Condition 70, 600 steps, lr falling to 1e-3 of its start; the gap falls below 1e-6 of what it was."""
    problem, lr = PROBLEMS["quadratic-exact"](), {AdaDelta: 30.0, AdaGrad: 3.0}.get(kind, 0.3)
    x = trajectory(kind(lambda t: lr * 1e-3 ** (t / 600)), problem, problem.x0, 600).x[-1]
    assert problem.value(x) - problem.f_star <= 1e-6 * (problem.value(problem.x0) - problem.f_star)
