"""What must be true of windows, convolution and pooling: their sums, their adjoints, ties and borders.

Operands are small integers where an identity shall hold exactly: every sum of them is exact in float64.
"""

import re

import numpy as np
import pytest
from gradcheck import directional_error, pullback
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import correlate

from nets import Tensor, conv


def integers(shape, rng, dtype=np.float64):
    return rng.integers(-8, 9, shape).astype(dtype)


@st.composite
def cases(draw, square=False):
    """(image shape, KH, KW, stride, padding): odd sizes, single pixels and images; windows fit, and may fill them."""
    kh = draw(st.integers(1, 4))
    kw = kh if square else draw(st.integers(1, 4))
    padding = draw(st.integers(0, kh // 2 if square else 2))
    h, w = (draw(st.integers(max(1, k - 2 * padding), 7)) for k in (kh, kw))
    return (draw(st.integers(1, 3)), h, w, draw(st.integers(1, 3))), kh, kw, draw(st.integers(1, 3)), padding


def convolution_by_definition(x, w, b, stride, padding):
    """The sum in the docstring of conv2d, one output pixel after the other."""
    p, (_, kh, kw, _) = padding, w.shape
    x = np.pad(x, [(0, 0), (p, p), (p, p), (0, 0)])
    rows, columns = (range(0, x.shape[axis] - k + 1, stride) for axis, k in ((1, kh), (2, kw)))
    return np.stack(
        [np.stack([np.tensordot(x[:, i : i + kh, j : j + kw], w, ([1, 2, 3], [1, 2, 3])) + b for j in columns], axis=1)
         for i in rows], axis=1,
    )  # fmt: skip


# --- windows ---------------------------------------------------------------------------------------------------------


@settings(max_examples=50)
@given(cases(), st.integers(0, 2**32))
def test_windows_are_parts_of_the_image_and_share_its_memory(case, seed):
    shape, kh, kw, stride, padding = case
    x = conv.bordered(np.random.default_rng(seed).standard_normal(shape), padding)
    X = conv.windows(x, kh, kw, stride)
    assert np.shares_memory(X, x)
    assert X.shape[1:3] == conv.grid(shape, kh, kw, stride, padding)
    for i in range(X.shape[1]):
        for j in range(X.shape[2]):
            part = x[:, stride * i : stride * i + kh, stride * j : stride * j + kw]
            np.testing.assert_array_equal(X[:, i, j], part)  # shapes too: no window leaves the image
    left_over = x.shape[1] - stride * X.shape[1] - kh, x.shape[2] - stride * X.shape[2] - kw
    assert max(left_over) < 0, "another window would not fit"


@settings(max_examples=50)
@given(cases(), st.integers(0, 2**32))
def test_scatter_is_the_adjoint_of_windows(case, seed):
    shape, kh, kw, stride, _ = case
    rng, shape = np.random.default_rng(seed), (shape[0], max(shape[1], kh), max(shape[2], kw), shape[3])
    x = integers(shape, rng)
    X = conv.windows(x, kh, kw, stride)
    P = integers(X.shape, rng)
    assert (X * P).sum() == (x * conv.scatter(P, shape, stride)).sum()


@settings(max_examples=50)
@given(cases(), st.integers(0, 2**32))
def test_inside_is_the_adjoint_of_a_border_of_zeros(case, seed):
    shape, *_, padding = case
    rng = np.random.default_rng(seed)
    x = integers(shape, rng)
    whole = conv.bordered(x, padding)
    np.testing.assert_array_equal(conv.inside(whole, padding), x)
    y = integers(whole.shape, rng)
    assert (whole * y).sum() == (x * conv.inside(y, padding)).sum()


# --- convolution -----------------------------------------------------------------------------------------------------


@settings(max_examples=50)
@given(cases(), st.integers(1, 3), st.integers(0, 2**32))
def test_a_convolution_is_the_sum_over_its_windows(case, outputs, seed):
    shape, kh, kw, stride, padding = case
    rng = np.random.default_rng(seed)
    x, w, b = integers(shape, rng), integers((outputs, kh, kw, shape[3]), rng), integers(outputs, rng)
    y = conv.conv2d(Tensor(x), Tensor(w), Tensor(b), stride, padding).data
    np.testing.assert_array_equal(y, convolution_by_definition(x, w, b, stride, padding))
    np.testing.assert_array_equal(conv.conv2d(Tensor(x), Tensor(w), None, stride, padding).data, y - b)


@settings(max_examples=50)
@given(cases(), st.integers(1, 3), st.integers(0, 2**32))
def test_its_gradients_are_the_adjoints_of_its_three_linear_maps(case, outputs, seed):
    shape, kh, kw, stride, padding = case
    rng = np.random.default_rng(seed)
    x, w, b = integers(shape, rng), integers((outputs, kh, kw, shape[3]), rng), integers(outputs, rng)
    y = conv.conv2d(Tensor(x), Tensor(w), None, stride, padding).data
    g = integers(y.shape, rng)
    dx, dw, db = pullback(lambda x, w, b: conv.conv2d(x, w, b, stride, padding), [x, w, b], g)
    assert (x * dx).sum() == (w * dw).sum() == (y * g).sum()  # <conv(x), g> = <x, convᵀ(g)>, and the same of w
    assert (b * db).sum() == (b * g).sum()
    assert (dx.shape, dw.shape, db.shape) == (x.shape, w.shape, b.shape)


@settings(max_examples=50)
@given(cases(), st.integers(0, 2**32))
def test_its_derivative_agrees_with_differences(case, seed):
    shape, kh, kw, stride, padding = case
    rng = np.random.default_rng(seed)
    points = [rng.standard_normal(s) for s in (shape, (2, kh, kw, shape[3]), (2,))]
    # linear in each operand, so a difference has only rounding, 1e-16 / H; see gradcheck
    assert directional_error(lambda x, w, b: conv.conv2d(x, w, b, stride, padding), *points, seed=seed) < 1e-7


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_it_agrees_with_scipys_correlation(stride):
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 9, 8, 3)), rng.standard_normal((4, 3, 2, 3))
    y = conv.conv2d(Tensor(x), Tensor(w), stride=stride).data
    for n in range(2):
        for k in range(4):
            whole = correlate(x[n], w[k], mode="valid", method="direct")[:, :, 0]  # the channels are a third axis
            np.testing.assert_allclose(y[n, :, :, k], whole[::stride, ::stride], rtol=0, atol=1e-13)


def test_rows_of_windows_of_one_pixel_are_the_pixels_themselves():
    x = np.ones((2, 3, 4, 5))
    assert np.shares_memory(conv.windows(x, 1, 1, 1).reshape(24, -1), x)


def operation_cases():
    rng = np.random.default_rng(0)
    x = rng.permutation(2 * 6 * 5 * 3).reshape(2, 6, 5, 3) / 50.0  # all different, so that a maximum has one place
    weights = rng.standard_normal((4, 3, 3, 3)), rng.standard_normal(4)
    yield "conv", lambda x, w, b: conv.conv2d(x, w, b, 2, 1), [x, *weights]
    yield "conv 1 x 1", conv.conv2d, [x, rng.standard_normal((4, 1, 1, 3)), weights[1]]
    yield "conv without bias", conv.conv2d, [x, weights[0]]
    yield "max", lambda x: conv.max_pool2d(x, 2, 2), [x]
    yield "max, overlapping, border", lambda x: conv.max_pool2d(x, 3, 2, 1), [x]
    yield "avg", lambda x: conv.avg_pool2d(x, 2, 2), [x]
    yield "avg, overlapping", lambda x: conv.avg_pool2d(x, 3, 1), [x]
    yield "global avg", conv.global_avg_pool, [x]


every_operation = pytest.mark.parametrize(
    ("function", "points"), [case[1:] for case in operation_cases()], ids=[case[0] for case in operation_cases()]
)


@every_operation
def test_the_vjp_is_the_adjoint_of_the_derivative(function, points):
    assert directional_error(function, *points) < 1e-8


@every_operation
def test_float32_in_float32_out(function, points):
    points = [point.astype(np.float32) for point in points]
    y = function(*map(Tensor, points)).data
    assert y.dtype == np.float32
    assert [g.dtype for g in pullback(function, points, np.ones_like(y))] == [np.float32] * len(points)


@every_operation
def test_nothing_it_is_given_is_written_to(function, points):
    leaves = [Tensor(point.copy(), needs_grad=True) for point in points]
    for t in leaves:
        t.data.flags.writeable = False
    y = function(*leaves)
    g = np.ones_like(y.data)
    g.flags.writeable = False
    for _, vjp in y.operands:
        vjp(g, None)


@every_operation
def test_images_may_be_views_of_larger_ones(function, points):
    """Strides of all kinds: every second row of a transposed array, some pixels and channels of which are left out."""
    x, *rest = points
    n, h, w, c = x.shape
    large = np.full((w + 2, c + 1, 2 * h, n), np.nan)
    view = large[1:-1, 1:, ::2].transpose(3, 2, 0, 1)
    view[...] = x
    u = np.random.default_rng(0).standard_normal(function(*map(Tensor, points)).data.shape)
    for mine, expected in zip(pullback(function, [view, *rest], u), pullback(function, points, u), strict=True):
        np.testing.assert_allclose(mine, expected, rtol=0, atol=1e-13)  # products may be ordered otherwise


@pytest.mark.parametrize("operand", [1, 2], ids=["weight", "bias"])
def test_a_convolution_writes_parameter_gradients_without_a_copy(operand):
    leaves = [Tensor(np.ones(shape), needs_grad=True) for shape in [(2, 4, 4, 3), (5, 3, 3, 3), (5,)]]
    out = np.empty_like(leaves[operand].data)
    assert conv.conv2d(*leaves).operands[operand][1](np.ones((2, 2, 2, 5)), out) is out


# --- pooling ---------------------------------------------------------------------------------------------------------


@settings(max_examples=50)
@given(cases(square=True), st.integers(0, 2**32))
def test_a_maximum_is_the_largest_in_its_window_and_its_gradient_goes_to_the_first(case, seed):
    """Many ties: integers of -8 to 8; a border of -inf never wins, not even among negative numbers."""
    shape, size, _, stride, padding = case
    rng = np.random.default_rng(seed)
    x = integers(shape, rng) - 9
    y = conv.max_pool2d(Tensor(x), size, stride, padding).data
    g = integers(y.shape, rng)
    expected, dx = np.empty_like(y), np.zeros_like(x)
    for n, i, j, c in np.ndindex(*y.shape):
        places = [
            (n, h, w, c)
            for h in range(i * stride - padding, i * stride - padding + size) if 0 <= h < shape[1]
            for w in range(j * stride - padding, j * stride - padding + size) if 0 <= w < shape[2]
        ]  # fmt: skip
        best = max(places, key=lambda place: x[place])  # the first of equals, row by row
        expected[n, i, j, c] = x[best]
        dx[best] += g[n, i, j, c]
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(pullback(lambda t: conv.max_pool2d(t, size, stride, padding), [x], g)[0], dx)


@settings(max_examples=50)
@given(cases(square=True), st.integers(0, 2**32))
def test_a_mean_is_the_convolution_with_equal_weights(case, seed):
    shape, size, _, stride, _ = case
    rng = np.random.default_rng(seed)
    x = integers((shape[0], max(shape[1], size), max(shape[2], size), 1), rng)
    w = np.ones((1, size, size, 1))
    y = conv.avg_pool2d(Tensor(x), size, stride).data
    np.testing.assert_allclose(y * size**2, conv.conv2d(Tensor(x), Tensor(w), stride=stride).data, rtol=0, atol=1e-13)
    g = integers(y.shape, rng)
    dx = pullback(lambda t: conv.avg_pool2d(t, size, stride), [x], g)[0]
    expected = pullback(lambda t, w: conv.conv2d(t, w, stride=stride), [x, w], g)[0]
    np.testing.assert_allclose(dx * size**2, expected, rtol=0, atol=1e-13)


def test_channels_are_pooled_apart():
    x = np.arange(16.0).reshape(1, 4, 4, 1) * [1, -1]
    np.testing.assert_array_equal(conv.max_pool2d(Tensor(x), 4, 4).data, [[[[15, 0]]]])
    np.testing.assert_array_equal(conv.avg_pool2d(Tensor(x), 4, 4).data, [[[[7.5, -7.5]]]])
    np.testing.assert_array_equal(conv.global_avg_pool(Tensor(x)).data, [[7.5, -7.5]])


@pytest.mark.parametrize("function", [lambda t: conv.max_pool2d(t, 2, 2), lambda t: conv.avg_pool2d(t, 2, 2)])
def test_a_nan_stays_visible(function):
    x = np.zeros((1, 4, 4, 1))
    x[0, 1, 0] = np.nan
    assert np.isnan(function(Tensor(x)).data).ravel().tolist() == [True, False, False, False]


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(2, 2, 9, 3), (2, 9, 2, 3), (9, 9, 3), (2, 9)], ids=str)
def test_images_smaller_than_a_window_are_refused_in_one_sentence(shape):
    x, w = Tensor(np.zeros(shape)), Tensor(np.zeros((4, 3, 3, 3)))
    sentence = f"windows of 3 x 3 pixels need images (N, H, W, C) as large, got shape {shape}"
    for function in (lambda: conv.conv2d(x, w), lambda: conv.max_pool2d(x, 3, 1), lambda: conv.avg_pool2d(x, 3, 1)):
        with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
            function()


def test_a_border_is_named_where_there_is_one():
    x, w = Tensor(np.zeros((2, 4, 1, 3))), Tensor(np.zeros((4, 5, 5, 3)))
    sentence = "as large inside of a border of 1, got shape (2, 4, 1, 3)"
    with pytest.raises(ValueError, match=f"{re.escape(sentence)}$"):
        conv.conv2d(x, w, padding=1)


def test_a_maximum_over_the_border_alone_is_refused():
    with pytest.raises(ValueError, match=r"^padding must be at most 1, half of a window of 3 pixels, got 2$"):
        conv.max_pool2d(Tensor(np.zeros((1, 5, 5, 1))), 3, 1, 2)


def test_a_mean_over_all_pixels_wants_images():
    with pytest.raises(ValueError, match=r"^a mean over all pixels expects images \(N, H, W, C\), got shape \(2, 3\)$"):
        conv.global_avg_pool(Tensor(np.zeros((2, 3))))
