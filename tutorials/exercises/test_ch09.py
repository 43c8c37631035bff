"""Run by the reader of chapter 9: python -m pytest tutorials/exercises/test_ch09.py"""

import numpy as np
from ch09 import batch_norm_gradient, correlate_adjoint, leaky_relu

from nets import Tensor, ops


def gradient(operation, x, g):
    """Return df/dx for f = <g, operation(x)>."""
    leaf = Tensor(x, needs_grad=True)
    ops.sum(ops.multiply(operation(leaf), Tensor(g))).backward()
    return leaf.grad


def test_leaky_relu_is_what_it_says():
    x = np.array([-2.0, 0.0, 3.0])
    np.testing.assert_allclose(leaky_relu(Tensor(x), 0.1).data, [-0.2, 0, 3])
    np.testing.assert_allclose(gradient(lambda t: leaky_relu(t, 0.1), x, np.array([1.0, 1, 2])), [0.1, 0.1, 2])


def test_leaky_relu_of_a_leaky_relu():
    x = np.array([-2.0, 3.0])
    twice = gradient(lambda t: leaky_relu(leaky_relu(t, 0.5), 0.5), x, np.ones(2))
    np.testing.assert_allclose(twice, [0.25, 1])


def test_leaky_relu_keeps_float32():
    assert leaky_relu(Tensor(np.ones(2, np.float32)), 0.1).data.dtype == np.float32


def test_correlate_adjoint_is_the_adjoint():
    rng = np.random.default_rng(0)
    for m, k, stride in ((5, 3, 1), (4, 3, 2), (3, 2, 3), (1, 4, 1)):
        x, w, g = (rng.standard_normal(size) for size in (stride * (m - 1) + k, k, m))
        y = np.correlate(x, w)[::stride]
        back = correlate_adjoint(g, w, stride)
        assert back.shape == x.shape
        assert np.isclose(y @ g, x @ back)


def test_batch_norm_gradient_is_the_packages():
    rng = np.random.default_rng(1)
    x, g = 3 + 2 * rng.standard_normal((8, 3)), rng.standard_normal((8, 3))
    ones, zeros = Tensor(np.ones(3)), Tensor(np.zeros(3))
    package = gradient(lambda t: ops.batch_norm(t, ones, zeros, eps=0.0)[0], x, g)
    np.testing.assert_allclose(batch_norm_gradient(g, x), package, rtol=1e-9, atol=1e-12)
