"""Schedules play the rates their formulas promise, step by step, and a cycle of rates converges as its product says."""

import dataclasses
import pickle
from itertools import islice
from math import acosh, cosh, inf, nan

import numpy as np
import pytest
from runs import trajectory

from refopt import (
    SCHEDULES,
    Cosine,
    Cycle,
    CycleAsPrinted,
    DecayingCycle,
    Every,
    Exponential,
    GradientDescent,
    HalvingCycle,
    HeavyBall,
    InverseTime,
    Linear,
    MultiStep,
    OneCycle,
    Random,
    descend,
    problems,
)


def rates(schedule, steps):
    return [schedule(k) for k in steps]


# --- numbers by hand -----------------------------------------------------------------------------------------------

SASSE = Cycle(0.001, 1, 25 * 390)  # his 25-cycle: 25 epochs of 390 steps
CHECKS = [
    (InverseTime(0.5), range(4), [0.5, 0.25, 0.5 / 3, 0.125]),
    (InverseTime(), range(4), [1, 0.5, 1 / 3, 0.25]),
    (MultiStep(milestones=(2,)), range(4), [0.1, 0.1, 0.01, 0.01]),
    (MultiStep(0.1, (40, 60)), [0, 39, 40, 59, 60, 79], [0.1, 0.1, 0.01, 0.01, 0.001, 0.001]),
    (Exponential(1, 0.001, 39062.5), [0, 1, 2, 39000], [1, 0.9998231771, 0.999646385466, 0.00101111371196]),
    (Exponential(3, 0.001, 39062.5), [0, 1, 2, 39000], [3, 2.99938517398, 2.99877047397, 0.00101289259005]),
    (Exponential(1, 0.001, 39000), [39000], [0.001]),
    (Linear(0.1, 0.01, 10), [0, 1, 5, 10], [0.1, 0.091, 0.055, 0.01]),
    (Linear(0.01, 0.1, 10), [0, 1, 5, 10], [0.01, 0.019, 0.055, 0.1]),
    (Cosine(0.1, 0, 10), [0, 1, 5, 9, 10], [0.1, 0.0975528258148, 0.05, 0.00244717418524, 0]),
    (Cosine(0.1, 0.02, 10), [0, 5, 10, 20], [0.1, 0.06, 0.02, 0.1]),
    (Cycle(0, 1, 8), range(9), [0, 0.25, 0.5, 0.75, 1, 0.75, 0.5, 0.25, 0]),
    (Cycle(0, 9, 9), range(10), [0, 2, 4, 6, 8, 8, 6, 4, 2, 0]),
    (DecayingCycle(0, 9, 9), range(10), [0, 2, 4, 6, 8, 8, 6, 4, 2, 0]),
    (CycleAsPrinted(0, 1, 8), range(9), [0, 0.25, 0.5, 0.75, 0.75, 0.5, 0.25, 0, 0]),
    (CycleAsPrinted(0, 9, 9), range(10), [0, 2, 4, 6, 8, 6, 4, 2, 0, 0]),
    (SASSE, [0, 1, 2], [0.001, 0.00120492307692295, 0.00140984615384635]),
    (SASSE, [4874, 4875, 4876, 9750], [0.999795076923077, 1, 0.999795076923077, 0.001]),
    (SASSE, [13 * 390], [0.96004]),
    (Cycle(1e-4, 0.03, 39000), [1, 2, 3], [0.00010153333333333334, 0.00010306666666666667, 0.00010460000000000001]),
    (Random(0, 1, 0), [0], [0.6369616873214543]),
    (Random(0.001, 1, 0), range(3), [0.637324725634, 0.27051692705, 0.0419325504123]),
    (OneCycle(1, 9, 0.5, 0.5, 1, 2), range(4), [1, 1, 0.5, 0.5]),
    (OneCycle(1, 9, 0.5, 4, 8, 10), range(13), [1, 3, 5, 7, 9, 7, 5, 3, 1, 0.75, 0.5, 0.5, 0.5]),
    (Every(3, MultiStep(1, (1, 2))), range(10), [1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01, 0.01]),
]


@pytest.mark.parametrize(("schedule", "steps", "expected"), CHECKS, ids=lambda value: repr(value)[:60])
def test_a_schedule_plays_the_rates_computed_by_hand(schedule, steps, expected):
    """To the 12 digits printed: half a unit of the last is 5e-12 relative at most. 0 is exact."""
    np.testing.assert_allclose(rates(schedule, steps), expected, rtol=5e-12, atol=0)


def test_the_factor_of_an_exponential_decay_is_the_one_sasse_prints():
    """Eqs. 4.1-4.2, for 39062.5 steps; and what it is for the 39000 steps he took. To the 15 digits given."""
    factors = [Exponential(high, 0.001, steps).gamma for steps in (39062.5, 39000) for high in (1, 3)]
    expected = [0.99982317709987, 0.999795057993751, 0.999822893754933, 0.99979472959476]
    assert factors == pytest.approx(expected, rel=1e-15, abs=5e-16)


PYTORCH_RATES = [  # CyclicLR(base_lr=0.005, max_lr=0.05, step_size_up=7.5), as recorded
    0.005, 0.011, 0.016999999999999998, 0.023, 0.028999999999999998, 0.034999999999999996, 0.040999999999999995,
    0.047000000000000014, 0.047000000000000014, 0.040999999999999995, 0.03500000000000002, 0.028999999999999998,
    0.023, 0.016999999999999998, 0.011, 0.005, 0.010999999999999979, 0.016999999999999998, 0.02300000000000002,
]  # fmt: skip
PYTORCH_MOMENTA = [  # its hidden cycle_momentum, from 0.9 down to 0.8 and back
    0.9, 0.8866666666666667, 0.8733333333333334, 0.8600000000000001, 0.8466666666666667, 0.8333333333333334,
    0.8200000000000001, 0.8066666666666666, 0.8066666666666666, 0.8200000000000001, 0.8333333333333334,
    0.8466666666666667, 0.8600000000000001, 0.8733333333333334, 0.8866666666666667, 0.9, 0.8866666666666667,
    0.8733333333333334, 0.86,
]  # fmt: skip


def test_a_cycle_is_evaluated_in_the_order_of_pytorch_bit_for_bit():
    """(7)-(8) as written. With u = (k mod n)/n, or high - D (1 - s), most of these rates differ in the last digit."""
    assert rates(Cycle(0.005, 0.05, 15), range(19)) == PYTORCH_RATES
    assert rates(Cycle(0.9, 0.8, 15), range(19)) == PYTORCH_MOMENTA


# --- triangles -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3, 8, 9, 100, 101])
def test_the_printed_cycle_never_reaches_its_maximum(n):
    """CL1: Sasse's (2.21) is low + (2/n)(high - low) min(j - 1, n - j), j = 1..n, so (2.23), high at n/2, is wrong.

    It is low at both ends, symmetric, and its peak is (high - low)/n short of high for odd n, twice that for even n.
    low = 0.001, high = 1; 1e-15, an ulp or few of 1, but for the peak, a difference of larger numbers: 1e-14.
    """
    low, high = 0.001, 1.0
    lr, j = np.array(rates(CycleAsPrinted(low, high, n), range(n))), np.arange(1, n + 1)
    assert lr.shape == (n,)
    assert abs(lr - (low + 2 / n * (high - low) * np.minimum(j - 1, n - j))).max() <= 1e-15
    assert abs(lr[[0, -1]] - low).max() <= 1e-15
    assert abs(lr - lr[::-1]).max() <= 1e-15
    assert lr.max() == pytest.approx(high - (high - low) * (1 if n % 2 else 2) / n, abs=1e-14)


def test_the_printed_cycle_repeats_itself_and_plays_low_twice_in_a_row():
    """(11) is said of one cycle; the next begins anew, after the low that ended it."""
    schedule = CycleAsPrinted(0.25, 1.25, 8)
    assert rates(schedule, range(8)) == rates(schedule, range(8, 16)) == rates(schedule, range(80, 88))
    assert schedule(7) == schedule(8) == 0.25


def test_a_triangle_meets_low_high_and_the_middle_exactly():
    """CL2: low at 2is, high at (2i + 1)s, the middle at s/2, period 2s, mean (low + high)/2. Smith 2017, section 3.

    s = 8, low = 2⁻⁴, high = 2, exact in binary, 5 cycles: bit for bit, the mean to 1e-15.
    """
    s, low, high = 8, 2.0**-4, 2.0
    lr = np.array(rates(Cycle(low, high, 2 * s), range(10 * s)))
    np.testing.assert_array_equal(lr[:: 2 * s], [low] * 5)
    np.testing.assert_array_equal(lr[s :: 2 * s], [high] * 5)
    assert lr[s // 2] == (low + high) / 2
    np.testing.assert_array_equal(lr.reshape(5, 2 * s), np.tile(lr[: 2 * s], (5, 1)))
    assert lr[: 2 * s].mean() == pytest.approx((low + high) / 2, abs=1e-15)


def test_triangular2_halves_its_peak_in_every_cycle_and_exp_range_lets_it_decay_in_every_step():
    """CL2: peaks low + (high - low)/2^i in cycle i = 0, 1, ...; low + (high - low) γ^k s elsewhere. Smith 2017.

    Halving is exact; the powers of γ = 0.999 to 2e-15. Both meet low at the end of every cycle, exactly.
    """
    s, low, high = 8, 2.0**-4, 2.0
    halving, decaying = HalvingCycle(low, high, 2 * s), DecayingCycle(low, high, 2 * s, 0.999)
    assert rates(halving, range(s, 10 * s, 2 * s)) == [low + (high - low) / 2**i for i in range(5)]
    assert rates(halving, range(s)) == rates(Cycle(low, high, 2 * s), range(s))
    heights = np.array(rates(Cycle(0, 1, 2 * s), range(10 * s))) * 0.999 ** np.arange(10 * s)
    assert rates(decaying, range(10 * s)) == pytest.approx(low + (high - low) * heights, abs=2e-15)
    assert decaying(s) == pytest.approx(1.98455, abs=5e-6)
    ends = range(0, 10 * s, 2 * s)
    assert rates(halving, ends) == rates(decaying, ends) == [low] * 5
    assert halving(5001 * s) == low, "after 2500 cycles only low is left"


# --- cycles on a quadratic -----------------------------------------------------------------------------------------

QUADRATIC = problems.quadratic()  # κ = 100
LAMBDA, Q = np.logspace(0, 2, 8), problems.rot(8)  # its eigenvalues, and its eigenvectors as columns


def product(lr):
    """Π(1 - lr_j λ) (T + 1, 8) over the first 0, 1, ..., T rates, for each eigenvalue λ."""
    return np.cumprod(np.concatenate([np.ones((1, 8)), 1 - np.outer(lr, LAMBDA)]), axis=0)


def contraction(lr, steps):
    """|e_steps| (8,) from x* plus each eigenvector, by our loop."""
    starts = QUADRATIC.x_star + Q.T
    ends = [trajectory(GradientDescent(lr), QUADRATIC, x0, steps).x[-1] for x0 in starts]
    return np.linalg.norm(ends - QUADRATIC.x_star, axis=1)


def test_the_rates_of_chebyshev_are_the_best_cycle_although_most_exceed_two_over_the_smoothness():
    """CL3: lr_j = 2/(L + mu - (L - mu) cos((2j - 1)π/2K)) multiply λ by at most 1/T_K((κ + 1)/(κ - 1)). Young 1953.

    K = 8, in the order 8, 1, 7, 2, 6, 3, 5, 4, against rounding; equality at mu to 1e-9; largest rate 25.6 (2/L).
    From x0 every component is the product Π(1 - lr_j λ) of it after every step, to 1e-10 of d_0.
    """
    L, mu, K = QUADRATIC.L, QUADRATIC.mu, 8
    j = np.array([8, 1, 7, 2, 6, 3, 5, 4])
    lr = 2 / (L + mu - (L - mu) * np.cos((2 * j - 1) * np.pi / (2 * K)))
    assert lr.max() * L / 2 == pytest.approx(25.6262, abs=1e-4)
    factors = contraction(lambda k: lr[k % K], K) * cosh(K * acosh(101 / 99))
    assert factors[0] == pytest.approx(1, abs=1e-9)
    assert factors.max() <= 1 + 1e-9
    e = (trajectory(GradientDescent(lambda k: lr[k % K]), QUADRATIC, QUADRATIC.x0, K).x - QUADRATIC.x_star) @ Q
    assert e.shape == (K + 1, 8)
    assert abs(e - product(lr) * e[0]).max() <= 1e-10 * np.linalg.norm(e[0])


def test_a_triangle_that_peaks_above_the_stable_rate_converges_if_its_product_does():
    """CL3: Cycle(0.2/L, 2.4/L, 8) shrinks every eigenvector by Π(1 - lr(k) λ), 0.900443 at worst, in every cycle.

    Ten cycles are its tenth power, to 1e-10; a constant rate 2.4/L diverges.
    """
    L = QUADRATIC.L
    schedule = Cycle(0.2 / L, 2.4 / L, 8)
    lr = 0.2 / L + 2.2 / L * np.array([0, 0.25, 0.5, 0.75, 1, 0.75, 0.5, 0.25])
    shrunk = abs(product(lr)[-1])
    assert shrunk.max() == pytest.approx(0.900443, abs=1e-6)
    for steps in range(1, 9):
        assert contraction(schedule, steps) == pytest.approx(abs(product(lr)[steps]), abs=1e-10)
    assert contraction(schedule, 80) == pytest.approx(shrunk**10, abs=1e-10)
    assert contraction(2.4 / L, 8).max() >= 2


# --- every schedule ------------------------------------------------------------------------------------------------

EXAMPLES = [
    InverseTime(0.02), MultiStep(0.02, (5, 9)), Exponential(0.02, 0.001, 20), Linear(0.02, 0, 20), Cosine(0.02, 0, 20),
    Cycle(0.001, 0.02, 8), HalvingCycle(0.001, 0.02, 8), DecayingCycle(0.001, 0.02, 8, 0.99),
    CycleAsPrinted(0.001, 0.02, 8), OneCycle(0.001, 0.02, 0.0001, 6, 12, 20), Random(0.001, 0.02, 7),
    Every(4, Linear(0.02, 0, 5)),
]  # fmt: skip


def test_every_schedule_is_tested_below():
    assert [type(schedule) for schedule in EXAMPLES] == SCHEDULES


@pytest.mark.parametrize("schedule", EXAMPLES, ids=repr)
def test_a_schedule_is_a_pure_function_of_the_step(schedule):
    """Asked in another order, or as a pickled copy, it says the same; it returns plain floats and cannot be changed."""
    forward = rates(schedule, range(20))
    assert {type(rate) for rate in forward} == {float}
    assert len(set(forward)) >= 3
    assert rates(schedule, reversed(range(20))) == forward[::-1]
    copy = pickle.loads(pickle.dumps(schedule))
    assert copy == schedule
    assert rates(copy, range(20)) == forward
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(schedule, dataclasses.fields(schedule)[0].name, 1)


@pytest.mark.parametrize("schedule", EXAMPLES, ids=repr)
def test_a_run_under_a_schedule_resumes_without_a_seam(schedule):
    """20 steps, and 7 + 13 with the state carried over: the same x and rates, bit for bit; step k plays lr(k)."""
    momentum = Cycle(0.9, 0.8, 8)
    whole = trajectory(HeavyBall(schedule, momentum), QUADRATIC, QUADRATIC.x0, 20)
    assert whole.eta.tolist() == rates(schedule, range(20))
    rule = HeavyBall(schedule, momentum)
    x7 = trajectory(rule, QUADRATIC, QUADRATIC.x0, 7).x[7]
    again = descend(HeavyBall(schedule, momentum), QUADRATIC, x7, state=rule.state(), taken=7)
    steps = [(step.t, step.eta, step.x.copy()) for step in islice(again, 13)]
    assert [t for t, _, _ in steps] == list(range(8, 21))
    assert [eta for _, eta, _ in steps] == whole.eta[7:].tolist()
    np.testing.assert_array_equal([x for _, _, x in steps], whole.x[8:])


def test_step_k_of_a_random_rate_has_the_kth_number_of_the_seeds_stream():
    """Bit for bit what one generator draws in a row, 200 numbers from 3 seeds; other seeds, other numbers."""
    streams = [np.random.default_rng(seed).uniform(0.25, 2, 200).tolist() for seed in (0, 1, 12345)]
    assert [rates(Random(0.25, 2, seed), range(200)) for seed in (0, 1, 12345)] == streams
    assert Random(0.25, 2, 1)(np.int64(7)) == Random(0.25, 2, 1)(7)
    assert all(0.25 <= rate < 2 for stream in streams for rate in stream)
    assert not set(streams[0]) & set(streams[1])


POSITIVE = {
    InverseTime: ("tau",), MultiStep: ("lr", "gamma"), Exponential: ("start", "end", "steps"), Linear: ("steps",),
    Cosine: ("steps",), Cycle: ("steps",), HalvingCycle: ("steps",), DecayingCycle: ("steps", "gamma"),
    CycleAsPrinted: ("steps",), Every: ("steps",),
}  # fmt: skip
NONNEGATIVE = {
    Linear: ("start", "end"), Cosine: ("start", "end"), Cycle: ("low", "high"), HalvingCycle: ("low", "high"),
    DecayingCycle: ("low", "high"), CycleAsPrinted: ("low", "high"), OneCycle: ("low", "high", "final"),
    Random: ("low", "high"),
}  # fmt: skip


@pytest.mark.parametrize("schedule", EXAMPLES, ids=repr)
def test_a_schedule_refuses_a_hyper_parameter_out_of_range_by_name(schedule):
    """Every wrong value of every field is named in the error; 0 is right where it only means no step."""
    kind = type(schedule)
    wrong = [(name, value) for name in POSITIVE.get(kind, ()) for value in (0, -1, nan, inf, "1", None)]
    wrong += [(name, value) for name in NONNEGATIVE.get(kind, ()) for value in (-1, nan, inf, "1", None)]
    assert len(wrong) >= 6
    for name, value in wrong:
        with pytest.raises(ValueError, match=rf"^{name} must be"):
            dataclasses.replace(schedule, **{name: value})
    dataclasses.replace(schedule, **dict.fromkeys(NONNEGATIVE.get(kind, ()), 0))


def test_counts_seeds_and_orders_that_make_no_sense_are_refused():
    for wrong in (0.5, 2.0, -3):
        with pytest.raises(ValueError, match=r"^steps must be a positive integer"):
            Every(wrong, InverseTime())
    for wrong in (0.1, None, InverseTime):
        with pytest.raises(ValueError, match=r"^schedule must be a schedule"):
            Every(3, wrong)
    for wrong in ([3, 5], 5, None):
        with pytest.raises(ValueError, match=r"^milestones must be a tuple"):
            MultiStep(0.1, wrong)
    for wrong in ((1.0, 0.5, 0), (0.5, 1.0, 1.5)):
        with pytest.raises(ValueError, match=r"^low must not exceed high, and seed be an integer"):
            Random(*wrong)
    with pytest.raises(ValueError, match=r"^seed must be"):
        Random(0.5, 1.0, -1)


def test_milestones_before_the_start_and_corners_out_of_order_are_refused():
    with pytest.raises(ValueError, match=r"^milestone -1 must be"):
        MultiStep(0.1, (3, -1))
    for corners in [(0, 3, 6), (-1, 3, 6), (3, 3, 6), (4, 3, 6), (2, 7, 6), (nan, 3, 6)]:
        with pytest.raises(ValueError, match=r"^top, foot and steps must ascend"):
            OneCycle(1, 2, 0, *corners)


def test_a_decay_past_its_horizon_goes_on_by_its_formula():
    """Linear and Cosine do not clamp: the line goes on below `end`, the cosine climbs back; OneCycle stays."""
    assert Linear(1, 0.5, 4)(8) == 0
    assert Cosine(1, 0.5, 4)(8) == 1
    assert Exponential(1, 0.25, 4)(8) == pytest.approx(0.0625, rel=1e-15)
    assert rates(OneCycle(1, 2, 0.5, 2, 4, 6), (6, 7, 1000)) == [0.5] * 3


@pytest.mark.parametrize("n", [1, 7, 10])
def test_every_holds_each_value_for_n_steps(n):
    """3 n + 1 steps: value i plays n times, from step i n."""
    inner = Linear(1, 0.25, 6)
    assert rates(Every(n, inner), range(3 * n + 1)) == [inner(i) for i in range(3) for _ in range(n)] + [inner(3)]


def test_a_halving_cycle_dies_out_and_every_holds_schedules_only():
    assert HalvingCycle(0.1, 1.0, 8)(8 * 1025 + 4) == 0.1
    for other in ("abc", None, -1.0, 0.1, GradientDescent()):
        with pytest.raises(ValueError, match=r"^schedule must be a schedule such as Cycle"):
            Every(3, other)
