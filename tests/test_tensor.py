"""What must be true of differentiation itself, whatever the operations are."""

import gc
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nets import Tensor, ops


def leaf(value, into=None):
    """A float64 leaf that needs a gradient, in `into` if given."""
    tensor = Tensor(np.array(value, dtype=float), needs_grad=True)
    tensor.into = into
    return tensor


# --- the chain rule ------------------------------------------------------------------------------------------------


def test_a_node_used_twice_gets_the_sum():
    x = leaf([2.0, -3.0])
    ops.sum(ops.multiply(x, x)).backward()
    np.testing.assert_array_equal(x.grad, [4.0, -6.0])


def test_a_node_waits_for_all_its_uses_before_it_passes_its_gradient_on():
    x = leaf(0.5)
    a = ops.tanh(x)
    ops.multiply(ops.tanh(ops.tanh(a)), a).backward()  # uses of a at distance 1 and 3 from the loss
    a_, b, c = np.tanh(0.5), np.tanh(np.tanh(0.5)), np.tanh(np.tanh(np.tanh(0.5)))
    assert x.grad == pytest.approx((c + a_ * (1 - c * c) * (1 - b * b)) * (1 - a_ * a_), rel=1e-14)


@given(st.integers(0, 2**32), st.integers(1, 30))
@settings(max_examples=50, deadline=None)
def test_any_program_has_the_gradient_its_complex_step_says(seed, length):
    """Random programs of adds, products and tanhs over two leaves: every operand is any earlier value."""
    rng = np.random.default_rng(seed)
    lines = [(rng.integers(3), *rng.integers(0, k, 2)) for k in range(2, 2 + length)]

    def run(values, add, multiply, tanh):
        for kind, i, j in lines:
            a, b = values[i], values[j]
            values.append(tanh(add(a, b)) if kind == 0 else tanh(multiply(a, b)) if kind == 1 else tanh(a))
        return values[-1]

    x, y = rng.standard_normal(2)
    leaves = [leaf(x), leaf(y)]
    run(list(leaves), ops.add, ops.multiply, ops.tanh).backward()
    for k, t in enumerate(leaves):
        point = [x + 1e-30j * (k == 0), y + 1e-30j * (k == 1)]
        exact = run(point, np.add, np.multiply, np.tanh).imag / 1e-30  # no difference is taken: exact to rounding
        assert (t.grad or 0.0) == pytest.approx(exact, rel=1e-10, abs=1e-14)  # None where nothing depends on it


def test_the_walk_visits_nodes_not_paths():
    x = y = leaf(1.0)
    for _ in range(60):
        y = ops.add(y, y)
    y.backward()  # 2^60 paths lead to x
    assert x.grad == 2.0**60


@pytest.mark.parametrize("order", [(0, 1, 0), (1, 0, 0), (0, 0, 1)])
def test_operands_that_share_a_gradient_do_not_disturb_each_other(order):
    """Addition sends the same array to both operands: adding a further contribution in place would change the other."""
    leaves = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    a, b, c = (leaves[k] for k in order)
    ops.sum(ops.add(ops.add(a, b), c)).backward()
    np.testing.assert_array_equal(leaves[0].grad, [2.0, 2.0])
    np.testing.assert_array_equal(leaves[1].grad, [1.0, 1.0])


def test_backward_twice_gives_the_same_gradient():
    x, w = leaf([0.3, -0.7]), leaf([1.5, 2.5], into=np.empty(2))
    f = ops.sum(ops.multiply(ops.tanh(ops.multiply(x, w)), x))
    f.backward()
    first = x.grad.copy(), w.grad.copy()
    f.backward()
    np.testing.assert_array_equal(x.grad, first[0])
    np.testing.assert_array_equal(w.grad, first[1])


def test_backward_from_more_than_one_number_is_refused():
    with pytest.raises(ValueError, match=r"0-d value such as a loss, got shape \(2,\)"):
        leaf([1.0, 2.0]).backward()


# --- only what is needed ---------------------------------------------------------------------------------------------


def refuse(g, out):
    raise AssertionError("a gradient that nobody needs was computed")


def test_no_gradient_is_computed_for_what_needs_none():
    data, x = Tensor(np.float64(3.0)), leaf(2.0)
    between = Tensor(np.float64(4.0), (data, refuse))
    Tensor(np.float64(5.0), (between, refuse), (x, lambda g, out: 7 * g)).backward()
    assert x.grad == 7.0
    assert data.grad is None


def test_without_leaves_that_need_a_gradient_there_is_no_graph():
    y = ops.tanh(ops.add(Tensor(np.ones(3)), Tensor(np.ones(3))))
    assert y.operands == ()
    assert not y.needs_grad


def test_only_leaves_keep_their_gradient():
    x = leaf([1.0, 2.0])
    y = ops.tanh(x)
    f = ops.sum(y)
    f.backward()
    assert y.grad is None
    assert f.grad is None
    assert x.grad is not None


# --- where a gradient goes -------------------------------------------------------------------------------------------


def test_a_gradient_is_written_where_the_leaf_wants_it():
    flat = np.full(6, np.nan)
    x, w = Tensor(np.ones((4, 2))), leaf(np.ones((2, 3)), into=flat.reshape(2, 3))
    ops.sum(ops.affine(x, w, Tensor(np.zeros(3)))).backward()
    assert w.grad is w.into
    np.testing.assert_array_equal(flat, 4.0)


def test_further_uses_add_where_the_leaf_wants_it():
    x = leaf([2.0, -3.0], into=np.full(2, np.nan))
    ops.sum(ops.add(ops.multiply(x, x), ops.tanh(x))).backward()
    assert x.grad is x.into
    np.testing.assert_allclose(x.into, [4 + 1 - np.tanh(2) ** 2, -6 + 1 - np.tanh(3) ** 2], rtol=1e-14)


def test_a_vjp_may_ignore_the_place_it_is_offered():
    x = leaf([1.0, 2.0], into=np.full(2, np.nan))
    ops.sum(x).backward()  # its vjp returns a broadcast view
    assert x.grad is x.into
    np.testing.assert_array_equal(x.into, 1.0)


# --- depth and memory ------------------------------------------------------------------------------------------------


def test_a_chain_of_ten_thousand_nodes_meets_no_recursion_limit():
    x, one = leaf(1.0), Tensor(np.float64(1.0))
    y = x
    for _ in range(10_000):
        y = ops.add(y, one)
    y.backward()
    assert x.grad == 1.0
    del y  # nor does freeing it


def test_a_graph_is_freed_by_reference_counts_alone():
    gc.disable()
    try:
        x = leaf(np.ones(3))
        y = ops.tanh(ops.multiply(x, x))
        f = ops.sum(y)
        f.backward()
        alive = [weakref.ref(y), weakref.ref(y.data), weakref.ref(f)]
        del y, f
        assert [reference() for reference in alive] == [None, None, None]
    finally:
        gc.enable()
