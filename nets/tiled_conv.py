"""Convolution once more, in tiles: the fast form on a CPU.

The mathematics is that of `conv`, and tested equal to it. What differs is where numbers are on the way: the matrix X of
`conv`, a row for each window, here called columns, is up to KH KW times the image, too much to send through memory. So
it is built for some lines of output pixels at a time, few enough to stay in the cache of the core that multiplies them.
In a channels-last image with a border of zeros a line of a window is one run of KW C numbers, which copies at the speed
of that cache. With stride 1 the gradient of x is a convolution too: from

    dx[n,h,w,c] = Σ_{u,v,o} g[n, h + p - u, w + p - v, o] W[o,u,v,c],    p the padding,

with u' = KH - 1 - u and v' = KW - 1 - v follows the convolution of g, inside of KH - 1 - p zeros, with the kernel
turned by 180°. Its columns serve the gradient of the weights as well,

    dX = columns(g) turned(W),    turned(dW) = columns(g)ᵀ x,    turned(W)[(u',v',o), c] = W[o, KH-1-u', KW-1-v', c].

Batch norm and 2 x 2 pooling write their outputs inside of zeros (`Tensor.whole`), and gradients go where the next
product wants them (`Tensor.room`): only other inputs are padded by copying.

Shapes: x (N, H, W, C); w (O, KH, KW, C); y and its gradient g (N, OH, OW, O). All arrays are NumPy's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from refopt.arrays import Array

from .conv import grid, windows
from .tensor import Tensor
from .tiles import TILE, column_sums, cut

if TYPE_CHECKING:
    from .engine import Engine

COLUMNS = 1_200_000
"""Bytes of columns that stay in the second-level cache of a core, beside the weights and the output of the tile."""
SMALL = 1_000_000
"""Multiplications up to which OpenBLAS does not pack its operands: thin products take a third of the time."""
ROWS = 256
"""Rows that a matrix product needs at least, to be worth reading the weights again."""


def conv2d(  # noqa: PLR0917
    x: Tensor, w: Tensor, b: Tensor | None, stride: int, padding: int, engine: Engine
) -> Tensor:
    """Return what `conv.conv2d` returns."""
    call = _Convolution(x, w, stride, padding, engine)
    y = Tensor(
        call.forward(None if b is None else b.data),
        (w, call.weight_gradient),
        (x, call.input_gradient),
        *(() if b is None else ((b, call.bias_gradient),)),
    )
    if call.turned:
        y.room = call.room
    return y


class _Convolution:
    """One call: what its forward leaves for its backward. The gradients of w and x come from one pass, that of w."""

    def __init__(self, x: Tensor, w: Tensor, stride: int, padding: int, engine: Engine):
        self.engine, self.stride, self.padding, self.w = engine, stride, padding, w.data
        self.shape, self.dtype = x.data.shape, x.data.dtype
        n, (o, kh, kw, _c) = len(x.data), self.w.shape
        self.out = n, *grid(self.shape, kh, kw, stride, padding), o
        self.whole = self._bordered(x)
        self.wants_x = x.needs_grad
        self.turned = stride == 1 and self.wants_x and padding < kh == kw  # dx by the turned kernel, or by scattering
        self.kept: Array | None = None  # columns of a first layer, for dW
        self.dx: Array | None = None  # found with dW, until it is asked for
        self.g: tuple[Array, Array] | None = None  # the room given out for g: inside of zeros, and the inside
        self.x = x.data

    def _bordered(self, x: Tensor) -> Array:
        """Return x inside of `padding` zeros: what its maker has left, or a copy; the channels of a line in one run."""
        p = self.padding
        if p == 0:
            in_runs = x.data.strides[2:] == (x.data.itemsize * self.shape[3], x.data.itemsize)
            return x.data if in_runs else x.data.copy(order="C")  # with strides of its own, for any size
        if x.whole is not None:
            extra = (x.whole.shape[1] - self.shape[1]) // 2 - p
            if extra == 0:
                return x.whole
            if extra > 0:
                return x.whole[:, extra:-extra, extra:-extra]
        whole, inside = self.engine.bordered(self.shape, p, self.dtype)
        inside[...] = x.data
        return whole

    def columns(self, whole: Array, stride: int) -> Array:
        """Return the windows of `whole` as a view (N, OH, OW, KH, KW C)."""
        _o, kh, kw, _c = self.w.shape
        view = windows(whole, kh, kw, stride)
        return view.reshape(*view.shape[:4], -1)

    def per_tile(self, k: int) -> int:
        """Return how many pixels a tile of columns of k numbers holds: few if products are thin."""
        thin, most = SMALL // self.w.size, COLUMNS // (k * self.dtype.itemsize)
        return thin if ROWS <= thin < most else max(ROWS, most)

    def forward(self, b: Array | None) -> Array:
        n, oh, ow, o = self.out
        _, kh, kw, c = self.w.shape
        k = kh * kw * c
        y = self.engine.empty(self.out, self.dtype)
        view = self.columns(self.whole, self.stride)
        wt = np.ascontiguousarray(self.w.reshape(o, k).T) if c < 16 else self.w.reshape(o, k).T
        if c < 16 and not self.wants_x:  # of few channels columns are slow to build: keep them
            self.kept = self.engine.empty((n, oh, ow, k), self.dtype)

        line = None if b is None else np.tile(b, ow)  # a sum over short rows is slow

        def work(thread: int, start: int, stop: int) -> None:
            for images, lines in cut(start, stop, oh, self.per_tile(k) // ow):
                cols = self._fill(view, images, lines, thread)
                rows = y[images, lines].reshape(-1, ow * o)
                np.matmul(cols.reshape(-1, k), wt, out=rows.reshape(-1, o))
                if line is not None:
                    rows += line

        self.engine.share(work, n)
        return y

    def _fill(self, view: Array, images: slice, lines: slice, thread: int) -> Array:
        """Return the columns of a tile, copied together."""
        part = view[images, lines]
        if self.kept is not None:
            cols = self.kept[images, lines].reshape(part.shape)
        elif part.flags.c_contiguous:  # windows of one pixel
            return part
        else:
            cols = self.engine.scratch("columns", thread, part.size, self.dtype).reshape(part.shape)
        np.copyto(cols, part)
        return cols

    # --- backward

    def room(self) -> Array:
        """Return an array for the output gradient, inside of the zeros that its own convolution needs."""
        self.g = self.engine.bordered(self.out, self.w.shape[1] - 1 - self.padding, self.dtype)
        return self.g[1]

    def weight_gradient(self, g: Array, out: Array | None) -> Array:
        """Return dW[o,u,v,c] = Σ_{n,i,j} g[n,i,j,o] x[n, s i + u, s j + v, c], x inside of its zeros; dx on the way."""
        dw = np.empty_like(self.w) if out is None else out
        if self.turned:
            self._backward_by_turning(g, dw)
        else:
            self._backward_by_scattering(g, dw)
        return dw

    def input_gradient(self, g: Array, out: Array | None) -> Array:
        """Return dx, from the pass that gave dW; if nobody asked for that, from its own."""
        if self.dx is None:
            self.weight_gradient(g, None)
        dx, self.dx = self.dx, None
        assert dx is not None
        return dx

    def bias_gradient(self, g: Array, out: Array | None) -> Array:
        """Return db[o] = Σ_{n,i,j} g[n,i,j,o]."""
        _n, oh, ow, o = self.out
        db = np.empty(o, self.dtype) if out is None else out
        db[...] = 0
        for tile in cut(0, len(g), oh, max(1, TILE // (ow * o * self.dtype.itemsize))):
            db += column_sums(g[tile].reshape(-1, o))
        return db

    def _backward_by_turning(self, g: Array, dw: Array) -> None:
        (n, h, width, c), (o, kh, kw, _) = self.shape, self.w.shape
        k = kh * kw * o
        if self.g is None or self.g[1] is not g:
            self.room()[...] = g
        assert self.g is not None
        whole, self.g = self.g[0], None
        turned = self.w[:, ::-1, ::-1].transpose(1, 2, 0, 3).reshape(k, c)
        view = self.columns(whole, 1)
        dx = self.dx = self.engine.empty(self.shape, self.dtype)
        sums = [self.engine.empty((k, c), self.dtype) for _ in range(self.engine.threads)]

        def work(thread: int, start: int, stop: int) -> None:
            for number, tile in enumerate(cut(start, stop, h, self.per_tile(k) // width)):
                cols = self._fill(view, *tile, thread).reshape(-1, k)
                np.matmul(cols, turned, out=dx[tile].reshape(-1, c))
                x = self.engine.scratch("x", thread, len(cols) * c, self.dtype).reshape(-1, c)
                np.copyto(x.reshape(dx[tile].shape), self.x[tile])
                self._add_product(sums[thread], number, thread, cols.T, x)

        total = self._sum(sums[: self.engine.share(work, n)])
        np.copyto(dw[:, ::-1, ::-1].transpose(1, 2, 0, 3), total.reshape(kh, kw, o, c))

    def _backward_by_scattering(self, g: Array, dw: Array) -> None:
        (n, oh, ow, o), (_, kh, kw, c), s = self.out, self.w.shape, self.stride
        k = kh * kw * c
        view = self.columns(self.whole, s)
        w = self.w.reshape(o, k)
        dwhole = self.engine.empty(self.whole.shape, self.dtype) if self.wants_x else None
        sums = [self.engine.empty((o, k), self.dtype) for _ in range(self.engine.threads)]

        def work(thread: int, start: int, stop: int) -> None:
            if dwhole is not None:
                dwhole[start:stop] = 0
            for number, (images, lines) in enumerate(cut(start, stop, oh, self.per_tile(k) // ow)):
                cols = self.kept[images, lines] if self.kept is not None else self._fill(view, images, lines, thread)
                rows = np.ascontiguousarray(g[images, lines]).reshape(-1, o)
                self._add_product(sums[thread], number, thread, rows.T, cols.reshape(-1, k))
                if dwhole is not None:
                    back = self.engine.scratch("columns", thread, len(rows) * k, self.dtype)
                    np.matmul(rows, w, out=back.reshape(-1, k))
                    back = back.reshape(-1, lines.stop - lines.start, ow, kh, kw, c)
                    for u in range(kh):
                        for v in range(kw):
                            i, j = (
                                slice(s * lines.start + u, s * lines.stop + u - s + 1, s),
                                slice(v, s * ow + v - s + 1, s),
                            )
                            dwhole[images, i, j] += back[:, :, :, u, v]

        np.copyto(dw.reshape(o, k), self._sum(sums[: self.engine.share(work, n)]))
        if dwhole is not None:
            p, (_, h, width, _) = self.padding, self.shape
            self.dx = dwhole[:, p : p + h, p : p + width]

    def _add_product(self, total: Array, number: int, thread: int, a: Array, b: Array) -> None:
        """Write a b into `total` for the first tile of a thread, and add it for the others."""
        if number == 0:
            np.matmul(a, b, out=total)
        else:
            product = self.engine.scratch("product", thread, total.size, self.dtype).reshape(total.shape)
            total += np.matmul(a, b, out=product)

    def _sum(self, totals: list[Array]) -> Array:
        """Return the sum over threads, always in the same order."""
        for total in totals[1:]:
            totals[0] += total
        return totals[0]
