"""What must be true of every operation: its value, its adjoint, its dtype, and that it leaves its operands alone."""

import numpy as np
import pytest
from gradcheck import directional_error, pullback
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from nets import Tensor, ops

GIVEN = np.float32([3, 2, 1, 0]), np.float32([1, 2, 3, 4])  # mean and variance
OPS = {  # operation: the shapes of its operands
    "affine": (ops.affine, [(5, 4), (4, 3), (3,)]),
    "add": (ops.add, [(5, 4), (5, 4)]),
    "multiply": (ops.multiply, [(5, 4), (5, 4)]),
    "relu": (ops.relu, [(5, 4)]),
    "tanh": (ops.tanh, [(5, 4)]),
    "sigmoid": (ops.sigmoid, [(5, 4)]),
    "reshape": (lambda x: ops.reshape(x, (2, -1)), [(5, 2, 3)]),
    "sum": (ops.sum, [(5, 4)]),
    "batch_norm": (lambda x, gamma, beta: ops.batch_norm(x, gamma, beta, 1e-5)[0], [(5, 2, 3, 4), (4,), (4,)]),
    "normalize": (lambda x, *parameters: ops.normalize(x, *GIVEN, *parameters, eps=0.1), [(5, 2, 3, 4), (4,), (4,)]),
}
BROADCAST = [(5, 4, 3), (4, 3), (3,), (1, 3), (4, 1), (1, 1, 1), (5, 1, 1), ()]
every_op = pytest.mark.parametrize(("function", "shapes"), OPS.values(), ids=OPS.keys())


def points(shapes, seed, dtype=np.float64):
    """Random operands, at least 0.01 away from ReLU's kink, much more than a difference quotient steps."""
    rng = np.random.default_rng(seed)
    return [(np.sign(a) * (np.abs(a) + 0.01)).astype(dtype) for a in map(rng.standard_normal, shapes)]


@every_op
@given(seed=st.integers(0, 2**32))
@settings(max_examples=10, deadline=None)
def test_the_vjp_is_the_adjoint_of_the_derivative(function, shapes, seed):
    assert directional_error(function, *points(shapes, seed), seed=seed + 1) < 1e-8  # see gradcheck.H


@pytest.mark.parametrize("shape", [(5, 4), (5, 2, 3, 4), (1, 1, 1, 1)], ids=str)
def test_channel_sums_run_over_all_axes_but_the_last(shape):
    x, out = np.arange(np.prod(shape), dtype=float).reshape(shape), np.empty(shape[-1])
    expected = x.sum(axis=tuple(range(x.ndim - 1)))  # of integers: exact in any order
    np.testing.assert_array_equal(ops.channel_sums(x), expected)
    assert ops.channel_sums(x, out) is out
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("function", [ops.add, ops.multiply])
@pytest.mark.parametrize("a", BROADCAST, ids=str)
@pytest.mark.parametrize("b", [(5, 4, 3), (3,), (4, 1), ()], ids=str)
def test_a_broadcast_operand_gets_the_sum_over_its_copies(function, a, b):
    assert directional_error(function, *points([a, b], 0)) < 1e-8
    operands = points([a, b], 1)
    gradients = pullback(function, operands, np.ones(np.broadcast_shapes(a, b)))
    assert [np.shape(g) for g in gradients] == [a, b]


@every_op
def test_float32_in_float32_out(function, shapes):
    operands = points(shapes, 0, np.float32)
    y = function(*map(Tensor, operands)).data
    assert y.dtype == np.float32
    assert [g.dtype for g in pullback(function, operands, np.ones_like(y))] == [np.float32] * len(shapes)


@every_op
def test_nothing_it_is_given_is_written_to(function, shapes):
    leaves = [Tensor(a, needs_grad=True) for a in points(shapes, 0)]
    for t in leaves:
        t.data.flags.writeable = False
    y = function(*leaves)
    g = np.ones_like(y.data)
    g.flags.writeable = False
    for _, vjp in y.operands:
        vjp(g, None)


@every_op
def test_with_a_place_for_the_gradient_the_values_are_the_same(function, shapes):
    operands = points(shapes, 0)
    u = np.random.default_rng(0).standard_normal(function(*map(Tensor, operands)).data.shape)
    leaves = [Tensor(a, needs_grad=True) for a in operands]
    for t in leaves:
        t.into = np.full_like(t.data, np.nan)
    ops.sum(ops.multiply(function(*leaves), Tensor(u))).backward()
    for t, expected in zip(leaves, pullback(function, operands, u), strict=True):
        np.testing.assert_array_equal(t.into, expected)


@pytest.mark.parametrize("operand", [1, 2], ids=["weight", "bias"])
def test_affine_writes_parameter_gradients_without_a_copy(operand):
    leaves = [Tensor(a, needs_grad=True) for a in points(OPS["affine"][1], 0)]
    out = np.empty_like(leaves[operand].data)
    vjp = ops.affine(*leaves).operands[operand][1]
    assert vjp(np.ones((5, 3)), out) is out


def test_affine_is_a_product_plus_a_bias():
    x, w, b = points(OPS["affine"][1], 0)
    np.testing.assert_array_equal(ops.affine(Tensor(x), Tensor(w), Tensor(b)).data, x @ w + b)


def test_relu_has_the_subgradient_zero_at_its_kink():
    x = np.array([-np.inf, -1.0, -0.0, 0.0, 2.0, np.inf])
    np.testing.assert_array_equal(ops.relu(Tensor(x)).data, [0.0, 0.0, 0.0, 0.0, 2.0, np.inf])
    leaf = Tensor(x, needs_grad=True)
    ((_, vjp),) = ops.relu(leaf).operands
    np.testing.assert_array_equal(vjp(np.full(6, 3.0), None), [0.0, 0.0, 0.0, 0.0, 3.0, 3.0])


@pytest.mark.parametrize("function", [ops.relu, ops.tanh, ops.sigmoid])
def test_a_nan_stays_visible(function):
    assert np.isnan(function(Tensor(np.array([np.nan]))).data).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sigmoid_is_accurate_at_both_ends_and_never_overflows(dtype):
    x = np.array([-1e4, -700, -80, -20, -1, -1e-8, 0, 1e-8, 1, 20, 80, 700, 1e4], dtype)
    y = ops.sigmoid(Tensor(x)).data  # a warning would fail this test
    np.testing.assert_allclose(y, expit(x), rtol=4 * np.finfo(dtype).eps, atol=0)  # a few roundings
    slope = pullback(ops.sigmoid, [x], np.ones_like(x))[0]
    assert np.isfinite(slope).all()


def test_reshape_keeps_the_order_of_elements():
    x = np.arange(12.0).reshape(2, 2, 3)
    np.testing.assert_array_equal(ops.reshape(Tensor(x), (2, -1)).data, [range(6), range(6, 12)])
