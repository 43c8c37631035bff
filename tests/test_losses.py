"""What must be true of the losses: their values, their gradients, and that no input makes them overflow."""

import numpy as np
import pytest
from gradcheck import directional_error, pullback
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax, softmax

from nets import Tensor, check_labels, softmax_cross_entropy, squared_error

N, K = 6, 4
LABELS = np.array([0, 3, 1, 1, 2, 3])
seeds = st.integers(0, 2**32)
quick = settings(max_examples=20, deadline=None)


def cross_entropy(logits):
    return softmax_cross_entropy(logits, LABELS)


TARGETS = np.random.default_rng([7, 1]).standard_normal((N, K))  # a stream of its own: never the outputs


def error(outputs):
    return squared_error(outputs, TARGETS.astype(outputs.data.dtype))


both = pytest.mark.parametrize("loss", [cross_entropy, error])


@given(seed=seeds, scale=st.sampled_from([1e-3, 1.0, 30.0]))
@quick
def test_cross_entropy_is_the_mean_of_scipys_log_softmax(seed, scale):
    z = scale * np.random.default_rng(seed).standard_normal((N, K))
    expected = -log_softmax(z, axis=1)[np.arange(N), LABELS].mean()
    np.testing.assert_allclose(cross_entropy(Tensor(z)).data, expected, rtol=1e-13)  # sums of a few numbers


@given(seed=seeds)
@quick
def test_the_gradient_of_cross_entropy_is_softmax_minus_onehot_over_n(seed):
    z = np.random.default_rng(seed).standard_normal((N, K))
    gradient = pullback(cross_entropy, [z], np.float64(3.0))[0]
    np.testing.assert_allclose(gradient, 3 * (softmax(z, axis=1) - np.eye(K)[LABELS]) / N, rtol=1e-13, atol=1e-16)


@both
@given(seed=seeds)
@quick
def test_gradients_agree_with_differences(loss, seed):
    assert directional_error(loss, np.random.default_rng(seed).standard_normal((N, K)), seed=seed + 1) < 1e-7


def test_squared_error_is_half_the_squared_distance_averaged_over_samples():
    y, t = np.array([[1.0, 2.0], [3.0, 5.0]]), np.array([[0.0, 0.0], [3.0, 1.0]])
    assert squared_error(Tensor(y), t).data == (5 / 2 + 16 / 2) / 2


@both
def test_float32_in_float32_out(loss):
    y = np.random.default_rng(0).standard_normal((N, K)).astype(np.float32)
    f = loss(Tensor(y)).data
    assert (f.dtype, f.shape) == (np.float32, ())
    assert pullback(loss, [y], np.float32(1))[0].dtype == np.float32


@pytest.mark.parametrize("dtype", [np.int64, np.float64])
def test_targets_of_another_dtype_do_not_change_that_of_the_loss(dtype):
    y = Tensor(np.ones((N, K), np.float32), needs_grad=True)
    f = squared_error(y, np.zeros((N, K), dtype))
    f.backward()
    assert (f.data.dtype, y.grad.dtype) == (np.float32, np.float32)


@both
def test_neither_the_outputs_nor_what_backward_needs_are_written_to(loss):
    y = Tensor(np.random.default_rng(0).standard_normal((N, K)), needs_grad=True)
    y.data.flags.writeable = False
    f = loss(y)
    f.backward()
    first = y.grad.copy()
    f.backward()
    np.testing.assert_array_equal(y.grad, first)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_logits_of_ten_thousand_give_finite_losses_and_gradients(dtype):
    z = np.array([[1e4, -1e4, 0, 0], [-1e4, 1e4, 0, 0]] * 3, dtype)
    loss = cross_entropy(Tensor(z)).data
    np.testing.assert_allclose(loss, -log_softmax(z.astype(float), axis=1)[np.arange(N), LABELS].mean(), rtol=1e-6)
    assert np.isfinite(pullback(cross_entropy, [z], dtype(1))[0]).all()


def test_equal_logits_cost_the_logarithm_of_the_number_of_classes():
    assert cross_entropy(Tensor(np.full((N, K), 5.0))).data == pytest.approx(np.log(K), rel=1e-15)


@given(seed=seeds, shift=st.floats(-100, 100))
@quick
def test_adding_a_number_to_all_logits_of_a_sample_changes_nothing(seed, shift):
    z = np.random.default_rng(seed).standard_normal((N, K))
    # z + shift loses the digits of z below eps |shift|
    np.testing.assert_allclose(cross_entropy(Tensor(z + shift)).data, cross_entropy(Tensor(z)).data, rtol=1e-12)


@pytest.mark.parametrize("labels", [LABELS[:1], LABELS[:, None], np.eye(K)[LABELS]], ids=["one", "column", "onehot"])
def test_labels_of_another_shape_are_refused_not_broadcast(labels):
    with pytest.raises(ValueError, match=r"integer labels \(N,\), N at least 1, got shapes \(6, 4\)"):
        softmax_cross_entropy(Tensor(np.zeros((N, K))), labels)


def test_a_mean_of_no_losses_is_refused():
    with pytest.raises(ValueError, match=r"N at least 1, got shapes \(0, 4\) and \(0,\)"):
        softmax_cross_entropy(Tensor(np.zeros((0, K))), LABELS[:0])


def test_targets_of_another_shape_are_refused_not_broadcast():
    with pytest.raises(ValueError, match=r"shape of the outputs, \(6, 4\), got \(4,\)"):
        squared_error(Tensor(np.zeros((N, K))), np.zeros(K))


@pytest.mark.parametrize(
    ("labels", "problem"),
    [
        (np.array([0, 4]), "0 .. 3, got some in 0 .. 4"),
        (np.array([-1, 2]), "0 .. 3, got some in -1 .. 2"),
        (np.array([0.0, 1.0]), "integers"),
        (np.array([[0, 1]]), "shape"),
    ],
)
def test_bad_labels_are_named(labels, problem):
    with pytest.raises(ValueError, match=problem):
        check_labels(labels, K)


@pytest.mark.parametrize("labels", [LABELS, LABELS.astype(np.uint8), LABELS[:0]], ids=["int", "uint8", "none"])
def test_good_labels_pass(labels):
    check_labels(labels, K)
