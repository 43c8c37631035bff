"""Adam: an averaged gradient over the root of its averaged square, each average freed of its bias; and its repairs.

Problem
    minimise f(x) = E f_i(x) from noisy gradients of very different size. All operations below are meant coordinate by
    coordinate; v, ε and ε_r are those of `diagonal`, whose RMSProp is the start.

Derivation
    RMSProp divides one noisy gradient by the root of an average. Average the gradient as well:

        m ← β₁ m + (1 - β₁) g,    v ← β₂ v + (1 - β₂) g²,    m = v = 0 at the start.                    (1)

    The weights in m add up to 1 - β₁ᵗ only, those in v to 1 - β₂ᵗ: the averages are biased towards their start.
    Divide that out:

        m̂ = m/(1 - β₁ᵗ),    v̂ = v/(1 - β₂ᵗ),                                                         (2)
        d = -η m̂,    η = lr / (√(v̂ + ε_r) + ε).                                                      (3)

    The bound on which AdaGrad rests wants rates that never grow, and with (1) they do: after one large gradient v
    falls, and many small ones in the wrong direction outweigh the large one. AMSGrad, as published, keeps the largest
    v, and corrects no bias:

        w ← max{w, v},    w = 0 at the start,                                                        (4)
        d = -η m,    η = lr / (√(w + ε_r) + ε).                                                      (5)

    PyTorch corrects after the maximum, so that rates grow again while no new one comes; optax before it:

        d = -η m̂,    η = lr / (√(w/(1 - β₂ᵗ) + ε_r) + ε),                                             (6)
        w ← max{w, v̂},    d = -η m̂,    η = lr / (√(w + ε_r) + ε).                                     (7)

    CUS-Adam leaves the bias in m, and only there, so that steps are short at first. m = (1 - β₁ᵗ) m̂, hence it is
    Adam with lr warmed up by 1 - β₁ᵗ, within some 1/(1 - β₁) steps:

        d = -η m = -(1 - β₁ᵗ) η m̂,    η as in (3).                                                    (8)

Rule
    Adam (1)-(3); AMSGradOriginal (1), (4)-(5); AMSGrad, PyTorch's, (1)-(2), (4), (6); AMSGradCorrected, optax's,
    (1)-(2), (7); CUSAdam (1)-(2), (8). `eta` reports η, one number per coordinate, computed when asked. Defaults are
    PyTorch's.

Assumes
    AMSGrad (5), with β₁ = 0 and lr_t = lr/√t, convex f_t on a box of side D: regret at most
    D²√T/(2lr) Σ_i √w_{T,i} + (lr/2) Σ_t Σ_i g_t²/√(t w_t). Where ε = ε_r = 0, a constant factor in the gradient changes
    nothing, even a different one in each coordinate.

Fails when
    (1 - β₂) g² overflows (in float32 from 5.8e20 on): v stays infinite, and that coordinate rests for ever; v̂ is, from
    1.8e19 on, for up to some hundred steps. lr is constant: |d| ≈ lr also next to the solution. With β₁ = β₂ = 0 and ε
    = 0 Adam is -lr sign(g), and on x²/2 can jump between ±lr/2 for ever; under a constant gradient every step of Adam
    is -lr sign(g), whatever t is. Gradients that grow like (β₂/β₁)ᵗ drive it fastest: |d| ≤ 7.3 lr for the default β.
    Rare large gradients: on f_t = 3x at every third step and -x otherwise, x in [-1, 1], from 1 on, Adam with β₁ = 0,
    β₂ = 0.1 and lr_t = lr/√t is back at 1, the worst point, after every three; AMSGrad goes to -1.

Cost
    One gradient a step. Memory: m and v; w too in AMSGrad. No host synchronisation.

Differs from the paper / from the authors' code in
    Reddi et al. have no ε. Sasse's eq. 2.18 omits ε, Algorithm 2.2 has it; eq. 2.17, |d| ≲ lr, is no bound, and eqs.
    2.20 and A.5, d → 0, are wrong: see above. CUS-Adam with AMSGrad, which the thesis' code allows, is AMSGrad with
    the warmed-up lr. CLR-Adam there is Adam(Cycle(1e-4, 0.03, n)), by a scheduler of its own: see `schedules`.

References
    D. P. Kingma, J. Ba 2015, Adam, arXiv:1412.6980. L. Balles, P. Hennig 2018, Dissecting Adam, arXiv:1705.07774.
    S. J. Reddi, S. Kale, S. Kumar 2018, On the convergence of Adam and beyond, arXiv:1904.09237.
    R. Sasse, Investigating the influence of learning rates on the learning speed of neural networks
    (thesis), section 2.3, Algorithm 2.2, section 3.2. J. Liang et al. 2020, section 4.1.3.
"""

from dataclasses import dataclass
from typing import ClassVar

from ..arrays import deferred, elementwise, namespace
from ..checks import fraction
from ..rule import Rate
from .diagonal import Diagonal


@elementwise
def moments(m, v, g, beta1, beta2):
    """Return the new averages of the gradient and of its square, both (n,)."""
    return beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g  # (1)


def unbiased(average, beta, t):
    """Return an average (n,) of t terms over the sum of their weights."""
    return average / (1 - beta**t)  # (2)


@dataclass
class Adam(Diagonal):
    """RMSProp with an averaged gradient, and both averages freed of their bias."""

    lr: Rate = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999

    paper = "Kingma & Ba 2015; Sasse Algorithm 2.2"
    vectors: ClassVar[tuple[str, ...]] = ("m", "v")

    def __post_init__(self):
        super().__post_init__()
        fraction(beta1=self.beta1, beta2=self.beta2)

    @elementwise
    def update(self, m, v, g):
        return moments(m, v, g, self.beta1, self.beta2)  # (1)

    @elementwise
    def last_rates(self, _m, v):
        return self.rates(unbiased(v, self.beta2, self.t))  # (3)

    @deferred
    def along(self, _g, m, *squares):
        return -self.last_rates(m, *squares) * unbiased(m, self.beta1, self.t)  # (3), (6), (7)


@dataclass
class AMSGradOriginal(Adam):
    """Adam whose rates never grow: it keeps the largest v, and the bias of both averages."""

    paper = "Reddi et al. 2018"
    vectors = ("m", "v", "w")

    @elementwise
    def update(self, m, v, w, g):
        m, v = moments(m, v, g, self.beta1, self.beta2)  # (1)
        return m, v, namespace(v).maximum(w, v)  # (4)

    @elementwise
    def last_rates(self, _m, _v, w):
        return self.rates(w)  # (5), (7)

    @deferred
    def along(self, _g, m, *squares):
        return -self.last_rates(m, *squares) * m  # (5), (8)


@dataclass
class AMSGrad(AMSGradOriginal):
    """AMSGradOriginal with both biases corrected after the maximum, as in PyTorch."""

    paper = "PyTorch's Adam, amsgrad; Liang et al. section 4.1.3"

    @elementwise
    def last_rates(self, _m, _v, w):
        return self.rates(unbiased(w, self.beta2, self.t))  # (6)

    along = Adam.along


@dataclass
class AMSGradCorrected(AMSGradOriginal):
    """AMSGradOriginal with both biases corrected before the maximum, as in optax."""

    paper = "optax's amsgrad"

    @elementwise
    def update(self, m, v, w, g):
        m, v = moments(m, v, g, self.beta1, self.beta2)  # (1)
        return m, v, namespace(v).maximum(w, unbiased(v, self.beta2, self.t))  # (7)

    along = Adam.along


@dataclass
class CUSAdam(Adam):
    """Adam with the bias left in the averaged gradient: lr warmed up by 1 - beta1^t."""

    paper = "Sasse section 3.2"

    along = AMSGradOriginal.along
