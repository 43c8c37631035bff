"""As the authors' own code runs, where it departs from their paper.

Each class runs as the code named in its `paper` does; the lines that differ from the rule it derives from are marked
`departs`, and the docstring says what they cost. Symbols and equation numbers are those of that rule: read it first.
The classes exist so that published numbers can be reproduced step by step, and the difference seen. All but one are
replayed against recordings of that code (`tests/golden/`); StochasticBBReleased was transcribed from it.

Departures without a class, because a wrapper, a field or the loop makes them, or nothing depends on them:

    SPS       Both ways of centring a gradient change the update, too (`Centralized`). A NaN for a loss takes the bound.
    SLS       Trials move the running statistics of batch norm, and reseed the generator so that dropout masks agree;
              here both follow the draw. Parameter groups are searched one after another.
    NTLR      A NaN stays in the rate for ever. The README has γ = 0.25, p = 0.33; whether the published curves had
              guard and cap is unknown.
    Liang     The code's τ_0 is 1, and its T counts steps, 400 unless given. Weight decay is written into the gradient.
    AdaSecant If the total norm is not finite, the code steps along 0.1 times the parameters.
    Thesis    Row i of a log holds the rate of step i + 1. Runs of random rate never advance their scheduler, so μ = 0.9
              throughout. The last partial batch is dropped everywhere. The code of the decay runs is not published.
"""

from dataclasses import dataclass
from math import inf

from ..arrays import dot, dots, elementwise, namespace, ratio, spread
from ..checks import nonnegative
from .adasecant import AdaSecantTheory, blocks
from .alig import ALIG
from .barzilai_borwein import StochasticBB
from .hypergradient import AdamHD
from .line_search import SLS
from .secant import SimpleAdaSecant
from .sps import SPSSmooth
from .trainable_rate import NTLR


@dataclass
class SPSSmoothReleased(SPSSmooth):
    """SPSSmooth as released: f* is ignored, and the first zero gradient freezes the run.

    The bound τ^φ γ_{k-1} takes γ_{k-1} = 0 after a step along a zero gradient, and 0 times anything stays
    0: from then on nothing moves. A negative loss gives a negative step, and then a negative bound.
    """

    paper = "Loizou et al. 2021, github.com/IssamLaradji/sps"
    units = None  # type: ignore[assignment]

    def step(self, x, oracle):
        f, g = oracle(x)
        xp, gg = namespace(x), dot(g, g)
        gamma = ratio(f, self.c * gg + self.eps)  # departs: f, not f - f*, and no maximum with 0
        gamma = xp.minimum(gamma, self.growth * self.last)
        self.eta = xp.where(gg < 1e-16, xp.zeros_like(gamma), gamma)  # departs: |g| < 1e-8 counts as 0
        self.last = self.eta  # departs: and that 0 is remembered
        self.t += 1
        return -self.eta * g


@dataclass
class ALIGUnclipped(ALIG):
    """ALIG as the PyTorch code runs: a loss below f* gives a negative step, uphill.

    The maximal rate does not bound it: near a minimum, where |g|² ≪ δ, it is (f - f*)/δ. It climbs until the loss is
    f* again. ALIGAdjusted runs the same way in their code. The authors' TensorFlow version clips at 0, if it has a
    maximal rate.
    """

    paper = "Berrada et al. 2020, github.com/oval-group/ali-g"

    def excess(self, f, oracle):
        return self.gap(f, oracle)  # departs: no maximum with 0


@dataclass
class SimpleAdaSecantReleased(SimpleAdaSecant):
    """SimpleAdaSecant as the thesis' code runs: the line that stores the last update is commented out.

    So every step takes -g for the last move, and α_i = |g_i/(g_i - g_last_i)| is a number without units, no secant.
    So it does not see the curvature: from 1 it halves x on x²/4 in every step, and diverges on 2x², 1, -3, 6, -10.
    In the AdaSecant notebook it steps along the gradient of the next batch, and throws the first away: 389 steps an
    epoch, of 390. Its saved state is SimpleAdaSecantNormalized(threshold=3), that of the switch this one with 10; which
    of them made the published curves cannot be told.
    """

    paper = "Sasse, github.com/AverageDude0815/BA, version 'delta'"
    units = None  # type: ignore[assignment]

    def move(self, x, g):
        return -self.lr * g  # departs: not the move that happened


@dataclass
class SimpleAdaSecantNormalized(SimpleAdaSecantReleased):
    """SimpleAdaSecantReleased with the gradient of every block divided by its norm after the rates are known.

    A block's step is between its least and largest rate long, however small its gradient is: with more than one
    coordinate it does not settle, even where SimpleAdaSecantReleased does. Without blocks the whole of x is one.
    """

    paper = "Sasse, github.com/AverageDude0815/BA, version 'gradient'"

    def step(self, x, oracle):
        d, g, parts = super().step(x, oracle), self.last_g, blocks(oracle)
        return d * spread(ratio(1, namespace(x).sqrt(dots(g, g, parts))), parts, x)  # departs: g/|g| in place of g


@dataclass
class StochasticBBReleased(StochasticBB):
    """StochasticBB as released: an epoch that hardly moved, or changed no gradient, keeps the rate it had.

    By the paper the size of the move does not matter; only where ⟨s, y⟩ = 0 is the rate no number, outside the window,
    and becomes τ_0/(k + 1). The bound is an absolute number: far enough from the units of a network, no rate is ever
    changed.
    """

    paper = "Liang et al. 2020, github.com/sherrycattt/bb_dl.pytorch"
    units = None  # type: ignore[assignment]

    def fit(self, s, y, k):
        tiny = self.T * abs(dot(s, y)) < 1e-10  # departs: s without its 1/T
        return namespace(s).where(tiny, self.rate, super().fit(s, y, k))


@dataclass
class AdaSecantThesis(AdaSecantTheory):
    """AdaSecantTheory as the thesis ran it: an epoch of plain steps first, and gradients that are never corrected.

    The averages run from the first step on, and `eta` reports their rate, also while it is not used. (What the thesis
    plots as its Euclidean norm is the mean over tensors of the mean over elements.) The plain steps give them
    something to see, and then the rates die as in the theory. (The correction is guarded by `epochs == 0`, a global
    that holds the number of epochs to run: no run that takes a step corrects.) The thesis' loop also skips the last
    batch of every epoch, which the batch before has looked at.
    """

    warmup: int | None = None

    paper = "Sasse, github.com/AverageDude0815/BA, AdaSecant"
    TINY = 1e-7  # departs: added to E[s²] in (7): moves shorter than 3e-4 are never forgotten, τ grows by 1 a step

    def __post_init__(self):
        if self.warmup is not None:
            nonnegative(warmup=self.warmup)

    def step(self, x, oracle):
        warmup = (oracle.steps_per_epoch or 1) if self.warmup is None else self.warmup
        d = super().step(x, oracle)
        return -0.01 * self.g if self.t <= warmup else d  # departs: SGD in the first epoch

    @staticmethod
    def correct(g, *rest):
        *averages, _c = AdaSecantTheory.correct(g, *rest)
        return *averages, g  # departs: not corrected


@dataclass
class AdaSecantThesisCorrected(AdaSecantThesis):
    """AdaSecantThesis with the corrected gradient, as the thesis describes it (Algorithm 3.1)."""

    paper = "Sasse, github.com/AverageDude0815/BA, AdaSecant with epochs = 0"

    correct = staticmethod(AdaSecantTheory.correct)


@dataclass
class SLSReleased(SLS):
    """SLS as released: a failed search moves x a little, uphill or not, and shortens the steps to come.

    After 100 rejected trials, by a value that is NaN for one, x moves by 1e-6 g and the next search begins with
    0.9^100 = 3e-5 of the step; growing back takes 15 epochs. On zero gradients the next first trial grows by τ^φ a
    step all the same.
    """

    paper = "Vaswani et al. 2019, github.com/IssamLaradji/sls"
    units = None  # type: ignore[assignment]
    c_below = inf  # departs: any c is taken, also one that no step satisfies

    def step(self, x, oracle):
        f, g = oracle(x)
        eta, rejected = self.growth * self.last, 0
        vanished = dot(g, g) < 1e-16  # departs: |g| < 1e-8 counts as 0
        while not vanished and rejected < 100:
            trial = oracle.project(x - eta * g)
            if oracle.value(trial) <= f + self.c * dot(g, trial - x):
                break
            eta, rejected = self.beta * eta, rejected + 1
        self.last = eta  # departs: found, or only tried, or grown along no gradient
        self.eta = 0.0 if vanished else eta if rejected < 100 else 1e-6  # departs: a step that passed no test
        self.t += 1
        return -self.eta * g


@dataclass
class AdamHDReleased(AdamHD):
    """AdamHD as released: the rate is corrected after every tensor, and the next one moves by the corrected rate.

    So the result depends on the order of the tensors, and the first of them never sees what the last ones say of
    this step. Without blocks the whole of x is one.
    """

    paper = "Baydin et al. 2018, github.com/gbaydin/hypergradient-descent"

    def start(self, x, oracle):
        super().start(x, oracle)
        self.rate = namespace(x).full_like(x, self.lr)

    def adapted(self, g, s, oracle):
        parts = blocks(oracle)
        rates, u = elementwise(lambda s, rate: (+rate, ratio(-s, rate)))(s, self.rate)
        rate = rates[parts[-1]][-1]
        for part in parts:
            rate = rate + self.meta_lr * dot(g[part], u[part])  # departs: tensor by tensor
            rates[part] = rate
        return rates


@dataclass
class NTLRReleased(NTLR):
    """NTLR as released: no guard, no cap, and a rate that first changes after 3K + 1 steps.

    The code asks whether |S_old|² < 0, not whether q < 0, and the cap is commented out. So where q < 0 the rate
    shrinks, and for |S_old|² < p < |S_old|²/(1 - γ) it turns negative, uphill; momentum in its first windows is enough
    for that. Where gradients hardly change it explodes, and the 1e-10 that should prevent it has units: with |S|² = 1
    it allows a factor of 2e9. A window begins one step late, and the first is thrown away. A share of less than one
    batch gives K = 0, and the rate never changes.
    """

    paper = "Retsinas et al., github.com/georgeretsi/NTLR"
    units = None  # type: ignore[assignment]

    def start(self, x, oracle):
        super().start(x, oracle)
        self.K = self.period or int(self.share * (oracle.steps_per_epoch or 1))  # departs: may be 0

    def due(self):
        return self.t == 1 if self.K == 0 else self.t > self.K and self.t % self.K == 1 % self.K  # departs: one late

    def look_back(self, x):
        rate, z, s = super().look_back(x)
        return rate, z, s * (self.t > self.K + 1)  # departs: the first window is not kept

    def adapted(self, s_old, s):
        p, q = dot(s_old, s), dot(s_old, s_old) - dot(s_old, s) + 1e-10
        return self.rate * (1 + self.gamma * p / q)  # departs: no guard, no cap
