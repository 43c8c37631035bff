"""Functions with kinks: least absolute deviations, support vector machines with two penalties, lasso, a maximum.

Problem
    f(x) = (1/n) sum_i phi(a_i'x, b_i) + penalty, as in `refopt.linear_models`, but phi or the penalty has a kink, and
    g is a subgradient: f(y) ≥ f(x) + <g, y - x> for every y. L is inf; what a theorem asks for instead is G, a bound
    on |g| at every x no farther from x* than x0 is. Where phi has the kink, phi'' is 0 elsewhere and |phi'| ≤ 1, so
    that the loss adds at most the mean of |a_i| to G.

Certificate
    x* lies in the kinks, where a gradient says nothing: its certificate is a dual problem of the same value. SciPy's
    solver tells which kinks those are, to 1e-7 or better; x* then solves the linear equations that say so.

Shapes: as in `refopt.linear_models`.

References: Tibshirani, Regression shrinkage and selection via the lasso (1996); Nesterov, Lectures on convex
optimization (2018), section 3.2.1, for the maximum.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

import numpy as np
from scipy.optimize import linprog, minimize

from .arrays import Array, Scalar, namespace
from .convex import Problem, certified
from .linear_models import LeastSquares, LinearModel
from .sets import Ball


class Kinked(LinearModel):
    """A linear model whose loss has a kink: phi'' = 0 but there, and L is inf."""

    max_curvature = inf

    def curvature(self, z, dz):
        return 0 * dz

    @certified
    def slopes(self):
        """The mean of |a_i|."""
        return float(np.linalg.norm(self.A, axis=1).mean())


def on_kinks(x: np.ndarray, rows: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return x (d,) moved so that those equations rows x = targets that hold to 1e-7 hold to rounding."""
    miss = targets - rows @ x
    active = abs(miss) <= 1e-7
    return x + np.linalg.lstsq(rows[active], miss[active])[0]


@dataclass(eq=False)
class LeastAbsolute(Kinked):
    """f(x) = mean |r|, g = A' sign(r) / n, with the residual r = A x - b. There is no penalty.

    x* is a vertex of a linear programme in x and t:

        min mean t   subject to   A x - t ≤ b,   -A x - t ≤ -b;                                         (1)

    there, as many residuals are 0 as x has coordinates.
    """

    lam: float = field(default=0.0, init=False)

    def loss(self, z):
        r = z - self.b
        return abs(r), namespace(z).sign(r)

    @certified
    def x_star(self):
        """The vertex of (1) that SciPy ends at."""
        t = np.eye(self.n)
        cost = np.concatenate([0 * self.x0, np.full(self.n, 1 / self.n)])
        rows, bounds = np.block([[self.A, -t], [-self.A, -t]]), np.concatenate([self.b, -self.b])
        x = linprog(cost, A_ub=rows, b_ub=bounds, bounds=(None, None)).x[: self.x0.size]  # (1)
        return on_kinks(x, self.A, self.b)

    G = certified(lambda self: self.slopes)


class Hinge(Kinked):
    """phi = max(0, 1 - m), phi' = -b where m < 1, else 0, with the margin m = b z and labels b = ±1."""

    signs = True

    def loss(self, z):
        m = self.b * z
        return namespace(z).maximum(1 - m, 0), (m < 1) * -self.b

    @certified
    def margins(self):
        """M (n, d), with rows b_i a_i: the margins are M x."""
        return self.b[:, None] * self.A


class SVM(Hinge):
    """The support vector machine, f(x) = mean max(0, 1 - M x) + lam/2 |x|², with rows b_i a_i of M and lam > 0.

    Dual: with a multiplier q_i for the i-th margin,

        f* = max sum_i q_i - |M'q|² / (2 lam)   over   0 ≤ q_i ≤ 1/n,   and   x* = M'q / lam,           (2)

    where q_i is 1/n if m_i < 1, 0 if m_i > 1, and between if m_i = 1. These three cases in one line:

        q = clip(s, 0, 1/n),   s = q + 1 - M x.                                                         (3)

    SciPy's q tells, through s, which case holds for each i; the equations m_i = 1 then give the q_i between.
    """

    penalised = True

    @certified
    def x_star(self):
        """The minimiser, from the dual."""
        M, top = self.margins, 1 / self.n

        def dual(q):
            w = M.T @ q
            return w @ w / (2 * self.lam) - q.sum(), M @ w / self.lam - 1  # (2)

        q = minimize(dual, np.zeros(self.n), jac=True, method="SLSQP", bounds=[(0, top)] * self.n, tol=1e-15).x
        s = q - dual(q)[1]  # (3)
        pull, free = M[s >= top].sum(axis=0) * top, M[(s > 0) & (s < top)]
        q = np.linalg.lstsq(free @ free.T, self.lam - free @ pull)[0]
        return (pull + free.T @ q) / self.lam  # (2)

    @certified
    def reach(self):
        """A bound on |x| for all x no farther from x* than x0 is."""
        return float(np.linalg.norm(self.x_star) + np.linalg.norm(self.x0 - self.x_star))

    G = certified(lambda self: self.slopes + self.lam * self.reach)


class Sparse(LinearModel):
    """A linear model with the penalty lam |x|_1 in place of lam/2 |x|²."""

    def __call__(self, x):
        """Return f (0-d) and g (d,) at x (d,)."""
        phi, slope = self.loss(self.scores(x))
        f = phi.mean() + self.lam * abs(x).sum()
        g = self.A.T @ slope / self.n + self.lam * namespace(x).sign(x)
        return f, g

    def hvp(self, x, v):
        """Return H(x) v (d,): the penalty has no part in it."""
        return self.A.T @ self.curvature(self.scores(x), self.scores(v)) / self.n


class SparseSVM(Sparse, Hinge):
    """The SVM that leaves coordinates out, f(x) = mean max(0, 1 - M x) + lam |x|_1, with rows b_i a_i of M.

    x* = p - q is a vertex of a linear programme in p, q and t ≥ 0:

        min lam sum (p + q) + mean t   subject to   M (p - q) + t ≥ 1;                                  (4)

    there, as many of the equations m_i = 1, x_j = 0 hold as x has coordinates.
    """

    mu = 0.0

    @certified
    def x_star(self):
        """The vertex of (4) that SciPy ends at."""
        M, d = self.margins, self.x0.size
        cost = np.concatenate([np.full(2 * d, self.lam), np.full(self.n, 1 / self.n)])
        p_q_t = linprog(cost, A_ub=np.block([-M, M, -np.eye(self.n)]), b_ub=-np.ones(self.n)).x  # (4)
        kinks = np.concatenate([M, np.eye(d)]), np.concatenate([np.ones(self.n), np.zeros(d)])
        return on_kinks(p_q_t[:d] - p_q_t[d : 2 * d], *kinks)

    G = certified(lambda self: self.slopes + self.lam * self.x0.size**0.5)


class Lasso(Sparse, LeastSquares):
    """f(x) = mean (A x - b)² / 2 + lam |x|_1, lam > 0: least squares that leaves coordinates out.

    With q = A'(A x - b) / n, the gradient of the smooth part, x* is where

        x = soft(s, lam),   s = x - q,   soft(s, lam) = s - clip(s, -lam, lam).                         (5)

    SciPy minimises over p_j, r_j ≥ 0 with x = p - r, where f is smooth. Where |s_j| > lam, x_j has the sign of s_j, and
    q_j = -lam sign(s_j): linear equations, solved by the least change of SciPy's x. The other x_j are 0.
    """

    max_curvature, penalised = inf, True

    @certified
    def x_star(self):
        """The minimiser."""
        Q, c, d = self.A.T @ self.A / self.n, self.A.T @ self.b / self.n, self.x0.size

        def split(p_r):
            x = p_r[:d] - p_r[d:]
            q = Q @ x - c
            return x @ (q - c) / 2 + self.lam * p_r.sum(), np.concatenate([q, -q]) + self.lam

        p_r = minimize(split, np.zeros(2 * d), jac=True, method="SLSQP", bounds=[(0, None)] * (2 * d), tol=1e-15).x
        x = p_r[:d] - p_r[d:]
        s = x - (Q @ x - c)
        on = abs(s) > self.lam  # (5)
        while True:
            x = x * on
            x[on] -= np.linalg.lstsq(Q[on][:, on], (Q @ x - c)[on] + self.lam * np.sign(s[on]))[0]
            if (x * s >= 0).all():
                return x
            on &= x * s > 0  # at the edge, |s_j| = lam, SciPy's rounding may have put x_j beyond 0

    mu = certified(lambda self: max(float(self.spectrum[0]), 0.0))

    @certified
    def reach(self):
        """|x0 - x*|."""
        return float(np.linalg.norm(self.x0 - self.x_star))

    # |q| is at most lam √d at x*, and changes by at most the largest eigenvalue of A'A/n times |x - x*|
    G = certified(lambda self: float(self.spectrum[-1]) * self.reach + 2 * self.lam * self.x0.size**0.5)


@dataclass(eq=False)
class Maximum(Problem):
    """f(x) = max_j x_j on the unit ball, g = e_k with the first k that attains it: what resists subgradient methods.

    From x0 = 0, t < d steps against gradients seen so far leave coordinates at 0, so that f ≥ 0 until then. For every
    p ≥ 0 of sum 1, f(x) ≥ <p, x> ≥ -|p|; with p_j = 1/d that is -1/√d, which x*_j = -1/√d attains.
    """

    x0: Array
    L = inf
    G = 1.0

    def __call__(self, x: Array) -> tuple[Scalar, Array]:
        """Return f (0-d) and g (d,) at x (d,)."""
        xp = namespace(x)
        return x.max(), (xp.arange(x.size) == xp.argmax(x)).astype(x.dtype)

    def hvp(self, x: Array, v: Array) -> Array:
        """Return 0 (d,)."""
        return 0 * v

    def project(self, x: Array, out: Array | None = None) -> Array:
        """Return the point of the ball nearest to x (d,), in `out` (d,) if given."""
        return Ball(1.0).project(x, out)

    x_star = certified(lambda self: np.full_like(self.x0, -(self.x0.size**-0.5)))
