"""The rate as a function of time alone: decays, cycles, chance.

Problem
    choose lr(k) for the steps k = 0, 1, 2, ... without looking at the loss.

Derivation
    Far from the solution a large rate is fast; at the end, unless one x minimises every f_i, a mini-batch gradient
    does not vanish, and a constant rate keeps the iterate at a distance of order √lr. Robbins and Monro ask for

        Σ lr(k) = ∞  (it can get anywhere),    Σ lr(k)² < ∞  (the noise dies out).                    (1)

    Of the decays below only τ/(k + 1) satisfies both:

        lr(k) = τ / (k + 1),                                                                         (2)
        lr(k) = lr₀ γ^#{milestones ≤ k},                                                             (3)
        lr(k) = start γᵏ,    γ = (end / start)^(1/steps),                                            (4)
        lr(k) = start + (end - start) k / steps,                                                     (5)
        lr(k) = end + (start - end) (1 + cos(π k / steps)) / 2.                                      (6)

    A cycle leaves convergence to a later phase and lets the rate exceed 2/L for a while: on a quadratic
    a mode λ is multiplied by Π(1 - lr(k) λ) over the cycle, and converges when |Π| < 1, although single
    factors exceed 1. Smith's triangle of period n goes up for n/2 steps and down for n/2:

        c = ⌊1 + k/n⌋,    u = 1 + k/n - c,    s = 2u if u ≤ 1/2 else 2(1 - u),                        (7)
        lr(k) = low + (high - low) s.                                                                (8)

    Its amplitude may halve with every cycle (9) or decay in every step (10):

        lr(k) = low + (high - low) s / 2^(c - 1),                                                    (9)
        lr(k) = low + (high - low) s γᵏ.                                                             (10)

    Sasse prints the triangle with j = k + 1 counted from 1 to n in every cycle:

        lr = low + 2 (j - 1)(high - low) / n    for j ≤ ⌈n/2⌉,
        lr = high + 2 (j - n/2)(low - high) / n    after it,                                         (11)

    which is low + (2/n)(high - low) min(j - 1, n - j): it plays low twice in a row, and its peak falls short of
    high by (high - low)/n if n is odd and by twice that if n is even.

    One cycle, for the super-convergence of Smith and Topin, goes up to high, back down to low, and on to
    a final rate far below low. It is the broken line through

        (0, low), (top, high), (foot, low), (steps, final).                                          (12)

    Chance instead of order: independently at every step,

        lr(k) uniform on [low, high].                                                                (13)

Rule
    A schedule is a frozen dataclass called with k; a rule whose `lr` (or `mu`) is a schedule calls it with
    the steps it has taken. `Every(n, schedule)` holds each value for n steps: a schedule over epochs.

Assumes
    Nothing of f. Rates and their limits are chosen by hand, or by a range test: `Linear` with start < end,
    watching where the loss turns.

Fails when
    the horizon `steps` is not the length of the run: past it Linear goes on below `end`, and below 0, which
    is uphill; Exponential goes on falling, Cosine climbs again, OneCycle stays at its final rate.

Cost
    Nothing.

Differs from the paper / from the authors' code in
    Sasse's code runs (7)-(8), not the printed (11), and eq. 2.23 there (the value high at n/2) contradicts
    eq. 2.21. The decays have steps=39062.5 (eqs. 4.1, 4.2) for runs of 39000 steps, and so reach 0.001011 from 1
    and 0.001013 from 3, not 0.001; no code or log of them is published. An "N-cycle" counts epochs in a cycle:
    Cycle(low, high, steps=N * steps_per_epoch). The scheduler also cycled the momentum of SGD:
    mu=Cycle(0.9, 0.8, steps) reproduces it, in runs of constant rate, too; those of random rate never advance it,
    μ = 0.9, and are not seeded. The thesis' own scheduler for Adam adds or subtracts (high - low)/(n/2) in every
    step: (8) up to rounding for even n, as all there are; for odd n each cycle would end that much lower than it
    began.

References
    H. Robbins, S. Monro 1951. L. Smith 2017, Cyclical learning rates for training neural networks,
    arXiv:1506.01186. L. Smith, N. Topin 2018, Super-convergence, arXiv:1708.07120.
    I. Loshchilov, F. Hutter 2017, SGDR, arXiv:1608.03983. Sasse eqs. 2.21-2.24, 4.1-4.2, section 4.3.3.
    Retsinas et al. section 3 (multistep). Liang et al. eq. 13 (the bounds τ/(k + 1), k counting epochs: `Every`).
"""

from dataclasses import dataclass
from math import ceil, cos, floor, pi

import numpy as np

from ..checks import count, nonnegative, positive


class Schedule:
    """A rate as a function of the steps taken; a pure function, so a resumed run needs nothing but k."""

    paper = ""

    def __call__(self, k: int) -> float:
        """Return the rate of step k = 0, 1, 2, ..."""
        raise NotImplementedError


@dataclass(frozen=True)
class InverseTime(Schedule):
    """τ/(k + 1): the one decay here that Robbins and Monro's conditions allow."""

    tau: float = 1.0

    paper = "Robbins & Monro 1951; Liang et al. eq. 13"

    def __post_init__(self):
        positive(tau=self.tau)

    def __call__(self, k):
        return self.tau / (k + 1)  # (2)


@dataclass(frozen=True)
class MultiStep(Schedule):
    """A constant, multiplied by γ at every milestone."""

    lr: float = 0.1
    milestones: tuple[int, ...] = ()
    gamma: float = 0.1

    paper = "Retsinas et al. section 3; Liang et al. section 4"

    def __post_init__(self):
        positive(lr=self.lr, gamma=self.gamma)
        if not isinstance(self.milestones, tuple):
            raise ValueError(f"milestones must be a tuple of steps such as (40, 60), got {self.milestones!r}")
        nonnegative(**{f"milestone {m}": m for m in self.milestones})

    def __call__(self, k):
        return self.lr * self.gamma ** sum(k >= m for m in self.milestones)  # (3)


@dataclass(frozen=True)
class Exponential(Schedule):
    """From start to end in `steps` steps, by a constant factor."""

    start: float
    end: float
    steps: float

    paper = "Sasse eqs. 4.1-4.2"

    def __post_init__(self):
        positive(start=self.start, end=self.end, steps=self.steps)

    @property
    def gamma(self) -> float:
        """The factor from one step to the next."""
        return (self.end / self.start) ** (1 / self.steps)

    def __call__(self, k):
        return self.start * self.gamma**k  # (4)


@dataclass(frozen=True)
class Linear(Schedule):
    """From start to end in `steps` steps, by a constant difference; rising, it is Smith's range test."""

    start: float
    end: float
    steps: float

    paper = "Smith 2017 section 3.3; Sasse section 2.4"

    def __post_init__(self):
        nonnegative(start=self.start, end=self.end)
        positive(steps=self.steps)

    def __call__(self, k):
        return self.start + (self.end - self.start) * k / self.steps  # (5)


@dataclass(frozen=True)
class Cosine(Schedule):
    """From start to end in `steps` steps, along half a cosine."""

    start: float
    end: float
    steps: float

    paper = "Loshchilov & Hutter 2017; Sasse section 5"

    def __post_init__(self):
        nonnegative(start=self.start, end=self.end)
        positive(steps=self.steps)

    def __call__(self, k):
        return self.end + (self.start - self.end) * (1 + cos(pi * k / self.steps)) / 2  # (6)


@dataclass(frozen=True)
class Cycle(Schedule):
    """A triangle between low and high, one up and down in `steps` steps, for ever."""

    low: float
    high: float
    steps: float

    paper = "Smith 2017; Sasse section 4.1.5"

    def __post_init__(self):
        nonnegative(low=self.low, high=self.high)
        positive(steps=self.steps)

    def wave(self, k: int) -> tuple[int, float]:
        """Return the number of the cycle c = 1, 2, ... and the height s in [0, 1] of step k."""
        c = floor(1 + k / self.steps)
        u = 1 + k / self.steps - c
        return c, 2 * u if u <= 0.5 else 2 * (1 - u)  # (7)

    def __call__(self, k):
        _c, s = self.wave(k)
        return self.low + (self.high - self.low) * s  # (8)


@dataclass(frozen=True)
class HalvingCycle(Cycle):
    """Cycle, with half the amplitude in every new cycle: Smith's triangular2."""

    paper = "Smith 2017 section 3.1; Sasse section 5"

    def __call__(self, k):
        c, s = self.wave(k)
        return self.low + (self.high - self.low) * s * 0.5 ** (c - 1)  # (9)


@dataclass(frozen=True)
class DecayingCycle(Cycle):
    """Cycle, with an amplitude that decays by γ in every step: Smith's exp_range."""

    gamma: float = 1.0

    paper = "Smith 2017 section 3.1; Sasse section 5"

    def __post_init__(self):
        super().__post_init__()
        positive(gamma=self.gamma)

    def __call__(self, k):
        _c, s = self.wave(k)
        return self.low + (self.high - self.low) * s * self.gamma**k  # (10)


@dataclass(frozen=True)
class CycleAsPrinted(Cycle):
    """Cycle as Sasse prints it: high is never reached, low is played twice in a row."""

    paper = "Sasse eqs. 2.21-2.24"

    def __call__(self, k):
        n, j = self.steps, k % self.steps + 1
        if j <= ceil(n / 2):
            return self.low + 2 * (j - 1) * (self.high - self.low) / n  # (11)
        return self.high + 2 * (j - n / 2) * (self.low - self.high) / n  # (11)


@dataclass(frozen=True)
class OneCycle(Schedule):
    """Up to high, back to low, and down to a final rate, once: super-convergence."""

    low: float
    high: float
    final: float
    top: float
    foot: float
    steps: float

    paper = "Smith & Topin 2018"

    def __post_init__(self):
        nonnegative(low=self.low, high=self.high, final=self.final)
        if not 0 < self.top < self.foot <= self.steps:
            raise ValueError(f"top, foot and steps must ascend from above 0, got {self.top}, {self.foot}, {self.steps}")

    def __call__(self, k):
        corners = [0, self.top, self.foot, self.steps], [self.low, self.high, self.low, self.final]
        return float(np.interp(k, *corners))  # (12)


@dataclass(frozen=True)
class Random(Schedule):
    """A rate drawn from [low, high] at every step; step k has the k-th number of the seed's stream."""

    low: float
    high: float
    seed: int

    paper = "Sasse section 4.3.3"

    def __post_init__(self):
        nonnegative(low=self.low, high=self.high, seed=self.seed)
        if not (self.low <= self.high and isinstance(self.seed, int)):
            raise ValueError(f"low must not exceed high, and seed be an integer >= 0, got {self!r}")

    def __call__(self, k):
        stream = np.random.PCG64(self.seed).advance(int(k))
        return float(np.random.Generator(stream).uniform(self.low, self.high))  # (13)


@dataclass(frozen=True)
class Every(Schedule):
    """Another schedule, each of its values held for `steps` steps: `Every(steps_per_epoch, ...)` counts epochs."""

    steps: int
    schedule: Schedule

    def __post_init__(self):
        count(steps=self.steps)
        if not isinstance(self.schedule, Schedule):
            raise ValueError(f"schedule must be a schedule such as Cycle(0.01, 0.1, 8), got {self.schedule!r}")

    def __call__(self, k):
        return self.schedule(k // self.steps)
