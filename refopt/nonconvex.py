"""Two functions that are not convex: one on which gradient descent still converges linearly, and a curved valley.

They are problems as in `refopt.convex`, whose constants may be None here.

Shapes: d variables: x, x0, g, v (d,). f is 0-d and of x's dtype.

References: Karimi, Nutini, Schmidt, Linear convergence under the Polyak-Łojasiewicz condition (2016); Rosenbrock, An
automatic method for finding the greatest or least value of a function (1960).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar

from .arrays import Array, Scalar, namespace
from .convex import Problem, certified


@dataclass(eq=False)
class PolyakLojasiewicz(Problem):
    """f(x) = sum_i x_i² + 3 sin² x_i: not convex, but (1) holds; x* = 0, f* = 0.

    f'' = 2 + 6 cos 2x ≤ 8 in each coordinate. mu is the least f'² / 2f, for x > 0 as f is even; beyond 3 it is at least
    (2x - 3)² / (2x² + 6) ≥ 3/8. What holds in every coordinate holds for the sum.
    """

    x0: Array
    L = 8.0

    def __call__(self, x: Array) -> tuple[Scalar, Array]:
        """Return f (0-d) and g (d,) at x (d,)."""
        xp = namespace(x)
        s = xp.sin(x)
        return (x * x + 3 * s * s).sum(), 2 * x + 6 * s * xp.cos(x)

    def hvp(self, x: Array, v: Array) -> Array:
        """Return H(x) v (d,)."""
        return (2 + 6 * namespace(x).cos(2 * x)) * v

    x_star = certified(lambda self: np.zeros_like(self.x0))

    @certified
    def mu(self):
        """The least f'² / 2f, about 0.1755: near 2.2, to rounding."""

        def half_ratio(x):
            f, g = self(np.array([x]))
            return g[0] * g[0] / (2 * f)

        return float(minimize_scalar(half_ratio, bounds=(1, 3), method="bounded", options={"xatol": 1e-9}).fun)


@dataclass(eq=False)
class Rosenbrock(Problem):
    """f(x) = sum_i 100 r_i² + (1 - x_i)², r_i = x_(i+1) - x_i², of d ≥ 2 variables: a narrow valley with a bend.

    x* = 1, f* = 0; there is neither an L nor a mu.
    """

    x0: Array
    L = None
    mu = None

    def __call__(self, x: Array) -> tuple[Scalar, Array]:
        """Return f (0-d) and g (d,) at x (d,)."""
        u, r = x[:-1], x[1:] - x[:-1] * x[:-1]
        g = namespace(x).zeros_like(x)
        g[1:] += 200 * r
        g[:-1] -= 400 * u * r + 2 * (1 - u)
        return (100 * r * r + (1 - u) * (1 - u)).sum(), g

    def hvp(self, x: Array, v: Array) -> Array:
        """Return H(x) v (d,)."""
        u, r = x[:-1], x[1:] - x[:-1] * x[:-1]
        dr = v[1:] - 2 * u * v[:-1]
        h = namespace(x).zeros_like(x)
        h[1:] += 200 * dr
        h[:-1] += 2 * v[:-1] - 400 * (v[:-1] * r + u * dr)
        return h

    x_star = certified(lambda self: np.ones_like(self.x0))
