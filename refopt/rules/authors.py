"""As the authors' own code runs, where it departs from their paper.

Each class changes a line or two of the rule it derives from, marked `departs`, and says what the change
costs. They exist so that published numbers can be reproduced step by step, and the difference seen.
"""

from dataclasses import dataclass

from ..arrays import dot, namespace, ratio
from .alig import ALIG
from .sps import SPSSmooth


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
    """ALIG as the PyTorch code runs: a loss below its infimum gives a negative step, uphill.

    It climbs until the loss is 0 again. The authors' TensorFlow version clips at 0, if it has a maximal rate.
    """

    paper = "Berrada et al. 2020, github.com/oval-group/ali-g"

    def excess(self, f, oracle):
        return self.gap(f, oracle)  # departs: no maximum with 0
