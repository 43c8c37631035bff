"""What the tests of the Polyak family share: an oracle that reads its answers from a list, and two reductions."""

from functools import cache

import numpy as np

from refopt import PROBLEMS, Oracle


@cache
def problem(name):
    """The problem of this name: one for all tests, so that its certified constants are computed once."""
    return PROBLEMS[name]()


class Answers(Oracle):
    """The listed pairs (f, g), one a draw, whatever x is; before the first draw, and after the last, it stays."""

    def __init__(self, *pairs, f_star=0.0):
        self.pairs, self.f_star, self.drawn = pairs, f_star, 0

    def __call__(self, x):
        f, g = self.pairs[min(max(self.drawn - 1, 0), len(self.pairs) - 1)]
        return x.dtype.type(f), np.array(g, x.dtype)

    def draw(self):
        self.drawn += 1


def squares(e):
    """|e|² along the last axis."""
    return (e * e).sum(axis=-1)


def leading(holds):
    """How many steps, from the first on, satisfy a condition (T,) without a break."""
    return int(np.cumprod(holds).sum())


def one_step(rule, oracle, x):
    """Return x after one step of the rule from its start, and the step size: no loop, no projection."""
    rule.start(x, oracle)
    d = rule.step(x, oracle)
    return x + d, rule.eta
