"""Adam and its repairs do what Kingma, Balles, Reddi and Sasse say of them, where that is true.

Notation: g_t the gradients, v the average of their squares, w the largest of these, d_t the displacements, b1, b2 the
weights of the averages. Where an identity is exact but for rounding, 1e-12 is some thousand ulps.
"""

from math import sqrt

import numpy as np
import pytest
from answers import SQUARES, adversary, displacements, gradients, regret
from hypothesis import given, settings
from hypothesis import strategies as st
from runs import Scripted, parabola, trajectory

from refopt import Adam, AMSGrad, AMSGradCorrected, AMSGradOriginal, Box, Constrained, CUSAdam, RMSProp

AMSGRADS = [AMSGradOriginal, AMSGrad, AMSGradCorrected]

# --- numbers by hand -----------------------------------------------------------------------------------------------


def test_adam_by_hand_on_two_coordinates_takes_equal_steps_along_both():
    """f = (x² + 10y²)/2 from (10, 1)."""
    x = trajectory(Adam(0.1), parabola(1.0, 10.0), np.array([10.0, 1.0]), 2).x[1:]
    np.testing.assert_allclose(x, [[9.9000000001, 0.9000000001], [9.80002745916, 0.800412227875]], rtol=1e-12)


def test_the_two_steps_of_the_three_amsgrads_after_a_large_gradient_by_hand():
    """AMSGrad. g = 4, 1, b1 = 0, b2 = 1/2, lr = 1: v = 8, 4.5. The second step divides by the root of 8; of 8/(3/4); of
    16."""
    for kind, squares in zip(AMSGRADS, ([8, 8], [16, 32 / 3], [16, 16]), strict=True):
        d, _ = displacements(kind(1.0, 0.0, beta1=0.0, beta2=0.5), [4, 1])
        np.testing.assert_allclose(d[:, 0], [-4 / sqrt(squares[0]), -1 / sqrt(squares[1])], rtol=1e-15)


def test_the_first_average_of_the_amsgrads_keeps_its_bias_only_in_the_original():
    """AMSGrad. g = 1, 1: b1 = 1/2 makes m = 1/2, 3/4; b2 = 0 makes v = 1."""
    for kind, expected in zip(AMSGRADS, ([0.5, 0.75], [1, 1], [1, 1]), strict=True):
        assert displacements(kind(1.0, 0.0, beta1=0.5, beta2=0.0), [1, 1])[0][:, 0].tolist() == [-e for e in expected]


# --- Adam ----------------------------------------------------------------------------------------------------------


def test_under_a_constant_gradient_adam_steps_by_lr_for_ever():
    """AD3. -lr sign(g) in all of 2000 steps: it does not anneal by itself, against Sasse's eq. 2.20; 1e-12 of lr.

    CUSAdam: lr (1 - b1^t).
    """
    g, t = np.full(2000, -3.7), np.arange(1, 2001)
    np.testing.assert_allclose(displacements(Adam(0.1, 0.0), g)[0][:, 0], 0.1, rtol=1e-12)
    np.testing.assert_allclose(displacements(CUSAdam(0.1, 0.0), g)[0][:, 0], 0.1 * (1 - 0.9**t), rtol=1e-12)


@settings(max_examples=50, deadline=None)
@given(gradients, st.sampled_from([0.0, 0.5, 0.9]))
def test_adam_first_steps_by_lr_along_the_sign_of_any_gradient(g, beta1):
    """AD3. Kingma & Ba 2015 section 2.1. eps = 0: 1e-15 of lr."""
    d, _ = displacements(Adam(0.1, 0.0, beta1=beta1), g)
    assert np.abs(d[0] + 0.1 * np.sign(g[0])).max() <= 1e-16


def largest_step(t, b1, b2):
    """R_t: |d_t| <= lr R_t."""
    r = b1**2 / b2
    return (1 - b1) / sqrt(1 - b2) * sqrt((1 - r**t) / (1 - r)) * sqrt(1 - b2**t) / (1 - b1**t)


@pytest.mark.parametrize("t", [1, 10, 100, 1000])
def test_adams_longest_step_is_reached_by_growing_gradients(t):
    """AD4. eps = 0: g_s = (b2/b1)^s attains R_t, which Kingma and Ba's (1 - b1)/sqrt(1 - b2) = 3.16 does not bound."""
    d, _ = displacements(Adam(0.1, 0.0), (0.999 / 0.9) ** np.arange(1.0, t + 1))
    assert abs(abs(d[-1, 0]) / (0.1 * largest_step(t, 0.9, 0.999)) - 1) <= 1e-9
    if t == 1000:
        assert abs(d[-1, 0]) > 0.317


@settings(max_examples=50, deadline=None)
@given(gradients, st.sampled_from([(0.9, 0.999), (0.0, 0.5), (0.5, 0.9)]))
def test_no_gradients_make_adam_step_further(g, betas):
    """AD4. (0.9, 0.999) tends to 7.27. CUSAdam stays within 1 - b1^t of it, and AMSGrad within Adam's."""
    bound = 0.1 * np.array([[largest_step(t, *betas)] for t in range(1, 13)])
    adam, cus, ams = (np.abs(displacements(kind(0.1, 0.0, 0.0, *betas), g)[0]) for kind in (Adam, CUSAdam, AMSGrad))
    assert (adam <= bound * (1 + 1e-9)).all()
    assert (cus <= bound * (1 + 1e-9) * (1 - betas[0] ** np.arange(1, 13))[:, None]).all()
    assert (ams <= adam * (1 + 1e-12)).all()
    assert abs(largest_step(10**5, 0.9, 0.999) - 7.27) <= 5e-3


@pytest.mark.parametrize("g", [np.cos(SQUARES), np.where(np.arange(1000) % 100 == 50, 1e3, 1e-3)])
def test_nor_do_long_irregular_ones_nor_rare_spikes(g):
    """AD4. cos(t²), and a spike of 10^6 times the rest in every hundred: 1000 steps."""
    d, _ = displacements(Adam(0.1, 0.0), g)
    bound = 0.1 * np.array([largest_step(t, 0.9, 0.999) for t in range(1, 1001)])
    assert 0.1 < (np.abs(d[:, 0]) / bound)[1:].max() <= 1 + 1e-9


@settings(max_examples=50, deadline=None)
@given(gradients)
def test_cus_adam_is_adam_with_lr_warmed_up(g):
    """CUSAdam. Sasse's section 3.2: lr times 1 - b1^t, whatever eps is."""
    cus, _ = displacements(CUSAdam(0.1, 1e-3), g)
    adam, _ = displacements(Adam(lambda k: 0.1 * (1 - 0.9 ** (k + 1)), 1e-3), g)
    np.testing.assert_allclose(cus, adam, rtol=1e-12, atol=1e-300)


def test_adam_without_memory_is_sign_descent_which_does_not_converge():
    """AD9. Cf. Balles & Hennig 2018. From lr/2 on x²/2 it jumps between lr/2 and -lr/2 for ever; from 32 lr it lands on
    0. Bit for bit."""
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
    """AD7. Reddi, Kale, Kumar 2018. x = 1 after every third step, bit for bit, and regret 2C - 4 = 2 a cycle.

    Their Adam corrects no bias: with b1 = 0 that is RMSProp.
    """
    run = trajectory(rule, Reddi(3000), np.ones(1), 3000)
    assert (run.x[::3] == 1.0).all()
    assert (run.f.sum() + run.g.sum()) / 3000 >= 2 / 3


@pytest.mark.parametrize("kind", AMSGRADS)
def test_amsgrad_leaves_it_and_finds_the_best_point(kind):
    """AD7. Reddi, Kale, Kumar 2018. w tends to (1 - b2)(C² + b2 + b2²)/(1 - b2³); x to -1, slowly: to 1e-2 in 3000
    steps. Three forms, the same in the long run; optax's max also sees v/(1 - b2) = C² at t = 1, before the average has
    grown.
    """
    rule = kind(falling, 0.0, beta1=0.0, beta2=0.1)
    run = trajectory(rule, Reddi(3000), np.ones(1), 3000)
    assert run.x[-1, 0] <= -0.99
    assert regret(run.x, run.g) / 3000 <= 0.04
    limit = 9.0 if kind is AMSGradCorrected else 0.9 * (9 + 0.1 + 0.01) / (1 - 0.001)
    assert abs(rule.w[0] / limit - 1) <= 1e-12


@pytest.mark.parametrize(
    ("oracle", "beta2", "steps"),
    [(lambda: Reddi(3000), 0.1, 3000), (lambda: Constrained(adversary([1, 10, 0.1]), Box(-1, 1)), 0.99, 2000)],
)
def test_amsgrad_regret_along_its_own_path(oracle, beta2, steps):
    """AD8. After Reddi, Kale, Kumar 2018. b1 = 0, lr_t = lr/sqrt(t), box of side D = 2: at most D² sqrt(T)/(2 lr) sum_i
    sqrt(w_T) + lr/2 sum_t sum_i g²/sqrt(t w_t). w grows, and the proof needs sqrt(w_t)/lr_t to grow; Adam's falls."""
    n = 1 if steps == 3000 else 3
    t = np.arange(1, steps + 1)[:, None]
    run = trajectory(AMSGradOriginal(falling, 0.0, beta1=0.0, beta2=beta2), oracle(), np.ones(n), steps)
    root_w = falling(0) / np.sqrt(t) / run.eta
    bound = 4 * sqrt(steps) / (2 * 0.5) * root_w[-1].sum() + 0.25 * (run.g**2 / (np.sqrt(t) * root_w)).sum()
    assert 0.05 * bound <= regret(run.x, run.g) <= bound
    assert (np.diff(1 / run.eta, axis=0) >= 0).all()
    assert (root_w[1:] >= root_w[:-1] * (1 - 1e-15)).all()
    adam = trajectory(Adam(falling, 0.0, beta1=0.0, beta2=beta2), Reddi(300), np.ones(1), 300)
    assert np.diff(1 / adam.eta, axis=0).min() < 0


@settings(max_examples=50, deadline=None)
@given(gradients)
def test_only_the_original_amsgrad_has_rates_that_never_grow_and_optax_after_it(g):
    """AMSGrad. Constant lr. PyTorch's correction after the maximum shrinks w/(1 - b2^t) while no new maximum comes."""
    for kind in (AMSGradOriginal, AMSGradCorrected):
        _, eta = displacements(kind(0.1), g)
        assert (np.diff(eta, axis=0) <= 0).all()
    spike = np.append(1.0, np.full(9, 1e-3))
    assert (np.diff(displacements(AMSGrad(0.1), spike)[1], axis=0) > 0).all()


@settings(max_examples=30, deadline=None)
@given(gradients)
def test_while_gradients_grow_all_forms_of_amsgrad_are_what_they_correct(g):
    """AMSGrad. Sorted by size, v grows with every step: AMSGrad is Adam, bit for bit; the original is it without
    corrections."""
    g = np.sort(np.abs(g), axis=0)
    adam, t = displacements(Adam(0.1, 0.0), g)[0], np.arange(1, 13)[:, None]
    assert np.array_equal(displacements(AMSGrad(0.1, 0.0), g)[0], adam)
    factor = (1 - 0.9**t) / np.sqrt(1 - 0.999**t)
    np.testing.assert_allclose(displacements(AMSGradOriginal(0.1, 0.0), g)[0], adam * factor, rtol=1e-12, atol=1e-300)
