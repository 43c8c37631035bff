"""Sweeps: every trial once and to its end, whatever is killed or damaged meanwhile; means and spreads."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nets import cli, sweep, train
from nets.checkpoint import Checkpoint, RunError, locked
from nets.logs import read_table
from nets.options import Options
from nets.spread import curves, final, spread
from nets.sweep import Trial, grid
from refopt import NTLR, Cycle, GradientDescent, HeavyBall, SPSMax

ROOT = Path(__file__).parent.parent
FAST = Options(epochs=2, batch=256, threads=1)


def trials(*seeds, rule=None, **changes):
    return [Trial("sps", replace(FAST, seed=seed, **changes), rule or SPSMax()) for seed in seeds]


def left(trial, out):
    """What must be equal whatever happened on the way."""
    folder = trial.folder(out)
    saved = Checkpoint.load(folder / "checkpoint.npz")
    epochs = read_table(folder / "epochs.csv")
    figures = [column.tolist() for name, column in epochs.items() if name != "seconds"]
    return saved.step, saved.theta.tobytes(), (folder / "log.csv").read_text(), figures


def stamps(out):
    return {path: path.stat().st_mtime_ns for path in out.rglob("*.*") if path.is_file()}


@contextmanager
def interrupted_after(monkeypatch, steps):
    """Ctrl-C, as the loop of training sees it, after so many of its looks."""
    looks = count(1)

    @contextmanager
    def interruptible():
        yield lambda: next(looks) >= steps

    with monkeypatch.context() as patch:
        patch.setattr(train, "interruptible", interruptible)
        yield


# --- what a grid is --------------------------------------------------------------------------------------------------


def test_a_grid_is_every_combination_and_a_rule_without_a_rate_enters_once():
    found = grid(
        FAST, [GradientDescent(), SPSMax(c=0.3), NTLR()],
        models=["mlp", "lenet"], batches=[8, 16], rates=[0.1, 0.25], seeds=[3, 4],
    )  # fmt: skip
    assert len({trial.folder(Path()) for trial in found}) == len(found) == 2 * 2 * (2 + 1 + 2) * 2
    assert {(t.options.model, t.options.batch, t.options.seed) for t in found} == {
        (model, batch, seed) for model in ("mlp", "lenet") for batch in (8, 16) for seed in (3, 4)
    }
    rules = {trial.label: trial.rule for trial in found if trial.label.endswith(", lenet, batch 8")}
    assert list(rules.values()) == [
        GradientDescent(lr=0.1), GradientDescent(lr=0.25), SPSMax(c=0.3),
        NTLR(base=GradientDescent(lr=0.1)), NTLR(base=GradientDescent(lr=0.25)),
    ]  # fmt: skip
    assert "NTLR(base=GradientDescent(lr=0.25)), lenet, batch 8" in rules


def test_what_a_grid_does_not_name_is_that_of_options_and_rules():
    rule = HeavyBall(lr=Cycle(0.1, 1, steps=10))
    (trial,) = grid(FAST, [rule])
    assert trial == Trial("HeavyBall(lr=Cycle(low=0.1, high=1, steps=10))", FAST, rule)


def test_seed_and_fold_tell_the_folders_of_one_label_apart():
    (trial,) = trials(3)
    assert trial.folder(Path("a")) == Path("a/sps/seed-3")
    folded = trial._replace(options=replace(FAST, validation=0.1, fold=4), label="lr 0.1/x, [1]")
    assert folded.folder(Path("a")) == Path("a/lr-0.1-x-1/seed-0-fold-4")


# --- work ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_sweep_leaves_the_runs_that_single_runs_leave(tmp_path, jobs):
    planned = [*trials(0, 1), Trial("cycle", FAST, HeavyBall(lr=Cycle(0.01, 0.1, steps=8)))]
    sweep.sweep(planned, tmp_path / "many", jobs=jobs)
    for k, trial in enumerate(planned):
        alone = trial._replace(label=str(k))
        train.fit(trial.options, trial.rule, alone.folder(tmp_path))
        assert left(trial, tmp_path / "many") == left(alone, tmp_path)


def test_each_run_gets_its_part_of_the_cores_and_resumes_with_another(tmp_path, monkeypatch):
    monkeypatch.setattr(sweep, "CORES", 8)
    (trial,) = trials(0, threads=None)
    with interrupted_after(monkeypatch, 3), pytest.raises(KeyboardInterrupt):
        sweep.sweep([trial], tmp_path, jobs=1)
    path = trial.folder(tmp_path) / "checkpoint.npz"
    assert Checkpoint.load(path).settings["options"]["threads"] == 8
    sweep.sweep([trial], tmp_path, jobs=2)
    assert Checkpoint.load(path).settings["options"]["threads"] == 4
    assert Checkpoint.load(path).step == 12


def test_what_is_finished_is_not_touched_again(tmp_path):
    sweep.sweep(trials(0, 1), tmp_path)
    before = stamps(tmp_path)
    sweep.sweep(trials(0, 1, 2), tmp_path)
    assert {path: stamp for path, stamp in stamps(tmp_path).items() if path in before} == before
    assert len(stamps(tmp_path)) == 3 * len(before) / 2


@pytest.mark.parametrize("steps", [1, 4, 6, 9])
def test_what_was_cut_off_goes_on_from_there(tmp_path, monkeypatch, steps):
    """Six steps an epoch: interrupted in the first one, at its end, and in the second one."""
    whole, cut = trials(0)[0], trials(0, 1)
    sweep.sweep([whole], tmp_path / "whole")
    with interrupted_after(monkeypatch, steps), pytest.raises(KeyboardInterrupt):
        sweep.sweep(cut, tmp_path / "cut")
    assert not cut[1].folder(tmp_path / "cut").exists(), "Ctrl-C ends the sweep, not only a run"
    asked, load = [], Checkpoint.load
    monkeypatch.setattr(Checkpoint, "load", lambda path: asked.append(path) or load(path))
    sweep.sweep(cut, tmp_path / "cut")
    assert asked, "from its checkpoint"
    assert left(whole, tmp_path / "cut") == left(whole, tmp_path / "whole")


def test_more_epochs_go_on_and_fewer_are_there(tmp_path):
    sweep.sweep(trials(0), tmp_path / "a")
    sweep.sweep(trials(0, epochs=4), tmp_path / "a")
    sweep.sweep(trials(0, epochs=4), tmp_path / "b")
    assert left(*trials(0), tmp_path / "a") == left(*trials(0), tmp_path / "b")
    before = stamps(tmp_path)
    sweep.sweep(trials(0, epochs=3), tmp_path / "a")
    assert stamps(tmp_path) == before
    assert curves(trials(0, epochs=3), tmp_path / "a")["sps"]["test_loss"].shape == (1, 3)


DAMAGE = {
    "checkpoint.npz": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "log.csv": lambda path: path.write_text("step\n"),
    "epochs.csv": lambda path: path.unlink(),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_what_is_damaged_starts_anew(tmp_path, monkeypatch, name):
    (trial,) = trials(0)
    sweep.sweep([trial], tmp_path / "whole")
    with interrupted_after(monkeypatch, 9), pytest.raises(KeyboardInterrupt):
        sweep.sweep([trial], tmp_path / "damaged")
    DAMAGE[name](trial.folder(tmp_path / "damaged") / name)
    sweep.sweep([trial], tmp_path / "damaged")
    assert left(trial, tmp_path / "damaged") == left(trial, tmp_path / "whole")


LOST = {
    "no table": ("epochs.csv", lambda path: path.unlink()),
    "a row less": ("epochs.csv", lambda path: path.write_text(path.read_text().rpartition("2,")[0])),
    "no figures": ("epochs.csv", lambda path: path.write_text(path.read_text().replace("\n2,", "\n2,x"))),
    **{text: ("summary.json", lambda path, text=text: path.write_text(text)) for text in (
        "", "null", "[]", '{"settings": [], "finished": true, "diverged": null}',
        '{"settings": {"layout": []}, "finished": true, "diverged": null}')},
}  # fmt: skip


@pytest.mark.parametrize("case", LOST)
def test_a_run_that_has_ended_and_lost_a_file_ends_again(tmp_path, case):
    (trial,) = trials(0)
    sweep.sweep([trial], tmp_path / "whole")
    sweep.sweep([trial], tmp_path / "lost")
    name, lose = LOST[case]
    lose(trial.folder(tmp_path / "lost") / name)
    sweep.sweep([trial], tmp_path / "lost")
    assert left(trial, tmp_path / "lost") == left(trial, tmp_path / "whole")
    assert sweep.ended(trial, tmp_path / "lost")


def test_to_diverge_is_an_end(tmp_path):
    planned = [*trials(0), Trial("wild", FAST, GradientDescent(lr=1e30))]
    sweep.sweep(planned, tmp_path)
    summary = json.loads((planned[1].folder(tmp_path) / "summary.json").read_text())
    assert (summary["finished"], "not finite from step" in summary["diverged"]) == (False, True)
    before = stamps(tmp_path)
    sweep.sweep(planned, tmp_path)
    assert stamps(tmp_path) == before
    good, wild = final(curves(planned, tmp_path))
    assert (good["finished"], wild["finished"], wild["runs"]) == (1, 0, 1)
    assert np.isnan(wild["test_loss"])


def test_a_folder_that_holds_another_run_is_refused_before_anything_is_done(tmp_path):
    sweep.sweep(trials(0), tmp_path)
    before = stamps(tmp_path)
    for other in (trials(1, 0, rule=SPSMax(c=0.1)), trials(1, 0, drop_last=True)):
        with pytest.raises(RunError, match=r"the checkpoint belongs to another run: its (rule|drop_last) is"):
            sweep.sweep(other, tmp_path)
    assert stamps(tmp_path) == before


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_trial_that_cannot_be_run_keeps_no_other_from_it(tmp_path, jobs):
    impossible = Trial("large", replace(FAST, batch=5000), SPSMax())
    with pytest.raises(RunError, match="1 of 3 runs did not come to their end; the first: large, seed 0: batch must"):
        sweep.sweep([impossible, *trials(0, 1)], tmp_path, jobs=jobs)
    assert all(sweep.ended(trial, tmp_path) for trial in trials(0, 1))


@pytest.mark.parametrize(("said", "sentence"), [("", "out of memory"), ("Unable to allocate 9 TiB",) * 2])
def test_a_trial_too_large_for_the_memory_keeps_no_other_from_it(tmp_path, monkeypatch, said, sentence):
    large, small = trials(0, 1)

    def fit(options, *arguments, **named):
        if options.seed == 0:
            raise MemoryError(said)
        return train.fit(options, *arguments, **named)

    monkeypatch.setattr(sweep, "fit", fit)
    with pytest.raises(RunError, match=f"the first: sps, seed 0: {sentence}: pass a smaller --batch"):
        sweep.sweep([large, small], tmp_path)
    assert sweep.ended(small, tmp_path)


def test_a_trial_that_another_process_works_on_is_left_to_it(tmp_path):
    busy, free = trials(0, 1)
    busy.folder(tmp_path).mkdir(parents=True)
    with locked(busy.folder(tmp_path)), pytest.raises(RunError, match="sps, seed 0: another process trains into"):
        sweep.sweep([busy, free], tmp_path)
    assert sweep.ended(free, tmp_path)
    sweep.sweep([busy, free], tmp_path)


def test_two_trials_of_one_folder_are_refused(tmp_path):
    one, other = Trial("a b", FAST, SPSMax()), Trial("a-b", FAST, HeavyBall())
    with pytest.raises(ValueError, match=r"two trials would lie in .*a-b/seed-0: give them labels"):
        sweep.sweep([one, other], tmp_path)


# --- processes -------------------------------------------------------------------------------------------------------

LONG = ["sweep", "--rules", "sps-smooth", "--epochs", "20", "--batch", "16", "--seeds", "0", "1", "2", "--jobs", "2"]


def process(folder, *arguments):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "nets.cli", *LONG, *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=pipe, stderr=pipe, text=True, start_new_session=True
    )


def rows(path):
    return path.read_text().count("\n") - 1 if path.exists() else -1


def wait_for(condition, run):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        assert run.poll() is None, run.communicate()
        time.sleep(0.002)


def holder(path):
    """The process that has a file open."""
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if descriptor.resolve() == path.resolve():
                return int(descriptor.parts[2])
        except OSError:  # of another user, or gone
            continue
    return None


def finished_runs(out):
    summaries = [json.loads(path.read_text()) for path in sorted(out.rglob("summary.json"))]
    return [summary["settings"]["options"]["seed"] for summary in summaries if summary["finished"]]


def same_runs(one, other):
    for seed in range(3):
        a, b = (out / "SPSSmooth" / f"seed-{seed}" for out in (one, other))
        assert (a / "log.csv").read_bytes() == (b / "log.csv").read_bytes()
        theta, same = (Checkpoint.load(folder / "checkpoint.npz").theta for folder in (a, b))
        np.testing.assert_array_equal(theta, same)
        assert read_table(a / "epochs.csv")["epoch"].tolist() == list(range(1, 21))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The sweep LONG, uninterrupted."""
    folder = tmp_path_factory.mktemp("whole")
    run = process(folder, "--out", "whole")
    printed, errors = run.communicate(timeout=120)
    assert (run.returncode, errors) == (0, "")
    assert "3 / 3" in printed
    return folder / "whole"


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="this platform has no /proc to find a worker in")
def test_a_killed_worker_loses_and_doubles_nothing(whole, tmp_path):
    run = process(tmp_path, "--out", "killed")
    out = tmp_path / "killed"
    for seed, reached in ((1, 4), (2, 9)):  # one of the two that start, then the one that starts last
        folder = out / "SPSSmooth" / f"seed-{seed}"
        wait_for(lambda folder=folder, reached=reached: rows(folder / "epochs.csv") >= reached, run)
        worker = holder(folder / ".lock")
        assert worker not in (None, run.pid)
        os.kill(worker, signal.SIGKILL)
    printed, errors = run.communicate(timeout=120)
    assert run.returncode == 0, errors
    assert errors.count("a worker was killed; what it did goes on from its last checkpoint") == 2
    assert "3 / 3" in printed
    assert finished_runs(out) == [0, 1, 2]
    same_runs(out, whole)


def test_a_killed_sweep_goes_on_by_the_same_command(whole, tmp_path):
    """With all of its processes at once, as when a machine goes down."""
    run, out = process(tmp_path, "--out", "killed"), tmp_path / "killed"
    wait_for(lambda: rows(out / "SPSSmooth" / "seed-0" / "epochs.csv") >= 7, run)
    os.killpg(run.pid, signal.SIGKILL)
    run.communicate(timeout=120)
    assert finished_runs(out) != [0, 1, 2]
    run = process(tmp_path, "--out", "killed")
    _, errors = run.communicate(timeout=120)
    assert (run.returncode, errors) == (0, "")
    same_runs(out, whole)
    table = list(csv.DictReader((out / "table.csv").read_text().splitlines()))
    assert [(row["label"], row["runs"], row["finished"]) for row in table] == [("SPSSmooth", "3", "3")]
    assert (out / "table.csv").read_text() == (whole / "table.csv").read_text()
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_workers_that_are_killed_again_and_again_are_given_up(monkeypatch, tmp_path, capsys):
    def killed(*_, **__):
        raise BrokenProcessPool

    monkeypatch.setattr(sweep, "complete", killed)
    with pytest.raises(RunError, match="workers were killed 3 times, perhaps for their memory: the same command"):
        sweep.sweep(trials(0), tmp_path)
    assert capsys.readouterr().err.count("a worker was killed") == 3


# --- means and spreads -----------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(arrays(float, st.tuples(st.integers(1, 5), st.integers(1, 4)), elements=st.floats(-9, 9)), st.data())
def test_the_spread_is_that_of_the_trials_that_have_a_value(values, data):
    gone = data.draw(arrays(bool, values.shape))
    mean, deviation = spread(np.where(gone, np.nan, values))
    for column, missing, m, d in zip(values.T, gone.T, mean, deviation, strict=True):
        there = column[~missing]
        assert np.isnan(m) == (len(there) < 1)
        assert np.isnan(d) == (len(there) < 2)
        if len(there) > 1:
            assert m == pytest.approx(there.mean(), abs=1e-12)
            assert d == pytest.approx(there.std(ddof=1), abs=1e-12)


def test_the_final_table_is_that_of_the_last_epoch_and_of_the_best(tmp_path):
    planned = trials(0, 1, 2, validation=0.1)
    sweep.sweep(planned, tmp_path)
    (row,) = final(curves(planned, tmp_path))
    tables = [read_table(trial.folder(tmp_path) / "epochs.csv") for trial in planned]
    for name in ("train_loss", "test_accuracy", "valid_loss"):
        last = [table[name][-1] for table in tables]
        assert (row[name], row[f"{name}_std"]) == pytest.approx((np.mean(last), np.std(last, ddof=1)))
    assert row["best_test_accuracy"] == pytest.approx(np.mean([table["test_accuracy"].max() for table in tables]))
    shutil.rmtree(planned[1].folder(tmp_path))
    assert np.isnan(curves(planned, tmp_path)["sps"]["test_loss"]).tolist() == [[False] * 2, [True] * 2, [False] * 2]


# --- the command -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--rules"], "name at least one rule"),
        (["--rules", "sgd"], "'sgd' is no rule"),
        (["--rules", "sps-max", "--models", "mpl"], "model must be one of mlp"),
        (["--rules", "sps-max", "--backend", "dask"], "a cluster needs both"),
        (["--rules", "sps-max", "--address", "tcp://host:1"], "a cluster needs both"),
        *((["--rules", "sps-max", "--jobs", jobs], "jobs must be at least 1, or -1") for jobs in ("0", "-2")),
        (["--rules", "sps-max", "--batch", "5000", "--epochs", "1"], "1 of 1 runs did not come to their end"),
    ],
)
def test_what_goes_wrong_is_one_sentence(monkeypatch, tmp_path, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["refopt", "sweep", "--out", "s", *arguments])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_ctrl_c_says_how_to_go_on(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["refopt", "sweep", "--out", str(tmp_path / "s"), "--rules", "sps-max"])
    with interrupted_after(monkeypatch, 5), pytest.raises(SystemExit, match="interrupted: the same command goes on"):
        cli.main()
