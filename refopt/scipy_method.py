"""A rule is a method of SciPy: `scipy.optimize.minimize(fun, x0, jac=True, method=SPSMax(f_star=0.0))`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from itertools import islice
from math import inf
from numbers import Integral
from typing import Any

import numpy as np
from scipy.optimize import Bounds, OptimizeResult

from .arrays import Array, all_finite
from .descend import NonFiniteError, descend
from .oracle import Oracle
from .sets import Box
from .wrappers import Constrained

MESSAGES = {
    0: "The gradient is as small as asked.",
    1: "Maximum number of iterations has been exceeded.",
    3: "The loss or gradient became infinite or undefined; x is the last iterate before.",
    99: "`callback` raised `StopIteration`.",
}


class SciPyMethod:
    """What makes a rule callable by SciPy."""

    def __call__(  # noqa: PLR0917  (SciPy's order)
        self: Any, fun, x0, args=(), jac=None, hess=None, hessp=None, bounds=None, constraints=(), callback=None, *,
        maxiter: int = 1000, gtol: float = 1e-5, tol: float | None = None,
    ) -> OptimizeResult:  # fmt: skip
        """Minimise `fun` from x0 (n,); to be called by `scipy.optimize.minimize(..., method=rule, options={...})`.

        Stops when no component of the gradient, projected if there are bounds, exceeds `tol` or else `gtol`; after
        `maxiter` steps; when the callback raises StopIteration; or before an iterate where f or its gradient is
        not finite. f and the gradient are evaluated at every iterate; `nfev` and `njev` count what the rule asked.

        Raises
        ------
        ValueError
            Without a gradient, with constraints other than bounds, or if fun or jac return something of the wrong
            shape.
        """
        if jac is None:
            raise ValueError("a learning-rate rule needs the gradient: pass jac=True or jac=callable to minimize")
        if not (isinstance(maxiter, Integral) and maxiter >= 0):
            raise ValueError(f"maxiter must be an integer >= 0, got {maxiter!r}")
        if constraints:
            raise ValueError("a learning-rate rule takes bounds, not constraints: see refopt.sets and Constrained")
        function = _Function(fun, jac, hess, hessp, args)
        oracle = function if bounds is None else Constrained(function, _box(bounds, np.size(x0)))
        tell, gtol = _callback(callback), gtol if tol is None else tol
        x, nit, status = oracle.project(np.asarray(x0)), 0, 1
        f, g = function.answer(x)
        steps = islice(descend(self, oracle, x), maxiter)
        try:
            while True:
                if not np.isfinite(f):
                    status = 3
                    break
                if np.abs(oracle.project(x - g) - x).max() <= gtol:  # without bounds: |g|_inf
                    status = 0
                    break
                if (step := next(steps, None)) is None:
                    break
                f_new, g_new = function.answer(step.x)
                if not (np.isfinite(f_new) and all_finite(g_new)):
                    status = 3
                    break
                x, f, g, nit = step.x.copy(), f_new, g_new, step.t
                tell(OptimizeResult(x=x.copy(), fun=float(f), jac=g.copy(), nit=nit))
        except NonFiniteError:
            status = 3
        except StopIteration:
            status = 99
        return OptimizeResult(
            x=x, fun=float(f), jac=g, nit=nit, nfev=function.nfev, njev=function.njev,
            status=status, success=status == 0, message=MESSAGES[status],
        )  # fmt: skip


class _Function(Oracle):
    """The user's functions as an oracle; it counts the questions, and answers one asked twice in a row from memory."""

    def __init__(self, fun, jac, hess, hessp, args):
        self.fun, self.jac, self.hess, self.hessp, self.args = fun, jac, hess, hessp, args
        self.nfev = self.njev = 0
        self.last: tuple[bytes, Any, Array] | None = None

    def answer(self, x: Array) -> tuple[Any, Array]:
        """Return f and g at x (n,), not counted."""
        if self.last is None or self.last[0] != x.tobytes():
            f, g = self._number(x), np.array(self.jac(x.copy(), *self.args), x.dtype)
            if g.shape != x.shape:
                raise ValueError(f"jac must return a gradient of the shape of x0, {x.shape}, got {g.shape}")
            self.last = x.tobytes(), f, g
        return self.last[1], self.last[2].copy()

    def __call__(self, x):
        self.nfev, self.njev = self.nfev + 1, self.njev + 1
        return self.answer(x)

    def value(self, x):
        self.nfev += 1
        return self._number(x)

    def _number(self, x):
        f = self.fun(x.copy(), *self.args)
        if np.size(f) != 1:
            raise ValueError(f"fun must return one number, got an array of shape {np.shape(f)}")
        return x.dtype.type(np.asarray(f).item())

    def hvp(self, x, v):
        if self.hessp is not None:
            return np.array(self.hessp(x.copy(), v.copy(), *self.args), x.dtype)
        if callable(self.hess):
            return np.asarray(self.hess(x.copy(), *self.args) @ v, x.dtype)
        return super().hvp(x, v)


def _box(bounds, n: int) -> Box:
    """Bounds of n variables in either of SciPy's forms: an object with lb and ub, or pairs, None being no bound."""
    if isinstance(bounds, Bounds):
        return Box(*np.broadcast_arrays(bounds.lb, bounds.ub, np.zeros(n))[:2])
    if len(bounds) != n:
        raise ValueError(f"bounds must be one pair for each of the {n} variables, got {len(bounds)}")
    ends = [(-inf if low is None else low, inf if high is None else high) for low, high in bounds]
    return Box(*np.array(ends, float).T)


def _callback(callback) -> Callable[[OptimizeResult], Any]:
    """Either of SciPy's forms: callback(intermediate_result=...) or callback(xk)."""
    if callback is None:
        return lambda result: None
    if set(inspect.signature(callback).parameters) == {"intermediate_result"}:
        return lambda result: callback(intermediate_result=result)
    return lambda result: callback(result.x)
