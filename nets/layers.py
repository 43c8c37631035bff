"""Layers: what a net is made of.

A layer holds parameters, other layers and numbers, and is called as layer(x, mode). It keeps nothing
between calls: the arrays of its parameters are bound to views of theta by `flat.Layout`, and everything
random is a function of `mode`. The one exception is what batch norm remembers for evaluation: its buffers, which
move only in a call whose mode says so.

Layers of images are in `image_layers`. Shapes: N batch, D inputs, K outputs; images are (N, H, W, C).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from refopt.arrays import Array, namespace

from . import ops
from .initial import he_normal, zeros
from .tensor import Initial, Parameter, Tensor


@dataclass(frozen=True)
class Mode:
    """How a forward call is meant: everything it depends on besides x and theta, and in evaluation the buffers.

    Two calls of training with equal modes and the same engine give bit-equal answers, so a mask belongs to the draw,
    not to the call.
    """

    train: bool = False
    """Whether this is a call of training: dropout does nothing otherwise."""
    seed: int = 0
    """Seed of everything random, >= 0."""
    draw: int = 0
    """Number of the mini-batch draw the call belongs to, >= 0."""
    path: tuple[int, ...] = ()
    """Which layer is asked, by its place in the net: layers at different places get different masks."""
    update: bool = False
    """Whether running statistics move: true for one call after each draw."""
    engine: Any = field(default=None, compare=False, repr=False)
    """What computes the hot operations in their fast form; None computes them by their plain text."""

    def inside(self, k: int) -> Mode:
        """Return the mode for the k-th layer of the one this mode is for."""
        return replace(self, path=(*self.path, k))


class Layer:
    """A function of x with parameters: those of its attributes that are parameters or layers, in order of assignment.

    Attributes that are tensors, but no parameters, are buffers: what it remembers from one call to the next.

    Several layers in one attribute are a `Sequential`, not a list. A layer that calls others hands the k-th of them
    `mode.inside(k)`.
    """

    def __call__(self, x: Tensor, mode: Mode) -> Tensor:
        """Return the value of the layer at x."""
        raise NotImplementedError

    def parts(self) -> dict[str, object]:
        """Attributes by name, in order, among which parameters and layers are looked for."""
        return vars(self)

    def parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Yield (name, parameter) in order; a parameter of a part is named part.name."""
        return ((name, part) for name, part in self._tensors() if isinstance(part, Parameter))

    def buffers(self) -> Iterator[tuple[str, Tensor]]:
        """Yield (name, buffer) in order, likewise."""
        return ((name, part) for name, part in self._tensors() if not isinstance(part, Parameter))

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        for name, part in self.parts().items():
            if isinstance(part, Tensor):
                yield name, part
            elif isinstance(part, Layer):
                yield from ((f"{name}.{inner}", tensor) for inner, tensor in part._tensors())


class Linear(Layer):
    """X (N, D) -> X W + b (N, K), with W (D, K) and b (K,).

    PyTorch keeps the transposed weight (K, D). Here a row of W belongs to an input, the formula reads as
    it is written, and the weight gradient Xᵀ G is one matrix product into its place in the flat gradient.

    Parameters
    ----------
    inputs, outputs : D and K
    weight, bias : laws of their initial values
    """

    def __init__(self, inputs: int, outputs: int, weight: Initial = he_normal, bias: Initial = zeros):
        self.inputs, self.outputs = inputs, outputs
        self.weight = Parameter((inputs, outputs), weight, inputs, outputs)
        self.bias = Parameter((outputs,), bias, inputs, outputs)

    def __call__(self, x, mode):
        """Return X W + b; ValueError if x is not (N, D)."""
        if x.data.shape[1:] != (self.inputs,):
            raise ValueError(
                f"Linear({self.inputs}, {self.outputs}) expects an input of shape (N, {self.inputs}), "
                f"got {x.data.shape}: images go through Flatten() first"
            )
        return ops.affine(x, self.weight, self.bias)


class ReLU(Layer):
    """max(x, 0), element by element."""

    def __call__(self, x, mode):
        return ops.relu(x)


class Tanh(Layer):
    """The hyperbolic tangent, element by element."""

    def __call__(self, x, mode):
        return ops.tanh(x)


class Sigmoid(Layer):
    """1 / (1 + exp(-x)), element by element."""

    def __call__(self, x, mode):
        return ops.sigmoid(x)


class Flatten(Layer):
    """(N, H, W, C) -> (N, H W C): row by row, the channels of a pixel side by side."""

    def __call__(self, x, mode):
        return ops.reshape(x, (x.data.shape[0], -1))


class Dropout(Layer):
    """In training, zero each element with probability `rate` and scale the others by 1 / (1 - rate).

    The expected value is x, so evaluation leaves x as it is (inverted dropout; Srivastava et al. 2014,
    Journal of Machine Learning Research 15, section 10).
    """

    def __init__(self, rate: float):
        if not 0 <= rate < 1:
            raise ValueError(f"the rate of Dropout must be a number in [0, 1), got {rate!r}")
        self.rate = rate

    def __call__(self, x, mode):
        if not mode.train or self.rate == 0:
            return x
        keep = 1 - self.rate
        kept = random_bits(x.data, mode) < int(keep * 2**32)
        return ops.multiply(x, Tensor(kept.astype(x.data.dtype) * (1 / keep)))


def random_bits(x: Array, mode: Mode) -> Array:
    """32 random bits for each element of x, as uint32 in its shape: a pure function of mode and element index i.

    Two words (a, c) are hashed from seed, draw and place in the net; i is sent to a i + c (a odd) and mixed by two
    rounds of multiply and xor-shift (the constants are C. Wellons' hash-prospector "lowbias32"). Exact
    integer arithmetic: a CPU and a GPU get the same bits.
    """
    words = np.random.SeedSequence(mode.seed, spawn_key=(mode.draw, *mode.path)).generate_state(2)
    a, c = (int(word) for word in words)
    h = namespace(x).arange(x.size, dtype=np.uint32)
    h *= a | 1
    h += c
    h ^= h >> 16
    h *= 0x7FEB352D
    h ^= h >> 15
    h *= 0x846CA68B
    h ^= h >> 16
    return h.reshape(x.shape)


class Sequential(Layer):
    """Layers one after the other; the parameters of the k-th are named k.name."""

    def __init__(self, *layers: Layer):
        self.layers = layers

    def parts(self):
        """Return the layers by number."""
        return {str(k): layer for k, layer in enumerate(self.layers)}

    def __call__(self, x, mode):
        for k, layer in enumerate(self.layers):
            x = layer(x, mode.inside(k))
        return x
