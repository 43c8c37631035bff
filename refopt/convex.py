"""Functions that know the truth about themselves: x*, f*, L and mu. All but the last two are convex.

Problem
    A theorem speaks of a solution x*, of the infimum f*, of an L with |g(x) - g(y)| ≤ L |x - y|, and of a mu with

        |g(x)|² ≥ 2 mu (f(x) - f*)                                                                      (1)

    at every x. To hold a rule to it, these four must be true to the last digits.

Certificate
    Nothing is typed in. x* has a closed form, or is SciPy's minimiser polished until only rounding is left; then (1)
    itself bounds the error in f*. mu is the modulus of strong convexity, and for least squares, where x* need not
    be unique, the Polyak-Łojasiewicz constant of (1) alone; 0 if there is none. L is inf where f has kinks. A
    function that is not convex may have neither: then they are None.

    Every constant is computed once, when first asked for, from the float64 data on the host. A copy made by `to`, in
    another precision or on a GPU, keeps them.

Shapes: n terms, d variables: x, x0, g, v (d,); A (d, d), or (n, d, d); b (d,), or (n, d). f is 0-d and of x's dtype.

References: Polyak, Gradient methods for minimizing functionals (1963), for (1); Loizou, Vaswani, Laradji,
Lacoste-Julien, Stochastic Polyak step-size for SGD (2021), for sigma²; Lessard, Recht, Packard, Analysis and design of
optimization algorithms via integral quadratic constraints (2016), section 4.6.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from scipy.optimize import minimize

from .arrays import Array, Scalar, dot, namespace
from .oracle import Oracle


class certified(cached_property):  # noqa: N801  (a decorator)
    """A constant computed once, on the problem as it was made. Numbers stay numbers, a vector comes like x0."""

    def __get__(self, problem, owner=None):
        """Return the constant, of `problem` or of the one it was moved from."""
        if problem is None:
            return self
        value = super().__get__(problem.original, owner)
        return namespace(problem.x0).asarray(value, dtype=problem.x0.dtype) if isinstance(value, np.ndarray) else value


class Problem(Oracle):
    """A function with a start x0 (d,) and the constants x_star, f_star, L and mu."""

    x0: Array
    L: Any
    mu: Any = 0.0
    _original: Problem | None = None

    @property
    def original(self) -> Any:
        """The problem that `to` moved to make this one; itself if it was not moved."""
        return self._original or self

    def to(self, xp: Any, dtype: Any) -> Any:
        """Return this problem with arrays of the module `xp` (numpy, cupy) and of type `dtype`."""
        moved = copy(self.original)
        for name, value in vars(self.original).items():
            if isinstance(value, np.ndarray):
                setattr(moved, name, xp.asarray(value, dtype=dtype))
        moved._original = self.original
        return moved

    def hessian(self, x: Array) -> Array:
        """Return the Hessian (d, d) at x (d,), column by column."""
        xp = namespace(x)
        return xp.stack([self.hvp(x, e) for e in xp.eye(x.size, dtype=x.dtype)], axis=1)

    @certified
    def x_star(self):
        """The minimiser (d,): SciPy's, polished by three Newton steps x - H(x)⁺ g(x).

        SciPy stops at |g| ≤ 1e-4, and each Newton step doubles the number of correct digits.
        """
        x = minimize(self, self.x0, jac=True, hess=self.hessian, method="trust-exact").x
        for _ in range(3):
            x = x - np.linalg.lstsq(self.hessian(x), self(x)[1])[0]
        return x

    @certified
    def f_star(self):
        """The infimum of f."""
        return float(self(self.x_star)[0])


@dataclass(eq=False)
class Quadratic(Problem):
    """f(x) = (x - b)' A (x - b) / 2 + s, g(x) = A (x - b), with A (d, d) symmetric positive definite: x* = b."""

    A: Array
    b: Array
    s: float
    x0: Array

    def __call__(self, x: Array) -> tuple[Scalar, Array]:
        """Return f (0-d) and g (d,) at x (d,)."""
        e = x - self.b
        g = self.A @ e
        return dot(e, g) / 2 + self.s, g

    def hvp(self, x: Array, v: Array) -> Array:
        """Return A v (d,)."""
        return self.A @ v

    x_star = certified(lambda self: self.b)
    f_star = certified(lambda self: self.s)
    L = certified(lambda self: float(np.linalg.eigvalsh(self.A)[-1]))
    mu = certified(lambda self: float(np.linalg.eigvalsh(self.A)[0]))


@dataclass(eq=False)
class LogSumExp(Problem):
    """f(x) = log sum_j e^c_j (e^(b_j'x) + e^(-b_j'x)), with rows b_j of B (m, d), and c (m,).

    f is even, so x* = 0. With z = B x, t = tanh z, and the weights p_j ∝ e^c_j cosh z_j that sum to 1,

        f = log sum_j exp(w_j),   w_j = c_j + log(e^z_j + e^-z_j),                                      (2)
        g = B' (p t),   H v = B' p (B v - t <p t, B v>).                                                (3)

    In the exponents ±z the Hessian of log-sum-exp is at most I/2, and |(z, -z)|² = 2 |B x|²: L is the largest
    eigenvalue of B'B.
    """

    B: Array
    c: Array
    x0: Array

    def _softmax(self, x: Array) -> tuple[Scalar, Array, Array]:
        """Return f (0-d), p (m,) and t (m,) at x (d,)."""
        xp = namespace(x)
        z = self.B @ x
        w = self.c + xp.logaddexp(z, -z)
        e = xp.exp(w - w.max())
        return w.max() + xp.log(e.sum()), e / e.sum(), xp.tanh(z)  # (2)

    def __call__(self, x: Array) -> tuple[Scalar, Array]:
        """Return f (0-d) and g (d,) at x (d,)."""
        f, p, t = self._softmax(x)
        return f, self.B.T @ (p * t)  # (3)

    def hvp(self, x: Array, v: Array) -> Array:
        """Return H(x) v (d,)."""
        _, p, t = self._softmax(x)
        dz = self.B @ v
        return self.B.T @ (p * (dz - t * dot(p * t, dz)))  # (3)

    x_star = certified(lambda self: np.zeros_like(self.x0))
    L = certified(lambda self: float(np.linalg.eigvalsh(self.B.T @ self.B)[-1]))


@dataclass(eq=False)
class Lessard(Problem):
    """f(x) = sum_i phi(x_i), phi'' = 1 on [1, 2], 25 elsewhere; phi' = 25 z - 24 c, with c = z - 1 clipped to [0, 1].

    x* = 0. From 3.3 the heavy ball whose constants are the best for quadratics of this L and mu runs in a cycle.
    """

    x0: Array
    L = 25.0
    mu = 1.0

    def __call__(self, x: Array) -> tuple[Scalar, Array]:
        """Return f (0-d) and g (d,) at x (d,)."""
        c = namespace(x).clip(x - 1, 0, 1)
        return (25 / 2 * x * x - 24 * c * (x - 1 - c / 2)).sum(), 25 * x - 24 * c

    def hvp(self, x: Array, v: Array) -> Array:
        """Return H(x) v (d,)."""
        return 25 * v - 24 * (((x >= 1) & (x <= 2)) * v)

    x_star = certified(lambda self: np.zeros_like(self.x0))


class Mean(Problem):
    """The mean of n terms; of some of them, a problem of the same kind: see `sample`, and `refopt.oracle.FiniteSum`."""

    A: Array
    terms: ClassVar[tuple[str, ...]] = ("A", "b")
    """The fields whose first axis counts the terms."""

    @property
    def n(self) -> int:
        """The number of terms."""
        return len(self.A)

    samples = n

    def sample(self, index: Any) -> Any:
        """Return the mean over the terms `index` (a sequence of numbers), with an f_star, L and mu of its own."""
        part = replace(self.original, **{name: getattr(self.original, name)[index] for name in self.terms})
        return part.to(namespace(self.x0), self.x0.dtype)

    @certified
    def sigma2(self):
        """sigma² = f* - mean_i f_i* ≥ 0: what the terms would gain if each had an x of its own."""
        return self.f_star - float(np.mean([self.sample([i]).f_star for i in range(self.n)]))

    @property
    def interpolates(self) -> bool:
        """Whether one x minimises every term: sigma² = 0, to rounding."""
        return self.sigma2 <= 1e-14


@dataclass(eq=False)
class QuadraticFamily(Mean):
    """f(x) = mean_i (x - b_i)' A_i (x - b_i) / 2 + s_i, with A (n, d, d), b (n, d), s (n,); f_i* = s_i, at b_i.

    g = mean_i A_i (x - b_i), so x* solves (mean_i A_i) x = mean_i A_i b_i.
    """

    A: Array
    b: Array
    s: Array
    x0: Array
    terms: ClassVar[tuple[str, ...]] = ("A", "b", "s")

    def _gradients(self, e: Array) -> Array:
        """Return A_i e_i (n, d) for e (n, d)."""
        return (self.A @ e[:, :, None])[:, :, 0]

    def __call__(self, x: Array) -> tuple[Scalar, Array]:
        """Return f (0-d) and g (d,) at x (d,)."""
        e = x - self.b
        g = self._gradients(e)
        return ((e * g).sum(axis=1) / 2 + self.s).mean(), g.mean(axis=0)

    def hvp(self, x: Array, v: Array) -> Array:
        """Return (mean_i A_i) v (d,)."""
        return self.A.mean(axis=0) @ v

    x_star = certified(lambda self: np.linalg.solve(self.A.mean(axis=0), self._gradients(self.b).mean(axis=0)))
    L = certified(lambda self: float(np.linalg.eigvalsh(self.A.mean(axis=0))[-1]))
    mu = certified(lambda self: float(np.linalg.eigvalsh(self.A.mean(axis=0))[0]))
