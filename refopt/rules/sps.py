"""Polyak's step on one sample at a time: which f*, what bound, and how to converge without interpolation.

Problem
    minimise f(x) = E_i f_i(x), seeing f_i and its gradient g_i for one sample i a step; f_i* = inf f_i known.
    Write e = x - x*, and L_i, μ_i for the smoothness and strong convexity of f_i.

Derivation
    With interpolation, f_i(x*) = f_i* for every i, the argument of `polyak` holds for each sample: for
    convex f_i and γ = (f_i - f_i*) / (c |g_i|²),

        |x - γ g_i - x*|² ≤ |e|² - 2γ (f_i - f_i*) + γ² |g_i|² = |e|² - (2 - 1/c) γ (f_i - f_i*),       (1)

    so no path recedes from x* if c ≥ 1/2, and none stalls if c > 1/2. The stochastic Polyak step is

        γ = (f_i - f_i*) / (c |g_i|²),                                                               (2)

    between 1/(2cL_i) and 1/(2cμ_i). c = 1 is Polyak's; c = 1/2 solves λx²/2 in one step, and on single rows
    of a consistent linear system it is Kaczmarz' projection onto the row.

    Without interpolation (2) aims at the minimisers of single samples. A bound γ_b limits the error:

        γ = min{(f_i - f_i*) / (c |g_i|²), γ_b}.                                                     (3)

    (1) survives it, since only γ |g_i|² ≤ (f_i - f_i*)/c was used. In place of a constant the bound may
    follow the step itself, growing at most τ-fold in an epoch of 1/φ steps (φ the batch's share of the data),
    from a first value γ_{-1}:

        γ_k = min{(f_i - f_i*) / (c |g_i|²), τ^φ γ_{k-1}}.                                           (4)

    If f_i(x*) is known rather than f_i*, aim at the level set of f_i that contains x*; a sample already
    below it has nothing to say, and the positive part turns it away:

        γ = max{f_i - f_i(x*), 0} / |g_i|².                                                          (5)

    If only lower bounds ℓ_i ≤ f_i* are known and there is no interpolation, let the step fall like 1/√k, as SGD
    needs against noise that does not die: s_k = min{(f_i - ℓ_i)/|g_i|², c_{k-1} s_{k-1}} / c_k with
    c_k = c₀ √(k + 1). The product p_k = c_k s_k is a running minimum, so this is King's δ over a growing divisor:

        p_k = min{(f_i - ℓ_i)/|g_i|², p_{k-1}},    p_{-1} = c₀ γ_b,                                    (6)
        γ_k = p_k / (c₀ √(k + 1)).                                                                   (7)

    Momentum: Polyak's step asks a model of f - f* for its zero. Average the models f_j - f_j* + ⟨g_j, · - x_j⟩ of
    the past samples with weights that decay by β; the average is a plane with slope ḡ and value m at x,

        ḡ ← β ḡ + (1 - β) g_i,    F ← β F + (1 - β)(f_i - f_i*),    q ← β q + (1 - β) ⟨g_i, x⟩,          (8)
        m = F + ⟨ḡ, x⟩ - q,                                                                           (9)
        γ = min{lr, max{m, 0} / |ḡ|²},    d = -γ ḡ.                                                  (10)

Rule
    SPS (2); SPSMax (3); SPSSmooth (4); SPSPlus (5), which is (3) with c = 1, no bound, and f_i(x*) in place of f_i*;
    DecSPS (6)-(7); MoMo (8)-(10), all averages starting at their first value. Negative gaps count as 0 and
    g_i = 0 gives step 0, and neither enters the memory of (4) and (6); MoMo takes every sample into its
    averages and goes on along them. f_star=None takes f_i* from the problem; a number is one for all samples.

Assumes
    Convex f_i; f_i* right. Under interpolation and strong convexity, c = 1/2 and no bound:
    E|x_k - x*|² ≤ (1 - μ̄/L_max)ᵏ |x₀ - x*|², μ̄ the mean of the μ_i. Without, for SPSMax and c ≥ 1/2,
    E|x_k - x*|² ≤ (1 - μ̄α)ᵏ |x₀ - x*|² + 2γ_b σ²/(μ̄α), α = min{1/(2cL_max), γ_b}, σ² = f(x*) - E f_i*; the last
    term is not sharp for small γ_b. DecSPS: smooth f_i, c₀ ≥ 1, bounded iterates; then γ_k is at least
    min{1/(2L_max), c₀ γ_b} / (c₀ √(k + 1)).

Fails when
    c ≤ 1/4 on quadratics: x is multiplied by 1 - 1/(2c) ≤ -1, and c = 0.2, the authors' choice for networks,
    diverges there. c = 1/2 with kinks: on |x| it jumps between ±x₀; take c = 1. No interpolation:
    f_{1,2} = (x ∓ 1)²/2 make c = 1/2 jump between ±1 for ever, unless γ_b < 1, and no constant bound makes it
    converge. Weight decay in the loss: f_i* is no longer 0. A clipped gradient lengthens the step.
    SPS is meant for plain SGD: with momentum and weight decay added, users report a step stuck near 0.02.

Cost
    One gradient and one inner product a step (MoMo three, and one vector). No host synchronisation.

Differs from the paper / from the authors' code in
    Loizou's code tests |g| < 1e-8 and adds eps = 1e-8 to the denominator; here eps is a field, 0 as in
    their experiments, and only g = 0 is special. c = 1/2 and γ_{-1} = 1, τ = 2 are theirs; they bound by
    nothing, by 10 in a first release, by 1, 5 and 100 in convex experiments: here by 1. Their smooth mode
    ignores f*, and one zero gradient sets γ_{k-1} = 0 and freezes the run: `authors.SPSSmoothReleased`. Their
    centralised gradients are `wrappers.Centralized`. optax once let a negative gap go uphill, jaxopt assumed
    f* = 0; optax's scaling s is, as its code runs, SPSMax(c=s, eta_max=s * max_learning_rate). DecSPS follows
    two public implementations. Schaipp et al. subtract one lower bound for all samples; (8) averages the
    gaps, the same thing then, and right also when the f_i* differ.

References
    N. Loizou, S. Vaswani, I. Laradji, S. Lacoste-Julien 2021, Stochastic Polyak step-size for SGD,
    arXiv:2002.10542. G. Garrigos, R. Gower, F. Schaipp 2023, Function value learning, arXiv:2307.14528.
    A. Orvieto, S. Lacoste-Julien, N. Loizou 2022, Dynamics of SGD with stochastic Polyak stepsizes,
    arXiv:2205.04583. F. Schaipp, R. Ohana, M. Eickenberg, A. Defazio, R. Gower 2024, MoMo,
    arXiv:2305.07583. L. Berrada et al. 2021 contrast (2) with ALI-G.
"""

from dataclasses import dataclass
from math import inf, sqrt

from ..arrays import dot, namespace, ratio
from ..checks import cap, caps, fraction, known, nonnegative, positive
from ..rule import Rule


@dataclass
class SPS(Rule):
    """(f_i - f_i*)/(c |g_i|²): Polyak's step on one sample."""

    c: float = 0.5
    f_star: float | None = None
    eps: float = 0.0

    paper = "Loizou et al. 2021"
    units = {"f_star": (1, 0), "eps": (2, 2)}

    def __post_init__(self):
        positive(c=self.c)
        nonnegative(eps=self.eps)
        known(f_star=self.f_star)

    def gamma(self, f, g, oracle):
        """Return the unbounded step (0-d) from f and g (n,); 0 where f ≤ f* or g = 0."""
        gap, gg = namespace(g).maximum(self.gap(f, oracle), 0), dot(g, g)
        return ratio(gap * (gg > 0), self.c * gg + self.eps)  # (2)

    def step(self, x, oracle):
        f, g = oracle(x)
        self.eta = self.gamma(f, g, oracle)
        self.t += 1
        return -self.eta * g


@dataclass
class SPSMax(SPS):
    """SPS, at most eta_max."""

    eta_max: float = 1.0

    paper = "Loizou et al. 2021, SPS_max"
    units = {"f_star": (1, 0), "eps": (2, 2), "eta_max": (-1, -2)}

    def __post_init__(self):
        super().__post_init__()
        caps(eta_max=self.eta_max)

    def step(self, x, oracle):
        f, g = oracle(x)
        self.eta = namespace(x).minimum(self.gamma(f, g, oracle), self.eta_max)  # (3)
        self.t += 1
        return -self.eta * g


@dataclass
class SPSSmooth(SPS):
    """SPS, at most its own last value times τ^φ: it can grow τ-fold in an epoch."""

    tau: float = 2.0
    eta_init: float = 1.0
    batch_fraction: float | None = None

    paper = "Loizou et al. 2021 section 5"
    units = {"f_star": (1, 0), "eps": (2, 2), "eta_init": (-1, -2)}

    def __post_init__(self):
        super().__post_init__()
        positive(tau=self.tau, eta_init=self.eta_init)
        if self.batch_fraction is not None:
            positive(batch_fraction=self.batch_fraction)

    def start(self, x, oracle):
        super().start(x, oracle)
        self.growth = self.tau ** (self.batch_fraction or oracle.batch_fraction)
        self.last = namespace(x).asarray(self.eta_init, x.dtype)

    def step(self, x, oracle):
        f, g = oracle(x)
        xp = namespace(x)
        self.eta = xp.minimum(self.gamma(f, g, oracle), self.growth * self.last)  # (4)
        self.last = xp.where(self.eta > 0, self.eta, self.last)
        self.t += 1
        return -self.eta * g


@dataclass
class SPSPlus(SPSMax):
    """SPSMax with c = 1 and no bound, for an oracle whose f_star is f_i(x*): `wrappers.Level`."""

    c: float = 1.0
    eta_max: float = inf

    paper = "Garrigos et al. 2023"


@dataclass
class DecSPS(Rule):
    """The smallest Polyak step so far over c₀ √(k + 1): converges without interpolation, from a lower bound."""

    c: float = 1.0
    eta_max: float = 10.0
    f_star: float | None = None

    paper = "Orvieto et al. 2022"
    units = {"f_star": (1, 0), "eta_max": (-1, -2)}

    def __post_init__(self):
        positive(c=self.c)
        caps(eta_max=self.eta_max)
        known(f_star=self.f_star)

    def start(self, x, oracle):
        super().start(x, oracle)
        self.p = namespace(x).asarray(self.c * self.eta_max, x.dtype)

    def step(self, x, oracle):
        f, g = oracle(x)
        xp = namespace(x)
        alpha = ratio(xp.maximum(self.gap(f, oracle), 0), dot(g, g))
        self.p = xp.where(alpha > 0, xp.minimum(alpha, self.p), self.p)  # (6)
        self.eta = xp.minimum(alpha, self.p) / (self.c * sqrt(self.t + 1))  # (7)
        self.t += 1
        return -self.eta * g


@dataclass
class MoMo(Rule):
    """Polyak's step for the averaged model of the past samples, at most lr: momentum from first principles."""

    lr: float = 1.0
    beta: float = 0.9
    f_star: float | None = None

    paper = "Schaipp et al. 2024"
    units = {"f_star": (1, 0), "lr": (-1, -2)}

    def __post_init__(self):
        cap(lr=self.lr)
        fraction(beta=self.beta)
        known(f_star=self.f_star)

    def start(self, x, oracle):
        super().start(x, oracle)
        xp = namespace(x)
        self.g_mean, self.gap_mean, self.q = xp.zeros_like(x), xp.zeros((), x.dtype), xp.zeros((), x.dtype)

    def step(self, x, oracle):
        f, g = oracle(x)
        xp, beta = namespace(x), self.beta if self.t else 0.0  # the averages start at their first value
        self.g_mean = beta * self.g_mean + (1 - beta) * g  # (8)
        self.gap_mean = beta * self.gap_mean + (1 - beta) * self.gap(f, oracle)  # (8)
        self.q = beta * self.q + (1 - beta) * dot(g, x)  # (8)
        m = self.gap_mean + dot(self.g_mean, x) - self.q  # (9)
        self.eta = xp.minimum(ratio(xp.maximum(m, 0), dot(self.g_mean, self.g_mean)), self.lr)  # (10)
        self.t += 1
        return -self.eta * self.g_mean
