"""The fast form computes what the plain text computes, in every shape, in both precisions, on any number of threads."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nets import conv, ops, tiled_conv, tiled_norm
from nets.engine import Engine
from nets.tensor import Tensor

TOLERANCE = {np.float32: 3e-5, np.float64: 1e-12}  # of the largest element: sums of some hundred products
ENGINES = {threads: Engine(threads) for threads in (1, 2, 3)}

engines = st.sampled_from(list(ENGINES.values()))
dtypes = st.sampled_from([np.float32, np.float64])
sizes = st.integers(1, 9)


def arrays(seed, dtype, *shapes):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def gradients(op, inputs, g, *, constant=False):
    """y, and df/d(input) for f = <g(y), y>; the first input may be a constant, as the images of a net are."""
    leaves = [Tensor(array, needs_grad=bool(k) or not constant) for k, array in enumerate(inputs)]
    y = op(*leaves)
    g = g(y.data)
    Tensor((y.data * g).sum(), (y, lambda _, out: g)).backward()
    return [y.data.copy(), *(leaf.grad.copy() for leaf in leaves[constant:])]


def soil(engine):
    """Fill what an engine will lend next with NaN: whoever does not write it is found out."""
    for chunks in list(engine._free.values()):
        for chunk in chunks:
            chunk[: chunk.size // 4 * 4].view(np.float32)[:] = np.nan
    for held in engine._scratch.values():
        held[: held.size // 4 * 4].view(np.float32)[:] = np.nan


def assert_same(plain, fast, dtype):
    for a, b in zip(plain, fast, strict=True):
        assert a.dtype == b.dtype == dtype
        assert a.shape == b.shape
        assert np.abs(a - b).max() <= TOLERANCE[dtype] * max(1, np.abs(a).max())


def weights_like(seed):
    return lambda y: np.random.default_rng(seed).standard_normal(y.shape).astype(y.dtype)


# --- convolution -----------------------------------------------------------------------------------------------------


@st.composite
def convolutions(draw):
    """Images, weights, stride and padding that fit each other."""
    kernel, padding = draw(st.integers(1, 5)), draw(st.integers(0, 3))
    least = max(1, kernel - 2 * padding)
    n, c, o = draw(st.integers(1, 5)), draw(st.sampled_from([1, 3, 15, 16, 17])), draw(st.integers(1, 5))
    h, w = draw(st.integers(least, least + 8)), draw(st.integers(least, least + 8))
    return (n, h, w, c), (o, kernel, kernel, c), draw(st.integers(1, 3)), padding


@settings(max_examples=60)
@given(convolutions(), dtypes, engines, st.booleans(), st.booleans(), st.integers(0, 99))
def test_a_convolution_is_the_plain_one_forward_and_backward(case, dtype, engine, biased, constant, seed):  # noqa: PLR0917
    soil(engine)
    shape, weight, stride, padding = case
    inputs = arrays(seed, dtype, shape, weight, *([weight[:1]] if biased else []))

    def fast(x, w, b=None):
        return tiled_conv.conv2d(x, w, b, stride, padding, engine)

    def plain(x, w, b=None):
        return conv.conv2d(x, w, b, stride, padding)

    g = weights_like(seed + 1)
    expected = gradients(plain, inputs, g, constant=constant)
    assert_same(expected, gradients(fast, inputs, g, constant=constant), dtype)


@pytest.mark.parametrize("size", [1, 8])
@pytest.mark.parametrize("engine", ENGINES.values(), ids=lambda engine: f"{engine.threads} threads")
def test_the_first_layer_may_see_single_pixels_or_the_whole_image(engine, size):
    """Such windows need no copy; what is kept of them for the weights' gradient has to be written all the same."""
    inputs, g = arrays(0, np.float64, (4, 8, 8, 3), (2, size, size, 3)), weights_like(1)
    plain = gradients(conv.conv2d, inputs, g, constant=True)
    for _ in range(2):
        soil(engine)
        fast = gradients(lambda x, w: tiled_conv.conv2d(x, w, None, 1, 0, engine), inputs, g, constant=True)
        assert_same(plain, fast, np.float64)


@pytest.mark.parametrize("view", ["channels first", "without an axis", "every other pixel"])
def test_images_of_one_channel_may_lie_in_memory_in_any_way(view):
    """NumPy calls them contiguous whatever the stride of an axis of length 1 is; to a window it matters."""
    rng = np.random.default_rng(0)
    x = {
        "channels first": rng.standard_normal((4, 1, 8, 8)).transpose(0, 2, 3, 1),
        "without an axis": rng.standard_normal((4, 8, 8))[..., None],
        "every other pixel": rng.standard_normal((4, 16, 16, 1))[:, ::2, ::2],
    }[view]
    inputs, g = [x, rng.standard_normal((5, 3, 3, 1))], weights_like(1)
    for engine in ENGINES.values():
        fast = gradients(lambda x, w, engine=engine: tiled_conv.conv2d(x, w, None, 1, 0, engine), inputs, g)
        assert_same(gradients(conv.conv2d, inputs, g), fast, np.float64)


@pytest.mark.parametrize("shape", [(2, 3, 3, 3), (2, 4, 9, 3), (0, 8, 8, 3), (8, 8, 3)])
def test_images_smaller_than_a_window_are_refused_as_by_the_plain_text(shape):
    engine, x = ENGINES[2], Tensor(np.zeros(shape))
    with pytest.raises(ValueError, match="windows of 5 x 5 pixels need images"):
        tiled_conv.conv2d(x, Tensor(np.zeros((4, 5, 5, 3))), None, 1, 0, engine)
    small = Tensor(np.zeros((*shape[:-3], 1, 5, 3)))
    with pytest.raises(ValueError, match="windows of 2 x 2 pixels need images"):
        tiled_norm.max_pool2x2(small, engine)


@pytest.mark.parametrize("channels", [3, 32])
@pytest.mark.parametrize("limit", [{"COLUMNS": 1}, {"SMALL": 40 * 36 * 32}], ids=["cache", "thin products"])
@pytest.mark.parametrize("engine", ENGINES.values(), ids=lambda engine: f"{engine.threads} threads")
def test_tiles_of_some_lines_of_an_image_fit_together(engine, limit, channels, monkeypatch):
    """With room for 40 rows of columns, a tile is two lines of 20 pixels."""
    for name, value in {"ROWS": 40, **limit}.items():
        monkeypatch.setattr(tiled_conv, name, value)
    inputs, g = arrays(0, np.float64, (3, 20, 20, channels), (4, 3, 3, channels), (4,)), weights_like(1)
    for stride in (1, 2):
        plain = gradients(lambda x, w, b, s=stride: conv.conv2d(x, w, b, s, 1), inputs, g)
        tiled = gradients(lambda x, w, b, s=stride: tiled_conv.conv2d(x, w, b, s, 1, engine), inputs, g)
        assert_same(plain, tiled, np.float64)


def test_thin_products_come_in_tiles_that_blas_does_not_pack():
    for x, w, pixels in (((2, 32, 32, 3), (6, 5, 5, 3), 2222), ((2, 16, 16, 64), (64, 3, 3, 64), 520)):
        call = tiled_conv._Convolution(*(Tensor(np.zeros(s, np.float32)) for s in (x, w)), 1, 0, ENGINES[2])
        assert call.per_tile(w[1] * w[2] * w[3]) == pixels


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("order", [(0, 3, 1, 2), (3, 2, 1, 0), (1, 2, 3, 0)])
def test_images_may_lie_in_memory_in_any_order(order, padding):
    """Planes of channels, as in CIFAR's files, or worse."""
    x, w = arrays(0, np.float64, (3, 6, 7, 4), (5, 3, 3, 4))
    turned = np.ascontiguousarray(x.transpose(order)).transpose(np.argsort(order))
    for engine in ENGINES.values():
        y, z = (tiled_conv.conv2d(Tensor(images), Tensor(w), None, 1, padding, engine) for images in (x, turned))
        assert np.array_equal(y.data, z.data)


def test_the_first_layer_computes_no_gradient_of_the_images():
    x, w = arrays(0, np.float64, (3, 8, 8, 3), (4, 3, 3, 3))
    images, weight, engine = Tensor(x), Tensor(w, needs_grad=True), ENGINES[2]
    y = tiled_conv.conv2d(images, weight, None, 1, 1, engine)
    Tensor(y.data.sum(), (y, lambda _, out: np.ones_like(y.data))).backward()
    plain = Tensor(w, needs_grad=True)
    z = conv.conv2d(Tensor(x), plain, None, 1, 1)
    Tensor(z.data.sum(), (z, lambda _, out: np.ones_like(z.data))).backward()
    np.testing.assert_allclose(weight.grad, plain.grad, rtol=1e-12, atol=1e-12)
    assert images.grad is None


def test_weights_that_are_constants_leave_the_gradient_of_the_images():
    x, w = arrays(0, np.float64, (3, 8, 8, 5), (4, 3, 3, 5))
    for stride in (1, 2):
        pair = []
        for convolution in (conv.conv2d, lambda *a: tiled_conv.conv2d(*a, ENGINES[2])):
            images = Tensor(x, needs_grad=True)
            y = convolution(images, Tensor(w), None, stride, 1)
            Tensor(y.data.sum(), (y, lambda _, out, y=y: np.ones_like(y.data))).backward()
            pair.append(images.grad)
        np.testing.assert_allclose(*pair, rtol=1e-12, atol=1e-12)


def test_a_fixed_number_of_threads_gives_the_same_bits_again():
    inputs, g = arrays(0, np.float32, (7, 9, 9, 16), (8, 3, 3, 16)), weights_like(1)
    for engine in ENGINES.values():
        runs = [gradients(lambda x, w, e=engine: tiled_conv.conv2d(x, w, None, 1, 1, e), inputs, g) for _ in range(3)]
        assert all(np.array_equal(a, b) for run in runs[1:] for a, b in zip(runs[0], run, strict=True))


# --- batch norm ------------------------------------------------------------------------------------------------------


def plain_norm(x, gamma, beta, plus=None, relu=False):
    y = ops.batch_norm(x, gamma, beta, 1e-5)[0]
    y = y if plus is None else ops.add(y, plus)
    return ops.relu(y) if relu else y


@settings(max_examples=40)
@given(
    st.tuples(st.integers(2, 6), sizes, sizes, sizes), dtypes, engines, st.booleans(), st.booleans(), st.integers(0, 99)
)
def test_batch_norm_with_relu_and_shortcut_is_the_plain_one(  # noqa: PLR0917
    shape, dtype, engine, relu, plus, seed
):
    inputs = arrays(seed, dtype, shape, shape[3:], shape[3:], *([shape] if plus else []))
    inputs[0] *= 1 + np.arange(shape[3], dtype=dtype)

    def fast(x, gamma, beta, plus=None):
        return tiled_norm.batch_norm(x, gamma, beta, 1e-5, engine, relu, plus)[0]

    g = weights_like(seed + 1)
    plain = gradients(lambda *a: plain_norm(*a, relu=relu), inputs, g)
    scale = 30 if dtype is np.float32 else 1  # two values alone in a channel: 1/std may be large
    for a, b in zip(plain, gradients(fast, inputs, g), strict=True):
        assert np.abs(a - b).max() <= scale * TOLERANCE[dtype] * max(1, np.abs(a).max())


def test_batch_norm_in_evaluation_takes_the_statistics_it_is_given():
    inputs, g = arrays(0, np.float64, (3, 5, 4, 6), (6,), (6,)), weights_like(1)
    mean, var = np.arange(6.0), 1 + np.arange(6.0)
    plain = gradients(lambda x, *a: ops.normalize(x, mean, var, *a, eps=1e-5), inputs, g)
    fast = gradients(lambda *a: tiled_norm.batch_norm(*a, 1e-5, ENGINES[1], given=(mean, var))[0], inputs, g)
    assert_same(plain, fast, np.float64)


def test_statistics_keep_their_digits_where_the_mean_is_far_larger_than_the_deviation(monkeypatch):
    """float32, mean 1e4, standard deviation 1: Σx² - (Σx)²/M would lose all of it; the variance is right to 1e-3."""
    monkeypatch.setattr(tiled_norm, "TILE", 4096)
    x = (1e4 + np.random.default_rng(0).standard_normal((8, 16, 16, 4))).astype(np.float32)
    one, zero = np.ones(4, np.float32), np.zeros(4, np.float32)
    _, mean, var = tiled_norm.batch_norm(Tensor(x), Tensor(one), Tensor(zero), 1e-5, ENGINES[1])
    exact = x.astype(np.float64).reshape(-1, 4)
    np.testing.assert_allclose(mean, exact.mean(axis=0), rtol=1e-7)
    np.testing.assert_allclose(var, exact.var(axis=0), rtol=1e-3)
    assert np.abs((x * x).mean(axis=(0, 1, 2)) - x.mean(axis=(0, 1, 2)) ** 2 - 1).max() > 0.5


@pytest.mark.parametrize(("mean", "deviation"), [(0, 1), (1e3, 1), (1e3, 1e-2), (-1e4, 1)])
@pytest.mark.parametrize("fast", [False, True])
def test_batch_norm_keeps_its_digits_where_the_mean_is_far_larger_than_the_deviation(
    mean, deviation, fast, monkeypatch
):
    """float32 against float64, y, dx, dγ and dβ: 2e-6 of the largest. a x + (β - a μ) would lose four digits more."""
    monkeypatch.setattr(tiled_norm, "TILE", 4096)
    x = (mean + deviation * np.random.default_rng(0).standard_normal((8, 16, 16, 4))).astype(np.float32)
    inputs, g = [x, *arrays(1, np.float32, (4,), (4,))], weights_like(2)

    def norm(*operands):
        return tiled_norm.batch_norm(*operands, 1e-5, ENGINES[1])[0] if fast else ops.batch_norm(*operands, 1e-5)[0]

    exact = gradients(lambda *a: ops.batch_norm(*a, 1e-5)[0], [a.astype(float) for a in inputs], lambda y: g(x))
    for a, b in zip(exact, gradients(norm, inputs, lambda y: g(x)), strict=True):
        assert np.abs(a - b).max() <= 2e-6 * np.abs(a).max()


def test_a_constant_channel_becomes_beta():
    x, one, zero = (np.full(shape, value, np.float32) for shape, value in (((4, 4, 4, 2), 1e4 / 3), (2, 1), (2, 0)))
    y = tiled_norm.batch_norm(Tensor(x), Tensor(one), Tensor(zero), 1e-5, ENGINES[1])[0]
    np.testing.assert_array_equal(y.data, 0)


def test_a_value_may_be_walked_back_twice_with_gradients_of_its_own():
    x, gamma, beta = arrays(0, np.float64, (4, 5, 5, 3), (3,), (3,))
    leaves = [Tensor(a, needs_grad=True) for a in (gamma, beta)]
    y = tiled_norm.batch_norm(Tensor(x), *leaves, 1e-5, ENGINES[1], True)[0]
    once = []
    for factor in (1, 5):
        ops.sum(ops.multiply(y, Tensor(np.array(float(factor))))).backward()
        once.append([leaf.grad.copy() for leaf in leaves])
    np.testing.assert_allclose(once[1], 5 * np.array(once[0]), rtol=1e-12)


# --- pooling, and one after the other --------------------------------------------------------------------------------


@settings(max_examples=40)
@given(st.tuples(sizes, st.integers(2, 9), st.integers(2, 9), sizes), dtypes, st.integers(0, 99))
def test_a_maximum_of_four_is_the_plain_one_and_the_first_of_equals_takes_the_gradient(shape, dtype, seed):
    x = np.random.default_rng(seed).integers(0, 3, shape).astype(dtype)
    g = weights_like(seed + 1)
    plain = gradients(lambda x: conv.max_pool2d(x, 2, 2, 0), [x], g)
    for a, b in zip(plain, gradients(lambda x: tiled_norm.max_pool2x2(x, ENGINES[1]), [x], g), strict=True):
        assert np.array_equal(a, b)


def test_borders_left_for_the_next_layer_are_zero_and_change_nothing():
    """Convolution, batch norm, pooling, two convolutions of one value: as the plain text, and twice the same."""
    shapes = [(3, 8, 8, 4), (6, 3, 3, 4), (6,), (6,), (6, 3, 3, 6), (5, 5, 5, 6)]
    inputs, g, engine = arrays(0, np.float64, *shapes), weights_like(1), ENGINES[2]

    def fast(x, w, gamma, beta, v, u):  # noqa: PLR0917
        y = tiled_conv.conv2d(x, w, None, 1, 1, engine)
        y = tiled_norm.batch_norm(y, gamma, beta, 1e-5, engine, relu=True)[0]
        assert y.whole.sum() == pytest.approx(y.data.sum(), rel=1e-12)
        y = tiled_norm.batch_norm(tiled_conv.conv2d(y, v, None, 1, 1, engine), gamma, beta, 1e-5, engine, True, y)[0]
        y = tiled_norm.max_pool2x2(y, engine)
        return ops.add(tiled_conv.conv2d(y, u, None, 1, 2, engine), tiled_conv.conv2d(y, u, None, 1, 2, engine))

    def plain(x, w, gamma, beta, v, u):  # noqa: PLR0917
        y = plain_norm(conv.conv2d(x, w, None, 1, 1), gamma, beta, relu=True)
        y = plain_norm(conv.conv2d(y, v, None, 1, 1), gamma, beta, y, relu=True)
        y = conv.max_pool2d(y, 2, 2, 0)
        return ops.add(conv.conv2d(y, u, None, 1, 2), conv.conv2d(y, u, None, 1, 2))

    first = gradients(fast, inputs, g)
    assert_same(gradients(plain, inputs, g), first, np.float64)
    assert all(np.array_equal(a, b) for a, b in zip(first, gradients(fast, inputs, g), strict=True))
