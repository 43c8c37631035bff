"""What must be true of the running statistics of batch norm: they follow the draws, survive, and meet no NaN."""

import re
from dataclasses import replace
from itertools import islice
from shutil import copytree

import numpy as np
import pytest

from nets import MODELS, BatchNorm, Conv2d, Dropout, GlobalAvgPool, Linear, Mode, Sequential, Tensor, cli
from nets.checkpoint import Checkpoint
from nets.logs import read_table
from nets.options import Options, setup
from nets.oracle import NetOracle
from nets.train import fit
from refopt import (
    L2,
    SLS,
    AdaSecant,
    Clip,
    GradientDescent,
    MoMo,
    NesterovLookAhead,
    NonFiniteError,
    Recorded,
    Shuffled,
    SPSMax,
    descend,
)

DATA = 23


def small_net(shape=(4, 4, 3), classes=3):
    return Sequential(
        Conv2d(shape[2], 4, 3, padding=1, bias=None), BatchNorm(4, relu=True), Dropout(0.3),
        Conv2d(4, 5, 3, stride=2, bias=None), BatchNorm(5, relu=True), GlobalAvgPool(), Linear(5, classes),
    )  # fmt: skip


def small_oracle(dtype=np.float64, order=None):
    rng = np.random.default_rng(1)
    images, labels = rng.normal(2.0, 3.0, (DATA, 4, 4, 3)), rng.integers(0, 3, DATA)
    return NetOracle(small_net(), images, labels, order or Shuffled(DATA, 5), seed=3, dtype=dtype)


def equal(a, b):
    """Whether two dictionaries of arrays agree bit for bit."""
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"1.running_mean": None}, "1.running_mean should be (4,), and is None"),
        ({"1.running_var": np.ones(1)}, "1.running_var should be (4,), and is (1,)"),
        ({"7.running_var": np.ones(4)}, "7.running_var should be None, and is (4,)"),
    ],
)
def test_those_of_another_net_are_refused_and_change_nothing(change, named):
    """Least of all a single number, which every channel could share."""
    oracle = small_oracle()
    before = oracle.buffers()
    given = {name: value + 1 for name, value in before.items()} | change
    with pytest.raises(ValueError, match=re.escape(named)):
        oracle.restore({name: value for name, value in given.items() if value is not None})
    assert equal(oracle.buffers(), before)


# --- what moves them -------------------------------------------------------------------------------------------------


def test_the_first_answer_after_a_draw_moves_them_and_nothing_else_does():
    oracle = small_oracle()
    x = oracle.layout.initial(0, np.float64)
    v = np.random.default_rng(0).standard_normal(x.size) * (x != 0)
    for _ in range(7):  # over an epoch of five batches, the last one smaller
        before = oracle.buffers()
        oracle.draw()
        oracle.value(x)
        oracle.peek(x)
        assert equal(oracle.buffers(), before), "neither a draw nor a look moves them"
        f, g = oracle(x)
        after = oracle.buffers()
        assert not any(np.array_equal(after[name], before[name]) for name in after)
        again, same = oracle(x)
        assert f == again
        assert np.array_equal(g, same)
        for answer in (oracle.value, oracle.peek, oracle):
            answer(x + v)
        oracle.hvp(x, v)
        oracle.evaluate(x, oracle.images, oracle.labels)
        assert equal(oracle.buffers(), after)


def test_an_answer_that_is_cut_short_leaves_them_as_they_were():
    """So the answer to the same question, asked again, moves them once."""
    oracle, calm = small_oracle(), small_oracle()
    x = oracle.layout.initial(0, np.float64)
    last = oracle.model.layers[-1]
    for each in (oracle, calm):
        each.draw()
    before = oracle.buffers()
    last.inputs = None  # the last layer refuses its input
    with pytest.raises(ValueError, match="Linear"):
        oracle(x)
    last.inputs = 5
    assert equal(oracle.buffers(), before)
    oracle(x), calm(x)
    assert equal(oracle.buffers(), calm.buffers())


def test_before_the_first_draw_nothing_moves_them():
    oracle = small_oracle()
    oracle(oracle.layout.initial(0, np.float64))
    assert all((value == ("var" in name)).all() for name, value in oracle.buffers().items())


def test_they_are_those_of_the_batch_that_was_drawn():
    """The first layer's, by hand; a later peek at other images leaves no trace."""
    oracle = small_oracle()
    x = oracle.layout.initial(0, np.float64)
    mean, variance = np.zeros(4), np.ones(4)
    for t in range(7):
        oracle.peek(x)
        oracle.draw()
        oracle(x)
        first = oracle.model.layers[0](Tensor(oracle.images[oracle.order(t)]), Mode()).data.reshape(-1, 4)
        mean, variance = 0.9 * mean + 0.1 * first.mean(axis=0), 0.9 * variance + 0.1 * first.var(axis=0, ddof=1)
        found = oracle.buffers()
        np.testing.assert_allclose(found["1.running_mean"], mean, rtol=1e-12)
        np.testing.assert_allclose(found["1.running_var"], variance, rtol=1e-12)


@pytest.mark.parametrize("rule", [GradientDescent(), NesterovLookAhead(), AdaSecant(), SLS()], ids=repr)
def test_a_rule_that_asks_more_often_moves_them_no_more_often(rule):
    """Once per draw, wherever the rule asks first: the number of moves is counted."""
    oracle, moves = small_oracle(), []
    norm = oracle.model.layers[1]
    norm._move = lambda *statistics: moves.append(statistics)
    for step in islice(descend(rule, oracle, oracle.layout.initial(0, np.float64)), 6):
        assert len(moves) == step.t


@pytest.mark.parametrize("wrap", [lambda oracle: L2(oracle, 0.1), lambda oracle: Clip(oracle, 1e-3)])
def test_a_wrapped_oracle_has_the_same_ones(wrap):
    plain, wrapped = small_oracle(), wrap(small_oracle())
    x = plain.layout.initial(0, np.float64)
    for oracle in (plain, wrapped):
        oracle.draw()
        oracle(x)
    assert equal(plain.buffers(), wrapped.buffers())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_they_have_the_dtype_of_theta(dtype):
    oracle = small_oracle(dtype)
    assert {array.dtype for array in oracle.buffers().values()} == {np.dtype(dtype)}
    for step in islice(descend(SPSMax(), oracle, oracle.layout.initial(0, dtype)), 3):
        assert {array.dtype for array in oracle.buffers().values()} == {np.dtype(dtype)}
        assert step.x.dtype == dtype


# --- what they are for -----------------------------------------------------------------------------------------------


def test_evaluation_uses_them_and_so_does_not_depend_on_its_batches():
    oracle = small_oracle()
    x = oracle.layout.initial(0, np.float64)
    start = oracle.evaluate(x, oracle.images, oracle.labels)
    for _ in range(5):
        oracle.draw()
        oracle(x)
    whole = oracle.evaluate(x, oracle.images, oracle.labels)
    assert whole != start
    for batch in (1, 4, DATA):  # products of other shapes may round otherwise
        assert oracle.evaluate(x, oracle.images, oracle.labels, batch) == pytest.approx(whole, rel=1e-12)
    order = np.random.default_rng(0).permutation(DATA)
    assert oracle.evaluate(x, oracle.images[order], oracle.labels[order]) == pytest.approx(whole, rel=1e-12)


# --- what is not finite ----------------------------------------------------------------------------------------------


def damaged(kind):
    """An oracle that draws its samples two by two, the second pair being damaged, and theta."""
    oracle = small_oracle(order=Recorded(np.array([[0, 1], [2, 3], [4, 5]]), steps_per_epoch=3))
    theta = oracle.layout.initial(0, np.float64)
    if kind == "a NaN pixel":
        oracle.images[2, 1, 1, 0] = np.nan
    elif kind == "an infinite pixel":
        oracle.images[3, 1, 1, 0] = np.inf
    else:  # the loss overflows behind the last norm, all statistics being finite
        oracle.loss = overflowing(oracle.loss, kind == "an infinite loss")
    return oracle, theta


def overflowing(loss, value):
    """The loss, with its value or its gradient infinite from the second call on."""
    calls = []

    def overflow(logits, labels):
        result = loss(logits, labels)
        calls.append(1)
        if len(calls) == 2 and value:
            result.data = np.float64(np.inf)
        elif len(calls) == 2:
            (operand, vjp), *_ = result.operands
            result.operands = ((operand, lambda g, out: vjp(g, out) * np.inf),)
        return result

    return overflow


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("kind", ["a NaN pixel", "an infinite pixel", "an infinite loss", "an infinite gradient"])
def test_a_sample_that_is_refused_leaves_them_as_they_were(kind):
    oracle, theta = damaged(kind)
    seen = [oracle.buffers()]
    for _ in islice(descend(GradientDescent(lr=0.1), oracle, theta, nonfinite="skip"), 3):
        seen.append(oracle.buffers())
    assert not equal(seen[0], seen[1])
    assert equal(seen[1], seen[2])
    assert not equal(seen[2], seen[3])
    assert all(np.isfinite(array).all() for array in seen[3].values())
    oracle, theta = damaged(kind)
    with pytest.raises(NonFiniteError):
        list(islice(descend(GradientDescent(lr=0.1), oracle, theta), 3))
    assert equal(oracle.buffers(), seen[1])


# --- how they survive ------------------------------------------------------------------------------------------------


@pytest.fixture
def tiny(monkeypatch):
    """Options of a run with a small net with batch norm, on the digits."""
    monkeypatch.setitem(MODELS, "tiny", small_net)
    return Options(model="tiny", epochs=2, batch=256)


def test_a_resumed_run_goes_on_with_them_bit_for_bit(tiny, tmp_path):
    """At the end of an epoch, and within one; what is evaluated after each epoch tells them too."""
    long = replace(tiny, epochs=4)
    fit(long, MoMo(), tmp_path / "whole")
    whole = Checkpoint.load(tmp_path / "whole" / "checkpoint.npz")
    fit(tiny, MoMo(), tmp_path / "parts")
    fit(long, MoMo(), tmp_path / "parts", Checkpoint.load(tmp_path / "parts" / "checkpoint.npz"))
    _net, oracle, theta, _parts = setup(long)
    rule = MoMo()
    *_, step = islice(descend(rule, oracle, theta), 8)
    Checkpoint(8, step.x, rule.state(), oracle.buffers(), oracle.position(), whole.settings).save(tmp_path / "middle")
    copytree(tmp_path / "whole", tmp_path / "middle-run")  # for its tables, which are cut back
    fit(long, MoMo(), tmp_path / "middle-run", Checkpoint.load(tmp_path / "middle"))
    for name in ("parts", "middle-run"):
        other = Checkpoint.load(tmp_path / name / "checkpoint.npz")
        assert np.array_equal(whole.theta, other.theta)
        assert equal(whole.buffers, other.buffers)
        assert {array.dtype for array in other.buffers.values()} == {np.dtype(np.float32)}
        rows = [read_table(tmp_path / run / "epochs.csv") for run in ("whole", name)]
        for column in ("train_loss", "train_accuracy", "test_loss", "test_accuracy"):
            assert np.array_equal(rows[0][column][-2:], rows[1][column][-2:])
    assert whole.buffers.keys() == {f"{k}.running_{what}" for k in (1, 4) for what in ("mean", "var")}
    assert not any((value == ("var" in name)).any() for name, value in whole.buffers.items()), "they have moved"


def test_a_saved_net_is_evaluated_with_them(tiny, tmp_path, capsys, monkeypatch):
    result = fit(tiny, SPSMax(), tmp_path)
    monkeypatch.setattr("sys.argv", ["refopt", "eval", str(tmp_path)])
    cli.main()
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    losses = {words[0]: float(words[2]) for words in lines if words[1] == "loss"}
    _epoch, train_loss, _, test_loss, *_ = result.rows[-1]
    assert losses == pytest.approx({"train": train_loss, "test": test_loss}, rel=1e-5)  # six digits are printed


def test_a_second_oracle_of_a_net_begins_where_the_first_one_is():
    oracle = small_oracle()
    x = oracle.layout.initial(0, np.float64)
    oracle.draw()
    oracle(x)
    other = NetOracle(oracle.model, oracle.images, oracle.labels, Shuffled(DATA, 5), dtype=np.float64)
    assert equal(other.buffers(), oracle.buffers())
