"""A rate of its own for every coordinate, from the squares of the gradients it has seen.

Problem
    minimise f(x) = E f_i(x), where some coordinates of the gradient are always large and some always small, or seldom
    anything but 0: no single lr suits all of them. All operations below are meant coordinate by coordinate.

Derivation
    Give each coordinate a rate η_t of its own. For convex f_t and any x*, with e_t = x_t - x* and x ← x - η_t g_t,

        e_{t+1}² = e_t² - 2η_t g_t e_t + η_t² g_t².                                                  (1)

    (With a projection onto a box ≤ holds, and is all that is used.) Solve for g_t e_t, which bounds the coordinate's
    part of f_t(x_t) - f_t(x*), and sum over T steps. The sum of e_t²/η_t - e_{t+1}²/η_t is at most
    e_1²/η_1 + Σ_{t>1} e_t² (1/η_t - 1/η_{t-1}). If the rates never grow no bracket is negative, and if |e_t| ≤ D, then
    D² can stand for every e_t² there, and all but D²/η_T cancels:

        Σ_t g_t e_t ≤ D²/(2η_T) + ½ Σ_t η_t g_t².                                                    (2)

    The best constant rate in (2) is D/√(Σ g_t²), with value D √(Σ g_t²), known when all is over. AdaGrad takes it
    over the squares so far:

        v ← v + g²,    v = v₀ at the start,                                                          (3)
        d = -η g,    η = lr / (√(v + ε_r) + ε),    and η = 0 where the denominator is 0.               (4)

    As g²/√v_t ≤ 2(√v_t - √v_{t-1}), the sum Σ g_t²/√v_t is at most 2√v_T, and (2) at most (D²/(2lr) + lr) √v_T:
    for lr = D/√2 it is √2 times what the best constant rate gives, in every coordinate, without knowing it.

    These rates only fall, also when the gradients have become small. RMSProp forgets:

        v ← ρ v + (1 - ρ) g²,    v = 0 at the start.                                                  (5)

    Since v ≥ (1 - ρ) g², no step is longer than lr/√(1 - ρ), and the first one is that long. Heavy ball on top of it
    adds up gradients that have been divided, each by the root of its own time:

        b ← μ b + g / (√(v + ε_r) + ε),    d = -lr b.                                                 (6)

    The centred form divides by the deviation from the mean m instead, the root of v - m². Written out, this
    difference follows a recursion of its own that subtracts no nearby numbers and stays ≥ 0 (v is its name below):

        v ← ρ (v + (1 - ρ)(g - m)²),    m ← m + (1 - ρ)(g - m).                                       (7)

    In all of these g/√v is a pure number, so lr has the unit of x, and someone has to choose it. AdaDelta measures
    it, by the mean square u of its own displacements so far, before they are multiplied by lr, now a pure number too:

        u ← ρ u + (1 - ρ) e²,    u = e = 0 at the start,                                             (8)
        e = √(u + ε_u) / (√(v + ε_r) + ε) g,    d = -lr e,    v as in (5).                            (9)

    Averaging the gradient as well gives Adam: `adam`.

Rule
    AdaGrad (3)-(4); RMSProp (5), (4); RMSPropMomentum (5)-(6); RMSPropCentered (7), (4); AdaDelta (5), (8)-(9). `eta`
    reports η, one number per coordinate, computed when asked; in (9) it is lr times what multiplies g. ε stands
    outside the root, ε_r (eps_root) inside. Defaults are PyTorch's.

Assumes
    AdaGrad: convex f_t on a box of side D; regret at most (D²/(2lr) + lr) Σ_i √v_{T,i} for ε = 0. Where ε = ε_r = v₀
    = 0, a constant factor in the gradient changes nothing, even a different one in each coordinate.

Fails when
    the square of a gradient overflows (AdaGrad, in float32 from 1.9e19 on; less 1 - ρ in (5)): v stays infinite, and
    that coordinate rests for ever. lr is constant, AdaGrad apart: |d| ≈ lr also next to the solution. (2) wants rates
    that never grow; with (5) they do, and rare large gradients are outweighed: the example in `adam`. RMSPropCentered
    divides by little but ε where the gradient stays constant. AdaDelta starts with steps of √(ε_u/(1 - ρ)), whatever
    the unit of x.

Cost
    One gradient a step. Memory: v; one vector more with b or m, two with u and e. No host synchronisation.

Differs from the paper / from the authors' code in
    Duchi et al. have a constant δ beside the root, and Zeiler one ε for both of (9): here two, since ε_u is a square
    of x, and ε_r one of g. The lecture on RMSProp has ρ = 0.9, Zeiler's experiments 0.95; TensorFlow and optax put its
    ε inside the root. PyTorch's lr_decay is the schedule lr/(1 + t decay); its centred form computes v - m², which
    rounding can make negative, and the step NaN. Liang et al.'s eq. 3 is the common form, ε = 0.

References
    J. Duchi, E. Hazan, Y. Singer 2011, Adaptive subgradient methods.
    T. Tieleman, G. Hinton 2012, Lecture 6.5: rmsprop. M. D. Zeiler 2012, ADADELTA, arXiv:1212.5701.
    J. Liang et al. 2020, eq. 3, section 4.1.3.
"""

from dataclasses import dataclass
from typing import ClassVar

from ..arrays import deferred, elementwise, namespace, ratio
from ..checks import fraction, fraction_rate, nonnegative, positive, positive_rate
from ..rule import Rate, Rule, at


@elementwise
def rates(v, lr, eps, eps_root):
    """Return lr over the root (n,) of the squares v (n,), and 0 where that is 0."""
    root = namespace(v).sqrt(v + eps_root if eps_root else v) + eps
    return lr / root if eps > 0 else ratio(lr, root)  # (4)


@dataclass
class Diagonal(Rule):
    """What the family shares: vectors of averages, and formulas of their `update`, of the rates, and of the step."""

    lr: Rate = 0.01
    eps: float = 1e-8
    eps_root: float = 0.0

    units = {"lr": (0, -1), "eps": (1, 1), "eps_root": (2, 2)}
    steered = True
    vectors: ClassVar[tuple[str, ...]] = ("v",)
    """The names of the state's vectors (n,), all 0 at the start."""

    def __post_init__(self):
        positive_rate(lr=self.lr)
        nonnegative(eps=self.eps, eps_root=self.eps_root)

    def start(self, x, oracle):
        super().start(x, oracle)
        vars(self).update({name: namespace(x).zeros_like(x) for name in self.vectors})

    def step(self, x, oracle):
        _f, g = oracle(x)
        self.t += 1
        vectors = self.update(*self.memory(), g, reuse=self.memory())
        vars(self).update(zip(self.vectors, vectors, strict=True))
        return self.along(g, *vectors)

    def memory(self):
        """Return the state's vectors, in the order of their names."""
        return [getattr(self, name) for name in self.vectors]

    @elementwise
    def update(self, *vectors_and_g):
        """Return the vectors of step t, all (n,), from those of the step before and g (n,)."""
        raise NotImplementedError

    @deferred
    def along(self, g, *vectors):
        """Return the displacement (n,) of step t from its gradient and vectors, all (n,)."""
        return -self.last_rates(*vectors) * g  # (4)

    def rates(self, v):
        """Return the rates (n,) of step t from the squares v (n,)."""
        return rates(v, at(self.lr, self.t - 1), self.eps, self.eps_root)

    @elementwise
    def last_rates(self, v, *_):
        """Return the rates (n,) of step t from the vectors it left."""
        return self.rates(v)

    @property
    def eta(self):  # type: ignore[override]
        """The rates (n,) of the last step, computed when asked; 0 before the first."""
        return self.last_rates(*self.memory()) if self.t else 0.0


@dataclass
class AdaGrad(Diagonal):
    """lr over the root of the sum of all squared gradients."""

    eps: float = 1e-10
    v_init: float = 0.0

    paper = "Duchi et al. 2011; Liang et al. eq. 3"
    units = {**Diagonal.units, "v_init": (2, 2)}

    def __post_init__(self):
        super().__post_init__()
        nonnegative(v_init=self.v_init)

    def start(self, x, oracle):
        super().start(x, oracle)
        self.v = namespace(x).full_like(x, self.v_init)

    @elementwise
    def update(self, v, g):
        return (v + g * g,)  # (3)


@dataclass
class RMSProp(Diagonal):
    """AdaGrad with an average in place of the sum: old gradients are forgotten."""

    rho: float = 0.99

    paper = "Tieleman & Hinton 2012; Liang et al. section 4.1.3"

    def __post_init__(self):
        super().__post_init__()
        fraction(rho=self.rho)

    def average(self, v, g):
        """Return the new average of the squared gradient (n,)."""
        return self.rho * v + (1 - self.rho) * g * g  # (5)

    @elementwise
    def update(self, v, g):
        return (self.average(v, g),)


@dataclass
class RMSPropMomentum(RMSProp):
    """RMSProp, and heavy ball over its divided gradients."""

    mu: Rate = 0.9

    paper = "PyTorch's RMSprop, momentum"
    vectors = ("v", "b")

    def __post_init__(self):
        super().__post_init__()
        fraction_rate(mu=self.mu)

    @elementwise
    def update(self, v, b, g):
        v = self.average(v, g)
        return v, at(self.mu, self.t - 1) * b + rates(v, 1.0, self.eps, self.eps_root) * g  # (6)

    @deferred
    def along(self, _g, _v, b):
        return -at(self.lr, self.t - 1) * b  # (6)


@dataclass
class RMSPropCentered(RMSProp):
    """RMSProp that divides by the deviation of the gradients from their mean m."""

    paper = "PyTorch's RMSprop, centered"
    vectors = ("v", "m")

    @elementwise
    def update(self, v, m, g):
        v = self.rho * (v + (1 - self.rho) * (g - m) * (g - m))  # (7)
        return v, m + (1 - self.rho) * (g - m)  # (7)


@dataclass
class AdaDelta(RMSProp):
    """RMSProp with the size of its own past displacements for a rate; lr is a pure number."""

    lr: Rate = 1.0
    eps: float = 0.0
    eps_root: float = 1e-6
    rho: float = 0.9
    eps_u: float = 1e-6

    paper = "Zeiler 2012"
    units = {"eps": (1, 1), "eps_root": (2, 2), "eps_u": (0, -2)}
    vectors = ("v", "u", "e")

    def __post_init__(self):
        super().__post_init__()
        positive(eps_u=self.eps_u)

    def ratios(self, v, u):
        """Return the ratio (n,) of displacement to gradient from their mean squares u and v (n,)."""
        return rates(v, namespace(u).sqrt(u + self.eps_u), self.eps, self.eps_root)  # (9)

    @elementwise
    def last_rates(self, v, u, _e):
        return at(self.lr, self.t - 1) * self.ratios(v, u)

    @elementwise
    def update(self, v, u, e, g):
        v = self.average(v, g)
        u = self.average(u, e)  # (8)
        return v, u, self.ratios(v, u) * g  # (9)

    @deferred
    def along(self, _g, _v, _u, e):
        return -at(self.lr, self.t - 1) * e  # (9)
