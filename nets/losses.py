"""Losses: what a net minimises, as a mean over the batch, with its gradient in closed form.

Shapes: N batch, K classes or outputs. Labels and targets are arrays, not tensors: nothing differentiates them.
"""

from __future__ import annotations

import numpy as np

from refopt.arrays import Array, namespace

from .tensor import Tensor


def softmax_cross_entropy(logits: Tensor, labels: Array) -> Tensor:
    """Mean over n of -log p[n, labels[n]], p = softmax(z), for logits z (N, K), integer labels (N,): 0-d, of z's dtype.

    log p = z - m - log Σₖ exp(z[k] - m) with m = maxₖ z[k]: no exponential overflows, no logarithm sees 0.
    Gradient: df/dz = g (p - onehot) / N.

    Labels outside 0 .. K-1 are not noticed here, since a look at them would make the host wait for a GPU:
    see `check_labels`.
    """
    z, xp = logits.data, namespace(logits.data)
    demand_rows(z, labels)
    log_p = z - z.max(axis=1, keepdims=True)
    log_p -= xp.log(xp.exp(log_p).sum(axis=1, keepdims=True))
    onehot = xp.arange(z.shape[1]) == labels[:, None]
    n = len(z)

    def vjp(g: Array, out: Array | None) -> Array:
        p = xp.exp(log_p)
        p -= onehot
        return xp.multiply(p, g / n, out=p if out is None else out)

    return Tensor(-xp.where(onehot, log_p, 0).sum() / n, (logits, vjp))


def demand_rows(z: Array, labels: Array) -> None:
    """Raise ValueError unless there is a row in z (N, K), and a label for every one."""
    if labels.ndim != 1 or labels.shape != z.shape[:-1] or not labels.size:
        raise ValueError(
            f"expected logits (N, K) and integer labels (N,), N at least 1, got shapes {z.shape} and {labels.shape}"
        )


def squared_error(outputs: Tensor, targets: Array) -> Tensor:
    """Mean over n of ½ |y[n] - t[n]|², for outputs y and targets t, both (N, ...): 0-d, of y's dtype.

    The sum runs over the elements of a sample, the mean over samples only (PyTorch's MSELoss takes the mean over
    all, and has no ½). Gradient: df/dy = g (y - t) / N.
    """
    xp = namespace(outputs.data)
    if outputs.data.shape != targets.shape:
        raise ValueError(f"expected targets of the shape of the outputs, {outputs.data.shape}, got {targets.shape}")
    difference = xp.subtract(outputs.data, targets, dtype=outputs.data.dtype)
    n = len(difference)
    return Tensor(
        (difference * difference).sum() / (2 * n),
        (outputs, lambda g, out: xp.multiply(difference, g / n, out=out)),
    )


def check_labels(labels: np.ndarray, classes: int) -> None:
    """Raise ValueError unless `labels` are integers (N,) in 0 .. classes-1; once, on the host, by who loads them."""
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise ValueError(f"labels must be integers of shape (N,), got {labels.dtype} of shape {labels.shape}")
    if labels.size and not 0 <= labels.min() <= labels.max() < classes:
        raise ValueError(f"labels must lie in 0 .. {classes - 1}, got some in {labels.min()} .. {labels.max()}")
