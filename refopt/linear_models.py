"""Means of a smooth loss of a linear score: linear, least squares, ridge, Huber, logistic and softmax regression.

Problem
    f(x) = (1/n) sum_i phi(a_i'x, b_i) + lam/2 |x|²: n observations a_i with targets b_i, and a loss phi that is convex
    in the score z = a_i'x. By the chain rule, with A' the transpose of the matrix of observations A,

        f(x)   = mean phi(A x, b) + lam/2 |x|²                                                          (1)
        g(x)   = A' phi'(A x, b) / n + lam x                                                            (2)
        H(x) v = A' (phi''(A x, b) A v) / n + lam v                                                     (3)
        L      = sup phi'' · (largest eigenvalue of A'A / n) + lam,   mu = lam.                         (4)

    So every class below is one line for phi, one for phi', one for phi''. How x* is found and certified:
    `refopt.convex`. Losses and penalties with a kink: `refopt.nonsmooth`.

Shapes: n terms, d variables, K classes: A (n, d); b (n,), for K classes one-hot (n, K); scores z like b; phi (n,);
x, x0, g, v (d,), for K classes a matrix (d, K) row by row, (d K,).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.optimize import linprog

from .arrays import Array, Scalar, dot, namespace
from .convex import Mean, certified
from .sets import Box


@dataclass(eq=False)
class LinearModel(Mean):
    """Equations (1)-(4), for a loss that a subclass defines.

    Parameters
    ----------
    A : observations a_i, (n, d)
    b : targets (n,); for K classes (n, K)
    x0 : start (d,); for K classes (d K,)
    lam : weight of the penalty, ≥ 0; > 0 where x* needs it

    Raises
    ------
    ValueError
        If A and b differ in length, lam is too small, or labels that must be -1 or +1 are not.
    """

    A: Array
    b: Array
    x0: Array
    lam: float = 0.0
    max_curvature: ClassVar[float]  # sup phi''
    signs: ClassVar[bool] = False  # whether b are labels -1 and +1
    penalised: ClassVar[bool] = False  # whether x* may fail to exist, or is not found, without a penalty

    def __post_init__(self) -> None:
        if len(self.A) != len(self.b):
            raise ValueError(f"A and b need one row for each term, got {len(self.A)} and {len(self.b)}")
        if not (self.lam > 0 or (self.lam == 0 and not self.penalised)):
            raise ValueError(f"{type(self).__name__} needs lam {'>' if self.penalised else '>='} 0, got {self.lam!r}")
        if self.signs and not (abs(self.b) == 1).all():
            raise ValueError("labels must be -1 or +1: pass 2 b - 1 for labels 0 and 1")

    def loss(self, z: Array) -> tuple[Array, Array]:
        """Return phi (n,) and phi' (like z) at the scores z."""
        raise NotImplementedError

    def curvature(self, z: Array, dz: Array) -> Array:
        """Return phi'' dz, the change of phi' along dz (like z)."""
        raise NotImplementedError

    def scores(self, x: Array) -> Array:
        """Return z = A x."""
        return self.A @ x.reshape(self.A.shape[1], *self.b.shape[1:])

    def __call__(self, x: Array) -> tuple[Scalar, Array]:
        """Return f (0-d) and g (like x) at x."""
        phi, slope = self.loss(self.scores(x))
        f = phi.mean() + self.lam / 2 * dot(x, x)  # (1)
        g = (self.A.T @ slope).ravel() / self.n + self.lam * x  # (2)
        return f, g

    def hvp(self, x: Array, v: Array) -> Array:
        """Return H(x) v (like x)."""
        return (self.A.T @ self.curvature(self.scores(x), self.scores(v))).ravel() / self.n + self.lam * v  # (3)

    @certified
    def spectrum(self):
        """The eigenvalues (d,) of A'A / n, ascending."""
        return np.linalg.eigvalsh(self.A.T @ self.A / self.n)

    L = certified(lambda self: self.max_curvature * float(self.spectrum[-1]) + self.lam)  # (4)
    mu = certified(lambda self: self.lam)  # (4)


class Linear(LinearModel):
    """phi = b z, phi' = b, phi'' = 0, on the box [-1, 1]^d: x*_j = -1 where g_j > 0, and 1 where g_j < 0."""

    max_curvature = 0.0

    def loss(self, z):
        return self.b * z, self.b

    def curvature(self, z, dz):
        return 0 * dz

    def project(self, x, out=None):
        """Return the point of the box nearest to x (d,), in `out` (d,) if given."""
        return Box(-1.0, 1.0).project(x, out)

    @certified
    def x_star(self):
        """A corner of the box."""
        return -np.sign(self(self.x0)[1])


class LeastSquares(LinearModel):
    """phi = r²/2, phi' = r, phi'' = 1, with the residual r = z - b. With lam > 0 it is ridge regression.

    x* is the least-squares solution of A x = b, sqrt(n lam) x = 0; of several, the one nearest to x0.
    """

    max_curvature = 1.0

    def loss(self, z):
        r = z - self.b
        return r * r / 2, r

    def curvature(self, z, dz):
        return dz

    @certified
    def x_star(self):
        """The solution nearest to x0: x0 less the shortest solution of the same equations for x0 - x."""
        rows = np.concatenate([self.A, np.sqrt(self.n * self.lam) * np.eye(self.x0.size)])
        targets = np.concatenate([self.b, np.zeros(self.x0.size)])
        return self.x0 - np.linalg.lstsq(rows, rows @ self.x0 - targets)[0]

    @certified
    def mu(self):
        """The smallest eigenvalue of the Hessian that is not zero."""
        eigenvalues = self.spectrum + self.lam
        return float(eigenvalues[eigenvalues > 1e-13 * eigenvalues[-1]][0])


class Huber(LinearModel):
    """phi = r²/2 for |r| ≤ 1, else |r| - 1/2, with r = z - b: least squares that an outlier cannot rule.

    With c = r clipped to [-1, 1]: phi = c (r - c/2), phi' = c, and phi'' = 1 where |r| ≤ 1, else 0.
    """

    max_curvature = 1.0

    def loss(self, z):
        r = z - self.b
        c = namespace(z).clip(r, -1, 1)
        return c * (r - c / 2), c

    def curvature(self, z, dz):
        return (abs(z - self.b) <= 1) * dz


class Logistic(LinearModel):
    """phi = log(1 + e^-m), phi' = -b s(-m), phi'' = s(m) s(-m) ≤ 1/4, with the margin m = b z and labels b = ±1.

    s(m) = 1 / (1 + e^-m) = exp(-phi(m)): in this form nothing overflows. If lam = 0 and some x gives every observation
    a positive margin, f falls to 0 along that x: f* = 0, and x_star is None.
    """

    max_curvature, signs = 1 / 4, True

    def loss(self, z):
        xp, m = namespace(z), self.b * z
        return xp.logaddexp(0, -m), -self.b * xp.exp(-xp.logaddexp(0, m))

    def curvature(self, z, dz):
        xp = namespace(z)
        return xp.exp(-xp.logaddexp(0, z) - xp.logaddexp(0, -z)) * dz

    def hessian(self, x):
        """Return the Hessian (d, d) at x (d,), R'R / n + lam I with the rows √phi'' a_i of R: one pass over A."""
        xp = namespace(x)
        R = xp.sqrt(self.curvature(self.scores(x), 1))[:, None] * self.A
        return R.T @ R / self.n + self.lam * xp.eye(x.size, dtype=x.dtype)  # (3)

    @certified
    def x_star(self):
        """The minimiser; None if the infimum is not attained: a linear programme finds margins of at least 1."""
        if self.lam == 0:
            margins = self.b[:, None] * self.A
            if linprog(0 * self.x0, A_ub=-margins, b_ub=-np.ones(self.n), bounds=(None, None)).status == 0:
                return None
        return super().x_star

    @certified
    def f_star(self):
        """The infimum of f."""
        return 0.0 if self.x_star is None else super().f_star


class Softmax(LinearModel):
    """phi = log sum_k e^z_k - <b, z>, phi' = p - b, phi'' dz = p (dz - <p, dz>), with p = softmax(z), b one-hot.

    phi'' = diag(p) - p p' ≤ I/2 (Böhning, Multinomial logistic regression algorithm, 1992).
    """

    max_curvature, penalised = 1 / 2, True

    def _softmax(self, z: Array) -> tuple[Array, Array]:
        """Return log sum_k e^z_k and p, both for each row of z (n, K)."""
        xp = namespace(z)
        top = z.max(axis=1, keepdims=True)
        e = xp.exp(z - top)
        total = e.sum(axis=1, keepdims=True)
        return (top + xp.log(total))[:, 0], e / total

    def loss(self, z):
        log_sum, p = self._softmax(z)
        return log_sum - (self.b * z).sum(axis=1), p - self.b

    def curvature(self, z, dz):
        _, p = self._softmax(z)
        return p * (dz - (p * dz).sum(axis=1, keepdims=True))
