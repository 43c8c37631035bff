"""What a rule may ask: an oracle answers with f and g at any x, on the current sample.

Problem
    minimise f(x) = E_i f_i(x). A rule sees one sample i at a time: a row, a mini-batch, or everything.

Contract
    `draw()` takes the next sample; until the next `draw` the oracle is a pure function: the same x gives
    bit-equal answers (dropout masks, augmentation and batch statistics belong to the draw, not to the
    call). Answers are new arrays each time: the rule may keep them, and must not write into them.

An oracle is composed, never configured: see `wrappers` for weight decay, `L2(oracle, 5e-4)`, gradient
clipping, `Clip(oracle, 1.0)`, a feasible set, `Constrained(oracle, Ball(100))`, data-parallel training,
`AllReduce(oracle, comm)`.

Shapes: x, g, v (n,); f 0-d, of x's dtype, on x's device.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from .arrays import Array, Scalar, dot, namespace, ratio
from .checks import count


class Block(NamedTuple):
    """A part of x that belongs together: a layer's weight or bias."""

    name: str
    slice: slice
    shape: tuple[int, ...]


class Oracle:
    """A function to minimise, as a rule may see it."""

    f_star: Any = None
    """Infimum of f on the current sample, or None where it is not known."""
    blocks: tuple[Block, ...] = ()
    """The parts of x that belong together, in order."""
    steps_per_epoch: int | None = None
    """Draws that make one pass over the data; None if there is nothing to draw."""
    batch_fraction: float = 1.0
    """Share of the data in one sample."""
    samples: int = 1
    """Terms in the current sample: the weight of its mean in an average over ranks."""

    def __call__(self, x: Array) -> tuple[Scalar, Array]:
        """Return f (0-d) and g (n,) at x (n,) on the current sample."""
        raise NotImplementedError

    def value(self, x: Array) -> Scalar:
        """Return f alone (0-d) at x (n,) on the current sample."""
        return self(x)[0]

    def draw(self) -> None:
        """Take the next sample; nothing to do if there is only one."""

    def peek(self, x: Array) -> tuple[Scalar, Array]:
        """Return (f, g) at x (n,) on the sample the next draw will take, without taking it."""
        here = self.position()
        self.seek(here + 1)
        answer = self(x)
        self.seek(here)
        return answer

    def hvp(self, x: Array, v: Array) -> Array:
        """Hessian times v, both (n,): (g(x + h v) - g(x - h v)) / 2h, the central difference of gradients.

        h = cbrt(eps) (1 + |x|) / |v| balances its truncation error, O(h^2), against rounding, O(eps / h).
        """
        xp = namespace(x)
        h = ratio(float(xp.finfo(x.dtype).eps) ** (1 / 3) * (1 + xp.sqrt(dot(x, x))), xp.sqrt(dot(v, v)))
        return ratio(self(x + h * v)[1] - self(x - h * v)[1], 2 * h)

    def project(self, x: Array, out: Array | None = None) -> Array:
        """Return the feasible point nearest to x (n,), in `out` if given; every point is feasible here."""
        if out is None:
            return x.copy()
        if out is not x:
            out[...] = x
        return out

    def buffers(self) -> dict[str, Array]:
        """What evaluation carries besides x (batch-norm statistics), by name, for checkpoints."""
        return {}

    def position(self) -> int:
        """How many samples have been drawn: with the seed, all there is to know about the future."""
        return 0

    def seek(self, position: int) -> None:
        """Go to the state after `position` draws."""


class Wrapper(Oracle):
    """An oracle seen through another: everything not overridden is passed on."""

    def __init__(self, oracle: Oracle):
        self.oracle = oracle

    f_star = property(lambda self: self.oracle.f_star)
    blocks = property(lambda self: self.oracle.blocks)
    steps_per_epoch = property(lambda self: self.oracle.steps_per_epoch)
    batch_fraction = property(lambda self: self.oracle.batch_fraction)
    samples = property(lambda self: self.oracle.samples)

    def __call__(self, x):
        return self.oracle(x)

    def value(self, x):
        return self.oracle.value(x)

    def draw(self):
        self.oracle.draw()

    def hvp(self, x, v):
        return self.oracle.hvp(x, v)

    def project(self, x, out=None):
        return self.oracle.project(x, out)

    def buffers(self):
        return self.oracle.buffers()

    def position(self):
        return self.oracle.position()

    def seek(self, position):
        self.oracle.seek(position)


# --- samples -------------------------------------------------------------------------------------------------------


class Order(Protocol):
    """Which terms the t-th sample holds: a pure function of t, so that a position is all there is to resume."""

    @property
    def steps_per_epoch(self) -> int: ...
    def __call__(self, t: int) -> np.ndarray: ...


@functools.lru_cache(maxsize=8)
def _shuffled(n: int, seed: int, epoch: int) -> np.ndarray:
    order = np.random.default_rng([seed, 1 + epoch]).permutation(n)  # [seed, 0] would be the stream of `seed` itself
    order.flags.writeable = False  # it is shared
    return order


@dataclass(frozen=True)
class Shuffled:
    """Mini-batches of `batch` of `n` terms, without replacement, in an order drawn anew for every epoch.

    The last batch of an epoch, if smaller, is kept unless `drop_last`.
    """

    n: int
    batch: int
    seed: int = 0
    drop_last: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.batch <= self.n:
            raise ValueError(f"batch must be between 1 and the {self.n} samples there are, got {self.batch}")
        count(batch=self.batch)

    @property
    def steps_per_epoch(self) -> int:
        """Batches in one pass over the terms."""
        return self.n // self.batch if self.drop_last else -(-self.n // self.batch)

    def __call__(self, t: int) -> np.ndarray:
        """Return the indices (batch,) of the t-th sample, t = 0, 1, ..."""
        epoch, k = divmod(t, self.steps_per_epoch)
        return _shuffled(self.n, self.seed, epoch)[k * self.batch : (k + 1) * self.batch]


@dataclass(frozen=True)
class Recorded:
    """Mini-batches as somebody else drew them: row t mod T of a table (T, batch) of indices."""

    table: np.ndarray
    steps_per_epoch: int

    def __call__(self, t: int) -> np.ndarray:
        """Return the indices (batch,) of the t-th sample, t = 0, 1, ..."""
        return self.table[t % len(self.table)]


class Sum(Protocol):
    """A mean of n terms that can be restricted to some of them."""

    n: int

    def sample(self, index: np.ndarray) -> Oracle: ...


class FiniteSum(Wrapper):
    """f(x) = mean_i f_i(x), seen one mini-batch at a time.

    Parameters
    ----------
    total : a problem with `n` terms and `sample(index)`, the oracle of the mean over the terms `index`
    order : `Shuffled(...)`, `Recorded(...)`, or any pure function of t with `steps_per_epoch`

    Before the first draw it answers for the first sample.
    """

    def __init__(self, total: Sum, order: Order):
        if (drawn_from := getattr(order, "n", total.n)) != total.n:
            raise ValueError(f"order draws from {drawn_from} terms, but there are {total.n}: give it n={total.n}")
        self.total, self.order = total, order
        self.seek(0)

    steps_per_epoch = property(lambda self: self.order.steps_per_epoch)
    batch_fraction = property(lambda self: self.samples / self.total.n)
    samples = property(lambda self: len(self.index))

    def draw(self) -> None:
        """Take the next mini-batch."""
        self.seek(self.drawn + 1)

    def position(self) -> int:
        """How many mini-batches have been drawn."""
        return self.drawn

    def seek(self, position: int) -> None:
        """Go to the state after `position` draws."""
        self.drawn = position
        self.index = self.order(max(position - 1, 0))
        self.oracle = self.total.sample(self.index)
