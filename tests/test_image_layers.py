"""What must be true of layers of images: their parameters, batch norm in training and evaluation, what they refuse."""

import pickle
import re

import numpy as np
import pytest
from gradcheck import directional_error, pullback
from hypothesis import given, settings
from hypothesis import strategies as st

import nets
from nets import AvgPool2d, BatchNorm, Conv2d, GlobalAvgPool, Layout, MaxPool2d, Mode, Sequential, Tensor, conv, ops

TRAIN, UPDATE, EVAL = Mode(train=True), Mode(train=True, update=True), Mode()
SHAPES = [(7, 3), (4, 1, 1, 3), (1, 2, 3, 3), (5, 4, 3, 3)]


def images(shape=(5, 4, 3, 3), seed=0, dtype=np.float64, mean=0.0, std=1.0):
    return (mean + std * np.random.default_rng(seed).standard_normal(shape)).astype(dtype)


def bound(layer, seed=0, dtype=np.float64):
    """The layer with all parameters random."""
    layout = Layout(layer)
    layout.bind(np.random.default_rng(seed).standard_normal(layout.size).astype(dtype))
    return layer


def statistics(layer):
    return layer.running_mean.data, layer.running_var.data


# --- convolution and pooling -----------------------------------------------------------------------------------------


def test_a_convolution_layer_is_the_convolution_with_its_weight_and_bias():
    layer, x = bound(Conv2d(3, 4, 2, stride=2, padding=1, bias=nets.torch_uniform)), images()
    w, b = layer.weight.data, layer.bias.data
    assert (w.shape, b.shape) == ((4, 2, 2, 3), (4,))
    expected = conv.conv2d(Tensor(x), Tensor(w), Tensor(b), 2, 1).data
    np.testing.assert_array_equal(layer(Tensor(x), TRAIN).data, expected)


def test_a_convolution_without_bias_has_one_parameter():
    layer = bound(Conv2d(3, 4, 2, bias=None))
    assert [name for name, _ in layer.parameters()] == ["weight"]
    expected = conv.conv2d(Tensor(images()), Tensor(layer.weight.data)).data
    np.testing.assert_array_equal(layer(Tensor(images()), TRAIN).data, expected)


@pytest.mark.parametrize("shape", [(2, 8, 8, 1), (2, 3, 8, 8), (8, 8, 3), (2, 192)], ids=str)
def test_a_convolution_layer_names_the_shape_it_expects_and_the_one_it_got(shape):
    sentence = f"Conv2d(3, 4, 5) expects images of shape (N, H, W, 3), got {shape}"
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        bound(Conv2d(3, 4, 5))(Tensor(np.zeros(shape)), TRAIN)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [(MaxPool2d(2), (5, 2, 1, 3)), (MaxPool2d(3, 2, 1), (5, 2, 2, 3)), (MaxPool2d(2, 1), (5, 3, 2, 3)),
     (AvgPool2d(2), (5, 2, 1, 3)), (AvgPool2d(2, 1), (5, 3, 2, 3)), (GlobalAvgPool(), (5, 3))],
)  # fmt: skip
def test_pools_stand_side_by_side_unless_told_otherwise(layer, shape):
    assert layer(Tensor(images()), TRAIN).data.shape == shape
    assert list(layer.parameters()) == []


# --- batch norm in training ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("plus", [False, True])
@pytest.mark.parametrize("mode", [TRAIN, EVAL], ids=["train", "eval"])
def test_the_gradient_of_batch_norm_agrees_with_differences(shape, relu, plus, mode):
    """By x, the shortcut, γ and β at once; a step of 1e-5 moves none of these few values across the kink of ReLU."""
    layer = BatchNorm(3, relu=relu)
    layer.running_mean.data, layer.running_var.data = np.array([0.3, -1.0, 0.1]), np.array([0.5, 2.0, 1.0])
    rng = np.random.default_rng(1)
    points = [images(shape), rng.standard_normal(3), rng.standard_normal(3)] + [images(shape, 2)] * plus

    def function(x, gamma, beta, *shortcut):
        layer.gamma, layer.beta = gamma, beta
        return layer(x, mode, *shortcut)

    assert directional_error(function, *points) < 1e-7


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_each_channel_gets_the_mean_beta_and_the_standard_deviation_gamma(shape):
    """Up to eps, which is left out here."""
    layer = bound(BatchNorm(3, eps=0.0))
    y = layer(Tensor(images(shape, mean=3.0, std=2.0)), TRAIN).data.reshape(-1, 3)
    np.testing.assert_allclose(y.mean(axis=0), layer.beta.data, rtol=0, atol=1e-14)
    np.testing.assert_allclose(y.std(axis=0), abs(layer.gamma.data), rtol=1e-13)


def test_eps_is_added_to_the_variance():
    x = np.array([[-1.0], [1.0]])
    y, _, _ = ops.batch_norm(Tensor(x), Tensor(np.ones(1)), Tensor(np.zeros(1)), eps=3.0)
    np.testing.assert_array_equal(y.data, x / 2)


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.sampled_from(SHAPES))
def test_its_gradient_is_orthogonal_to_shifts_and_stretches_of_a_channel(seed, shape):
    """Without eps the value does not change along them; 1e-13 of what is summed: a few hundred roundings."""
    x = images(shape, seed)
    layer = bound(BatchNorm(3, eps=0.0), seed)
    g = np.random.default_rng(seed + 1).standard_normal(shape)
    dx = pullback(lambda t: layer(t, TRAIN), [x], g)[0].reshape(-1, 3)
    rows = x.reshape(-1, 3)
    x_hat = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    summed = np.abs(g).reshape(-1, 3).sum(axis=0) * np.abs(layer.gamma.data) / rows.std(axis=0)
    assert (np.abs(dx.sum(axis=0)) <= 1e-13 * summed).all()
    assert (np.abs((dx * x_hat).sum(axis=0)) <= 1e-13 * summed * len(rows)).all()


@pytest.mark.parametrize("shape", [(4096, 3), (16, 16, 16, 3), (2, 64, 32, 3)], ids=str)
def test_the_variance_keeps_its_digits_where_the_mean_is_large(shape):
    """In float32, mean 1e4 and standard deviation 1: mean(x²) - μ² would have none left, 1e8 being known to 8.

    The inputs are rounded to 1e-3 before; what is compared is the float64 result for the rounded ones.
    """
    x = images(shape, dtype=np.float32, mean=1e4)
    one, zero = Tensor(np.ones(3, np.float32)), Tensor(np.zeros(3, np.float32))
    y, mean, variance = ops.batch_norm(Tensor(x), one, zero, 1e-5)
    exact = x.astype(np.float64).reshape(-1, 3)
    np.testing.assert_allclose(variance, exact.var(axis=0), rtol=1e-5)  # 1e-3 is asked for
    np.testing.assert_allclose(mean, exact.mean(axis=0), rtol=1e-7)  # half a unit in the last place is 5e-8
    expected = (exact - exact.mean(axis=0)) / np.sqrt(exact.var(axis=0) + 1e-5)
    np.testing.assert_allclose(y.data.reshape(-1, 3), expected, rtol=0, atol=1e-4)
    assert (y.data.dtype, mean.dtype, variance.dtype) == (np.float32,) * 3


def test_an_outlier_where_the_sums_begin_costs_no_digits():
    """The value that is subtracted from a channel beforehand may be its worst."""
    x = images((8, 8, 8, 2), dtype=np.float32)
    x[0, 0, 0] = 1e4
    _, mean, variance = ops.batch_norm(Tensor(x), Tensor(np.ones(2)), Tensor(np.zeros(2)), 1e-5)
    exact = x.astype(np.float64).reshape(-1, 2)
    np.testing.assert_allclose(variance, exact.var(axis=0), rtol=1e-5)
    np.testing.assert_allclose(mean, exact.mean(axis=0), rtol=1e-4)  # 20, of numbers near 10,000


def test_a_constant_channel_becomes_beta():
    layer = bound(BatchNorm(2))
    y = layer(Tensor(np.full((3, 2, 2, 2), 7.0)), TRAIN).data
    np.testing.assert_array_equal(y, np.broadcast_to(layer.beta.data, y.shape))


def test_relu_comes_last_and_the_shortcut_before_it():
    x, plus = images(), images(seed=5)
    plain, with_relu = bound(BatchNorm(3)), bound(BatchNorm(3, relu=True))
    y = plain(Tensor(x), TRAIN).data
    np.testing.assert_array_equal(with_relu(Tensor(x), TRAIN).data, np.maximum(y, 0))
    np.testing.assert_array_equal(plain(Tensor(x), TRAIN, Tensor(plus)).data, y + plus)
    np.testing.assert_array_equal(with_relu(Tensor(x), TRAIN, Tensor(plus)).data, np.maximum(y + plus, 0))


# --- running statistics and evaluation -------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_running_statistics_go_a_tenth_of_the_way_to_the_unbiased_ones_of_the_batch(shape):
    layer, x = bound(BatchNorm(3)), images(shape, mean=2.0, std=3.0)
    rows, mean, variance = x.reshape(-1, 3), np.zeros(3), np.ones(3)
    for _ in range(3):
        layer(Tensor(x), UPDATE)
        mean = 0.9 * mean + 0.1 * rows.mean(axis=0)
        variance = 0.9 * variance + 0.1 * rows.var(axis=0, ddof=1)
        np.testing.assert_allclose(statistics(layer), (mean, variance), rtol=1e-13)


def test_momentum_is_the_weight_of_the_newest_batch():
    layer, x = bound(BatchNorm(3, momentum=1.0)), images()
    layer(Tensor(images(seed=9)), UPDATE)
    layer(Tensor(x), UPDATE)
    rows = x.reshape(-1, 3)
    np.testing.assert_allclose(statistics(layer), (rows.mean(axis=0), rows.var(axis=0, ddof=1)), rtol=1e-12)


@pytest.mark.parametrize("mode", [TRAIN, EVAL, Mode(update=True)], ids=["train", "eval", "eval with update"])
def test_they_move_only_in_training_and_when_told_to(mode):
    layer = bound(BatchNorm(3))
    layer(Tensor(images(mean=2.0)), mode)
    np.testing.assert_array_equal(statistics(layer), ([0, 0, 0], [1, 1, 1]))


def test_whether_they_move_does_not_change_the_answer():
    layer, x = bound(BatchNorm(3)), Tensor(images())
    np.testing.assert_array_equal(layer(x, UPDATE).data, layer(x, TRAIN).data)


def test_an_array_of_statistics_that_was_handed_out_is_never_written_to():
    layer = bound(BatchNorm(3))
    mean, variance = statistics(layer)
    layer(Tensor(images(mean=2.0)), UPDATE)
    np.testing.assert_array_equal((mean, variance), ([0, 0, 0], [1, 1, 1]))


def test_evaluation_normalises_by_the_running_statistics():
    layer, x = bound(BatchNorm(3)), images(mean=2.0, std=3.0)
    layer(Tensor(images(seed=1)), UPDATE)
    mean, variance = statistics(layer)
    expected = layer.gamma.data * (x - mean) / np.sqrt(variance + 1e-5) + layer.beta.data
    np.testing.assert_allclose(layer(Tensor(x), EVAL).data, expected, rtol=1e-13, atol=1e-14)


def test_evaluation_does_not_depend_on_who_is_in_the_batch():
    layer, x = bound(BatchNorm(3)), images()
    whole = layer(Tensor(x), EVAL).data
    np.testing.assert_array_equal(np.concatenate([layer(Tensor(part), EVAL).data for part in (x[:1], x[1:])]), whole)


def test_after_many_equal_batches_evaluation_is_training_up_to_the_bias_of_the_variance():
    """0.9^300 = 2e-14 of the start is left; M = 60, so standard deviations differ by the square root of 60 / 59."""
    layer, x = bound(BatchNorm(3, eps=0.0)), images(mean=1.0)
    for _ in range(300):
        y = layer(Tensor(x), UPDATE).data
    beta = layer.beta.data
    expected = beta + (y - beta) * np.sqrt(59 / 60)
    np.testing.assert_allclose(layer(Tensor(x), EVAL).data, expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("mode", [UPDATE, EVAL], ids=["train", "eval"])
def test_float32_in_float32_out_and_in_the_running_statistics(mode):
    layer = bound(BatchNorm(3, relu=True), dtype=np.float32)
    x = Tensor(images(dtype=np.float32), needs_grad=True)
    y = layer(x, mode)
    ops.sum(y).backward()
    assert {y.data.dtype, x.grad.dtype, *(array.dtype for array in statistics(layer))} == {np.dtype(np.float32)}


def test_buffers_are_named_like_parameters_and_are_none():
    net = Sequential(Conv2d(3, 4, 3), BatchNorm(4), Sequential(BatchNorm(4)))
    names = [name for name, _ in net.buffers()]
    assert names == ["1.running_mean", "1.running_var", "2.0.running_mean", "2.0.running_var"]
    assert not set(names) & {name for name, _ in net.parameters()}
    copy = pickle.loads(pickle.dumps(net))
    for (_, mine), (_, other) in zip(net.buffers(), copy.buffers(), strict=True):
        np.testing.assert_array_equal(mine.data, other.data)


# --- what batch norm refuses -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(7, 4), (5, 3, 3), (3,), (2, 3, 4, 4)], ids=str)
def test_batch_norm_names_the_shapes_it_expects_and_the_one_it_got(shape):
    sentence = f"BatchNorm(3) expects an input of shape (N, 3) or (N, H, W, 3), got {shape}"
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        bound(BatchNorm(3))(Tensor(np.zeros(shape)), TRAIN)


@pytest.mark.parametrize("shape", [(1, 3), (1, 1, 1, 3)], ids=str)
def test_a_single_value_of_each_channel_is_refused_in_training_only(shape):
    layer = bound(BatchNorm(3))
    with pytest.raises(ValueError, match=r"^BatchNorm\(3\) needs at least 2 values of each channel to train on, got"):
        layer(Tensor(np.zeros(shape)), UPDATE)
    np.testing.assert_array_equal(statistics(layer), ([0, 0, 0], [1, 1, 1]))
    assert layer(Tensor(np.zeros(shape)), EVAL).data.shape == shape
