"""The one loop: the rule proposes, the loop moves.

It is a generator, so the caller's for-loop is the callback: logging, stopping, evaluation, checkpoints
and progress bars are plain code there.

    for step in descend(SPSMax(), oracle, x0):
        if step.t == 100:
            break
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

from .arrays import Array, Scalar, add_to, all_finite, dot, namespace, ratio
from .oracle import Oracle, Wrapper

if TYPE_CHECKING:
    from .rule import Rule


@dataclass(frozen=True, eq=False)
class Step:
    """What one step did."""

    t: int
    """Steps taken, from 1."""
    x: Array
    """The loop's own array (n,), after the move: copy what you keep."""
    f: Scalar
    """The first value the oracle gave in this step: f at x before the move, on the current sample."""
    g: Array
    """The gradient (n,) that came with it. (A look-ahead rule asks at its look-ahead point.)"""
    move: Array
    """The displacement as the rule proposed it: perhaps not computed yet."""
    rule: Rule = field(repr=False)
    own: int = field(repr=False)
    """The rule's own count of its steps."""

    @cached_property
    def d(self) -> Array:
        """The displacement (n,) that the rule proposed: perhaps its own array, so copy what you keep.

        Ask before the next step, when the rule may compute it no longer: RuntimeError after it.
        """
        self._in_time("the displacement")
        return self.move[:]

    @cached_property
    def eta(self) -> Any:
        """The step size the rule chose: 0-d, or one per coordinate.

        A rule that computes its rates only when asked has to be asked before the next step: RuntimeError after it.
        """
        self._in_time("the step size")
        return self.rule.eta

    def _in_time(self, what: str) -> None:
        if self.rule.t != self.own:
            raise RuntimeError(f"{what} of step {self.t} is gone: read it before the next step is taken")

    @property
    def size(self) -> Scalar:
        """The step size as one number, 0-d: eta, or |d| / |g|, 0 where g is 0, of a rule with one per coordinate."""
        if computes_eta(self.rule) or bool(getattr(self.eta, "ndim", 0)):
            return ratio(namespace(self.g).sqrt(dot(self.d, self.d)), namespace(self.g).sqrt(dot(self.g, self.g)))
        return self.eta


def computes_eta(rule: Rule) -> bool:
    """Whether a rule, or the rule it steers, computes its rates, one per coordinate, when asked.

    That may cost as much as the step.
    """
    moving: Rule = getattr(rule, "inner", rule)
    return isinstance(type(moving).eta, property)


class NonFiniteError(ArithmeticError):
    """The oracle answered with an infinite or undefined loss or gradient."""

    def __init__(self, step: int, rule: Rule):
        self.step, self.rule, self.eta = step, rule, rule.eta
        eta: Any = self.eta
        sizes = f"sizes {eta.min()} to {eta.max()}" if getattr(eta, "ndim", 0) else f"size {eta}"
        super().__init__(
            f"loss or gradient is not finite from step {step} on, under {rule} with last step {sizes}:"
            " lower its rate or its bound (refopt.descend can leave such samples out: nonfinite='skip')"
        )


class _Refused(Exception):  # noqa: N818  (a signal from the oracle to the loop through the rule's step)
    pass


class _Watched(Wrapper):
    """The oracle as the rule sees it: remembers the first answer of a step, lets no non-finite one through.

    The check stands where the oracle answers, so a refused answer reaches neither x nor the rule's state.
    Reading it would make the host wait for a GPU; there it is queued (`unread`) and read by the loop.
    """

    first: tuple[Scalar, Array] | None = None

    def __init__(self, oracle: Oracle, at_once: bool):
        super().__init__(oracle)
        self.at_once = at_once
        self.unread: list[tuple[int, Scalar]] = []
        self.t = 0

    def begin(self, t: int) -> None:
        self.t, self.first = t, None
        self.draw()

    def __call__(self, x):
        return self._checked(x, *self.oracle(x), first=self.first is None)

    def value(self, x):
        return self._number(x, self.oracle.value(x))

    def peek(self, x):
        return self._checked(x, *self.oracle.peek(x))

    def hvp(self, x, v):
        return self._checked(x, 0.0, self.oracle.hvp(x, v))[1]

    def _number(self, x, f):
        """Return f as a 0-d array of x's dtype: a rule computes with it as with g."""
        if getattr(f, "shape", ()) != ():
            raise ValueError(f"an oracle must answer with one number f, got an array of shape {f.shape}")
        return f if getattr(f, "dtype", None) == x.dtype else namespace(x).asarray(f, x.dtype)

    def _checked(self, x, f, g, first=False):
        if getattr(g, "shape", None) != x.shape or g.dtype != x.dtype:
            given = f"{g.dtype} {g.shape}" if hasattr(g, "dtype") else repr(g)
            raise ValueError(f"an oracle must answer with a gradient like x, {x.dtype} {x.shape}, got {given}")
        f = self._number(x, f)
        if namespace(x) is np and np.may_share_memory(g, x):
            g = g.copy()  # x moves before g has been read to its end
        if first:
            self.first = f, g
        finite = all_finite(g) & namespace(g).isfinite(f)
        if not self.at_once:
            self.unread.append((self.t, finite))
        elif not finite:
            raise _Refused
        return f, g

    def first_bad_step(self) -> int | None:
        """Read the queue: the first step with a non-finite answer, if any."""
        unread, self.unread = self.unread, []
        if not unread:
            return None
        xp = namespace(unread[0][1])
        finite = xp.stack([ok for _, ok in unread]).tolist()  # one transfer
        return next((t for (t, _), ok in zip(unread, finite, strict=True) if not ok), None)


def descend(
    rule: Rule,
    oracle: Oracle,
    x: Array,
    *,
    nonfinite: str = "raise",
    state: dict[str, Any] | None = None,
    taken: int = 0,
) -> Iterator[Step]:
    """Minimise `oracle` from x (n,) by `rule`, one `Step` at a time, for ever.

    Parameters
    ----------
    rule, oracle : any two that keep the contracts of `refopt.rule` and `refopt.oracle`
    x : starting point (n,), float32 or float64; it is copied, and projected if the oracle has constraints
    nonfinite : "raise" a NonFiniteError, or "skip": x and the rule stay as they are, the next sample is drawn.
        On a GPU "raise" is checked once an epoch (every 100 steps without epochs), and the error says from which
        step on; "skip" waits for the device in every step.
    state, taken : `rule.state()` after `taken` steps of an earlier run, to go on from its x without a seam. (A rule
        that was interrupted within a step is between two states: go on from one that was saved before.)

    Raises
    ------
    NonFiniteError
        If the oracle answers with an infinite or undefined loss or gradient.
    ValueError
        If x is not a 1-D floating-point array, or `nonfinite` is neither word, or the oracle answers with something
        that is not like x.
    RuntimeError
        If something else has moved the rule meanwhile: its state belongs to one run.
    """
    if nonfinite not in ("raise", "skip"):
        raise ValueError(f"nonfinite must be 'raise' or 'skip', got {nonfinite!r}")
    if getattr(x, "ndim", None) != 1 or x.dtype not in (np.float32, np.float64) or not len(x):
        raise ValueError("x must be a 1-D array of float32 or float64, not empty: flatten it, and convert integers")
    watched = _Watched(oracle, at_once=nonfinite == "skip" or namespace(x) is np)
    x = oracle.project(x) if state is None else x.copy()
    rule.start(x, watched)
    if state is not None:
        rule.load(state)
    period, own = oracle.steps_per_epoch or 100, rule.t
    for t in count(taken + 1):
        if rule.t != own:
            raise RuntimeError(f"{rule} is in another run, too: give each its own, by dataclasses.replace(rule)")
        watched.begin(t)
        try:
            with np.errstate(all="ignore"):  # an overflow shows in the next answer, which is checked
                d = rule.step(x, watched)
                add_to(x, d)
        except _Refused:
            if nonfinite == "raise" or not all_finite(x):
                raise NonFiniteError(t, rule) from None
            d = namespace(x).zeros_like(x)
        else:
            oracle.project(x, out=x)
            own = rule.t
        if t % period == 0 and (bad := watched.first_bad_step()) is not None:
            raise NonFiniteError(bad, rule)
        assert watched.first is not None, "a step asks the oracle at least once"
        step = Step(t, x, *watched.first, d, rule, own)
        if not computes_eta(rule):
            _ = step.eta  # asked now, remembered
        yield step
