"""What a rule is: a dataclass of hyper-parameters that proposes displacements.

    class MyRule(Rule):                  # a dataclass
        lr: Rate = 0.1                   # its fields are the hyper-parameters; they never change

        def step(self, x, oracle):       # x (n,) is only read
            f, g = oracle(x)             # ask first, then change the state: a refused answer touches nothing
            self.eta = at(self.lr, self.t)
            self.t += 1                  # every rule is born with t = 0, and counts its steps
            return -self.eta * g         # the displacement d (n,); the loop moves: x <- x + d

Everything else it sets is state: born in `start`, saved by `state`, restored by `load`. The one exception
is `eta`, the step size just chosen: an output.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import reduce
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np

from .arrays import Array, to_device
from .oracle import Oracle
from .scipy_method import SciPyMethod

Rate = float | Callable[[int], float]  # a number, or a schedule: a pure function of the steps taken


@dataclass
class Rule(SciPyMethod):
    """A learning-rate rule: fields are hyper-parameters with the paper's defaults, never mutated."""

    paper: ClassVar[str] = ""
    """Source of the rule: authors, year, equation."""
    units: ClassVar[dict[str, tuple[int, int]] | None] = None
    """The rule's law of units. Run on c f(s z), with every field named here multiplied by c^p s^q, and a `base` by
    its own law, it takes the steps it takes on f(x), divided by s. None: it holds absolute constants, no such law."""
    steered: ClassVar[bool] = False
    """Whether a step is lr times a direction in which lr has no part: then a rule around it may steer lr."""
    eta = 0.0
    """The step size of the last step, 0-d or one per coordinate (n,): an output, not a state."""
    t = 0
    """Steps taken."""

    def start(self, x: Array, oracle: Oracle) -> None:
        """Forget the past, and allocate state like x (n,), on its device."""
        names = {field.name for field in fields(self)}
        for name in names:
            value = getattr(self, name)
            if getattr(value, "ndim", 0) and (value.shape != x.shape or value.dtype != x.dtype):
                raise ValueError(
                    f"{name} is an array of {value.dtype} {value.shape}: give one of x's kind, {x.dtype} {x.shape}"
                )
        for name in set(vars(self)) - names:
            delattr(self, name)
        self.t = 0

    def step(self, x: Array, oracle: Oracle) -> Array:
        """Return the displacement d (n,) proposed at x (n,); it may be a buffer, valid until the next step."""
        raise NotImplementedError

    def own_state(self) -> dict[str, Any]:
        """Return what the next step depends on besides the hyper-parameters, by name: live, not copied.

        A rule kept by this rule is part of it: `m` of `inner` is called "inner.m".
        """
        rest = {field.name for field in fields(self)} | {"eta"}
        state: dict[str, Any] = {}
        for name, value in vars(self).items():
            if isinstance(value, Rule) and name not in rest:
                state |= {f"{name}.{part}": inner for part, inner in value.own_state().items()}
            elif name not in rest:
                state[name] = value
        return state

    def state(self) -> dict[str, Any]:
        """Return a copy of the state: a flat dict of arrays and numbers."""
        return {name: value.copy() if hasattr(value, "copy") else value for name, value in self.own_state().items()}

    def load(self, state: dict[str, Any]) -> None:
        """Take over a state saved by a rule of the same kind; to be called after `start`.

        Raises
        ------
        ValueError
            If the state's names, shapes or kinds of numbers are not this rule's; nothing has been changed then.
        """
        mine = self.own_state()
        if not mine:
            raise ValueError(f"{type(self).__name__} has no place for a state yet: call start first")
        shapes, given = ({name: _shape(value) for name, value in values.items()} for values in (mine, state))
        if shapes != given:
            raise ValueError(f"this state is not one of {type(self).__name__}: it holds {given}, expected {shapes}")
        taken_over = {name: _of_kind(name, mine[name], value) for name, value in state.items()}
        for name, value in taken_over.items():
            *path, last = name.split(".")
            vars(reduce(getattr, path, self))[last] = value

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.__dataclass_fields__:
            if name in self.__dict__:
                raise AttributeError(f"{name} is a hyper-parameter and stays as given: use dataclasses.replace")
            if isinstance(value, Real) and not isinstance(value, Integral):
                value = float(value)  # a NumPy number would turn float32 iterates into float64
            elif isinstance(value, Integral) and not isinstance(value, bool):
                default = self.__dataclass_fields__[name].default
                value = float(value) if isinstance(default, float) and abs(int(value)) < 2**1000 else int(value)
        object.__setattr__(self, name, value)

    def gap(self, f, oracle: Oracle):
        """Return f - f*, with f* from the field `f_star`, else from the oracle.

        Raises
        ------
        ValueError
            If neither knows f*.
        """
        given = getattr(self, "f_star", None)
        f_star = oracle.f_star if given is None else given
        if f_star is None:
            raise ValueError(
                f"{type(self).__name__} needs the infimum of the loss, which this problem does not know"
                " (weight decay hides it): pass f_star, or constrain x to a Ball instead of decaying it"
            )
        return f - f_star


def _shape(value: Any) -> tuple[int, ...]:
    """Return the shape of a number, or of an array wherever it is."""
    return value.shape if hasattr(value, "shape") else np.shape(value)


def _of_kind(name: str, mine: Any, value: Any) -> Any:
    """Return a saved value as the kind of number, or of array, that takes its place."""
    kind = getattr(mine, "dtype", np.dtype(type(mine)))
    if not np.can_cast(value.dtype if hasattr(value, "dtype") else np.asarray(value).dtype, kind, "same_kind"):
        raise ValueError(f"{name} must hold numbers of {kind}, got {value!r}")
    return to_device(value, mine).astype(kind) if hasattr(mine, "dtype") else type(mine)(value)


def at(rate: Rate, t: int) -> float:
    """Return the value of a rate after t steps: a schedule's value, or the number it is."""
    return float(rate(t)) if callable(rate) else rate
