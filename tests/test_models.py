"""What must be true of whole nets: their size, their gradient, and that they learn."""

import math
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from gradcheck import net_error

import nets
from nets import Dropout, Flatten, Layout, Linear, Mode, ReLU, Sigmoid, Tanh, Tensor, options, softmax_cross_entropy

PAPERS = {nets.retsinas_mlp: (784, 1000, 10), nets.liang_mlp: (784, 1024, 1024, 10), nets.small_mlp: (64, 256, 10)}


def parameter_count(model):
    return sum(view.size for view in Layout(model).views(Layout(model).initial(0)).values())


def batch(n=16, shape=(4, 4, 1), classes=3, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    return rng.random((n, *shape)).astype(dtype), rng.integers(0, classes, n)


@pytest.mark.parametrize(
    ("model", "count"), [(nets.retsinas_mlp, 795_010), (nets.liang_mlp, 1_863_690), (nets.small_mlp, 19_210)]
)
def test_parameter_counts(model, count):
    assert parameter_count(model()) == count
    assert f"{count:,} parameters" in model.__doc__


@pytest.mark.parametrize("model", PAPERS)
def test_the_papers_nets_have_their_widths_and_relu_between(model):
    linear = [layer for layer in model().layers if isinstance(layer, Linear)]
    sizes = PAPERS[model]
    assert [(layer.inputs, layer.outputs) for layer in linear] == list(pairwise(sizes))
    expected = [Flatten, *[Linear, ReLU] * (len(sizes) - 2), Linear]
    assert [type(layer) for layer in model().layers] == expected


@pytest.mark.parametrize("name", nets.MODELS)
def test_every_named_net_takes_its_inputs_and_outputs_from_the_data(name):
    """Images of all sizes: those that end in affine layers on all pixels are made for them."""
    shape = {"lenet": (17, 20, 2), "alexnet": (16, 24, 2), "vgg11": (33, 64, 2)}.get(name, (3, 5, 2))
    model = nets.MODELS[name](shape, 7)
    layout = Layout(model)
    layout.bind(np.zeros(layout.size, np.float32))
    assert model(Tensor(np.zeros((2, *shape), np.float32)), Mode()).data.shape == (2, 7)


def test_the_command_line_names_every_net():
    described = Path(options.__file__).read_text().split("The net: ")[1].split(";")[0]
    assert re.findall(r"[\w-]+", described.replace(" or ", " ")) == list(nets.MODELS)


def test_a_wide_resnet_of_any_depth_and_width_has_a_name():
    """The counts of Zagoruyko & Komodakis 2016, table 5, in millions."""
    for name, millions in (("wrn-40-4", 8.9), ("wrn-16-8", 11.0), ("wrn-28-10", 36.5)):
        assert sum(math.prod(p.shape) for _, p in nets.named(name)((32, 32, 3), 10).parameters()) == pytest.approx(
            millions * 1e6, abs=1e5
        )
    for name in ("wrn-16-0", "wrn-16", "wrn--16-4", "resnet19"):
        with pytest.raises(ValueError, match="or a wide ResNet such as wrn-28-10, got"):
            nets.named(name)


LAWS = {  # what the source papers' frameworks drew the weights of convolutions from
    "lenet": nets.lecun_normal, "alexnet": nets.torch_uniform, "vgg11": nets.he_normal_out,
    "resnet18": nets.torch_uniform, "resnet18-liang": nets.he_normal_out,
    "resnet18-imagenet-stem": nets.he_normal_out, "resnet34": nets.torch_uniform, "resnet50": nets.torch_uniform,
    "wrn-16-4": nets.torch_uniform,
}  # fmt: skip


@pytest.mark.parametrize("name", LAWS)
def test_every_convolution_starts_from_the_law_of_its_paper(name):
    weights = [p for _, p in nets.MODELS[name]((32, 32, 3), 10).parameters() if len(p.shape) == 4]
    assert {weight.initial for weight in weights} == {LAWS[name]}
    assert set(LAWS) == {name for name in nets.MODELS if not name.startswith("mlp")}


def test_dropout_stands_after_each_activation_and_not_after_the_logits():
    kinds = [type(layer) for layer in nets.mlp((4, 5, 6, 3), Tanh, dropout=0.2).layers]
    assert kinds == [Flatten, Linear, Tanh, Dropout, Linear, Tanh, Dropout, Linear]


@pytest.mark.parametrize("activation", [ReLU, Tanh, Sigmoid])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("seed", range(3))
def test_the_flat_gradient_agrees_with_differences(activation, dropout, seed):
    model = nets.mlp((16, 8, 7, 3), activation, nets.glorot_normal, nets.torch_uniform, dropout)
    assert net_error(model, *batch(), seed=seed) < 1e-7


def test_a_plain_gradient_loop_overfits_one_batch():
    model = nets.small_mlp()
    layout, (x, y) = Layout(model), batch(32, (8, 8, 1), 10, np.float32)  # random labels: only the batch to learn
    theta = layout.initial(0)
    for _ in range(300):
        f, g = layout.evaluate(theta, lambda: softmax_cross_entropy(model(Tensor(x), Mode(train=True)), y))
        theta -= 0.5 * g
    assert theta.dtype == np.float32
    assert f < 0.01


def test_masks_follow_the_draw_and_not_the_call():
    model = nets.mlp((16, 30, 3), dropout=0.5)
    layout, (x, y) = Layout(model), batch(dtype=np.float32)
    theta = layout.initial(0)

    def evaluate(draw):
        return layout.evaluate(theta, lambda: softmax_cross_entropy(model(Tensor(x), Mode(True, 0, draw)), y))

    (f, g), other, (again, same) = evaluate(1), evaluate(2), evaluate(1)
    assert f == again
    np.testing.assert_array_equal(g, same)
    assert f != other[0]


@pytest.mark.parametrize("sizes", [(), (4,)], ids=str)
def test_too_few_sizes_are_refused(sizes):
    with pytest.raises(ValueError, match="at least the numbers of inputs and outputs, got"):
        nets.mlp(sizes)


def test_an_mlp_without_hidden_layer_is_softmax_regression():
    model = nets.mlp((4, 3))
    assert [type(layer) for layer in model.layers] == [Flatten, Linear]
