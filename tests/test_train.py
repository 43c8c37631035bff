"""Training: the net as an oracle, the files of a run, and runs that go on as if nothing had happened."""

import errno
import json
import os
import shutil
import signal
import sys
from contextlib import nullcontext
from dataclasses import make_dataclass, replace
from itertools import count, islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from threadpoolctl import threadpool_info

from nets import train
from nets.checkpoint import Checkpoint, DamagedError, RunError, locked
from nets.layers import Dropout, Flatten, Linear, Sequential, Tanh
from nets.logs import EPOCH_COLUMNS, LOG_COLUMNS, Table, read_table
from nets.options import Options, setup
from nets.oracle import NetOracle
from nets.train import fit
from refopt import (
    ALIG,
    NTLR,
    Cycle,
    DecSPS,
    GradientDescent,
    HeavyBall,
    MoMo,
    NonFiniteError,
    Polyak,
    PSSDelta,
    Random,
    Schedule,
    Shuffled,
    SPSMax,
    SPSSmooth,
    descend,
)

FAST = Options(epochs=2, batch=256)


def small_net(dropout=0.0):
    return Sequential(Flatten(), Linear(12, 7), Tanh(), Dropout(dropout), Linear(7, 3))


def small_oracle(dropout=0.0, dtype=np.float64, batch=5, **order):
    rng = np.random.default_rng(1)
    images, labels = rng.normal(size=(23, 2, 2, 3)), rng.integers(0, 3, 23)
    return NetOracle(small_net(dropout), images, labels, Shuffled(23, batch, **order), seed=3, dtype=dtype)


def hidden(folder) -> list[str]:
    """The hidden files of a run: the lock alone, once nothing is being written."""
    return [name for name in os.listdir(folder) if name.startswith(".")]


def same_state(a: Checkpoint, b: Checkpoint) -> bool:
    """Whether two checkpoints agree in every bit that the future depends on."""
    same_arrays = [np.array_equal(a.theta, b.theta), a.theta.dtype == b.theta.dtype, a.rule.keys() == b.rule.keys()]
    same_arrays += [np.array_equal(value, b.rule[name]) for name, value in a.rule.items()]
    return all(same_arrays) and (a.step, a.position) == (b.step, b.position)


# --- the oracle ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_gradient_of_a_net_is_the_derivative_of_its_loss(dropout):
    """Central difference in a random direction; h = 1e-6 leaves about 1e-10 of the slope, checked to 1e-7."""
    oracle = small_oracle(dropout)
    oracle.draw()
    x = oracle.layout.initial(0, np.float64)
    _f, g = oracle(x)
    for seed in range(5):
        v = np.random.default_rng(seed).normal(size=x.size) * (x != 0)
        slope = (oracle.value(x + 1e-6 * v) - oracle.value(x - 1e-6 * v)) / 2e-6
        assert slope == pytest.approx(g @ v, rel=1e-7)


def test_between_two_draws_the_oracle_is_pure_although_it_drops_units():
    oracle = small_oracle(dropout=0.5)
    x = oracle.layout.initial(0, np.float64)
    answers = []
    for _ in range(3):
        oracle.draw()
        f, g = oracle(x)
        assert oracle(x)[0] == f == oracle.value(x)
        assert np.array_equal(oracle(x)[1], g)
        answers.append(f)
    assert len(set(answers)) == 3, "every draw has its own samples and masks"


def test_peek_is_the_answer_after_the_next_draw():
    oracle = small_oracle(dropout=0.5)
    x = oracle.layout.initial(0, np.float64)
    for _ in range(12):  # over two epochs of five batches
        f, g = oracle.peek(x)
        oracle.draw()
        assert oracle(x)[0] == f
        assert np.array_equal(oracle(x)[1], g)


def test_samples_and_fraction_follow_a_smaller_last_batch():
    oracle = small_oracle()
    sizes = []
    for _ in range(oracle.steps_per_epoch):
        oracle.draw()
        sizes.append(oracle.samples)
        assert oracle.batch_fraction == oracle.samples / 23
    assert sizes == [5, 5, 5, 5, 3]
    assert small_oracle(drop_last=True).steps_per_epoch == 4


def test_an_epoch_of_batch_losses_averages_to_the_loss_of_the_data():
    """Weighted by their samples, since the last batch is smaller; 1e-12: one rounding for each batch."""
    oracle = small_oracle()
    x = oracle.layout.initial(0, np.float64)
    total = 0.0
    for _ in range(oracle.steps_per_epoch):
        oracle.draw()
        total += oracle(x)[0] * oracle.samples
    loss, accuracy = oracle.evaluate(x, oracle.images, oracle.labels, batch=4)
    assert total / 23 == pytest.approx(loss, rel=1e-12)
    assert accuracy * 23 == pytest.approx(round(accuracy * 23))
    assert oracle.evaluate(x, oracle.images, oracle.labels, batch=23) == pytest.approx((loss, accuracy), rel=1e-12)


def test_evaluation_knows_no_dropout_and_counts_right_answers():
    oracle = small_oracle(dropout=0.5)
    x = oracle.layout.initial(0, np.float64)
    views = list(oracle.layout.views(x).values())
    hidden = np.tanh(oracle.images.reshape(23, 12) @ views[0] + views[1])
    answers = (hidden @ views[2] + views[3]).argmax(axis=1)
    assert oracle.evaluate(x, oracle.images, oracle.labels)[1] == np.mean(answers == oracle.labels)


def test_float32_stays_float32():
    oracle = small_oracle(dropout=0.5, dtype=np.float32)
    x = oracle.layout.initial(0, np.float32)
    f, g = oracle(x)
    assert f.dtype == g.dtype == oracle.value(x).dtype == np.float32
    assert f.shape == ()


def test_first_loss_of_a_draw_is_kept_free_of_weight_decay():
    net, oracle, theta, _parts = setup(replace(FAST, weight_decay=0.5))
    step = next(descend(GradientDescent(), oracle, theta))
    assert step.f > net.data_loss
    assert step.f == pytest.approx(net.data_loss + 0.25 * theta @ theta, rel=1e-6)  # float32


def test_options_compose_clip_decay_and_ball():
    _net, oracle, theta, _parts = setup(replace(FAST, clip=1e-3, weight_decay=0.1, ball=1.0))
    assert np.linalg.norm(oracle(theta)[1] - 0.1 * theta) <= 1e-3 * (1 + 1e-4)  # the data's part is clipped, not all
    for step in islice(descend(GradientDescent(), oracle, theta), 3):
        assert np.linalg.norm(step.x) <= 1 + 1e-6


def test_a_polyak_step_under_weight_decay_asks_for_the_infimum(tmp_path):
    """The folder of a run that never took a step is free for another one."""
    with pytest.raises(ValueError, match=r"needs the infimum of the loss.*pass f_star"):
        fit(replace(FAST, weight_decay=0.1), SPSMax(), tmp_path)
    fit(replace(FAST, weight_decay=0.1), SPSMax(f_star=0.0), tmp_path)
    assert Checkpoint.load(tmp_path / "checkpoint.npz").settings["rule"] == repr(SPSMax(f_star=0.0))


# --- the files of a run ----------------------------------------------------------------------------------------------


def test_a_run_leaves_its_log_its_epochs_its_summary_and_a_checkpoint(tmp_path):
    result = fit(replace(FAST, validation=0.2), SPSMax(), tmp_path / "new" / "run")
    out = result.out
    log, epochs = read_table(out / "log.csv"), read_table(out / "epochs.csv")
    assert tuple(log) == LOG_COLUMNS
    assert tuple(epochs) == (*EPOCH_COLUMNS, "valid_loss", "valid_accuracy")
    per_epoch = -(-round(1437 * 0.8) // 256)
    assert log["step"].tolist() == list(range(1, 2 * per_epoch + 1))
    assert log["epoch"].tolist() == [1.0] * per_epoch + [2.0] * per_epoch
    assert (log["eta"] > 0).all()
    assert (log["grad_norm"] > 0).all()
    assert epochs["epoch"].tolist() == [1.0, 2.0]
    assert ((epochs["test_accuracy"] > 0.5) & (epochs["test_accuracy"] <= 1)).all(), "accuracies are fractions"
    summary = json.loads((out / "summary.json").read_text())
    assert summary["finished"] is True
    assert summary["final"]["test_accuracy"] == pytest.approx(epochs["test_accuracy"][-1])
    assert summary["settings"]["options"]["validation"] == 0.2
    assert hidden(out) == [".lock"], "no temporary file is left"


def test_the_log_holds_what_the_loop_saw(tmp_path):
    """Nine digits: equal after rounding to float32."""
    fit(FAST, SPSMax(), tmp_path)
    _net, oracle, theta, _parts = setup(FAST)
    log = read_table(tmp_path / "log.csv")
    for k, step in enumerate(islice(descend(SPSMax(), oracle, theta), 12)):
        seen = np.float32([step.f, step.eta, np.sqrt(np.dot(step.g, step.g))])
        assert np.float32([log[name][k] for name in ("loss", "eta", "grad_norm")]) == pytest.approx(seen, rel=2e-7)
    saved = Checkpoint.load(tmp_path / "checkpoint.npz")
    assert (saved.step, np.array_equal(saved.theta, step.x)) == (12, True)


@pytest.mark.parametrize(
    "rule",
    [SPSMax(), SPSSmooth(), PSSDelta(), DecSPS(), MoMo(), ALIG(), HeavyBall(lr=Cycle(0.01, 0.1, 9), mu=0.8),
     GradientDescent(lr=Random(0.01, 0.1, seed=4))],
    ids=lambda rule: type(rule).__name__,
)  # fmt: skip
def test_a_resumed_run_is_bit_equal_to_an_uninterrupted_one(rule, tmp_path):
    long = replace(FAST, epochs=4)
    fit(long, rule, tmp_path / "whole")
    fit(FAST, rule, tmp_path / "parts")
    fit(long, replace(rule), tmp_path / "parts", Checkpoint.load(tmp_path / "parts" / "checkpoint.npz"))
    whole, parts = (Checkpoint.load(tmp_path / name / "checkpoint.npz") for name in ("whole", "parts"))
    assert same_state(whole, parts)
    assert (tmp_path / "whole" / "log.csv").read_text() == (tmp_path / "parts" / "log.csv").read_text()
    tables = [read_table(tmp_path / name / "epochs.csv") for name in ("whole", "parts")]
    for column in EPOCH_COLUMNS[:-1]:  # all but the seconds
        assert np.array_equal(tables[0][column], tables[1][column])


def test_a_run_resumed_within_an_epoch_is_bit_equal_too(tmp_path):
    """Stops after 4 of 6 steps an epoch, as Ctrl-C does, and goes on; later rows of the log are written anew."""
    options, rule = replace(FAST, epochs=3), MoMo()
    fit(options, rule, tmp_path / "whole")
    net, oracle, theta, _parts = setup(options)
    *_, step = islice(descend(rule, oracle, theta), 4)
    settings = Checkpoint.load(tmp_path / "whole" / "checkpoint.npz").settings
    middle = Checkpoint(step.t, step.x, rule.state(), oracle.buffers(), oracle.position(), settings)
    middle.save(tmp_path / "middle.npz")
    shutil.copytree(tmp_path / "whole", tmp_path / "parts")
    fit(options, MoMo(), tmp_path / "parts", Checkpoint.load(tmp_path / "middle.npz"))
    assert net.position() == 4
    assert (tmp_path / "whole" / "log.csv").read_bytes() == (tmp_path / "parts" / "log.csv").read_bytes()
    ends = [Checkpoint.load(tmp_path / name / "checkpoint.npz") for name in ("whole", "parts")]
    assert same_state(*ends)


def test_resuming_a_finished_run_changes_nothing(tmp_path):
    fit(FAST, SPSMax(), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    result = fit(FAST, SPSMax(), tmp_path, Checkpoint.load(tmp_path / "checkpoint.npz"))
    assert result.finished
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert json.loads(before["summary.json"])["final"]["epoch"] == 2


def interrupted_at(monkeypatch, look: int) -> None:
    """Let the look-th question whether Ctrl-C has come, and all after it, be answered by yes."""
    looks = count(1)
    monkeypatch.setattr(train, "interruptible", lambda: nullcontext(lambda: next(looks) >= look))


@pytest.mark.parametrize("look", range(1, 8))
def test_whenever_ctrl_c_comes_the_last_step_is_saved(look, tmp_path, monkeypatch):
    interrupted_at(monkeypatch, look)
    rule = MoMo()
    assert not fit(FAST, rule, tmp_path).finished
    assert Checkpoint.load(tmp_path / "checkpoint.npz").step == len(read_table(tmp_path / "log.csv")["step"]) == rule.t


def test_a_run_interrupted_in_the_first_epoch_after_a_resume_keeps_its_final_figures(tmp_path, monkeypatch):
    fit(FAST, SPSMax(), tmp_path)
    final = json.loads((tmp_path / "summary.json").read_text())["final"]
    interrupted_at(monkeypatch, 1)
    fit(replace(FAST, epochs=3), SPSMax(), tmp_path, Checkpoint.load(tmp_path / "checkpoint.npz"))
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["finished"], summary["final"]) == (False, final)


def test_a_resumed_run_killed_at_once_remembers_what_it_was_asked_for(tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    def killed(*_, **__):
        raise Killed

    fit(FAST, SPSMax(), tmp_path)
    monkeypatch.setattr(train, "descend", killed)
    with pytest.raises(Killed):
        fit(replace(FAST, epochs=40), SPSMax(), tmp_path, Checkpoint.load(tmp_path / "checkpoint.npz"))
    saved = Checkpoint.load(tmp_path / "checkpoint.npz")
    assert (saved.step, saved.settings["options"]["epochs"]) == (12, 40)


def test_only_one_process_at_a_time_trains_into_a_folder(tmp_path):
    with locked(tmp_path), pytest.raises(RunError, match="another process trains into"):
        fit(FAST, SPSMax(), tmp_path)
    assert os.listdir(tmp_path) == [".lock"]
    fit(FAST, SPSMax(), tmp_path)


def test_what_a_killed_process_left_unfinished_is_removed(tmp_path, monkeypatch):
    """As kill -9 leaves it: the file was neither renamed nor removed."""
    fit(FAST, SPSMax(), tmp_path)
    saved = Checkpoint.load(tmp_path / "checkpoint.npz")
    with monkeypatch.context() as patch:
        patch.setattr(type(tmp_path), "replace", lambda *_: None)
        patch.setattr(type(tmp_path), "unlink", lambda *_, **__: None)
        saved.save(tmp_path / "checkpoint.npz")
    assert len(hidden(tmp_path)) == 2
    fit(FAST, SPSMax(), tmp_path, saved)
    assert hidden(tmp_path) == [".lock"]


def test_a_process_without_stderr_trains(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    assert fit(FAST, SPSMax(), tmp_path).finished


def test_ctrl_c_that_the_parent_has_ignored_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with train.interruptible() as interrupted:
            signal.raise_signal(signal.SIGINT)
            assert not interrupted()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    "rule",
    [GradientDescent(lr=lambda k: 0.1), SPSMax(eta_max=np.ones(3)), NTLR(base=HeavyBall(mu=lambda k: 0.9)),
     GradientDescent(lr=make_dataclass("Curve", ["points"], bases=(Schedule,))(len)),
     GradientDescent(lr=type("Plain", (Schedule,), {"lr": 0.1})())],
    ids=["function", "array", "within a rule", "within a schedule", "schedule without fields"],
)  # fmt: skip
def test_a_hyper_parameter_that_its_text_does_not_tell_is_refused(rule, tmp_path):
    with pytest.raises(RunError, match="cannot be noted in a checkpoint: pass numbers or a schedule"):
        fit(FAST, rule, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("options", "rule", "named"),
    [
        (FAST, SPSMax(c=1), "rule"),
        (FAST, PSSDelta(), "rule"),
        (replace(FAST, model="mlp-retsinas"), SPSMax(), "model"),
        (replace(FAST, seed=1), SPSMax(), "seed"),
        (replace(FAST, batch=32), SPSMax(), "batch"),
        (replace(FAST, dtype="float64"), SPSMax(), "dtype"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused_and_stays(options, rule, named, tmp_path):
    fit(FAST, SPSMax(), tmp_path)
    before = (tmp_path / "checkpoint.npz").read_bytes(), (tmp_path / "log.csv").read_bytes()
    with pytest.raises(RunError, match=f"another run: its {named} is"):
        fit(options, rule, tmp_path, Checkpoint.load(tmp_path / "checkpoint.npz"))
    assert before == ((tmp_path / "checkpoint.npz").read_bytes(), (tmp_path / "log.csv").read_bytes())


def test_a_damaged_checkpoint_is_refused_in_one_sentence(tmp_path):
    fit(FAST, SPSMax(), tmp_path)
    path = tmp_path / "checkpoint.npz"
    content = path.read_bytes()
    for damaged in (content[: len(content) // 2], b"", b"not a checkpoint", content[:-30]):
        path.write_bytes(damaged)
        with pytest.raises(RunError, match="is not a checkpoint"):
            Checkpoint.load(path)
    np.savez(path, theta=np.zeros(3))
    with pytest.raises(RunError, match="is not a checkpoint"):
        Checkpoint.load(path)
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(RunError, match="is not a checkpoint"):
        Checkpoint.load(path)
    path.write_bytes(content.replace(b"PK\x01\x02\x2d\x03\x2d\0\0\0\0\0", b"PK\x01\x02\x2d\x03\x2d\0\0\0\x63\0"))
    with pytest.raises(RunError, match=r"is not a checkpoint \(NotImplementedError"):  # compressed in an unknown way
        Checkpoint.load(path)
    path.unlink()
    with pytest.raises(RunError, match="there is no checkpoint"):
        Checkpoint.load(path)


@pytest.mark.parametrize(
    "change",
    [{"step": "3"}, {"step": -1}, {"position": None}, {"settings": []}, {"settings": {"options": {}, "rule": ""}},
     {"theta": np.zeros((2, 2))}, {"theta": np.array("abc")}],
    ids=str,
)  # fmt: skip
def test_a_checkpoint_of_another_kind_is_refused_in_one_sentence(change, tmp_path):
    path = tmp_path / "checkpoint.npz"
    settings = {"options": {}, "rule": "SPSMax()", "layout": []}
    sound = Checkpoint(3, np.zeros(4), {}, {}, 3, settings)
    sound.save(path)
    assert Checkpoint.load(path).settings == settings
    replace(sound, **change).save(path)
    with pytest.raises(RunError, match="is not a checkpoint"):
        Checkpoint.load(path)
    for header in ("[]", "3", "{}", '{"format": 1, "step": 3}', "no JSON"):
        np.savez(path, header=np.array(header), theta=np.zeros(4))
        with pytest.raises(RunError, match="is not a checkpoint"):
            Checkpoint.load(path)
    np.savez(path, header=np.array('{"format": 99}'), theta=np.zeros(4))
    with pytest.raises(RunError, match="has checkpoint format 99"):
        Checkpoint.load(path)


def test_a_checkpoint_that_cannot_be_read_is_not_called_damaged(tmp_path):
    """A folder, and a link to itself: nobody is advised to remove what he may only not read."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    for name in ("folder", "loop"):
        with pytest.raises(RunError, match=r"^cannot read ") as caught:
            Checkpoint.load(tmp_path / name)
        assert "remove" not in str(caught.value)


def test_a_checkpoint_for_which_there_is_no_memory_is_not_called_damaged(tmp_path, monkeypatch):
    fit(FAST, SPSMax(), tmp_path)

    def full(*_, **__):
        raise MemoryError

    monkeypatch.setattr(np, "load", full)
    with pytest.raises(MemoryError):
        Checkpoint.load(tmp_path / "checkpoint.npz")


def test_options_that_this_version_does_not_have_are_named():
    for options, named in (({"speed": 3}, "speed"), ({"epochs": "4"}, "epochs must be an integer")):
        with pytest.raises(RunError, match=rf"options in the checkpoint are not those of this version: .*{named}"):
            Options.saved({"options": options})
    assert Options.saved({"options": {"epochs": 7}}) == Options(epochs=7)


def test_a_full_disk_leaves_the_earlier_checkpoint(tmp_path, monkeypatch):
    fit(FAST, SPSMax(), tmp_path)
    before = (tmp_path / "checkpoint.npz").read_bytes()
    saved = Checkpoint.load(tmp_path / "checkpoint.npz")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match=r"No space left on device.*what stood there before is intact"):
        replace(saved, step=99).save(tmp_path / "checkpoint.npz")
    assert (tmp_path / "checkpoint.npz").read_bytes() == before
    assert hidden(tmp_path) == [".lock"], "the unfinished file is removed"


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match="cannot make the folder"):
        fit(FAST, SPSMax(), tmp_path / "file" / "run")


def test_a_run_that_diverges_says_where_and_keeps_its_last_checkpoint_and_its_steps(tmp_path):
    with pytest.raises(NonFiniteError, match="not finite from step") as caught:
        fit(FAST, GradientDescent(lr=1e30), tmp_path)
    assert caught.value.step > 1
    assert len(read_table(tmp_path / "log.csv")["step"]) == caught.value.step - 1
    assert np.isfinite(Checkpoint.load(tmp_path / "checkpoint.npz").theta).all()


def test_two_seeds_are_two_runs_and_one_seed_is_one(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        fit(replace(FAST, epochs=1, seed=seed), SPSMax(), tmp_path / name)
    a, b, c = (Checkpoint.load(tmp_path / name / "checkpoint.npz").theta for name in "abc")
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


def test_a_rule_can_be_used_for_a_second_run(tmp_path):
    rule = PSSDelta()
    fit(FAST, rule, tmp_path / "first")
    fit(FAST, rule, tmp_path / "second")
    first, second = (Checkpoint.load(tmp_path / name / "checkpoint.npz") for name in ("first", "second"))
    assert same_state(first, second)


@pytest.mark.parametrize(
    ("name", "value"), [("epochs", 0), ("batch", 0), ("seed", -1), ("threads", 0), ("model", "transformer")]
)
def test_an_option_out_of_range_is_named(name, value):
    with pytest.raises(ValueError, match=f"{name} must be"):
        Options(**{name: value})


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [("epochs", 1.5, "an integer"), ("epochs", np.float64(2), "an integer"), ("epochs", "2", "an integer"),
     ("epochs", True, "an integer"), ("batch", None, "an integer"), ("threads", 1.0, "an integer or None"),
     ("weight_decay", "0", "a number"), ("clip", np.ones(1), "a number or None"), ("drop_last", 1, "True or False"),
     ("data", None, "a text"), ("dtype", np.float32, "one of float32, float64"),
     ("dtype", np.dtype("float32"), "one of float32, float64"), ("device", "tpu", "one of cpu, gpu, auto")],
)  # fmt: skip
def test_an_option_of_another_kind_is_named(name, value, kind):
    with pytest.raises(ValueError, match=f"^{name} must be {kind}, got "):
        Options(**{name: value})


def test_options_given_as_numpy_numbers_are_pythons():
    """So a checkpoint can hold them; and an integer is a number as it is."""
    given = Options(epochs=np.int64(2), weight_decay=np.float32(0.5), drop_last=np.bool_(True), data=np.str_("digits"))
    assert given == Options(epochs=2, weight_decay=0.5, drop_last=True)
    assert {type(value) for value in vars(given).values()} <= {int, float, bool, str, type(None)}
    assert Options(clip=1).clip == 1


def test_a_batch_larger_than_the_data_is_refused():
    with pytest.raises(ValueError, match="batch must be between 1 and the 1437 samples"):
        setup(Options(batch=2000))


# --- tables ----------------------------------------------------------------------------------------------------------


def test_a_table_is_cut_back_to_the_rows_a_checkpoint_knows(tmp_path):
    table = Table(tmp_path / "t.csv", ("a", "b"))
    table.append([(k, k / 3) for k in range(1, 13)])
    with (tmp_path / "t.csv").open("a") as file:
        file.write("1")  # killed while writing row 13
    Table(tmp_path / "t.csv", ("a", "b"), keep=3).append([(4, 8)])
    assert read_table(tmp_path / "t.csv")["a"].tolist() == [1, 2, 3, 4]
    assert read_table(tmp_path / "t.csv")["b"][0] == pytest.approx(1 / 3, rel=1e-8)


@pytest.mark.parametrize(
    "content",
    [None, b"", b"a,c\n1,1\n2,1\n3,1\n", b"a,b\n1,1\n2,1\n", b"a,b\n1,1\n2,1\n2,1\n3,1\n", b"a,b\n1,1\n3,1\n2,1\n",
     b"a,b\n2,1\n3,1\n4,1\n", b"a,b\n1,1\n2,1\n3,1", b"\xff\0,b\n1,1\n2,1\n3,1\n",
     b"a,b\n1,1\n2\n3,1\n", b"a,b\n1,1\n2,\n3,1\n", b"a,b\n1,1\n2,x\n3,1\n", b"a,b\n1,1\n2,1,1\n3,1\n"],
)  # fmt: skip
def test_a_table_without_exactly_the_rows_a_checkpoint_knows_is_refused_and_stays(content, tmp_path):
    path = tmp_path / "t.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RunError, match=r"t\.csv"):
        Table(path, ("a", "b"), keep=3)
    assert (path.read_bytes() if path.exists() else None) == content


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@given(st.lists(st.floats(width=32), min_size=1, max_size=9))
def test_every_row_that_was_written_is_one_to_go_on_from(tmp_path_factory, kind, values):
    path = tmp_path_factory.mktemp("table") / "t.csv"
    Table(path, ("a", "b")).append([(k, kind(value)) for k, value in enumerate(values, start=1)])
    before = path.read_text()
    Table(path, ("a", "b"), keep=len(values))
    assert path.read_text() == before


def test_a_table_that_cannot_be_read_now_is_not_called_damaged(tmp_path):
    """A sweep starts a damaged run anew."""
    (tmp_path / "t.csv").mkdir()
    with pytest.raises(RunError, match="cannot read") as caught:
        Table(tmp_path / "t.csv", ("a", "b"), keep=3)
    assert not isinstance(caught.value, DamagedError)


def test_lines_that_are_no_rows_of_the_run_are_left_out(tmp_path):
    """Two processes of an earlier version, or an editor, may have left them."""
    (tmp_path / "t.csv").write_text("a,b\n\n1,1\n9,1\nx,y\n2,1\n3,1\n")
    Table(tmp_path / "t.csv", ("a", "b"), keep=3)
    assert (tmp_path / "t.csv").read_text() == "a,b\n1,1\n2,1\n3,1\n"


def test_an_empty_table_has_columns_and_no_rows(tmp_path):
    Table(tmp_path / "t.csv", ("a", "b"))
    table = read_table(tmp_path / "t.csv")
    assert list(table) == ["a", "b"]
    assert all(len(column) == 0 for column in table.values())


def test_a_table_that_is_none_is_refused(tmp_path):
    for content in ("a,b\n1,x\n", "a,b\n1\n"):
        (tmp_path / "t.csv").write_text(content)
        with pytest.raises(RunError, match="cannot be read as a table"):
            read_table(tmp_path / "t.csv")
    with pytest.raises(RunError, match="cannot be read as a table"):
        read_table(tmp_path / "missing.csv")
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    with pytest.raises(RunError, match="it has no column c"):
        read_table(tmp_path / "t.csv", ("b", "c"))


def test_f_star_of_a_net_is_the_infimum_of_its_loss():
    """Cross-entropy cannot fall below 0, and Polyak's rules may rely on it."""
    oracle = small_oracle()
    x = oracle.layout.initial(0, np.float64)
    steps = islice(descend(Polyak(), oracle, x), 50)
    assert oracle.f_star == 0
    assert all(step.f > 0 for step in steps)


@pytest.mark.parametrize(
    ("options", "threads"),
    [(FAST, 1), (replace(FAST, threads=2), 2), (replace(FAST, model="mlp-liang"), None)],
)
def test_small_products_get_one_thread_while_a_net_is_trained(options, threads, tmp_path):
    """64 x 256 weights and 256 samples are 2^22 multiplications, 1024 x 1024 weights 2^28: the library's own count."""

    def blas():
        return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}

    before, seen = blas(), []

    class Watching(GradientDescent):
        def step(self, x, oracle):
            seen.append(blas())
            return super().step(x, oracle)

    fit(replace(options, epochs=1), Watching(lr=0.01), tmp_path)
    assert seen[0] == ({threads} if threads else before)
    assert blas() == before
