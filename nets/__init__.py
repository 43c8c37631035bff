"""A network stack small enough to read in an evening.

In reading order:

    tensor    a value that knows where it came from; `backward`
    ops       each operation: value and vector-Jacobian product side by side
    layers    Linear, activations, Dropout, Flatten, Sequential; the laws of initial weights
    losses    softmax cross-entropy, squared error
    flat      all parameters in one vector theta: named views, gradients written in place, save and load
    models    multilayer perceptrons, and how each paper's differs
    oracle    a net and its mini-batches as an oracle
    data      data sets: found, verified, split, standardised
    train     the loop around `refopt.descend`; options, logs and checkpoint beside it
    cli       the command line
"""

from . import ops
from .flat import Layout
from .layers import (
    Dropout,
    Flatten,
    Layer,
    Linear,
    Mode,
    ReLU,
    Sequential,
    Sigmoid,
    Tanh,
    glorot_normal,
    glorot_uniform,
    he_normal,
    lecun_normal,
    torch_uniform,
    zeros,
)
from .losses import check_labels, softmax_cross_entropy, squared_error
from .models import MODELS, liang_mlp, mlp, retsinas_mlp, small_mlp
from .tensor import Parameter, Tensor

__all__ = [
    "MODELS",
    "Dropout",
    "Flatten",
    "Layer",
    "Layout",
    "Linear",
    "Mode",
    "Parameter",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Tanh",
    "Tensor",
    "check_labels",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "lecun_normal",
    "liang_mlp",
    "mlp",
    "ops",
    "retsinas_mlp",
    "small_mlp",
    "softmax_cross_entropy",
    "squared_error",
    "torch_uniform",
    "zeros",
]
