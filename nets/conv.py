"""Convolution and pooling: one operation in each window of an image, and its adjoint.

Images are channels-last, x (N, H, W, C). An operation with windows of KH x KW pixels and stride s sees x as

    X[n,i,j,u,v,c] = x[n, s i + u, s j + v, c]        0 <= u < KH, 0 <= v < KW,

for the OH = ⌊(H - KH) / s⌋ + 1 by OW = ⌊(W - KW) / s⌋ + 1 places (i, j) where a window fits. That is `windows`; it is
linear, and its adjoint follows by collecting the terms of each pixel:

    <windows(x), P> = Σ_{n,i,j,u,v,c} x[n, s i + u, s j + v, c] P[n,i,j,u,v,c]
                    = Σ_{n,h,w,c} x[n,h,w,c] ( Σ_{i,j,u,v: s i + u = h, s j + v = w} P[n,i,j,u,v,c] ).

The bracket is `scatter(P)`: each part of a window goes back to where it came from, and overlapping ones add.

Each operation below is windows, then one line within each window; each gradient is a line, then scatter. Padding is a
border around x before, which is cut off the gradient after. As in `ops`, g is df/dy.

Shapes: N batch, C channels, K outputs; w (K, KH, KW, C), b (K,); y and g (N, OH, OW, K), in pooling (N, OH, OW, C).
"""

from __future__ import annotations

import math

from refopt.arrays import Array, namespace

from .ops import channel_sums
from .tensor import Tensor

# --- windows ---------------------------------------------------------------------------------------------------------


def grid(shape: tuple[int, ...], KH: int, KW: int, stride: int, padding: int = 0) -> tuple[int, int]:
    """Return (OH, OW): how many windows fit into images of a shape (N, H, W, C) inside of a border.

    Raises
    ------
    ValueError
        If the shape is none of images, or they are smaller than one window.
    """
    if len(shape) != 4 or not shape[0] or min(shape[1] - KH, shape[2] - KW) + 2 * padding < 0:
        border = f" inside of a border of {padding}" if padding else ""
        raise ValueError(f"windows of {KH} x {KW} pixels need images (N, H, W, C) as large{border}, got shape {shape}")
    return (shape[1] + 2 * padding - KH) // stride + 1, (shape[2] + 2 * padding - KW) // stride + 1


def windows(x: Array, KH: int, KW: int, stride: int) -> Array:
    """Return the windows of images (N, H, W, C), as a view (N, OH, OW, KH, KW, C): nothing is copied."""
    OH, OW = grid(x.shape, KH, KW, stride)
    image, row, pixel, channel = x.strides
    shape = (x.shape[0], OH, OW, KH, KW, x.shape[3])
    strides = (image, stride * row, stride * pixel, row, pixel, channel)
    return namespace(x).lib.stride_tricks.as_strided(x, shape, strides)


def scatter(parts: Array, shape: tuple[int, ...], stride: int) -> Array:
    """Return an array of `shape` (N, H, W, C) in which the parts (N, OH, OW, KH, KW, C) of windows are added up.

    For fixed (u, v) the pixels (s i + u, s j + v) of all windows are different ones, so each of the KH KW additions is
    one strided sum, in an order that is always the same.
    """
    whole = namespace(parts).zeros(shape, parts.dtype)
    _, OH, OW, KH, KW, _ = parts.shape
    for u in range(KH):
        for v in range(KW):
            pixels = whole[:, u : u + stride * OH : stride, v : v + stride * OW : stride]
            pixels += parts[:, :, :, u, v]
    return whole


def bordered(x: Array, padding: int, value: float = 0.0) -> Array:
    """Return images (N, H, W, C) inside of a border of `padding` pixels of a value."""
    if padding == 0:
        return x
    N, H, W, C = x.shape
    whole = namespace(x).full((N, H + 2 * padding, W + 2 * padding, C), value, x.dtype)
    inside(whole, padding)[...] = x
    return whole


def inside(whole: Array, padding: int) -> Array:
    """Return the view of images without their border: the adjoint of `bordered` with 0."""
    return whole[:, padding:-padding, padding:-padding] if padding else whole


# --- convolution -----------------------------------------------------------------------------------------------------


def conv2d(x: Tensor, w: Tensor, b: Tensor | None = None, stride: int = 1, padding: int = 0) -> Tensor:
    """Y[n,i,j,k] = Σ_{u,v,c} X[n,i,j,u,v,c] W[k,u,v,c] + b[k], X the windows of x inside of `padding` zeros.

    With a row for each window, X (N OH OW, KH KW C), and a row for each output channel, W (K, KH KW C), this is
    Y = X Wᵀ + b: one product of matrices, an affine map like any other. So with G = df/dY (N OH OW, K)

        df/dW = Gᵀ X,   df/db[k] = Σ_{n,i,j} G[n,i,j,k],   df/dX = G W,   df/dx = scatter(G W) without its border.

    The rows of X hold a pixel up to KH KW times: they are built again for df/dW rather than kept. (Those of windows
    of one pixel, at stride 1, are the pixels of x, and need no copy.)

    ValueError if x is not (N, H, W, C), or smaller than one window.
    """
    w_, xp = w.data, namespace(x.data)
    K, KH, KW, _ = w_.shape
    N, OH, OW = len(x.data), *grid(x.data.shape, KH, KW, stride, padding)
    whole, matrix = bordered(x.data, padding), w_.reshape(K, -1)
    X = windows(whole, KH, KW, stride)
    y = X.reshape(N * OH * OW, -1) @ matrix.T
    if b is not None:
        y += b.data

    def dw(g: Array, out: Array | None) -> Array:
        out = xp.empty_like(w_) if out is None else out
        xp.matmul(g.reshape(-1, K).T, X.reshape(N * OH * OW, -1), out=out.reshape(K, -1))
        return out

    def dx(g: Array, out: Array | None) -> Array:
        parts = (g.reshape(-1, K) @ matrix).reshape(X.shape)
        return inside(scatter(parts, whole.shape, stride), padding)

    bias = () if b is None else ((b, channel_sums),)
    return Tensor(y.reshape(N, OH, OW, K), (x, dx), (w, dw), *bias)


# --- pooling ---------------------------------------------------------------------------------------------------------


def max_pool2d(x: Tensor, size: int, stride: int, padding: int = 0) -> Tensor:
    """Y[n,i,j,c] = max_{u,v} X[n,i,j,u,v,c], X the windows of x inside of `padding` pixels of -∞.

    df/dX[n,i,j,u,v,c] = g[n,i,j,c] at the first (u, v), row by row, where the maximum is attained, else 0: at a tie, of
    several subgradients the one that PyTorch takes too.

    ValueError if x is not (N, H, W, C) or smaller than one window, or if the border is wider than half a window (which
    PyTorch refuses, too).
    """
    demand_pixels(size, padding)
    xp, (OH, OW) = namespace(x.data), grid(x.data.shape, size, size, stride, padding)
    whole = bordered(x.data, padding, -math.inf)
    X = windows(whole, size, size, stride)
    cells = X.reshape(len(X), OH, OW, size * size, -1)
    first = cells.argmax(axis=3)[:, :, :, None]

    def dx(g: Array, out: Array | None) -> Array:
        parts = xp.where(xp.arange(size * size)[:, None] == first, g[:, :, :, None], 0)
        return inside(scatter(parts.reshape(X.shape), whole.shape, stride), padding)

    return Tensor(cells.max(axis=3), (x, dx))


def demand_pixels(size: int, padding: int) -> None:
    """Raise ValueError if a border is wider than half a window of `size` pixels."""
    if 2 * padding > size:
        raise ValueError(f"padding must be at most {size // 2}, half of a window of {size} pixels, got {padding}")


def avg_pool2d(x: Tensor, size: int, stride: int) -> Tensor:
    """Y[n,i,j,c] = mean_{u,v} X[n,i,j,u,v,c], X the windows of x.  df/dX[n,i,j,u,v,c] = g[n,i,j,c] / size².

    ValueError if x is not (N, H, W, C) or smaller than one window.
    """
    x_, xp, (OH, OW) = x.data, namespace(x.data), grid(x.data.shape, size, size, stride)
    X = windows(x_, size, size, stride)

    def dx(g: Array, out: Array | None) -> Array:
        parts = xp.broadcast_to((g / size**2)[:, :, :, None, None], X.shape)
        return scatter(parts, x_.shape, stride)

    return Tensor(X.reshape(len(X), OH, OW, size * size, -1).mean(axis=3), (x, dx))


def global_avg_pool(x: Tensor) -> Tensor:
    """Y[n,c] = mean_{h,w} x[n,h,w,c], from (N, H, W, C) to (N, C).  df/dx[n,h,w,c] = g[n,c] / (H W).

    ValueError if x is not (N, H, W, C).
    """
    x_, xp = x.data, namespace(x.data)
    if x_.ndim != 4:
        raise ValueError(f"a mean over all pixels expects images (N, H, W, C), got shape {x_.shape}")
    N, H, W, C = x_.shape
    return Tensor(
        x_.reshape(N, H * W, C).mean(axis=1),
        (x, lambda g, out: xp.broadcast_to((g / (H * W))[:, None, None], x_.shape)),
    )
