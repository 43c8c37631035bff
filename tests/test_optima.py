"""What the problems claim: x*, f*, L, mu, G and sigma², each certified by another way (PB2-PB4)."""

from functools import cache
from math import cos, inf, isnan, log, nan, pi, sin, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.optimize import linprog, minimize

from refopt.linear_models import Linear, Logistic
from refopt.nonsmooth import SVM, Lasso, LeastAbsolute, Maximum, SparseSVM
from refopt.problems import PROBLEMS, SPECIAL, rot, vec

quick = settings(max_examples=30, deadline=None)

TABLE = {  # mu, L, f*, |x0 - x*|; nan: not asserted; None: there is none
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
    "lasso": (0.25, inf, 0.2589410617086965, 6.91368),
    "drori-teboulle": (0, 1, 0, 41),
    "nesterov-chain": (2 / 11 * sin(pi / 44) ** 2, 2 / 11 * cos(pi / 44) ** 2, 1 / 968, sqrt(21 * 43 / 132)),
    "lessard": (1, 25, 0, 3.3),
    "zigzag": (1, 10, 0, sqrt(101)),
    "maximum": (0, inf, -1 / sqrt(50), 1),
    "reddi": (0, 0, -1 / 3, 2),
    "polyak-lojasiewicz": (0.1755309858797, 8, 0, sqrt(3**2 + 2.5**2 + 7**2)),
    "rosenbrock": (None, None, 0, 2.2),
}
KINKED = ["least-absolute", "svm-l1", "svm-l2", "lasso", "maximum"]


@cache
def make(name):
    return (PROBLEMS | SPECIAL)[name]()


def every(names):
    return pytest.mark.parametrize("name", names)


@every(TABLE)
def test_constants_are_those_of_the_table(name):
    """PB2, PB3: to the digits printed."""
    p, (mu, L, f_star, distance) = make(name), TABLE[name]
    digits = 1e-5 if name == "quadratic-exact" else 1e-9
    if name.startswith("family"):
        digits = 1e-7
    assert (p.mu, p.L) == (mu, L) if mu is None else [p.mu, p.L] == pytest.approx([mu, L], rel=digits)
    assert p.f_star == pytest.approx(f_star, rel=1e-14, abs=1e-28)
    assert all(type(c) in (float, int) for c in (p.mu, p.L, p.f_star) if c is not None)
    if not isnan(distance):
        assert np.linalg.norm(p.x0 - p.x_star) == pytest.approx(distance, rel=2e-6)


@every([name for name in TABLE if name not in (*KINKED, "rosenbrock")])
def test_gradients_are_lipschitz_with_the_constant(name):
    """PB2 (i), on a line, where the ratios come closest to L."""
    p = make(name)
    points = [s * (p.x0 if p.x0.any() else vec(p.x0.size)) for s in np.linspace(-1, 1, 9)]
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
    p = make("logistic")
    assert top(p.hessian(np.zeros(4))) == pytest.approx(p.L, rel=1e-12)
    assert top(p.A.T @ p.A) / 80 + 0.05 == pytest.approx(p.L, rel=1e-12)
    constant = ["quadratic", "least-squares", "least-squares-under", "ridge", "family", "quadratic-exact"]
    for name in (*constant, "nesterov-chain", "zigzag"):
        p = make(name)
        lam, vectors = np.linalg.eigh(p.hessian(p.x0))
        assert lam[-1] == pytest.approx(p.L, rel=1e-12)
        assert lam[lam > 1e-12][0] == pytest.approx(p.mu, rel=1e-11)
        assert np.linalg.norm(p(p.x0 + vectors[:, -1])[1] - p(p.x0)[1]) == pytest.approx(p.L, rel=1e-12)
    p = make("softmax")
    assert top(p.A.T @ p.A) / 30 + 0.05 == pytest.approx(p.L, rel=1e-12)
    p = make("log-sum-exp")
    both = np.vstack([p.B, -p.B])
    assert top(both.T @ both) / 2 == pytest.approx(p.L, rel=1e-12)
    np.testing.assert_allclose(np.linalg.eigvalsh(p.hessian(p.x_star))[[0, -1]], [0.00537, 1.4456], rtol=1e-3)
    p = make("huber")
    assert top(p.A.T @ p.A) / 12 == pytest.approx(p.L, rel=1e-12)
    p = make("lessard")
    assert [p.hessian(np.full(1, x)).item() for x in (0, 1.5, 3)] == [p.L, p.mu, p.L]
    p = make("polyak-lojasiewicz")
    np.testing.assert_array_equal(p.hessian(p.x_star), p.L * np.eye(3))
    assert make("drori-teboulle").hessian(np.zeros(1)) == make("drori-teboulle").L


@every([name for name in TABLE if make(name).mu])
@quick
@given(data=st.data())
def test_the_gradient_dominates_the_gap_with_the_constant(name, data):
    """PB3, the inequality (1) that certifies: |g|² ≥ 2 mu (f - f*), convex or not; 1e-12 of f for rounding."""
    p = make(name)
    f, g = p(data.draw(hnp.arrays(float, p.x0.size, elements=st.floats(-9, 9))))
    assert g @ g - 2 * p.mu * (f - p.f_star) >= -1e-12 * (1 + abs(f))


def test_the_constant_of_a_function_that_is_not_convex_is_the_least_ratio():
    """PB3. On a grid up to 3: beyond, |f'| ≥ 2x - 3 and f ≤ x² + 3. Karimi, Nutini, Schmidt 2016 have 1/32."""
    p, x = make("polyak-lojasiewicz"), np.linspace(1e-3, 3, 300_000)
    least = ((2 * x + 3 * np.sin(2 * x)) ** 2 / (2 * (x**2 + 3 * np.sin(x) ** 2))).min()
    assert 1 / 32 < p.mu <= least <= p.mu * (1 + 1e-9)
    assert p.hvp(np.full(3, pi / 2), np.ones(3)).max() == pytest.approx(-4), "not convex"


@quick
@given(hnp.arrays(float, 3, elements=st.floats(-9, 9)))
def test_what_is_not_convex_is_nowhere_below_its_minimum(x):
    """PB3: sums of squares, 0 where they are claimed to be."""
    assert make("polyak-lojasiewicz").value(x) >= 0
    assert make("rosenbrock").value(x) >= 0
    for name in SPECIAL:
        p = make(name)
        assert p.value(p.x_star) == p.f_star
        np.testing.assert_allclose(p.project(p.x_star), p.x_star, rtol=1e-15)


def gap(p):
    """A bound on f(x*) - f*, from a dual problem or from the gradient, found without refopt's own solver."""
    f, g = p(p.x_star)
    if isinstance(p, LeastAbsolute):  # max b'y subject to A'y = 0, |y_i| ≤ 1/n
        return f + linprog(-p.b, A_eq=p.A.T, b_eq=0 * p.x0, bounds=(-1 / p.n, 1 / p.n)).fun
    if isinstance(p, Lasso):  # Fenchel: max b'q - n |q|²/2 subject to |A'q|_j ≤ lam
        q = (p.b - p.A @ p.x_star) / p.n
        q /= max(1, abs(p.A.T @ q).max() / p.lam)
        return f - (p.b @ q - p.n / 2 * q @ q)
    if isinstance(p, Maximum):  # max -|q| over q ≥ 0 of sum 1
        q = np.full(p.x0.size, 1 / p.x0.size)
        return f + np.sqrt(q @ q)
    if isinstance(p, Linear):
        return f - linprog(p.b @ p.A / p.n, bounds=(-1, 1)).fun
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
    """PB3. Smooth: |g(x*)|² / 2 mu ≤ 1e-26, which only a polished x* reaches. Kinks, sets: a dual gap of 1e-12."""
    p = make(name)
    assert abs(gap(p)) <= (1e-12 if name in (*KINKED, "reddi") else 1e-26)
    assert p.value(p.x_star) == pytest.approx(p.f_star, rel=1e-15, abs=1e-29)


@pytest.mark.parametrize("method", ["BFGS", "L-BFGS-B", "Newton-CG", "trust-exact"])
@every([name for name in TABLE if name not in (*KINKED, "reddi", "rosenbrock") and make(name).mu])
def test_scipys_minimisers_end_within_their_certificate(name, method):
    """PB3: 0 ≤ f - f* ≤ |g|²/(2 mu) at whatever point they end, from 0.1 x0; to 1e-14 of |f|."""
    p = make(name)
    hess = p.hessian if method in ("Newton-CG", "trust-exact") else None
    f, g = p(minimize(p, 0.1 * p.x0, jac=True, hess=hess, method=method).x)
    assert -1e-14 * max(1, abs(f)) <= f - p.f_star <= g @ g / (2 * p.mu) + 1e-14 * max(1, abs(f))
    assert f - p.f_star <= 1e-6


def test_underdetermined_least_squares_has_the_solution_nearest_to_x0():
    """PB3: of many."""
    p = make("least-squares-under")
    np.testing.assert_allclose(p.x_star, p.x0 - np.linalg.pinv(p.A) @ (p.A @ p.x0 - p.b), rtol=0, atol=1e-14)


def test_closed_forms_are_exact():
    np.testing.assert_array_equal(make("quadratic").x_star, vec(8, 0.4))
    np.testing.assert_array_equal(make("quadratic-exact").x_star, [1, -2, 0.5, 3])
    np.testing.assert_array_equal(make("log-sum-exp").x_star, np.zeros(4))
    assert make("log-sum-exp").f_star == pytest.approx(log(2 * np.exp(0.2 * np.arange(6) / 6).sum()), rel=1e-15)
    np.testing.assert_allclose(make("family").x_star, [-0.11304348, 0.0173913], rtol=1e-6)
    np.testing.assert_allclose(make("family-interpolating").x_star, [1, -1], rtol=1e-15)
    np.testing.assert_allclose(make("least-squares").x_star, vec(5, 1), rtol=1e-13)
    np.testing.assert_allclose(rot(5) @ rot(5).T, np.eye(5), atol=1e-15)
    np.testing.assert_allclose(make("nesterov-chain").x_star, 1 - np.arange(1, 22) / 22, rtol=0, atol=1e-14)


def test_lasso_on_orthogonal_columns_is_soft_thresholding():
    """PB3, in closed form: x*_j = soft(a_j'b/n, lam)/(|a_j|²/n); one of the five is 0."""
    p = make("lasso")
    c = p.A.T @ p.b / p.n
    expected = np.sign(c) * np.maximum(abs(c) - p.lam, 0) / np.array([0.5, 0.875, 1.25, 1.625, 2]) ** 2
    np.testing.assert_allclose(p.x_star, expected, rtol=0, atol=1e-14)


@quick
@given(data=st.data())
def test_lasso_is_certified_with_columns_that_are_not_orthogonal(data):
    """PB3: a dual gap of 1e-12, as many rows as not, any weight."""
    n, d, lam = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 5)), data.draw(st.sampled_from([0.01, 0.3, 3.0]))
    part = hnp.arrays(float, (n, d), elements=st.integers(-4, 4))
    p = Lasso(data.draw(part) + np.sin(np.arange(n * d)).reshape(n, d) / 9, vec(n, 0.2), np.ones(d), lam=lam)
    assert abs(gap(p)) <= 1e-12


def test_lasso_is_certified_where_a_coordinate_is_at_the_edge():
    """PB3: with these integers an x_j = 0 has |q_j| = lam as well; a rounding of SciPy's gives it the wrong sign."""
    A = np.array([[0.0, 2, 0, -1, -1], [0, -3, -3, 0, -1], [2, 0, -2, -1, -1]])
    assert abs(gap(Lasso(A, np.array([3.0, 2, 3]), np.ones(5), lam=0.25))) <= 1e-12


def test_huber_has_two_rows_in_the_linear_part():
    p = make("huber")
    np.testing.assert_array_equal(np.flatnonzero(abs(p.A @ p.x_star - p.b) > 1), [3, 8])


def test_separable_logistic_comes_as_near_to_0_as_one_likes_and_has_no_minimiser():
    p = make("logistic-separable")
    assert p.x_star is None
    assert 0 < p.value(1e4 * vec(4, 1.0)) < 1e-8
    tangled = Logistic(p.A, make("logistic").b, p.x0)
    assert tangled.f_star > 0.5
    assert np.linalg.norm(tangled(tangled.x_star)[1]) <= 1e-14


@every(KINKED)
@quick
@given(data=st.data())
def test_every_subgradient_obeys_its_bound(name, data):
    """PB2, for kinks."""
    p = make(name)
    radius = np.linalg.norm(p.x0 - p.x_star)
    v = data.draw(hnp.arrays(float, p.x0.size, elements=st.floats(-1, 1)))
    x = p.x_star + radius * v / max(np.linalg.norm(v), 1)
    assert np.linalg.norm(p(x)[1]) <= p.G
    rows = 0 if name in ("lasso", "maximum") else np.linalg.norm(p.A, axis=1).mean()
    rest = {
        "least-absolute": 0, "svm-l1": 0.05 * sqrt(3), "svm-l2": 0.1 * (np.linalg.norm(p.x_star) + radius),
        "lasso": 4 * radius + 2 * 0.1 * sqrt(5), "maximum": 1,
    }  # fmt: skip
    bound = p.G
    assert bound == pytest.approx(rows + rest[name], rel=1e-14)


def test_the_subgradient_bound_of_least_absolute_is_that_of_the_table():
    bound = make("least-absolute").G
    assert bound == pytest.approx(1.489795, abs=5e-7)


def test_sigma2_tells_interpolation():
    """PB4: sigma² = f* - mean_i f_i* is 0 where one x solves every term, and mean r_i² / 2 for noisy least squares."""
    for name in ("least-squares", "least-squares-under"):
        p = make(name)
        assert abs(p.sigma2) <= 1e-28
        assert p.interpolates
    assert make("family-interpolating").interpolates
    assert make("logistic-separable").interpolates  # in the limit
    assert make("drori-teboulle").interpolates
    assert make("nesterov-chain").sigma2 == pytest.approx(1 / 968, rel=1e-12)  # each link could be 0
    assert make("reddi").sigma2 == pytest.approx(-1 / 3 + 5 / 3, rel=1e-14)
    p = make("least-squares-noisy")
    r = p.A @ np.linalg.lstsq(p.A, p.b)[0] - p.b
    assert p.sigma2 == pytest.approx(r @ r / 24, abs=1e-11)
    assert p.sigma2 == pytest.approx(9.516e-3, abs=5e-7)
    assert max(np.linalg.norm(p.sample([i])(p.x_star)[1]) for i in range(p.n)) == pytest.approx(0.58, abs=5e-3)
    assert make("family").sigma2 == pytest.approx(0.981159420289855, rel=1e-14)
    assert not any(make(name).interpolates for name in ("least-squares-noisy", "ridge", "family", "huber"))


@every([name for name in TABLE if hasattr(make(name), "sample")])
@quick
@given(data=st.data())
def test_samples_know_their_own_optimum(name, data):
    """PB3. Any batch, with repetitions: certified as the whole is; 1e-11, as single rows leave the dual degenerate."""
    whole = make(name)
    part = whole.sample(data.draw(st.lists(st.integers(0, whole.n - 1), min_size=1, max_size=4)))
    if part.x_star is None:
        assert part.f_star == 0
        return
    assert abs(gap(part)) <= 1e-11
    assert part.value(part.x_star) == pytest.approx(part.f_star, rel=1e-15, abs=1e-29)


def table():
    """Print every problem with what is certified of it; to be read, not tested."""
    print(f"{'problem':20} {'n':>2} {'f*':>14} {'mu':>10} {'L':>10} {'certificate':>11}  x*")
    for name in TABLE:
        p = make(name)
        known = [p.f_star, nan if p.mu is None else p.mu, nan if p.L is None else p.L]
        bound = nan if p.x_star is None else abs(gap(p))
        x_star = "none" if p.x_star is None else np.array2string(p.x_star, precision=4, threshold=5, edgeitems=2)
        print(f"{name:20} {p.x0.size:2} {known[0]:14.10f} {known[1]:10.6g} {known[2]:10.6g} {bound:11.1e}  {x_star}")


if __name__ == "__main__":
    table()
