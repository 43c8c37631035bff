"""Newton's step with the curvature taken from two gradients: one learning rate for each coordinate, none to choose.

Problem
    find a root of φ, or minimise f, by Newton's step without second derivatives.

Derivation
    The last two points are known: let the line through them stand for the tangent,

        φ'(x_t) ≈ (φ(x_t) - φ(x_{t-1})) / (x_t - x_{t-1}),                                           (1)
        x_{t+1} = x_t - φ(x_t) (x_t - x_{t-1}) / (φ(x_t) - φ(x_{t-1})).                              (2)

    For a minimum of f take φ = f', in both places.

    In n variables `newton` divides a direction d, coordinate by coordinate, by H d: α_i = d_i/(H d)_i, and
    d_i = -α_i g_i is the step. Let d be the last move s = x_t - x_{t-1}. What H does to it is nearly what
    it did to the gradient; exactly, with the mean of H along the way,

        a = g_t - g_{t-1} = ∫₀¹ H(x_{t-1} + τ s) dτ · s,                                             (3)
        α_i = s_i / a_i.                                                                             (4)

    In one variable this is (2) for f'. Like Newton it goes to the next root of the gradient, be it a
    minimum or not: where f is concave along the i-th coordinate, α_i < 0 and it climbs. The same length
    against the gradient leads away from maxima, and the step makes at most a right angle with -g:

        α_i = |s_i / a_i|.                                                                           (5)

    The first step has no past. Let it be as if a step of rate lr had led here from a zero gradient,

        s = -lr g,    a = g,                                                                         (6)

    so that α = lr. A coordinate that did not move has s_i = 0, hence α_i = 0, and never moves again; it
    needs a new s_i, and gets it as in (6):

        s_i ← -lr g_i where s_i = 0.                                                                 (7)

    a_i changes sign where s_i does not, through noise or through the other coordinates, and near there α_i
    is huge and means nothing. Such coordinates wait:

        α_i ← 0 unless α_i < threshold.                                                              (8)

Rule
    secant (2), in one variable; SecondOrderDirectionalSecant (3), (5)-(7); SimpleAdaSecant with (8);
    SimpleAdaSecantLiteral (3), (5), (6), (8), without (7). 0/0 and x/0 give α_i = 0.

Assumes
    (2): φ' ≠ 0 at the root, two points near it; then the order is (1 + √5)/2 = 1.618. (5): the Hessian
    nearly diagonal, one function. On Σ λ_i (x_i - b_i)²/2 the second step has α_i = 1/λ_i and ends at b, from
    anywhere. In one variable, where f is convex, (5) takes the steps of both rules of Barzilai and Borwein; in
    n it is their rule for each coordinate on its own.

Fails when
    threshold ≤ lr: the first rate is zeroed, and without noise nothing ever moves. λ_i ≤ 1/threshold without
    noise: α_i = 1/λ_i is zeroed, s_i = a_i = 0 from then on, and neither rule moves the coordinate again. (7)
    helps where g_i changes though x_i does not: on mini-batches, or through other coordinates. Off the
    diagonal there is no theorem, and on mini-batches a holds the difference of two samples: within tens of
    steps rounding is amplified by orders of magnitude. Near a maximum (5) doubles the distance in every
    step.

Cost
    secant: one φ a step. The rules: one gradient a step, two vectors. No host synchronisation.

Differs from the paper / from the authors' code in
    Sasse's eqs. 2.38-2.39 have f' above and differences of f below, a secant step for neither; Algorithm 3.2 writes g'
    for g_last: undefined in it, and the next batch's gradient everywhere else. It writes the last update where (3) has
    the move that happened, the same thing without projections. (7) and lr are ours, the latter 1 in eqs. 3.2-3.3. The
    thresholds were 3 and 10; zeroing, (8), was found to work better than clipping, for no known reason. The code never
    stores the update, so what ran is |g_i/(g_i - g_last_i)|: `authors.SimpleAdaSecantReleased`, and in the saved
    notebook that times g/|g|: `authors.SimpleAdaSecantNormalized`. Which of the two made the tables cannot be told.
    The rate plotted there is a mean over tensors of their means, not the Euclidean norm the figures name.

References
    J. M. Ortega, W. C. Rheinboldt 1970, Iterative solution of nonlinear equations in several variables.
    C. Gulcehre, M. Moczulski, Y. Bengio 2014, ADASECANT: robust adaptive secant method for stochastic
    gradient, arXiv:1412.7419.
    R. Sasse, Investigating the influence of learning rates on the learning speed of neural networks
    (thesis), eqs. 2.35-2.40, 3.1-3.3, Algorithm 3.2, section 4.5.
"""

from dataclasses import dataclass
from math import inf

from ..arrays import elementwise, namespace, ratio
from ..checks import cap, positive
from ..rule import Rule


def secant(phi, x, x_next):
    """Yield the secant method's points x₂, x₃, ... for a root of phi, from x = x₀ and x_next = x₁.

    All numbers are of one kind that can be divided: float, Decimal, Fraction. Ends where the line is level.
    """
    y, y_next = phi(x), phi(x_next)
    while y_next != y:
        x, x_next = x_next, x_next - y_next * (x_next - x) / (y_next - y)  # (2)
        y, y_next = y_next, phi(x_next)
        yield x_next


@dataclass
class SecondOrderDirectionalSecant(Rule):
    """|s_i/a_i| for each coordinate: the last move over what it did to the gradient."""

    lr: float = 1.0

    paper = "Sasse eq. 2.40"
    units = {"lr": (-1, -2)}
    threshold = inf

    def __post_init__(self):
        positive(lr=self.lr)

    def start(self, x, oracle):
        super().start(x, oracle)
        self.last_x, self.last_g = x.copy(), namespace(x).zeros_like(x)

    def move(self, x, g):
        """Return s (n,) at x with gradient g, both (n,)."""
        return self.moved(x, self.last_x, self.lr, g)

    def step(self, x, oracle):
        _f, g = oracle(x)
        self.eta, d = self.update(self.move(x, g), g, self.last_g, self.threshold)
        self.last_x, self.last_g = x.copy(), g
        self.t += 1
        return d

    @staticmethod
    @elementwise
    def moved(x, last_x, lr, g):
        """Return the move (n,) from last_x to x; in the first step the two are equal."""
        s = x - last_x
        return namespace(x).where(s == 0, -lr * g, s)  # (6), (7)

    @staticmethod
    @elementwise
    def update(s, g, last_g, threshold):
        """Return the rates and the displacement, both (n,)."""
        xp, alpha = namespace(s), abs(ratio(s, g - last_g))  # (3), (5)
        alpha = xp.where(alpha < threshold, alpha, xp.zeros_like(alpha))  # (8)
        return alpha, -alpha * g


@dataclass
class SimpleAdaSecant(SecondOrderDirectionalSecant):
    """SecondOrderDirectionalSecant without the rates that reach a threshold: they become 0, not the threshold."""

    threshold: float = 10.0

    paper = "Sasse eqs. 3.1-3.3"
    units = {"lr": (-1, -2), "threshold": (-1, -2)}

    def __post_init__(self):
        super().__post_init__()
        cap(threshold=self.threshold)


@dataclass
class SimpleAdaSecantLiteral(SimpleAdaSecant):
    """SimpleAdaSecant to the letter: a coordinate that does not move once never moves again."""

    paper = "Sasse Algorithm 3.2, to the letter"

    def move(self, x, g):
        return x - self.last_x if self.t else -self.lr * g  # (6)
