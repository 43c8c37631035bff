"""Rules side by side on one convex problem, and SciPy's own methods beside them.

The clock is the evaluation: of f, its gradient, or both at one point. What a race itself looks at is not counted.
"""

from __future__ import annotations

import sys
import warnings
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import minimize

from refopt import NonFiniteError, Oracle, Rule, descend
from refopt.oracle import Wrapper


class Raced(NamedTuple):
    """What came of one rule, over T steps."""

    evaluations: np.ndarray
    """Evaluations so far, (T + 1,): 0 at x_0."""
    gap: np.ndarray
    """f - f* of the whole problem at x_0 .. x_T, (T + 1,)."""
    eta: np.ndarray
    """Mean step sizes, (T,); empty for a method that has none."""


class Counted(Wrapper):
    """Counts what it is asked; a Hessian-vector product is two, the gradients that it is a difference of."""

    evaluations = 0

    def __call__(self, x):
        self.evaluations += 1
        return self.oracle(x)

    def value(self, x):
        self.evaluations += 1
        return self.oracle.value(x)

    def hvp(self, x, v):
        self.evaluations += 2
        return self.oracle.hvp(x, v)


def race(rule: Rule, problem: Any, oracle: Oracle, steps: int) -> Raced:
    """Run a rule on `oracle`, the problem or its mini-batches; a rule that diverges stops early, and says so."""
    counted, f_star = Counted(oracle), problem.f_star or 0.0
    evaluations, gap, eta = [0], [float(problem.value(problem.x0)) - f_star], []
    try:
        for step in islice(descend(rule, counted, problem.x0), steps):
            with np.errstate(all="ignore"):
                gap.append(float(problem.value(step.x)) - f_star)
            evaluations.append(counted.evaluations)
            eta.append(float(step.size))
    except NonFiniteError as error:
        print(f"stopped early: {error}", file=sys.stderr)
    return Raced(np.array(evaluations), np.array(gap), np.array(eta))


def race_scipy(method: str, problem: Any, steps: int) -> Raced:
    """Run a method of `scipy.optimize.minimize` on a problem of host arrays, for so many of its iterations.

    It gets gradients and Hessian-vector products if it takes them, and a tolerance that only rounding meets.

    Raises
    ------
    ValueError
        If SciPy has no such method for a problem without constraints.
    """
    counted, f_star = Counted(problem), problem.f_star or 0.0
    evaluations, gap = [0], [float(problem.value(problem.x0)) - f_star]

    def note(x: np.ndarray, *_: Any) -> None:
        gap.append(float(problem.value(x)) - f_star)
        evaluations.append(counted.evaluations)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what a method does not take
        try:
            minimize(counted, problem.x0, jac=True, hessp=counted.hvp, method=method, tol=1e-15, callback=note,
                     options={"maxiter": steps})  # fmt: skip
        except (ValueError, TypeError) as error:
            raise ValueError(f"SciPy cannot run {method!r} here ({error}): pass bfgs, l-bfgs-b or cg, say") from error
    return Raced(np.array(evaluations), np.array(gap), np.array([]))
