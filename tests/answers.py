"""What theorem tests share: answers from a list, a mean taken apart, all paths of a random rule, and reductions."""

from copy import copy
from functools import cache

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from runs import Function, Scripted, trajectory

from refopt import PROBLEMS, FiniteSum, Oracle, Recorded


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


def check_by_hand(rule, oracle, x0, eta, x):
    """Hold a run from x0 to rates and points of twelve digits: to 1e-11, where x cancels to 1e-14 of where it began."""
    run = trajectory(rule, oracle, np.array(x0, float), len(eta))
    np.testing.assert_allclose(run.eta, eta, rtol=1e-11)
    np.testing.assert_allclose(run.x[1 : len(x) + 1], np.reshape(x, (len(x), -1)), rtol=1e-11, atol=1e-14)


def parts(total):
    """Return the terms of a mean, one by one."""
    return [total.sample([i]) for i in range(total.n)]


def row_by_row(total, order):
    """Return a mean seen one term at a time, in this order."""
    return FiniteSum(total, Recorded(np.reshape(order, (-1, 1)), total.n))


def paths(rule, terms, x0, depth):
    """Yield level by level, for all m = n^k paths so far: the points (m, d), the steps (m, n), the points after."""
    rule.start(x0, terms[0])
    nodes = [(rule, x0)]
    for _ in range(depth):
        children = []
        for rule_here, x in nodes:
            for term in terms:
                child = copy(rule_here)
                children.append((child, x + child.step(x, term)))
        before = np.array([x for _, x in nodes])
        eta = np.reshape([child.eta for child, _ in children], (len(nodes), len(terms)))
        yield before, eta, np.reshape([x for _, x in children], (len(nodes), len(terms), len(x0)))
        nodes = children


def at_each(terms, x):
    """Return f_i (m, n) at points x (m, d)."""
    return np.array([[term.value(point) for term in terms] for point in x])


# --- of rules with a rate for each coordinate: the gradients given, the displacements read

SQUARES = np.arange(1, 1001) ** 2.0  # cos of them: a sequence without a pattern
sizes = st.floats(1e-6, 1e3)  # their squares are far from underflow
gradients = hnp.arrays(float, (12, 2), elements=st.just(0.0) | sizes | sizes.map(lambda size: -size))


def displacements(rule, g):
    """d_t (T, n) on the scripted gradients g (T, n), or (T,), from x = 0; the rates (T, n)."""
    g = np.asarray(g, float).reshape(len(g), -1)
    oracle, x = Scripted(g), np.zeros(g.shape[1])
    rule.start(x, oracle)
    rows = []
    for _ in g:
        oracle.draw()
        rows.append((np.array(rule.step(x, oracle)), np.copy(rule.eta)))
    d, eta = map(np.array, zip(*rows, strict=True))
    return d, eta


def adversary(scales):
    """Linear losses whose gradients are the signs of x, each times its scale."""
    scales = np.array(scales)
    return Function(lambda x: (np.sign(x) @ (scales * x), scales * np.where(x >= 0, 1.0, -1.0)))


def regret(x, g):
    """sum_t <g_t, x_t> less its least value at one x in [-1, 1]^n."""
    return (g * x[:-1]).sum() + np.abs(g.sum(axis=0)).sum()
