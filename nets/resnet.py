"""Residual networks: layers that add to a signal what it lacks, instead of making it anew.

A block adds F(x) to x. But for the ReLU that most put behind the sum its Jacobian is I + F', so signals and gradients
find a direct way through, and nets of over a hundred layers could be trained (He, Zhang, Ren & Sun 2016, "Deep residual
learning for image recognition", arXiv:1512.03385). Where F changes the shape of x, a 1 x 1 convolution takes the place
of x.

Convolutions start from PyTorch's default, as the nets of the source papers did that say nothing else, or from another
law, `weight`: torchvision's from He's normal one with fan_out. The last layer starts from PyTorch's default everywhere.
All nets take images of any size, and end in a mean over all pixels.

Shapes: images (N, H, W, C), logits (N, K).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from . import ops
from .image_layers import BatchNorm, Conv2d, GlobalAvgPool, MaxPool2d
from .initial import torch_uniform
from .layers import Dropout, Layer, Linear, Sequential
from .tensor import Initial


def convolution(inputs: int, outputs: int, size: int, stride: int = 1, weight: Initial = torch_uniform) -> Conv2d:
    """Return a convolution that keeps the size of images, up to the stride, and has no bias: a batch norm is near."""
    return Conv2d(inputs, outputs, size, stride, size // 2, weight=weight, bias=None)


# --- blocks ----------------------------------------------------------------------------------------------------------


class Residual(Layer):
    """ReLU(norm(body(x)) + shortcut(x)), the shortcut being x, or a 1 x 1 convolution with batch norm of it."""

    def __init__(self, body: Sequential, inputs: int, outputs: int, stride: int, weight: Initial):
        self.body = body
        self.norm = BatchNorm(outputs, relu=True)
        self.shortcut = Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = Sequential(convolution(inputs, outputs, 1, stride, weight), BatchNorm(outputs))

    def __call__(self, x, mode):
        plus = self.shortcut(x, mode.inside(2))
        return self.norm(self.body(x, mode.inside(0)), mode.inside(1), plus)


class BasicBlock(Residual):
    """Two 3 x 3 convolutions: C channels -> `width`, the first with the stride (He et al., figure 2)."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int = 1, weight: Initial = torch_uniform):
        body = Sequential(
            convolution(inputs, width, 3, stride, weight), BatchNorm(width, relu=True),
            convolution(width, width, 3, weight=weight),
        )  # fmt: skip
        super().__init__(body, inputs, width, stride, weight)


class Bottleneck(Residual):
    """1 x 1, 3 x 3 and 1 x 1 convolutions: C channels -> `width` -> 4 `width` (He et al., figure 5).

    The stride is in the 3 x 3 convolution, as in torchvision; in the paper it is in the first, which throws three
    pixels out of four away unseen.
    """

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int = 1, weight: Initial = torch_uniform):
        body = Sequential(
            convolution(inputs, width, 1, weight=weight), BatchNorm(width, relu=True),
            convolution(width, width, 3, stride, weight), BatchNorm(width, relu=True),
            convolution(width, 4 * width, 1, weight=weight),
        )  # fmt: skip
        super().__init__(body, inputs, 4 * width, stride, weight)


class PreActivation(Layer):
    """x + F(ReLU(norm(x))), and nothing behind the sum; F: 3 x 3 convolution, norm, ReLU, dropout, 3 x 3 convolution.

    He, Zhang, Ren & Sun 2016, "Identity mappings in deep residual networks" (arXiv:1603.05027), and dropout as in wide
    residual networks. Where the shape changes, a 1 x 1 convolution of ReLU(norm(x)) takes the place of x.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1, dropout: float = 0.0):
        self.norm = BatchNorm(inputs, relu=True)
        self.body = Sequential(
            convolution(inputs, outputs, 3, stride), BatchNorm(outputs, relu=True), Dropout(dropout),
            convolution(outputs, outputs, 3),
        )  # fmt: skip
        self.shortcut = None if stride == 1 and inputs == outputs else convolution(inputs, outputs, 1, stride)

    def __call__(self, x, mode):
        active = self.norm(x, mode.inside(0))
        plus = x if self.shortcut is None else self.shortcut(active, mode.inside(2))
        return ops.add(self.body(active, mode.inside(1)), plus)


# --- nets ------------------------------------------------------------------------------------------------------------


Stem = Callable[[int, int, Initial], list[Layer]]
"""The first layers of a net: by the numbers of their inputs and outputs, and the law of their weights."""


def small_stem(inputs: int, width: int, weight: Initial) -> list[Layer]:
    """Return the first layers for images of 32 x 32 pixels: a 3 x 3 convolution, which keeps them all."""
    return [convolution(inputs, width, 3, weight=weight), BatchNorm(width, relu=True)]


def imagenet_stem(inputs: int, width: int, weight: Initial) -> list[Layer]:
    """Return the first layers for images of 224 x 224 pixels, as published: 7 x 7 at stride 2, pool to a quarter."""
    first = convolution(inputs, width, 7, 2, weight)
    return [first, BatchNorm(width, relu=True), MaxPool2d(3, stride=2, padding=1)]


def resnet(
    block: type[BasicBlock] | type[Bottleneck], repeats: Sequence[int], shape: tuple[int, ...], classes: int,
    *, stem: Stem = small_stem, weight: Initial = torch_uniform, width: int = 64,
) -> Sequential:  # fmt: skip
    """Return a stem, stages of blocks, and a linear layer on the mean of all pixels.

    Parameters
    ----------
    block : what the stages are made of
    repeats : blocks in each stage; from one stage to the next the channels double and the sides of images halve
    shape, classes : (H, W, C) of the images; K
    stem : the first layers
    weight : law of the initial weights of convolutions
    width : channels of the stem, and of the convolutions of the first stage
    """
    layers, inputs = stem(shape[2], width, weight), width
    for stage, count in enumerate(repeats):
        for k in range(count):
            layers.append(block(inputs, width * 2**stage, 2 if stage and k == 0 else 1, weight))
            inputs = width * 2**stage * block.expansion
    return Sequential(*layers, GlobalAvgPool(), Linear(inputs, classes, torch_uniform, torch_uniform))


def resnet18(
    shape: tuple[int, ...] = (32, 32, 3), classes: int = 10,
    *, stem: Stem = small_stem, weight: Initial = torch_uniform, width: int = 64,
) -> Sequential:  # fmt: skip
    """ResNet-18 for CIFAR: 11,173,962 parameters, as in table 2 of Liang et al.

    King, "Using the Polyak step size in training convolutional neural networks", whose set-up has not come down to us;
    Sasse, "Investigating the influence of learning rates on the learning speed of neural networks", section 3.1, with
    the nets of pytorch-cifar, and before that, in appendix A.2, torchvision's: resnet18(stem=imagenet_stem,
    weight=he_normal_out), 11,181,642 parameters; Liang, Xu, Bao, Quan and Ji, "Barzilai-Borwein-based adaptive learning
    rate for deep learning", section 4.1.2, with He's normal law: resnet18(weight=he_normal_out).
    """
    return resnet(BasicBlock, (2, 2, 2, 2), shape, classes, stem=stem, weight=weight, width=width)


def resnet34(shape: tuple[int, ...] = (32, 32, 3), classes: int = 10) -> Sequential:
    """ResNet-34 for CIFAR: 21,282,122 parameters.

    Loizou, Vaswani, Laradji and Lacoste-Julien 2021, "Stochastic Polyak step-size for SGD" (arXiv:2002.10542), and with
    their code Berrada, Zisserman and Kumar, "Comment on stochastic Polyak step-size: performance of ALI-G", section 2.
    """
    return resnet(BasicBlock, (3, 4, 6, 3), shape, classes)


def resnet50(
    shape: tuple[int, ...] = (32, 32, 3), classes: int = 10,
    *, stem: Stem = small_stem, weight: Initial = torch_uniform,
) -> Sequential:  # fmt: skip
    """ResNet-50 for CIFAR: 23,520,842 parameters, and for 1000 classes 25,549,352; with `imagenet_stem` 25,557,032.

    Sasse on CIFAR-10 and CIFAR-100; Liang et al. on ImageNet at 32 x 32 and 224 x 224 pixels, with the counts of their
    table 2 and He's normal law, resnet50(weight=he_normal_out); Retsinas, Sfikas, Filntisis and Maragos, "Newton-based
    trainable learning rate", section 3, on ImageNet.
    """
    return resnet(Bottleneck, (3, 4, 6, 3), shape, classes, stem=stem, weight=weight)


def wide_resnet(
    depth: int, factor: int, shape: tuple[int, ...] = (32, 32, 3), classes: int = 10, dropout: float = 0.0
) -> Sequential:
    """Return three stages of (depth - 4) / 6 pre-activation blocks, of 16, 32 and 64 times `factor` channels.

    Zagoruyko & Komodakis 2016, "Wide residual networks" (arXiv:1605.07146).

    Parameters
    ----------
    depth : convolutions, 1 + 6 n of n blocks a stage, and one on the shortcut of each stage; so 4 more than a multiple
        of 6
    factor : how much wider than a thin ResNet it is
    shape, classes : (H, W, C) of the images; K
    dropout : probability of zeroing a channel's pixel between the two convolutions of a block
    """
    if depth < 10 or (depth - 4) % 6:
        raise ValueError(f"the depth of a wide ResNet must be 4 more than a multiple of 6, such as 16, got {depth}")
    layers: list[Layer] = [convolution(shape[2], 16, 3)]
    inputs = 16
    for stage in range(3):
        for k in range((depth - 4) // 6):
            outputs = 16 * factor * 2**stage
            layers.append(PreActivation(inputs, outputs, stride=2 if stage and k == 0 else 1, dropout=dropout))
            inputs = outputs
    last = [BatchNorm(inputs, relu=True), GlobalAvgPool(), Linear(inputs, classes, torch_uniform, torch_uniform)]
    return Sequential(*layers, *last)


def wrn_16_4(shape: tuple[int, ...] = (32, 32, 3), classes: int = 10) -> Sequential:
    """WRN-16-4 for CIFAR: 2,748,890 parameters.

    Retsinas et al., section 3, on CIFAR-100. Their code differs: a dropout of 0.1 right behind the first convolution of
    a block, the stride in the second one, and a shortcut from x itself.
    """
    return wide_resnet(16, 4, shape, classes)
