"""What the released code does differently, each beside the rule as meant: same samples, another path."""

import numpy as np
import pytest
from answers import Answers, one_step, problem
from runs import Function, trajectory

from refopt import ALIG, ALIGUnclipped, FiniteSum, Shuffled, SPSSmooth, SPSSmoothReleased

x0 = np.zeros(1)


def on_batches(rule):
    """100 mini-batches of 3 of the 12 rows of a least-squares problem without a solution."""
    total = problem("least-squares-noisy")
    return trajectory(rule, FiniteSum(total, Shuffled(12, 3)), total.x0, 100)


# --- SPS with the smooth bound -------------------------------------------------------------------------------------


@pytest.mark.parametrize("eps", [0.0, 0.1])
def test_released_sps_is_the_rule_while_losses_are_positive_gradients_not_zero_and_f_star_is_zero(eps):
    """Bit for bit, on 100 mini-batches of least squares with f* declared 0; growth 2^(1/4) a step."""
    meant, released = (on_batches(rule(f_star=0.0, eps=eps)) for rule in (SPSSmooth, SPSSmoothReleased))
    assert np.array_equal(meant.x, released.x)
    assert np.ptp(meant.eta) > 0.1


def test_one_zero_gradient_freezes_released_sps_for_ever():
    """A step of 0 enters the bound 2 γ_(k-1), and 0 times anything is 0. The rule as meant goes on where it was."""
    samples = Answers((100.0, [1.0]), (1.0, [0.0]), (100.0, [1.0]))
    assert np.array_equal(trajectory(SPSSmooth(), samples, x0, 4).eta, [2, 0, 4, 8])
    samples.drawn = 0
    assert np.array_equal(trajectory(SPSSmoothReleased(), samples, x0, 4).eta, [2, 0, 0, 0])


def test_released_sps_takes_a_gradient_below_1e_8_for_zero():
    """|g| = 1e-9, l = 1e-18: the step is 2 by its formula, and 0 as released; above 1e-8 both are 2."""
    for g, released in ((1e-9, 0), (1.1e-8, 2)):
        sample = Answers((g * g, [g]))
        assert one_step(SPSSmooth(eta_init=9.0), sample, x0)[1] == pytest.approx(2, rel=1e-14)
        assert one_step(SPSSmoothReleased(eta_init=9.0), sample, x0)[1] == pytest.approx(released, rel=1e-14)


def test_released_sps_ignores_f_star():
    """l = 3, f* = 2, |g|² = 4, c = 1/2: the gap is 1 and the step 1/2; released, 3/2, and a field is no use."""
    sample = Answers((3.0, [2.0]), f_star=2.0)
    assert one_step(SPSSmooth(), sample, x0)[1] == 0.5
    assert one_step(SPSSmoothReleased(), sample, x0)[1] == 1.5
    assert one_step(SPSSmoothReleased(f_star=2.0), sample, x0)[1] == 1.5


def test_on_a_negative_loss_released_sps_climbs_and_its_bound_turns_negative():
    """l = -1, g = 1: step -2, uphill; the next bound is 2 · -2, so a good sample is climbed too. As meant: no step."""
    samples = Answers((-1.0, [1.0]), (1.0, [1.0]))
    released = trajectory(SPSSmoothReleased(), samples, x0, 3)
    assert np.array_equal(released.eta, [-2, -4, -8])
    assert np.array_equal(released.x[:, 0], [0, 2, 6, 14])
    samples.drawn = 0
    assert np.array_equal(trajectory(SPSSmooth(), samples, x0, 3).eta, [0, 2, 2])


# --- ALI-G ---------------------------------------------------------------------------------------------------------


def test_unclipped_alig_is_the_rule_as_long_as_no_loss_is_below_its_infimum():
    """Bit for bit, on 100 mini-batches with momentum."""
    meant, unclipped = (on_batches(rule(f_star=0.0, eta_max=1.0)) for rule in (ALIG, ALIGUnclipped))
    assert np.array_equal(meant.x, unclipped.x)
    assert np.ptp(meant.eta) > 0.01


def test_on_a_negative_loss_unclipped_alig_climbs_until_it_is_zero_again():
    """f = x²/2 - 1 from 1, f* taken for 0. Released: x goes up to √2, where f = 0, and stays; as meant: it stays at 1.

    It is Newton's method for f = 0 (δ = 0, μ = 0, no cap): √2 to 1e-15 after 6 steps. The cap bounds steps downhill
    only.
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
    """l = 3, f* = 2, |g|² = 4, δ = 1: (3 - 2)/5; with f* = 4, (3 - 4)/5."""
    rule, sample = ALIGUnclipped(mu=0.0, delta=1.0, eta_max=1.0), Answers((3.0, [2.0]), f_star=2.0)
    assert one_step(rule, sample, x0)[1] == 0.2
    sample.f_star = 4.0
    assert one_step(rule, sample, x0)[1] == -0.2


def test_the_negative_rate_enters_the_velocity():
    """l = -1, g = 1, δ = 1e-5: γ = -1/(1 + δ), v = -γ g, and with g = 0 after it w moves on by μ² v, uphill."""
    samples = Answers((-1.0, [1.0]), (1.0, [0.0]))
    run = trajectory(ALIGUnclipped(), samples, x0, 2)
    v = 1 / (1 + 1e-5)
    np.testing.assert_allclose(run.x[:, 0], [0, 1.9 * v, (1.9 + 0.81) * v], rtol=1e-14)
    samples.drawn = 0
    assert np.array_equal(trajectory(ALIG(), samples, x0, 2).x, np.zeros((3, 1)))
