"""Layers of images: convolution, batch norm, pooling.

Shapes: N batch, H, W, C channels, K outputs; images are (N, H, W, C).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from refopt.arrays import elementwise

from . import conv, ops
from .initial import he_normal, ones, zeros
from .layers import Layer
from .tensor import Initial, Parameter, Tensor


class Conv2d(Layer):
    """Images (N, H, W, C) -> (N, OH, OW, K): in each window of size x size pixels, the same affine map.

    PyTorch keeps the weight as (K, C, KH, KW) for its (N, C, H, W); here it is (K, KH, KW, C), since a row of a window
    holds the channels of its pixels side by side.

    Parameters
    ----------
    inputs, outputs : C and K
    size : KH = KW
    stride : pixels from one window to the next
    padding : pixels of a border of zeros around the image
    weight, bias : laws of their initial values; a bias of None is left out, as before a batch norm, which would take
        it away again
    """

    def __init__(
        self, inputs: int, outputs: int, size: int, stride: int = 1, padding: int = 0,
        *, weight: Initial = he_normal, bias: Initial | None = zeros,
    ):  # fmt: skip
        self.inputs, self.outputs, self.size, self.stride, self.padding = inputs, outputs, size, stride, padding
        fans = size * size * inputs, size * size * outputs
        self.weight = Parameter((outputs, size, size, inputs), weight, *fans)
        self.bias = None if bias is None else Parameter((outputs,), bias, *fans)

    def __call__(self, x, mode):
        """Return the convolution; ValueError if x is not (N, H, W, C), or with its border smaller than a window."""
        if x.data.ndim != 4 or x.data.shape[3] != self.inputs:
            raise ValueError(
                f"Conv2d({self.inputs}, {self.outputs}, {self.size}) expects images of shape (N, H, W, {self.inputs}), "
                f"got {x.data.shape}"
            )
        return (mode.engine or conv).conv2d(x, self.weight, self.bias, self.stride, self.padding)


class BatchNorm(Layer):
    """γ (x - μ) / σ + β, each channel with a mean and a variance; if asked, max(that, 0): (N, C) or (N, H, W, C).

    In training μ and σ² are those of the batch, and the gradient knows that they depend on x. Evaluation must not
    depend on who is in the batch: it takes running statistics, which the first training answer after a draw moves by

        running ← running + momentum (batch's - running),

    with M / (M - 1) times the batch's variance over M values, which has no bias (as in PyTorch; Ioffe & Szegedy 2015,
    algorithm 2, arXiv:1502.03167).

    Parameters
    ----------
    channels : C
    eps : added to the variance
    momentum : weight of the newest batch in the running statistics
    relu : whether a ReLU follows, as in every net here but on shortcuts
    """

    def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1, relu: bool = False):
        self.channels, self.eps, self.momentum, self.relu = channels, eps, momentum, relu
        self.gamma = Parameter((channels,), ones, 1, 1)
        self.beta = Parameter((channels,), zeros, 1, 1)
        self.running_mean = Tensor(np.zeros(channels, np.float32))
        self.running_var = Tensor(np.ones(channels, np.float32))

    def __call__(self, x, mode, plus=None):
        """Return the normalised x; `plus`, if given, is added before the ReLU: the shortcut of a residual block.

        ValueError if x is of another shape, or holds a single value of each channel to train on.
        """
        shape = x.data.shape
        if len(shape) not in (2, 4) or shape[-1] != self.channels:
            C = self.channels
            raise ValueError(f"BatchNorm({C}) expects an input of shape (N, {C}) or (N, H, W, {C}), got {shape}")
        if mode.train and (M := x.data.size // self.channels) == 1:
            raise ValueError(
                f"BatchNorm({self.channels}) needs at least 2 values of each channel to train on, got an input of "
                f"shape {shape}: take larger batches, and leave out a last one of a single sample (drop_last)"
            )
        given = None if mode.train else (self.running_mean.data, self.running_var.data)
        operands = x, self.gamma, self.beta, self.eps, self.relu, plus, given
        y, mean, variance = (mode.engine or ops).batch_norm_relu(*operands)
        if mode.train and mode.update:
            self._move(mean, variance, M / (M - 1))
        return y

    def _move(self, *new: Any) -> None:
        mean, variance = self.running_mean, self.running_var
        mean.data, variance.data = moved(mean.data, variance.data, self.momentum, *new)


@elementwise
def moved(mean, variance, momentum, new_mean, new_variance, bias):  # noqa: PLR0917
    """Return running statistics (C,) moved towards those of a batch, whose variance is `bias` times too small."""
    return mean + momentum * (new_mean - mean), variance + momentum * (new_variance * bias - variance)


class MaxPool2d(Layer):
    """The largest value of each channel in windows of size x size pixels, `stride` apart (by default, side by side)."""

    def __init__(self, size: int, stride: int | None = None, padding: int = 0):
        self.size, self.stride, self.padding = size, stride or size, padding

    def __call__(self, x, mode):
        """Return the maxima; ValueError if x is not (N, H, W, C), or with its border smaller than a window."""
        return (mode.engine or conv).max_pool2d(x, self.size, self.stride, self.padding)


class AvgPool2d(Layer):
    """The mean of each channel in windows of size x size pixels, `stride` apart (by default, side by side)."""

    def __init__(self, size: int, stride: int | None = None):
        self.size, self.stride = size, stride or size

    def __call__(self, x, mode):
        """Return the means; ValueError if x is not (N, H, W, C), or smaller than a window."""
        return (mode.engine or conv).avg_pool2d(x, self.size, self.stride)


class GlobalAvgPool(Layer):
    """The mean of each channel over all pixels: (N, H, W, C) -> (N, C)."""

    def __call__(self, x, mode):
        """Return the means; ValueError if x is not (N, H, W, C)."""
        return conv.global_avg_pool(x)
