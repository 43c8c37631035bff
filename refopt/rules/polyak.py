"""The step that brings x nearest to the solution, as far as the gap f - f* can tell.

Problem
    minimise a convex f, smooth or not, whose infimum f* is known.

Derivation
    For any step size α, with e = x - x* and a (sub)gradient g at x,

        |x - α g - x*|² = |e|² - 2α ⟨g, e⟩ + α² |g|².                                                 (1)

    x* is unknown, but convexity bounds the inner product: ⟨g, e⟩ ≥ f(x) - f*. So

        |x - α g - x*|² ≤ |e|² - 2α (f - f*) + α² |g|²,                                               (2)

    and the right side is smallest at Polyak's step

        α = (f - f*) / |g|²,                                                                         (3)

    where it is |e|² - (f - f*)² / |g|²: the distance to every solution falls in every step. In one variable (3)
    is Newton's step for the equation f - f* = 0, whose root is double where f is smooth: hence it halves
    x on λx²/2 instead of solving it. In more variables it is Newton's step along the gradient: see `newton`.

    King lets (3) run on mini-batches of a network with f* = 0 and sees α ≫ 1 in early training, where
    the loss is large and the gradient small. He bounds it from above, by a constant or by its own past:

        γ_t = min{α_t, 1},                                                                           (4)
        δ_t = min{α_t, δ_{t-1}},    δ_{-1} = 1.                                                       (5)

    A shorter step is slower, but safe: for 0 ≤ α ≤ (3), α |g|² ≤ f - f*, and (2) is at most |e|² - α (f - f*).

Rule
    Polyak (3); PSS (3) with f* = 0; PSSGamma (4); PSSDelta (5); PSSDeltaLiteral (5) without exceptions.
    f ≤ f* or g = 0 give step 0. f_star=None takes f* from the problem.

Assumes
    f convex and f* right. Then |x - x*| never grows. Summing (2) over the steps, Σ (f - f*)²/|g|² ≤ |x₀ - x*|²: the
    best gap is at most G |x₀ - x*| / √(t + 1) if |g| ≤ G. If f is L-smooth, (1) of `gradient` gives
    |g|² ≤ 2L (f - f*), so α ≥ 1/(2L), and the best gap is at most 2L |x₀ - x*|² / (t + 1); with (4) or (5),
    max{1, 2L} |x₀ - x*|² / (t + 1). If f is m-strongly convex too, with q = m/L,
    |x⁺ - x*|² ≤ (1 - 5q/4 + q²/2) |x - x*|².

Fails when
    f* is too large: the iterates stop at the level f = f*. Too small, and f smooth: near the solution g
    vanishes while the gap does not, and steps grow without bound; on x²/2 this is Newton's method for a
    root that is not there, and chaotic. f* = 0 is harmless where 0 is the infimum, attained or not; it is
    wrong with weight decay in the loss, and with labels that contradict each other. On mini-batches
    without interpolation f* of the mean is the wrong number: see `sps`. (5) remembers for ever: one batch
    with a small α lowers all rates to come. A clipped gradient lengthens the step.

Cost
    One gradient and one inner product a step; no memory beyond δ. No host synchronisation.

Differs from the paper / from the authors' code in
    King's eq. (2) and (3) are merged in print: the formula of γ stands under the number of δ, whose own
    is lost. (5) is the reading that fits "descending, step-like"; the start δ_{-1} = 1 is ours, chosen
    because early α far above 1 are what the bounds are for. With delta_init=inf, δ starts at α_0, and is
    the same from the first α_t ≤ 1 on. He does not say whether δ moves with every step, as here, or with
    every epoch. PSSDelta leaves batches with f ≤ f* or g = 0 out of the minimum, which would otherwise end
    the run. There is no code of his.

References
    B. T. Polyak 1969; 1987, Introduction to optimization.
    E. Hazan, S. Kakade 2019, Revisiting the Polyak step size, arXiv:1905.00313.
    D. King 2024, Using the Polyak step size in training convolutional neural networks, eqs. 1-3,
    https://openreview.net/forum?id=QmRqSqpV0y.
"""

from dataclasses import dataclass

from ..arrays import dot, namespace, ratio
from ..checks import cap, caps, known
from ..rule import Rule


@dataclass
class Polyak(Rule):
    """(f - f*)/|g|²: the step that brings x nearest to the solution, as far as convexity can tell."""

    f_star: float | None = None

    paper = "Polyak 1969; King eq. 1"
    units = {"f_star": (1, 0)}

    def __post_init__(self):
        known(f_star=self.f_star)

    def alpha(self, f, g, oracle):
        """Return Polyak's step (0-d) from f and g (n,); 0 where f ≤ f* or g = 0."""
        gap = namespace(g).maximum(self.gap(f, oracle), 0)
        return ratio(gap, dot(g, g))  # (3)

    def step(self, x, oracle):
        f, g = oracle(x)
        self.eta = self.alpha(f, g, oracle)
        self.t += 1
        return -self.eta * g


@dataclass
class PSS(Polyak):
    """Polyak's step with f* = 0, on mini-batches, without a bound: what a network needs bounds against."""

    f_star: float | None = 0.0

    paper = "King eq. 1, appendix 4.3"


@dataclass
class PSSGamma(PSS):
    """PSS, at most `eta_max`."""

    eta_max: float = 1.0

    paper = "King eq. 2"
    units = {"f_star": (1, 0), "eta_max": (-1, -2)}

    def __post_init__(self):
        super().__post_init__()
        caps(eta_max=self.eta_max)

    def step(self, x, oracle):
        f, g = oracle(x)
        self.eta = namespace(x).minimum(self.alpha(f, g, oracle), self.eta_max)  # (4)
        self.t += 1
        return -self.eta * g


@dataclass
class PSSDelta(PSS):
    """PSS, at most the smallest of its own past: a rate that only descends, in steps."""

    delta_init: float = 1.0

    paper = "King eq. 3"
    units = {"f_star": (1, 0), "delta_init": (-1, -2)}

    def __post_init__(self):
        super().__post_init__()
        cap(delta_init=self.delta_init)

    def start(self, x, oracle):
        super().start(x, oracle)
        self.delta = namespace(x).asarray(self.delta_init, x.dtype)

    def step(self, x, oracle):
        f, g = oracle(x)
        xp, alpha = namespace(x), self.alpha(f, g, oracle)
        self.delta = xp.where(alpha > 0, xp.minimum(alpha, self.delta), self.delta)  # (5)
        self.eta = xp.minimum(alpha, self.delta)
        self.t += 1
        return -self.eta * g


@dataclass
class PSSDeltaLiteral(PSSDelta):
    """PSSDelta to the letter: the first batch with f ≤ f* or g = 0 ends the run."""

    paper = "King eq. 3, to the letter"

    def step(self, x, oracle):
        f, g = oracle(x)
        self.delta = namespace(x).minimum(self.alpha(f, g, oracle), self.delta)  # (5)
        self.eta = self.delta
        self.t += 1
        return -self.eta * g
