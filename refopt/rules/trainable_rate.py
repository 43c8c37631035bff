"""The Newton-based trainable learning rate (NTLR): a Newton step for the rate, from two gradients.

Problem
    minimise f, and let the rate α of the steps x ← x - α u be found on the way, without the meta-rate that a
    descent for α needs (`hypergradient`); u is g, or made of it.

Derivation
    Seen from x, the loss after the step is a function of α alone,

        φ(α) = f(x - α u).                                                                           (1)

    By the chain rule, x - α u having the derivative -u, and by the chain rule once more,

        φ'(α) = -⟨∇f(x - α u), u⟩,                                                                   (2)
        φ''(α) = ⟨u, ∇²f(x - α u) u⟩.                                                                (3)

    Damped by γ, Newton's method for φ'(α) = 0 is

        α⁺ = α - γ φ'(α) / φ''(α).                                                                   (4)

    The Hessian is out of reach, but (3) needs it along u only, and there two gradients tell it: with the
    point ahead, x̂ = x - α u, g = ∇f(x) and ĝ = ∇f(x̂), Taylor's formula around x̂ is

        g ≈ ĝ + ∇²f(x̂)(x - x̂) = ĝ + α ∇²f(x̂) u,                                                   (5)
        φ''(α) ≈ ⟨u, g - ĝ⟩ / α,                                                                     (6)

    and with (2) and (6) in (4), the α of (6) comes out as a factor:

        α⁺ = α (1 + γ ⟨u, ĝ⟩ / ⟨u, g - ĝ⟩).                                                          (7)

    The factor is a pure number: in other units of f, x and u, with α in its own, it is the same. As φ₀' = -⟨u, g⟩ is
    the slope at 0, (6) is that of a chord of φ', and (7) with γ = 1 one step of the secant method from the points 0
    and α:

        α⁺ = α φ₀' / (φ₀' - φ'(α)).                                                                  (8)

    Where f is quadratic, φ' is a line, (5) is exact, and (8) its root α* from any α: the exact line search.
    Otherwise γ is the share of the way there:

        α* = ⟨u, g⟩ / ⟨u, ∇²f u⟩,    α⁺ - α* = (1 - γ)(α - α*).                                      (9)

    (4) leads to a minimum only if φ'' > 0, and far away if φ'' is nearly 0. So with p = ⟨u, ĝ⟩ and
    q = ⟨u, g - ĝ⟩ the factor is

        ρ(p, q) = min{1 + γ p/q, 100}  if q > 0,    1  if q ≤ 0.                                     (10)

    If ⟨u, g⟩ ≥ 0 then q ≥ -p, and ρ ≥ 1 - γ: no rate changes its sign.

    (7) costs a second gradient. The next step brings one for nothing, at the point where this one led:
    with s = x_{t-1} - x_t, which is α u, the move reversed,

        α_t = α_{t-1} ρ(⟨s, g_t⟩, ⟨s, g_{t-1} - g_t⟩).                                               (11)

    For u = g this is a step from α towards the rate of Barzilai and Borwein, where ⟨s, y⟩ > 0, (10) binds nothing more
    and nothing was projected: with y = g_{t-1} - g_t and s = α g_{t-1}, 1 + p/q is ⟨s, g_{t-1}⟩ / ⟨s, y⟩, and α times
    this

        α (1 + p/q) = ⟨s, s⟩ / ⟨s, y⟩ = BB1,    α_t = (1 - γ) α_{t-1} + γ BB1.                       (12)

    On mini-batches g_{t-1} and g_t belong to different functions, and the rate would fall rapidly. As in (11)
    of `hypergradient`, let any rule take K steps at one rate, and take its window S = (z - x)/α, z being
    the point where it began, and the one before for ĝ, and for g and u:

        α ← α ρ(⟨S_old, S⟩, ⟨S_old, S_old - S⟩).                                                     (13)

Rule
    NTLRLookAhead (7) and (10) with u = g; NTLRConsecutive (11); NTLR (13), around any `base` that moves by its lr
    times a direction, and starting with its lr. K is `period`, else the `share` of an epoch, rounded down, and 1
    at least. A zero vector changes no rate.

Assumes
    f smooth, and convex along u. On a quadratic in one variable (7) has α - 1/λ shrink by 1 - γ in every step.

Fails when
    f is concave along u: the rate stays as it is, however small. Gradients are constant: q is rounding, and
    the factor 1 or 100. The chord of (13) spans the older window, of the older rate, while the factor multiplies
    the newer: after a great change the rate overshoots; with K = 1 and γ = 0.2 it goes, on 2x², from 0.01 to
    0.34 and 0.56, when 1/λ = 0.25. S contains momentum, which grows in the first windows: q ≤ 0 there.
    α |u| is lost in the rounding of x, in float32 at |x| = 1 below 6e-8: no move is measured, and (11) and (13)
    leave such a rate as it is.

Cost
    (7): two gradients, two inner products; no memory. (11): one gradient, two vectors. (13): the base, two
    vectors, and two products every K steps. No host synchronisation.

Differs from the paper / from the authors' code in
    The list after eq. 3 has the sign of φ' reversed; eqs. 2-8 are right. γ = 0.2 and a third of an epoch are
    from code and captions; the text has γ = 0.33, p = 0.2, which looks interchanged. Here q = 0 keeps the
    rate, too. The code has neither guard nor cap, and windows that begin later: `authors.NTLRReleased`. It has a
    factor for each parameter group; here there is one. NTLRLookAhead looks ahead without projecting: under
    constraints it may ask outside the feasible set.

References
    G. Retsinas, G. Sfikas, P. P. Filntisis, P. Maragos, Newton-based trainable learning rate, eqs. 1-8 and
    "Technical considerations", github.com/georgeretsi/NTLR.
    J. Barzilai, J. M. Borwein 1988, Two-point step size gradient methods.
"""

from dataclasses import dataclass

from ..arrays import dot, namespace, ratio
from ..checks import cap, portion, positive
from ..rule import Rule
from .hypergradient import Window


def newton_factor(p, q, gamma, factor_max):
    """Return the factor (0-d) of the rate from p = ⟨u, ĝ⟩ and q = ⟨u, g - ĝ⟩, both 0-d."""
    xp = namespace(q)
    return xp.where(q > 0, xp.minimum(1 + gamma * ratio(p, q), factor_max), xp.ones_like(q))  # (10)


@dataclass
class NTLRLookAhead(Rule):
    """Gradient descent whose rate takes, before each step, a damped Newton step of its own."""

    lr: float = 0.1
    gamma: float = 0.2
    factor_max: float = 100.0

    paper = "Retsinas et al. eq. 8"
    units = {"lr": (-1, -2)}

    def __post_init__(self):
        positive(lr=self.lr)
        portion(gamma=self.gamma)
        cap(factor_max=self.factor_max)

    def start(self, x, oracle):
        super().start(x, oracle)
        self.rate = namespace(x).asarray(self.lr, x.dtype)

    def step(self, x, oracle):
        _f, g = oracle(x)
        _f, ahead = oracle(x - self.rate * g)
        p, q = dot(g, ahead), dot(g, g - ahead)
        self.rate = self.rate * newton_factor(p, q, self.gamma, self.factor_max)  # (7)
        self.eta = self.rate
        self.t += 1
        return -self.eta * g


@dataclass
class NTLRConsecutive(NTLRLookAhead):
    """NTLRLookAhead with the gradients of the last two steps in place of a look ahead: damped BB1."""

    paper = "Retsinas et al. section 2, technical considerations"

    def start(self, x, oracle):
        super().start(x, oracle)
        self.x_old, self.g_old = x.copy(), namespace(x).zeros_like(x)

    def step(self, x, oracle):
        _f, g = oracle(x)
        s = self.x_old - x
        p, q = dot(s, g), dot(s, self.g_old - g)
        self.rate = self.rate * newton_factor(p, q, self.gamma, self.factor_max)  # (11)
        self.x_old, self.g_old, self.eta = x.copy(), g, self.rate
        self.t += 1
        return -self.eta * g


@dataclass
class NTLR(Window):
    """The rate of any base takes, every K steps, a damped Newton step that sees K steps as one."""

    gamma: float = 0.2
    factor_max: float = 100.0

    paper = "Retsinas et al. eq. 8 and section 2: TLR"

    def __post_init__(self):
        super().__post_init__()
        portion(gamma=self.gamma)
        cap(factor_max=self.factor_max)

    def adapted(self, s_old, s):
        p, q = dot(s_old, s), dot(s_old, s_old - s)
        return self.rate * newton_factor(p, q, self.gamma, self.factor_max)  # (13)
