"""What to train, on what, and where: the options of a run, and everything they name, built."""

from __future__ import annotations

from dataclasses import dataclass
from types import NoneType
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import numpy as np

from refopt import L2, Ball, Clip, Constrained, Oracle, Shuffled, array_module
from refopt.arrays import Array

from .augment import AUGMENTS
from .checkpoint import RunError
from .data import load
from .engine import Engine
from .gpu_engine import GpuEngine
from .models import named
from .oracle import NetOracle

KINDS = {int: "an integer", float: "a number", bool: "True or False", str: "a text", NoneType: "None"}


@dataclass(frozen=True)
class Options:
    """What to train, on what, and where; the rule comes apart from it."""

    model: str = "mlp"
    """The net: mlp, mlp-retsinas, mlp-liang, lenet, alexnet, vgg11, resnet18, resnet18-liang, resnet18-imagenet-stem,
    resnet34, resnet50 or wrn-16-4; any other depth and width, too. It takes its inputs and outputs from the data."""
    data: str = "digits"
    """The data: digits (embedded), mnist, cifar10 or cifar100 (looked for in folder REFOPT_DATA, then downloaded); or,
    to try things out, cifar10-small or cifar100-subset (only in REFOPT_DATA)."""
    epochs: int = 20
    """Passes over the training data."""
    batch: int = 32
    """Samples in a mini-batch."""
    seed: int = 0
    """Of initial weights, order of samples, augmentation, dropout, and the choice of validation part and samples."""
    device: Literal["cpu", "gpu", "auto"] = "cpu"
    """Where to compute; auto takes a GPU if there is one that works."""
    dtype: Literal["float32", "float64"] = "float32"
    """Of parameters, gradients and activations."""
    precision: Literal["fp32", "tf32"] = "fp32"
    """Of products in float32 convolutions on a GPU; tf32 keeps 10 binary places of their factors, and is faster."""
    validation: float = 0.0
    """Share of the training data set aside; its loss and accuracy are reported beside the test data's."""
    fold: int = 0
    """Which part is set aside: with a validation of 0.1, the folds 0 to 9 are a ten-fold cross-validation."""
    samples: int | None = None
    """How many of the images left to train on; by default all."""
    scaling: Literal["standard", "unit"] = "standard"
    """Of pixels: to mean 0 and deviation 1 of each channel of the training data, or from 0 to 1."""
    augment: Literal["none", "flip", "crop-flip"] = "none"
    """Of each mini-batch: left and right turned round by chance, or also images moved by up to 4 pixels."""
    drop_last: bool = False
    """Leave out the last mini-batch of an epoch if it is smaller."""
    weight_decay: float = 0.0
    """Coefficient λ of (λ/2)|x|² added to the loss."""
    clip: float | None = None
    """Largest norm of the data's gradient; longer ones are scaled down to it. Not for Polyak's kind of rule."""
    ball: float | None = None
    """Radius of the ball around 0 in which the parameters are kept."""
    threads: int | None = None
    """Threads on a CPU; by default one for each core, and one for a single matrix product while these are small."""

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(Options).items():
            value = getattr(self, name)
            if isinstance(value, np.generic):
                object.__setattr__(self, name, value := value.item())  # JSON knows Python's own numbers
            _demand_kind(name, hint, value)
        for name in ("epochs", "batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"threads must be at least 1, got {self.threads}")
        if self.seed < 0:
            raise ValueError(f"seed must be a number >= 0, got {self.seed}")
        named(self.model)

    @classmethod
    def saved(cls, settings: dict[str, Any]) -> Options:
        """Return the options in the settings of a checkpoint; RunError if they are not this version's."""
        try:
            return cls(**settings["options"])
        except (TypeError, ValueError) as error:
            raise RunError(f"the options in the checkpoint are not those of this version: {error}") from error


def _demand_kind(name: str, hint: Any, value: Any) -> None:
    """Refuse a value that is not of the type in the annotation; an integer is a number, too."""
    kinds = get_args(hint) or (hint,)
    if get_origin(hint) is Literal:
        words, fits = f"one of {', '.join(kinds)}", isinstance(value, str) and value in kinds
    else:
        words = " or ".join(KINDS[kind] for kind in kinds)
        fits = type(value) in kinds or (float in kinds and type(value) is int)
    if not fits:
        raise ValueError(f"{name} must be {words}, got {value!r}")


class Setup(NamedTuple):
    """Everything `Options` name, built."""

    net: NetOracle
    oracle: Oracle
    theta: Array
    parts: dict[str, tuple[Array, Array]]
    """What is evaluated after every epoch, images and labels by name, where the net is."""


def setup(options: Options) -> Setup:
    """Load the data, build the net, and compose the oracle."""
    xp, dtype = array_module(options.device), np.dtype(options.dtype)
    data = load(options.data, options.validation, options.seed, fold=options.fold, samples=options.samples)
    parts = {"train": (data.x_train, data.y_train), "test": (data.x_test, data.y_test)}
    if len(data.y_valid):
        parts["valid"] = (data.x_valid, data.y_valid)
    parts = {name: (xp.asarray(images), xp.asarray(labels)) for name, (images, labels) in parts.items()}
    model = named(options.model)(data.x_train.shape[1:], data.classes)
    order = Shuffled(len(data.y_train), options.batch, options.seed, options.drop_last)
    engine = Engine(options.threads) if xp is np else GpuEngine(options.precision)
    scale = data.scale if options.scaling == "standard" else (0, data.x_train.max())
    net = NetOracle(
        model, *parts["train"], order, scale=scale, augment=AUGMENTS[options.augment], seed=options.seed,
        xp=xp, dtype=dtype, engine=engine,
    )  # fmt: skip
    oracle: Oracle = net
    if options.clip is not None:
        oracle = Clip(oracle, options.clip)
    if options.weight_decay:
        oracle = L2(oracle, options.weight_decay)
    if options.ball is not None:
        oracle = Constrained(oracle, Ball(options.ball))
    return Setup(net, oracle, net.layout.initial(options.seed, dtype, xp), parts)
