"""How a GPU computes the hot operations of a CNN: by the kernels of `kernels` and `norm_kernels`, and cuBLAS.

The mathematics is that of `conv`, `ops` and `losses`, and tested equal to it. What differs is how often numbers travel
through memory: a convolution is one kernel that writes the columns of all windows, and one product; batch norm, ReLU
and the sum of a residual block are two passes forward and two backward. Memory comes from CuPy's pool.

Shapes: x (N, H, W, C); w (K, KH, KW, C); y and its gradient g (N, OH, OW, K). T, V: see `kernels`.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from refopt import gpu
from refopt.arrays import Array, namespace

from . import ops
from .conv import demand_pixels, grid
from .kernels import LOSS, WINDOWS
from .losses import demand_rows
from .norm_kernels import NORM
from .tensor import Tensor, Vjp

MOST_SHARES = 528
"""Blocks that share a pass of sums: four for each multiprocessor of an H100."""


class GpuEngine:
    """The GPU of one run.

    Parameters
    ----------
    precision : of the products in convolutions of float32: "fp32", or "tf32", whose factors keep 10 binary places,
        several times as fast; the other products of a net are always in full precision
    """

    def __init__(self, precision: str = "fp32"):
        if precision not in ("fp32", "tf32"):
            raise ValueError(f"precision must be 'fp32' or 'tf32', got {precision!r}")
        self.tf32 = precision == "tf32"

    def serving(self) -> AbstractContextManager[None]:
        """Keep nobody out: it holds no memory between two calls."""
        return nullcontext()

    # --- convolution

    def conv2d(self, x: Tensor, w: Tensor, b: Tensor | None = None, stride: int = 1, padding: int = 0) -> Tensor:
        """Return what `conv.conv2d` returns. The columns of all windows are kept for the gradient of w."""
        xp, (K, KH, KW, C), (N, H, W, _) = namespace(x.data), w.data.shape, x.data.shape
        x_, w_ = dense(x, w)
        pixels = N, H, W, C, *grid(x_.shape, KH, KW, stride, padding), KH, KW, stride, padding
        (OH, OW), whole = pixels[4:6], (KH, KW, stride, padding) == (1, 1, 1, 0)
        columns, matrix = x_.reshape(-1, C), w_.reshape(K, -1)
        if not whole:
            columns = xp.empty((N * OH * OW, KH * KW * C), x_.dtype)
            per_channel(WINDOWS, "im2col", x_.dtype, len(columns), C, x_, columns, *pixels)
        y = self.product(columns, matrix.T, xp.empty((len(columns), K), x_.dtype))
        if b is not None:
            y += b.data

        def dw(g: Array, out: Array | None) -> Array:
            out = xp.empty_like(w_) if out is None else out
            self.product(g.reshape(-1, K).T, columns, out.reshape(K, -1))
            return out

        def dx(g: Array, out: Array | None) -> Array:
            parts = self.product(g.reshape(-1, K), matrix, xp.empty_like(columns))
            if whole:
                return parts.reshape(x_.shape)
            d = xp.empty_like(x_)
            per_channel(WINDOWS, "col2im", d.dtype, N * H * W, C, parts, d, *pixels)
            return d

        bias = () if b is None else ((b, ops.channel_sums),)
        return Tensor(y.reshape(N, OH, OW, K), (w, dw), (x, dx), *bias)

    def product(self, a: Array, b: Array, out: Array) -> Array:
        """Return the product of two matrices in `out`, in the engine's precision."""
        with gpu.products(self.tf32):
            return namespace(a).matmul(a, b, out=out)

    # --- batch norm

    def batch_norm_relu(  # noqa: PLR0917
        self, x: Tensor, gamma: Tensor, beta: Tensor, eps: float,
        relu: bool = False, plus: Tensor | None = None, given: tuple[Array, Array] | None = None,
    ) -> tuple[Tensor, Array, Array]:  # fmt: skip
        """Return what `ops.batch_norm_relu` returns."""
        call = _BatchNorm(x, gamma, beta, eps, relu, plus, given)
        operands: dict[str, Tensor | None] = {"x": x, "gamma": gamma, "beta": beta, "plus": plus}
        y = Tensor(call.y, *((operand, call.vjp(name)) for name, operand in operands.items() if operand is not None))
        return y, call.mean, call.variance

    # --- pooling

    def max_pool2d(self, x: Tensor, size: int, stride: int, padding: int = 0) -> Tensor:
        """Return what `conv.max_pool2d` returns."""
        demand_pixels(size, padding)
        return pool("max_pool", x, size, stride, padding)

    def avg_pool2d(self, x: Tensor, size: int, stride: int) -> Tensor:
        """Return what `conv.avg_pool2d` returns."""
        return pool("mean_pool", x, size, stride, 0)

    # --- loss

    def softmax_cross_entropy(self, logits: Tensor, labels: Array) -> Tensor:
        """Return what `losses.softmax_cross_entropy` returns."""
        demand_rows(logits.data, labels)
        xp, (z,) = namespace(logits.data), dense(logits)
        dz, loss = xp.empty_like(z), xp.empty(len(z), z.dtype)
        name = f"softmax_cross_entropy<{gpu.C_TYPES[z.dtype]}>"
        gpu.launch(LOSS, name, (len(z),), z, xp.ascontiguousarray(labels, np.int64), dz, loss, *z.shape)
        return Tensor(loss.sum(), (logits, lambda g, out: xp.multiply(dz, g, out=out)))


def dense(*tensors: Tensor) -> list[Array]:
    """Return the arrays of tensors as kernels need them: contiguous, and of one dtype, float32 or float64.

    So a pixel's V channels are aligned for one load: memory comes in multiples of 512 bytes, and what is contiguous
    and has all C channels begins at a pixel.
    """
    arrays = [namespace(tensor.data).ascontiguousarray(tensor.data) for tensor in tensors]
    if len(dtypes := {array.dtype for array in arrays}) > 1 or not dtypes <= set(gpu.C_TYPES):
        raise ValueError(f"a kernel takes arrays of float32, or of float64, got {sorted(map(str, dtypes))}")
    return arrays


def wide(dtype: Any, C: int) -> int:
    """Return V: how many of C channels a thread takes at once, 16 bytes of them if C allows."""
    V = 16 // np.dtype(dtype).itemsize
    return V if C % V == 0 else 1


def per_channel(source: str, name: str, dtype: Any, pixels: int, C: int, *arguments: Any) -> None:
    """Launch a kernel that has a thread for every V of the C channels of each pixel, or window."""
    V = wide(dtype, C)
    gpu.launch(source, f"{name}<{gpu.C_TYPES[dtype]}, {V}>", gpu.blocks(pixels * C // V), *arguments)


def pool(name: str, x: Tensor, size: int, stride: int, padding: int) -> Tensor:
    """Return the maxima or means of windows, by the kernel of that name, and of maxima where they are."""
    xp, (x_,) = namespace(x.data), dense(x)
    pixels = *x_.shape, *grid(x_.shape, size, size, stride, padding), size, size, stride, padding
    y = xp.empty((len(x_), *pixels[4:6], x_.shape[3]), x_.dtype)
    first, T = [xp.empty(y.shape, np.int32)] * (name == "max_pool"), gpu.C_TYPES[x_.dtype]
    gpu.launch(WINDOWS, f"{name}<{T}>", gpu.blocks(y.size), x_, y, *first, *pixels)

    def dx(g: Array, out: Array | None) -> Array:
        d, operands = xp.empty_like(x_), [xp.ascontiguousarray(g), *first]
        gpu.launch(WINDOWS, f"{name}_gradient<{T}>", gpu.blocks(d.size), *operands, d, *pixels)
        return d

    return Tensor(y, (x, dx))


class _BatchNorm:
    """One call: what its forward leaves for its backward. All gradients come from one pass, for whoever asks first."""

    def __init__(self, x, gamma, beta, eps, relu, plus, given):  # noqa: PLR0917
        xp = self.xp = namespace(x.data)
        self.x, self.gamma, beta, *rest = dense(x, gamma, beta, *([] if plus is None else [plus]))
        self.relu, self.add, self.T = int(relu), len(rest), gpu.C_TYPES[self.x.dtype]
        self.C = C = self.x.shape[-1]
        self.M, self.gradients = self.x.size // C, dict[str, Array]()
        if given is None:
            self.share, self.statistics = 1 / self.M, xp.empty((2, C), np.float64)
            self.mean, self.variance = xp.empty(C, self.x.dtype), xp.empty(C, self.x.dtype)
            parts = self.two_sums("deviation_sums", self.x)
            sizes = len(parts), self.M, C, np.float64(eps)
            self.per_32("finish_statistics", parts, self.x, self.statistics, self.mean, self.variance, *sizes)
        else:
            self.share, (self.mean, self.variance) = 0.0, given
            deviation = xp.sqrt(self.variance.astype(np.float64) + eps)
            self.statistics = xp.stack([self.mean.astype(np.float64), 1 / deviation])
        self.y = xp.empty_like(self.x)
        operands = self.x, (rest or [self.x])[0], self.statistics, self.gamma, beta, self.y
        per_channel(NORM, "normalise", self.x.dtype, self.M, C, *operands, self.M, C, self.relu, self.add)

    def two_sums(self, name: str, *operands: Array, flags: tuple[int, ...] = ()) -> Array:
        """Return two sums (P, 2, C), each over a share of the rows, by the kernel of this name."""
        V = wide(self.x.dtype, self.C)
        width = min(32, 1 << (self.C // V - 1).bit_length())  # threads side by side, each with V channels
        groups, lanes = -(-self.C // (V * width)), gpu.THREADS // width
        P = max(1, min(MOST_SHARES // groups, -(-self.M // (8 * lanes))))
        parts = self.xp.empty((P, 2, self.C), np.float64)
        gpu.launch(NORM, f"{name}<{self.T}, {V}>", (P, groups), *operands, parts, self.M, self.C, width, *flags)
        return parts

    def per_32(self, name: str, *arguments: Any) -> None:
        gpu.launch(NORM, f"{name}<{self.T}>", (-(-self.C // 32),), *arguments)

    def vjp(self, name: str) -> Vjp:
        """Return the function that takes g to the gradient of the operand of this name."""

        def gradient(g: Array, out: Array | None) -> Array:
            if name not in self.gradients:
                self.backward(self.xp.ascontiguousarray(g))
            return self.gradients.pop(name)

        return gradient

    def backward(self, g: Array) -> None:
        xp, C = self.xp, self.C
        sums, dgamma, dbeta = xp.empty((2, C), np.float64), xp.empty_like(self.gamma), xp.empty_like(self.gamma)
        parts = self.two_sums("gradient_sums", self.x, g, self.y, self.statistics, flags=(self.relu,))
        self.per_32("finish_gradients", parts, self.statistics, sums, dgamma, dbeta, len(parts), C)
        dx, dplus = xp.empty_like(self.x), xp.empty_like(self.x if self.add else self.gamma)
        operands = self.x, g, self.y, self.statistics, sums, self.gamma, dx, dplus
        sizes = self.M, C, self.relu, self.add, np.float64(self.share)
        per_channel(NORM, "normalise_gradient", self.x.dtype, self.M, C, *operands, *sizes)
        self.gradients = {"x": dx, "gamma": dgamma, "beta": dbeta} | ({"plus": dplus} if self.add else {})
