"""What the released code does differently, each beside the rule as meant: same samples, another path.

Every docstring names the class it is about. Others, longer ones, stand beside the rule: `test_secant`,
`test_barzilai_borwein`, `test_adasecant`, `test_line_search`, `test_hypergradient`, `test_trainable_rate`.
"""

import numpy as np
import pytest
from answers import Answers, one_step, problem
from runs import Function, Scripted, parabola, trajectory

from refopt import (
    ALIG,
    NTLR,
    SLS,
    AdamHDReleased,
    ALIGUnclipped,
    FiniteSum,
    GradientDescent,
    NTLRReleased,
    Shuffled,
    SimpleAdaSecantNormalized,
    SimpleAdaSecantReleased,
    SLSReleased,
    SPSSmooth,
    SPSSmoothReleased,
    StochasticBBReleased,
)
from refopt.oracle import Block

x0 = np.zeros(1)


def on_batches(rule):
    """100 mini-batches of 3 of the 12 rows of a least-squares problem without a solution."""
    total = problem("least-squares-noisy")
    return trajectory(rule, FiniteSum(total, Shuffled(12, 3)), total.x0, 100)


# --- by hand -------------------------------------------------------------------------------------------------------

E1, E2, G4 = parabola(4), parabola(1, 10), [[1.0], [0.6], [0.5], [-0.2]]
E2.blocks = (Block("x", slice(0, 1), (1,)), Block("y", slice(1, 2), (1,)))
BY_HAND: dict[str, tuple] = {  # rule, problem or gradients, x0, step sizes, iterates
    "SPSSmooth: c = 0.2 diverges": (SPSSmoothReleased(0.2, eps=0.0), E1, [1], [0.625] * 3, [-1.5, 2.25, -3.375]),
    "SPSSmooth: its bound": (
        SPSSmoothReleased(0.5, eps=0.0, batch_fraction=0.1), parabola(0.05), [1],
        [1.07177346254, 1.148698355, 1.23114441334], [0.946411326873, 0.892054270157, 0.837141888602],
    ),
    "ALIG": (
        ALIGUnclipped(eta_max=1.0), E1, [1],
        [0.124999921875, 0.124968758552, 0.124999517738], [0.0500005937496, -0.402487845297, -0.404870818941],
    ),
    "SimpleAdaSecant diverges": (SimpleAdaSecantReleased(), E1, [1], [1, 0.75, 2 / 3, 0.625], [-3, 6, -10, 15]),
    "SimpleAdaSecant": (
        SimpleAdaSecantReleased(), Scripted(G4), [1], [1, 1.5, 5, 0.285714285714], [0, -0.9, -3.4, -3.34285714286]
    ),
    "SimpleAdaSecant, normalised": (
        SimpleAdaSecantNormalized(), Scripted(G4), [1], [1, 1.5, 5, 0.285714285714], [0, -1.5, -6.5, -6.21428571429]
    ),
    "StochasticBB": (
        StochasticBBReleased(beta=1.0, period=4), parabola(0.5), [1],
        np.repeat([0.1, 0.1, 0.475, 0.543210778161, 0.3883743031], 4), None,
    ),
    "SLS": (
        SLSReleased(batch_fraction=0.1), E1, [1],
        [0.415226998953, 0.445029278406, 0.429273513583], [-0.660907995812, 0.515585638065, -0.369723395555],
    ),
    "SLS: longer epochs": (
        SLSReleased(batch_fraction=1 / 500), E1, [1],
        [0.431064378096, 0.431662374616, 0.432261200711], [-0.724257512382, 0.526281358132, -0.383682688979],
    ),
    "AdamHD": (
        AdamHDReleased(0.1, 1e-3), E2, [10, 1], None,
        [[9.90000000316, 0.900000003162], [9.79013018334, 0.781590145186], [9.66154240076, 0.646948628546]],
    ),
    "NTLR": (
        NTLRReleased(GradientDescent(0.01), 1), E1, [1],
        [0.01, 0.01, 0.01, 0.01, 0.0579999999912, 0.336399999893, 0.559119999858, 0.530399448168], None,
    ),
    "NTLR: five steps in a window": (
        NTLRReleased(GradientDescent(0.01), 5), E1, [1],
        np.repeat([0.01, 0.0188326340362, 0.0307496829172, 0.0405664329548], [16, 5, 5, 5]), None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BY_HAND)
def test_the_first_steps_are_those_computed_by_hand(case):
    """SPSSmoothReleased, ALIGUnclipped, SimpleAdaSecantReleased, SimpleAdaSecantNormalized, StochasticBBReleased,

    SLSReleased, AdamHDReleased, NTLRReleased: twelve digits were computed, so 1e-11, or of the rates of averages 1e-10.
    """
    rule, oracle, start, eta, x = BY_HAND[case]
    oracle.drawn = 0
    run = trajectory(rule, oracle, np.array(start, float), len(x or eta))
    if eta is not None:
        np.testing.assert_allclose(np.squeeze(run.eta), eta, rtol=1e-10 if x is None else 1e-11)
    if x is not None:
        np.testing.assert_allclose(run.x[1:], np.reshape(x, (len(x), -1)), rtol=1e-11, atol=1e-14)


# --- SPS with the smooth bound -------------------------------------------------------------------------------------


@pytest.mark.parametrize("eps", [0.0, 0.1])
def test_released_sps_is_the_rule_while_losses_are_positive_gradients_not_zero_and_f_star_is_zero(eps):
    """SPSSmoothReleased. Bit for bit, on 100 mini-batches of least squares, f* declared 0; growth 2^(1/4)."""
    meant, released = (on_batches(rule(f_star=0.0, eps=eps)) for rule in (SPSSmooth, SPSSmoothReleased))
    assert np.array_equal(meant.x, released.x)
    assert np.ptp(meant.eta) > 0.1


def test_one_zero_gradient_freezes_released_sps_for_ever():
    """SPSSmoothReleased. A step of 0 enters the bound 2 γ_(k-1), and 0 times anything is 0. The rule as meant goes on
    where it was."""
    samples = Answers((100.0, [1.0]), (1.0, [0.0]), (100.0, [1.0]))
    assert np.array_equal(trajectory(SPSSmooth(), samples, x0, 4).eta, [2, 0, 4, 8])
    samples.drawn = 0
    assert np.array_equal(trajectory(SPSSmoothReleased(), samples, x0, 4).eta, [2, 0, 0, 0])


def test_released_sps_takes_a_gradient_below_1e_8_for_zero():
    """SPSSmoothReleased. |g| = 1e-9, l = 1e-18: the step is 2 by its formula, 0 as released; above 1e-8 both are 2."""
    for g, released in ((1e-9, 0), (1.1e-8, 2)):
        sample = Answers((g * g, [g]))
        assert one_step(SPSSmooth(eta_init=9.0), sample, x0)[1] == pytest.approx(2, rel=1e-14)
        assert one_step(SPSSmoothReleased(eta_init=9.0), sample, x0)[1] == pytest.approx(released, rel=1e-14)


def test_released_sps_ignores_f_star():
    """SPSSmoothReleased. l = 3, f* = 2, |g|² = 4, c = 1/2: the gap is 1 and the step 1/2; released, 3/2, and a field is
    no use."""
    sample = Answers((3.0, [2.0]), f_star=2.0)
    assert one_step(SPSSmooth(), sample, x0)[1] == 0.5
    assert one_step(SPSSmoothReleased(), sample, x0)[1] == 1.5
    assert one_step(SPSSmoothReleased(f_star=2.0), sample, x0)[1] == 1.5


def test_on_a_negative_loss_released_sps_climbs_and_its_bound_turns_negative():
    """SPSSmoothReleased. l = -1, g = 1: step -2, uphill; the next bound is 2 · -2, so a good sample is climbed too. As
    meant: no step."""
    samples = Answers((-1.0, [1.0]), (1.0, [1.0]))
    released = trajectory(SPSSmoothReleased(), samples, x0, 3)
    assert np.array_equal(released.eta, [-2, -4, -8])
    assert np.array_equal(released.x[:, 0], [0, 2, 6, 14])
    samples.drawn = 0
    assert np.array_equal(trajectory(SPSSmooth(), samples, x0, 3).eta, [0, 2, 2])


# --- ALI-G ---------------------------------------------------------------------------------------------------------


def test_unclipped_alig_is_the_rule_as_long_as_no_loss_is_below_its_infimum():
    """ALIGUnclipped. Bit for bit, on 100 mini-batches with momentum."""
    meant, unclipped = (on_batches(rule(f_star=0.0, eta_max=1.0)) for rule in (ALIG, ALIGUnclipped))
    assert np.array_equal(meant.x, unclipped.x)
    assert np.ptp(meant.eta) > 0.01


def test_on_a_negative_loss_unclipped_alig_climbs_until_it_is_zero_again():
    """ALIGUnclipped. f = x²/2 - 1 from 1, f* taken for 0. Released: x goes up to √2, where f = 0, and stays; as meant:
    it stays at 1. It is Newton's method for f = 0 (δ = 0, μ = 0, no cap): √2 to 1e-15 after 6 steps. The cap bounds
    steps downhill only.
    """
    sunk, start = Function(lambda x: (x @ x / 2 - 1, x), f_star=0.0), np.ones(1)
    settings = {"mu": 0.0, "delta": 0.0, "eta_max": 1e9}
    released = trajectory(ALIGUnclipped(**settings), sunk, start, 6)
    assert np.array_equal(trajectory(ALIG(**settings), sunk, start, 6).x, np.ones((7, 1)))
    assert released.eta[0] < 0
    assert released.f[1] > released.f[0], "it went up"
    np.testing.assert_allclose(released.x[-1], np.sqrt(2), rtol=1e-15)
    steep = one_step(ALIGUnclipped(mu=0.0, delta=0.0, eta_max=0.1), Answers((-5.0, [1.0])), x0)
    assert steep == (5, -5), "a step fifty times the maximal rate, uphill"


def test_unclipped_alig_still_subtracts_f_star():
    """ALIGUnclipped. l = 3, f* = 2, |g|² = 4, δ = 1: (3 - 2)/5; with f* = 4, (3 - 4)/5."""
    rule, sample = ALIGUnclipped(mu=0.0, delta=1.0, eta_max=1.0), Answers((3.0, [2.0]), f_star=2.0)
    assert one_step(rule, sample, x0)[1] == 0.2
    sample.f_star = 4.0
    assert one_step(rule, sample, x0)[1] == -0.2


def test_the_negative_rate_enters_the_velocity():
    """ALIGUnclipped. l = -1, g = 1, δ = 1e-5: γ = -1/(1 + δ), v = -γ g, and with g = 0 after it w moves on by μ² v,
    uphill."""
    samples = Answers((-1.0, [1.0]), (1.0, [0.0]))
    run = trajectory(ALIGUnclipped(), samples, x0, 2)
    v = 1 / (1 + 1e-5)
    np.testing.assert_allclose(run.x[:, 0], [0, 1.9 * v, (1.9 + 0.81) * v], rtol=1e-14)
    samples.drawn = 0
    assert np.array_equal(trajectory(ALIG(), samples, x0, 2).x, np.zeros((3, 1)))


# --- Simple AdaSecant ----------------------------------------------------------------------------------------------


def test_simple_adasecant_as_released_has_no_units():
    """SimpleAdaSecantReleased. Gradients times 1024, and the same rates, bit for bit; lr, the first rate, for all."""
    g = np.array([[1.0, 2], [0.6, 1.5], [0.5, -1]])
    rates = [trajectory(SimpleAdaSecantReleased(), Scripted(c * g), np.zeros(2), 3).eta for c in (1, 1024)]
    assert np.array_equal(*rates)
    half = trajectory(SimpleAdaSecantReleased(lr=0.5), Scripted(g), np.zeros(2), 3).eta
    assert np.array_equal(half, rates[0] / 2)


def test_a_normalised_block_moves_by_its_rates_however_small_its_gradient_is():
    """SimpleAdaSecantNormalized. Rates 1, blocks (3, 4) and (1e-9): moves (0.6, 0.8) and 1. As one: g/5."""
    oracle, g = Answers((0.0, [3.0, 4, 1e-9])), np.array([3.0, 4, 1e-9])
    x, eta = one_step(SimpleAdaSecantNormalized(), oracle, np.zeros(3))
    np.testing.assert_allclose(x, -g / 5, rtol=1e-15)
    oracle.blocks = (Block("a", slice(0, 2), (2,)), Block("b", slice(2, 3), (1,)))
    np.testing.assert_allclose(one_step(SimpleAdaSecantNormalized(), oracle, np.zeros(3))[0], [-0.6, -0.8, -1])
    assert (eta == 1).all()


# --- line search ---------------------------------------------------------------------------------------------------


def test_a_released_search_that_fails_moves_a_little_and_remembers_what_it_tried_last():
    """SLSReleased. Every trial above f: 100 of them, then 1e-6 g, uphill here, and 2 · 0.9^100 as the last step.

    As meant there is no step, and the last one stays. c = 2 asks for more than any step keeps.
    """

    class Wall(Function):
        trials = 0

        def value(self, x):
            self.trials += 1
            return super().value(x)

    wall = Wall(lambda x: (0.0 if (x == 1).all() else 1.0, [-1.0]))
    released, meant = SLSReleased(), SLS()
    assert one_step(released, wall, np.ones(1)) == (1 + 1e-6, 1e-6)
    assert wall.trials == 100
    assert released.last == pytest.approx(2 * 0.9**100, rel=1e-12)
    assert one_step(meant, wall, np.ones(1)) == (1, 0)
    assert one_step(SLSReleased(c=2.0), E1, np.ones(1))[1] == 1e-6


def test_a_released_search_grows_along_no_gradient():
    """SLSReleased. |g| = 0.9e-8 counts as none: no trial, no move, and the last step doubled; 1.1e-8 does not."""
    for g, eta in ((0.9e-8, 0.0), (1.1e-8, 2.0)):
        rule = SLSReleased()
        assert one_step(rule, Function(lambda x, g=g: (g * x[0], [g])), np.zeros(1))[1] == eta
        assert rule.last == 2


# --- Adam with a rate of its own -----------------------------------------------------------------------------------


def test_tensor_by_tensor_the_rate_a_coordinate_moves_by_is_the_last_one_corrected():
    """AdamHDReleased. Two steps of one list of gradients in blocks of 1 and 2, eps = 0: u_1 = sign(g_1), so the rate is

    lr + β |g_2| of the first block, and for the second also its β ⟨g, u⟩; and the next step begins from that. 1e-14.
    """
    g = np.array([[1.0, 2, -3], [0.5, 1, -0.25], [0.25, 0.5, 0.125]])
    oracle = Scripted(g)
    oracle.blocks = (Block("a", slice(0, 1), (1,)), Block("b", slice(1, 3), (2,)))
    rule = AdamHDReleased(0.125, 0.5, eps=0.0)
    rule.start(np.zeros(3), oracle)
    x, rates = np.zeros(3), []
    for _ in g:
        oracle.draw()
        x = x + rule.step(x, oracle)
        rates.append(rule.rate.copy())
    assert np.array_equal(rates[0], [0.125] * 3)
    np.testing.assert_allclose(rates[1], np.array([0.25, 0.875, 0.875]) + 0.125, rtol=1e-14)
    u = (0.9 * 0.1 * g[0] + 0.1 * g[1]) / (1 - 0.9**2)
    u /= np.sqrt((0.999 * 0.001 * g[0] ** 2 + 0.001 * g[1] ** 2) / (1 - 0.999**2))
    first = rates[1][2] + 0.5 * g[2, 0] * u[0]
    second = first + 0.5 * g[2, 1:] @ u[1:]
    np.testing.assert_allclose(rates[2], [first, second, second], rtol=1e-14)


# --- a trainable rate ----------------------------------------------------------------------------------------------


def test_without_a_guard_or_a_cap_the_rate_explodes_or_turns_negative():
    """NTLRReleased, K = 1. |g| = 1 for ever: 1 + γ/1e-10; g = 1, 1, 1, 1.1, ...: p > |S|², 1 + 0.2 · 1.1/-0.1 = -1.2.

    As meant both keep the rate.
    """
    for g, factor in (([1.0] * 5, 1 + 2e9), ([1.0, 1, 1, 1.1, 1], -1.2)):
        meant, released = (
            trajectory(kind(GradientDescent(0.125), 1), Scripted(np.reshape(g, (5, 1))), np.zeros(1), 5).eta
            for kind in (NTLR, NTLRReleased)
        )
        np.testing.assert_allclose(released, [0.125] * 4 + [0.125 * factor], rtol=1e-6)
        assert np.array_equal(meant[:4], [0.125] * 4)


def test_a_share_below_one_step_never_changes_the_rate():
    """NTLRReleased. int(0.3 · 3) = 0 steps, where the rule takes one; int(0.4 · 3) = 1 changes it after the fourth."""
    total = problem("least-squares-noisy")
    for kind, share, steps in [(NTLRReleased, 0.3, 12), (NTLRReleased, 0.4, 4), (NTLR, 0.3, 2)]:
        eta = trajectory(kind(GradientDescent(0.01), share=share), FiniteSum(total, Shuffled(12, 4)), total.x0, 12).eta
        assert (eta[:steps] == 0.01).all()
        assert steps == 12 or eta[steps] != 0.01
