"""One number in place of the Hessian: the step that explains best how the last move changed the gradient.

Problem
    minimise f, smooth; Newton's step -H⁻¹ g is wanted, at the price of a gradient step.

Derivation
    A quasi-Newton method steps along -B⁻¹ g, with a B that maps the last move to what it did to the
    gradient, as the Hessian of a quadratic would. That is the secant equation,

        B s = y,    s = x_t - x_{t-1},    y = g_t - g_{t-1}.                                         (1)

    Let B be as simple as can be, B = I/η, so that -B⁻¹ g = -η g is a gradient step. One unknown cannot
    satisfy n equations; it can come close. There are two ways to measure how close, before and after
    multiplying by η:

        min_η |s/η - y|²,                                                                            (2)
        min_η |s - η y|².                                                                            (3)

    The derivative of (2) by 1/η vanishes where |s|²/η = ⟨s, y⟩, that of (3) by η where η |y|² = ⟨s, y⟩:

        η = |s|² / ⟨s, y⟩,                                                                           (4)
        η = ⟨s, y⟩ / |y|².                                                                           (5)

    By Cauchy and Schwarz (5) ≤ (4) where ⟨s, y⟩ > 0. On a quadratic y = H s: 1/η is a Rayleigh quotient of H,
    so 1/L ≤ (5) ≤ (4) ≤ 1/m, the extreme curvatures. As s is a multiple of g_{t-1}, (4) is the step that an
    exact line search would have taken one step earlier: the same number, used one gradient later, and it
    is the delay that makes it fast. ⟨s, y⟩ < 0 tells of negative curvature, along which η < 0 would climb:

        η ← |η|, and the last η where ⟨s, y⟩ = 0.                                                    (6)

    On mini-batches, y is mostly the difference of two samples. Liang et al. hold η for an epoch of T steps
    and compare epochs: averages of gradients, from 0 in each epoch, and the points where epochs begin, x_k,

        ḡ_k ← (1 - β) ḡ_k + β g,    ḡ_k = 0 when epoch k = 0, 1, ... begins,                         (7)
        s = (x_k - x_{k-1}) / T,    y = ḡ_{k-1} - ḡ_{k-2},                                           (8)
        η = |s|² / |⟨s, y⟩|.                                                                         (9)

    SGD converges if Σ η_k = ∞ and Σ η_k² < ∞, which a window that closes like 1/k ensures:

        η_k = η if τ_min/(k + 1) ≤ η ≤ τ_max/(k + 1), else τ_0/(k + 1).                              (10)

Rule
    BB1 (4), (6); BB2 (5), (6): the first step is lr. StochasticBB (7)-(10): the first two epochs take lr as it
    is; StochasticBBBounded puts lr through (10) too. period=None takes T from the oracle; without mini-batches
    an epoch is one step. beta=None is 4/T, at most 1. The defaults are those of deep networks; shallow ones
    had τ_min = 0.33, τ_max = 3.

Assumes
    BB1, BB2: one function, not samples of it. On strictly convex quadratics BB1 converges from every lr,
    R-linearly with factor 1 - m/L at worst; in one variable it is the secant method, exact on a parabola
    in its second step. In two variables it is R-superlinear of order √2, unless both components of g
    are equal in size after an exact first step: then (L - m)/(L + m). For other f both are R-linear near a minimum
    with a positive definite Hessian (Dai and Liao); globally nothing holds without a line search. StochasticBB: (10)
    gives ∇f → 0 (or f → -∞) under the conditions of Bertsekas and Tsitsiklis, f smooth and every g unbiased given
    the past: batches drawn without replacement are not.

Fails when
    f is no quadratic: on log cosh x + x²/200 from 3 both cycle through 100, 23.6, -100, -23.6 for ever. Also on
    quadratics f and |g| may rise by orders of magnitude on the way.
    ⟨s, y⟩ near 0 gives a step of any length. On mini-batches BB1 measures noise. (8) holds 1/T in s and not
    in y, so (9) is T times smaller than (4) on the epochs' displacement: after T steps of η on λx²/2, with
    β = 1, it is (1 - ηλ)/(Tλ). (10) does not clip: a rate just above τ_max/(k + 1) becomes τ_0/(k + 1).

Cost
    One gradient and two inner products a step; two vectors. StochasticBB: two inner products an epoch;
    three vectors. No host synchronisation.

Differs from the paper / from the authors' code in
    Liang et al.'s text says B ≈ H⁻¹ and uses B s = y: it means B ≈ H. (6) follows their footnote 1; keeping η
    where ⟨s, y⟩ = 0 is ours. ḡ in (7) is not bias-corrected: it holds the factor 1 - (1 - β)^T, 0.98 for β = 4/T, in
    every epoch the same. Algorithm 1 has the window inside `if k > 1`, their eq. 13 has it for every k. They
    advise "η_max" = k + 1, by which they must mean τ_max, with k the first epoch whose rate would exceed 1, and
    τ_min = 1/τ_max; their example, k = 6, would give 7, where they use 10. Their code
    keeps the last rate where T |⟨s, y⟩| < 1e-10: `authors.StochasticBBReleased`.

References
    J. Barzilai, J. M. Borwein 1988, Two-point step size gradient methods.
    M. Raydan 1993, On the Barzilai and Borwein choice of steplength for the gradient method.
    Y.-H. Dai, L.-Z. Liao 2002, R-linear convergence of the Barzilai and Borwein gradient method.
    D. P. Bertsekas, J. N. Tsitsiklis 2000, Gradient convergence in gradient methods with errors.
    O. Burdakov, Y.-H. Dai, N. Huang 2019, Stabilized Barzilai-Borwein method (cycles on strongly convex f).
    D.-W. Li, R.-Y. Sun 2021, On a faster R-linear convergence rate of the Barzilai-Borwein method.
    J. Liang, Y. Xu, C. Bao, Y. Quan, H. Ji 2020, Barzilai-Borwein-based adaptive learning rate for deep
    learning, eqs. 7-13, Algorithm 1.
"""

from dataclasses import dataclass

from ..arrays import dot, namespace, ratio
from ..checks import count, portion, positive
from ..rule import Rule


@dataclass
class BB1(Rule):
    """|s|²/|⟨s, y⟩|: the longer step, from the inverse of the Hessian's mean along the last move."""

    lr: float = 0.1

    paper = "Barzilai & Borwein 1988; Liang et al. section 3.1"
    units = {"lr": (-1, -2)}

    def __post_init__(self):
        positive(lr=self.lr)

    def start(self, x, oracle):
        super().start(x, oracle)
        xp = namespace(x)
        self.last_x, self.last_g, self.rate = x.copy(), xp.zeros_like(x), xp.asarray(self.lr, x.dtype)

    @staticmethod
    def fit(s, y):
        """Return the step (0-d) that explains y (n,) by s (n,) best, without its sign; 0 where ⟨s, y⟩ = 0."""
        return ratio(dot(s, s), abs(dot(s, y)))  # (4)

    def step(self, x, oracle):
        _f, g = oracle(x)
        eta = self.fit(x - self.last_x, g - self.last_g)  # 0 in the first step: x has not moved
        self.rate = namespace(x).where(eta > 0, eta, self.rate)  # (6)
        self.last_x, self.last_g = x.copy(), g
        self.eta = self.rate
        self.t += 1
        return -self.eta * g


@dataclass
class BB2(BB1):
    """|⟨s, y⟩|/|y|²: BB1 with the least squares read the other way, and never longer."""

    paper = "Barzilai & Borwein 1988"

    @staticmethod
    def fit(s, y):
        return ratio(abs(dot(s, y)), dot(y, y))  # (5)


@dataclass
class StochasticBB(Rule):
    """BB1 from epoch to epoch, on averaged gradients, in a window that closes like 1/k."""

    lr: float = 0.1
    beta: float | None = None
    tau_0: float = 1.0
    tau_min: float = 0.1
    tau_max: float = 10.0
    period: int | None = None

    paper = "Liang et al. Algorithm 1"
    units = {"lr": (-1, -2), "tau_0": (-1, -2), "tau_min": (-1, -2), "tau_max": (-1, -2)}

    def __post_init__(self):
        positive(lr=self.lr, tau_0=self.tau_0, tau_min=self.tau_min, tau_max=self.tau_max)
        if self.tau_min > self.tau_max:
            raise ValueError(f"tau_min must be at most tau_max, {self.tau_max!r}, got {self.tau_min!r}")
        if self.beta is not None:
            portion(beta=self.beta)
        if self.period is not None:
            count(period=self.period)

    def start(self, x, oracle):
        super().start(x, oracle)
        xp = namespace(x)
        self.T = self.period or oracle.steps_per_epoch or 1
        self.rate = xp.asarray(self.lr, x.dtype)
        self.last_x, self.g_mean, self.last_mean = x.copy(), xp.zeros_like(x), xp.zeros_like(x)

    def bounded(self, eta, k):
        """Return the rate (0-d) of epoch k: eta (0-d) if it lies in the window."""
        low, high, other = (tau / (k + 1) for tau in (self.tau_min, self.tau_max, self.tau_0))
        xp = namespace(eta)
        return xp.where((eta >= low) & (eta <= high), eta, xp.full_like(eta, other))  # (10)

    def fit(self, s, y, k):
        """Return the rate (0-d) of epoch k from s and y (n,)."""
        return self.bounded(ratio(dot(s, s), abs(dot(s, y))), k)  # (9); ⟨s, y⟩ = 0 gives 0, below the window

    def begin(self, x, k):
        """Choose the rate of epoch k, which begins at x (n,), and start its average."""
        if k > 1:
            self.rate = self.fit((x - self.last_x) / self.T, self.g_mean - self.last_mean, k)  # (8)
        self.last_x, self.last_mean, self.g_mean = x.copy(), self.g_mean, namespace(x).zeros_like(x)

    def step(self, x, oracle):
        _f, g = oracle(x)
        if self.t % self.T == 0:
            self.begin(x, self.t // self.T)
        beta = self.beta or min(4 / self.T, 1.0)
        self.g_mean = (1 - beta) * self.g_mean + beta * g  # (7)
        self.eta = self.rate
        self.t += 1
        return -self.eta * g


@dataclass
class StochasticBBBounded(StochasticBB):
    """StochasticBB with the window from the first epoch on."""

    paper = "Liang et al. eq. 13"

    def begin(self, x, k):
        super().begin(x, k)
        if k < 2:
            self.rate = self.bounded(namespace(x).asarray(self.lr, x.dtype), k)  # (10)
