"""What must be true of layers: their gradients, the laws of initial weights, and dropout that follows the draw."""

import math
import pickle
import re
from functools import partial

import numpy as np
import pytest
from gradcheck import directional_error
from hypothesis import given, settings
from hypothesis import strategies as st

import nets
from nets import Dropout, Flatten, Layer, Layout, Linear, Mode, ReLU, Sequential, Sigmoid, Tanh, Tensor, ops
from nets.layers import random_bits

TRAIN = Mode(train=True, seed=3, draw=5)
seeds = st.integers(0, 2**32)

# --- layers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", [ReLU(), Tanh(), Sigmoid(), Flatten(), Dropout(0.4)], ids=lambda x: type(x).__name__)
def test_gradients_agree_with_differences(layer):
    x = np.random.default_rng(0).standard_normal((5, 2, 3, 4))
    assert directional_error(lambda t: layer(t, TRAIN), x) < 1e-8


def test_linear_computes_x_w_plus_b_and_its_gradients():
    layer = Linear(4, 3, nets.he_normal, nets.torch_uniform)
    layout = Layout(layer)
    theta = layout.initial(0, np.float64)
    weight, bias = layout.views(theta).values()
    x = np.random.default_rng(1).standard_normal((5, 4))
    layout.bind(theta)
    np.testing.assert_array_equal(layer(Tensor(x), TRAIN).data, x @ weight + bias)
    assert directional_error(partial(layer, mode=TRAIN), x) < 1e-9


@pytest.mark.parametrize("shape", [(7, 5), (4,), (2, 2, 1), (2, 2, 4)], ids=str)
def test_linear_names_the_shape_it_expects_and_the_one_it_got(shape):
    layer = Linear(4, 3)
    sentence = f"Linear(4, 3) expects an input of shape (N, 4), got {shape}: images go through Flatten() first"
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        layer(Tensor(np.zeros(shape)), TRAIN)


def test_a_layer_without_values_says_where_they_come_from():
    with pytest.raises(AttributeError, match=r"no data before Layout\.bind or Layout\.evaluate"):
        Linear(4, 3)(Tensor(np.zeros((2, 4))), TRAIN)


def test_flatten_puts_the_channels_of_a_pixel_side_by_side():
    x = np.arange(24.0).reshape(2, 2, 2, 3)
    y = Flatten()(Tensor(x), TRAIN).data
    assert y.shape == (2, 12)
    np.testing.assert_array_equal(y[1, 3:6], x[1, 0, 1])  # image 1, row 0, column 1


def test_a_block_names_its_parameters_by_its_attributes_in_order():
    class Block(Layer):
        def __init__(self):
            self.width = 3
            self.second = Linear(3, 3)
            self.body = Sequential(ReLU(), Linear(3, 3))

    names = [name for name, _ in Block().parameters()]
    assert names == ["second.weight", "second.bias", "body.1.weight", "body.1.bias"]


def test_a_net_survives_pickling_so_that_a_sweep_can_send_it_to_another_process():
    net = nets.mlp((4, 5, 3), Tanh, nets.glorot_uniform, nets.zeros, dropout=0.5)
    copy = pickle.loads(pickle.dumps(net))
    np.testing.assert_array_equal(Layout(copy).initial(1), Layout(net).initial(1))


# --- dropout ---------------------------------------------------------------------------------------------------------


def mask(rate, mode, shape=(500, 400)):
    """What dropout multiplies ones with."""
    return Dropout(rate)(Tensor(np.ones(shape)), mode).data


def modes():
    """Modes that differ in one thing each, among them paths that only a trailing 0 or their order tells apart."""
    yield TRAIN
    yield Mode(True, 4, 5)
    yield Mode(True, 3, 6)
    yield from (Mode(True, 3, 5, path) for path in [(0,), (1,), (0, 0), (0, 1), (1, 0)])


def test_within_a_draw_the_mask_is_bit_equal():
    np.testing.assert_array_equal(mask(0.3, TRAIN), mask(0.3, Mode(train=True, seed=3, draw=5)))


def test_masks_of_other_seeds_draws_and_layers_are_independent():
    """The correlation of two independent masks of n elements has standard deviation 1 / sqrt(n)."""
    masks = [mask(0.5, mode).ravel() - 1 for mode in modes()]  # -1 or 1
    n = masks[0].size
    correlations = np.array(masks) @ np.array(masks).T / n - np.eye(len(masks))
    assert abs(correlations).max() < 5 / math.sqrt(n)


@given(seed=seeds, draw=st.integers(0, 2**20), rate=st.sampled_from([0.1, 0.25, 0.5, 0.9]))
@settings(max_examples=20, deadline=None)
def test_the_share_kept_is_binomial_and_neighbours_are_uncorrelated(seed, draw, rate):
    """6 standard deviations everywhere: passed by true randomness in all but 1e-8 of cases."""
    kept = mask(rate, Mode(True, seed, draw)) > 0
    n, keep = kept.size, 1 - rate
    assert abs(kept.sum() - n * keep) < 6 * math.sqrt(n * keep * rate)
    centred = kept - keep
    for pairs in (centred[:, 1:] * centred[:, :-1], centred[1:] * centred[:-1]):
        assert abs(pairs.sum()) < 6 * keep * rate * math.sqrt(pairs.size)
    assert abs(centred.sum(axis=0)).max() < 7 * math.sqrt(len(kept) * keep * rate)  # of 400; no unit is favoured


def test_over_draws_every_element_is_kept_equally_often():
    kept = sum(mask(0.5, Mode(True, 0, draw), (100, 100)) > 0 for draw in range(400))
    assert abs(kept - 200).max() < 6 * math.sqrt(100)  # standard deviation sqrt(400 / 4)
    assert np.var(kept) == pytest.approx(100, rel=6 * math.sqrt(2 / kept.size))


def test_what_is_kept_is_scaled_so_that_the_mean_stays():
    assert set(np.unique(mask(0.75, TRAIN))) == {0.0, 4.0}
    x = np.full((500, 400), 2.0, np.float32)
    y = Dropout(0.75)(Tensor(x), TRAIN).data
    assert y.dtype == np.float32
    assert y.mean() == pytest.approx(2.0, abs=6 * 2 * math.sqrt(3 / y.size))  # variance of a mask of rate 3/4: 3


@pytest.mark.parametrize(("layer", "mode"), [(Dropout(0.5), Mode()), (Dropout(0.0), TRAIN)], ids=["eval", "rate 0"])
def test_dropout_is_the_identity_in_evaluation_and_at_rate_0(layer, mode):
    x = Tensor(np.ones((4, 3)))
    assert layer(x, mode) is x


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5, float("nan")])
def test_an_impossible_rate_is_refused(rate):
    with pytest.raises(ValueError, match=r"a number in \[0, 1\), got"):
        Dropout(rate)


def test_layers_of_a_sequence_drop_different_units():
    x = Tensor(np.ones((200, 100)))
    twice = Sequential(Dropout(0.5), Dropout(0.5))(x, TRAIN).data
    assert (twice > 0).mean() == pytest.approx(0.25, abs=0.02)  # 0.5 if both dropped the same ones


def test_nested_sequences_drop_different_units():
    x, net = Tensor(np.ones((200, 100))), Sequential(Dropout(0.5))
    twice = Sequential(net, net)(x, TRAIN).data
    assert (twice > 0).mean() == pytest.approx(0.25, abs=0.02)


@given(seed=seeds, draw=st.integers(0, 2**40), path=st.lists(st.integers(0, 60), max_size=3))
@settings(max_examples=20, deadline=None)
def test_the_bits_are_the_documented_hash_in_exact_integers(seed, draw, path):
    """The same in Python's integers: no overflow, cast or sign of an array library is involved."""
    mode = Mode(True, seed, draw, tuple(path))
    a, c = map(int, np.random.SeedSequence(seed, spawn_key=(draw, *path)).generate_state(2))
    bits = random_bits(np.empty((3, 5), np.float32), mode)
    assert bits.dtype == np.uint32
    for i, found in enumerate(bits.ravel().tolist()):
        h = ((a | 1) * i + c) % 2**32
        h = (h ^ h >> 16) * 0x7FEB352D % 2**32
        h = (h ^ h >> 15) * 0x846CA68B % 2**32
        assert found == h ^ h >> 16


def test_the_mask_does_not_depend_on_dtype():
    x = np.ones((20, 30))
    single = Dropout(0.5)(Tensor(x.astype(np.float32)), TRAIN).data
    np.testing.assert_array_equal(single, Dropout(0.5)(Tensor(x), TRAIN).data)


def test_the_gradient_meets_the_mask_of_the_value():
    x = Tensor(np.ones((20, 30)), needs_grad=True)
    y = Dropout(0.5)(x, TRAIN)
    ops.sum(y).backward()
    np.testing.assert_array_equal(x.grad, y.data)
