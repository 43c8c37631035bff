"""Kernels on a CPU, through g++: each equals the lines of NumPy that it replaces, and nets train through all of them.

On one core, thread by thread (see `shim`): index arithmetic, order of sums and barriers are proven here, speed is not.
"""

import contextlib
import sys
from itertools import accumulate, chain, islice

import numpy as np
import pytest
import shim
import strict
from hypothesis import given, settings
from hypothesis import strategies as st
from test_contract import WAITS, batches, device_run, every_rule, family
from test_device import oracle_of

from nets import conv, losses, ops
from nets.gpu_engine import GpuEngine
from nets.oracle import NetOracle
from nets.tensor import Tensor
from refopt import Shuffled, SPSMax, arrays, descend, dot, elementwise, gpu

pytestmark = pytest.mark.needs("g++")
precisions = pytest.mark.parametrize("dtype", [np.float32, np.float64])
ENGINE = GpuEngine()
ROUNDING = {np.float32: 2e-6, np.float64: 1e-14}  # of the largest element: sums of some dozens, in another order


@pytest.fixture(autouse=True)
def tf32(monkeypatch):
    """Let the double run kernels; return a list of the precisions of products, as they come."""
    precisions = []

    @contextlib.contextmanager
    def products(tf32):
        precisions.append(tf32)
        yield

    monkeypatch.setattr(gpu, "kernel", shim.kernel)
    monkeypatch.setattr(gpu, "has_kernels", lambda xp: xp is strict)
    monkeypatch.setattr(gpu, "products", products)
    monkeypatch.setattr(gpu, "MOST_BLOCKS", 3)  # so that every thread has to go several times
    monkeypatch.setattr("nets.gpu_engine.MOST_SHARES", 3)
    return precisions


# --- the operations of nets ------------------------------------------------------------------------------------------


def gradients(op, inputs, upload):
    """y, and df/d(input) for f = <g, y>, with g of random numbers."""
    leaves = [Tensor(upload(array), needs_grad=True) for array in inputs]
    y = op(*leaves)
    g = upload(np.random.default_rng(1).standard_normal(y.data.shape).astype(inputs[0].dtype))
    Tensor((y.data * g).sum(), (y, lambda _, out: g)).backward()
    return [strict.read(array) for array in (y.data, *(leaf.grad for leaf in leaves))]


def assert_same(plain, fast, inputs, rounding=None):
    """Both forms give the same y and gradients: bit for bit, or up to rounding."""
    here, there = gradients(plain, inputs, np.asarray), gradients(fast, inputs, strict.asarray)
    for a, b in zip(here, there, strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        if rounding is None:
            np.testing.assert_array_equal(a, b)
        else:
            assert np.abs(a - b).max() <= rounding * max(1, np.abs(a).max())


def draws(seed, dtype, *shapes):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


dtypes, seeds = st.sampled_from([np.float32, np.float64]), st.integers(0, 99)


@st.composite
def windows(draw):
    """Images, a size of windows, stride and padding that fit each other."""
    size, padding = draw(st.integers(1, 5)), draw(st.integers(0, 3))
    least = max(1, size - 2 * padding)
    h, w = draw(st.integers(least, least + 6)), draw(st.integers(least, least + 6))
    shape = draw(st.integers(1, 3)), h, w, draw(st.sampled_from([1, 2, 3, 4, 6, 8]))
    return shape, size, draw(st.integers(1, 3)), padding


@settings(max_examples=60)
@given(windows(), dtypes, seeds)
def test_a_convolution_is_the_plain_one_bit_for_bit(case, dtype, seed):
    """Columns are copies, and what a pixel gets back is added in the same order; the products are the same ones."""
    shape, size, stride, padding = case
    inputs = draws(seed, dtype, shape, (5, size, size, shape[3]), (5,))
    assert_same(
        lambda x, w, b: conv.conv2d(x, w, b, stride, padding),
        lambda x, w, b: ENGINE.conv2d(x, w, b, stride, padding),
        inputs,
    )


@settings(max_examples=60)
@given(windows(), dtypes, seeds)
def test_pools_are_the_plain_ones_bit_for_bit_also_at_ties(case, dtype, seed):
    (shape, size, stride, padding), rng = case, np.random.default_rng(seed)
    padding = min(padding, size // 2)
    if min(shape[1:3]) + 2 * padding < size:
        padding = 0
        shape = (shape[0], shape[1] + size, shape[2] + size, shape[3])
    ties = [rng.integers(0, 3, shape).astype(dtype)]
    assert_same(
        lambda x: conv.max_pool2d(x, size, stride, padding), lambda x: ENGINE.max_pool2d(x, size, stride, padding), ties
    )
    if min(shape[1:3]) >= size:
        rounding = ROUNDING[dtype]  # of a mean
        assert_same(
            lambda x: conv.avg_pool2d(x, size, stride), lambda x: ENGINE.avg_pool2d(x, size, stride), ties, rounding
        )


@precisions
def test_a_maximum_meets_nan_as_numpy_does(dtype):
    x = np.random.default_rng(0).standard_normal((2, 4, 4, 3)).astype(dtype)
    x[0, 1, 1], x[1, :2, :2] = np.nan, np.nan
    (here, _), (there, _) = (
        gradients(lambda x, of=of: of.max_pool2d(x, 2, 2), [x], to)
        for of, to in ((conv, np.asarray), (ENGINE, strict.asarray))
    )
    np.testing.assert_array_equal(here, there)


@settings(max_examples=40)
@given(
    st.tuples(st.integers(2, 5), st.integers(1, 6), st.integers(1, 6), st.sampled_from([1, 3, 4, 8, 33, 40, 132])),
    dtypes, st.booleans(), st.booleans(), st.booleans(), seeds,
)  # fmt: skip
def test_batch_norm_with_relu_and_shortcut_is_the_plain_one(  # noqa: PLR0917
    shape, dtype, relu, plus, evaluate, seed
):
    """Sums are float64 here and float32 there; channels of two values may have deviations near 0."""
    inputs = draws(seed, dtype, shape, shape[3:], shape[3:], *([shape] if plus else []))
    inputs[0] = inputs[0] * 2 + 3
    mean, variance = (np.linspace(1, 2, shape[3]).astype(dtype) for _ in range(2))

    def of(module, to):
        given = (to(mean), to(variance)) if evaluate else None
        return lambda x, gamma, beta, *rest: module.batch_norm_relu(
            x, gamma, beta, 1e-2, relu, rest[0] if rest else None, given
        )[0]

    assert_same(of(ops, np.asarray), of(ENGINE, strict.asarray), inputs, 50 * ROUNDING[dtype])


def test_statistics_keep_their_digits_where_the_mean_is_large_or_the_first_value_is_an_outlier():
    """float32, mean 1e4, deviation 1: the sum of squares less the square of the sum would have none left."""
    x = (1e4 + np.random.default_rng(0).standard_normal((8, 5, 5, 4))).astype(np.float32)
    x[0, 0, 0, 1] = 2e4
    one, zero = (strict.asarray(np.full(4, value, np.float32)) for value in (1, 0))
    y, mean, variance = ENGINE.batch_norm_relu(Tensor(strict.asarray(x)), Tensor(one), Tensor(zero), 1e-5)
    exact = x.astype(np.float64).reshape(-1, 4)
    np.testing.assert_allclose(strict.read(mean), exact.mean(axis=0), rtol=1e-7)  # half a unit in the last place
    np.testing.assert_allclose(strict.read(variance), exact.var(axis=0), rtol=1e-6)
    expected = (exact - exact.mean(axis=0)) / np.sqrt(exact.var(axis=0) + 1e-5)
    np.testing.assert_allclose(strict.read(y.data).reshape(-1, 4), expected, rtol=1e-6, atol=1e-6)


@settings(max_examples=30)
@given(st.integers(1, 9), st.sampled_from([1, 2, 10, 255, 256, 257, 600]), dtypes, seeds)
def test_the_softmax_of_a_block_is_the_plain_one(n, classes, dtype, seed):
    (z,), labels = draws(seed, dtype, (n, classes)), np.random.default_rng(seed).integers(0, classes, n)
    z *= 30
    assert_same(
        lambda z: losses.softmax_cross_entropy(z, labels),
        lambda z: ENGINE.softmax_cross_entropy(z, strict.asarray(labels)),
        [z],
        ROUNDING[dtype] * 4,
    )


def test_a_gradient_can_be_asked_for_twice():
    x, gamma, beta = draws(0, np.float64, (3, 4, 4, 4), (4,), (4,))
    leaves = [Tensor(strict.asarray(a), needs_grad=True) for a in (x, gamma, beta)]
    y = ENGINE.batch_norm_relu(*leaves, 1e-5, True)[0]
    f = ops.sum(ops.multiply(y, y))
    f.backward()
    once = [strict.read(leaf.grad).copy() for leaf in leaves]
    f.backward()
    assert all(np.array_equal(a, strict.read(leaf.grad)) for a, leaf in zip(once, leaves, strict=True))


def test_nothing_is_launched_for_nothing():
    """A grid of no blocks is an error on a GPU."""
    none = strict.asarray(np.zeros((0, 4), np.float32))
    with pytest.raises(ValueError, match="N at least 1"):
        ENGINE.softmax_cross_entropy(Tensor(none), strict.asarray(np.zeros(0, int)))
    for op in (lambda x: ENGINE.max_pool2d(x, 2, 2), lambda x: ENGINE.conv2d(x, Tensor(none.reshape(0, 1, 1, 4)))):
        with pytest.raises(ValueError, match="need images"):
            op(Tensor(none.reshape(0, 2, 2, 1)))
    assert strict.read(arrays.dot(none.ravel(), none.ravel())) == 0
    assert elementwise(lambda x: 2 * x)(none.ravel()).shape == (0,)


def test_arrays_of_different_precision_are_refused():
    x, w = (strict.asarray(np.ones((1, 2, 2, 2), dtype)) for dtype in (np.float32, np.float64))
    with pytest.raises(ValueError, match=r"arrays of float32, or of float64, got \['float32', 'float64'\]"):
        ENGINE.conv2d(Tensor(x), Tensor(w))
    with pytest.raises(ValueError, match=r"^precision must be 'fp32' or 'tf32', got 'fast'$"):
        GpuEngine("fast")


@pytest.mark.parametrize("precision", ["fp32", "tf32"])
def test_the_three_products_of_a_convolution_are_in_the_precision_asked_for(precision, tf32):
    x, w = draws(0, np.float32, (1, 4, 4, 4), (2, 3, 3, 4))
    gradients(lambda x, w: GpuEngine(precision).conv2d(x, w), [x, w], strict.asarray)
    assert tf32 == [precision == "tf32"] * 3


# --- nets ------------------------------------------------------------------------------------------------------------


LAUNCHES = {"mlp": 30, "lenet": 56, "resnet": 131, "vgg11": 190, "resnet18": 343}
"""Of f and its gradient: kernels, products and all."""


@precisions
@pytest.mark.parametrize("name", LAUNCHES)
def test_an_answer_of_a_net_by_kernels_is_that_of_the_plain_text_and_keeps_its_budget_of_launches(name, dtype):
    """What differs is the rounding of sums; in float32 it has a ReLU or two on the other side of the kink.

    The loss does not notice, but the gradient does: behind ResNet-18's last stage a channel has 32 pixels here.
    """
    (plain, x), (fast, x2) = (oracle_of(name, xp, dtype, n=8) for xp in (np, strict))
    fast = NetOracle(fast.model, plain.images, plain.labels, fast.order, xp=strict, dtype=dtype, engine=ENGINE)
    plain.draw()
    fast.draw()
    (f, g), (most, kinks) = plain(x), {np.float32: (1e-4, 2e-2), np.float64: (1e-11, 1e-11)}[dtype]
    with strict.watch(float64=dtype is np.float64) as seen:
        f2, g2 = fast(x2)
    assert not seen.waits
    assert sum(seen.launches.values()) <= LAUNCHES[name], seen.launches
    assert float(strict.read(f2)) == pytest.approx(float(f), rel=most)
    assert np.abs(strict.read(g2) - g).max() <= kinks * np.abs(g).max()
    for key, value in fast.buffers().items():
        np.testing.assert_allclose(strict.read(value), plain.buffers()[key], rtol=most, atol=most)


def test_two_runs_by_kernels_give_equal_bits():
    runs = []
    for _ in range(2):
        net, x = oracle_of("lenet", strict, np.float32)
        net = NetOracle(
            net.model, strict.read(net.images), strict.read(net.labels), Shuffled(40, 4), xp=strict, engine=ENGINE
        )
        net.draw()
        f, g = net(x)
        runs.append((strict.read(f).tobytes(), strict.read(g).tobytes()))
    assert runs[0] == runs[1]


# --- rules -----------------------------------------------------------------------------------------------------------


def dot_of_a_block(a, b):
    """The sum of up to 256 products in the order of a block: halves are folded onto each other."""
    sums = np.zeros(256)
    sums[: a.size] = a.astype(np.float64) * b
    while sums.size > 1:
        half = sums.size // 2
        sums = sums[:half] + sums[half:]
    return sums[0].astype(a.dtype)


@every_rule
def test_a_rule_by_kernels_moves_as_here_bit_for_bit(kind, monkeypatch):
    """A formula is one kernel of the same operations, and a number in it an argument, cast to float32 as NumPy does."""
    waits = kind.__name__ in WAITS
    with strict.watch(may_wait=waits, float64=False) as seen:
        there = list(device_run(kind, family().to(strict, np.float32), batches, strict.read))
    plain_dot = dot
    for name, module in list(sys.modules.items()):
        if name.startswith("refopt.") and getattr(module, "dot", None) is plain_dot:
            monkeypatch.setattr(module, "dot", dot_of_a_block)
    assert there == list(device_run(kind, family().to(np, np.float32), batches, np.asarray))
    assert bool(seen.waits) == waits
    assert waits or sum(seen.launches.values()) / len(there) <= 45, "with those of two answers of the oracle, 8 each"


@settings(max_examples=30)
@given(st.sampled_from([1, 2, 255, 256, 257, 700, 5000]), dtypes, seeds)
def test_dot_adds_in_float64(n, dtype, seed):
    a, b = draws(seed, dtype, n, n)
    exact = a.astype(np.longdouble) @ b.astype(np.longdouble)
    result = strict.read(arrays.dot(strict.asarray(a), strict.asarray(b)))
    assert result.dtype == dtype
    bound = np.finfo(dtype).eps * abs(exact) + 1e-15 * (abs(a).astype(float) @ abs(b).astype(float))
    assert abs(float(result) - float(exact)) <= bound


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 700)), min_size=1, max_size=5), dtypes, seeds)
def test_the_products_of_parts_are_those_of_each_alone_in_two_launches_for_all(gaps_and_sizes, dtype, seed):
    """And no upload but in the first call. A value is spread over its part in one more, on zeros."""
    ends = list(accumulate(chain(*gaps_and_sizes)))
    parts = [slice(start, end) for start, end in zip(ends[::2], ends[1::2], strict=True)]
    a, b = (strict.asarray(x) for x in draws(seed, dtype, ends[-1] + 3, ends[-1] + 3))
    arrays.dots(a, b, parts)
    with strict.watch() as seen:
        products = arrays.dots(a, b, parts)
        whole = arrays.spread(products, parts, a)
    assert seen.launches == {"products_of_blocks": 1, "sum_of_blocks": 1, "spread": 1, "zeros_like": 1}
    assert not seen.uploads
    expected = np.zeros(a.size, dtype)
    for product, part in zip(strict.read(products), parts, strict=True):
        x, y = strict.read(a)[part].astype(float), strict.read(b)[part].astype(float)
        assert abs(product - x @ y) <= np.finfo(dtype).eps * abs(x @ y) + 1e-15 * (abs(x) @ abs(y))
        expected[part] = product
    assert (strict.read(whole) == expected).all()


def device(*values):
    return strict.asarray(np.array(values, np.float32))


@elementwise
def everything(x, y, c, flag):
    xp = arrays.namespace(x)
    inside = (x > -1) & (x <= 1) | (y >= 3) & (y < 4) | (x != x)  # noqa: PLR0124  (NaN)
    z = xp.where(inside, xp.maximum(x, y), xp.minimum(x, c)) if flag else -x
    w = xp.clip(z**2 / (1 + abs(y)), 0.1, c) - xp.sqrt(abs(x)) * (y == 2)
    return z, 3 - w, x, z, xp.full_like(x, 2.5) + xp.zeros_like(x) * xp.ones_like(y), 1 / y


@pytest.mark.parametrize("flag", [True, False])
@pytest.mark.parametrize("c", [2.0, 7, np.float32(0.3)])
def test_every_operation_of_formulas_is_that_of_numpy_also_for_nan_and_infinity(c, flag):
    values = [-np.inf, -3, -1, -0.5, 0, 0.3, 1, 2, 3.5, np.inf, np.nan]
    x, y = (a.ravel().astype(np.float32) for a in np.meshgrid(values, values))
    with np.errstate(all="ignore"):
        here = everything(x, y, c, flag)
        there = everything(strict.asarray(x), strict.asarray(y), c, flag)
    for a, b in zip(here, there, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, strict.read(b))


def test_a_formula_is_one_launch_and_hands_through_what_it_does_not_change():
    x, y = device(1, 2, 3), device(4, 5, 6)
    with strict.watch() as seen:
        _, _, same, *_ = everything(x, y, 2.0, True)
    assert seen.launches == {"formula": 1}
    assert same is x


def test_a_number_that_changes_needs_no_new_kernel(monkeypatch):
    sources = set()
    monkeypatch.setattr(gpu, "kernel", lambda source, name: sources.add(source) or shim.kernel(source, name))
    formula = elementwise(lambda x, lr: -lr * x)
    for lr in (0.1, 0.2, 3):
        np.testing.assert_array_equal(strict.read(formula(device(1, 2), lr)), np.float32([-1, -2]) * np.float32(lr))
    assert len(sources) == 1


@pytest.mark.parametrize("kind", [strict.asarray, np.array, np.float32, float])
def test_a_number_may_lie_on_the_device_or_on_the_host(kind):
    """A host's array of one number would go to a kernel by its value, and be taken for an address."""
    formula, lr = elementwise(lambda x, lr: -lr * x), kind(np.float32(0.5))
    np.testing.assert_array_equal(strict.read(formula(device(1, 2), lr)), [-0.5, -1])


def test_formulas_call_formulas():
    inner = elementwise(lambda x: x * x)
    outer = elementwise(lambda x, c: inner(x) + c)
    assert strict.read(outer(device(1, 2, 3), 1)).tolist() == [2, 5, 10]


def test_what_a_kernel_cannot_take_is_refused():
    wide = strict.asarray(np.ones(3))
    with pytest.raises(TypeError, match="a formula in float64 takes vectors and numbers of it, got float32"):
        elementwise(lambda x, y: x + y)(device(1, 2, 3), wide)
    with pytest.raises(TypeError, match="a formula may square, got the power 3"):
        elementwise(lambda x: x**3)(device(1, 2, 3))


def test_a_whole_step_of_a_rule_through_a_net():
    """f, g, the rule, the loop: all by kernels, as by the plain text up to rounding."""
    runs = []
    for engine, xp in ((None, np), (ENGINE, strict)):
        net, x = oracle_of("mlp", xp, np.float32)
        net = NetOracle(net.model, *map(strict.read, (net.images, net.labels)), Shuffled(40, 4), xp=xp, engine=engine)
        runs.append([float(strict.read(step.f)) for step in islice(descend(SPSMax(), net, x), 4)])
    np.testing.assert_allclose(*runs, rtol=1e-5)
