"""AdaSecant: numbers by hand, the theorems AS4 and AS5, why the theory dies, and what holds the authors' form together.

Their form goes by the name of its class in their code, Adasecant, in the docstrings of the tests of its lines.

s is the last move, a what it did to the gradient, E[.] an average with memory tau.
"""

from itertools import accumulate, islice

import numpy as np
import pytest
from answers import problem
from hypothesis import given, settings
from hypothesis import strategies as st
from runs import Scripted, parabola, trajectory

from refopt import (
    AdaSecant,
    AdaSecantLagged,
    AdaSecantTheory,
    AdaSecantThesis,
    AdaSecantThesisCorrected,
    Box,
    Constrained,
    FiniteSum,
    Oracle,
    Shuffled,
    descend,
)
from refopt.oracle import Block
from refopt.problems import vec
from refopt.rules import adasecant
from refopt.rules.adasecant import EPS, averaged, outlier


class Pairs(Scripted):
    """The listed gradients, one a draw, and what a look at the next batch shows."""

    def __init__(self, gradients, peeked):
        super().__init__(gradients)
        self.peeked = peeked

    def peek(self, x):
        return np.float64(0), np.array([self.peeked[self.drawn - 1]])


def four():
    return Pairs([[1.0], [0.6], [0.5], [-0.2]], [0.8, 0.7, 0.3, 0.1])


def followed(rule, oracle, x0, steps):
    """Iterates, rates and memories (steps, n), after every step."""
    rows = ((s.x.copy(), s.eta, rule.tau) for s in islice(descend(rule, oracle, np.array(x0, float)), steps))
    return [np.array(column) for column in zip(*rows, strict=True)]


# --- by hand -------------------------------------------------------------------------------------------------------

BY_HAND: dict[str, tuple] = {  # rule, problem, rates, memories (None: not computed), iterates; all from 1
    "in theory": (
        AdaSecantTheory(), four(), [0, 1.76776695297, 2.93710706221, 0.299846078206],
        [1.5, 2, 1.67674510525, 1.5], [1, -0.237436867076, -1.51160731261, -1.53086281281],
    ),
    "lagged": (
        AdaSecantLagged(), four(), [0, 1.76776695297, -0.244873453132, 0.805062801769],
        [1.5, 2, 1.67674510525, 2.39512515552], [1, -0.237436867076, -0.131206310863, -0.182905792936],
    ),
    "the authors' on given gradients": (
        AdaSecant(), four(), [1.44906591951, 6.92998310143, 11.8941411317, 7.75152466291],
        None, [0.897535510304, 0.468486145695, -0.265758207391, -0.287938155177],
    ),
    "the authors' on 2 x^2": (
        AdaSecant(), parabola(4), [1.44906591951, 6.03124686216, 17.1115147217, 5.66592617624],
        [1.5, 2.47280062687, 1.81018184588, 1.51906903855],
        [0.897535509761, 0.375489084462, -0.734335877406, -0.469442154684],
    ),
    "the thesis' without plain steps": (
        AdaSecantThesis(warmup=0), four(), [0, 1.76776695297, 2.62639655869, 0.239800323764],
        [1.5, 2.00000015, 1.66750801383, 1.5], [1, -0.0606601717798, -1.37385845112, -1.32589838637],
    ),
    "the same, corrected": (
        AdaSecantThesisCorrected(warmup=0), four(), [0, 1.76776677619, 2.93710395908, 0.299845591606],
        None, [1, -0.237435220855, -1.51160565624, -1.53086101135],
    ),
    "the thesis' on x^2 / 4, two plain steps": (
        AdaSecantThesis(warmup=2), parabola(0.5), [0, 139.435497666, 87.1893008521, 3.58606465509e-05],
        None, [0.995, 0.990025, -42.1697687881, -42.1690126705],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BY_HAND)
def test_the_first_steps_are_those_computed_by_hand(case):
    """AdaSecantTheory, AdaSecantLagged; Adasecant; AdaSecantThesis, AdaSecantThesisCorrected.

    Twelve digits were computed by hand, so 1e-11; the last rate of the last run is a difference of two near 84, so
    1e-12 of that.
    """
    rule, oracle, eta, tau, x = BY_HAND[case]
    oracle.drawn = 0
    xs, etas, taus = followed(rule, oracle, [1.0], 4)
    np.testing.assert_allclose(etas[:, 0], eta, rtol=1e-11, atol=1e-10 * (max(eta) > 100))
    np.testing.assert_allclose(xs[:, 0], x, rtol=1e-11)
    if tau is not None:
        np.testing.assert_allclose(taus[:, 0], tau, rtol=1e-11)


@pytest.mark.parametrize("kind", [AdaSecantTheory, AdaSecantLagged])
def test_the_corrected_gradients_are_those_computed_by_hand(kind, monkeypatch):
    """AdaSecantTheory, (2)-(4). Also the first, along which x does not move. And the averages of g and g², by (2)."""
    noted, correct = [], AdaSecantTheory.correct

    def noting(*arguments):
        noted.append(correct(*arguments))
        return noted[-1]

    monkeypatch.setattr(AdaSecantTheory, "correct", staticmethod(noting))
    trajectory(kind(), four(), np.ones(1), 4)
    by_hand = [1, 0.7, 0.433818181818, 0.0642179491582]
    np.testing.assert_allclose([c[0] for *_, c in noted], by_hand, rtol=1e-11)
    g, tau = four().gradients[:, 0], [1, 1.5, 2, 1.67674510525]
    for z, averages in ((g, [m[0] for m, *_ in noted]), (g * g, [E_gg[0] for _, E_gg, *_ in noted])):
        by_hand = list(
            accumulate(zip(z, tau, strict=True), lambda E, z_tau: averaged(z_tau[1])(E, z_tau[0]), initial=0.0)
        )[1:]
        np.testing.assert_allclose(averages, by_hand, rtol=1e-11)


def test_a_block_has_one_norm_by_hand():
    """Adasecant. (x² + 10 y²)/2 from (10, 1), both in one block, which is what no blocks means too."""
    bowl, x0 = parabola(1, 10), np.array([10.0, 1])
    run = trajectory(AdaSecant(), bowl, x0, 3)
    by_hand = [[9.9275502957, 0.927550295697], [9.59529032847, 0.568310079033], [7.80396732645, -0.738796780254]]
    np.testing.assert_allclose(run.x[1:], by_hand, rtol=1e-11)
    bowl.blocks = (Block("x", slice(0, 2), (2,)),)
    assert np.array_equal(trajectory(AdaSecant(), bowl, x0, 3).x, run.x)


# --- the formulas of the theory ------------------------------------------------------------------------------------

numbers = st.floats(-10, 10).filter(lambda z: abs(z) > 1e-3)
few = settings(max_examples=60, deadline=None)


def rates(s, a, partner, tau):
    """The rate after every pair of a move and a difference, and both averages of squares."""
    E = [np.zeros(1)] * 5
    for values in zip(s, a, partner, tau, strict=True):
        s_t, a_t, partner_t, tau_t = (np.array([value]) for value in values)
        *E, alpha = AdaSecantTheory.rate(s_t, a_t, partner_t, *E, tau_t)
        yield alpha[0], E


def test_four_moves_and_differences_weighted_by_tenths():
    """AS4. Memories 1, 3/2, 2, 5/2 weigh them 0.1, 0.2, 0.3, 0.4. 0 ≤ α ≤ 2 √(E[s²]/E[a²]); 0 for a = 2.5 s, and 2/2.5

    for a = -2.5 s; to 1e-15. In Sasse's pseudocode a = g = -s in the first step: α = 2, from 1 to -1 where g = 1.
    """
    weights, tau = np.array([0.1, 0.2, 0.3, 0.4]), [1, 1.5, 2, 2.5]
    s, a = vec(4, 1.0), vec(4)
    *_, (alpha, averages) = rates(s, a, a, tau)
    by_hand = [weights @ z for z in (s, s * s, a * s, a, a * a)]
    np.testing.assert_allclose(np.array(averages)[:, 0], by_hand, rtol=0, atol=1e-15)
    _, E_ss, E_as, _, E_aa = by_hand
    assert 0 <= alpha <= 2 * np.sqrt(E_ss / E_aa)
    assert alpha > 1e-4, "it is not 0"
    assert abs(alpha - (np.sqrt(E_ss / E_aa) - E_as / E_aa)) <= 1e-15
    for factor, expected in ((2.5, 0.0), (-2.5, 0.8)):
        *_, (alpha, _) = rates(s, factor * s, factor * s, tau)
        assert abs(alpha - expected) <= 1e-15
    ((alpha, _),) = rates([-1.0], [1.0], [1.0], [1.0])
    assert 1 - alpha * 1.0 == -1


@few
@given(st.lists(st.tuples(numbers, numbers, st.floats(1, 50)), min_size=1, max_size=12))
def test_the_rate_lies_between_zero_and_twice_the_secant(history):
    """AS4. Gulcehre et al. 2017; Sasse eq. 2.43. α = (1 - ρ) √E[s²]/√E[a²], -1 ≤ ρ ≤ 1; to 1e-12, any memories."""
    s, a, tau = zip(*history, strict=True)
    for alpha, (_E_s, E_ss, E_as, _E_a, E_aa) in rates(s, a, a, tau):
        secant, rho = np.sqrt(E_ss / E_aa), E_as / np.sqrt(E_ss * E_aa)
        assert -1e-12 * secant <= alpha <= 2 * secant * (1 + 1e-12)
        assert abs(alpha - (1 - rho) * secant) <= 1e-12 * secant


@few
@given(st.lists(st.tuples(numbers, st.floats(1, 50)), min_size=1, max_size=12), st.sampled_from([0.01, 1.0, 300.0]))
def test_without_noise_the_rate_is_zero_and_with_the_other_sign_of_a_twice_the_newton_step(history, h):
    """AS4. a = h s: α = 1/h - 1/h = 0, to 1e-13 of 1/h; a = -h s, item 4 of the thesis' list: α = 2/h."""
    s, tau = zip(*history, strict=True)
    a = h * np.array(s)
    assert all(abs(alpha) <= 1e-13 / h for alpha, _ in rates(s, a, a, tau))
    assert all(abs(alpha - 2 / h) <= 1e-13 / h for alpha, _ in rates(s, -a, -a, tau))


@pytest.mark.parametrize(("sign", "factor"), [(1, 1), (-1, -1)])
def test_with_memory_one_x_rests_or_jumps_about_its_target_for_ever(sign, factor):
    """AS4. 3x²/2 from 1, first rate 0.1, τ = 1: x rests after one step if a = g - g_last, and changes its sign in every

    step if a = g_last - g; 20 steps, to 1e-13.
    """
    x = [1.0, 0.7]
    for _ in range(20):
        s = x[-1] - x[-2]
        ((alpha, _),) = rates([s], [sign * 3 * s], [sign * 3 * s], [1.0])
        x.append(x[-1] - alpha * 3 * x[-1])
    np.testing.assert_allclose(x[1:], 0.7 * factor ** np.arange(21), rtol=1e-13)


def test_the_corrected_gradient_is_the_mix_with_the_mean_that_predicts_the_next_batch_best():
    """AdaSecantTheory, (3), (4). g̃ = m + w (g - m) with the least squares w of g' - m on g - m; SciPy's problem solved
    by NumPy's lstsq. With τ = ∞ the averages stay what they are: those of 200 pairs whose noise is partly common. To
    1e-12.
    """
    rng = np.random.default_rng(0)
    m, common = 1.5, rng.standard_normal(200)
    g, g_next = m + common + rng.standard_normal(200), m + common + rng.standard_normal(200)
    num, den = ((g - g_next) * (g - m)).mean(), ((g - m) * (g_next - m)).mean()
    w = np.linalg.lstsq((g - m)[:, None], g_next - m)[0][0]
    one = np.ones(1)
    averages = m * one, one, num * one, den * one
    *same, c = AdaSecantTheory.correct(4 * one, 7 * one, *averages, np.inf * one, 0.0)
    np.testing.assert_allclose(c, m + w * (4 - m), rtol=1e-12)
    np.testing.assert_array_equal(same, averages)
    assert 0.3 < w < 0.7


@pytest.mark.parametrize(("num", "den", "expected"), [(0.0, 0.0, 4.0), (3.0, 0.0, 4.0), (-2.0, 2.0, 4.0)])
def test_where_the_correction_is_undefined_the_gradient_stays(num, den, expected):
    """AdaSecantTheory, (3), (4). γ = 0/0, x/0 and 1 + γ = 0."""
    one = np.ones(1)
    *_, c = AdaSecantTheory.correct(4 * one, 7 * one, one, one, num * one, den * one, np.inf * one, 0.0)
    assert c == expected


def memory(tau, E_s=0.0, E_ss=1.0, **others):
    """The next memory of a coordinate where nothing is an outlier, unless others say so."""
    values = {"g": 1.0, "m": 1.0, "E_gg": 2.0, "a": 1.0, "E_a": 1.0, "E_aa": 2.0, "E_s": E_s, "E_ss": E_ss, "tau": tau}
    arguments = {name: np.array([value]) for name, value in (values | others).items()}
    return AdaSecantTheory.remember(*arguments.values(), 0.0)[0]


def test_the_memory_counts_moves_that_alternate_and_forgets_those_that_repeat():
    """AS5. Gulcehre et al. 2017; Sasse eqs. 2.41-2.42. E[s] = 0: one more each step.

    E[s]² = E[s²]: 1, so the lower bound 1.5, for ever. Between them (1 - 1/4) 8 + 1 = 7, exactly; and no more than 1e7.
    """
    assert [memory(float(tau)) for tau in range(1, 20)] == list(range(2, 21))
    assert memory(8.0, E_s=-0.7, E_ss=0.49) == memory(1.5, E_s=0.7, E_ss=0.49) == 1.5
    assert memory(8.0, E_s=0.5) == 7
    assert memory(1e7) == 1e7


def test_with_a_memory_that_counts_the_average_is_the_plain_mean_and_with_memory_one_the_last_value():
    """AS5. To 1e-15 of 20 values below 1; the memory, from 1 on where moves alternate, is exactly their number."""
    z = vec(20)
    average, tau = 123.0, 1.0
    for j, value in enumerate(z, 1):
        assert tau == j
        average = averaged(tau)(average, value)
        assert abs(average - z[:j].mean()) <= 1e-15
        assert averaged(1.0)(5.0, value) == value
        tau = memory(tau)


@pytest.mark.parametrize("far", [{"g": 3.01}, {"g": -1.01}, {"a": 3.01}, {"a": -1.01}])
@pytest.mark.parametrize("tau", [1.5, 400.0])
def test_an_outlier_cuts_the_memory_to_2_2(far, tau):
    """AS5. Means 1 and variances 1: beyond two standard deviations. A little nearer, nothing happens.

    It is 2.2 also where moves repeat, and beyond none where the variance is 0, or -1e-16 by rounding.
    """
    assert memory(tau, **far) == memory(tau, E_s=1.0, **far) == 2.2
    assert memory(tau, **far, **{f"E_{name}{name}": 1 - 1e-16 for name in far}) == 2.2
    near = {name: value - np.sign(value) * 0.02 for name, value in far.items()}
    assert memory(tau, **near) == tau + 1


# --- why it dies ---------------------------------------------------------------------------------------------------


class Noisy(Oracle):
    """x²/4 in 1000 coordinates, h = 1/2, with Gaussian noise 0.1 in every gradient."""

    drawn = 0

    def seek(self, position):
        self.drawn = position

    def position(self):
        return self.drawn

    def draw(self):
        self.drawn += 1

    def __call__(self, x):
        return x.dtype.type(0), x / 2 + 0.1 * np.random.default_rng(self.drawn).standard_normal(x.size)


class Warm(AdaSecantLagged):
    """AdaSecantLagged after 20 plain steps of rate 0.1, with gradients as they come: γ = 0."""

    @staticmethod
    def correct(g, *rest):
        *averages, _c = AdaSecantTheory.correct(g, *rest)
        return *averages, g

    def step(self, x, oracle):
        d = super().step(x, oracle)
        return d if self.t > 20 else -0.1 * self.g


class WarmSame(Warm):
    """The same, paired as in theory."""

    def partner(self, a):
        return a


WHEN = [40, 80, 160, 320]


def typical(rule):
    """Mean rate, and length of the moves, at some steps."""
    run = trajectory(rule, Noisy(), np.ones(1000), 321)
    moves = np.sqrt((np.diff(run.x, axis=0) ** 2).mean(axis=1))
    return run.eta.mean(axis=1)[WHEN], moves[WHEN], np.sqrt((run.x[-1] ** 2).mean())


def test_with_noise_the_rates_of_the_theory_die_geometrically_and_lagged_they_grow_past_what_is_stable():
    """AS4, equation (9). Newton's rate is 2, and 4 the limit. From step 40 on, whenever time doubles, the rate of the
    theory falls to less than 1/2, 1/10, 1/5 of itself, and the moves to 1/2, 1/5, 1/5; lagged, the rate grows."""
    rate, move, _ = typical(WarmSame())
    assert (rate[1:] < rate[:-1] * [0.5, 0.1, 0.2]).all(), rate
    assert (move[1:] < move[:-1] * [0.5, 0.2, 0.2]).all(), move
    rate, _, distance = typical(Warm())
    assert (np.diff(rate) > 0.3).all(), rate
    assert rate[-1] > 3
    assert distance > 0.5, "it has wandered off: noise alone would be 0.2"


def test_as_the_thesis_ran_it_it_dies_too():
    """AdaSecantThesis. Its mean rate ends below 1e-4, as in Figure 4.18; x is still as far from 0 as the noise allows
    to see."""
    rate, move, distance = typical(AdaSecantThesis(warmup=20))
    assert rate[-1] < 1e-4
    assert move[-1] < 1e-4
    assert distance > 0.05


def test_the_authors_form_lives_and_gets_nearer_than_the_noise():
    """Noise 0.1 in the gradient is 0.2 in x; it starts at 1."""
    _, _, distance = typical(AdaSecant())
    assert distance < 0.05


@pytest.mark.parametrize("kind", [AdaSecantTheory, AdaSecantLagged])
def test_without_noise_the_theory_never_moves_at_all(kind):
    """AS4. The first difference is 0, so the first rate, so the second difference, and so on."""
    run = trajectory(kind(), parabola(1, 10), np.array([10.0, 1]), 20)
    assert (run.x == run.x[0]).all()
    assert (run.eta == 0).all()


# --- the move that happened, and what a step leaves alone ------------------------------------------------------------

KINDS = [AdaSecantTheory, AdaSecantLagged, AdaSecant, AdaSecantThesis, AdaSecantThesisCorrected]


@pytest.mark.parametrize("kind", KINDS)
def test_under_a_projection_the_averages_see_the_move_that_happened(kind):
    """E[s] after each step is that of the step before, moved by (2) towards x_t - x_{t-1}, in a box that x leaves."""
    total = problem("least-squares")
    oracle = Constrained(FiniteSum(total, Shuffled(12, 3)), Box(total.x0 - 0.004, total.x0 + 0.004))
    rule, x, known = kind(), total.x0, None
    on_the_edge = 0
    for step in islice(descend(rule, oracle, total.x0), 10):
        if known is not None:
            np.testing.assert_allclose(rule.E_s, known, rtol=1e-9, atol=1e-15)
        known = averaged(getattr(rule, "tau_last", rule.tau))(rule.E_s, step.x - x)
        x = step.x.copy()
        on_the_edge += (abs(x - total.x0) > 0.00399).sum()
    assert on_the_edge >= 5, "the box is needed"


# --- the authors' form ---------------------------------------------------------------------------------------------

HEAD, TAIL = Block("head", slice(0, 2), (2,)), Block("tail", slice(4, 6), (1, 2))
G = np.random.default_rng(3).standard_normal((6, 6))


def blocked(gradients):
    """Gradients in six coordinates: a head, a gap of two, in which they are 0, and a tail."""
    oracle = Scripted(gradients * [1, 1, 0, 0, 1, 1])
    oracle.blocks = (HEAD, TAIL)
    return oracle


def test_every_block_has_a_norm_of_its_own():
    """Adasecant. Scaling the gradients of the tail by 2^10 leaves the head bit-equal, and the tail nearly: q takes |n|²
    for |g|², which changes its scale by some 1e-5 a step at first; 1e-2 after six."""
    run = trajectory(AdaSecant(), blocked(G), np.ones(6), 6).x
    scaled = trajectory(AdaSecant(), blocked(G * [1, 1, 1, 1, 1024, 1024]), np.ones(6), 6).x
    assert np.array_equal(run[:, :2], scaled[:, :2])
    np.testing.assert_allclose(scaled[:, 4:], run[:, 4:], rtol=1e-2)
    one_block = Scripted(G * [1, 1, 0, 0, 1, 1])
    assert abs(trajectory(AdaSecant(), one_block, np.ones(6), 6).x - run).max() > 0.01


def test_normalising_forgets_the_first_gradient_and_leaves_the_root_of_the_norm():
    """Adasecant, (12). First |n| = |g| √0.005 / |g|; while q fades, larger; with q fed by |n|², q → |g| and |n| → √|g|.

    |g| = 5 all the time, 3000 steps: 0.995^3000 = 3e-7. Not 1, as after division by a mean of |g|.
    """
    rule, lengths = AdaSecant(), []
    for _ in islice(descend(rule, Scripted([[3.0, 4.0]] * 3000), np.ones(2)), 3000):
        lengths.append(np.linalg.norm(rule.n))
    assert abs(lengths[0] - np.sqrt(0.005)) <= 1e-6
    assert abs(lengths[-1] - np.sqrt(5)) <= 1e-4


def test_padding_stays_where_it_is_and_a_dead_coordinate_of_a_block_moves_by_about_eps():
    """Adasecant. E[n] starts at ε: in the first step that is d = -α γ m / (1 + γ), between 1e-9 and 1e-6 here."""
    gradients = G.copy()
    gradients[:, 1] = 0
    x = trajectory(AdaSecant(), blocked(gradients), np.ones(6), 6).x
    assert (x[:, 2:4] == 1).all()
    assert 1e-9 < abs(x[1, 1] - 1) < 1e-6


def test_gradients_are_clipped_by_the_mean_norm_of_the_blocks():
    """Adasecant, (11). Norms 3 and 1: their mean, 2, is cut to 0.5 by a factor 1/4 for both. To 1e-12; a later, smaller
    one is kept."""
    long = np.array([3.0, 0, 0, 0, 0, -1])
    given_, by_hand = np.array([long, 0.1 * long, G[0]]), np.array([long / 4, 0.1 * long, 0.0 * G[0]])
    factor = 0.5 / np.mean([np.linalg.norm(G[0, :2]), np.linalg.norm(G[0, 4:])])
    assert factor < 1
    by_hand[2] = factor * G[0]
    run = trajectory(AdaSecant(grad_clip=0.5), blocked(given_), np.ones(6), 3)
    np.testing.assert_allclose(run.x, trajectory(AdaSecant(), blocked(by_hand), np.ones(6), 3).x, rtol=1e-12)
    assert abs(run.x - trajectory(AdaSecant(), blocked(given_), np.ones(6), 3).x).max() > 1e-3


def test_rates_and_corrections_are_bounded():
    """Adasecant. |α| ≤ its bound, attained on both sides; γ ≤ 1e-9 is no correction, c = n: d = -α n / r, to 1e-8."""
    rule = AdaSecant(alpha_clip=0.5, gamma_clip=1e-9)
    oracle = blocked(G)
    eta = trajectory(rule, oracle, np.ones(6), 6).eta
    assert abs(eta).max() == 0.5
    assert eta.max() == 0.5
    np.testing.assert_allclose(rule.c, rule.n, rtol=0, atol=1e-8)
    oracle.drawn = 0
    uncorrected = AdaSecant(alpha_clip=0.5)
    trajectory(uncorrected, oracle, np.ones(6), 6)
    assert abs(uncorrected.c - uncorrected.n).max() > 0.01


def test_an_outlier_deviates_by_more_than_twice_the_root_of_a_variance_that_is_one():
    """AS5. A negative variance, which their bias correction makes, has no root: nothing is an outlier there."""
    far = outlier(np.array([2.01, -2.01, 1.99, 0.0, 5.0, 1e-9, 0]), np.array([1.0, 1, 1, 0, -1, 0, 0]))
    assert far.tolist() == [True, True, False, False, False, True, False]


def after(n, s, /, alpha_clip=25.0, **before):
    """The move, the rate, and the averages of AdaSecant in one coordinate; before it all that are not given are 0."""
    state = dict.fromkeys(AdaSecant.FIRST, 0.0) | {"tau_last": np.inf} | before
    arrays = [np.array([value]) for value in state.values()]
    g, factor, x, last_x = np.array([[n], [1.0], [s], [0.0]])
    *averages, _x, d = AdaSecant.lines(g, factor, x, last_x, np.inf, alpha_clip, *arrays)
    new = {name: value[0] for name, value in zip(AdaSecant.FIRST, averages, strict=True)}
    return d[0], adasecant.alpha(*(np.array(new[name]) for name in ("E_ss", "E_kk", "E_ks")), alpha_clip), new


def test_one_step_of_the_authors_lines_by_hand():
    """Adasecant, (13)-(21). s = 3, k = 2 with memory 2; then n = 5, k = 4 with memory 4; π = 1/2. Binary fractions, so

    1e-15, but for γ = √16/(√4 + 1e-6) = 2 and E + ε, 1e-6.
    """
    state = {"n": 1.0, "k": 2.0, "c": 2.0, "pi": 0.5, "tau": 4.0, "tau_last": 2.0, "num": 16.0, "den": 4.0, "A": 12.0}
    state |= {"E_s": 1.0, "E_ss": 7.0, "E_ks": 2.0, "E_n": 4.0, "E_nn": 9.0, "E_k": 8.0, "E_kk": 16.0}
    d, alpha, averages = after(5.0, 3.0, **state)
    exact = {"E_s": 2.0, "E_ss": 8.0, "E_ks": 4.0, "E_n": 4.25, "E_nn": 13.0, "E_k": 7.0, "E_kk": 16.0, "pi": 0.375}
    for name, value in exact.items():
        np.testing.assert_allclose(averages[name], value, rtol=1e-15, err_msg=name)
    m = 4.25 / 0.625
    num, den = 12 + ((5 - 2) * (2 - m)) ** 2 / 4, 3 + ((m - 5) * (2 - m)) ** 2 / 4
    c, rate = (5 + 2 * m) / 3, np.sqrt(8 / 16) - 4 / 16
    assert [averages[name] for name in ("n", "k", "tau_last")] == [5, 4, 4]
    np.testing.assert_allclose([averages["num"], averages["den"], averages["c"]], [num, den, c], rtol=1e-6)
    np.testing.assert_allclose(
        [averages["A"], alpha, d], [12 + c * c, rate, -rate * c / np.sqrt(12 + c * c)], rtol=1e-6
    )


@pytest.mark.parametrize(("E_s", "tau"), [(0.0, 2.5), (0.5, 2.5), (1.0, 2.0)])
def test_an_outlier_cuts_a_long_memory_to_2_5_and_lengthens_a_short_one_by_one(E_s, tau):
    """AS5, (22)-(25). One coordinate, n = 10 after zeros, τ = 50: without the outlier 51 for E[s] = 0, 38.5 for

    E[s]² = E[s²]/4, and 1, so 1.5, for E[s]² = E[s²]; to 1e-5, some ε. No more than 1e7.
    """
    state = {"E_nn": 1.0, "E_kk": 1.0, "E_ss": 1.0, "E_s": E_s, "tau": 50.0}
    np.testing.assert_allclose(after(10.0, E_s, **state)[2]["tau"], tau, rtol=1e-5)
    np.testing.assert_allclose(after(0.0, E_s, **state)[2]["tau"], {0: 51, 0.5: 38.5, 1: 1.5}[E_s], rtol=1e-5)
    assert after(0.0, 0.0, **state | {"E_s": 0.0, "tau": 1e7})[2]["tau"] == 1e7


def test_a_rate_may_be_negative_down_to_its_bound():
    """Adasecant, (20). E[k s] = 1e6 makes it -2; r = 1 while √A < 1."""
    d, alpha, averages = after(0.01, 0.0, 2.0, E_ss=1.0, E_kk=1.0, E_ks=1e6, tau=50.0)
    assert alpha == -2
    assert d == 2 * averages["c"] != 0


@pytest.mark.parametrize("of", ["n", "k"])
@pytest.mark.parametrize("deviation", [-2.02, -1.98, 1.98, 2.02])
def test_outliers_deviate_from_averages_that_are_freed_of_their_bias(of, deviation):
    """AS5, (14), (23). π = 1/2, E[z] = 1/2, E[z²] = 1: mean 1, variance 2 - 1, of n and of k = n - n_last, one of which

    deviates; the corrected gradient, γ = 1, is nearer. τ = 1e6: this step hardly changes them. With E[z²] = 0.45
    the variance is -0.1.
    """
    z = {"n": 1.0, "k": 1.0, of: 1 + deviation}
    state = {"n": z["n"] - z["k"], "E_n": 0.5, "E_nn": 1.0, "E_k": 0.5, "E_kk": 1.0, "pi": 0.5, "tau": 1e6, "E_ss": 1.0}
    state |= {"num": 1.0, "den": 1.0}
    far, undefined = (after(z["n"], 0.0, **state | wide)[2]["tau"] for wide in ({}, {f"E_{of}{of}": 0.45}))
    assert far == (2.5 if abs(deviation) > 2 else 1e6 + 1 + EPS)
    assert undefined == 1e6 + 1 + EPS


# --- as the thesis ran it ------------------------------------------------------------------------------------------


def test_the_thesis_takes_plain_steps_for_an_epoch_and_then_rates_times_uncorrected_gradients():
    """AdaSecantThesis. Four steps of the 12 rows in batches of 3, then d = -α g with the rates it reports; its twin
    differs by then."""
    total = problem("least-squares")
    runs = [
        trajectory(kind(), FiniteSum(total, Shuffled(12, 3)), total.x0, 8)
        for kind in (AdaSecantThesis, AdaSecantThesisCorrected)
    ]
    for run in runs:
        np.testing.assert_allclose(np.diff(run.x, axis=0)[:4], -0.01 * run.g[:4], rtol=1e-9)
    run, corrected = runs
    np.testing.assert_allclose(np.diff(run.x, axis=0)[4:], (-run.eta * run.g)[4:], rtol=1e-9, atol=1e-12)
    assert abs(np.diff(corrected.x, axis=0) + corrected.eta * corrected.g)[4:].max() > 1e-3
    assert np.array_equal(run.g[:4], corrected.g[:4])


def test_small_moves_are_never_forgotten_by_the_thesis_memory():
    """AdaSecantThesis. E[s]²/(E[s²] + 1e-7) is nearly 0 for moves of 1e-6, whatever they do: τ grows by one; in theory
    τ = 1.5."""
    arguments = [np.array([z]) for z in (1.0, 1.0, 2.0, 1.0, 1.0, 2.0, 1e-6, 1e-12, 8.0)]
    assert AdaSecantTheory.remember(*arguments, AdaSecantTheory.TINY) == 1.5
    assert 8.999 < AdaSecantThesis.remember(*arguments, AdaSecantThesis.TINY) < 9
