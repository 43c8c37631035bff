"""Feasible sets and their projections: ball, box, half-space, simplex.

Problem
    P(x) = argmin over z in C of |z - x|²/2, for a closed convex set C. It exists, is unique, and never
    moves two points apart. z = P(x) exactly when (x - z) points out of C at z:

        <x - z, y - z> ≤ 0   for every y in C.                                                          (1)

Each set below derives its own formula from the KKT conditions of that problem, which are (1) with a
multiplier for every constraint; theta and nu are those multipliers.

Projected descent needs nothing else: `descend` moves x by the rule's displacement and then projects it, so
any rule can be constrained: `descend(rule, Constrained(oracle, Ball(100)), x)`.

Shapes: x, out, and the arrays that define a set, all (n,). A set may be given in any float type: it is used
in the type, and on the device, of x. Projecting costs a few passes over x and never makes the host wait.

References: Hiriart-Urruty, Lemaréchal, Fundamentals of Convex Analysis (2001), section A.3.1, for (1).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isfinite
from typing import Any

import numpy as np

from .arrays import Array, dot, namespace, ratio, to_host


@dataclass(frozen=True, eq=False)
class Ball:
    """The points at distance at most `radius` from `center`: {z: |z - c| ≤ R}.

    Derivation. With a multiplier nu ≥ 0 on (|z - c|² - R²)/2 ≤ 0, stationarity is (z - x) + nu (z - c) = 0: z - c is
    a non-negative multiple of e = x - c. Complementarity leaves nu = 0, z = x, or |z - c| = R:

        P(x) = c + (R / |e|) e   if |e| > R,   else x.                                                  (2)

    The inequality is strict, so a feasible x comes back bit for bit.

    Parameters
    ----------
    radius : R > 0, in the units of x
    center : c, a vector (n,), or a number for all coordinates

    Raises
    ------
    ValueError
        If `radius` is not positive, or one of the two is not finite.
    """

    radius: float
    center: Array | float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.radius < inf:
            raise ValueError(f"the radius of a ball must be a positive finite number, got {self.radius!r}")
        if not np.isfinite(to_host(self.center)).all():
            raise ValueError("the center of a ball must be finite, got infinity or NaN in it")
        object.__setattr__(self, "radius", float(self.radius))  # a NumPy number would decide the type of x

    def project(self, x: Array, out: Array | None = None) -> Array:
        """Return the point of the ball nearest to x (n,), in `out` (n,) if given, which may be x."""
        xp = namespace(x)
        c = xp.asarray(self.center, dtype=x.dtype)
        e = x - c
        _, k = xp.frexp(abs(e).max())  # |e|² itself may be too large, or too small, for the type of x
        scaled = xp.ldexp(e, -k)
        length = xp.ldexp(xp.sqrt(dot(scaled, scaled)), k)
        return _into(out, xp.where(length > self.radius, c + ratio(self.radius, length) * e, x))  # (2)


@dataclass(frozen=True, eq=False)
class Box:
    """The points between `low` and `high` in every coordinate: {z: low_i ≤ z_i ≤ high_i}.

    Derivation. The problem falls apart into one for each coordinate, min (z_i - x_i)²/2 on an interval: a
    parabola, least at x_i if that is inside, else at the nearer end.

        P(x)_i = min(max(x_i, low_i), high_i).                                                          (3)

    Parameters
    ----------
    low, high : vectors (n,), or numbers for all coordinates; -inf and inf where there is no bound

    Raises
    ------
    ValueError
        If no finite point lies between `low` and `high`.
    """

    low: Array | float = -inf
    high: Array | float = inf

    def __post_init__(self) -> None:
        low, high = to_host(self.low), to_host(self.high)
        if not ((low <= high) & (low < inf) & (high > -inf)).all():
            raise ValueError("a box needs low <= high, and a finite number between them, in every coordinate")

    def project(self, x: Array, out: Array | None = None) -> Array:
        """Return the point of the box nearest to x (n,), in `out` (n,) if given, which may be x."""
        xp = namespace(x)
        low, high = (xp.asarray(end, dtype=x.dtype) for end in (self.low, self.high))
        return _into(out, xp.minimum(xp.maximum(x, low), high))  # (3)


@dataclass(frozen=True, eq=False)
class Halfspace:
    """The points on one side of a hyperplane: {z: <a, z> ≤ b}.

    Derivation. With a multiplier nu ≥ 0, stationarity is z = x - nu a, and complementarity nu (<a, z> - b) = 0.
    If nu > 0 then <a, x> - nu |a|² = b, so nu = (<a, x> - b) / |a|²; that is positive just when x is outside.

        P(x) = x - max(0, <a, x> - b) / |a|² · a.                                                       (4)

    Parameters
    ----------
    a : the outer normal (n,), of any length but zero
    b : offset, a number

    Raises
    ------
    ValueError
        If `a` is zero (or so short that |a|² is), or `a` or `b` is not finite.
    """

    a: Array
    b: float

    def __post_init__(self) -> None:
        a = to_host(self.a)
        if not (0 < dot(a, a) < inf and isfinite(self.b)):
            raise ValueError("a half-space needs a finite normal a that is not zero, and a finite offset b")

    def project(self, x: Array, out: Array | None = None) -> Array:
        """Return the point of the half-space nearest to x (n,), in `out` (n,) if given, which may be x."""
        xp = namespace(x)
        a = xp.asarray(self.a, dtype=x.dtype)
        excess = xp.maximum(dot(a, x) - self.b, 0)
        return _into(out, x - ratio(excess, dot(a, a)) * a)  # (4)


@dataclass(frozen=True, eq=False)
class Simplex:
    """The non-negative points of a given sum: {z: z_i ≥ 0, z_1 + ... + z_n = total}.

    Derivation. With a multiplier theta on the sum and one on each sign, stationarity and complementarity give

        P(x)_i = max(x_i - theta, 0),                                                                   (5)

    where theta makes the sum right. Let u_1 ≥ u_2 ≥ ... be the sorted x. If the k largest stay positive, theta is

        theta_k = (u_1 + ... + u_k - total) / k.                                                        (6)

    Which k? theta_(k+1) is the mean of k copies of theta_k and u_(k+1): it is larger than theta_k while
    u_(k+1) > theta_k, that is, while the next one would stay positive too, and from then on never again.

        theta = max over k of theta_k.                                                                  (7)

    P(x + c) = P(x) for every number c; the largest x_i is taken off first, so a common offset costs no digits. The
    sort makes this O(n log n).

    Parameters
    ----------
    total : the sum, > 0

    Raises
    ------
    ValueError
        If `total` is not a positive finite number.

    References: Held, Wolfe, Crowder, Validation of subgradient optimization, Math. Program. 6 (1974); Duchi,
    Shalev-Shwartz, Singer, Chandra, Efficient projections onto the l1-ball (2008), figure 1.
    """

    total: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.total < inf:
            raise ValueError(f"the total of a simplex must be a positive finite number, got {self.total!r}")
        object.__setattr__(self, "total", float(self.total))

    def project(self, x: Array, out: Array | None = None) -> Array:
        """Return the point of the simplex nearest to x (n,), in `out` (n,) if given, which may be x."""
        xp = namespace(x)
        x = x - x.max()
        k = xp.arange(1, x.size + 1, dtype=x.dtype)
        theta = (xp.cumsum(xp.sort(x)[::-1]) - self.total) / k  # (6)
        return _into(out, xp.maximum(x - theta.max(), 0))  # (5), (7)


def _into(out: Array | None, z: Any) -> Array:
    """Return the new array `z`, or `out` with z written into it."""
    if out is None:
        return z
    out[...] = z
    return out
