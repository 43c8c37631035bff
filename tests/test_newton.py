"""Newton's method and its directional forms: numbers by hand, SciPy's own points, and the theorems NS1, NS4, NS5."""

from decimal import Decimal, localcontext
from fractions import Fraction
from itertools import islice

import numpy as np
import pytest
from answers import Answers, leading, one_step, problem, squares
from runs import Function, parabola, trajectory
from scipy.optimize import root_scalar

from refopt import (
    SPS,
    Box,
    Constrained,
    DirectionalNewton,
    Newton,
    Polyak,
    SecondOrderDirectionalNewton,
    descend,
    newton,
)
from refopt.convex import Quadratic
from refopt.problems import design, spd


def take(n, points):
    return list(islice(points, n))


# --- one variable --------------------------------------------------------------------------------------------------

ONE_VARIABLE: dict[str, tuple] = {  # phi, its derivative, x0, the next points
    "x² - 2": (lambda x: x * x - 2, lambda x: 2 * x, 1.0, [1.5, 1.41666666667, 1.41421568627]),
    "the derivative of x⁴/4": (
        lambda x: x * x * x, lambda x: 3 * x * x, 1.0, [0.666666666667, 0.444444444444, 0.296296296296]
    ),
    "the derivative of a parabola": (lambda x: 4 * x, lambda x: 4.0, 1.0, [0, 0, 0]),
}  # fmt: skip


@pytest.mark.parametrize("case", ONE_VARIABLE)
def test_the_first_points_are_those_computed_by_hand(case):
    """To the twelve digits computed."""
    phi, dphi, x0, points = ONE_VARIABLE[case]
    assert take(3, newton(phi, dphi, x0)) == pytest.approx(points, rel=1e-11)


def test_scipy_evaluates_at_the_same_points():
    """NS1. Ortega, Rheinboldt 1970. SciPy's root_scalar(method="newton") on x² - 2 from 3; to 1e-15."""
    asked = []
    root_scalar(lambda x: asked.append(x) or x * x - 2, fprime=lambda x: 2 * x, x0=3.0, method="newton")
    mine = [3.0, *take(len(asked) - 1, newton(lambda x: x * x - 2, lambda x: 2 * x, 3.0))]
    assert len(asked) >= 6
    np.testing.assert_allclose(mine, asked, rtol=0, atol=1e-15)


def test_for_a_square_root_the_error_is_squared_exactly():
    """NS1. Heron: e_+ = e²/(2x), to 1e-20 in 60 digits; and e_5/e_4² = 1/(2 √2) to 1e-6."""
    with localcontext(prec=60):
        root = Decimal(2).sqrt()
        x = [Decimal(3), *take(5, newton(lambda x: x * x - 2, lambda x: 2 * x, Decimal(3)))]
        e = [point - root for point in x]
        assert len(e) == 6
        for k in range(5):
            assert abs(e[k + 1] * 2 * x[k] / e[k] ** 2 - 1) <= Decimal("1e-20")
        assert float(e[5] / e[4] ** 2) == pytest.approx(8**-0.5, rel=1e-6)


def test_numbers_may_be_of_any_kind_that_divides():
    points = take(3, newton(lambda x: x * x - 2, lambda x: 2 * x, Fraction(1)))
    assert points == [Fraction(3, 2), Fraction(17, 12), Fraction(577, 408)]


def test_it_ends_where_the_tangent_is_level_and_stays_at_a_root():
    assert list(newton(lambda x: x * x + 1, lambda x: 2 * x, 1.0)) == [0.0]
    assert take(3, newton(lambda x: x - 1, lambda x: 1.0, 1.0)) == [1.0] * 3


# --- along the gradient to a level ---------------------------------------------------------------------------------

sphere = Function(lambda x: (x @ x - 1, 2 * x), f_star=0.0)
cosh = Function(lambda x: (float(2 * np.sinh(x / 2) @ np.sinh(x / 2)), np.sinh(x)), f_star=0.0)  # cosh x - 1


def test_the_first_points_along_the_gradient_are_those_computed_by_hand():
    """|x|² = 1 from (2, 1)."""
    x = trajectory(DirectionalNewton(), sphere, np.array([2.0, 1]), 3).x
    expected = [[1.2, 0.6], [0.933333333333, 0.466666666667], [0.895238095238, 0.447619047619]]
    np.testing.assert_allclose(x[1:], expected, rtol=1e-11)


def test_the_radius_follows_herons_iteration():
    """NS4. Levin, Ben-Israel 2002. |x|² = 1 from |x| = 5: r_+ = (r + 1/r)/2, to 1e-14; six steps."""
    x = trajectory(DirectionalNewton(), sphere, np.array([3.0, 4]), 6).x
    r = np.sqrt(squares(x))
    assert len(r) == 7
    np.testing.assert_allclose(r[1:], (r[:-1] + 1 / r[:-1]) / 2, rtol=1e-14)
    assert r[-1] == pytest.approx(1, rel=1e-6)


def test_above_the_level_it_is_polyaks_step_bit_for_bit():
    """NS4. On a quadratic f > f* everywhere but at x*; 15 steps, long before rounding."""
    total = problem("quadratic")
    mine, polyak = (trajectory(kind(), total, total.x0, 15) for kind in (DirectionalNewton, Polyak))
    assert np.array_equal(mine.x, polyak.x)


def test_below_the_level_it_climbs_to_it_where_polyak_stays():
    """NS4. x²/2 = 2 from 1: 1 + 1.5 = 2.5, then to 2, to 1e-12 after 6 steps."""
    bowl, rule = parabola(1), DirectionalNewton(f_star=2.0)
    x = trajectory(rule, bowl, np.ones(1), 6).x[:, 0]
    assert x[1] == 2.5
    assert x[-1] == pytest.approx(2, rel=1e-12)
    assert np.array_equal(trajectory(Polyak(f_star=2.0), bowl, np.ones(1), 3).x, np.ones((4, 1)))


def test_a_minimum_is_a_double_root_that_only_twice_the_step_resolves():
    """NS4. Schröder 1870. cosh x - 1: factor 1/2 (to 1e-6 at the end); twice the step, SPS with c = 1/2, is
    x_+ = x - 2 tanh(x/2): x_+/x³ → 1/12, here to 1e-3 of it at x = 0.08."""
    x = trajectory(DirectionalNewton(), cosh, np.ones(1), 14).x[:, 0]
    assert x[-1] / x[-2] == pytest.approx(0.5, rel=1e-6)
    x = trajectory(SPS(c=0.5), cosh, np.ones(1), 2).x[:, 0]
    assert x[1] == pytest.approx(1 - 2 * np.tanh(0.5), rel=1e-14)
    assert x[2] / x[1] ** 3 == pytest.approx(1 / 12, rel=1e-3)


def test_a_level_that_is_not_there_is_asked_for_and_a_zero_gradient_stops():
    with pytest.raises(ValueError, match="pass f_star"):
        one_step(DirectionalNewton(), Function(lambda x: (x @ x, 2 * x)), np.ones(1))
    for loss in (1.0, -1.0):
        x, eta = one_step(DirectionalNewton(), Answers((loss, [0.0])), np.ones(1))
        assert (x, eta) == (1, 0)


# --- all equations at once ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["quadratic", "quadratic-exact", "least-squares-noisy", "ridge", "family"])
def test_newton_solves_a_quadratic_in_one_step(name):
    """NS5. To 1e-12 of the way: the condition is 100 at most."""
    total = problem(name)
    run = trajectory(Newton(), total, total.x0, 1)
    np.testing.assert_allclose(run.x[1], total.x_star, rtol=0, atol=1e-12 * np.abs(total.x_star - total.x0).max())
    assert run.eta[0] == 1


def test_where_the_planes_meet_in_many_points_newton_takes_the_nearest():
    """NS5. Four equations, eight unknowns: x_0 less pinv(A)(A x_0 - b), to 1e-12; and then it stays."""
    total = problem("least-squares-under")
    x = trajectory(Newton(), total, total.x0, 3).x
    nearest = total.x0 - np.linalg.pinv(total.A) @ (total.A @ total.x0 - total.b)
    np.testing.assert_allclose(x[1:], [nearest] * 3, rtol=0, atol=1e-12)


def test_newton_knows_flat_directions_from_differences_of_gradients_too():
    """NS5. The same without products of the problem's own: they are wrong by 1e-11, and the point by 1e-9 at most."""
    total = problem("least-squares-under")
    x = trajectory(Newton(), Function(total), total.x0, 2).x
    nearest = total.x0 - np.linalg.pinv(total.A) @ (total.A @ total.x0 - total.b)
    np.testing.assert_allclose(x[1:], [nearest] * 2, rtol=0, atol=1e-9)


def test_newton_leaves_a_coordinate_that_does_not_matter_exactly_where_it_is():
    """NS5. One coordinate of four is not in f: it does not move even by rounding, and the others reach x*."""
    A = np.zeros((4, 4))
    A[np.ix_([0, 2, 3], [0, 2, 3])] = spd(np.array([1.0, 3, 10]))
    x = trajectory(Newton(), Quadratic(A, np.zeros(4), 0.0, np.ones(4)), np.ones(4), 1).x[1]
    assert x[1] == 1
    np.testing.assert_allclose(np.delete(x, 1), 0, rtol=0, atol=1e-14)


def test_newton_has_order_two_in_n_variables():
    """NS5. |e_+| ≤ M/(2 mu) |e|² from anywhere, where |H(x) - H(y)| ≤ M |x - y| (Nesterov 2018). For logistic losses
    |σ''| ≤ 1/(6 √3) makes M = mean |a_i|³/(6 √3). From x0, and from |e| = 1, 0.3, 0.1, 0.03, until rounding; e_+ is
    less by 80 at most."""
    total, checked = problem("logistic"), 0
    M = (squares(total.A) ** 1.5).mean() / (6 * np.sqrt(3))
    for start in [total.x0, *(total.x_star + size * np.full(4, 0.5) for size in (1, 0.3, 0.1, 0.03))]:
        e = np.sqrt(squares(trajectory(Newton(), total, start, 12).x - total.x_star))
        steps = leading(e[:-1] > 1e-7)
        assert (e[1:] <= M / (2 * total.mu) * e[:-1] ** 2)[:steps].all()
        assert (e[1:] / e[:-1] ** 2)[:steps].min() >= 0.05
        assert e[-1] <= 1e-15
        checked += steps
    assert checked >= 15


def test_newton_takes_the_same_path_in_any_coordinates():
    """NS5. Seen through x = B z the function is another one, and B z_t = x_t, to 1e-9."""
    total, B = problem("logistic"), design(4, 4)
    turned = Function(lambda z: (total.value(B @ z), B.T @ total(B @ z)[1]))
    turned.hvp = lambda z, v: B.T @ total.hvp(B @ z, B @ v)
    x = trajectory(Newton(), total, total.x0, 3).x
    z = trajectory(Newton(), turned, np.linalg.solve(B, total.x0), 3).x
    np.testing.assert_allclose(z @ B.T, x, rtol=0, atol=1e-9)


def test_far_from_the_solution_newton_overshoots_further_and_further():
    """NS1. √(1 + x²): x_+ = -x³, to 1e-12; with second derivatives of its own."""
    root = Function(lambda x: (float(np.sqrt(1 + x @ x)), x / np.sqrt(1 + x * x)))
    root.hvp = lambda x, v: v / (1 + x * x) ** 1.5
    for x0 in (0.5, 2.0):
        x = trajectory(Newton(), root, np.array([x0]), 3).x[:, 0]
        np.testing.assert_allclose(x[1:], -(x[:-1] ** 3), rtol=1e-12)


def test_in_one_variable_newton_is_newtons_method_for_the_derivative():
    """NS1. x⁴/4 from 1, to 1e-8: second derivatives are differences."""
    quartic = Function(lambda x: (float((x**4).sum() / 4), x * x * x))
    x = trajectory(Newton(), quartic, np.ones(1), 4).x[1:, 0]
    np.testing.assert_allclose(x, take(4, newton(lambda x: x**3, lambda x: 3 * x * x, 1.0)), rtol=1e-8)


def test_newton_goes_to_the_next_root_of_the_gradient_be_it_a_maximum_or_a_saddle_point():
    """NS1. cos x from 0.5: up to 0, where it is 1, cubically. (x² - y²)/2 from (2, 3): to (0, 0) in one step."""
    wave = Function(lambda x: (float(np.cos(x).sum()), -np.sin(x)))
    wave.hvp = lambda x, v: -np.cos(x) * v
    x = trajectory(Newton(), wave, np.array([0.5]), 4).x[:, 0]
    np.testing.assert_allclose(x[1:3], x[:2] - np.tan(x[:2]), rtol=1e-12)
    assert abs(x[-1]) <= 1e-15
    saddle = Quadratic(np.diag([1.0, -1]), np.zeros(2), 0.0, np.array([2.0, 3]))
    assert not trajectory(Newton(), saddle, saddle.x0, 1).x[1].any()


def test_newton_is_not_for_networks_and_says_what_is():
    with pytest.raises(ValueError, match="1001 variables: pass SecondOrderDirectionalNewton"):
        next(descend(Newton(), parabola(*np.ones(1001)), np.ones(1001)))


# --- one equation for each coordinate ------------------------------------------------------------------------------

tilted = Quadratic(np.array([[2.0, 1], [1, 4]]), np.zeros(2), 0.0, np.ones(2))  # at (1, 1): g = (3, 5)
BY_HAND = {  # last move, rates, point
    "the gradient, at first": ([0, 0], [0.272727272727, 0.217391304348], [0.181818181818, -0.0869565217391]),
    "the way to the solution": ([1, 1], [1 / 3, 1 / 5], [0, 0]),
    "across": ([1, -1], [1, 1 / 3], [-2, -2 / 3]),
    "one coordinate at rest: -g there": ([-3, 0], [-3 / -11, -5 / -23], [0.181818181818, -0.0869565217391]),
}


@pytest.mark.parametrize("case", BY_HAND)
def test_the_rates_are_those_computed_by_hand(case):
    """One step from (1, 1) after a given move; to twelve digits, and 1e-15 where x cancels."""
    move, alpha, after = BY_HAND[case]
    rule, x = SecondOrderDirectionalNewton(), np.ones(2)
    rule.start(x, tilted)
    rule.load({"t": 1, "last_x": x - np.array(move, float)})
    np.testing.assert_allclose(x + rule.step(x, tilted), after, rtol=1e-11, atol=1e-15)
    np.testing.assert_allclose(rule.eta, alpha, rtol=1e-11)


def test_along_the_newton_step_it_is_the_newton_step():
    """NS5. H d = c g: every α_i g_i is (H⁻¹ g)_i, so x* in one step, for any length c of the last move; to 1e-11."""
    total = problem("quadratic")
    x, rule = total.x0, SecondOrderDirectionalNewton()
    for length in (1.0, -0.3, 40.0):
        rule.start(x, total)
        rule.load({"t": 1, "last_x": x - length * (total.x_star - x)})
        np.testing.assert_allclose(x + rule.step(x, total), total.x_star, rtol=0, atol=1e-11)


def test_on_a_diagonal_hessian_the_first_step_ends_at_the_solution():
    """(x² + 10 y²)/2 from (10, 1): rates (1, 1/10); with the product from differences of gradients, to 1e-9."""
    exact = Quadratic(np.diag([1.0, 10]), np.zeros(2), 0.0, np.array([10.0, 1]))
    run = trajectory(SecondOrderDirectionalNewton(), exact, exact.x0, 2)
    assert np.array_equal(run.eta[0], [1, 0.1])
    assert np.array_equal(run.x[1:], np.zeros((2, 2)))
    differences = trajectory(SecondOrderDirectionalNewton(), parabola(1, 10), exact.x0, 1)
    np.testing.assert_allclose(differences.x[1], 0, rtol=0, atol=1e-9)


def test_in_one_variable_it_is_newtons_method_for_the_derivative():
    """NS1. x⁴/4 from 1: 2/3, 4/9, ...; with second derivatives from differences, to 1e-8.

    It finds roots, not minima: on cos x from 0.5 it goes up to 0.
    """
    quartic = Function(lambda x: (float((x**4).sum() / 4), x * x * x))
    x = trajectory(SecondOrderDirectionalNewton(), quartic, np.ones(1), 4).x[1:, 0]
    np.testing.assert_allclose(x, take(4, newton(lambda x: x**3, lambda x: 3 * x * x, 1.0)), rtol=1e-8)
    wave = Function(lambda x: (float(np.cos(x).sum()), -np.sin(x)))
    assert abs(trajectory(SecondOrderDirectionalNewton(), wave, np.array([0.5]), 5).x[-1, 0]) <= 1e-12


def test_a_zero_in_the_product_gives_a_rate_of_zero_and_the_coordinate_moves_again():
    """H = [[1, 1], [1, 1]], d = -g = (-1, 1) c: H d = 0, no rate. With H = [[0, 1], [1, 0]] and d = (1, 0): α_1 = 0."""
    flat = Quadratic(np.array([[0.0, 1], [1, 0]]), np.zeros(2), 0.0, np.array([2.0, 3]))
    rule, x = SecondOrderDirectionalNewton(), flat.x0
    rule.start(x, flat)
    rule.load({"t": 1, "last_x": x - np.array([-3.0, 0])})  # at rest: d_2 = -g_2 = -2, so H d = (-2, -3)
    assert np.array_equal(rule.step(x, flat), [-4.5, -4 / 3])
    level = Answers((0.0, [1.0, -1.0]))
    level.hvp = lambda x, v: np.array([0.0, 2.0])
    moved, eta = one_step(rule, level, np.zeros(2))
    assert np.array_equal(eta, [0, 0.5])
    assert np.array_equal(moved, [0, 0.5])


def test_at_the_solution_it_stays():
    run = trajectory(SecondOrderDirectionalNewton(), parabola(1, 10), np.zeros(2), 3)
    assert np.array_equal(run.x, np.zeros((4, 2)))
    assert np.array_equal(run.eta, np.zeros((3, 2)))


def test_the_direction_is_the_move_that_happened_under_a_projection():
    """Written from the iterates in a box, equations (6)-(8); to 1e-12."""
    run = trajectory(SecondOrderDirectionalNewton(), Constrained(tilted, Box(0.25, 2)), np.array([2.0, 1.5]), 6)
    for t in range(6):
        move = run.x[t] - run.x[t - 1] if t else np.zeros(2)
        d = np.where(move == 0, -run.g[t], move)
        np.testing.assert_allclose(run.eta[t], d / (tilted.A @ d), rtol=1e-12)
    assert (run.x[1:] == 0.25).any()
    assert (run.x[1:] != 0.25).any()
