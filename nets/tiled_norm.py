"""Batch norm with ReLU and the sum of a residual block, and pooling, once more, in tiles: the fast form on a CPU.

The mathematics is that of `ops` and `conv`, and tested equal to it. Batch norm is two sweeps forward, statistics and
y = max(a (x - μ) + β + plus, 0), and two backward, sums and dx = a G + p (x - μ) + q, with a number a, β, p, q for each
channel; what a sweep does to a tile it does while the tile is in the cache. Written as a x + (β - a μ) a sum of large
numbers would be left small where |μ| ≫ σ: x - μ is exact there. What comes out lies inside of a border of zeros, as the
convolution behind it wants it.

Shapes: x and y (N, H, W, C); statistics, γ and β (C,); G = g where y > 0, else 0. All arrays are NumPy's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from refopt.arrays import Array

from .conv import grid
from .tensor import Tensor
from .tiles import TILE, column_sums, cut

if TYPE_CHECKING:
    from .engine import Engine


def batch_norm(  # noqa: PLR0917
    x: Tensor, gamma: Tensor, beta: Tensor, eps: float, engine: Engine,
    relu: bool = False, plus: Tensor | None = None, given: tuple[Array, Array] | None = None,
) -> tuple[Tensor, Array, Array]:  # fmt: skip
    """Return y = γ (x - μ)/σ + β, σ² = v + ε, with `plus` added and ReLU applied if asked; and μ, v (C,).

    x is (N, H, W, C), and y lies inside of a border of zeros, one wide. `given` are μ and v in evaluation.
    """
    call = _BatchNorm(x, gamma, beta, eps, engine, relu, plus, given)
    operands = [(x, call.input_gradient), (gamma, call.gamma_gradient), (beta, call.beta_gradient)]
    if plus is not None:
        operands.append((plus, call.plus_gradient))
    y = Tensor(call.y, *operands)
    y.whole = call.whole
    return y, call.mean.astype(call.dtype), call.var.astype(call.dtype)


class _BatchNorm:
    """One call. The gradient of x comes first, and finds those of γ, β and `plus` on the way."""

    def __init__(self, x, gamma, beta, eps, engine, relu, plus, given):  # noqa: PLR0917
        self.x, self.engine, self.relu, self.given = x.data, engine, relu, given
        self.shape, self.dtype = x.data.shape, x.data.dtype
        n, h, w, c = self.shape
        self.plus = None if plus is None else plus.data
        lines = max(1, TILE // (w * c * self.dtype.itemsize))
        self.tiles = list(cut(0, n, h, lines))
        statistics = self.statistics() if given is None else given
        self.mean, self.var = (np.asarray(a, np.float64) for a in statistics)
        self.near = self.mean.astype(self.dtype)  # what is subtracted; `rest` makes up for its rounding
        self.rest = self.mean - self.near
        self.inverse = 1 / np.sqrt(self.var + eps)
        self.slope = gamma.data * self.inverse
        near, a, b = map(self.line, (self.near, self.slope, beta.data - self.rest * self.slope))
        self.whole, self.y = engine.bordered(self.shape, 1, self.dtype)
        for tile in self.tiles:
            t = self.scratch("tile", tile)
            np.subtract(self.x[tile], near, out=t)
            t *= a
            t += b
            if self.plus is not None:
                t += self.plus[tile]
            if relu:
                np.maximum(t, 0, out=self.y[tile])
            else:
                np.copyto(self.y[tile], t)
        self.masked: Array | None = None
        self.sums: tuple[np.ndarray, np.ndarray] | None = None

    def line(self, of_channels: np.ndarray) -> Array:
        """Return a vector (C,) once for each pixel of a line, (W, C): a long inner loop."""
        return np.tile(of_channels.astype(self.dtype), (self.shape[2], 1))

    def scratch(self, name: str, tile: tuple[slice, slice]) -> Array:
        _, _, w, c = self.shape
        shape = (tile[0].stop - tile[0].start, tile[1].stop - tile[1].start, w, c)
        return self.engine.scratch(name, 0, shape[0] * shape[1] * w * c, self.dtype).reshape(shape)

    def statistics(self) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and variance (C,) in float64: of each tile about a number near its mean, then merged.

        A sum of squares less a squared sum would lose all digits where |μ| ≫ σ. Of parts with m_t elements, means
        μ_t and sums of squares S_t about them (Chan, Golub, LeVeque 1979), Σ m_t (μ_t - μ)² + S_t is the whole's.
        """
        c = self.shape[3]
        counts = np.array([self.x[tile].size / c for tile in self.tiles])[:, None]
        means, squares = np.empty((2, len(self.tiles), c))
        for k, tile in enumerate(self.tiles):
            near = column_sums(self.x[tile].reshape(-1, c)) / self.dtype.type(counts[k, 0])
            t = self.scratch("tile", tile)
            np.subtract(self.x[tile], self.line(near), out=t)
            off = column_sums(t.reshape(-1, c)) / counts[k]  # float64
            means[k] = near + off
            t *= t
            squares[k] = column_sums(t.reshape(-1, c)) - counts[k] * off**2
        mean = (counts * means).sum(axis=0) / counts.sum()
        return mean, (squares + counts * (means - mean) ** 2).sum(axis=0) / counts.sum()

    def input_gradient(self, g: Array, out: Array | None) -> Array:
        """Return dx = γ/σ (G - mean(G) - x̂ mean(G x̂)), x̂ = (x - μ)/σ; in evaluation γ/σ G."""
        c, m = self.shape[3], self.x.size // self.shape[3]
        masked = self._masked_and_summed(g)
        dx = self.engine.empty(self.shape, self.dtype) if out is None else out
        total, along = self._sums_of(g)
        p = -self.slope * self.inverse * along / m if self.given is None else np.zeros(c)
        q = -self.slope * total / m - p * self.rest if self.given is None else np.zeros(c)
        near, a, p, q = map(self.line, (self.near, self.slope, p, q))
        for tile in self.tiles:
            t, u = self.scratch("tile", tile), self.scratch("second", tile)
            np.subtract(self.x[tile], near, out=t)
            t *= p
            t += np.multiply(masked[tile], a, out=u)
            np.add(t, q, out=dx[tile])
        return dx

    def _masked_and_summed(self, g: Array) -> Array:
        """Return G, and keep Σ G and Σ G x̂ (C,)."""
        c = self.shape[3]
        near, sums = self.line(self.near), np.zeros((2, c))
        masked = self.engine.empty(self.shape, self.dtype) if self.relu else g
        for tile in self.tiles:
            part = masked[tile]
            if self.relu:
                np.multiply(g[tile], self.y[tile] > 0, out=part)
            t = self.scratch("tile", tile)
            np.subtract(self.x[tile], near, out=t)
            t *= part
            sums[0] += column_sums(part.reshape(-1, c))
            sums[1] += column_sums(t.reshape(-1, c))
        self.sums = sums[0], (sums[1] - self.rest * sums[0]) * self.inverse
        self.masked = masked if self.plus is not None else None
        return masked

    def gamma_gradient(self, g: Array, out: Array | None) -> Array:
        """Return dγ = Σ G x̂."""
        return self._sums_of(g)[1].astype(self.dtype)

    def beta_gradient(self, g: Array, out: Array | None) -> Array:
        """Return dβ = Σ G, and forget the sums: the next walk back has another g."""
        total, _along = self._sums_of(g)
        self.sums = None
        return total.astype(self.dtype)

    def plus_gradient(self, g: Array, out: Array | None) -> Array:
        """Return G; with a ReLU it is an array of its own."""
        masked = self._masked_and_summed(g) if self.masked is None else self.masked
        self.masked = self.sums = None
        return masked

    def _sums_of(self, g: Array) -> tuple[np.ndarray, np.ndarray]:
        if self.sums is None:
            self._masked_and_summed(g)
        assert self.sums is not None
        return self.sums


# --- pooling -------------------------------------------------------------------------------------------------------


def max_pool2x2(x: Tensor, engine: Engine) -> Tensor:
    """Return what `conv.max_pool2d` returns for windows of 2 x 2, side by side; inside of a border of zeros."""
    oh, ow = grid(x.data.shape, 2, 2, 2)
    n, h, w, c = x.data.shape
    x_, dtype = x.data, x.data.dtype
    whole, y = engine.bordered((n, oh, ow, c), 1, dtype)
    tiles = list(cut(0, n, oh, max(1, TILE // (2 * w * c * dtype.itemsize))))

    def quarter(of: Array, tile: tuple[slice, slice], u: int, v: int) -> Array:
        images, lines = tile
        return of[images, 2 * lines.start + u : 2 * lines.stop : 2, v : 2 * ow : 2]

    for tile in tiles:
        images, lines = tile
        pairs = np.maximum(
            x_[images, 2 * lines.start : 2 * lines.stop : 2], x_[images, 2 * lines.start + 1 : 2 * lines.stop : 2]
        )
        np.maximum(pairs[:, :, 0 : 2 * ow : 2], pairs[:, :, 1 : 2 * ow : 2], out=y[tile])

    def vjp(g: Array, out: Array | None) -> Array:
        """Each g goes to the first place of its window that holds the maximum."""
        dx = engine.empty((n, h, w, c), dtype)
        dx[:, 2 * oh :] = dx[:, :, 2 * ow :] = 0
        for tile in tiles:
            left = g[tile].copy()
            for u in (0, 1):
                for v in (0, 1):
                    to = quarter(dx, tile, u, v)
                    np.multiply(left, quarter(x_, tile, u, v) == y[tile], out=to)
                    left -= to
        return dx

    value = Tensor(y, (x, vjp))
    value.whole = whole
    return value
