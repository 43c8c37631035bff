"""A step as long as the function itself allows: the best one on a quadratic, else the first that passes a test.

Problem
    minimise f, L-smooth, without knowing L. Write P for the projection onto the feasible set (P(x) = x if there is
    none), and g = ∇f(x). A step size η leads to x⁺ = P(x - η g), a move s = x⁺ - x.

Derivation
    Along -g a quadratic with Hessian H is a parabola, f(x - η g) = f(x) - η |g|² + η² ⟨g, Hg⟩/2. Cauchy goes to
    its lowest point,

        η = |g|² / ⟨g, Hg⟩,                                                                       (1)

    where f is lower by |g|⁴ / (2 ⟨g, Hg⟩), and where the slope along -g has come to 0: g⁺ is orthogonal to g. So the
    path turns by a right angle in every step. For H = diag(1, κ) and x = (κ, 1), g = κ (1, 1), and (1) is 2/(1 + κ):

        x_t = ((κ - 1)/(κ + 1))ᵗ (κ, (-1)ᵗ),                                                      (2)

    a zig-zag. Each step is the best, and the path is slow; by Kantorovich's inequality no start is worse.

    For other f it is enough not to be too long. x⁺ is the feasible point nearest to x - η g, and x is feasible, so
    ⟨x - η g - x⁺, x - x⁺⟩ ≤ 0. Hence

        |s|² ≤ -η ⟨g, s⟩,                                                                         (3)

    with equality where nothing is projected: s = -η g, ⟨g, s⟩ = -η |g|². With the descent lemma, (1) of `gradient`,

        f(x⁺) ≤ f(x) + ⟨g, s⟩ + (L/2) |s|² ≤ f(x) + (1 - ηL/2) ⟨g, s⟩.                            (4)

    ⟨g, s⟩ is what the gradient promises. Armijo asks for a share c of it, a sufficient decrease:

        f(x⁺) ≤ f(x) + c ⟨g, s⟩,    0 < c < 1.                                                    (5)

    By (4) every η ≤ 2(1 - c)/L passes; on Lx²/2, where (4) is an equality, no other does. So shrinking,

        η ← β η until (5),    0 < β < 1,                                                          (6)

    ends, and what it shrank passed only now: η ≥ min{η₀, 2β(1 - c)/L}, η₀ being the first trial. Without projection
    each step lowers f by cη |g|² or more; the sum of these is at most f(x₀) - f*, so g → 0, f convex or not.

    Vaswani et al. run (6) on one sample, f_i and g_i. If nothing is projected, and f_i is convex with modulus μ_i ≥ 0
    and least at x*, as under interpolation, (5) says η² |g_i|² ≤ (η/c)(f_i(x) - f_i(x*)), and with e = x - x*

        |e⁺|² ≤ |e|² - 2η ⟨g_i, e⟩ + η² |g_i|²
              ≤ (1 - μ_i η) |e|² - (2 - 1/c) η (f_i(x) - f_i(x*)):                                (7)

    no path recedes from x* if c ≥ 1/2. (η is at most the Polyak step of `sps` with this c.) To begin with the same η₀
    in each step costs trials; with the last η one will mostly do, but then it can only fall. Let the first trial grow,
    at most τ-fold in an epoch of 1/φ steps (φ the share of the data in the batch at the start):

        η₀ = τ^φ η_{t-1}.                                                                         (8)

    Goldstein also turns away what is too short: it must not come out better than a share 1 - c of the promise,

        f(x⁺) ≥ f(x) + (1 - c) ⟨g, s⟩,    0 < c < 1/2.                                            (9)

    (4) and (9) leave 1 - c ≥ 1 - ηL/2, so η ≥ 2c/L; on λx²/2 exactly 2c/λ ≤ η ≤ 2(1 - c)/λ pass both tests. Now the
    first trial may be the last η. Double what is too short, shrink what is too long, and once there is one of
    each stay between them:

        too long:   η_long = η,   η ← max{β η, (η_short + η)/2};
        too short:  η_short = η,  η ← min{2η, (η + η_long)/2, η_max},                            (10)

    from η_short = 0, η_long = ∞. This ends: the two would else meet where, by continuity, f(x⁺) is below and above
    at once.

Rule
    Cauchy (1), and step 0 where ⟨g, Hg⟩ ≤ 0; Armijo (5)-(6) from eta_init in each step; SLSRestart, the same with
    Vaswani's constants; SLSKeep from the last η; SLS from (8); Goldstein (10) with (5) and (9), from the last η. A
    search ends without a step where there is nothing to gain, ⟨g, s⟩ = 0 (g = 0, or x optimal on the feasible
    set), or where the promise of a rejected trial is within some roundings of f. Such a step reports 0, and is not
    remembered. A trial whose value is NaN is rejected.

Assumes
    Cauchy: f(x⁺) - f* ≤ ((κ - 1)/(κ + 1))² (f(x) - f*) on quadratics. Armijo and Goldstein: f smooth, no constants
    known. On samples: interpolation, no projection, samples drawn independently. Then, for SLSRestart, η = min{η₀,
    2β(1 - c)/L_max} being the least step, μ̄ the mean of the μ_i, and x̄ the mean of x₀, ..., x_{T-1}: E|x_T - x*|² ≤
    (1 - μ̄η)ᵀ |x₀ - x*|² for c ≥ 1/2, and E f(x̄) - f* ≤ c |x₀ - x*|² / ((2c - 1) η T) for convex f_i and c > 1/2. In
    step t = 0, 1, ... of SLS, counting those that moved, with τ ≥ 1, η ≥ min{τ^(φ(t+1)) η_init, 2β(1 - c)/L_max}.

Fails when
    f - f* comes near the rounding error of f, 1e-7 |f| in float32: (5) then compares noise. The samples disagree at
    x*: each search minimises its own f_i, and steps do not fall. f has kinks: -g may lead uphill, then x stays.
    One steep sample lowers all steps of SLSKeep to come. (9) may turn away the lowest point itself: on |x| from 1
    it is too short, and steps overshoot by 1/19 to 9/11. Cauchy: f not convex, or linear, along g.

Cost
    One gradient a step. Cauchy: a Hessian product, at most two gradients more, and no host synchronisation. All
    others: one value f for each trial, and the host waits for it: a line search is a loop of branches. Where f is
    0 and no step passes, trials end only at underflow, for β = 0.9 after 7000.
    Memory: one number.

Differs from the paper / from the authors' code in
    Armijo and Vaswani et al. test f(x - η g) ≤ f(x) - cη |g|²; (5) is Bertsekas' form, the same without projection,
    and right with one. The proof in Vaswani et al.'s appendix F.1 searches on a sample independent of the one it steps
    on; their code, (7) and these rules use the same one, so it does not describe them. c ≥ 1/2 in their theorems
    is 0.1 in their code, and here. The code counts
    the options SLSKeep 0, SLS 1, SLSRestart 2, and the paper the last two the other way round. It gives up after
    100 trials, moves by 1e-6 g instead, remembers the last trial, and lets η grow on zero gradients:
    `authors.SLSReleased`. Its Goldstein search repeats a trial that is too short at η_max until it gives up, and
    takes it then, as (10) does at once; its least trial is 1e-8, and without the bracket its trials can go round
    in a circle if c is near 1/2.

References
    A. Cauchy 1847. L. Armijo 1966, Minimization of functions having Lipschitz continuous first partial derivatives.
    A. A. Goldstein 1965, On steepest descent. H. Akaike 1959; G. Forsythe 1968 on the zig-zag.
    D. P. Bertsekas 1976, On the Goldstein-Levitin-Polyak gradient projection method; 1999, Nonlinear
    programming, section 1.3. J. Nocedal, S. Wright 2006, Numerical optimization, section 3.1.
    S. Vaswani, A. Mishkin, I. Laradji, M. Schmidt, G. Gidel, S. Lacoste-Julien 2019, Painless stochastic
    gradient, arXiv:1905.09997. G. Retsinas et al. compare with it.
"""

from dataclasses import dataclass
from math import inf

from ..arrays import dot, namespace, ratio
from ..checks import cap, fraction, positive
from ..rule import Rule

ROUNDINGS = 16  # of f itself, a sum of many terms: a smaller fall says nothing


@dataclass
class Cauchy(Rule):
    """|g|²/⟨g, Hg⟩: the lowest point along -g, if f is a quadratic."""

    paper = "Cauchy 1847"
    units = {}

    def step(self, x, oracle):
        _f, g = oracle(x)
        curvature = dot(g, oracle.hvp(x, g))
        self.eta = ratio(dot(g, g), namespace(x).maximum(curvature, 0))  # (1)
        self.t += 1
        return -self.eta * g


@dataclass
class Armijo(Rule):
    """The first of η, βη, β²η, ... that lowers f by a share c of what the gradient promises."""

    eta_init: float = 1.0
    c: float = 1e-4
    beta: float = 0.5

    paper = "Armijo 1966"
    units = {"eta_init": (-1, -2)}
    c_below = 1.0

    def __post_init__(self):
        positive(eta_init=self.eta_init, c=self.c, beta=self.beta)
        fraction(beta=self.beta)
        if self.c >= self.c_below:
            raise ValueError(f"c must be below {self.c_below}, or no step may pass, got {self.c!r}")

    def step(self, x, oracle):
        f, g = oracle(x)
        self.eta = self.search(x, f, g, oracle, self.eta_init)
        self.t += 1
        return -self.eta * g

    def search(self, x, f, g, oracle, eta):
        """Return the step size found, beginning with `eta`, or 0.0; it waits for the device in every trial."""
        while True:
            trial = oracle.project(x - eta * g)
            promise = dot(g, trial - x)
            if not promise < 0:
                return 0.0
            if oracle.value(trial) <= f + self.c * promise:  # (5)
                return eta
            if f + promise / ROUNDINGS == f:
                return 0.0
            eta = self.beta * eta  # (6)


@dataclass
class SLSRestart(Armijo):
    """Armijo on one sample: every search begins with the same step."""

    c: float = 0.1
    beta: float = 0.9

    paper = "Vaswani et al. 2019, reset option 2 of the code"


@dataclass
class SLSKeep(SLSRestart):
    """SLSRestart whose search begins with the last step: cheaper, and the steps only fall."""

    paper = "Vaswani et al. 2019, reset option 0"
    growth = 1.0

    def start(self, x, oracle):
        super().start(x, oracle)
        self.last = self.eta_init

    def step(self, x, oracle):
        f, g = oracle(x)
        self.eta = self.search(x, f, g, oracle, self.growth * self.last)  # (8)
        self.last = self.eta or self.last
        self.t += 1
        return -self.eta * g


@dataclass
class SLS(SLSKeep):
    """SLSKeep whose first trial is a little longer than the last step: it can grow τ-fold in an epoch."""

    tau: float = 2.0
    batch_fraction: float | None = None

    paper = "Vaswani et al. 2019, reset option 1 of the code"

    def __post_init__(self):
        super().__post_init__()
        positive(tau=self.tau)
        if self.batch_fraction is not None:
            positive(batch_fraction=self.batch_fraction)

    def start(self, x, oracle):
        super().start(x, oracle)
        self.growth = self.tau ** (self.batch_fraction or oracle.batch_fraction)


@dataclass
class Goldstein(SLSKeep):
    """A step neither too long nor too short for its promise, at most eta_max: it finds its length from anywhere."""

    eta_max: float = 10.0

    paper = "Goldstein 1965; Vaswani et al. 2019, Goldstein's line search of the code"
    units = {"eta_init": (-1, -2), "eta_max": (-1, -2)}
    c_below = 0.5

    def __post_init__(self):
        super().__post_init__()
        cap(eta_max=self.eta_max)
        if self.eta_init > self.eta_max:
            raise ValueError(f"eta_init must not exceed eta_max = {self.eta_max!r}, got {self.eta_init!r}")

    def search(self, x, f, g, oracle, eta):
        short, long = 0.0, inf
        while short < eta < long:
            trial = oracle.project(x - eta * g)
            promise = dot(g, trial - x)
            if not promise < 0:
                break
            value = oracle.value(trial)
            if not value <= f + self.c * promise:  # (5)
                if f + promise / ROUNDINGS == f:
                    break
                long, eta = eta, max(self.beta * eta, (short + eta) / 2)  # (10)
            elif value < f + (1 - self.c) * promise:  # (9)
                short, eta = eta, min(2 * eta, (eta + long) / 2, self.eta_max)  # (10)
            else:
                return eta
        return short
