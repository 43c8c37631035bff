"""The command line end to end: what a user types, what is printed and drawn, and what goes wrong in one sentence."""

import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import web

from nets import cli, commands, options, plots, train
from nets.augment import flip
from nets.checkpoint import Checkpoint
from nets.data import load, split
from nets.logs import read_table
from refopt import RULES

ROOT = Path(__file__).parent.parent
PNG = b"\x89PNG\r\n"
FAST = ["--epochs", "2", "--batch", "256"]


@pytest.fixture
def refopt(monkeypatch, tmp_path, capsys):
    """Run the command line in an empty folder; return what it printed."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["refopt", *arguments])
        cli.main()
        return capsys.readouterr().out

    return run


def failure(refopt, *arguments: str) -> str:
    """Return the sentence with which a command ends."""
    with pytest.raises(SystemExit) as caught:
        refopt(*arguments)
    message = str(caught.value)
    assert message.startswith("refopt: ")
    assert "\n" not in message
    return message


def process(folder: Path, *arguments: str) -> subprocess.Popen:
    """Start the command line as a process of its own, which heeds Ctrl-C even if this one was started without."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    start = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from nets.cli import main; main()"
    command, pipe = [sys.executable, "-c", start, *arguments], subprocess.PIPE
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=pipe, stderr=pipe, text=True)


def finish(run: subprocess.Popen) -> tuple[int, str, str]:
    """Wait for a process; return its status and what it printed, and on stderr."""
    printed, errors = run.communicate(timeout=120)
    return run.returncode, printed, errors


def test_rules_lists_every_rule_with_its_file_and_paper(refopt):
    lines = refopt("rules").splitlines()
    assert len(lines) == len(RULES) + 1
    for cls, line in zip(RULES, lines[1:], strict=True):
        name, class_name, file = line.split()[:3]
        assert (name, class_name) == (cli.command_name(cls), cls.__name__)
        assert class_name in (ROOT / file).read_text()
        assert cls.paper
        assert line.endswith(cls.paper)


def test_data_verifies_data_sets_ahead_of_time(refopt, monkeypatch, tmp_path):
    _served, asked = web.fake(monkeypatch, tmp_path)
    printed = refopt("data", "digits")
    assert printed == "digits: 1,437 images of 8 x 8 x 1 to train, 360 to test, 10 classes; verified\n"
    assert "train-images-idx3-ubyte.gz is missing: set REFOPT_DATA" in failure(refopt, "data", "digits", "mnist")
    assert len(asked) == 2
    assert "name at least one data set: digits, mnist" in failure(refopt, "data")


def test_options_of_the_data_reach_the_net(refopt):
    """Seven batches an epoch: 1437 images, of which the third fold of 0.2 is set aside, and 200 of the rest taken."""
    data = ["--validation", "0.2", "--fold", "2", "--samples", "200", "--augment", "flip", "--scaling", "unit"]
    refopt("train", *data, "--epochs", "1", "--batch", "30", "--seed", "3", "--out", "a", "sps-max")
    built = options.setup(options.Options.saved(Checkpoint.load(Path("a/checkpoint.npz")).settings))
    whole, images = load("digits"), built.net.images
    train, valid = split(1437, 0.2, 3, fold=2, samples=200)
    np.testing.assert_array_equal(images, whole.x_train[train])
    np.testing.assert_array_equal(built.parts["valid"][1], whole.y_train[valid])
    first = built.net.batch[0]
    assert first.max() == 1
    assert (built.net.steps_per_epoch, built.net.augment) == (7, flip)
    assert built.net.scaled(images).min() == 0


def test_train_without_arguments_shows_an_adaptive_rule_beside_a_bad_guess(refopt):
    """The whole main job: 20 epochs of both."""
    printed = refopt("train", "--out", "here")
    adaptive, constant = (read_table(Path("here") / name / "epochs.csv") for name in ("", "constant-rate"))
    assert adaptive["test_accuracy"][-1] >= 0.97
    assert constant["test_accuracy"][-1] < adaptive["test_accuracy"][-1] - 0.1
    assert Path("here/curves.png").read_bytes().startswith(PNG)
    assert {path.name for path in Path("here").iterdir()} == {
        "log.csv", "epochs.csv", "summary.json", "curves.png", "checkpoint.npz", "constant-rate", ".lock",
    }  # fmt: skip
    for table, row in zip((adaptive, constant), printed.splitlines()[-2:], strict=True):
        assert f"{100 * table['test_accuracy'][-1]:.2f} %" in row


def test_a_run_goes_by_default_into_a_folder_named_by_time_and_rule(refopt):
    refopt("train", *FAST, "pss-gamma")
    (folder,) = Path("runs").iterdir()
    assert folder.name.endswith("-pss-gamma")
    assert not (folder / "constant-rate").exists()


def test_hyper_parameters_and_schedules_reach_the_rule(refopt):
    refopt("train", *FAST, "--out", "a", "heavy-ball", "--lr", "Cycle(0.01, 0.02, steps=4)", "--mu", "0.5")
    saved = Checkpoint.load(Path("a/checkpoint.npz")).settings["rule"]
    assert saved == "HeavyBall(lr=Cycle(low=0.01, high=0.02, steps=4), mu=0.5)"
    assert read_table(Path("a/log.csv"))["eta"][:5] == pytest.approx([0.01, 0.015, 0.02, 0.015, 0.01])


@pytest.mark.parametrize("cls", RULES)
def test_every_rule_is_a_sub_command_made_of_its_fields(cls):
    command = cli.parse(["train", "--epochs", "3", cli.command_name(cls)])
    assert command.rule == cls()
    assert type(command.rule) is cls
    assert command.options.epochs == 3


def test_resume_goes_on_with_the_settings_of_the_checkpoint(refopt):
    refopt("train", "--epochs", "2", "--batch", "128", "--seed", "3", "--out", "a", "sps-smooth", "--c", "0.6")
    refopt("train", "--resume", "--out", "a", "--epochs", "3")
    refopt("train", "--epochs", "3", "--batch", "128", "--seed", "3", "--out", "b", "sps-smooth", "--c", "0.6")
    assert Path("a/log.csv").read_text() == Path("b/log.csv").read_text()
    assert len(read_table(Path("a/epochs.csv"))["epoch"]) == 3


def test_resume_of_the_comparison_resumes_both(refopt):
    refopt("train", *FAST, "--out", "a")
    printed = refopt("train", "--resume", "--out", "a", "--epochs", "3")
    assert "GradientDescent(lr=0.001)" in printed
    assert [len(read_table(Path(f) / "epochs.csv")["epoch"]) for f in ("a", "a/constant-rate")] == [3, 3]


def test_a_comparison_interrupted_in_its_first_half_goes_on_to_its_second(refopt, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(train, "interruptible", lambda: nullcontext(lambda: True))
        assert "go on with: refopt train --out a --resume" in refopt("train", *FAST, "--out", "a")
    assert not Path("a/constant-rate").exists()
    refopt("train", "--out", "a", "--resume")
    assert [len(read_table(Path(f) / "epochs.csv")["epoch"]) for f in ("a", "a/constant-rate")] == [2, 2]


def test_a_run_of_ones_own_in_the_folder_of_another_makes_no_comparison(refopt):
    refopt("train", *FAST, "--out", "a", "adam")
    refopt("train", *FAST, "--out", "a/constant-rate", "gradient-descent")
    refopt("train", "--resume", "--out", "a", "--epochs", "3")
    assert [len(read_table(Path(f) / "epochs.csv")["epoch"]) for f in ("a", "a/constant-rate")] == [3, 2]


def test_resume_without_a_checkpoint_starts_from_the_beginning_and_says_so(refopt, capsys):
    refopt("train", *FAST, "--out", "new", "--resume", "sps-max")
    assert len(read_table(Path("new/epochs.csv"))["epoch"]) == 2


def test_resume_with_other_settings_is_refused(refopt):
    refopt("train", *FAST, "--out", "a", "sps-max")
    assert "its rule is SPSMax" in failure(refopt, "train", "--out", "a", "--resume", "pss-gamma")
    assert "its batch is 256, yours is 32" in failure(refopt, "train", "--out", "a", "--resume", "--batch", "32")
    assert "--resume needs the folder" in failure(refopt, "train", "--resume")


def test_resume_without_its_log_is_one_sentence(refopt):
    refopt("train", *FAST, "--out", "a", "sps-max")
    Path("a/log.csv").unlink()
    assert "cannot read a/log.csv (No such file" in failure(refopt, "train", "--out", "a", "--resume")
    Path("a/log.csv").mkdir()
    assert "cannot read a/log.csv (Is a directory" in failure(refopt, "train", "--out", "a", "--resume")


def test_a_second_run_into_the_same_folder_does_not_destroy_the_first_unasked(refopt):
    refopt("train", *FAST, "--out", "a", "sps-max")
    before = Path("a/checkpoint.npz").read_bytes()
    assert "--resume" in failure(refopt, "train", *FAST, "--out", "a", "sps-max")
    assert Path("a/checkpoint.npz").read_bytes() == before


def test_eval_reports_what_the_last_epoch_reported(refopt):
    refopt("train", *FAST, "--validation", "0.1", "--out", "a", "sps-max")
    last = {name: column[-1] for name, column in read_table(Path("a/epochs.csv")).items()}
    for checkpoint in ("a", "a/checkpoint.npz"):
        words = {line.split()[0]: line.split() for line in refopt("eval", checkpoint).splitlines()}
        for part in ("train", "test", "valid"):
            assert float(words[part][2]) == pytest.approx(last[f"{part}_loss"], rel=1e-5)
            assert float(words[part][4]) == pytest.approx(100 * last[f"{part}_accuracy"], abs=0.005)


def test_eval_of_a_run_trained_on_a_gpu_needs_none(refopt):
    refopt("train", *FAST, "--out", "a", "sps-max")
    saved, printed = Checkpoint.load(Path("a/checkpoint.npz")), refopt("eval", "a")
    on_gpu = saved.settings | {"options": saved.settings["options"] | {"device": "gpu"}}
    replace(saved, settings=on_gpu).save(Path("a/checkpoint.npz"))
    assert refopt("eval", "a") == printed


def test_plot_tells_runs_of_one_name_apart(refopt, monkeypatch):
    drawn = {}
    monkeypatch.setattr(commands, "draw_runs", lambda runs, *_: drawn.update(runs))
    refopt("plot", "a/run", "b/run", "b")
    assert drawn == {"a/run": Path("a/run"), "b/run": Path("b/run"), "b": Path("b")}


def test_plot_shows_every_name_as_it_is(refopt, monkeypatch):
    """What Matplotlib would hide (_), read as a formula ($), or fail on: bytes that are no text."""
    names, figures, save = ["_a", "$x^2$", "x$", "Möbius 漢", os.fsdecode(b"\xff")], [], plots.save
    monkeypatch.setattr(plots, "save", lambda fig, path: figures.append(fig) or save(fig, path))
    refopt("train", *FAST, "--out", "_a", "sps-max")
    for name in names[1:]:
        Path(name).symlink_to("_a")
    figures.clear()
    refopt("plot", *names)
    (legend,) = figures[0].legends
    shown = [text.get_text() for text in legend.get_texts()]
    assert shown == [f"{part}: {name}" for name in [*names[:-1], "?"] for part in ("train", "test")]
    assert not any(text.get_parse_math() for text in legend.get_texts())
    assert Path("compare.png").read_bytes().startswith(PNG)


def test_plot_of_what_is_no_table_of_a_run_is_one_sentence(refopt):
    refopt("train", *FAST, "--out", "a", "sps-max")
    epochs, binary = Path("a/epochs.csv").read_bytes(), bytes(range(256))
    for name, content in (
        ("epochs.csv", b"x,y\n1,2\n"),
        ("log.csv", binary),
        ("log.csv", b"step,\x1b\0\n1,\0\x1b\n"),
        ("log.csv", b""),
    ):
        Path("a/epochs.csv").write_bytes(epochs)
        Path("a", name).write_bytes(content)
        assert f"a/{name} cannot be read as a table of a run" in failure(refopt, "plot", "a")


def test_plot_draws_runs_side_by_side(refopt):
    for name in ("a", "b"):
        refopt("train", *FAST, "--out", name, "sps-max")
    assert "two.png" in refopt("plot", "a", "b", "--out", "two.png")
    assert Path("two.png").read_bytes().startswith(PNG)
    for folder in ("", ".", "/"):
        assert "refopt: cannot write" in failure(refopt, "plot", "a", "b", "--out", folder)


def test_race_draws_rules_on_a_convex_problem(refopt):
    printed = refopt("race", "logistic", "sps-max", "polyak", "GradientDescent(lr=6)", "--steps", "40")
    assert Path("race-logistic.png").read_bytes().startswith(PNG)
    best = {line.split()[0]: float(line.split()[1]) for line in printed.splitlines()[1:4]}
    assert best["Polyak"] < 1e-8 < best["SPSMax"] < 1e-3


def test_race_on_mini_batches_measures_the_whole_objective(refopt):
    """Interpolation: SPS with c = 1/2 on single rows is Kaczmarz' method and converges to x* itself."""
    printed = refopt("race", "least-squares", "sps", "--batch", "1", "--steps", "600", "--dtype", "float32")
    assert float(printed.splitlines()[1].split()[1]) < 1e-8


def test_race_ends_a_rule_that_diverges_and_draws_the_rest(refopt):
    printed = refopt("race", "quadratic", "GradientDescent(lr=1e9)", "polyak", "--steps", "90", "--out", "r.png")
    assert Path("r.png").read_bytes().startswith(PNG)
    assert "Polyak" in printed


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["train", "--data", "imagenet", "sps-max"], "must be one of digits, mnist"),
        (["train", "--model", "transformer", "sps-max"], "model must be one of mlp"),
        (["train", "--batch", "5000", "sps-max"], "batch must be between 1 and the 1437 samples"),
        (["train", "--epochs", "0", "sps-max"], "epochs must be at least 1"),
        (["train", "--validation", "1.5", "sps-max"], "validation must be in [0, 1)"),
        (["train", "--validation", "1e-4", "sps-max"], "validation must be 0 or set aside at least one image"),
        (["train", "--weight-decay", "-1", "sps-max"], "decay must be a finite number >= 0"),
        (["train", "--ball", "0", "sps-max"], "radius of a ball must be a positive finite number"),
        (["train", "--weight-decay", "0.1", "sps-max"], "needs the infimum of the loss"),
        (["train", *FAST, "gradient-descent", "--lr", "1e30"], "not finite from step"),
        (["train", *FAST, "gradient-descent", "--lr", "1e300"], "not finite from step"),
        (["train", *FAST, "adam", "--lr", "1e38"], "not finite from step"),
        (["train", *FAST, "bb1", "--lr", "1e39"], "not finite from step"),
        (["train", "--out", 300 * "x", "sps-max"], "File name too long"),
        (["train", "--out", 300 * "x", "--resume"], "File name too long"),
        (["eval", "nowhere"], "there is no checkpoint"),
        (["eval", 300 * "x"], "File name too long"),
        (["plot", "nowhere"], "cannot be read as a table"),
        (["plot"], "name at least one folder"),
        (["race", "quadratic"], "name at least one rule"),
        (["race", "quadratic", "sgd"], "'sgd' is no rule"),
        (["race", "quadratic", "polyak", "--batch", "2"], "is not a sum of terms"),
        (["race", "quadratic", "polyak", "--out", "missing/r.png"], "cannot write missing/r.png"),
        (["race", "quadratic", "polyak", "--scipy", "sgd"], "SciPy cannot run 'sgd' here (Unknown solver sgd)"),
        (["race", "least-squares", "polyak", "--scipy", "cg", "--batch", "2"], "leave out --batch or --scipy"),
    ],
)
def test_what_goes_wrong_is_one_sentence(refopt, arguments, sentence):
    assert sentence in failure(refopt, *arguments)


def test_too_little_memory_is_one_sentence(refopt, monkeypatch):
    def setup(options):
        raise MemoryError("Unable to allocate 9 TiB")

    monkeypatch.setattr(train, "setup", setup)
    assert failure(refopt, "train", "sps-max").startswith("refopt: Unable to allocate 9 TiB: pass a smaller --batch")


@pytest.mark.skipif(os.environ.get("CUDA_VISIBLE_DEVICES", "") != "", reason="a GPU is meant to be used here")
def test_a_missing_gpu_is_one_sentence_and_auto_falls_back(refopt):
    from refopt.probe import gpu_problem

    if gpu_problem() is None:
        pytest.skip("this machine has a GPU that works")
    assert gpu_problem() in failure(refopt, "train", "--device", "gpu", "sps-max")
    assert "SPSMax" in refopt("train", *FAST, "--device", "auto", "sps-max")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["fly"], "fly"),
        (["train", "--speed", "3"], "Unrecognized options"),
        (["train", "sgd"], "sgd"),
        (["train", "gradient-descent", "--lr", "-1"], "lr must be a positive number, got -1"),
        (["train", "gradient-descent", "--lr", "fast"], "is no number or schedule"),
        (["train", "sps-max", "--c", "nan"], "c must be a positive number, got nan"),
    ],
)
def test_what_cannot_be_read_is_explained(refopt, capsys, arguments, sentence):
    with pytest.raises(SystemExit) as caught:
        refopt(*arguments)
    assert caught.value.code == 2
    assert sentence in " ".join(capsys.readouterr().err.split())


# --- processes -----------------------------------------------------------------------------------------------------


def wait_for(condition, seconds=60.0):
    """Wait until condition() holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.002)


def rows(path: Path) -> int:
    return path.read_text().count("\n") - 1 if path.exists() else -1


def test_a_run_killed_again_and_again_ends_bit_equal_to_an_uninterrupted_one(tmp_path):
    """kill -9 at three moments: while it works in the first epochs, and twice after a resume."""
    long = ["train", "--epochs", "40", "--batch", "16"]
    assert finish(process(tmp_path, *long, "--out", "whole", "sps-smooth"))[0] == 0
    arguments = [*long, "--out", "killed", "sps-smooth"]
    epochs = tmp_path / "killed" / "epochs.csv"
    for reached in (1, 9, 22):
        run = process(tmp_path, *arguments)
        wait_for(lambda reached=reached, run=run: rows(epochs) >= reached or run.poll() is not None)
        run.kill()
        assert finish(run)[0] == -signal.SIGKILL, "killed while it worked"
        arguments = ["train", "--resume", "--out", "killed"]
    assert finish(process(tmp_path, *arguments))[0] == 0
    whole, killed = (Checkpoint.load(tmp_path / name / "checkpoint.npz") for name in ("whole", "killed"))
    assert whole.step == killed.step == 40 * 90
    assert np.array_equal(whole.theta, killed.theta)
    assert all(np.array_equal(value, killed.rule[name]) for name, value in whole.rule.items())
    assert (tmp_path / "whole" / "log.csv").read_bytes() == (tmp_path / "killed" / "log.csv").read_bytes()
    assert rows(epochs) == 40


def test_ctrl_c_saves_and_says_how_to_resume(tmp_path):
    run = process(tmp_path, "train", "--epochs", "1000", "--out", "a", "sps-max")
    wait_for(lambda: rows(tmp_path / "a" / "epochs.csv") >= 1)
    run.send_signal(signal.SIGINT)
    status, printed, errors = finish(run)
    assert status == 0, errors
    assert "go on with: refopt train --out a --resume" in printed
    saved = Checkpoint.load(tmp_path / "a" / "checkpoint.npz")
    assert saved.step == rows(tmp_path / "a" / "log.csv") > 0
    assert (tmp_path / "a" / "curves.png").exists()


def test_a_reader_that_goes_away_is_no_traceback(tmp_path):
    run = process(tmp_path, "train", *FAST, "--out", "a")
    run.stdout.close()
    errors = run.stderr.read()
    run.stderr.close()
    assert run.wait(timeout=120) == 1
    assert errors == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this platform has no /dev/full")
@pytest.mark.parametrize("arguments", [["rules"], ["train", "--help"]])
def test_a_full_disk_behind_the_output_is_one_sentence(arguments):
    run = [sys.executable, "-m", "nets.cli", *arguments]
    with open("/dev/full", "w") as full:
        ended = subprocess.run(run, check=False, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, timeout=120)
    assert (ended.returncode, ended.stderr) == (1, "refopt: [Errno 28] No space left on device\n")


def test_a_terminal_without_greek_gets_question_marks(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    status, printed, errors = finish(process(tmp_path, "train", "alig", "--help"))
    assert (status, errors) == (0, "")
    assert "min{" in printed


def test_nothing_but_the_table_is_printed_when_the_output_is_no_terminal(tmp_path):
    status, _printed, errors = finish(process(tmp_path, "train", *FAST, "--out", "a", "sps-max"))
    assert (status, errors) == (0, "")
