"""The suite of problems: values, derivatives (PB1), samples and precision, with SciPy as judge."""

import sys
from fractions import Fraction
from itertools import islice
from math import isfinite

import numpy as np
import pytest
import strict
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.differentiate import jacobian
from scipy.optimize import check_grad, rosen, rosen_der, rosen_hess, rosen_hess_prod
from scipy.special import huber, log_expit, log_softmax, logsumexp
from test_contract import device_dot

from refopt import Box, RMSProp, descend, dot
from refopt.linear_models import LeastSquares, Logistic, Softmax
from refopt.nonconvex import Rosenbrock
from refopt.nonsmooth import SVM, Lasso
from refopt.oracle import FiniteSum, Recorded, Shuffled
from refopt.problems import PROBLEMS, SPECIAL, design, reddi, rot, spd, vec, wave

quick = settings(max_examples=30, deadline=None)
ALL = [
    "quadratic", "least-squares", "least-squares-noisy", "least-squares-under", "ridge", "logistic",
    "logistic-separable", "softmax", "log-sum-exp", "huber", "least-absolute", "svm-l1", "svm-l2", "lasso", "family",
    "family-interpolating", "quadratic-exact", "drori-teboulle", "nesterov-chain", "lessard", "zigzag",
    "maximum", "reddi", "polyak-lojasiewicz", "rosenbrock",
]  # fmt: skip
CONVEX = ALL[:-2]
WHOLE = {"quadratic", "quadratic-exact", "log-sum-exp", "lessard", "zigzag", "maximum"}  # no sums of terms
SUMS = [name for name in CONVEX if name not in WHOLE]


def make(name):
    return (PROBLEMS | SPECIAL)[name]()


def every(names):
    return pytest.mark.parametrize("name", names)


def points(p):
    """Four points (d,), none of them in a kink, nor 0."""
    x = p.x0 if p.x0.any() else vec(p.x0.size, 0.7)
    return [s * x for s in (1, -0.3, 0.45, -0.9)]


# --- values and derivatives ------------------------------------------------------------------------------------------


def test_the_suite_is_complete_and_every_call_makes_a_new_problem():
    assert [*PROBLEMS, *SPECIAL] == ALL
    one, other = make("ridge"), make("ridge")
    one.x0 += 1
    assert (other.x0 == 2).all()


TEXTBOOK = {  # the same functions as SciPy or the definition spells them, of p and x
    "quadratic": lambda p, x: (x - vec(8, 0.4)) @ spd(np.logspace(0, 2, 8)) @ (x - vec(8, 0.4)) / 2 - 2.5,
    "least-squares": lambda p, x: np.mean((p.A @ x - p.A @ vec(5, 1)) ** 2) / 2,
    "least-squares-noisy": lambda p, x: np.mean((p.A @ x - p.A @ vec(5, 1) - 0.5 * wave(12)) ** 2) / 2,
    "least-squares-under": lambda p, x: np.mean((p.A @ x - p.A @ vec(8, 1)) ** 2) / 2,
    "ridge": lambda p, x: np.mean((p.A @ x - p.b) ** 2) / 2 + 0.05 * (x @ x),
    "logistic": lambda p, x: -log_expit(p.b * (p.A @ x)).mean() + 0.025 * (x @ x),
    "logistic-separable": lambda p, x: -log_expit(p.b * (p.A @ x)).mean(),
    "softmax": lambda p, x: -(p.b * log_softmax(p.A @ x.reshape(3, 3), axis=1)).sum() / 15 + 0.025 * (x @ x),
    "log-sum-exp": lambda p, x: logsumexp(np.vstack([p.B, -p.B]) @ x + np.tile(0.2 * np.arange(6) / 6, 2)),
    "huber": lambda p, x: huber(1, p.A @ x - p.b).mean(),
    "least-absolute": lambda p, x: np.mean(abs(p.A @ x - p.b)),
    "svm-l1": lambda p, x: np.maximum(0, 1 - p.b * (p.A @ x)).mean() + 0.05 * abs(x).sum(),
    "svm-l2": lambda p, x: np.maximum(0, 1 - p.b * (p.A @ x)).mean() + 0.05 * (x @ x),
    "family": lambda p, x: np.mean([(x - b) @ A @ (x - b) / 2 + s for A, b, s in zip(p.A, p.b, p.s, strict=True)]),
    "quadratic-exact": lambda p, x: (x - p.b) @ p.A @ (x - p.b) / 2 + 0.75,
    "lasso": lambda p, x: np.mean((lasso_rows() @ (x - vec(5, 1)) - 0.5 * wave(12)) ** 2) / 2 + 0.1 * abs(x).sum(),
    "drori-teboulle": lambda p, x: huber(1, x[0]),
    "nesterov-chain": lambda p, x: np.mean(np.diff([1, *x, 0]) ** 2) / 2,
    "lessard": lambda p, x: 12.5 * x[0] ** 2 - 24 * max(x[0] - 1, 0) ** 2 / 2 + 24 * max(x[0] - 2, 0) ** 2 / 2,
    "zigzag": lambda p, x: (x[0] ** 2 + 10 * x[1] ** 2) / 2,
    "maximum": lambda p, x: max(x),
    "reddi": lambda p, x: x[0] / 3,
    "polyak-lojasiewicz": lambda p, x: (x**2 + 3 * np.sin(x) ** 2).sum(),
    "rosenbrock": lambda p, x: rosen(x),
}
TEXTBOOK["family-interpolating"] = TEXTBOOK["family"]


def lasso_rows():
    return rot(12)[:, :5] * np.sqrt(12) * [0.5, 0.875, 1.25, 1.625, 2]


@every(ALL)
def test_values_are_the_textbook_formula(name):
    """PB1 would also hold of another function: at four points, and at 0."""
    p = make(name)
    for x in (*points(p), 0 * p.x0):
        assert p.value(x) == pytest.approx(TEXTBOOK[name](p, x), rel=1e-13, abs=1e-15)


def along_axis(function):
    """Apply a function of one vector (d,) to an array of them (d, ...), as scipy.differentiate asks."""
    return lambda xs: np.apply_along_axis(function, 0, xs)


@every(ALL)
def test_gradients_are_derivatives(name):
    """PB1. 1e-9: SciPy's adaptive differences reach 1e-11; a small first step stays between kinks."""
    p = make(name)
    for x in points(p):
        g = p(x)[1]
        assert abs(g - jacobian(along_axis(p.value), x, initial_step=0.01).df).max() <= 1e-9 * (1 + abs(g).max())
        assert check_grad(p.value, lambda x: p(x)[1], x) <= 1e-6 * (1 + abs(g).max())


@every(ALL)
def test_hvp_is_the_derivative_of_the_gradient(name):
    """PB1, for second derivatives."""
    p = make(name)
    for x in points(p):
        H = jacobian(along_axis(lambda x: p(x)[1]), x, initial_step=0.01).df
        v = vec(x.size, 0.7)
        assert abs(p.hvp(x, v) - H @ v).max() <= 1e-9 * (1 + abs(H).max())
        assert abs(p.hessian(x) - H).max() <= 1e-9 * (1 + abs(H).max())


@quick
@given(hnp.arrays(float, st.integers(2, 6), elements=st.floats(-3, 3)))
def test_rosenbrock_is_scipys(x):
    """PB1, in two to six variables; sums of a few hundred, of a few hundred each: 1e-11 is rounding."""
    p, v = Rosenbrock(x), vec(len(x), 0.7)
    f, g = p(x)
    exact = {"rtol": 1e-12, "atol": 1e-11}
    assert f == pytest.approx(rosen(x), rel=1e-13)
    np.testing.assert_allclose(g, rosen_der(x), **exact)
    np.testing.assert_allclose(p.hvp(x, v), rosen_hess_prod(x, v), **exact)
    np.testing.assert_allclose(p.hessian(x), rosen_hess(x), **exact)


@every(CONVEX)
@quick
@given(data=st.data())
def test_f_lies_between_its_parabolas(name, data):
    """mu/2 |y - x|² ≤ f(y) - f(x) - <g, y - x> ≤ L/2 |y - x|²: g is a (sub)gradient, mu and L are what they say.

    PB1 and PB2 at any two points, kinks included.
    """
    p = make(name)
    anywhere = hnp.arrays(float, p.x0.size, elements=st.floats(-3, 3))
    x, y = data.draw(anywhere), data.draw(anywhere)
    f, g = p(x)
    excess, square = p.value(y) - f - g @ (y - x), (y - x) @ (y - x)
    mu = 0 if name == "least-squares-under" else p.mu  # there mu is the constant of PL alone
    assert excess >= mu / 2 * square - 1e-12 * (1 + abs(f))
    if isfinite(p.L):
        assert excess <= p.L / 2 * square + 1e-12 * (1 + abs(f))


@every(ALL)
def test_answers_are_new_arrays_and_x_is_only_read(name):
    p = make(name)
    x = p.x0.copy()
    (f, g), (f2, g2) = p(x), p(x)
    assert np.ndim(f) == 0
    assert f == f2
    np.testing.assert_array_equal(g, g2)
    np.testing.assert_array_equal(x, p.x0)
    held = [value for value in vars(p).values() if isinstance(value, np.ndarray)]
    assert not any(np.shares_memory(g, other) for other in [g2, x, *held])


@every(["logistic", "logistic-separable", "softmax", "log-sum-exp"])
def test_large_scores_do_not_overflow(name):
    """PB1 at scores of ten thousand; a floating-point warning is an error in these tests."""
    p = make(name)
    x = 1e4 * vec(p.x0.size, 0.1)
    f, g = p(x)
    assert f == pytest.approx(TEXTBOOK[name](p, x), rel=1e-12)
    assert np.isfinite(g).all()
    assert np.isfinite(p.hvp(x, g)).all()


# --- finite sums ------------------------------------------------------------------------------------------------------


@every(SUMS)
def test_means_of_samples_are_the_whole(name):
    """PB1, of every part of a mean."""
    p, x = make(name), points(make(name))[1]
    f, g = p(x)
    for parts in ([[i] for i in range(p.n)], [[0], list(range(1, p.n))]):
        answers = [(len(part) / p.n, *p.sample(part)(x)) for part in parts if part]
        assert sum(w * fi for w, fi, _ in answers) == pytest.approx(f, rel=1e-13)
        np.testing.assert_allclose(sum(w * gi for w, _, gi in answers), g, rtol=0, atol=1e-13 * (1 + abs(g).max()))
    last = p.n - 1
    assert p.sample([last, last]).value(x) == pytest.approx(p.sample([last]).value(x), rel=1e-14)
    assert (p.samples, p.sample([0, last]).samples) == (p.n, 2)


def test_single_terms_have_the_optimum_one_can_write_down():
    """PB3."""
    p = make("family")
    for i, s in enumerate([-1, 0.5, 2]):
        assert p.sample([i]).f_star == pytest.approx(s, rel=1e-14)
        np.testing.assert_allclose(p.sample([i]).x_star, p.b[i], atol=1e-14)
    p = make("ridge")  # min (a'x - b)²/2 + lam/2 |x|² = lam b² / 2 (|a|² + lam)
    for i in range(p.n):
        expected = p.lam * p.b[i] ** 2 / (2 * (p.A[i] @ p.A[i] + p.lam))
        assert p.sample([i]).f_star == pytest.approx(expected, rel=1e-12)
        assert p.sample([i]).hessian(p.x0) @ p.A[i] == pytest.approx(p.sample([i]).L * p.A[i], rel=1e-12)
    assert make("logistic-separable").sample([3]).f_star == 0


def test_finite_sums_draw_from_the_suite():
    p = make("least-squares-noisy")
    oracle = FiniteSum(p, Shuffled(p.n, 5))
    total = 0
    for _ in range(oracle.steps_per_epoch):
        oracle.draw()
        total += oracle.samples * oracle.value(p.x0)
        assert oracle.f_star <= oracle.value(p.x_star)
    assert total / p.n == pytest.approx(p.value(p.x0), rel=1e-13)
    oracle = FiniteSum(p, Recorded(np.array([[3], [7]]), steps_per_epoch=2))
    oracle.draw()
    assert oracle.value(p.x0) == pytest.approx((p.A[3] @ p.x0 - p.b[3]) ** 2 / 2, rel=1e-14)
    assert oracle.peek(p.x0)[0] == pytest.approx((p.A[7] @ p.x0 - p.b[7]) ** 2 / 2, rel=1e-14)


def test_reddis_terms_in_turn_keep_adam_at_the_worst_point():
    """AD7: 3x, -x, -x on [-1, 1]: x = 1 after every third step, bit for bit; the mean is least at -1."""
    p = reddi()
    oracle = FiniteSum(p, Recorded(np.arange(3)[:, None], steps_per_epoch=3))
    rule = RMSProp(lambda k: 0.5 / np.sqrt(k + 1), 0.0, rho=0.1)  # Adam with beta1 = 0 and no correction of bias
    steps = [(step.g[0], step.x[0]) for step in islice(descend(rule, oracle, p.x0), 300)]
    assert [g for g, _ in steps[:6]] == [3, -1, -1] * 2
    assert {x for _, x in steps[2::3]} == {1.0}
    assert min(x for _, x in steps) < 0.9


def test_a_problem_on_a_set_projects_as_the_set_does():
    x = 5 * vec(50, 0.7)
    np.testing.assert_allclose(make("maximum").project(x), x / np.linalg.norm(x), rtol=1e-15)
    out = np.array([-5.0])
    assert reddi().project(out, out=out) is out
    assert out == Box(-1, 1).project(np.array([-5.0])) == -1


# --- precision, bad input ---------------------------------------------------------------------------------------------


@every(ALL)
def test_float32_stays_float32_and_keeps_the_constants(name):
    p = make(name)
    q, x = p.to(np, np.float32), points(p)[2].astype(np.float32)
    f, g = q(x)
    arrays = [q.x0, f, g, q.hvp(x, g), q.hessian(x)] + ([] if q.x_star is None else [q.x_star])
    assert all(a.dtype == np.float32 for a in arrays)
    assert f == pytest.approx(p.value(x.astype(float)), rel=1e-5)
    assert (q.f_star, q.L, q.mu) == (p.f_star, p.L, p.mu)
    assert p.x0.dtype == p(p.x0)[1].dtype == np.float64
    np.testing.assert_array_equal(q.to(np, np.float64)(p.x0)[1], p(p.x0)[1])


@every(ALL)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_device_is_asked_the_same_lines_and_never_waited_for(name, dtype, monkeypatch):
    """On the strict double of a GPU, bit for bit, once `dot` adds here as it does there."""
    for path, module in list(sys.modules.items()):
        if path.startswith("refopt.") and getattr(module, "dot", None) is dot:
            monkeypatch.setattr(module, "dot", device_dot)
    host, device = (make(name).to(xp, dtype) for xp in (np, strict))
    x = points(host)[0].astype(dtype)
    there = strict.asarray(x)
    pairs = [(host, device)]
    if name in SUMS:
        pairs += [(host.sample([0, host.n - 1]), device.sample([0, host.n - 1]))]
    for p, q in pairs:
        (f, g), h, value, nearest = p(x), p.hvp(x, p(x)[1]), p.value(x), p.project(x)
        with strict.watch(float64=dtype is np.float64):
            (f2, g2), value2, nearest2 = q(there), q.value(there), q.project(there)
            h2 = q.hvp(there, g2)
        for ours, theirs in ((f, f2), (g, g2), (h, h2), (value, value2), (nearest, nearest2)):
            assert isinstance(theirs, strict.ndarray)
            assert theirs.dtype == dtype
            np.testing.assert_array_equal(strict.read(theirs), ours)
        assert q.x_star is None or (isinstance(q.x_star, strict.ndarray) and q.x_star.dtype == dtype)
        assert type(q.f_star) is float
        assert q.f_star == p.f_star


def test_constants_asked_before_the_move_move_too():
    p = make("softmax")
    exact = p.x_star
    assert exact.dtype == np.float64
    np.testing.assert_array_equal(p.to(np, np.float32).x_star, exact.astype(np.float32))


def test_quadratic_exact_is_exact():
    """f and g at x0, in rational numbers, are what float64 gives; so f and x can be scaled by powers of 2."""
    p = make("quadratic-exact")
    A = [[Fraction(a) for a in row] for row in p.A.tolist()]
    assert all(a.denominator <= 4 for row in A for a in row)
    np.testing.assert_array_equal(p.A, p.A.T)
    e = [Fraction(a) - Fraction(b) for a, b in zip(p.x0.tolist(), p.x_star.tolist(), strict=True)]
    g = [sum(a * b for a, b in zip(row, e, strict=True)) for row in A]
    f = sum(a * b for a, b in zip(e, g, strict=True)) / 2 + Fraction(3, 4)
    assert p.value(p.x0) == f
    assert p(p.x0)[1].tolist() == g
    assert p.to(np, np.float32).value(p.x0.astype(np.float32)) == f


def test_bad_data_is_refused():
    A, x0 = design(3, 2), np.zeros(2)
    with pytest.raises(ValueError, match="one row for each term"):
        LeastSquares(A, np.ones(4), x0)
    with pytest.raises(ValueError, match="lam >= 0"):
        LeastSquares(A, np.ones(3), x0, lam=-1.0)
    with pytest.raises(ValueError, match="lam >= 0"):
        LeastSquares(A, np.ones(3), x0, lam=np.nan)
    with pytest.raises(ValueError, match="-1 or \\+1"):
        Logistic(A, np.array([0.0, 1, 1]), x0)
    for penalised, b in ((SVM, np.ones(3)), (Lasso, np.ones(3)), (Softmax, np.eye(3))):
        with pytest.raises(ValueError, match="lam > 0"):
            penalised(A, b, np.zeros(2 * b.ndim))
