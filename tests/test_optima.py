"""What the problems claim: x*, f*, L, mu, G and sigma², each certified by another way (PB2-PB4)."""

from math import inf, isnan, log, nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize

from refopt.linear_models import Logistic
from refopt.nonsmooth import SVM, LeastAbsolute, SparseSVM
from refopt.problems import PROBLEMS, rot, vec

quick = settings(max_examples=30, deadline=None)

TABLE = {  # mu, L, f*, |x0 - x*|; nan: not asserted
    "quadratic": (1, 100, -2.5, 6.05727),
    "least-squares": (0.455385047, 1.297422271, 0, 4.91330),
    "least-squares-noisy": (0.455385047, 1.297422271, 0.009516009512875213, 4.84637),
    "least-squares-under": (0.0668196157, 3.423111529, 0, nan),
    "ridge": (0.555385047, 1.397422271, 0.1302049101649769, 4.78335),
    "logistic": (0.05, 0.3170042332, 0.6357772851342023, 4.06877),
    "logistic-separable": (0, 0.2670042332, 0, nan),
    "softmax": (0.05, 0.6264803529, 0.5080356313556836, 3.15705),
    "log-sum-exp": (0, 8.708687185, 2.56985979871728, 3),
    "huber": (0, 1.199169348, 0.7807217011070797, 5.01942),
    "least-absolute": (0, inf, 0.3573634295357166, 5.11816),
    "svm-l1": (0, inf, 0.7428706105464327, 5.86840),
    "svm-l2": (0.1, inf, 0.7343343813831966, 5.56898),
    "family": (2.0497396, 3.1169270, 1.481159420289855, 5.0806576),
    "family-interpolating": (2.0497396, 3.1169270, 0.5, 5),
    "quadratic-exact": (0.91598, 64.0842, 0.75, nan),
}
KINKED = ["least-absolute", "svm-l1", "svm-l2"]


def every(names):
    return pytest.mark.parametrize("name", names)


@every(TABLE)
def test_constants_are_those_of_the_table(name):
    """PB2, PB3: to the digits printed."""
    p, (mu, L, f_star, distance) = PROBLEMS[name](), TABLE[name]
    digits = 1e-5 if name == "quadratic-exact" else 1e-9
    if name.startswith("family"):
        digits = 1e-7
    assert [p.mu, p.L] == pytest.approx([mu, L], rel=digits)
    assert p.f_star == pytest.approx(f_star, rel=1e-14, abs=1e-28)
    assert all(type(c) in (float, int) for c in (p.mu, p.L, p.f_star))
    if not isnan(distance):
        assert np.linalg.norm(p.x0 - p.x_star) == pytest.approx(distance, rel=2e-6)


@every([name for name in TABLE if name not in KINKED])
def test_gradients_are_lipschitz_with_the_constant(name):
    """PB2 (i), on a line, where the ratios come closest to L."""
    p = PROBLEMS[name]()
    points = [s * p.x0 for s in np.linspace(-1, 1, 9)]
    gradients = [p(x)[1] for x in points]
    checked = 0
    for i, x in enumerate(points):
        for j in range(i):
            step, change = np.linalg.norm(x - points[j]), np.linalg.norm(gradients[i] - gradients[j])
            assert change <= p.L * step * (1 + 1e-12)
            checked += 1
    assert checked == 36


def top(H):
    return np.linalg.eigvalsh(H)[-1]


def test_the_lipschitz_constant_is_attained_where_it_can_be():
    """PB2 (ii), (iii): a factor too large in L hides in every bound, and shows only here."""
    p = PROBLEMS["logistic"]()
    assert top(p.hessian(np.zeros(4))) == pytest.approx(p.L, rel=1e-12)
    assert top(p.A.T @ p.A) / 80 + 0.05 == pytest.approx(p.L, rel=1e-12)
    for name in ("quadratic", "least-squares", "least-squares-under", "ridge", "family", "quadratic-exact"):
        p = PROBLEMS[name]()
        values, vectors = np.linalg.eigh(p.hessian(p.x0))
        assert values[-1] == pytest.approx(p.L, rel=1e-12)
        assert values[values > 1e-12][0] == pytest.approx(p.mu, rel=1e-12)
        assert np.linalg.norm(p(p.x0 + vectors[:, -1])[1] - p(p.x0)[1]) == pytest.approx(p.L, rel=1e-12)
    p = PROBLEMS["softmax"]()
    assert top(p.A.T @ p.A) / 30 + 0.05 == pytest.approx(p.L, rel=1e-12)
    p = PROBLEMS["log-sum-exp"]()
    both = np.vstack([p.B, -p.B])
    assert top(both.T @ both) / 2 == pytest.approx(p.L, rel=1e-12)
    np.testing.assert_allclose(np.linalg.eigvalsh(p.hessian(p.x_star))[[0, -1]], [0.00537, 1.4456], rtol=1e-3)
    p = PROBLEMS["huber"]()
    assert top(p.A.T @ p.A) / 12 == pytest.approx(p.L, rel=1e-12)


def gap(p):
    """A bound on f(x*) - f*, from a dual problem or from the gradient, found without refopt's own solver."""
    f, g = p(p.x_star)
    if isinstance(p, LeastAbsolute):  # max b'y subject to A'y = 0, |y_i| ≤ 1/n
        return f + linprog(-p.b, A_eq=p.A.T, b_eq=0 * p.x0, bounds=(-1 / p.n, 1 / p.n)).fun
    M = p.b[:, None] * p.A if isinstance(p, SVM | SparseSVM) else None
    if isinstance(p, SparseSVM):  # max sum q subject to |M'q|_j ≤ lam, 0 ≤ q_i ≤ 1/n
        rows = np.vstack([M.T, -M.T])
        return f + linprog(-np.ones(p.n), A_ub=rows, b_ub=np.full(len(rows), p.lam), bounds=(0, 1 / p.n)).fun
    if isinstance(p, SVM):  # Fenchel: max sum q - |M'q|² / 2 lam, 0 ≤ q_i ≤ 1/n
        K = M @ M.T / p.lam
        dual = minimize(
            lambda q: q @ K @ q / 2 - q.sum(), np.full(p.n, 0.5 / p.n), jac=lambda q: K @ q - 1, method="SLSQP",
            bounds=[(0, 1 / p.n)] * p.n, tol=1e-16, options={"maxiter": 500},
        )  # fmt: skip
        return f + dual.fun
    curvature = np.linalg.eigvalsh(p.hessian(p.x_star))
    return g @ g / (2 * curvature[curvature > 1e-12 * curvature[-1]][0])


@every([name for name in TABLE if name != "logistic-separable"])
def test_optima_are_certified(name):
    """PB3. Smooth: |g(x*)|² / 2 mu ≤ 1e-26, which only a polished x* reaches. Kinks: a dual gap of 1e-12."""
    p = PROBLEMS[name]()
    assert abs(gap(p)) <= (1e-12 if name in KINKED else 1e-26)
    assert p.value(p.x_star) == pytest.approx(p.f_star, rel=1e-15, abs=1e-29)


def test_underdetermined_least_squares_has_the_solution_nearest_to_x0():
    p = PROBLEMS["least-squares-under"]()
    np.testing.assert_allclose(p.x_star, p.x0 - np.linalg.pinv(p.A) @ (p.A @ p.x0 - p.b), rtol=0, atol=1e-14)


def test_closed_forms_are_exact():
    np.testing.assert_array_equal(PROBLEMS["quadratic"]().x_star, vec(8, 0.4))
    np.testing.assert_array_equal(PROBLEMS["quadratic-exact"]().x_star, [1, -2, 0.5, 3])
    np.testing.assert_array_equal(PROBLEMS["log-sum-exp"]().x_star, np.zeros(4))
    assert PROBLEMS["log-sum-exp"]().f_star == pytest.approx(log(2 * np.exp(0.2 * np.arange(6) / 6).sum()), rel=1e-15)
    np.testing.assert_allclose(PROBLEMS["family"]().x_star, [-0.11304348, 0.0173913], rtol=1e-6)
    np.testing.assert_allclose(PROBLEMS["family-interpolating"]().x_star, [1, -1], rtol=1e-15)
    np.testing.assert_allclose(PROBLEMS["least-squares"]().x_star, vec(5, 1), rtol=1e-13)
    np.testing.assert_allclose(rot(5) @ rot(5).T, np.eye(5), atol=1e-15)


def test_huber_has_two_rows_in_the_linear_part():
    p = PROBLEMS["huber"]()
    np.testing.assert_array_equal(np.flatnonzero(abs(p.A @ p.x_star - p.b) > 1), [3, 8])


def test_separable_logistic_comes_as_near_to_0_as_one_likes_and_has_no_minimiser():
    p = PROBLEMS["logistic-separable"]()
    assert p.x_star is None
    assert 0 < p.value(1e4 * vec(4, 1.0)) < 1e-8
    tangled = Logistic(p.A, PROBLEMS["logistic"]().b, p.x0)
    assert tangled.f_star > 0.5
    assert np.linalg.norm(tangled(tangled.x_star)[1]) <= 1e-14


@every(KINKED)
@quick
@given(data=st.data())
def test_every_subgradient_obeys_its_bound(name, data):
    p = PROBLEMS[name]()
    radius = np.linalg.norm(p.x0 - p.x_star)
    v = np.array(data.draw(st.lists(st.floats(-1, 1), min_size=3, max_size=3)))
    x = p.x_star + radius * v / max(np.linalg.norm(v), 1)
    assert np.linalg.norm(p(x)[1]) <= p.G
    rows = np.linalg.norm(p.A, axis=1).mean()
    penalty = {"least-absolute": 0, "svm-l1": 0.05 * 3**0.5, "svm-l2": 0.1 * (np.linalg.norm(p.x_star) + radius)}
    bound = p.G
    assert bound == pytest.approx(rows + penalty[name], rel=1e-14)


def test_the_subgradient_bound_of_least_absolute_is_that_of_the_table():
    bound = PROBLEMS["least-absolute"]().G
    assert bound == pytest.approx(1.489795, abs=5e-7)


def test_sigma2_tells_interpolation():
    """PB4: sigma² = f* - mean_i f_i* is 0 where one x solves every term, and mean r_i² / 2 for noisy least squares."""
    for name in ("least-squares", "least-squares-under"):
        p = PROBLEMS[name]()
        assert abs(p.sigma2) <= 1e-28
        assert p.interpolates
    assert PROBLEMS["family-interpolating"]().interpolates
    assert PROBLEMS["logistic-separable"]().interpolates  # in the limit
    p = PROBLEMS["least-squares-noisy"]()
    r = p.A @ np.linalg.lstsq(p.A, p.b)[0] - p.b
    assert p.sigma2 == pytest.approx(r @ r / 24, abs=1e-11)
    assert p.sigma2 == pytest.approx(9.516e-3, abs=5e-7)
    assert max(np.linalg.norm(p.sample([i])(p.x_star)[1]) for i in range(p.n)) == pytest.approx(0.58, abs=5e-3)
    assert PROBLEMS["family"]().sigma2 == pytest.approx(0.981159420289855, rel=1e-14)
    assert not any(PROBLEMS[name]().interpolates for name in ("least-squares-noisy", "ridge", "family", "huber"))


@every([name for name in TABLE if hasattr(PROBLEMS[name](), "sample")])
@quick
@given(data=st.data())
def test_samples_know_their_own_optimum(name, data):
    """Any batch, with repetitions: certified as the whole is; 1e-11, as single rows leave the dual degenerate."""
    whole = PROBLEMS[name]()
    part = whole.sample(data.draw(st.lists(st.integers(0, whole.n - 1), min_size=1, max_size=4)))
    if part.x_star is None:
        assert part.f_star == 0
        return
    assert abs(gap(part)) <= 1e-11
    assert part.value(part.x_star) == pytest.approx(part.f_star, rel=1e-15, abs=1e-29)
