"""What must be true of the flat vector: views instead of copies, zero padding, and evaluations that leave no trace."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nets
from nets import Layer, Layout, Linear, Mode, Parameter, Sequential, Tanh, Tensor, flat, ops, squared_error
from nets.checkpoint import RunError

TRAIN = Mode(train=True)


def net():
    return nets.mlp((6, 9, 5, 3), Tanh, nets.he_normal, nets.torch_uniform)


def loss_of(model, seed=0, dtype=np.float64):
    """A squared error of `model`, 6 -> 3, on 8 random samples."""
    rng = np.random.default_rng(seed)
    x, t = rng.standard_normal((8, 6)).astype(dtype), rng.standard_normal((8, 3)).astype(dtype)
    return lambda: squared_error(model(Tensor(x), TRAIN), t)


def padding(layout):
    """True where theta holds no parameter."""
    free = np.ones(layout.size, bool)
    for block in layout.blocks:
        free[block.slice] = False
    return free


class Idle(Layer):
    """A net with a parameter it does not use, between two that it does."""

    def __init__(self):
        self.first, self.unused, self.last = Linear(6, 5), Parameter((7, 3), nets.he_normal, 7, 3), Linear(5, 3)

    def __call__(self, x, mode):
        return self.last(self.first(x, mode), mode)


# --- the layout ------------------------------------------------------------------------------------------------------


def test_blocks_name_the_parameters_in_order_with_their_shapes():
    assert [(block.name, block.shape) for block in Layout(net()).blocks] == [
        ("1.weight", (6, 9)),
        ("1.bias", (9,)),
        ("3.weight", (9, 5)),
        ("3.bias", (5,)),
        ("5.weight", (5, 3)),
        ("5.bias", (3,)),
    ]


@given(st.lists(st.integers(1, 70), min_size=2, max_size=5))
@settings(max_examples=30, deadline=None)
def test_parameters_start_at_multiples_of_32_and_do_not_overlap(sizes):
    layout = Layout(nets.mlp(sizes))
    end = 0
    for block in layout.blocks:
        assert block.slice.start % 32 == 0
        assert 0 <= block.slice.start - end < 32
        assert block.slice.stop - block.slice.start == np.prod(block.shape)
        end = block.slice.stop
    assert 0 <= layout.size - end < 32
    assert layout.size % 32 == 0


def test_views_share_the_memory_of_theta():
    layout = Layout(net())
    theta = np.zeros(layout.size, np.float32)
    for k, view in enumerate(layout.views(theta).values(), start=1):
        view[...] = k
    for k, block in enumerate(layout.blocks, start=1):
        np.testing.assert_array_equal(theta[block.slice], k)
    assert not theta[padding(layout)].any()


@pytest.mark.parametrize("theta", [np.zeros(5), np.zeros((256, 1)), np.zeros(256, int)], ids=["size", "2-d", "int"])
def test_a_vector_that_does_not_fit_is_refused(theta):
    assert Layout(net()).size == 256
    with pytest.raises(ValueError, match="expected a vector of 256 floats, got shape"):
        Layout(net()).bind(theta)


# --- initial values --------------------------------------------------------------------------------------------------


def test_a_seed_gives_one_start_and_another_seed_another():
    layout = Layout(net())
    np.testing.assert_array_equal(layout.initial(3), Layout(net()).initial(3))
    assert np.all(layout.initial(3)[~padding(layout)] != layout.initial(4)[~padding(layout)])


def test_a_float32_start_is_the_rounded_float64_start():
    layout = Layout(net())
    assert layout.initial(0).dtype == np.float32
    np.testing.assert_array_equal(layout.initial(0), layout.initial(0, np.float64).astype(np.float32))


def test_the_padding_of_a_start_is_zero_and_parameters_are_not():
    layout = Layout(net())
    np.testing.assert_array_equal(layout.initial(0) == 0, padding(layout))


def test_parameters_are_drawn_independently():
    layout = Layout(Sequential(Linear(30, 30), Linear(30, 30)))
    first, second = (view.ravel() for name, view in layout.views(layout.initial(0)).items() if "weight" in name)
    assert abs(np.corrcoef(first, second)[0, 1]) < 5 / np.sqrt(900)


# --- evaluation ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [net(), Idle()], ids=["all used", "one unused"])
def test_nothing_of_the_new_gradient_is_left_unwritten(model, monkeypatch):
    """`empty` is made to return NaN: what backward does not write, padding and unused parameters, must become 0."""
    poisoned = SimpleNamespace(empty_like=lambda theta: np.full_like(theta, np.nan))
    monkeypatch.setattr(flat, "namespace", lambda theta: poisoned)
    layout = Layout(model)
    _, g = layout.evaluate(layout.initial(0, np.float64), loss_of(model))
    used = [block.slice for block in layout.blocks if block.name != "unused"]
    expected = np.zeros(layout.size, bool)
    for part in used:
        expected[part] = True
    np.testing.assert_array_equal(g != 0, expected)


def test_a_parameter_used_before_but_not_now_gets_zero():
    model = Idle()
    layout, theta = Layout(model), Layout(model).initial(0, np.float64)
    unused = next(block.slice for block in layout.blocks if block.name == "unused")
    _, g = layout.evaluate(theta, lambda: ops.sum(model.unused))
    np.testing.assert_array_equal(g[unused], 1.0)
    np.testing.assert_array_equal(layout.evaluate(theta, loss_of(model))[1][unused], 0.0)


def test_a_loss_without_parameters_has_the_gradient_zero():
    layout = Layout(net())
    f, g = layout.evaluate(layout.initial(0), lambda: Tensor(np.float32(2.0)))
    assert f == 2
    assert not g.any()


def test_two_layers_that_share_a_parameter_have_one_place_and_add_their_gradients():
    shared = Linear(6, 6)
    tied = Sequential(shared, Tanh(), shared, Linear(6, 3))
    untied = Sequential(Linear(6, 6), Tanh(), Linear(6, 6), Linear(6, 3))
    layout, other = Layout(tied), Layout(untied)
    assert [block.name for block in layout.blocks] == ["0.weight", "0.bias", "3.weight", "3.bias"]
    theta, twice = layout.initial(0, np.float64), other.initial(0, np.float64)
    for name, view in other.views(twice).items():
        view[...] = layout.views(theta)[name.replace("2.", "0.")]
    g, parts = (x.views(x.evaluate(t, loss_of(m))[1]) for x, t, m in [(layout, theta, tied), (other, twice, untied)])
    for name in ("weight", "bias"):
        np.testing.assert_allclose(g[f"0.{name}"], parts[f"0.{name}"] + parts[f"2.{name}"], rtol=1e-13, atol=1e-15)
        np.testing.assert_array_equal(g[f"3.{name}"], parts[f"3.{name}"])


def test_backward_writes_into_the_flat_gradient():
    model = net()
    layout = Layout(model)
    _, g = layout.evaluate(layout.initial(0, np.float64), loss_of(model))
    for (_, parameter), view in zip(model.parameters(), layout.views(g).values(), strict=True):
        assert parameter.grad.__array_interface__ == view.__array_interface__


def test_an_evaluation_leaves_theta_and_earlier_answers_alone():
    model = net()
    layout, loss = Layout(model), loss_of(model)
    a, b = layout.initial(0, np.float64), layout.initial(1, np.float64)
    a.flags.writeable = b.flags.writeable = False
    f, g = layout.evaluate(a, loss)
    f_before, g_before = f.copy(), g.copy()
    layout.evaluate(b, loss)
    layout.bind(b)
    loss()
    assert f == f_before
    np.testing.assert_array_equal(g, g_before)
    again = layout.evaluate(a, loss)
    assert again[0] == f
    np.testing.assert_array_equal(again[1], g)
    assert not np.shares_memory(again[1], g)


def test_float32_in_float32_out():
    model = net()
    layout = Layout(model)
    f, g = layout.evaluate(layout.initial(0), loss_of(model, dtype=np.float32))
    assert (f.dtype, f.shape, g.dtype, g.shape) == (np.float32, (), np.float32, (layout.size,))


def test_data_of_another_dtype_is_refused_instead_of_turning_float32_into_float64():
    model = net()
    layout = Layout(model)
    with pytest.raises(ValueError, match="the loss is float64 at a float32 theta: give the net data of theta's dtype"):
        layout.evaluate(layout.initial(0), loss_of(model, dtype=np.float64))


def test_the_value_alone_is_that_of_an_evaluation_and_builds_no_graph():
    model = net()
    layout, loss = Layout(model), loss_of(model)
    theta = layout.initial(0, np.float64)
    f, _ = layout.evaluate(theta, loss)
    layout.bind(theta)
    value = loss()
    assert value.operands == ()
    assert value.data == f


def test_an_evaluation_that_fails_spoils_nothing():
    model = net()
    layout, loss = Layout(model), loss_of(model)
    theta = layout.initial(0, np.float64)
    _, g = layout.evaluate(theta, loss)
    with pytest.raises(ValueError, match="expects an input"):
        layout.evaluate(theta, lambda: model(Tensor(np.zeros((2, 7))), TRAIN))
    np.testing.assert_array_equal(layout.evaluate(theta, loss)[1], g)


# --- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_saved_is_loaded_bit_for_bit(tmp_path, dtype):
    layout, path = Layout(net()), tmp_path / "net.npz"
    theta = layout.initial(0, dtype)
    layout.save(path, theta)
    loaded = layout.load(path)
    assert loaded.dtype == dtype
    np.testing.assert_array_equal(loaded, theta)
    assert [file.name for file in tmp_path.iterdir()] == ["net.npz"]


def test_a_file_needs_nothing_but_numpy_to_read(tmp_path):
    layout = Layout(net())
    theta = layout.initial(0)
    layout.save(tmp_path / "net.npz", theta)
    with np.load(tmp_path / "net.npz", allow_pickle=False) as archive:
        assert list(archive) == [block.name for block in layout.blocks]
        np.testing.assert_array_equal(archive["3.weight"], layout.views(theta)["3.weight"])


@pytest.mark.parametrize(
    ("sizes", "difference"),
    [
        ((6, 9, 5, 4), r"parameter 5.weight is \(5, 4\) there and \(5, 3\) in this one"),
        ((6, 9, 5), "parameter 5.weight is missing there"),
        ((6, 9, 5, 3, 3), r"parameter 7.weight is \(3, 3\) there and missing in this one"),
    ],
    ids=["other shape", "fewer", "more"],
)
def test_a_file_of_another_net_is_refused_with_the_first_difference(tmp_path, sizes, difference):
    other = Layout(nets.mlp(sizes))
    other.save(tmp_path / "net.npz", other.initial(0))
    with pytest.raises(ValueError, match=difference):
        Layout(net()).load(tmp_path / "net.npz")


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "net.npz").write_bytes(b"no archive")
    with pytest.raises(ValueError, match=r"net\.npz is not an \.npz file: give one that Layout\.save wrote"):
        Layout(net()).load(tmp_path / "net.npz")


def test_a_save_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    layout, path = Layout(net()), tmp_path / "net.npz"
    layout.save(path, layout.initial(0))

    def full_disk(file, **arrays):
        file.write(b"half an archive")
        raise OSError("no space left")

    monkeypatch.setattr(flat.np, "savez", full_disk)
    with pytest.raises(RunError, match="no space left"):
        layout.save(path, layout.initial(1))
    np.testing.assert_array_equal(layout.load(path), layout.initial(0))
