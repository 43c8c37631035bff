"""One oracle seen through another: weight decay, clipping, feasible sets, many ranks.

Each wrapper changes one answer and passes the rest on, so they compose in any order that makes sense:
`Constrained(Clip(oracle, 1.0), Ball(100))`.

Shapes: x, g, v (n,); f 0-d.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from .arrays import Array, dot, namespace, ratio, to_device, to_host
from .checks import cap, nonnegative
from .oracle import Oracle, Wrapper


class L2(Wrapper):
    """f(x) + (decay / 2) |x|^2: weight decay as a term of the loss. Its infimum is not known."""

    f_star = None

    def __init__(self, oracle: Oracle, decay: float):
        nonnegative(decay=decay)
        super().__init__(oracle)
        self.decay = float(decay)

    def __call__(self, x):
        f, g = self.oracle(x)
        return f + self.decay / 2 * dot(x, x), g + self.decay * x

    def value(self, x):
        return self.oracle.value(x) + self.decay / 2 * dot(x, x)

    def hvp(self, x, v):
        return self.oracle.hvp(x, v) + self.decay * v


class Clip(Wrapper):
    """The gradient scaled down to norm `norm` where it is longer; f is left as it is.

    Not for rules that divide by |g|² (polyak, sps, alig): a shorter gradient makes their steps longer. Bound the
    rate there.
    """

    def __init__(self, oracle: Oracle, norm: float):
        cap(norm=norm)
        super().__init__(oracle)
        self.norm = float(norm)

    def __call__(self, x):
        f, g = self.oracle(x)
        xp = namespace(g)
        length = xp.sqrt(dot(g, g))
        return f, g * xp.where(length > self.norm, ratio(self.norm, length), xp.ones_like(length))


class Centralized(Wrapper):
    """The gradient of every weight (a block of two or more axes) less its mean over all axes but the first."""

    def __call__(self, x):
        f, g = self.oracle(x)
        g = g.copy()
        for _name, part, shape in self.blocks:
            if len(shape) > 1:
                rows = g[part].reshape(shape[0], -1)
                rows -= rows.mean(axis=1)[:, None]
        return f, g


class Level(Wrapper):
    """The same function, with its value at a given point for f_star: f_i(x*), the level that SPSPlus aims at."""

    def __init__(self, oracle: Oracle, point: Array):
        super().__init__(oracle)
        self.point = point

    @property
    def f_star(self):
        """The value at the point, on the current sample."""
        return self.oracle.value(self.point)


class FeasibleSet(Protocol):
    """A closed convex set with a cheap projection: see `refopt.sets`."""

    def project(self, x: Array, out: Array | None = None) -> Array: ...


class Constrained(Wrapper):
    """The same function on a feasible set: the loop projects every iterate onto it."""

    def __init__(self, oracle: Oracle, feasible: FeasibleSet):
        super().__init__(oracle)
        self.feasible = feasible

    def project(self, x, out=None):
        return self.feasible.project(x, out)


class Communicator(Protocol):
    """Anything that sums over ranks: `mpi4py.MPI.COMM_WORLD`, or two threads with a barrier."""

    def allreduce(self, part: np.ndarray) -> np.ndarray: ...


class AllReduce(Wrapper):
    """The mean over ranks of (f, g), each rank weighted by the samples it holds: one rank's answer, to rounding.

    Every rank runs the same rule on its own share of the data and must ask the same questions in the
    same order, in epochs of as many steps. A rank whose share of a sample is empty adds nothing to the mean.
    On a GPU each answer passes through the host.

    Raises
    ------
    ValueError
        On every rank, if their epochs are of different lengths: a rule that counts steps would part ways.
    """

    def __init__(self, oracle: Oracle, comm: Communicator):
        super().__init__(oracle)
        self.comm = comm
        steps = oracle.steps_per_epoch or 0
        ranks, total, squares = np.asarray(comm.allreduce(np.array([1, steps, steps**2])))
        if ranks * squares != total**2:  # by Cauchy and Schwarz equal only if all are
            raise ValueError(
                f"the ranks' epochs have different lengths, here of {steps} steps: give each rank its share of every"
                " mini-batch, or mini-batches whose number is the same on all"
            )

    def _mean(self, ask: Callable[[], Array], m: int, like: Array) -> Array:
        """Return the weighted mean over ranks of ask() (m,), summed in float64 in one message."""
        own = to_host(ask()).astype(np.float64) if self.samples else np.zeros(m)
        total = np.asarray(self.comm.allreduce(np.append(self.samples, self.samples * own)))
        return to_device((total[1:] / total[0]).astype(like.dtype), like)

    @property
    def batch_fraction(self) -> float:  # type: ignore[override]
        """The share of all ranks' data that their current samples hold, if no two ranks hold the same data.

        Where each holds all of it, and draws a part of each sample, tell the rule: `SPSSmooth(batch_fraction=...)`.
        """
        return 1 / float(self._mean(lambda: np.array([1 / self.oracle.batch_fraction]), 1, np.ones(1))[0])

    @property
    def f_star(self):
        """The mean of the ranks' infima: a lower bound of the mean's infimum, equal to it under interpolation."""
        own = self.oracle.f_star
        return None if own is None else float(self._mean(lambda: np.atleast_1d(own), 1, np.ones(1))[0])

    def __call__(self, x):
        mean = self._mean(lambda: namespace(x).append(*self.oracle(x)), len(x) + 1, x)
        return mean[0], mean[1:]

    def value(self, x):
        return self._mean(lambda: namespace(x).atleast_1d(self.oracle.value(x)), 1, x)[0]

    def hvp(self, x, v):
        return self._mean(lambda: self.oracle.hvp(x, v), len(x), x)
