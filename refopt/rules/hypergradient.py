"""The rate descends too: the loss after a step has a derivative with respect to the rate of that step.

Problem
    minimise f, and let the rate α of the steps x ← x - α u be found on the way; u is g, or made of it.

Derivation
    Seen from x, the loss after the step is a function of α alone, with a slope that one gradient tells:

        φ(α) = f(x - α u),                                                                           (1)
        φ'(α) = -⟨∇f(x - α u), u⟩.                                                                   (2)

    If the gradient there still points along u the slope is negative: the step was too short. If it points
    back, the step was too long; φ' = 0 is the exact line search. So let α descend φ as x descends f,

        α ← α - β φ'(α).                                                                             (3)

    Taken for the step before, (2) is free: x_{t-1} - α_{t-1} u_{t-1} is where we are, and its gradient is g_t,
    which is needed anyway. One look back instead of one ahead, along the u of the move that happened:

        α_t = α_{t-1} + β ⟨g_t, u_{t-1}⟩,    u_{t-1} = (x_{t-1} - x_t) / α_{t-1},                    (4)
        d = -α_t u_t.                                                                                (5)

    On λx²/2 with u = g, (4) is α_t - α_{t-1} = β λ² x² (1 - α_{t-1} λ), x = x_{t-1}: α rises below 1/λ, falls above
    it, and rests at 1/λ, the rate that solves the problem in one step. Heavy ball, Nesterov and Adam differ in u:

        u ← μ u + g,                                                                                 (6)
        b ← μ b + g,    u = g + μ b,                                                                 (7)
        m ← β₁ m + (1 - β₁) g,    v ← β₂ v + (1 - β₂) g²,                                            (8)
        u = (√(1 - β₂ᵗ) / (1 - β₁ᵗ)) m / (√v + ε).                                                   (9)

    That older α moved x, too, is left out: (2) takes x and u for given.

    In (4) β has units, those of α² / f, and no value of it suits two problems. The slope with respect to
    log α is α φ'(α), at most α |g_t| |u_{t-1}| in size. Divided by this bound only an angle is left, and
    log α ← log α + β cos is, to first order in β,

        α_t = α_{t-1} (1 + β cos(g_t, u_{t-1})).                                                     (10)

    On mini-batches g_t and u_{t-1} belong to different functions, and are nearly orthogonal or opposed. Let
    any rule take K steps at one rate α and look at them from afar, as one step, from z to x, along

        S = (z - x) / α,                                                                             (11)

    the sum of its K directions, with G = S/K for their mean. For g and u in (4) and (10) take this window
    and the one before:

        α ← α + β ⟨G, G_old⟩ = α + β ⟨S, S_old⟩ / K²,                                                (12)
        α ← α + β ⟨S, S_old⟩,                                                                        (13)
        α ← α (1 + β cos(S, S_old)).                                                                 (14)

Rule
    Gradients, (4)-(5): GradientDescentHD with u = g; HeavyBallHD (6); NesterovHD (7); AdamHD (8)-(9). Angles, (10) and
    (5): MultiplicativeHD with u = g. Windows of K steps of `base`, a rule that moves by its lr times a direction (not
    one that finds its own rate, as GradientDescentHD does, nor one that remembers old rates, as HeavyBallVelocity
    does): WindowHD (12), WindowSumHD (13), WindowMultiplicativeHD (14); they start with the lr of the base. K is
    `period`, else the `share` of an epoch, rounded down, and 1 at least. A zero vector changes no rate.

Assumes
    Little: |α_t| ≤ |α₀| + β Σ |g_s| |u_{s-1}|, and α₀ (1 - β)ᵗ ≤ α_t ≤ α₀ (1 + β)ᵗ for (10) and (14). A β small
    enough for α to change slowly; f smooth, or the slope says nothing of the next step.

Fails when
    β is too large: (4) overshoots, and nothing keeps α from falling below 0, where the steps go uphill.
    Authors and users report slightly negative rates late in training, and strongly negative ones for
    large β; (10) has none. Users clip α from below; not at 0, where x and so α would rest for ever. α |u| is lost
    in the rounding of x, in float32 at |x| = 1 below 6e-8: no move is measured, and α stays; the u_{t-1} that
    the authors keep would raise it. Gradients that shrink freeze (4) long
    before α is right. With K = 1, (12) is (4) one step late: there the rate of a step knows the gradient of
    this step, here only those before.

Cost
    One gradient, one inner product and one vector a step, two with momentum, three with AdamHD; (10) three
    products. Windows: two vectors, and three products every K steps at most. No host synchronisation.

Differs from the paper / from the authors' code in
    Baydin et al.'s Adam corrects the rate after every tensor, so that the result depends on their order:
    `authors.AdamHDReleased`. (9) has ε where they have it, beside the uncorrected √v. β = 1e-6, 1e-8 with
    Adam, and α₀ = 0.001 are theirs. They keep u_{t-1}; in (4) and (10) it is measured, which matters under a
    projection: at a constrained solution gradients stay aligned for ever, but x does not move. Their code has no
    multiplicative form. Retsinas et al. call φ' of aligned steps positive in the list after their eq. 3; their
    eqs. 1-3 are right. They speak of averaging, (12), but divide by α alone, as (13) does; β differs by K².
    Their best β, 0.1 and 0.01 for sums or means, 1e-4 and 1e-5 for (14), look interchanged: a factor of
    1 + 1e-5 moves no rate. Here they are 1e-5 and 0.1, and windows begin with lr = 0.01. The share of 1/3 is that
    of `NTLR`.

References
    L. Almeida, T. Langlois, J. Amaral, A. Plakhov 1999, Parameter adaptation in stochastic optimization.
    A. G. Baydin, R. Cornish, D. Martínez Rubio, M. Schmidt, F. Wood 2018, Online learning rate adaptation
    with hypergradient descent, arXiv:1703.04782, eqs. 3-5.
    G. Retsinas et al., Newton-based trainable learning rate, eqs. 1-3, section 3, Table 1.
"""

from dataclasses import dataclass, field, replace
from math import sqrt
from numbers import Real

from ..arrays import deferred, dot, moved, namespace, ratio
from ..checks import count, fraction, nonnegative, portion, positive
from ..rule import Rule
from .adam import moments
from .gradient import GradientDescent, against


def adam_rates(v, correction, eps):
    """Return what (9) multiplies m by (n,); 0 where v and eps are 0."""
    return ratio(correction, namespace(v).sqrt(v) + eps)


@deferred
def adam_direction(m, v, correction, eps):
    """Return u (n,) from the two averages (n,)."""
    return adam_rates(v, correction, eps) * m  # (9)


def cosine(a, b):
    """Return the cosine (0-d) of the angle between two vectors (n,); 0 if one of them is 0."""
    xp = namespace(a)
    return ratio(dot(a, b), xp.sqrt(dot(a, a)) * xp.sqrt(dot(b, b)))


@dataclass
class GradientDescentHD(Rule):
    """Gradient descent whose rate grows by meta_lr times the inner product of successive gradients."""

    lr: float = 0.001
    meta_lr: float = 1e-6

    paper = "Almeida et al. 1999; Baydin et al. 2018, SGD-HD"
    units = {"lr": (-1, -2), "meta_lr": (-3, -4)}

    def __post_init__(self):
        positive(lr=self.lr)
        nonnegative(meta_lr=self.meta_lr)

    def start(self, x, oracle):
        super().start(x, oracle)
        self.rate, self.x_old = namespace(x).asarray(self.lr, x.dtype), x.copy()

    def step(self, x, oracle):
        _f, g = oracle(x)
        self.x_old, s = moved(x, self.x_old, reuse=[self.x_old])
        self.rate = self.adapted(g, s, oracle)
        self.t += 1
        return against(self.direction(g), self.rate)  # (5)

    def adapted(self, g, s, oracle):
        """Return the rate (0-d) that the gradient g (n,) asks for, after the move s (n,)."""
        return self.rate - self.meta_lr * ratio(dot(g, s), self.rate)  # (4)

    def direction(self, g):
        """Return u (n,)."""
        return g

    @property
    def eta(self):  # type: ignore[override]
        """The rate; 0 before the first step."""
        return self.rate if self.t else 0.0


@dataclass
class HeavyBallHD(GradientDescentHD):
    """GradientDescentHD along a decaying sum of gradients."""

    mu: float = 0.9

    paper = "Baydin et al. 2018, their code"

    def __post_init__(self):
        super().__post_init__()
        fraction(mu=self.mu)

    def start(self, x, oracle):
        super().start(x, oracle)
        self.b = namespace(x).zeros_like(x)

    def direction(self, g):
        self.b = self.mu * self.b + g  # (6)
        return self.b


@dataclass
class NesterovHD(HeavyBallHD):
    """HeavyBallHD along Nesterov's direction."""

    paper = "Baydin et al. 2018, SGDN-HD"

    def direction(self, g):
        self.b = self.mu * self.b + g  # (7)
        return g + self.mu * self.b  # (7)


@dataclass
class AdamHD(GradientDescentHD):
    """GradientDescentHD along Adam's direction."""

    lr: float = 1e-3
    meta_lr: float = 1e-8
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    paper = "Baydin et al. 2018, Adam-HD"
    units = {"lr": (0, -1), "meta_lr": (-1, -2), "eps": (1, 1)}

    def __post_init__(self):
        super().__post_init__()
        fraction(beta1=self.beta1, beta2=self.beta2)
        nonnegative(eps=self.eps)

    def start(self, x, oracle):
        super().start(x, oracle)
        self.m, self.v = namespace(x).zeros_like(x), namespace(x).zeros_like(x)

    def direction(self, g):
        self.m, self.v = moments(self.m, self.v, g, self.beta1, self.beta2, reuse=[self.m, self.v])  # (8)
        return adam_direction(self.m, self.v, self.correction(), self.eps)

    def correction(self):
        """Return what frees m / √v of its bias."""
        return sqrt(1 - self.beta2**self.t) / (1 - self.beta1**self.t)

    @property
    def eta(self):  # type: ignore[override]
        """The rates (n,) of the coordinates of m, computed from the state; 0 before the first step."""
        return self.rate * adam_rates(self.v, self.correction(), self.eps) if self.t else 0.0


@dataclass
class MultiplicativeHD(GradientDescentHD):
    """Gradient descent whose rate grows by the factor 1 + meta_lr cos of the angle between successive gradients."""

    meta_lr: float = 0.1

    paper = "Retsinas et al. section 3; proposed to Baydin et al."
    units = {"lr": (-1, -2)}

    def __post_init__(self):
        super().__post_init__()
        fraction(meta_lr=self.meta_lr)

    def adapted(self, g, s, oracle):
        return self.rate * (1 - self.meta_lr * cosine(g, s))  # (10)


@dataclass
class Window(Rule):
    """What the rules share that let a base take K steps at one rate, and then look back.

    A copy of the base takes the steps, `inner`: only there is lr ever changed.
    """

    base: Rule = field(default_factory=lambda: GradientDescent(0.01))
    period: int | None = None
    share: float = 1 / 3

    units = {}

    def __post_init__(self):
        if not (isinstance(self.base, Rule) and self.base.steered and isinstance(getattr(self.base, "lr", None), Real)):
            raise ValueError(
                "base must be a rule that moves by lr, a number, times a direction, such as GradientDescent(0.01)"
                f" or Adam(), got {self.base!r}"
            )
        if self.period is not None:
            count(period=self.period)
        portion(share=self.share)

    def start(self, x, oracle):
        super().start(x, oracle)
        xp = namespace(x)
        self.inner = replace(self.base)
        self.inner.start(x, oracle)
        self.K = self.period or max(1, int(self.share * (oracle.steps_per_epoch or 1)))
        self.rate, self.z, self.s = xp.asarray(vars(self.inner)["lr"], x.dtype), x.copy(), xp.zeros_like(x)

    def step(self, x, oracle):
        rate, z, s = self.look_back(x) if self.due() else (self.rate, self.z, self.s)
        own, before = vars(self.inner), vars(self.inner)["lr"]
        own["lr"] = rate  # past the guard of hyper-parameters: the copy is ours
        try:
            d = self.inner.step(x, oracle)
        except Exception:  # an answer was refused: nothing has happened
            own["lr"] = before
            raise
        self.rate, self.z, self.s = rate, z, s
        self.t += 1
        return d

    def due(self):
        """Return whether a window has just ended; at the start, an empty one."""
        return self.t % self.K == 0

    def look_back(self, x):
        """Return the next rate (0-d), the first point z of the next window, and the sum S of the last (n,)."""
        s = ratio(self.z - x, self.rate)  # (11)
        return self.adapted(self.s, s), x.copy(), s

    @property
    def eta(self):  # type: ignore[override]
        """The step size of the base; 0 before the first."""
        return self.inner.eta if self.t else 0.0

    def adapted(self, s_old, s):
        """Return the new rate (0-d) from the last two windows (n,); a first window finds s_old = 0."""
        raise NotImplementedError


@dataclass
class WindowHD(Window):
    """The rate of any base grows, every K steps, by meta_lr times the inner product of the last two mean directions."""

    meta_lr: float = 1e-5

    paper = "Retsinas et al. section 3, additive"
    units = {"meta_lr": (-3, -4)}

    def __post_init__(self):
        super().__post_init__()
        nonnegative(meta_lr=self.meta_lr)

    def adapted(self, s_old, s):
        return self.rate + self.meta_lr / self.K**2 * dot(s, s_old)  # (12)


@dataclass
class WindowSumHD(WindowHD):
    """WindowHD with sums in place of means."""

    paper = "Retsinas et al. section 3, additive, as their code adds up"

    def adapted(self, s_old, s):
        return self.rate + self.meta_lr * dot(s, s_old)  # (13)


@dataclass
class WindowMultiplicativeHD(Window):
    """The rate of any base grows, every K steps, by the factor 1 + meta_lr cos of the angle between two windows."""

    meta_lr: float = 0.1

    paper = "Retsinas et al. section 3, multiplicative"

    def __post_init__(self):
        super().__post_init__()
        fraction(meta_lr=self.meta_lr)

    def adapted(self, s_old, s):
        return self.rate * (1 + self.meta_lr * cosine(s, s_old))  # (14)
