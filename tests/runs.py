"""What the theorem tests share: a run as arrays, and oracles made of a formula or a list."""

from itertools import islice
from typing import NamedTuple

import numpy as np

from refopt import Oracle, descend


class Run(NamedTuple):
    """A run of T steps: what `descend` yielded, copied, one row a step."""

    x: np.ndarray
    """Iterates (T + 1, n), the start first."""
    f: np.ndarray
    """The first value answered in each step, (T,)."""
    g: np.ndarray
    """The gradient that came with it, (T, n)."""
    eta: np.ndarray
    """The step sizes, (T,), or (T, n) of a rule with one per coordinate, if only in some steps."""


def trajectory(rule, oracle, x0, steps: int) -> Run:
    """Run `descend` for `steps` ≥ 1 steps from x0 (n,)."""
    rows = [(step.x.copy(), step.f, step.g, step.eta) for step in islice(descend(rule, oracle, x0), steps)]
    x, f, g, eta = (np.array(np.broadcast_arrays(*column)) for column in zip(*rows, strict=True))
    return Run(np.concatenate([[oracle.project(x0)], x]), f, g, eta)


def values(oracle, x) -> np.ndarray:
    """f (T,) at the rows of x (T, n)."""
    return np.array([oracle.value(row) for row in x])


class Function(Oracle):
    """A formula x -> (f, g) as an oracle: Function(lambda x: (x @ x / 2, x))."""

    def __init__(self, formula, f_star=None):
        self.formula, self.f_star = formula, f_star

    def __call__(self, x):
        f, g = self.formula(x)
        return x.dtype.type(f), np.array(g, x.dtype)


def parabola(*curvatures) -> Function:
    """sum_i a_i x_i² / 2, f* = 0."""
    a = np.array(curvatures, float)
    return Function(lambda x: (a * x @ x / 2, a * x), f_star=0.0)


class Scripted(Oracle):
    """Loss 0 and the listed gradients (T, n), one a draw, whatever x is."""

    def __init__(self, gradients):
        self.gradients, self.drawn = np.asarray(gradients, float), 0

    def __call__(self, x):
        return np.float64(0), self.gradients[self.drawn - 1].copy()

    def draw(self):
        self.drawn += 1
