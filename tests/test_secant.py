"""The secant method, and a secant rate for each coordinate: numbers by hand, SciPy's points, NS2, NS3, EQ1, AS1-AS3."""

from decimal import Decimal, localcontext
from fractions import Fraction
from itertools import islice
from math import inf

import numpy as np
import pytest
from answers import one_step, problem
from runs import Function, Scripted, parabola, trajectory
from scipy.optimize import brentq, root_scalar

from refopt import (
    BB1,
    BB2,
    Box,
    Constrained,
    FiniteSum,
    GradientDescent,
    NTLRConsecutive,
    SecondOrderDirectionalSecant,
    Shuffled,
    SimpleAdaSecant,
    SimpleAdaSecantLiteral,
    SimpleAdaSecantNormalized,
    SimpleAdaSecantReleased,
    secant,
)
from refopt.oracle import Block


def take(n, points):
    return list(islice(points, n))


# --- one variable --------------------------------------------------------------------------------------------------

ONE_VARIABLE: dict[str, tuple] = {  # phi, x0, x1, the next points
    "the derivative of x⁴/4": (lambda x: x**3, 1.0, 0.9, [0.630996309963, 0.489539281256, 0.36561708568]),
    "x² - 1": (lambda x: x * x - 1, 20.0, 30.0, [12.02, 8.60542598762, 5.06351822425]),
}


@pytest.mark.parametrize("case", ONE_VARIABLE)
def test_the_first_points_are_those_computed_by_hand(case):
    """To the twelve digits computed."""
    phi, x0, x1, points = ONE_VARIABLE[case]
    assert take(3, secant(phi, x0, x1)) == pytest.approx(points, rel=1e-11)


def test_scipy_evaluates_at_the_same_points():
    """NS2. Ortega, Rheinboldt 1970. root_scalar(method="secant") on x² - 2 from 2.5 and 3; to 1e-12.

    SciPy begins with the point of smaller |f|, whatever the order they are given in: so 2.5 and 3, not 3 and 2.5.
    """
    asked = []
    root_scalar(lambda x: asked.append(x) or x * x - 2, x0=2.5, x1=3.0, method="secant")
    mine = [2.5, 3.0, *take(len(asked) - 2, secant(lambda x: x * x - 2, 2.5, 3.0))]
    assert len(asked) == 8
    np.testing.assert_allclose(mine, asked, rtol=0, atol=1e-12)


def test_for_a_square_root_the_errors_multiply_and_the_order_is_the_golden_ratio():
    """NS2. e_{k+1} = e_k e_{k-1}/(x_k + x_{k-1}) to 1e-30, in 1300 digits; log|e_{k+1}|/log|e_k| → 1.618, to 2e-3."""
    with localcontext(prec=1300):
        root = Decimal(2).sqrt()
        x = [Decimal("2.5"), Decimal(3), *take(16, secant(lambda x: x * x - 2, Decimal("2.5"), Decimal(3)))]
        e = [point - root for point in x]
        assert Decimal("1e-1270") < abs(e[17]) < Decimal("1e-1000")
        for k in range(1, 17):
            assert abs(e[k + 1] * (x[k] + x[k - 1]) / (e[k] * e[k - 1]) - 1) <= Decimal("1e-30")
        assert float(abs(e[-1]).ln() / abs(e[-2]).ln()) == pytest.approx((1 + 5**0.5) / 2, abs=2e-3)


def test_it_is_newton_with_a_difference_quotient_and_needs_one_function_in_both_places():
    """NS3. x³ - 2x - 5, eight steps, to 1e-13; the root as SciPy's brentq finds it.

    For the minimum of x² from 3 and 2 the derivative in both places gives 0; above alone, with f below, as Sasse
    prints it in eqs. 2.38-2.39, it gives 1.2.
    """

    def phi(x):
        return x**3 - 2 * x - 5

    x = [3.0, 2.5, *take(8, secant(phi, 3.0, 2.5))]
    assert len(x) == 10
    for before, here, after in zip(x, x[1:], x[2:], strict=False):
        assert after == pytest.approx(here - phi(here) / ((phi(here) - phi(before)) / (here - before)), rel=1e-13)
    assert x[-1] == pytest.approx(brentq(phi, 2, 3, xtol=1e-15), rel=1e-14)
    f, slope = (lambda x: x * x), (lambda x: 2 * x)
    assert take(1, secant(slope, 3.0, 2.0)) == [0]
    assert 2 - slope(2) * (2 - 3) / (f(2) - f(3)) == pytest.approx(1.2, rel=1e-15)


def test_numbers_may_be_of_any_kind_that_divides_and_a_level_line_ends_it():
    assert take(2, secant(lambda x: x * x - 2, Fraction(1), Fraction(2))) == [Fraction(4, 3), Fraction(7, 5)]
    assert list(secant(lambda x: x * x, 1.0, -1.0)) == []
    assert list(secant(lambda x: x, 2.0, 1.0)) == [0.0, 0.0], "once from the line, and once to see that it is there"


# --- by hand -------------------------------------------------------------------------------------------------------

bowl = parabola(1, 10)
G4 = [[1.0], [0.6], [0.5], [-0.2]]
Plain, Simple, Literal = SecondOrderDirectionalSecant, SimpleAdaSecant, SimpleAdaSecantLiteral
Released, Normalized = SimpleAdaSecantReleased, SimpleAdaSecantNormalized
BY_HAND: dict[str, tuple] = {  # rule, problem or gradients, x0, rates, iterates
    "without a threshold": (Plain(), bowl, [10, 1], [[1, 1], [1, 0.1]], [[0, -9], [0, 0]]),
    "steep": (Simple(), parabola(4), [1], [1, 0.25], [-3, 0]),
    "steep, to the letter": (Literal(), parabola(4), [1], [1, 0.25], [-3, 0]),
    "flat": (Simple(), parabola(0.5), [1], [1, 2], [0.5, 0]),
    "flat, to the letter": (Literal(), parabola(0.5), [1], [1, 2], [0.5, 0]),
    "refreshed": (Simple(), G4, [1], [1, 2.5, 0, 0.285714285714], [0, -1.5, -1.5, -1.44285714286]),
    "frozen": (Literal(), G4, [1], [1, 2.5, 0, 0], [0, -1.5, -1.5, -1.5]),
    "frozen, at 3": (Literal(threshold=3.0), G4, [1], [1, 2.5, 0, 0], [0, -1.5, -1.5, -1.5]),
    "without a threshold it is 15": (Plain(), G4, [1], [1, 2.5, 15], [0, -1.5, -9]),
    "released, steep: diverges": (
        Released(), parabola(4), [1], [1, 0.75, 0.666666666667, 0.625], [-3, 6, -10, 15]
    ),
    "released, flat: halves": (Released(), parabola(0.5), [1], [1, 1, 1], [0.5, 0.25, 0.125]),
    "released": (Released(), G4, [1], [1, 1.5, 5, 0.285714285714], [0, -0.9, -3.4, -3.34285714286]),
    "released, at 3": (
        Released(threshold=3.0), G4, [1], [1, 1.5, 0, 0.285714285714], [0, -0.9, -0.9, -0.842857142857]
    ),
    "released, exactly at 3: locked": (Released(threshold=3.0), parabola(0.25), [1], [1, 0, 0, 0], [0.75] * 4),
    "released, at 1: never moves": (Released(threshold=1.0), parabola(4), [1], [0, 0], [1, 1]),
    "normalised": (Normalized(), G4, [1], [1, 1.5, 5, 0.285714285714], [0, -1.5, -6.5, -6.21428571429]),
    "normalised: a unit step": (Normalized(), parabola(0.01), [1], [1, 0], [0, 0]),
    "normalised, steep: the same": (Normalized(), parabola(4), [1], [1, 0], [0, 0]),
}  # fmt: skip


@pytest.mark.parametrize("case", BY_HAND)
def test_the_first_steps_are_those_computed_by_hand(case):
    """Twelve digits were computed by hand, so 1e-11; where x cancels to 0, 1e-14 of where it started."""
    rule, oracle, x0, eta, x = BY_HAND[case]
    oracle = Scripted(oracle) if isinstance(oracle, list) else oracle
    run = trajectory(rule, oracle, np.array(x0, float), len(eta))
    np.testing.assert_allclose(run.eta, np.reshape(eta, (len(eta), -1)), rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(run.x[1:], np.reshape(x, (len(x), -1)), rtol=1e-11, atol=1e-14)


# --- odd cases -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [Plain(), Simple(), Released(), Normalized()], ids=repr)
def test_there_is_no_step_along_a_zero_gradient_nor_where_the_gradient_did_not_change(rule):
    """First 0/0, then 0/1; then g = 1 twice, the second time with a = 0: rate 0, not infinite."""
    run = trajectory(rule, Scripted([[0.0], [0.0], [1.0], [1.0]]), np.zeros(1), 4)
    assert np.array_equal(run.eta[:, 0], [0, 0, 1, 0])
    assert np.array_equal(run.x[:, 0], [0, 0, 0, -1, -1])


def test_to_the_letter_a_zero_gradient_in_the_first_step_is_the_end():
    assert not trajectory(Literal(), Scripted([[0.0], [1.0], [0.5]]), np.zeros(1), 3).x.any()


@pytest.mark.parametrize(("threshold", "second"), [(2.5, 0), (2.5000001, 2.5)])
def test_a_rate_at_the_threshold_is_zeroed_and_one_below_is_kept(threshold, second):
    """AS3. g = 5 and 3: s = -5, a = -2, a rate of 5/2 without rounding."""
    run = trajectory(Simple(threshold=threshold), Scripted([[5.0], [3.0]]), np.zeros(1), 2)
    assert run.eta[1, 0] == second


@pytest.mark.parametrize("kind", [Simple, Literal])
def test_a_threshold_that_the_first_rate_reaches_stops_everything_without_noise(kind):
    assert np.array_equal(trajectory(kind(threshold=1.0), bowl, np.ones(2), 5).x, np.ones((6, 2)))
    assert (trajectory(kind(threshold=1.0, lr=0.5), bowl, np.ones(2), 1).eta == 0.5).all()


def test_the_threshold_stops_the_coordinates_that_reach_it_and_no_others():
    """AS3. λ = (0.2, 0.5) and 3: rates (0, 2); without a threshold (5, 2)."""
    for threshold, eta in [(3.0, [0, 2]), (inf, [5, 2])]:
        run = trajectory(Simple(threshold=threshold), parabola(0.2, 0.5), np.ones(2), 2)
        np.testing.assert_allclose(run.eta[1], eta, rtol=1e-14)


def test_without_a_threshold_simple_adasecant_is_the_directional_secant():
    """Bit for bit, 12 mini-batches."""
    total = problem("least-squares")
    plain, simple = (
        trajectory(rule, FiniteSum(total, Shuffled(12, 4)), total.x0, 12) for rule in (Plain(), Simple(threshold=inf))
    )
    assert np.array_equal(plain.x, simple.x)


def test_the_move_is_the_one_that_happened_under_a_projection():
    """Written from the iterates in a box, equations (3), (5)-(8), to 1e-12. Coordinates stop at it and go on."""
    total = problem("ridge")
    run = trajectory(Simple(), Constrained(total, Box(-0.5, 0.5)), total.x0, 15)
    resting = 0
    for t in range(1, 15):
        s = run.x[t] - run.x[t - 1]
        a = run.g[t] - run.g[t - 1]
        alpha = abs(np.where(s == 0, run.g[t], s) / np.where(a == 0, inf, a))
        np.testing.assert_allclose(run.eta[t], np.where(alpha < 10, alpha, 0), rtol=1e-12, atol=1e-15)
        resting += ((s == 0) & (run.eta[t] > 0)).sum()
    assert resting >= 2


def test_a_coordinate_at_rest_is_refreshed_and_to_the_letter_never_moves_again():
    """AS3. Two coordinates, gradients from a list; the first crosses the threshold 10 in its third step."""
    g = [[1, 1], [0.6, 0.5], [0.5, 0.2], [-0.2, 0.1], [0.4, 0.05]]
    refreshed, literal = (trajectory(rule, Scripted(g), np.zeros(2), 5) for rule in (Simple(), Literal()))
    assert (refreshed.eta[3:, 0] > 0).all()
    assert (literal.eta[2:, 0] == 0).all()
    assert np.array_equal(refreshed.x[:, 1], literal.x[:, 1])
    assert np.ptp(literal.x[2:, 0]) == 0


def test_on_mini_batches_rounding_is_amplified_by_orders_of_magnitude():
    """x0 and its neighbour, 4e-16 apart, are 1e-13 apart after 60 steps, where gradient descent brings them together.

    So no run of it can be compared step by step with another program's; measured are 6e-11, and 7e-8 as released.
    """
    total = problem("ridge")

    def apart(rule):
        x, z = (trajectory(rule, FiniteSum(total, Shuffled(12, 4)), x0, 60).x
                for x0 in (total.x0, np.nextafter(total.x0, inf)))  # fmt: skip
        assert abs(x).max() < 100
        return abs(x - z)[60].max()

    assert apart(GradientDescent(0.1)) < 1e-15
    assert 1e-13 < apart(Simple()) < 1e-3
    assert 1e-13 < apart(Released(threshold=3.0)) < 1e-3


# --- theorems ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Plain, Simple, Literal])
@pytest.mark.parametrize("lr", [1.0, 0.25])
def test_on_a_separable_quadratic_the_second_step_ends_at_the_solution(kind, lr):
    """AS1. Sasse eqs. 3.1-3.3. Σ λ_i (x_i - b_i)²/2: the first rate is lr, the second 1/λ_i, x_2 = b, and it stays.

    The first point to 1e-15, the others to 1e-13.
    """
    lam, b = np.array([0.5, 1, 2, 8]), np.array([1, -2, 3, 0.5])
    x0 = np.array([4.0, 4, -4, 4])
    separable = Function(lambda x: (lam * (x - b) @ (x - b) / 2, lam * (x - b)))
    run = trajectory(kind(lr=lr), separable, x0, 5)
    np.testing.assert_allclose(run.x[1], x0 - lr * run.g[0], rtol=1e-15)
    moved = abs(run.g[1]) > 0  # the coordinate with lr = 1/λ is there already
    np.testing.assert_allclose(run.eta[1][moved], (1 / lam)[moved], rtol=1e-13)
    assert moved.sum() >= 3
    np.testing.assert_allclose(run.x[2:], np.tile(b, (4, 1)), rtol=0, atol=1e-13)


def test_in_a_box_the_second_step_ends_at_its_point_nearest_to_the_solution():
    """AS1. Steps that are cut short tell as much: s is the move that happened, and s/a is 1/λ_i. To 1e-13.

    All four coordinates start at 4 and are cut, the first two beyond b; then b is within the box in one only.
    """
    lam, b = np.array([0.5, 1, 2, 8]), np.array([2, 5, 0.5, -3])
    box = Box(np.array([2.5, -1.5, 0, -1.5]), np.array([4.5, 4.5, 4.5, 4.5]))
    separable = Function(lambda x: (lam * (x - b) @ (x - b) / 2, lam * (x - b)))
    run = trajectory(Plain(lr=4.0), Constrained(separable, box), np.full(4, 4.0), 2)
    assert np.array_equal(run.x[1], [2.5, 4.5, 0, -1.5])
    np.testing.assert_allclose(run.eta[1], 1 / lam, rtol=1e-13)
    np.testing.assert_allclose(run.x[2], [2.5, 4.5, 0.5, -1.5], rtol=0, atol=1e-13)


def test_from_a_maximum_it_runs_away_instead_of_jumping_to_it():
    """AS2. Sasse eq. 2.40. -3x²/2 from 1: x doubles from the second step on, to 1e-13."""
    x = trajectory(Simple(), parabola(-3), np.ones(1), 6).x[:, 0]
    assert len(x) == 7
    np.testing.assert_allclose(x[2:], 2 * x[1:-1], rtol=1e-13)


@pytest.mark.parametrize("kind", [Simple, Literal])
def test_a_flat_coordinate_is_zeroed_and_without_noise_never_moves_again(kind):
    """AS3. Sasse section 3.3. λ = (0.2, 2), threshold 3, from (5, 5): the second rate would be (5, 0.5). The first
    coordinate stays at 4, the other goes to 0 (1e-14). At a rate of 3 the first would shrink by 0.4 in every step.

    The refresh does not help here: g_1 does not change either, a_1 = 0.
    """
    x = trajectory(kind(threshold=3.0), parabola(0.2, 2), np.array([5.0, 5]), 20).x
    np.testing.assert_allclose(x[1:, 0], 4, rtol=1e-15)
    assert np.ptp(x[1:, 0]) == 0
    assert (x[2:, 1] == 0).all()


def test_in_one_variable_secant_both_barzilai_borwein_simple_adasecant_and_ntlr_are_one_method():
    """EQ1. log cosh(x - 1) + x²/10 from 3, first step 1/2, six steps: rates to 1e-6 while |g| > 1e-6.

    Of NTLR it is the form with consecutive gradients, undamped.
    """
    f = Function(lambda x: (float(np.log(np.cosh(x - 1)).sum() + x @ x / 10), np.tanh(x - 1) + x / 5))
    ntlr = NTLRConsecutive(lr=0.5, gamma=1.0, factor_max=inf)
    rules = BB1(lr=0.5), BB2(lr=0.5), Simple(lr=0.5), Plain(lr=0.5), ntlr
    runs = [trajectory(rule, f, np.array([3.0]), 6) for rule in rules]
    steps = int((abs(runs[0].g[:, 0]) > 1e-6).sum())
    assert steps >= 5
    x = [run.x[: steps + 1, 0] for run in runs]
    points = [*x[0][:2], *take(steps - 1, secant(lambda x: np.tanh(x - 1) + x / 5, x[0][0], x[0][1]))]
    for other in (*x[1:], points):
        np.testing.assert_allclose(other, x[0], rtol=1e-9)
    for run in runs[1:]:
        np.testing.assert_allclose(run.eta.reshape(6)[:steps], runs[0].eta[:steps], rtol=1e-6)


def test_on_a_separable_function_it_is_barzilai_borwein_coordinate_by_coordinate():
    """EQ1. Three coordinates with log cosh and parabolas of their own, 4 steps, to 1e-9."""
    c, centre, x0 = np.array([0.1, 0.3, 1.0]), np.array([1.0, -1, 0.5]), np.array([3.0, 1, -2])

    def part(c, centre):
        return Function(lambda x: (0.0, np.tanh(x - centre) + 2 * c * x))

    together = trajectory(Plain(lr=0.5), part(c, centre), x0, 4).x
    for i in range(3):
        alone = trajectory(BB1(lr=0.5), part(c[i], centre[i]), x0[i : i + 1], 4).x
        np.testing.assert_allclose(together[:, i], alone[:, 0], rtol=1e-9)


def test_where_the_first_rate_is_lr_units_are_its_only_trace():
    """lr appears in the first step, and where a coordinate rests: elsewhere two runs from the same x_1 are one."""
    rule, oracle = Simple(lr=0.125), parabola(1, 3)
    run = trajectory(rule, oracle, np.array([1.0, 2]), 3)
    other = Simple(lr=1.0)
    other.start(run.x[1], oracle)
    other.load({"t": 1, "last_x": run.x[0], "last_g": run.g[0]})
    assert np.array_equal(run.x[1] + other.step(run.x[1], oracle), run.x[2])


# --- as released ---------------------------------------------------------------------------------------------------


def test_released_it_does_not_depend_on_how_far_it_moved():
    """The gradients alone decide: the same list from another x, projected into a box, gives the same rates."""
    free = trajectory(Released(), Scripted(G4), np.ones(1), 4)
    boxed = trajectory(Released(), Constrained(Scripted(G4), Box(-0.1, 0.1)), np.zeros(1), 4)
    assert np.array_equal(free.eta, boxed.eta)
    meant = trajectory(Simple(), Constrained(Scripted(G4), Box(-0.1, 0.1)), np.zeros(1), 4)
    assert not np.array_equal(meant.eta, boxed.eta)


def test_normalised_every_block_has_its_own_norm_and_a_block_without_gradient_stays():
    """Blocks (3, 4), (0, 0) and (12): the first step is -(0.6, 0.8), 0, -1; without blocks all is one of norm 13."""
    oracle = Scripted([[3.0, 4, 0, 0, 12]])
    oracle.draw()
    np.testing.assert_allclose(one_step(Normalized(), oracle, np.zeros(5))[0], -np.array([3, 4, 0, 0, 12]) / 13)
    cuts = [("a", 0, 2), ("b", 2, 4), ("c", 4, 5)]
    oracle.blocks = tuple(Block(name, slice(i, j), (j - i,)) for name, i, j in cuts)
    moved, eta = one_step(Normalized(), oracle, np.zeros(5))
    np.testing.assert_allclose(moved, [-0.6, -0.8, 0, 0, -1], rtol=1e-15)
    assert np.array_equal(eta, [1, 1, 0, 0, 1])
