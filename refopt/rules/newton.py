"""Follow the tangent to its root: in one variable, in n, and along one direction.

Problem
    find a root of φ, of one variable or of n; or minimise f, whose minimisers are roots of the gradient g.

Derivation
    Near x, a smooth φ of one variable is nearly its tangent,

        φ(u) ≈ φ(x) + φ'(x) (u - x),                                                                 (1)

    whose root is Newton's next point:

        x⁺ = x - φ(x)/φ'(x).                                                                         (2)

    With φ = f' it looks for a minimum of f: the parabola that touches f to second order has its vertex there.

    In n variables (1) holds with the gradient ∇φ, and the tangent plane vanishes on a whole hyperplane.
    From x along a direction d it is reached at (Levin and Ben-Israel)

        x⁺ = x - φ / ⟨∇φ, d⟩ · d,                                                                    (3)

    a way of length |φ| |d| / |⟨∇φ, d⟩|. That is shortest, by Cauchy and Schwarz, for d = ∇φ. To bring a
    function f down to a level f* take φ = f - f*:

        η = (f - f*) / |g|²,    x⁺ = x - η g.                                                        (4)

    This is Polyak's step, found without convexity and without a minimum in mind.

    At a minimum, n functions vanish: the components g_i of the gradient. Their gradients h_i are the rows
    of the Hessian H. Newton solves the n tangent planes together,

        H p = -g,    x⁺ = x + p.                                                                     (5)

    n products with H, one for each unit vector, give its columns. If H is singular the planes meet in many points, or
    in none; the pseudo-inverse takes the nearest point of the least residual, p = -H† g.

    Or let (3) solve each plane alone, all with one d, and keep from the i-th solution its i-th coordinate:

        α_i = d_i / ⟨h_i, d⟩ = d_i / (H d)_i,                                                        (6)
        x_i⁺ = x_i - α_i g_i.                                                                        (7)

    One product H d gives all n denominators. Where d is a multiple of H⁻¹ g, (7) is Newton's step, exactly;
    where H is diagonal, α_i = 1/h_ii for every d with d_i ≠ 0. The best guess of where the solution lies is
    the last move; (6) keeps a coordinate that did not move where it is, so that one gets its own gradient:

        d_i = (x_t - x_{t-1})_i, and -g_i where that is 0, as in the first step.                     (8)

Rule
    newton (2), in one variable; DirectionalNewton (4); Newton (5); SecondOrderDirectionalNewton (6)-(8), where
    (H d)_i = 0 gives α_i = 0. f_star=None takes f* from the problem. `newton(df, ddf, x)` minimises.

Assumes
    (2): φ' ≠ 0 at the root and x near it. Then the error is squared in every step, e⁺ ≈ φ''/(2φ') e²; for the
    square root of a, φ = x² - a, e⁺ = e²/(2x) exactly. (4) has the order of (2) where ∇φ ≠ 0 at the root; on
    |x|² - 1 it is Heron's iteration for |x|. (5) has order 2, too, where H is invertible at the solution and
    Lipschitz; a quadratic it solves in one step. (6)-(7): H nearly diagonal, or d nearly along H⁻¹ g.

Fails when
    the root is multiple: f - f* at a minimum has a double one, and (2), (4) only halve the error; twice the step
    restores the order (`SPS` with c = 1/2; on cosh x - 1 it is even cubic). φ' vanishes on the way: the tangent leads
    far off. (4) goes uphill where f < f*, for it wants the level, and runs away where the level does not exist. (5)
    and (6) are signed: x may climb, to a maximum or a saddle point, which are roots of the gradient too. (H d)_i near
    0 gives a step of any length, and off the diagonal this happens: there is no theorem for (6)-(8) on general
    quadratics. Far from the solution (5) overshoots: on √(1 + x²), from |x| > 1 on, ever further. Singular values of H
    below ε^(2/3) of the largest, ε the rounding of a number, count as 0: differences of gradients know no better.

Cost
    newton: φ and φ' a step. DirectionalNewton: one gradient and one inner product. Newton: one gradient, n
    Hessian-vector products, n² numbers and O(n³) operations: for n up to 1000. Where the oracle has no such
    product of its own it is the difference of two gradients. SecondOrderDirectionalNewton: one gradient and
    one product; one vector. No host synchronisation.

Differs from the paper / from the authors' code in
    Sasse's eqs. 2.27-2.29 divide vectors by vectors: (6), as in eq. 2.30, is how to read them. The thesis takes d for
    the update itself in eqs. 2.33-2.34, a circle, and from 2.35 on for the last one; (8) takes the move that happened,
    after a projection, and the exception for coordinates at rest is ours. It has (5) only as what (6) avoids; it is
    here to be compared with.

References
    J. M. Ortega, W. C. Rheinboldt 1970, Iterative solution of nonlinear equations in several variables.
    E. Schröder 1870, Über unendlich viele Algorithmen zur Auflösung der Gleichungen.
    Y. Levin, A. Ben-Israel 2002, Directional Newton methods in n variables.
    R. Sasse, Investigating the influence of learning rates on the learning speed of neural networks
    (thesis), eqs. 2.25-2.34.
"""

from dataclasses import dataclass

from ..arrays import dot, elementwise, namespace, ratio
from ..checks import known
from ..rule import Rule


def newton(phi, dphi, x):
    """Yield Newton's points x₁, x₂, ... for a root of phi, from x = x₀ and the derivative dphi.

    All numbers are of one kind that can be divided: float, Decimal, Fraction. Ends where the tangent is level.
    """
    while (slope := dphi(x)) != 0:
        x = x - phi(x) / slope  # (2)
        yield x


@dataclass
class DirectionalNewton(Rule):
    """(f - f*)/|g|², of either sign: Newton's step along the gradient to the level f = f*."""

    f_star: float | None = None

    paper = "Levin & Ben-Israel 2002; Sasse eq. 2.26"
    units = {"f_star": (1, 0)}

    def __post_init__(self):
        known(f_star=self.f_star)

    def step(self, x, oracle):
        f, g = oracle(x)
        self.eta = ratio(self.gap(f, oracle), dot(g, g))  # (4)
        self.t += 1
        return -self.eta * g


@dataclass
class Newton(Rule):
    """-H⁻¹ g: all n tangent planes at once, by the whole Hessian."""

    paper = "Ortega & Rheinboldt 1970; Sasse section 2.6"
    units = {}

    def start(self, x, oracle):
        if len(x) > 1000:
            raise ValueError(
                f"Newton builds the whole Hessian, here of {len(x)} variables:"
                " pass SecondOrderDirectionalNewton, which needs one product with it, or at most 1000 variables"
            )
        super().start(x, oracle)

    def step(self, x, oracle):
        _f, g = oracle(x)
        xp = namespace(x)
        H = xp.stack([oracle.hvp(x, e) for e in xp.eye(len(x), dtype=x.dtype)])
        rounding = float(xp.finfo(x.dtype).eps) ** (2 / 3)  # of differences of gradients, in units of |H|
        p = -xp.linalg.pinv(H, rounding) @ g  # (5)
        self.eta = 1.0
        self.t += 1
        return xp.where((H == 0).all(axis=1), xp.zeros_like(p), p)  # no rounding where f does not depend on x_i


@dataclass
class SecondOrderDirectionalNewton(Rule):
    """d_i/(H d)_i for each coordinate, with the last move for d: the Hessian's rows, one at a time."""

    paper = "Sasse eqs. 2.30-2.32"
    units = {}

    def start(self, x, oracle):
        super().start(x, oracle)
        self.last_x = x.copy()

    def step(self, x, oracle):
        _f, g = oracle(x)
        d = self.direction(x, self.last_x, g)
        Hd = oracle.hvp(x, d)
        self.last_x, self.eta, step = self.update(x, g, d, Hd, reuse=[self.last_x])
        self.t += 1
        return step

    @staticmethod
    @elementwise
    def direction(x, last_x, g):
        """Return the move (n,) from last_x to x, with -g in its place where it is 0."""
        move = x - last_x
        return namespace(g).where(move == 0, -g, move)  # (8)

    @staticmethod
    @elementwise
    def update(x, g, d, Hd):
        """Return a copy of x, the rates and the displacement, all (n,)."""
        eta = ratio(d, Hd)  # (6)
        return +x, eta, -eta * g  # (7)
