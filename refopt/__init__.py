"""refopt: learning-rate rules, each written line by line from its derivation, on one flat vector.

An oracle answers (`oracle`, `problems`), a rule asks and proposes (`rule`, `rules/`), one loop moves
(`descend`):

    from refopt import PROBLEMS, SPSMax, descend

    problem = PROBLEMS["quadratic"]()
    for step in descend(SPSMax(), problem, problem.x0):
        print(step.t, step.f - problem.f_star, step.eta)
        if step.t == 10:
            break
"""

from .arrays import array_module, dot, elementwise, namespace, ratio, to_device, to_host
from .descend import NonFiniteError, Step, descend
from .oracle import FiniteSum, Oracle, Recorded, Shuffled
from .problems import PROBLEMS
from .rule import Rule
from .rules.alig import ALIG, ALIGAdjusted
from .rules.authors import ALIGUnclipped, SPSSmoothReleased
from .rules.gradient import (
    GradientDescent,
    HeavyBall,
    HeavyBallDamped,
    HeavyBallEMA,
    HeavyBallVelocity,
    Nesterov,
    NesterovLookAhead,
)
from .rules.polyak import PSS, Polyak, PSSDelta, PSSDeltaLiteral, PSSGamma
from .rules.schedules import (
    Cosine,
    Cycle,
    CycleAsPrinted,
    DecayingCycle,
    Every,
    Exponential,
    HalvingCycle,
    InverseTime,
    Linear,
    MultiStep,
    OneCycle,
    Random,
    Schedule,
)
from .rules.sps import SPS, DecSPS, MoMo, SPSMax, SPSPlus, SPSSmooth
from .sets import Ball, Box, Halfspace, Simplex
from .wrappers import L2, AllReduce, Centralized, Clip, Constrained, Level

__version__ = "0.1.0"

RULES: list[type[Rule]] = [
    GradientDescent, HeavyBall, HeavyBallDamped, HeavyBallEMA, HeavyBallVelocity, NesterovLookAhead, Nesterov,
    Polyak, PSS, PSSGamma, PSSDelta, PSSDeltaLiteral,
    SPS, SPSMax, SPSSmooth, SPSPlus, DecSPS, MoMo,
    ALIG, ALIGAdjusted,
    SPSSmoothReleased, ALIGUnclipped,
]  # fmt: skip
"""Every rule class, in reading order."""

SCHEDULES: list[type[Schedule]] = [
    InverseTime, MultiStep, Exponential, Linear, Cosine,
    Cycle, HalvingCycle, DecayingCycle, CycleAsPrinted, OneCycle, Random, Every,
]  # fmt: skip
"""Every schedule class, in reading order."""

__all__ = [
    "ALIG", "ALIGAdjusted", "ALIGUnclipped", "AllReduce", "array_module", "Ball", "Box", "Centralized", "Clip",
    "Constrained", "Cosine", "Cycle", "CycleAsPrinted", "DecayingCycle", "DecSPS", "descend", "dot", "elementwise",
    "Every", "Exponential", "FiniteSum", "GradientDescent", "Halfspace", "HalvingCycle", "HeavyBall",
    "HeavyBallDamped", "HeavyBallEMA", "HeavyBallVelocity", "InverseTime", "L2", "Level", "Linear", "MoMo",
    "MultiStep", "namespace", "Nesterov", "NesterovLookAhead", "NonFiniteError", "OneCycle", "Oracle", "Polyak",
    "PROBLEMS", "PSS", "PSSDelta", "PSSDeltaLiteral", "PSSGamma", "Random", "ratio", "Recorded", "Rule", "RULES",
    "Schedule", "SCHEDULES", "Shuffled", "Simplex", "SPS", "SPSMax", "SPSPlus", "SPSSmooth", "SPSSmoothReleased",
    "Step", "to_device", "to_host",
]  # fmt: skip
