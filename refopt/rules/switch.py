"""One rule for some epochs, then another: large rates to leave sharp minima, a local method to finish.

Problem
    minimise a loss with many minima of very different curvature.

Derivation
    Near a minimum with curvature h a step of rate lr multiplies the distance by 1 - lr h, so x stays there only if

        lr h < 2.                                                                                     (1)

    A phase of large rates leaves every minimum sharper than that; what it is left in is wide. But it does not settle
    there: by then noise keeps x at a distance of order √lr, and a mode with h close to 2/lr hardly shrinks. A rule that
    finds the rate of every coordinate settles, but in whatever minimum is nearest, sharp or not. So take turns: with T
    steps in an epoch,

        the first n T steps are those of the first rule,                                              (2)
        from then on x moves by the second rule, started at the point the first has reached.          (3)

    The second is as fresh as if it had been started by hand: no momentum, no rate, no gradient is handed over, and
    its steps are counted from 0.

Rule
    Switch (2)-(3): by default gradient descent on one 25-cycle of [0.001, 1] (390 steps to an epoch), for 13 epochs,
    just past the middle of the cycle; then SimpleAdaSecant. Three phases are Switch(first, n, Switch(second, m,
    third)).

Assumes
    Of the problem what its two rules assume. Without epochs (a deterministic problem) every step counts as one.

Fails when
    the first phase ends at a rate that diverges on the problem at hand, or the second cannot take over from there: the
    first difference of gradients SimpleAdaSecant sees comes from a step of rate 1.

Cost
    That of the running rule; the memory of both. No host synchronisation, if neither has one.

Differs from the paper / from the authors' code in
    Sasse's text is followed, 13 of 100 epochs. The notebook is a draft: it switches after one epoch, on 128 images, and
    passes the length of the cycle in the wrong place. The first phase had its momentum cycled by a scheduler's default:
    HeavyBall(Cycle(0.001, 1.0, 9750), mu=Cycle(0.9, 0.8, 9750)), and the second ran as
    `authors.SimpleAdaSecantReleased(threshold=10)`. Version and threshold of the run in Figure 4.21 are not given.

References
    Sasse section 4.5.2, Figure 4.21. N. Keskar et al. 2017, On large-batch training for deep learning: generalization
    gap and sharp minima, arXiv:1609.04836.
"""

from dataclasses import dataclass, field, replace

from ..checks import count
from ..rule import Rule
from .gradient import GradientDescent
from .schedules import Cycle
from .secant import SimpleAdaSecant


@dataclass
class Switch(Rule):
    """`first` for `epochs` epochs, then `second`, which knows nothing of it.

    Copies of the two take the steps, `before` and `after`: the rules given stay as they are.
    """

    first: Rule = field(default_factory=lambda: GradientDescent(Cycle(0.001, 1.0, 25 * 390)))
    epochs: int = 13
    second: Rule = field(default_factory=SimpleAdaSecant)

    paper = "Sasse section 4.5.2"

    def __post_init__(self):
        for name, rule in (("first", self.first), ("second", self.second)):
            if not isinstance(rule, Rule):
                raise ValueError(f"{name} must be a rule, such as GradientDescent(0.1), got {rule!r}")
        count(epochs=self.epochs)

    def start(self, x, oracle):
        super().start(x, oracle)
        self.before, self.after = replace(self.first), replace(self.second)
        self.before.start(x, oracle)
        self.after.start(x, oracle)  # so that `state` has its names and shapes from the beginning

    def step(self, x, oracle):
        end = self.epochs * (oracle.steps_per_epoch or 1)
        phase = self.before if self.t < end else self.after  # (2), (3)
        if self.t == end:
            phase = replace(self.second)  # anew: the one there has seen where the first began
            phase.start(x, oracle)
        d = phase.step(x, oracle)
        if self.t == end:
            self.after = phase
        self.eta = phase.eta
        self.t += 1
        return d
