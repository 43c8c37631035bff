"""One vector for all parameters: theta (n,), and where each parameter of a net lies in it.

A rule sees a flat vector and writes its formula as the paper does; a net sees weights and biases. Both see
the same memory: parameters are reshaped views of theta, gradients are views of one flat gradient, and nothing
is ever copied between the two.

    theta:  | weight of layer 0 ... | 0 0 | bias of layer 0 ... | 0 | weight of layer 1 ...

Each parameter starts at a multiple of 32 elements (128 bytes of float32), so that a GPU loads it in whole
lines. The padding between them is 0 in theta and in every gradient, so inner products need no mask.

Shapes: n is `Layout.size`.
"""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from refopt.arrays import Array, Scalar, namespace, to_host
from refopt.oracle import Block

from .checkpoint import replacing
from .layers import Layer
from .tensor import Parameter, Tensor

ALIGN = 32


class Layout:
    """Where each parameter of `model` lies in theta, in the model's order; a parameter used twice has one place.

    Attributes
    ----------
    size : n, the length of theta, padding included
    blocks : (name, slice, shape) of each parameter, padding excluded
    """

    def __init__(self, model: Layer):
        names: dict[Parameter, str] = {}
        for name, parameter in model.parameters():
            names.setdefault(parameter, name)
        blocks, start = [], 0
        for parameter, name in names.items():
            stop = start + math.prod(parameter.shape)
            blocks.append(Block(name, slice(start, stop), parameter.shape))
            start = _aligned(stop)
        self.parameters, self.blocks, self.size = tuple(names), tuple(blocks), start

    def views(self, theta: Array) -> dict[str, Array]:
        """Return the parameters in theta (n,), or their parts of a gradient, by name: views, nothing is copied."""
        if theta.shape != (self.size,) or theta.dtype.kind != "f":
            raise ValueError(
                f"expected a vector of {self.size} floats, got shape {theta.shape} of {theta.dtype}: "
                "Layout.initial makes one, and Layout.load reads one"
            )
        return {block.name: theta[block.slice].reshape(block.shape) for block in self.blocks}

    def initial(self, seed: int, dtype: Any = np.float32, xp: ModuleType = np) -> Array:
        """Draw the initial theta (n,), each parameter by its own law and from its own generator, spawned from `seed`.

        Drawn in float64 on the host and then rounded, so that every dtype and device starts from the same point.
        """
        theta = np.zeros(self.size)
        generators = np.random.default_rng(seed).spawn(len(self.parameters))
        for view, p, rng in zip(self.views(theta).values(), self.parameters, generators, strict=True):
            view[...] = p.initial(rng, p.shape, p.fan_in, p.fan_out)
        return xp.asarray(theta.astype(dtype))

    def bind(self, theta: Array, gradient: Array | None = None) -> None:
        """Let the model compute at theta (n,), and `backward` write into `gradient` (n,); without one, f alone."""
        targets = [None] * len(self.parameters) if gradient is None else self.views(gradient).values()
        for p, data, into in zip(self.parameters, self.views(theta).values(), targets, strict=True):
            p.data, p.grad, p.into, p.needs_grad = data, None, into, gradient is not None

    def evaluate(self, theta: Array, loss: Callable[[], Tensor]) -> tuple[Scalar, Array]:
        """Return f (0-d) and its gradient, a new array (n,), at theta (n,); loss() is to compute f with the model.

        The gradient of a parameter that f does not depend on is 0. ValueError if f is not of theta's dtype.
        """
        gradient = namespace(theta).empty_like(theta)
        self.bind(theta, gradient)
        f = loss()
        if f.data.dtype != theta.dtype:
            raise ValueError(f"the loss is {f.data.dtype} at a {theta.dtype} theta: give the net data of theta's dtype")
        f.backward()
        for block, parameter in zip(self.blocks, self.parameters, strict=True):
            unwritten = block.slice.start if parameter.grad is None else block.slice.stop
            if unwritten < (end := _aligned(block.slice.stop)):
                gradient[unwritten:end] = 0
        return f.data, gradient

    def save(self, path: str | os.PathLike[str], theta: Array) -> None:
        """Write theta (n,) to `path` as .npz, one array per parameter, by name; a file there is replaced in one go.

        Running statistics are no parameters: a checkpoint has both.
        """
        arrays = {name: to_host(view) for name, view in self.views(theta).items()}
        with replacing(Path(path)) as file:
            np.savez(file, allow_pickle=False, **arrays)

    def load(self, path: str | os.PathLike[str], xp: ModuleType = np) -> Array:
        """Read theta (n,) as `save` wrote it, of the dtype it had; ValueError if it is not of this layout."""
        if not zipfile.is_zipfile(path):
            raise ValueError(f"{os.fspath(path)} is not an .npz file: give one that Layout.save wrote")
        with np.load(path) as archive:
            stored = dict(archive)
        there = {name: array.shape for name, array in stored.items()}
        here = {block.name: block.shape for block in self.blocks}
        for name in here | there:
            if here.get(name) != there.get(name):
                raise ValueError(
                    f"{os.fspath(path)} belongs to another model: parameter {name} is {there.get(name, 'missing')} "
                    f"there and {here.get(name, 'missing')} in this one"
                )
        theta = np.zeros(self.size, np.result_type(np.float32, *stored.values()))
        for name, view in self.views(theta).items():
            view[...] = stored[name]
        return xp.asarray(theta)


def _aligned(n: int) -> int:
    """Round n up to a multiple of ALIGN."""
    return -(-n // ALIGN) * ALIGN
