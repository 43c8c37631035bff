"""Operations on tensors: each one its value and, beside it, its vector-Jacobian products.

Notation: an operation computes y from its operands, f is the loss at the end of the graph, and g = df/dy
has the shape of y. A vjp turns g into df/d(operand); its equation stands in the docstring. Operands are
`Tensor`s; the arrays behind them are read when the operation is called and never written to.

Shapes: N batch, D inputs, K outputs, C channels.
"""

from __future__ import annotations

from refopt.arrays import Array, namespace

from .tensor import Tensor


def affine(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    """Y = X W + b, for X (N, D), W (D, K), b (K,).

    With G = df/dY (N, K):  df/dX = G Wᵀ,  df/dW = Xᵀ G,  df/db = Σₙ G[n].
    """
    x_, w_, xp = x.data, w.data, namespace(x.data)
    y = x_ @ w_
    y += b.data
    return Tensor(
        y,
        (x, lambda g, out: xp.matmul(g, w_.T, out=out)),
        (w, lambda g, out: xp.matmul(x_.T, g, out=out)),
        (b, lambda g, out: g.sum(axis=0, out=out)),
    )


def add(a: Tensor, b: Tensor) -> Tensor:
    """Y = a + b, broadcast.  df/da = g and df/db = g, each summed over what was broadcast."""
    a_shape, b_shape = a.data.shape, b.data.shape
    return Tensor(
        a.data + b.data,
        (a, lambda g, out: _sum_to(g, a_shape)),
        (b, lambda g, out: _sum_to(g, b_shape)),
    )


def multiply(a: Tensor, b: Tensor) -> Tensor:
    """Y = a b, element by element, broadcast.  df/da = g b and df/db = g a, summed over what was broadcast."""
    a_, b_ = a.data, b.data
    return Tensor(
        a_ * b_,
        (a, lambda g, out: _sum_to(g * b_, a_.shape)),
        (b, lambda g, out: _sum_to(g * a_, b_.shape)),
    )


def relu(x: Tensor) -> Tensor:
    """Y = max(x, 0).  df/dx = g where y > 0, else 0 (at the kink, the subgradient 0)."""
    xp = namespace(x.data)
    y = xp.maximum(x.data, 0)
    return Tensor(y, (x, lambda g, out: xp.multiply(g, y > 0, out=out)))


def tanh(x: Tensor) -> Tensor:
    """Y = tanh x.  df/dx = g (1 - y²)."""
    xp = namespace(x.data)
    y = xp.tanh(x.data)
    return Tensor(y, (x, lambda g, out: xp.multiply(g, 1 - y * y, out=out)))


def sigmoid(x: Tensor) -> Tensor:
    """Y = 1 / (1 + exp(-x)).  df/dx = g y (1 - y).

    With z = exp(-|x|) <= 1, which cannot overflow: y = 1 / (1 + z) for x >= 0 and z / (1 + z) for x < 0.
    """
    xp = namespace(x.data)
    z = xp.exp(-xp.abs(x.data))
    y = xp.where(x.data < 0, z, 1) / (1 + z)
    return Tensor(y, (x, lambda g, out: xp.multiply(g, y * (1 - y), out=out)))


def reshape(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Y = the elements of x in another shape, one of which may be -1.  df/dx = g in the shape of x."""
    x_shape = x.data.shape
    return Tensor(x.data.reshape(shape), (x, lambda g, out: g.reshape(x_shape)))


def sum(x: Tensor) -> Tensor:
    """Y = Σ x over all elements, 0-d.  df/dx = g, everywhere."""
    x_shape, xp = x.data.shape, namespace(x.data)
    return Tensor(x.data.sum(), (x, lambda g, out: xp.broadcast_to(g, x_shape)))


def batch_norm(x: Tensor, gamma: Tensor, beta: Tensor, eps: float) -> tuple[Tensor, Array, Array]:
    """Y = γ x̂ + β, x̂ = (x - μ) / σ, σ² = v + ε, with μ and v of each channel over the batch: returns (Y, μ, v).

    x is (N, ..., C); μ, v, γ and β are (C,). Mean and variance run over the M values of a channel:

        μ = (1/M) Σ xᵢ,   v = (1/M) Σ (xᵢ - μ)²,   so   dμ/dxⱼ = 1/M,   dσ/dxⱼ = (xⱼ - μ) / (M σ) = x̂ⱼ / M,

        dx̂ᵢ/dxⱼ = (δᵢⱼ - 1/M) / σ - ((xᵢ - μ) / σ²) x̂ⱼ / M = (δᵢⱼ - 1/M - x̂ᵢ x̂ⱼ / M) / σ,

    which is symmetric. Hence df/dx = (γ / σ) (g - mean(g) - x̂ mean(g x̂)), df/dγ = Σ g x̂, df/dβ = Σ g: no gradient
    has a part along a shift of the channel and, but for ε, along a stretch, since x̂ does not depend on them.

    Digits: first the mean, then the squares of what is left; the form mean(x²) - μ² would lose all of them where
    |μ| >> σ. For the same reason one of its own values is subtracted from each channel beforehand: it is at most
    sqrt(M) σ away from the mean, so nothing large is summed.
    """
    x_, gamma_, xp = x.data, gamma.data, namespace(x.data)
    M = x_.size // x_.shape[-1]
    near = x_[(0,) * (x_.ndim - 1)]
    x_hat = x_ - near
    mean = channel_sums(x_hat) / M
    x_hat -= mean
    variance = channel_sums(x_hat * x_hat) / M
    sigma = xp.sqrt(variance + eps)
    x_hat /= sigma

    def dx(g: Array, out: Array | None) -> Array:
        across = g - channel_sums(g) / M - x_hat * (channel_sums(g * x_hat) / M)
        return xp.multiply(across, gamma_ / sigma, out=out)

    y = Tensor(
        x_hat * gamma_ + beta.data,
        (x, dx),
        (gamma, lambda g, out: channel_sums(g * x_hat, out)),
        (beta, channel_sums),
    )
    return y, near + mean, variance


def batch_norm_relu(  # noqa: PLR0917
    x: Tensor, gamma: Tensor, beta: Tensor, eps: float,
    rectify: bool = False, plus: Tensor | None = None, given: tuple[Array, Array] | None = None,
) -> tuple[Tensor, Array, Array]:  # fmt: skip
    """Batch norm, then `plus` added and max(·, 0) taken if asked for; with statistics that are `given`, or the batch's.

    Returns (Y, μ, v): what stands between two convolutions of a residual net.
    """
    if given is None:
        y, mean, variance = batch_norm(x, gamma, beta, eps)
    else:
        mean, variance = given
        y = normalize(x, mean, variance, gamma, beta, eps=eps)
    if plus is not None:
        y = add(y, plus)
    return (relu(y) if rectify else y), mean, variance


def normalize(x: Tensor, mean: Array, variance: Array, gamma: Tensor, beta: Tensor, *, eps: float) -> Tensor:
    """Y = γ (x - μ) / sqrt(v + ε) + β, with a mean μ and a variance v that are given, (C,): affine in x."""
    xp = namespace(x.data)
    x_hat = multiply(add(x, Tensor(-mean)), Tensor(1 / xp.sqrt(variance + eps)))
    return add(multiply(x_hat, gamma), beta)


def channel_sums(x: Array, out: Array | None = None) -> Array:
    """Return the sums (C,) of an array (N, ..., C) over all axes but the last: over pixels, then over the batch.

    In two stages since a GPU would do one sum over all of them almost serially; they round less, too.
    """
    return x.reshape(len(x), -1, x.shape[-1]).sum(axis=1).sum(axis=0, out=out)


def _sum_to(g: Array, shape: tuple[int, ...]) -> Array:
    """Sum g over the axes along which an array of `shape` was broadcast to the shape of g.

    One axis at a time: a GPU sums the last of several axes in parallel, but N, H and W of an
    (N, H, W, C) array together almost serially.
    """
    while g.ndim > len(shape):
        g = g.sum(axis=0)
    for axis, size in enumerate(shape):
        if size != g.shape[axis]:
            g = g.sum(axis=axis, keepdims=True)
    return g
