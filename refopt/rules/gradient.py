"""A step of size lr against the gradient, and ways of adding memory to it.

Problem
    minimise f, L-smooth: |∇f(x) - ∇f(y)| ≤ L |x - y|.

Derivation
    Smoothness bounds f by a paraboloid that touches it at x (the descent lemma):

        f(x + d) ≤ f(x) + ⟨g, d⟩ + (L/2) |d|²,    g = ∇f(x).                                        (1)

    The right side is smallest at d = -g / L, and falls below f(x) for every

        d = -lr g,    0 < lr < 2/L.                                                                  (2)

    On f = λx²/2 each step of (2) multiplies x by 1 - lr λ. Modes with λ ≪ 1/lr hardly move, while 2/L
    forbids a larger lr. A sum of past gradients, each of which loses a factor μ < 1 in every step, moves them
    further: where the gradient stays the same g the terms add up to g (1 + μ + μ² + ...) = g/(1 - μ), where it
    alternates only to g/(1 + μ).

        b ← μ b + g,    b = 0 at the start,                                                          (3)
        d = -lr b.                                                                                   (4)

    PyTorch can damp every gradient but the first:

        b ← μ b + (1 - damping) g,    b = g in the first step.                                       (5)

    An average instead of the sum keeps the size of a gradient. While μ is constant m = (1 - μ) b, so it
    takes the steps of (4) with lr (1 - μ) in place of lr:

        m ← μ m + (1 - μ) g,    m = 0 at the start,                                                  (6)
        d = -lr m.                                                                                   (7)

    The third convention carries the displacement itself, and so keeps the old lr in it. It takes the
    steps of (4) while lr is constant:

        v ← μ v - lr g,                                                                              (8)
        d = v.                                                                                       (9)

    Nesterov asks for the gradient where the momentum is about to lead:

        v ← μ v - lr ∇f(x + μ v),    d = v.                                                          (10)

    Follow the point y = x + μ v at which the gradient is taken. From one step to the next, with v⁺ the new
    v, it moves by (x + v⁺ + μ v⁺) - (x + μ v) = μ v⁺ - lr g, since v⁺ = μ v - lr g. With v = -lr b, and
    constant μ and lr, that is

        b ← μ b + g,                                                                                 (11)
        d = -lr (g + μ b),                                                                           (12)

    which needs no second point: frameworks run this form, and their parameters are y, not x.

Rule
    GradientDescent (2); HeavyBall (3)-(4); HeavyBallDamped (5); HeavyBallEMA (6)-(7);
    HeavyBallVelocity (8)-(9); NesterovLookAhead (10); Nesterov (11)-(12). The defaults lr = 0.1, μ = 0.9
    are customary first guesses, and no more.

Assumes
    f smooth. With lr = 1/L, (2) has f(x_t) - f* ≤ L |x₀ - x*|² / (4t + 2) for convex f, and
    f(x_t) - f* ≤ (1 - m/L)ᵗ (f(x₀) - f*) where |g|² ≥ 2m (f - f*), convex or not. For m-strongly convex f and
    κ = L/m, (10)-(12) with lr = 1/L and μ = (√κ - 1)/(√κ + 1) have the rate (1 - 1/√κ)ᵗ; on quadratics
    (3)-(4) with lr = 4/(√L + √m)² and μ = ((√κ - 1)/(√κ + 1))² converge like t μ^(t/2).

Fails when
    lr is too large. Stable on quadratics are: (2), lr L < 2; (4) and (9), lr L < 2 (1 + μ); (7),
    lr L < 2 (1 + μ)/(1 - μ); (10)-(12), lr L < 2 (1 + μ)/(1 + 2μ), which is less than 2. Heavy ball with the
    optimal constants of a quadratic can cycle for ever on a strongly convex f that is not one (Lessard et
    al., section 4.6).

Cost
    One gradient a step. Memory: none; one vector with momentum. No host synchronisation.

Differs from the paper / from the authors' code in
    Sasse's eq. 2.12 divides a sum of u - l + 1 terms by u - l; here f is a mean. Runs called SGD were HeavyBall in the
    code: Sasse's with μ cycled between 0.9 and 0.8 by a scheduler's default (of random rates, 0.9), Retsinas et al.'s
    with μ = 0.8 and weight decay 5e-4. HeavyBallDamped with damping = μ is not (6)-(7), because its first buffer is g,
    not (1 - μ) g.

References
    A. Cauchy 1847; H. Robbins, S. Monro 1951, A stochastic approximation method.
    B. T. Polyak 1964, Some methods of speeding up the convergence of iteration methods.
    Y. Nesterov 1983; 2018, Lectures on convex optimization, sections 1.2 and 2.2.
    Y. Drori, M. Teboulle 2014, Performance of first-order methods for smooth convex minimization.
    H. Karimi, J. Nutini, M. Schmidt 2016, Linear convergence under the Polyak-Łojasiewicz condition.
    I. Sutskever, J. Martens, G. Dahl, G. Hinton 2013, On the importance of initialization and momentum.
    L. Lessard, B. Recht, A. Packard 2016, Analysis and design of optimization algorithms via integral
    quadratic constraints, arXiv:1408.3595.
    R. Sasse, Investigating the influence of learning rates on the learning speed of neural networks
    (thesis), eqs. 2.9-2.16. J. Liang et al. 2020, eqs. 2, 4. G. Retsinas et al., section 3.
"""

from dataclasses import dataclass

from ..arrays import deferred, elementwise, namespace
from ..checks import fraction, fraction_rate, positive_rate
from ..rule import Rate, Rule, at


@deferred
def against(v, lr):
    """Return the displacement (n,) against a vector v (n,)."""
    return -lr * v  # (2), (4), (7)


@dataclass
class GradientDescent(Rule):
    """d = -lr g: steepest descent, or SGD where the oracle draws mini-batches."""

    lr: Rate = 0.1

    paper = "Cauchy 1847; Robbins & Monro 1951; Sasse eq. 2.13"
    steered = True
    units = {"lr": (-1, -2)}

    def __post_init__(self):
        positive_rate(lr=self.lr)

    def step(self, x, oracle):
        _f, g = oracle(x)
        self.eta = at(self.lr, self.t)
        self.t += 1
        return against(g, self.eta)  # (2)


@dataclass
class Momentum(GradientDescent):
    """What the rules with memory share: a vector m (b, v in their derivation), and two formulas, of m and of d."""

    mu: Rate = 0.9

    def __post_init__(self):
        super().__post_init__()
        fraction_rate(mu=self.mu)

    def start(self, x, oracle):
        super().start(x, oracle)
        self.m = namespace(x).zeros_like(x)

    def step(self, x, oracle):
        _f, g = oracle(x)
        return self.moved(g)

    def moved(self, g):
        """Return the displacement (n,) after the gradient g (n,)."""
        self.eta, mu = at(self.lr, self.t), at(self.mu, self.t)
        self.m = self.remember(self.m, g, mu, self.eta, reuse=[self.m])
        self.t += 1
        return self.along(self.m, g, mu, self.eta)

    @staticmethod
    @elementwise
    def remember(m, g, mu, lr):
        """Return the new m (n,)."""
        raise NotImplementedError

    @staticmethod
    def along(m, g, mu, lr):
        """Return the displacement (n,) by the new m."""
        return against(m, lr)  # (4), (7)


@dataclass
class HeavyBall(Momentum):
    """Gradient descent along a decaying sum of gradients: the classical momentum of frameworks."""

    paper = "Polyak 1964; PyTorch's SGD"

    @staticmethod
    @elementwise
    def remember(b, g, mu, lr):
        return mu * b + g  # (3)


@dataclass
class HeavyBallDamped(HeavyBall):
    """HeavyBall whose gradients, after the first, enter with weight 1 - damping: PyTorch's dampening."""

    damping: float = 0.0

    paper = "PyTorch's SGD, dampening"

    def __post_init__(self):
        super().__post_init__()
        fraction(damping=self.damping)

    def step(self, x, oracle):
        _f, g = oracle(x)
        return self.moved((1 - self.damping) * g if self.t else g)  # (5)


@dataclass
class HeavyBallEMA(Momentum):
    """Heavy ball with an average in place of the sum: lr keeps its meaning whatever mu is."""

    paper = "Sasse eqs. 2.14-2.16"

    @staticmethod
    @elementwise
    def remember(m, g, mu, lr):
        return mu * m + (1 - mu) * g  # (6)


@dataclass
class HeavyBallVelocity(Momentum):
    """Heavy ball that carries the displacement: a change of lr reaches only the gradients to come."""

    paper = "Polyak 1964"
    steered = False

    @staticmethod
    @elementwise
    def remember(v, g, mu, lr):
        return mu * v - lr * g  # (8)

    @staticmethod
    def along(v, g, mu, lr):
        return v  # (9)


@dataclass
class NesterovLookAhead(HeavyBallVelocity):
    """HeavyBallVelocity with the gradient taken at x + mu v: Nesterov's method as Sutskever writes it."""

    paper = "Nesterov 1983; Sutskever et al. 2013"

    def step(self, x, oracle):
        _f, g = oracle(x + at(self.mu, self.t) * self.m)
        return self.moved(g)  # (10)


@dataclass
class Nesterov(Momentum):
    """NesterovLookAhead in the coordinates of its look-ahead point: the form frameworks run."""

    paper = "Nesterov 1983; Liang et al. section 4.1.3"

    @staticmethod
    @elementwise
    def remember(b, g, mu, lr):
        return mu * b + g  # (11)

    @staticmethod
    @deferred
    def along(b, g, mu, lr):
        return -lr * (g + mu * b)  # (12)
