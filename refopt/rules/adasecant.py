"""AdaSecant: a secant rate for each coordinate, from averages whose memory adapts; in theory and as it is run.

Problem
    minimise f(x) = E_i f_i(x) from noisy gradients, without a rate chosen by hand. Everything is element-wise.

Derivation
    Along a coordinate with curvature h a move s = x - x_last changes the gradient by

        a = g - g_last ≈ h s,    so the secant step is 1/h ≈ |s / a|.                                 (1)

    One such quotient is mostly noise. So every quantity z is averaged, each coordinate with a memory τ of its own,

        E[z] ← (1 - 1/τ) E[z] + z/τ,                                                                  (2)

    and the gradient g is drawn towards its average m = E[g], as g̃ = m + w (g - m). With g' from the next batch, an
    independent estimate at the same x, E (g̃ - g')² is least at w = E[(g - m)(g' - m)] / E[(g - m)²], and γ = 1/w - 1
    is

        γ = E[(g - g')(g - m)] / E[(g - m)(g' - m)],                                                  (3)
        g̃ = (g + γ m) / (1 + γ).                                                                      (4)

    What g and g' have in common is how far m lags behind ∇f(x): without a lag w is 0 and g̃ = m, with a great one
    w → 1 and g̃ = g.

    The mean of a quotient is, to second order in the spread, E[s]/E[a] - Cov(a, s)/E[a]² + Var(a) E[s]/E[a]³. The last
    term is left out, though for a = h s it cancels the one before. Root mean squares cannot vanish by cancellation;
    put in place of the means, and E[a s] in place of the covariance, they make the rest

        α = √E[s²] / √E[a²] - E[a s] / E[a²],                                                         (5)
        d = -α g̃.                                                                                     (6)

    While moves are alike, E[s]² ≈ E[s²] and the past is forgotten; if their signs alternate, it is remembered:

        τ ← (1 - E[s]² / E[s²]) τ + 1,    clipped to [1.5, 10⁷],                                      (7)
        τ ← 2.2  where |g - m| > 2 √(E[g²] - m²), or the same of a.                                   (8)

    Why this dies. With ρ = E[a s] / √(E[a²] E[s²]), in [-1, 1] by Cauchy and Schwarz, (5) reads

        α = (1 - ρ) √E[s²] / √E[a²].                                                                  (9)

    The better gradients tell the curvature, the shorter the step: without noise a = h s, so ρ = 1 and α = 1/h - 1/h
    = 0. (E[a s] is the covariance plus E[a] E[s]. The covariance alone would leave α = E[s]²/(h E[s²]), Newton's 1/h
    for equal moves.) Noise does not help. Of size σ ≫ h |s|, it is in the move as well as in the difference, s =
    -α e_last and a = e - e_last: so E[a²] ≈ 2σ², E[a s] ≈ ασ², ρ is near 1/√2, and |α g| ≈ (1 - ρ) √E[s²]/√2 is a
    fifth to a third of the last moves. They shrink geometrically, wherever x is. (With a of the other sign ρ = -1, and
    α = 2/h makes x jump about its target for ever.) Against that, E[a s] may pair each move with the difference before
    it,

        E[a s] ← (1 - 1/τ) E[a s] + a_last s / τ:                                                     (10)

    it does not cancel. Under the same noise ρ ≈ -1/√2, and α grows by up to 1.2 a step until h s shows in E[a²];
    nothing keeps α ≥ 0, nor below 2/h.

    The authors' code pairs like that, and adds normalised gradients, corrected averages, and bounds. There are B
    blocks (a layer's weight, or its bias), each with a q that starts as its first |g|²; π is the weight that E[n]
    still gives to its start, so 1 - π corrects the bias, as 1 - βᵗ does in `adam`. With ε = 10⁻⁷ and steps
    t = 1, 2, ..., its lines are

        g ← g min{1, clip B / Σ_blocks |g|},                                                          (11)
        n = g / (√(q / (1 - 0.995ᵗ)) + ε),    q ← 0.995 q + 0.005 |n|²,                               (12)
        E[s], E[s²], E[k s] by (2), with the τ and k of the step before;  n, n², ε in the first,      (13)
        E[n], E[n²] by (2),    π ← (1 - 1/τ) π,    m = E[n] / (1 - π),                                (14)
        γ = min{√num / (√(den + ε) + 10⁻⁶), cap},                                                     (15)
        num ← (2) of ((n - c)(c - m))²,    den ← (2) of ((m - n)(c - m))²,    c of the step before,   (16)
        c = (n + γ m) / (1 + γ),                                                                      (17)
        A ← A + c²,    r = max{√A, 1},                                                                (18)
        k = n - n_last,    E[k], E[k²] by (2),                                                        (19)
        α = √(E[s²] + ε) / √(E[k²] + ε) - E[k s] / (E[k²] + ε),    clipped to ±25,                    (20)
        d = -α c / r,                                                                                 (21)
        τ' = (1 - E[s]² / (E[s²] + ε)) τ + 1 + ε,                                                     (22)
        outlier: |n - m| > 2 √(E[n²]/(1 - π) - m²), or the same of k,                                 (23)
        τ' ← 2.5 if τ' > 2.5 else τ' + 1 + ε,    of outliers,                                         (24)
        τ ← τ' clipped to [1.5, 10⁷].                                                                 (25)

Rule
    AdaSecantTheory (1)-(8); AdaSecantLagged, with (10); AdaSecant (11)-(25), the form to use; its fields
    are the clip of (11), the cap of (15) and the 25 of (20). It starts with π = 1 - 2ε, τ = 2.1 (1 + ε); with E[s],
    E[s²], A at 0, and the other averages, c and n_last at ε. `eta` reports α, which (21) divides by r and multiplies
    by the normalised c.

Assumes
    Nothing is proved. In (9), 0 ≤ α ≤ 2 √E[s²]/√E[a²]. By (7), unclipped, moves with E[s] = 0 make τ count the steps,
    and (2) the plain mean; equal moves make τ = 1, no memory.

Fails when
    AdaSecantTheory: always, see (9). The first difference is 0, and so is the first rate; without mini-batches x never
    moves at all. Started cold it leaps first: in the second step a is noise alone, and α = |g̃₁| / (√2 |a|) of the
    first g̃, on x²/4 with σ = 0.1 from 1 to about 200, and dies there. AdaSecantLagged can go uphill; with (4) left
    out its rates drift up to 2/h and beyond, and x wanders off; with it they may die too, later. AdaSecant is held
    together by its bounds: its first rate is near √2.1 where n² ≫ ε, and falls to 0.15 in blocks of more than some 50
    000 coordinates; the second may be 6 (on 2x²), and by the fifth most may be at the bound of 25. Rates fall as moves
    do, by (20); r, AdaGrad's sum of squares, acts once Σ c² exceeds 1. If a block's first gradient is exactly 0, so is
    its q, the next n is 10⁷ g, and r, which never shrinks, holds the block back from then on.

Cost
    AdaSecant: one gradient a step, 17 vectors. The theory: two gradients (g' by `peek`), 12 vectors, one more if
    lagged. No host synchronisation.

Differs from the paper / from the authors' code in
    The move s is the one that happened, also under a projection; the authors' code takes d for it. Sasse's text and
    algorithms disagree: a is g - g_last (eq. 2.36, here), its negative (item 4), or g - g' (Algorithm 3.1); the first
    a is 0 in the code (here), g in Algorithm 2.3; (8) comes after (7) in the text (here, from the new averages),
    before it in both algorithms. The first s, -g̃, is the text's. 0/0 is 0; 1 + γ = 0 gives γ = 0. Gradients are not
    normalised in (1)-(8): Sasse saw no effect. (These follow the thesis; the papers of 2014 and 2017 were not
    compared.) In (12) the authors feed q with |n|², not |g|²; it is kept: q forgets the first |g|² in some hundred
    steps, and where it settles |n|² = |g|, not 1. Their `decay` has no effect, and skipping of non-finite gradients is
    the loop's task here. A coordinate whose gradient is always 0 moves by about ε, since E[n] starts at ε; padding
    between blocks stays 0. As Sasse's own code ran: `authors.AdaSecantThesis`.

References
    C. Gulcehre, J. Sotelo, M. Moczulski, Y. Bengio 2017, A robust adaptive stochastic gradient method for deep
    learning, arXiv:1703.00788; code: github.com/sotelo/scribe, algorithms.py, Adasecant.
    T. Schaul, S. Zhang, Y. LeCun 2013, No more pesky learning rates, arXiv:1206.1106 (the memory (7)).
    Sasse eqs. 2.41-2.45, Algorithms 2.3, 3.1, section 4.5.1.
"""

from dataclasses import dataclass
from math import inf
from typing import ClassVar

from ..arrays import choose, dots, elementwise, moved, namespace, ratio, spread
from ..checks import cap
from ..rule import Rule
from .gradient import against

EPS = 1e-7  # the authors' ε


def averaged(tau):
    """Return the function that moves an average towards z, with memory τ; all (n,)."""
    w = 1 / tau
    keep = 1 - w
    return lambda average, z: keep * average + w * z  # (2)


@dataclass
class AdaSecantTheory(Rule):
    """The secant rate from averages as the thesis has it: it dies by cancellation."""

    paper = "Gulcehre et al. 2017; Sasse eqs. 2.41-2.45"
    TINY: ClassVar[float] = 0.0
    """What is added to the denominators of (3), (4) and (7)."""

    def start(self, x, oracle):
        super().start(x, oracle)
        zero = namespace(x).zeros_like(x)  # shared: no average is written into
        self.g = self.m = self.E_gg = self.num = self.den = zero
        self.E_s = self.E_ss = self.E_as = self.E_a = self.E_aa = zero
        self.tau, self.x = zero + 1, x.copy()

    def step(self, x, oracle):
        _f, g = oracle(x)
        _f, g_next = oracle.peek(x)
        a, tau = g - (self.g if self.t else g), self.tau  # (1)
        self.m, self.E_gg, self.num, self.den, c = self.correct(
            g, g_next, self.m, self.E_gg, self.num, self.den, tau, self.TINY
        )
        self.x, s = moved(x, self.x, reuse=[self.x]) if self.t else (self.x, -c)
        self.E_s, self.E_ss, self.E_as, self.E_a, self.E_aa, self.eta = self.rate(
            s, a, self.partner(a), self.E_s, self.E_ss, self.E_as, self.E_a, self.E_aa, tau
        )
        self.tau = self.remember(g, self.m, self.E_gg, a, self.E_a, self.E_aa, self.E_s, self.E_ss, tau, self.TINY)
        self.g, self.t = g, self.t + 1
        return against(c, self.eta)  # (6)

    def partner(self, a):
        """Return the difference that is averaged with the move: the one it made."""
        return a

    @staticmethod
    @elementwise
    def correct(g, g_next, m, E_gg, num, den, tau, tiny):  # noqa: PLR0917
        """Return the new averages and the corrected gradient."""
        mean = averaged(tau)
        m, E_gg = mean(m, g), mean(E_gg, g * g)
        new = g - m
        num, den = mean(num, (g - g_next) * new), mean(den, new * (g_next - m))
        gamma = ratio(num, den + tiny)  # (3)
        gamma = gamma * (1 + gamma + tiny != 0)
        return m, E_gg, num, den, (g + gamma * m) / (1 + gamma + tiny)  # (4)

    @staticmethod
    @elementwise
    def rate(s, a, partner, E_s, E_ss, E_as, E_a, E_aa, tau):  # noqa: PLR0917
        """Return the new averages and the rate."""
        sqrt, mean = namespace(s).sqrt, averaged(tau)
        E_s, E_ss, E_as = mean(E_s, s), mean(E_ss, s * s), mean(E_as, partner * s)  # (2); lagged: (10)
        E_a, E_aa = mean(E_a, a), mean(E_aa, a * a)
        return E_s, E_ss, E_as, E_a, E_aa, ratio(sqrt(E_ss), sqrt(E_aa)) - ratio(E_as, E_aa)  # (5)

    @staticmethod
    @elementwise
    def remember(g, m, E_gg, a, E_a, E_aa, E_s, E_ss, tau, tiny):  # noqa: PLR0917
        """Return the new memory. (A variance is below 0 by rounding alone.)"""
        xp = namespace(g)
        tau = xp.clip((1 - ratio(E_s * E_s, E_ss + tiny)) * tau + 1, 1.5, 1e7)  # (7)
        far = outlier(g - m, abs(E_gg - m * m)) | outlier(a - E_a, abs(E_aa - E_a * E_a))
        return choose(far, xp.full_like(tau, 2.2), tau)  # (8)


@dataclass
class AdaSecantLagged(AdaSecantTheory):
    """AdaSecantTheory with each move paired with the difference before it: nothing cancels, and nothing is bounded."""

    paper = "Gulcehre et al. 2017; Sasse eq. 2.43, literally"

    def start(self, x, oracle):
        super().start(x, oracle)
        self.a = namespace(x).zeros_like(x)

    def partner(self, a):
        before, self.a = self.a, a
        return before  # (10)


@dataclass
class AdaSecant(Rule):
    """The form to use, the authors' code: normalised gradients, lagged averages, bounded rates."""

    grad_clip: float = inf
    gamma_clip: float = inf
    alpha_clip: float = 25.0

    paper = "Gulcehre et al. 2017, github.com/sotelo/scribe"
    FIRST = dict.fromkeys(["E_n", "E_nn", "num", "den", "c", "n", "E_k", "E_kk", "E_ks"], EPS) | {
        "E_s": 0.0, "E_ss": 0.0, "A": 0.0, "k": 0.0, "pi": 1 - 2 * EPS, "tau": 2.1 * (1 + EPS), "tau_last": 1.0,
    }  # fmt: skip

    def __post_init__(self):
        cap(grad_clip=self.grad_clip, gamma_clip=self.gamma_clip, alpha_clip=self.alpha_clip)

    def start(self, x, oracle):
        super().start(x, oracle)
        xp, parts = namespace(x), blocks(oracle)
        for name, value in self.FIRST.items():
            setattr(self, name, xp.full_like(x, value))
        self.x = x.copy()
        self.q = xp.full_like(x[: len(parts)], EPS)
        self.E_n = xp.zeros_like(x)
        for part in parts:
            self.E_n[part] = EPS  # and 0 in the padding between blocks, which therefore never moves

    def step(self, x, oracle):
        _f, g = oracle(x)
        factor = self.normalizer(g, blocks(oracle))
        before = [getattr(self, name) for name in self.FIRST]
        last_x = self.x if self.t else None
        clips = self.gamma_clip, self.alpha_clip
        *averages, self.x, d = self.lines(g, factor, x, last_x, *clips, *before, reuse=[*before, self.x])
        vars(self).update(zip(self.FIRST, averages, strict=True))
        self.t += 1
        return d

    def normalizer(self, g, parts):
        """Return what g (n,) is multiplied by, (n,): each block has a length of its own."""
        xp, squares = namespace(g), dots(g, g, parts)
        total = xp.sqrt(squares).sum()
        clip = xp.minimum(self.grad_clip * len(parts) / (total + (total == 0)), 1)  # (11)
        q = self.q if self.t else clip * clip * squares
        factor = clip / (xp.sqrt(q / (1 - 0.995 ** (self.t + 1))) + EPS)
        self.q = 0.995 * q + 0.005 * factor * factor * squares  # (12)
        return spread(factor, parts, g)

    @property
    def eta(self):  # type: ignore[override]
        """The rates α (n,) of the last step, computed when asked; 0 before the first."""
        return alpha(*map(vars(self).get, ["E_ss", "E_kk", "E_ks"]), self.alpha_clip) if self.t else 0.0

    @staticmethod
    @elementwise
    def lines(  # noqa: PLR0917
        g, factor, x, last_x, gamma_clip, alpha_clip,
        E_n, E_nn, num, den, c, n_last, E_k, E_kk, E_ks, E_s, E_ss, A, k, pi, tau, tau_last,
    ):  # fmt: skip
        """Return the new averages in the order they came, a copy of x, and the displacement."""
        xp, n, mean, mean_last = namespace(g), factor * g, averaged(tau), averaged(tau_last)  # (12)
        if last_x is None:
            E_s, E_ss = n, n * n  # (13)
        else:
            s = x - last_x
            E_s, E_ss, E_ks = mean_last(E_s, s), mean_last(E_ss, s * s), mean_last(E_ks, k * s)  # (13)
        E_n, E_nn, pi = mean(E_n, n), mean(E_nn, n * n), mean(pi, 0)  # (14)
        unbias = 1 / (1 - pi)
        m = unbias * E_n  # (14)
        gamma = xp.clip(xp.sqrt(num) / (xp.sqrt(den + EPS) + 1e-6), 0, gamma_clip)  # (15)
        lag, news = c - m, n - m
        num, den = mean(num, ((n - c) * lag) ** 2), mean(den, (news * lag) ** 2)  # (16)
        c = (n + gamma * m) / (1 + gamma)  # (17)
        A = A + c * c  # (18)
        k = n - n_last  # (19)
        E_k, E_kk = mean(E_k, k), mean(E_kk, k * k)  # (19)
        d = -alpha(E_ss, E_kk, E_ks, alpha_clip) * c / xp.sqrt(xp.clip(A, 1, inf))  # (21), (18)
        new = (1 - E_s * E_s / (E_ss + EPS)) * tau + (1 + EPS)  # (22)
        m_k = unbias * E_k
        far = outlier(news, unbias * E_nn - m * m) | outlier(k - m_k, unbias * E_kk - m_k * m_k)
        new = choose(far, choose(new > 2.5, xp.full_like(new, 2.5), new + (1 + EPS)), new)  # (24)
        new = xp.clip(new, 1.5, 1e7)  # (25)
        return E_n, E_nn, num, den, c, n, E_k, E_kk, E_ks, E_s, E_ss, A, k, pi, new, tau, +x, d


@elementwise
def alpha(E_ss, E_kk, E_ks, clip):
    """Return the rates (n,) of the authors' code."""
    xp, E_kk = namespace(E_kk), E_kk + EPS
    return xp.clip(xp.sqrt(E_ss + EPS) / xp.sqrt(E_kk) - E_ks / E_kk, -clip, clip)  # (20)


def blocks(oracle):
    """Return the slices of the parts of x that belong together; all of x if nobody says which."""
    return [block.slice for block in oracle.blocks] or [slice(None)]


def outlier(deviation, variance):
    """Whether a deviation is beyond two standard deviations; never where the variance is negative."""
    return (deviation * deviation > 4 * variance) & (variance >= 0)  # (23)
