"""Multilayer perceptrons, the general one and those of the source papers; and the names of all nets.

Images may come as (N, H, W, C): the first layer flattens them. The net returns logits; the softmax is in the loss.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

from .cnn import alexnet, lenet, vgg11
from .initial import he_normal, he_normal_out, lecun_normal, torch_uniform, zeros
from .layers import Dropout, Flatten, Layer, Linear, ReLU, Sequential
from .resnet import imagenet_stem, resnet18, resnet34, resnet50, wide_resnet, wrn_16_4
from .tensor import Initial


def mlp(
    sizes: Sequence[int],
    activation: Callable[[], Layer] = ReLU,
    weight: Initial = he_normal,
    bias: Initial = zeros,
    dropout: float = 0.0,
) -> Sequential:
    """Affine maps sizes[0] -> sizes[1] -> ... -> sizes[-1], with an activation and dropout between them.

    Parameters
    ----------
    sizes : inputs, hidden widths, outputs; at least two numbers
    activation : makes the layer that follows each affine map but the last
    weight, bias : laws of the initial values
    dropout : probability of zeroing a hidden unit in training
    """
    if not sizes[1:]:
        raise ValueError(f"sizes must hold at least the numbers of inputs and outputs, got {sizes!r}")
    *hidden, last = pairwise(sizes)
    layers: list[Layer] = [Flatten()]
    for inputs, outputs in hidden:
        layers += [Linear(inputs, outputs, weight, bias), activation()]
        if dropout:
            layers.append(Dropout(dropout))
    return Sequential(*layers, Linear(*last, weight, bias))


def small_mlp(shape: tuple[int, ...] = (8, 8, 1), classes: int = 10) -> Sequential:
    """64-256-10 with ReLU for the 8 x 8 digits: 19,210 parameters. Ours, for tests and first tutorials."""
    return mlp((math.prod(shape), 256, classes))


def retsinas_mlp(shape: tuple[int, ...] = (28, 28, 1), classes: int = 10) -> Sequential:
    """784-1000-10 for MNIST: 795,010 parameters, "a single hidden layer of width 1000".

    Retsinas, Sfikas, Filntisis and Maragos, "Newton-based trainable learning rate", section 3, after Vaswani et
    al. 2019 (arXiv:1905.09997). The paper does not give activation, dropout and initial weights: ReLU, none and
    PyTorch's default are those of the code of Vaswani et al., which however builds 784-512-256-10. So does the
    code of Retsinas et al., with a dropout of 0.5 that stays on while the test error is measured:
    mlp((784, 512, 256, 10), ReLU, torch_uniform, torch_uniform, dropout=0.5).
    """
    return mlp((math.prod(shape), 1000, classes), ReLU, torch_uniform, torch_uniform)


def liang_mlp(shape: tuple[int, ...] = (28, 28, 1), classes: int = 10) -> Sequential:
    """784-1024-1024-10 for MNIST: 1,863,690 parameters, as in their table 2.

    Liang, Xu, Bao, Quan and Ji, "Barzilai-Borwein-based adaptive learning rate for deep learning", section 4.1.2;
    the table counts the hidden layers alone. Initial weights by LeCun et al. (2012), as stated there, who leave the
    distribution open: normal here. Of biases the paper says nothing: 0; it names ReLU in one breath with LeNet, and
    this net has it too.
    """
    return mlp((math.prod(shape), 1024, 1024, classes), ReLU, lecun_normal, zeros)


MODELS: dict[str, Callable[[tuple[int, ...], int], Layer]] = {
    "mlp": small_mlp,
    "mlp-retsinas": retsinas_mlp,
    "mlp-liang": liang_mlp,
    "lenet": lenet,
    "alexnet": alexnet,
    "vgg11": vgg11,
    "resnet18": resnet18,
    "resnet18-liang": partial(resnet18, weight=he_normal_out),
    "resnet18-imagenet-stem": partial(resnet18, stem=imagenet_stem, weight=he_normal_out),
    "resnet34": resnet34,
    "resnet50": resnet50,
    "wrn-16-4": wrn_16_4,
}
"""By name: makes the net for samples of a shape (H, W, C) and a number of classes."""


def named(name: str) -> Callable[[tuple[int, ...], int], Layer]:
    """Return what makes the net of that name: one of MODELS, or a wide ResNet of any depth and factor, "wrn-28-10"."""
    if name in MODELS:
        return MODELS[name]
    if wide := re.fullmatch(r"wrn-(\d+)-([1-9]\d*)", name):
        return partial(wide_resnet, int(wide[1]), int(wide[2]))
    raise ValueError(f"model must be one of {', '.join(MODELS)}, or a wide ResNet such as wrn-28-10, got {name!r}")
