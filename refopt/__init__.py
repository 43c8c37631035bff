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

from .arrays import dot, elementwise, namespace, ratio, to_device, to_host
from .descend import NonFiniteError, Step, descend
from .libsvm import REAL
from .oracle import FiniteSum, Oracle, Recorded, Shuffled
from .probe import array_module
from .problems import PROBLEMS, SPECIAL
from .rule import Rule
from .rules.adam import Adam, AMSGrad, AMSGradCorrected, AMSGradOriginal, CUSAdam
from .rules.adasecant import AdaSecant, AdaSecantLagged, AdaSecantTheory
from .rules.alig import ALIG, ALIGAdjusted
from .rules.authors import (
    AdamHDReleased,
    AdaSecantThesis,
    AdaSecantThesisCorrected,
    ALIGUnclipped,
    NTLRReleased,
    SimpleAdaSecantNormalized,
    SimpleAdaSecantReleased,
    SLSReleased,
    SPSSmoothReleased,
    StochasticBBReleased,
)
from .rules.barzilai_borwein import BB1, BB2, StochasticBB, StochasticBBBounded
from .rules.diagonal import AdaDelta, AdaGrad, RMSProp, RMSPropCentered, RMSPropMomentum
from .rules.gradient import (
    GradientDescent,
    HeavyBall,
    HeavyBallDamped,
    HeavyBallEMA,
    HeavyBallVelocity,
    Nesterov,
    NesterovLookAhead,
)
from .rules.hypergradient import (
    AdamHD,
    GradientDescentHD,
    HeavyBallHD,
    MultiplicativeHD,
    NesterovHD,
    WindowHD,
    WindowMultiplicativeHD,
    WindowSumHD,
)
from .rules.line_search import SLS, Armijo, Cauchy, Goldstein, SLSKeep, SLSRestart
from .rules.newton import DirectionalNewton, Newton, SecondOrderDirectionalNewton, newton
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
from .rules.secant import SecondOrderDirectionalSecant, SimpleAdaSecant, SimpleAdaSecantLiteral, secant
from .rules.sps import SPS, DecSPS, MoMo, SPSMax, SPSPlus, SPSSmooth
from .rules.switch import Switch
from .rules.trainable_rate import NTLR, NTLRConsecutive, NTLRLookAhead
from .sets import Ball, Box, Halfspace, Simplex
from .wrappers import L2, AllReduce, Centralized, Clip, Constrained, Level

__version__ = "0.1.0"

RULES: list[type[Rule]] = [
    GradientDescent, HeavyBall, HeavyBallDamped, HeavyBallEMA, HeavyBallVelocity, NesterovLookAhead, Nesterov,
    Cauchy, Armijo, SLSRestart, SLSKeep, SLS, Goldstein,
    Polyak, PSS, PSSGamma, PSSDelta, PSSDeltaLiteral,
    SPS, SPSMax, SPSSmooth, SPSPlus, DecSPS, MoMo,
    ALIG, ALIGAdjusted,
    GradientDescentHD, HeavyBallHD, NesterovHD, AdamHD, MultiplicativeHD, WindowHD, WindowSumHD, WindowMultiplicativeHD,
    DirectionalNewton, Newton, SecondOrderDirectionalNewton,
    NTLRLookAhead, NTLRConsecutive, NTLR,
    SecondOrderDirectionalSecant, SimpleAdaSecant, SimpleAdaSecantLiteral,
    AdaSecantTheory, AdaSecantLagged, AdaSecant,
    BB1, BB2, StochasticBB, StochasticBBBounded,
    AdaGrad, RMSProp, RMSPropMomentum, RMSPropCentered, AdaDelta,
    Adam, AMSGradOriginal, AMSGrad, AMSGradCorrected, CUSAdam,
    Switch,
    SPSSmoothReleased, ALIGUnclipped,
    SimpleAdaSecantReleased, SimpleAdaSecantNormalized, StochasticBBReleased,
    AdaSecantThesis, AdaSecantThesisCorrected,
    SLSReleased,
    AdamHDReleased, NTLRReleased,
]  # fmt: skip
"""Every rule class, in reading order."""

SCHEDULES: list[type[Schedule]] = [
    InverseTime, MultiStep, Exponential, Linear, Cosine,
    Cycle, HalvingCycle, DecayingCycle, CycleAsPrinted, OneCycle, Random, Every,
]  # fmt: skip
"""Every schedule class, in reading order."""

__all__ = [
    "AdaDelta", "AdaGrad", "Adam", "AdamHD", "AdamHDReleased", "AdaSecant", "AdaSecantLagged", "AdaSecantTheory",
    "AdaSecantThesis", "AdaSecantThesisCorrected", "ALIG", "ALIGAdjusted", "ALIGUnclipped", "AllReduce", "AMSGrad",
    "AMSGradCorrected", "AMSGradOriginal", "Armijo", "array_module", "Ball", "BB1", "BB2", "Box", "Cauchy",
    "Centralized", "Clip", "Constrained", "Cosine", "CUSAdam", "Cycle", "CycleAsPrinted", "DecayingCycle", "DecSPS",
    "descend", "DirectionalNewton", "dot", "elementwise", "Every", "Exponential", "FiniteSum", "Goldstein",
    "GradientDescent", "GradientDescentHD", "Halfspace", "HalvingCycle", "HeavyBall", "HeavyBallDamped",
    "HeavyBallEMA", "HeavyBallHD", "HeavyBallVelocity", "InverseTime", "L2", "Level", "Linear", "MoMo",
    "MultiplicativeHD", "MultiStep", "namespace", "Nesterov", "NesterovHD", "NesterovLookAhead", "Newton", "newton",
    "NonFiniteError", "NTLR", "NTLRConsecutive", "NTLRLookAhead", "NTLRReleased", "OneCycle", "Oracle", "Polyak",
    "PROBLEMS", "PSS", "PSSDelta", "PSSDeltaLiteral", "PSSGamma", "Random", "ratio", "REAL", "Recorded", "RMSProp",
    "RMSPropCentered", "RMSPropMomentum", "Rule", "RULES", "Schedule", "SCHEDULES", "secant",
    "SecondOrderDirectionalNewton", "SecondOrderDirectionalSecant", "Shuffled", "SimpleAdaSecant",
    "SimpleAdaSecantLiteral", "SimpleAdaSecantNormalized", "SimpleAdaSecantReleased", "Simplex", "SLS", "SLSKeep",
    "SLSReleased", "SLSRestart", "SPECIAL", "SPS", "SPSMax", "SPSPlus", "SPSSmooth", "SPSSmoothReleased", "Step",
    "StochasticBB", "StochasticBBBounded", "StochasticBBReleased", "Switch", "to_device", "to_host", "WindowHD",
    "WindowMultiplicativeHD", "WindowSumHD",
]  # fmt: skip
