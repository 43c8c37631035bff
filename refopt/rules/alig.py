"""ALI-G: Polyak's step for non-negative losses, with a maximal rate, momentum and a ball.

Problem
    minimise f(w) = E_z ℓ_z(w) over a convex set Ω, each ℓ_z ≥ 0, and some w* in Ω with ℓ_z(w*) = 0 for all z.

Derivation
    A proximal step on the linear model of ℓ is w - η g, even where the model falls below 0. ℓ ≥ 0 is known,
    so cut the model off there:

        w⁺ = argmin_u |u - w|² / (2η) + max{0, ℓ + ⟨g, u - w⟩}.                                        (1)

    Its dual has one variable a in [0, 1], the weight of the linear piece. With u = w - η a g the dual
    function is a ℓ - (η/2) a² |g|², largest at a = min{1, ℓ / (η |g|²)}, so the step η a is

        γ = min{ℓ / |g|², η}.                                                                         (2)

    A small δ > 0 bounds the displacement where g vanishes before ℓ does, γ |g| ≤ ℓ / (2√δ):

        γ = min{ℓ / (|g|² + δ), η},                                                                   (3)
        w⁺ = Π_Ω(w - γ g).                                                                            (4)

    Regularisation is the set Ω, a ball in practice, and not a term of the loss: a penalised loss does not
    tend to 0. Momentum is Nesterov's, with γ inside the velocity:

        v ← μ v - γ g,    w⁺ = Π_Ω(w - γ g + μ v).                                                    (5)

    The adjusted form keeps γ out of it:

        v ← μ v - g,    w⁺ = Π_Ω(w + γ (μ v - g)).                                                    (6)

Rule
    ALIG (3), (5); ALIGAdjusted (3), (6). μ = 0 gives (4). The loop projects: Constrained(oracle, Ball(R)).
    ℓ is counted from its infimum f* where that is not 0, and a sample below it counts as being at it.
    `eta` reports γ, and 0 where g = 0.

Assumes
    Interpolation. Convex ℓ_z with |g| ≤ C, any order of samples, μ = 0: with r = |w₀ - w*| the mean loss of T + 1
    steps is at most r²/(η(T+1)) + r √((C² + δ)/(T+1)); for β-smooth ℓ_z and η ≥ 1/(2β), 2βr²/(T+1) + δ/(2β).
    If every ℓ_z is α-strongly convex too, δ = 0, μ = 0 and η ≥ 1/(2β): |w⁺ - w*|² ≤ (1 - α/(2β))² |w - w*|².
    With δ = 0, μ = 0 and equal bounds it is SPSMax(c=1) bit for bit, and for f* = 0 PSSGamma.

Fails when
    the loss cannot reach 0: the step does not shrink, and w wanders. δ is not innocuous: on x²/2, once x² ≪ δ, x_t²
    tends to δ/t instead of falling geometrically, as it does with the factor c of `sps`. With momentum there is no
    proof. A clipped gradient lengthens the step.

Cost
    One gradient and one inner product a step; one vector with momentum. No host synchronisation.

Differs from the paper / from the authors' code in
    The note's eq. 4 has no momentum, its experiment has (Table 1: η = 0.1, μ = 0.9, the defaults here, and
    a ball of R = 100, which is yours to add); the set |w|² ≤ r of its section 1 has r = R². The PyTorch code
    lets a negative loss give a negative step: `authors.ALIGUnclipped`; its TensorFlow twin clips at 0, as
    here, if it has a maximal rate.

References
    L. Berrada, A. Zisserman, M. P. Kumar 2020, Training neural networks for and by interpolation,
    arXiv:1906.05661; 2021, Comment on stochastic Polyak step-size: performance of ALI-G,
    arXiv:2105.10011, eqs. 1-4 and Table 1.
"""

from dataclasses import dataclass

from ..arrays import dot, elementwise, namespace, ratio
from ..checks import caps, fraction, known, nonnegative
from ..rule import Rule


@dataclass
class ALIG(Rule):
    """min{ℓ/(|g|² + δ), η} with Nesterov momentum."""

    eta_max: float = 0.1
    mu: float = 0.9
    delta: float = 1e-5
    f_star: float | None = None

    paper = "Berrada et al. eq. 4, Table 1"
    units = {"eta_max": (-1, -2), "delta": (2, 2), "f_star": (1, 0)}

    def __post_init__(self):
        caps(eta_max=self.eta_max)
        fraction(mu=self.mu)
        nonnegative(delta=self.delta)
        known(f_star=self.f_star)

    def start(self, x, oracle):
        super().start(x, oracle)
        self.v = namespace(x).zeros_like(x)

    def excess(self, f, oracle):
        """Return the loss above its infimum (0-d), and 0 below it."""
        return namespace(f).maximum(self.gap(f, oracle), 0)

    def step(self, x, oracle):
        f, g = oracle(x)
        gg = dot(g, g)
        gamma = namespace(x).minimum(ratio(self.excess(f, oracle), gg + self.delta), self.eta_max)  # (3)
        self.v, d = self.update(self.v, g, gamma, self.mu, reuse=[self.v])
        self.eta = gamma * (gg > 0)  # along a zero gradient the rate means nothing
        self.t += 1
        return d

    @staticmethod
    @elementwise
    def update(v, g, gamma, mu):
        """Return the new velocity and the displacement, both (n,)."""
        v = mu * v - gamma * g  # (5)
        return v, mu * v - gamma * g  # (5)


@dataclass
class ALIGAdjusted(ALIG):
    """ALIG with a velocity of gradients alone: a change of γ reaches the momentum of the past too."""

    paper = "Berrada et al. 2020, the authors' code"

    @staticmethod
    @elementwise
    def update(v, g, gamma, mu):
        v = mu * v - g  # (6)
        return v, gamma * (mu * v - g)  # (6)
