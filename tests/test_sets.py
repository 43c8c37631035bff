"""Projections: the nearest feasible point, against the definition, closed forms and SciPy."""

import numpy as np
import pytest
import strict
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq, minimize

from refopt.sets import Ball, Box, Halfspace, Simplex

quick = settings(max_examples=50, deadline=None)

N = 4  # coordinates
numbers = st.floats(-50, 50).map(lambda x: round(x, 6))  # no subnormals: |a|² must not underflow
vectors = st.lists(numbers, min_size=N, max_size=N).map(np.array)
positive = st.floats(0.01, 50)
normals = vectors.filter(lambda a: abs(a).max() > 0.01)
ends = st.floats(0, 50) | st.just(np.inf)

balls = st.builds(Ball, positive, st.just(0.0) | vectors)
boxes = st.builds(lambda c, down, up: Box(c - down, c + up), vectors, ends, st.lists(ends, min_size=N, max_size=N))
halfspaces = st.builds(Halfspace, normals, numbers)
simplices = st.builds(Simplex, positive)
keep_feasible_points = balls | boxes | halfspaces
sets = keep_feasible_points | simplices

TINY = 1e-11  # a few roundings of numbers up to 50 n, or of <a, x>/|a| with a short a


def violation(feasible, z):
    """How far z is outside, straight from the definition of the set."""
    match feasible:
        case Ball(radius, center):
            return np.linalg.norm(z - center) - radius
        case Box(low, high):
            return max((low - z).max(), (z - high).max())
        case Halfspace(a, b):
            return (a @ z - b) / np.linalg.norm(a)
        case Simplex(total):
            return max(-z.min(), abs(z.sum() - total))


@quick
@given(sets, vectors)
def test_a_projection_is_feasible(feasible, x):
    assert violation(feasible, feasible.project(x)) <= TINY


@quick
@given(sets, vectors, vectors)
def test_no_feasible_point_lies_on_the_side_x_was_projected_from(feasible, x, other):
    """<x - Px, y - Px> ≤ 0 for every feasible y: with feasibility, this is what the nearest point is."""
    z, y = feasible.project(x), feasible.project(other)
    assert (x - z) @ (y - z) <= TINY * (1 + np.linalg.norm(x - z)) * (1 + np.linalg.norm(y - z))


@quick
@given(sets, vectors)
def test_projecting_twice_changes_nothing_but_rounding(feasible, x):
    once = feasible.project(x)
    np.testing.assert_allclose(feasible.project(once), once, rtol=0, atol=TINY)


@quick
@given(keep_feasible_points, vectors)
def test_a_feasible_point_comes_back_bit_for_bit(feasible, x):
    match feasible:
        case Ball(radius, center):
            x = center + 0.99 * radius * x / (1 + np.linalg.norm(x))
        case Box(low, high):
            x = np.clip(x, low, high)
        case Halfspace(a, b):
            x = x - (max(a @ x - b, 0) / (a @ a) + 0.01) * a
    assert violation(feasible, x) <= 0
    np.testing.assert_array_equal(feasible.project(x), x)


def test_only_a_point_beyond_the_radius_moves():
    """|x| > R is strict: neither x at R nor the floats just inside are touched."""
    for dtype in (np.float32, np.float64):
        x = np.array([3, 4], dtype)
        eps = np.finfo(dtype).eps
        for inside in (x, x * (1 - 4 * eps), x * dtype(0.9999)):
            np.testing.assert_array_equal(Ball(5.0).project(inside), inside)
        outside = x * (1 + 4 * eps)
        assert (Ball(5.0).project(outside) < outside).all()


def test_ball_projects_parameters_as_one_vector():
    """Two arrays [3, 4] and [12] have the common norm 13; R = 6.5 halves them."""
    np.testing.assert_array_equal(Ball(6.5).project(np.array([3.0, 4, 12])), [1.5, 2, 6])


def test_ball_is_centred_where_it_is_told():
    np.testing.assert_array_equal(Ball(2.0, np.array([1.0, 1])).project(np.array([1.0, 9])), [1, 3])
    np.testing.assert_array_equal(Ball(2.0, np.array([1.0, 1])).project(np.array([1.0, 1])), [1, 1])


def test_ball_projects_what_has_no_square_in_its_precision():
    """float32: 1e20² is infinite, 1e-25² is 0; to 1e-6 of the radius, 45 degrees."""
    for radius, size in ((2.0, 1e20), (1e-25, 1e-23)):
        z = Ball(radius).project(np.full(2, size, np.float32))
        np.testing.assert_allclose(z / np.float32(radius), [0.5**0.5] * 2, rtol=1e-6)


def test_box_clips_and_has_no_bound_at_infinity():
    box = Box(np.array([-np.inf, 0, -1, -np.inf]), np.array([np.inf, np.inf, 1, 2]))
    np.testing.assert_array_equal(box.project(np.array([1e300, -3, 5, -1e300])), [1e300, 0, 1, -1e300])
    np.testing.assert_array_equal(Box().project(np.array([-7.0, 7])), [-7, 7])
    np.testing.assert_array_equal(Box(high=3).project(np.array([-7.0, 7])), [-7, 3])


def test_halfspace_moves_along_its_normal():
    np.testing.assert_array_equal(Halfspace(np.array([0.0, 2]), 2.0).project(np.array([5.0, 4])), [5, 1])


@quick
@given(vectors, positive)
def test_simplex_threshold_is_the_root_of_the_sum(x, total):
    """theta solves sum max(x - theta, 0) = total, a decreasing function of theta; Brent's method finds it too."""
    theta = brentq(lambda t: np.maximum(x - t, 0).sum() - total, x.min() - total, x.max(), xtol=1e-14)
    np.testing.assert_allclose(Simplex(total).project(x), np.maximum(x - theta, 0), rtol=0, atol=1e-9)


def test_simplex_loses_no_digits_to_a_common_offset():
    x = np.array([0.5, 0.375, -1.0], np.float32)  # float32 counts in eighths at 2^20, and only in quarters at 2^21
    np.testing.assert_array_equal(Simplex().project(x + np.float32(2**20)), Simplex().project(x))


a = np.array([1.0, -2, 0, 2]) / 3


@pytest.mark.parametrize("x", [np.zeros(N), np.array([3.0, -1, 0.5, 1.5]), np.array([-4.0, -5, -4.5, -6])])
@pytest.mark.parametrize(
    ("feasible", "conditions"),
    [
        (Ball(2.0), {"constraints": {"type": "ineq", "fun": lambda z: 4 - z @ z, "jac": lambda z: -2 * z}}),
        (Box(-1.0, 0.75), {"bounds": [(-1, 0.75)] * N}),
        (Halfspace(3 * a, -1.5), {"constraints": {"type": "ineq", "fun": lambda z: -0.5 - a @ z, "jac": lambda z: -a}}),
        (
            Simplex(2.0),
            {
                "constraints": {"type": "eq", "fun": lambda z: z.sum() - 2, "jac": np.ones_like},
                "bounds": [(0, None)] * N,
            },
        ),
    ],
)
def test_projections_agree_with_scipy(feasible, conditions, x):
    """1e-7: what sequential quadratic programming reaches where the set is round."""
    nearest = minimize(
        lambda z: (z - x) @ (z - x) / 2, np.full(N, 0.1), jac=lambda z: z - x, method="SLSQP", tol=1e-15, **conditions
    )
    np.testing.assert_allclose(feasible.project(x), nearest.x, rtol=0, atol=1e-7)


@quick
@given(sets, vectors)
def test_out_may_be_x_and_x_is_not_written_otherwise(feasible, x):
    kept, out = x.copy(), np.full(N, np.nan)
    expected = feasible.project(x)
    np.testing.assert_array_equal(x, kept)
    assert not np.shares_memory(expected, x)
    assert feasible.project(x, out=out) is out
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(x, kept)
    assert feasible.project(x, out=x) is x
    np.testing.assert_array_equal(x, expected)


@quick
@given(sets, vectors)
def test_float32_stays_float32_and_is_as_near_as_it_can_be(feasible, x):
    """1e-4: float32 has 7 digits, coordinates reach 50, and a short normal a loses two of them to b / |a|."""
    got = feasible.project(x.astype(np.float32))
    assert got.dtype == np.float32
    assert violation(feasible, got.astype(float)) <= 1e-4 * (1 + offset(feasible))


def offset(feasible):
    """The distance from 0 to the plane of a half-space: what a rounding of b / |a| is relative to."""
    return abs(feasible.b) / np.linalg.norm(feasible.a) if isinstance(feasible, Halfspace) else 0.0


@quick
@given(sets, vectors)
def test_a_device_is_asked_the_same_lines_and_never_waited_for(feasible, x):
    """On the strict double of a GPU; equal to NumPy but for the sums in `dot`."""
    out = strict.asarray(x)
    projected = feasible.project(out)
    assert feasible.project(out, out=out) is out
    np.testing.assert_array_equal(out._host, projected._host)
    np.testing.assert_allclose(out._host, feasible.project(x), rtol=0, atol=TINY)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        *[(lambda r=r: Ball(r), "radius") for r in (0, -1.0, np.nan, np.inf)],
        *[(lambda c=c: Ball(1.0, np.array([0, c])), "center") for c in (np.nan, np.inf)],
        (lambda: Box(1.0, 0.0), "low <= high"),
        (lambda: Box(np.zeros(2), np.array([1.0, -1])), "low <= high"),
        (lambda: Box(np.nan, 0.0), "low <= high"),
        (lambda: Box(np.inf, np.inf), "finite"),
        (lambda: Box(-np.inf, -np.inf), "finite"),
        *[(lambda a=a: Halfspace(np.array([0, a]), 1.0), "normal") for a in (0.0, np.nan, np.inf)],
        *[(lambda b=b: Halfspace(np.ones(2), b), "offset") for b in (np.nan, np.inf)],
        *[(lambda t=t: Simplex(t), "total") for t in (0, -1.0, np.nan, np.inf)],
    ],
)
def test_what_is_not_a_set_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
