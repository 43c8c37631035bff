"""What must be true of residual nets: their blocks, their size, their gradient, and that they learn."""

import math

import numpy as np
import pytest
from gradcheck import directional_error, net_error

import nets
from nets import (
    BasicBlock,
    BatchNorm,
    Bottleneck,
    Conv2d,
    Layout,
    Mode,
    PreActivation,
    Sequential,
    Tensor,
    imagenet_stem,
    ops,
    small_stem,
    softmax_cross_entropy,
)

TRAIN = Mode(train=True)


def parameter_count(model):
    return sum(math.prod(block.shape) for block in Layout(model).blocks)


def batch(n=4, shape=(8, 8, 3), classes=10, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, *shape)).astype(dtype), rng.integers(0, classes, n)


def bound(layer, seed=0):
    layout = Layout(layer)
    layout.bind(layout.initial(seed, np.float64))
    return layer


@pytest.mark.parametrize(
    ("model", "count"),
    [(nets.resnet18, 11_173_962), (nets.resnet34, 21_282_122), (nets.resnet50, 23_520_842), (nets.wrn_16_4, 2_748_890)],
)
def test_parameter_counts(model, count):
    assert parameter_count(model()) == count
    assert f"{count:,} parameters" in model.__doc__


@pytest.mark.parametrize(
    ("model", "arguments", "count"),
    [
        (nets.resnet18, {"stem": imagenet_stem}, 11_181_642),
        (nets.resnet50, {"classes": 1000}, 25_549_352),
        (nets.resnet50, {"classes": 1000, "shape": (224, 224, 3), "stem": imagenet_stem}, 25_557_032),
    ],
)
def test_parameter_counts_of_other_forms(model, arguments, count):
    assert parameter_count(model(**arguments)) == count
    assert f"{count:,}" in model.__doc__


@pytest.mark.parametrize(("depth", "factor", "count"), [(28, 10, 36_479_194), (40, 4, 8_949_210)])
def test_wide_resnets_have_the_sizes_of_their_paper(depth, factor, count):
    """Its table 4 gives 36.5 and 8.9 million; the exact numbers follow from the blocks, by hand.

    Stage k of n blocks from c to w channels: 9 c w + 9 w² + c w weights and 2 (c + w) scales and shifts in its first
    block, 18 w² and 4 w in each other.
    """
    n, inputs, total = (depth - 4) // 6, 16, 9 * 3 * 16
    for width in (16 * factor, 32 * factor, 64 * factor):
        total += 9 * inputs * width + 9 * width**2 + inputs * width + 2 * (inputs + width)
        total += (n - 1) * (18 * width**2 + 4 * width)
        inputs = width
    assert total + 2 * inputs + 10 * inputs + 10 == count
    assert parameter_count(nets.wide_resnet(depth, factor)) == count


@pytest.mark.parametrize("depth", [4, 17, 18, 20])
def test_a_wide_resnet_of_no_such_depth_is_refused(depth):
    with pytest.raises(ValueError, match=f"must be 4 more than a multiple of 6, such as 16, got {depth}"):
        nets.wide_resnet(depth, 4)


# --- blocks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(
    ("block", "outputs", "sizes"),
    [
        (BasicBlock, 8, [(8, 3), (8, 3)]),
        (Bottleneck, 32, [(8, 1), (8, 3), (32, 1)]),
        (PreActivation, 8, [(8, 3), (8, 3)]),
    ],
)
def test_a_block_has_its_convolutions_and_takes_a_stride(block, outputs, sizes, stride):
    layer = bound(block(6, 8, stride))
    convolutions = [part for part in layer.body.layers if isinstance(part, Conv2d)]
    assert [(part.outputs, part.size) for part in convolutions] == sizes
    assert all(part.bias is None for part in convolutions)
    strided = [part.size for part in convolutions if part.stride != 1]
    assert strided == ([3] if stride == 2 else []), "in a 3 x 3 convolution: a 1 x 1 one would skip pixels"
    assert layer(Tensor(batch(shape=(7, 5, 6))[0]), TRAIN).data.shape == (4, -(-7 // stride), -(-5 // stride), outputs)


@pytest.mark.parametrize("block", [lambda: BasicBlock(4, 4), lambda: Bottleneck(16, 4), lambda: PreActivation(4, 4)])
def test_a_block_that_keeps_the_shape_has_no_convolution_in_its_shortcut(block):
    layer = block()
    assert not any("shortcut" in name for name, _ in layer.parameters())


@pytest.mark.parametrize("block", [BasicBlock(8, 8), Bottleneck(8, 2)])
def test_a_block_whose_last_scale_is_0_is_relu_of_its_input(block):
    x = Tensor(batch(shape=(3, 3, 8))[0])
    bound(block).norm.gamma.data[...] = 0
    np.testing.assert_array_equal(block(x, TRAIN).data, np.maximum(x.data, 0))


def test_a_pre_activation_block_whose_last_weights_are_0_is_the_identity():
    x, block = Tensor(batch(shape=(3, 3, 8))[0]), bound(PreActivation(8, 8))
    block.body.layers[-1].weight.data[...] = 0
    np.testing.assert_array_equal(block(x, TRAIN).data, x.data)


def test_a_shortcut_that_changes_the_shape_is_a_1_x_1_convolution():
    """Of x, normalised, in a residual block; of ReLU(norm(x)), as it is, in a pre-activation block."""
    x = Tensor(batch(shape=(4, 4, 3))[0])
    block = bound(BasicBlock(3, 5, 2))
    block.norm.gamma.data[...] = 0
    convolution, norm = block.shortcut.layers
    assert (convolution.size, convolution.stride) == (1, 2)
    expected = np.maximum(norm(convolution(x, TRAIN), TRAIN).data, 0)
    np.testing.assert_array_equal(block(x, TRAIN).data, expected)
    block = bound(PreActivation(3, 5, 2))
    block.body.layers[-1].weight.data[...] = 0
    np.testing.assert_array_equal(block(x, TRAIN).data, block.shortcut(block.norm(x, TRAIN), TRAIN).data)


def test_dropout_in_a_wide_block_stands_between_its_convolutions_and_follows_the_draw():
    block, x = bound(PreActivation(3, 3, dropout=0.5)), Tensor(batch(shape=(4, 4, 3))[0])
    assert [type(part).__name__ for part in block.body.layers] == ["Conv2d", "BatchNorm", "Dropout", "Conv2d"]
    first, same, other = (block(x, Mode(True, 0, draw)).data for draw in (1, 1, 2))
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("block", [BasicBlock, Bottleneck, PreActivation])
def test_the_gradient_of_a_block_agrees_with_differences(block, stride):
    layer = bound(block(3, 4, stride))
    assert directional_error(lambda t: layer(t, TRAIN), batch(shape=(5, 4, 3))[0]) < 1e-7


# --- nets ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("stem", "side"), [(small_stem, 32), (imagenet_stem, 8)])
def test_a_stem_keeps_the_pixels_or_a_sixteenth_of_them(stem, side):
    layers = bound(Sequential(*stem(3, 4, nets.torch_uniform)))
    assert layers(Tensor(batch(2, (32, 32, 3))[0]), TRAIN).data.shape == (2, side, side, 4)


def test_channels_double_and_sides_halve_from_stage_to_stage():
    net, x, shapes = bound(nets.resnet18(width=4)), Tensor(batch(2, (32, 32, 3))[0]), []
    for k, layer in enumerate(net.layers):
        x = layer(x, TRAIN.inside(k))
        if isinstance(layer, BasicBlock):
            shapes.append(x.data.shape[1:])
    assert shapes == [(32, 32, 4)] * 2 + [(16, 16, 8)] * 2 + [(8, 8, 16)] * 2 + [(4, 4, 32)] * 2


@pytest.mark.parametrize(
    "model",
    [
        lambda: nets.resnet18(width=4), lambda: nets.resnet18(width=4, stem=imagenet_stem),
        lambda: nets.resnet(Bottleneck, (1, 1), (8, 8, 3), 10, width=4), lambda: nets.wide_resnet(10, 1, dropout=0.2),
    ],
    ids=["basic", "imagenet stem", "bottleneck", "wide"],
)  # fmt: skip
@pytest.mark.parametrize("seed", range(2))
def test_the_flat_gradient_agrees_with_differences(model, seed):
    """In training: the gradient knows that the statistics of the batch depend on every weight before them."""
    assert net_error(model(), *batch(8, (16, 16, 3), seed=seed), seed=seed) < 1e-7


def test_a_narrow_resnet_18_overfits_one_batch():
    """Random labels: there is only the batch to learn. Evaluation agrees once the running statistics have arrived."""
    model = nets.resnet18(width=8)
    layout, (x, y) = Layout(model), batch(16, dtype=np.float32)
    theta = layout.initial(0)
    for _ in range(60):
        f, g = layout.evaluate(theta, lambda: softmax_cross_entropy(model(Tensor(x), Mode(True, update=True)), y))
        theta -= 0.1 * g
    assert theta.dtype == np.float32
    assert f < 0.02
    layout.bind(theta)
    assert softmax_cross_entropy(model(Tensor(x), Mode()), y).data < 0.1
    assert {buffer.data.dtype for _, buffer in model.buffers()} == {np.dtype(np.float32)}


def test_the_bias_of_a_convolution_before_a_norm_would_have_no_gradient():
    """Why there is none: batch norm takes it away again."""
    model = bound(Sequential(Conv2d(3, 4, 3, bias=nets.torch_uniform), BatchNorm(4, relu=True)))
    parameters = dict(model.parameters())
    for parameter in parameters.values():
        parameter.needs_grad = True
    u = Tensor(np.random.default_rng(0).standard_normal((4, 6, 6, 4)))
    ops.sum(ops.multiply(model(Tensor(batch()[0]), TRAIN), u)).backward()
    assert abs(parameters["0.bias"].grad).max() < 1e-12  # rounding of sums of 144 terms of order 1
    assert abs(parameters["0.weight"].grad).max() > 0.1
