"""Batch norm with ReLU and the sum of a residual block, and pooling, once more, in tiles: the fast form on a CPU.

The mathematics is that of `ops` and `conv`, and tested equal to it. Batch norm is two sweeps forward, statistics and
y = max(x A + B + residual, 0), and two backward, sums and dx = A G + B x + C, all with three numbers per channel; what
a sweep does to a tile it does while the tile is in the cache. What comes out lies inside of a border of zeros, as the
convolution behind it wants it.

Shapes: x and y (N, H, W, C); statistics, γ and β (C,). All arrays are NumPy's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from refopt.arrays import Array

from .tensor import Tensor
from .tiles import TILE, column_sums, cut

if TYPE_CHECKING:
    from .engine import Engine


def batch_norm(  # noqa: PLR0917
    x: Tensor, gamma: Tensor, beta: Tensor, eps: float, engine: Engine,
    relu: bool = False, residual: Tensor | None = None, given: tuple[Array, Array] | None = None,
) -> tuple[Tensor, Array, Array]:  # fmt: skip
    """Return y = γ (x - mean)/√(var + ε) + β, with a residual added and ReLU applied if asked; mean and var (C,).

    x is (N, H, W, C), and y lies inside of a border of zeros, one wide. `given` are mean and var in evaluation.
    """
    call = _BatchNorm(x, gamma, beta, eps, engine, relu, residual, given)
    operands = [(x, call.input_gradient), (gamma, call.gamma_gradient), (beta, call.beta_gradient)]
    if residual is not None:
        operands.append((residual, call.residual_gradient))
    y = Tensor(call.y, *operands)
    y.whole = call.whole
    return y, call.mean.astype(call.dtype), call.var.astype(call.dtype)


class _BatchNorm:
    """One call. The gradient of x comes first, and finds those of γ, β and the residual on the way."""

    def __init__(self, x, gamma, beta, eps, engine, relu, residual, given):  # noqa: PLR0917
        self.x, self.engine, self.relu, self.given = x.data, engine, relu, given
        self.shape, self.dtype = x.data.shape, x.data.dtype
        n, h, w, c = self.shape
        self.residual = None if residual is None else residual.data
        rows = max(1, TILE // (w * c * self.dtype.itemsize))
        self.tiles = list(cut(0, n, h, rows))
        statistics = self.statistics() if given is None else given
        self.mean, self.var = (np.asarray(a, np.float64) for a in statistics)
        self.inverse = 1 / np.sqrt(self.var + eps)
        self.slope = gamma.data * self.inverse
        a, b = self.row(self.slope), self.row(beta.data - self.mean * self.slope)
        self.whole, self.y = engine.bordered(self.shape, 1, self.dtype)
        for tile in self.tiles:
            t = self.scratch("tile", tile)
            np.multiply(self.x[tile], a, out=t)
            t += b
            if self.residual is not None:
                t += self.residual[tile]
            if relu:
                np.maximum(t, 0, out=self.y[tile])
            else:
                np.copyto(self.y[tile], t)
        self.masked: Array | None = None
        self.sums: tuple[np.ndarray, np.ndarray] | None = None

    def row(self, of_channels: np.ndarray) -> Array:
        """Return a vector (C,) once for each pixel of a line, (W, C): a long inner loop."""
        return np.tile(of_channels.astype(self.dtype), (self.shape[2], 1))

    def scratch(self, name: str, tile: tuple[slice, slice]) -> Array:
        _, _, w, c = self.shape
        shape = (tile[0].stop - tile[0].start, tile[1].stop - tile[1].start, w, c)
        return self.engine.scratch(name, 0, shape[0] * shape[1] * w * c, self.dtype).reshape(shape)

    def statistics(self) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and variance (C,) in float64: of each tile about its own mean, then merged.

        A sum of squares less a squared sum would lose all digits where |mean| ≫ std. Of parts with m_t elements, means
        μ_t and sums of squares S_t about them (Chan, Golub, LeVeque 1979), Σ m_t (μ_t - μ)² + S_t is the whole's.
        """
        c = self.shape[3]
        counts = np.array([self.x[tile].size / c for tile in self.tiles])[:, None]
        means, squares = np.empty((2, len(self.tiles), c))
        for k, tile in enumerate(self.tiles):
            means[k] = column_sums(self.x[tile].reshape(-1, c)) / self.dtype.type(counts[k, 0])
            t = self.scratch("tile", tile)
            np.subtract(self.x[tile], self.row(means[k]), out=t)
            t *= t
            squares[k] = column_sums(t.reshape(-1, c))
        mean = (counts * means).sum(axis=0) / counts.sum()
        return mean, (squares + counts * (means - mean) ** 2).sum(axis=0) / counts.sum()

    def input_gradient(self, g: Array, out: Array | None) -> Array:
        """Return dx = γ/std (G - mean(G) - x̂ mean(G x̂)), x̂ = (x - mean)/std, G = g where y > 0: A G + B x + C."""
        c, m = self.shape[3], self.x.size // self.shape[3]
        masked = self._masked_and_summed(g)
        dx = self.engine.empty(self.shape, self.dtype) if out is None else out
        total, along = self._sums_of(g)
        slope = -self.slope * self.inverse * along / m if self.given is None else np.zeros(c)
        offset = -self.slope * total / m - slope * self.mean if self.given is None else np.zeros(c)
        a, b, c0 = self.row(self.slope), self.row(slope), self.row(offset)
        for tile in self.tiles:
            t, u = self.scratch("tile", tile), self.scratch("second", tile)
            np.multiply(masked[tile], a, out=t)
            t += np.multiply(self.x[tile], b, out=u)
            np.add(t, c0, out=dx[tile])
        return dx

    def _masked_and_summed(self, g: Array) -> Array:
        """Return G, and keep Σ G and Σ G x̂ (C,)."""
        c = self.shape[3]
        mean, sums = self.row(self.mean), np.zeros((2, c))
        masked = self.engine.empty(self.shape, self.dtype) if self.relu else g
        for tile in self.tiles:
            part = masked[tile]
            if self.relu:
                np.multiply(g[tile], self.y[tile] > 0, out=part)
            t = self.scratch("tile", tile)
            np.subtract(self.x[tile], mean, out=t)
            t *= part
            sums[0] += column_sums(part.reshape(-1, c))
            sums[1] += column_sums(t.reshape(-1, c))
        self.sums = sums[0], sums[1] * self.inverse
        self.masked = masked if self.residual is not None else None
        return masked

    def gamma_gradient(self, g: Array, out: Array | None) -> Array:
        """Return dγ = Σ G x̂."""
        return self._sums_of(g)[1].astype(self.dtype)

    def beta_gradient(self, g: Array, out: Array | None) -> Array:
        """Return dβ = Σ G."""
        return self._sums_of(g)[0].astype(self.dtype)

    def residual_gradient(self, g: Array, out: Array | None) -> Array:
        """Return G, which nobody else holds."""
        if self.masked is None:
            self._masked_and_summed(g)
        masked, self.masked = self.masked, None
        assert masked is not None
        return masked

    def _sums_of(self, g: Array) -> tuple[np.ndarray, np.ndarray]:
        if self.sums is None:
            self._masked_and_summed(g)
        assert self.sums is not None
        return self.sums


# --- pooling -------------------------------------------------------------------------------------------------------


def max_pool2x2(x: Tensor, engine: Engine) -> Tensor:
    """Return what `conv.max_pool2d` returns for windows of 2 x 2, side by side; inside of a border of zeros."""
    n, h, w, c = x.data.shape
    oh, ow = h // 2, w // 2
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
