"""The laws of initial values: how large a weight is, before anything is learnt.

A weight of an affine layer is one of `fan_in` that feed an output, and one of `fan_out` that an input feeds: for a
convolution of KH x KW windows these are KH KW Cin and KH KW Cout. Signals keep their variance on the way forward if
fan_in Var[w] = 1, gradients on the way back if fan_out Var[w] = 1, and both need twice that if a ReLU follows, which
drops half.

Each law is law(generator, shape, fan_in, fan_out) -> float64 array of that shape, on the host.
"""

from __future__ import annotations

import math

import numpy as np


def he_normal(rng: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int) -> np.ndarray:
    """N(0, 2 / fan_in): keeps the size of signals through ReLU layers (He et al. 2015, eq. 10, arXiv:1502.01852)."""
    return rng.normal(0.0, math.sqrt(2 / fan_in), shape)


def he_normal_out(rng: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int) -> np.ndarray:
    """N(0, 2 / fan_out): keeps the size of gradients through ReLU layers (He et al. 2015, eq. 14)."""
    return rng.normal(0.0, math.sqrt(2 / fan_out), shape)


def glorot_uniform(rng: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int) -> np.ndarray:
    """U(-a, a), a = sqrt(6 / (fan_in + fan_out)): between both directions of signals (Glorot & Bengio 2010, eq. 16)."""
    a = math.sqrt(6 / (fan_in + fan_out))
    return rng.uniform(-a, a, shape)


def glorot_normal(rng: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int) -> np.ndarray:
    """N(0, 2 / (fan_in + fan_out)): the variance of `glorot_uniform` (Glorot & Bengio 2010, eq. 12)."""
    return rng.normal(0.0, math.sqrt(2 / (fan_in + fan_out)), shape)


def lecun_normal(rng: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int) -> np.ndarray:
    """N(0, 1 / fan_in): unit variance in, unit variance out (LeCun, Bottou, Orr & Müller, Efficient BackProp, 4.6)."""
    return rng.normal(0.0, math.sqrt(1 / fan_in), shape)


def vgg_normal(rng: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int) -> np.ndarray:
    """N(0, 0.01²) whatever the fans: the affine layers of VGG, in torchvision's code and that of Liang et al.

    Simonyan & Zisserman 2015, section 3.1, have a variance of 10⁻².
    """
    return rng.normal(0.0, 0.01, shape)


def torch_uniform(rng: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int) -> np.ndarray:
    """U(-a, a), a = 1 / sqrt(fan_in): what PyTorch gives weights and biases unless told otherwise.

    Its source says kaiming_uniform(a=sqrt(5)) for the weight: a bound of sqrt(6 / ((1 + 5) fan_in)), the
    same. The variance is 1 / (3 fan_in), a sixth of He's.
    """
    a = math.sqrt(1 / fan_in)
    return rng.uniform(-a, a, shape)


def zeros(rng: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int) -> np.ndarray:
    """0 everywhere: the usual start of a bias."""
    return np.zeros(shape)


def ones(rng: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int) -> np.ndarray:
    """1 everywhere: the usual start of a scale."""
    return np.ones(shape)
