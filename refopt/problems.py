"""The suite: problems with data in closed form, to hold a rule to its theorem, or to race rules.

Each function below makes one problem, in float64 on the host: `logistic().to(cupy, "float32")` moves it. Its x_star,
f_star, L and mu are certified: see `refopt.convex`. There are smooth, strongly convex, interpolating and non-smooth
ones; some with f* ≠ 0, which find out a rule that takes f* for 0; and the functions on which a bound is attained, or
a method fails. Real data: `refopt.libsvm`.

No random numbers: cosines of products of integers are irregular enough, and the same everywhere.

Shapes: n terms, d variables.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.fft import dct

from .convex import Lessard, LogSumExp, Problem, Quadratic, QuadraticFamily
from .linear_models import Huber, LeastSquares, Linear, Logistic, Softmax
from .nonconvex import PolyakLojasiewicz, Rosenbrock
from .nonsmooth import SVM, Lasso, LeastAbsolute, Maximum, SparseSVM

# --- data ----------------------------------------------------------------------------------------------------------


def rot(n: int) -> np.ndarray:
    """Return an orthogonal matrix (n, n): the discrete cosine transform."""
    return dct(np.eye(n), axis=0, norm="ortho")


def spd(eigenvalues: np.ndarray) -> np.ndarray:
    """Return the symmetric matrix (n, n) with these eigenvalues (n,); its eigenvectors are the columns of rot(n)."""
    Q = rot(len(eigenvalues))
    return Q * eigenvalues @ Q.T


def vec(n: int, phase: float = 0.0) -> np.ndarray:
    """Return the vector (n,) of sin(2.3 i + phase), i = 1..n."""
    return np.sin(2.3 * np.arange(1, n + 1) + phase)


def design(n: int, d: int) -> np.ndarray:
    """Return observations (n, d): cos(1.7 i j + 0.3 j) times a factor that grows with j from 1 to 1.5."""
    i, j = np.arange(1, n + 1)[:, None], np.arange(1, d + 1)
    return np.cos(1.7 * i * j + 0.3 * j) * (1 + 0.5 * (j - 1) / max(d - 1, 1))


def wave(n: int) -> np.ndarray:
    """Return what stands for noise (n,): cos(5 i), i = 0..n-1."""
    return np.cos(5.0 * np.arange(n))


def signs(n: int, d: int) -> np.ndarray:
    """Return labels -1 or +1 (n,) for `design(n, d)`: on which side of the plane across vec(d, 1) each row lies."""
    return np.where(design(n, d) @ vec(d, 1.0) >= 0, 1.0, -1.0)


def flipped(n: int, d: int) -> np.ndarray:
    """Return the labels `signs(n, d)`, every fourth one wrong, from the first: no plane separates them."""
    return np.where(np.arange(n) % 4 == 0, -1.0, 1.0) * signs(n, d)


# --- problems ------------------------------------------------------------------------------------------------------


def quadratic() -> Quadratic:
    """Make a quadratic of eight variables, condition number 100, f* = -2.5."""
    return Quadratic(spd(np.logspace(0, 2, 8)), vec(8, 0.4), -2.5, np.full(8, 2.0))


def least_squares() -> LeastSquares:
    """Make twelve equations in five unknowns that have a solution: every term is 0 there."""
    A = design(12, 5)
    return LeastSquares(A, A @ vec(5, 1.0), np.full(5, 2.0))


def least_squares_noisy() -> LeastSquares:
    """Make twelve equations in five unknowns that contradict each other: f* > 0."""
    A = design(12, 5)
    return LeastSquares(A, A @ vec(5, 1.0) + 0.5 * wave(12), np.full(5, 2.0))


def least_squares_under() -> LeastSquares:
    """Make four equations in eight unknowns, with many solutions: not strongly convex, yet mu > 0."""
    A = design(4, 8)
    return LeastSquares(A, A @ vec(8, 1.0), np.full(8, 2.0))


def ridge() -> LeastSquares:
    """Make `least_squares_noisy` with the penalty 0.05 |x|²."""
    noisy = least_squares_noisy()
    return LeastSquares(noisy.A, noisy.b, noisy.x0, lam=0.1)


def logistic() -> Logistic:
    """Make a logistic regression of 20 observations, a quarter of the labels wrong, with the penalty 0.025 |x|²."""
    return Logistic(design(20, 4), flipped(20, 4), np.full(4, 2.0), lam=0.05)


def logistic_separable() -> Logistic:
    """Make the same with right labels and no penalty: inf f = 0 is not attained, and x runs to infinity."""
    return Logistic(design(20, 4), signs(20, 4), np.full(4, 2.0))


def softmax() -> Softmax:
    """Make a softmax regression of 15 observations in 3 classes, a fifth of them wrong, with the penalty 0.025 |x|²."""
    A = design(15, 3)
    classes = (A @ (np.outer(vec(3, 1.0), [1, -1, 0.5]) + np.outer(vec(3, 2.0), [0, 1, -1]))).argmax(axis=1)
    classes[::5] = (classes[::5] + 1) % 3
    return Softmax(A, np.eye(3)[classes], np.linspace(-1, 1, 9), lam=0.05)


def log_sum_exp() -> LogSumExp:
    """Make a sum of twelve exponentials in four variables: nearly linear far out, curved at x* = 0."""
    return LogSumExp(design(6, 4), 0.2 * np.arange(6) / 6, np.full(4, 1.5))


def huber() -> Huber:
    """Make twelve equations in three unknowns, two of them far off: x* has these two where the loss is linear."""
    A = design(12, 3)
    b = A @ vec(3, 1.0) + 0.3 * wave(12)
    b[3] += 6
    b[8] -= 5
    return Huber(A, b, np.full(3, 3.0))


def least_absolute() -> LeastAbsolute:
    """Make fifteen equations in three unknowns, one of them far off."""
    A = design(15, 3)
    b = A @ vec(3, 1.0) + 0.3 * wave(15)
    b[3] += 4
    return LeastAbsolute(A, b, np.full(3, 3.0))


def svm_l1() -> SparseSVM:
    """Make a support vector machine of 15 observations, a quarter of the labels wrong, with the penalty 0.05 |x|_1."""
    return SparseSVM(design(15, 3), flipped(15, 3), np.full(3, 3.0), lam=0.05)


def svm_l2() -> SVM:
    """Make the same with the penalty 0.05 |x|²: strongly convex, with kinks."""
    return SVM(design(15, 3), flipped(15, 3), np.full(3, 3.0), lam=0.1)


def lasso() -> Lasso:
    """Make twelve equations in five unknowns with the penalty 0.1 |x|_1: A'A/n is diagonal, 0.25 to 4."""
    A = rot(12)[:, :5] * np.sqrt(12) * np.linspace(0.5, 2, 5)
    return Lasso(A, A @ vec(5, 1.0) + 0.5 * wave(12), np.full(5, 3.0), lam=0.1)


def family() -> QuadraticFamily:
    """Make three quadratics in the plane, with minimisers and minima of their own."""
    A = np.array([[[1, 0], [0, 4]], [[3, 1], [1, 2]], [[5, 0], [0, 0.5]]])
    return QuadraticFamily(A, np.array([[1.0, 0], [-1, 1], [0, -2]]), np.array([-1, 0.5, 2]), np.array([4.0, 3]))


def family_interpolating() -> QuadraticFamily:
    """Make the same three quadratics, all least at (1, -1)."""
    noisy = family()
    return QuadraticFamily(noisy.A, np.tile([1.0, -1], (3, 1)), noisy.s, noisy.x0)


def quadratic_exact() -> Quadratic:
    """Make a quadratic of short binary fractions, four variables, f* = 0.75: units change without rounding."""
    A = np.array([[1, 0.5, 0, 0.25], [0.5, 4, 1, 0], [0, 1, 16, 2], [0.25, 0, 2, 64]])
    return Quadratic(A, np.array([1, -2, 0.5, 3]), 0.75, np.array([4.0, 3, -2, 1]))


# --- where bounds are attained, and methods fail ---------------------------------------------------------------------


def drori_teboulle(N: int = 20) -> Huber:
    """Make the convex function that N steps of size 1/L reduce least: f_N = N + 1/2 = L |x0 - x*|²/(4N + 2).

    Drori, Teboulle, Performance of first-order methods for smooth convex minimization (2014).
    """
    return Huber(np.eye(1), np.zeros(1), np.full(1, 2.0 * N + 1))


def nesterov_chain(n: int = 21) -> LeastSquares:
    """Make a chain of n variables from x_0 = 1 to x_(n+1) = 0: f is the mean of (x_i - x_(i-1))²/2 over n + 1 links.

    From 0, each gradient tells of one more variable. Nesterov, Lectures on convex optimization (2018), section 2.1.2:
    his function of L = 4/(n + 1), plus 1/(2n + 2).
    """
    return LeastSquares(np.eye(n + 1, n) - np.eye(n + 1, n, -1), np.eye(n + 1)[0], np.zeros(n))


def lessard() -> Lessard:
    """Make the strongly convex function on which heavy ball runs in a cycle: see its class."""
    return Lessard(np.full(1, 3.3))


def zigzag(k: float = 10.0) -> Quadratic:
    """Make the quadratic, and the start, from which exact steps along the gradient are slowest: condition number k.

    Akaike, On a successive transformation of probability distribution (1959).
    """
    return Quadratic(np.diag([1.0, k]), np.zeros(2), 0.0, np.array([k, 1.0]))


def maximum(n: int = 50) -> Maximum:
    """Make the function of n variables that resists subgradient methods: no n - 1 steps get below 0, f* = -1/√n."""
    return Maximum(np.zeros(n))


def reddi() -> Linear:
    """Make f = (3x - x - x)/3 on [-1, 1], x* = -1: its three terms in turn, `Recorded`, lead Adam to 1.

    Reddi, Kale, Kumar, On the convergence of Adam and beyond (2018), with C = 3.
    """
    return Linear(np.ones((3, 1)), np.array([3.0, -1, -1]), np.ones(1))


def polyak_lojasiewicz() -> PolyakLojasiewicz:
    """Make a function of three variables that is not convex, and on which gradient descent still converges linearly."""
    return PolyakLojasiewicz(np.array([-3.0, 2.5, 7]))


def rosenbrock() -> Rosenbrock:
    """Make Rosenbrock's valley in two variables, from his start."""
    return Rosenbrock(np.array([-1.2, 1]))


def by_name(*makers: Callable[[], Problem]) -> dict[str, Callable[[], Problem]]:
    """Return the functions by name, with hyphens."""
    return {make.__name__.replace("_", "-"): make for make in makers}


PROBLEMS = by_name(
    quadratic, least_squares, least_squares_noisy, least_squares_under, ridge, logistic, logistic_separable, softmax,
    log_sum_exp, huber, least_absolute, svm_l1, svm_l2, lasso, family, family_interpolating, quadratic_exact,
)  # fmt: skip
"""The convex problems that any rule may meet, by name ("least-squares-noisy"): call it to make one."""

SPECIAL = by_name(
    drori_teboulle, nesterov_chain, lessard, zigzag, maximum, reddi, polyak_lojasiewicz, rosenbrock,
)  # fmt: skip
"""Those made for one theorem, or against one method; `maximum` and `reddi` on a set, the last two not convex."""
