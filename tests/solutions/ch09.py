"""Solutions of chapter 9."""

import numpy as np

from nets import Tensor


def leaky_relu(x, slope):
    factor = np.where(x.data > 0, 1, slope).astype(x.data.dtype)
    return Tensor(x.data * factor, (x, lambda g, out: g * factor))


def correlate_adjoint(g, w, stride):
    x = np.zeros(stride * (len(g) - 1) + len(w))
    for u, weight in enumerate(w):
        x[u : u + stride * len(g) : stride] += weight * g
    return x


def batch_norm_gradient(g, x):
    deviation = x.std(axis=0)
    x_hat = (x - x.mean(axis=0)) / deviation
    return (g - g.mean(axis=0) - x_hat * (g * x_hat).mean(axis=0)) / deviation


SLIPS = [
    ("lambda g, out: g * factor", "lambda g, out: factor"),
    (".astype(x.data.dtype)", ""),
    ("] += weight * g", "] = weight * g"),
    ("enumerate(w)", "enumerate(w[::-1])"),
    (" - g.mean(axis=0)", ""),
    (" - x_hat * (g * x_hat).mean(axis=0)", ""),
    (") / deviation\n    return", ")\n    return"),
]
