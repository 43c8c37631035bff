"""What must be true of LeNet, AlexNet and VGG: their size, their gradient, what they take and refuse."""

import math
import re
from itertools import pairwise

import numpy as np
import pytest
from gradcheck import net_error

import nets
from nets import BatchNorm, Conv2d, Dropout, Flatten, Layout, Linear, MaxPool2d, ReLU, Sequential


def parameter_count(model):
    return sum(math.prod(block.shape) for block in Layout(model).blocks)


def batch(shape, n=4, classes=10, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, *shape)), rng.integers(0, classes, n)


@pytest.mark.parametrize(
    ("model", "count"), [(nets.lenet, 62_006), (nets.alexnet, 23_272_266), (nets.vgg11, 9_756_426)]
)
def test_parameter_counts(model, count):
    assert parameter_count(model()) == count
    assert f"{count:,} parameters" in model.__doc__


def test_lenet_for_mnist_has_a_border_and_the_layers_of_1998():
    """The convolutions have 156 and, connected completely, 2,416 parameters; the affine layers those of the paper."""
    sizes = [math.prod(block.shape) for block in Layout(nets.lenet((28, 28, 1))).blocks]
    layers = [weight + bias for weight, bias in zip(sizes[::2], sizes[1::2], strict=True)]
    assert layers == [156, 2_416, 48_120, 10_164, 850]
    assert sum(layers) == 61_706


def test_every_convolution_of_vgg_has_a_norm_with_relu_and_its_stages_end_in_a_pool():
    layers = nets.vgg11().layers
    stage, pair = [MaxPool2d], [Conv2d, BatchNorm]
    convolutional = [*pair, *stage, *pair, *stage, *[*pair, *pair, *stage] * 3]
    kinds = [type(layer) for layer in layers]
    assert kinds == [*convolutional, Flatten, Linear, ReLU, Linear, ReLU, Linear]
    assert all(layer.relu for layer in layers if isinstance(layer, BatchNorm))
    widths = [layer.outputs for layer in layers if isinstance(layer, Conv2d | Linear)]
    assert widths == [64, 128, 256, 256, 512, 512, 512, 512, 512, 512, 10]


def test_the_affine_layers_of_vgg_start_small_and_without_biases():
    """As in the code of Liang et al."""
    affine = [layer for layer in nets.vgg11().layers if isinstance(layer, Linear)]
    assert [(layer.weight.initial, layer.bias.initial) for layer in affine] == [(nets.vgg_normal, nets.zeros)] * 3


def test_alexnet_drops_units_before_its_two_large_layers():
    layers = nets.alexnet().layers
    followers = [after for layer, after in pairwise(layers) if isinstance(layer, Dropout)]
    assert [(layer.inputs, layer.outputs) for layer in followers] == [(1024, 4096), (4096, 4096)]
    assert [layer.outputs for layer in layers if isinstance(layer, Conv2d)] == [64, 192, 384, 256, 256]


@pytest.mark.parametrize("seed", range(3))
def test_the_gradient_of_lenet_agrees_with_differences(seed):
    assert net_error(nets.lenet(), *batch((32, 32, 3), seed=seed), seed=seed) < 1e-7


@pytest.mark.parametrize("seed", range(3))
def test_the_gradient_of_a_small_vgg_agrees_with_differences(seed):
    """Its layers, in fewer stages and narrower: convolutions with bias, norm and ReLU, pools, affine layers."""
    model = Sequential(
        Conv2d(3, 6, 3, padding=1), BatchNorm(6, relu=True), MaxPool2d(2),
        Conv2d(6, 8, 3, padding=1), BatchNorm(8, relu=True),
        Conv2d(8, 8, 3, padding=1), BatchNorm(8, relu=True), MaxPool2d(2),
        Flatten(), Linear(32, 12), ReLU(), Linear(12, 10),
    )  # fmt: skip
    assert net_error(model, *batch((8, 8, 3), seed=seed), seed=seed) < 1e-7


@pytest.mark.parametrize(
    ("model", "shape", "name", "side"),
    [(nets.lenet, (8, 8, 1), "LeNet-5", 16), (nets.alexnet, (14, 32, 3), "AlexNet", 15),
     (nets.vgg11, (32, 31, 3), "VGG-11", 32), (nets.lenet, (784,), "LeNet-5", 16)],
)  # fmt: skip
def test_images_of_which_nothing_would_be_left_are_refused_in_one_sentence(model, shape, name, side):
    sentence = f"{name} needs images (H, W, C) of at least {side} x {side} pixels, got shape {shape}"
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        model(shape)
