"""The scripts of the papers run to their end, and their arithmetic is right."""

import csv
import gzip
import importlib
import re
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from nets.logs import read_table
from nets.options import Options
from nets.sweep import Trial
from refopt import GradientDescent, PSSGamma

FOLDER = Path(__file__).parent.parent / "tutorials" / "papers"
SCRIPTS = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "experiment")


@pytest.fixture
def script(monkeypatch):
    """Imports a script, as `python tutorials/papers/NAME.py` finds its neighbours."""
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module


@pytest.fixture
def experiment(script):
    return script("experiment")


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_tiny_scale_leaves_every_table_and_figure(script, tmp_path, name):
    module = script(name)
    module.main(module.__doc__, module.parts, ["--scale", "tiny", "--out", str(tmp_path), "--device", "cpu"])
    left = {path.stem for path in tmp_path.iterdir() if path.suffix in {".png", ".csv"}}
    assert left == {part.name for part in module.parts("tiny")}


def test_the_readme_names_every_script():
    readme = (FOLDER.parent.parent / "README.md").read_text()
    assert sorted(re.findall(r"^\| `(\w+)` \| .*(?:igure|Table)", readme, re.MULTILINE)) == SCRIPTS


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_scale_has_the_same_parts_and_no_folder_holds_two_trials(script, experiment, name):
    module = script(name)
    scales = {scale: module.parts(scale) for scale in get_args(experiment.Scale)}
    assert len({tuple(part.name for part in parts) for parts in scales.values()}) == 1
    for parts in scales.values():
        placed = {}
        for part in parts:
            for trial in part.trials:
                assert placed.setdefault(trial.folder(Path()), trial) == trial, f"{part.name}: {trial.label}"


# --- experiment ------------------------------------------------------------------------------------------------------


def one_part(experiment, trials, show):
    """Return what `main` takes, for a single part."""
    return lambda scale: [experiment.Part("table-9", "A paper, Table 9", trials, show)]


def test_means_deviations_and_differences_are_those_of_the_trials_that_came_to_their_end(experiment, tmp_path, capsys):
    base = Options(epochs=1, samples=100)
    good = [Trial("good", replace(base, seed=seed), PSSGamma()) for seed in (0, 1)]
    bad = [Trial("bad", base, GradientDescent(1e30))]

    def show(shown):
        rows = [experiment.Row(label, shown.last(label, "test_loss"), 2.0) for label in ("good", "bad")]
        shown.compare([*rows, experiment.Row("no number", np.array([1.0, np.nan]))], "test loss")

    experiment.main("", one_part(experiment, [*good, *bad], show), ["--out", str(tmp_path), "--device", "cpu"])
    losses = [read_table(trial.folder(tmp_path / "runs") / "epochs.csv")["test_loss"][-1] for trial in good]
    rows = {row[""]: row for row in csv.DictReader((tmp_path / "table-9.csv").read_text().splitlines())}
    assert float(rows["good"]["ours"]) == pytest.approx(np.mean(losses), rel=1e-3)  # four digits are written
    assert float(rows["good"]["difference"]) == pytest.approx(np.mean(losses) - 2, rel=1e-3)
    assert rows["good"]["diverged"] == rows["bad"]["ours"] == rows["bad"]["difference"] == ""
    assert rows["bad"]["diverged"] == rows["no number"]["diverged"] == "1"
    assert (rows["no number"]["ours"], rows["no number"]["paper"]) == ("1", "")
    assert "mostly one of settings" in capsys.readouterr().out


def test_steps_lie_within_their_epochs_and_bands_are_deviations(experiment, tmp_path):
    trials = [Trial("pss", Options(epochs=2, samples=100, batch=32, seed=seed), PSSGamma()) for seed in (0, 1)]
    seen = {}

    def show(shown):
        seen["steps"], seen["epochs"] = shown.steps("pss", "eta"), shown.epochs("pss", "test_accuracy", 100)

    experiment.main("", one_part(experiment, trials, show), ["--out", str(tmp_path), "--device", "cpu"])
    assert seen["steps"].x.tolist() == [0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0]
    tables = [read_table(trial.folder(tmp_path / "runs") / "epochs.csv") for trial in trials]
    accuracies = [100 * table["test_accuracy"] for table in tables]
    assert seen["epochs"].y == pytest.approx(np.mean(accuracies, axis=0))
    assert seen["epochs"].deviation == pytest.approx(np.std(accuracies, axis=0, ddof=1))


def test_small_nets_share_the_cores_of_a_cpu_unless_the_command_says_otherwise(experiment, monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(experiment, "sweep", lambda trials, out, jobs: asked.append(jobs))
    monkeypatch.setattr(experiment, "Shown", lambda *_: None)
    for more in (["--scale", "tiny"], ["--scale", "small"], ["--scale", "full"], ["--scale", "small", "--jobs", "3"]):
        arguments = ["--out", str(tmp_path), "--device", "cpu", *more]
        experiment.main("", one_part(experiment, [], lambda shown: None), arguments)
    assert asked == [1, -1, 1, 3]


def test_what_is_done_is_not_done_again_and_only_what_is_named_is_done(script, tmp_path, capsys):
    berrada = script("berrada")
    arguments = ["--out", str(tmp_path), "--device", "cpu", "--only", "table-1"]
    berrada.main("", berrada.parts, arguments)
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("log.csv")}
    first = capsys.readouterr().out
    berrada.main("", berrada.parts, arguments)
    assert stamps == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("log.csv")}
    assert first == capsys.readouterr().out
    with pytest.raises(SystemExit, match=re.escape("there is no table-2: choose of table-1")):
        berrada.main("", berrada.parts, ["--out", str(tmp_path), "--only", "table-2"])


def test_no_jobs_and_damaged_curves_are_told_in_one_sentence(script, tmp_path, monkeypatch):
    liang, sasse = script("liang"), script("sasse")
    arguments = ["--out", str(tmp_path), "--device", "cpu"]
    with pytest.raises(SystemExit, match=r"^jobs must be at least 1, or -1 .*, got 0$"):
        liang.main("", liang.parts, [*arguments, "--only", "figure-3", "--jobs", "0"])
    curves = tmp_path / "thesis-curves" / "curves.json.gz"
    curves.parent.mkdir()
    for damaged in (b"", b"no gzip", gzip.compress(b"["), gzip.compress(b"{}"), gzip.compress(b"{}")[:-9]):
        curves.write_bytes(damaged)
        monkeypatch.setenv("REFOPT_DATA", str(tmp_path))
        with pytest.raises(
            SystemExit, match=r"^.*curves.json.gz cannot be read \(\w+\): put it back as it was, or away$"
        ):
            sasse.main("", sasse.parts, [*arguments, "--only", "figure-4.1"])


def test_a_folder_that_cannot_be_made_is_told_in_one_sentence(script, tmp_path):
    """Also by a part that has no runs, whose folders would be the first to fail."""
    (tmp_path / "file").touch()
    liang = script("liang")
    arguments = ["--out", str(tmp_path / "file"), "--device", "cpu", "--only", "table-2"]
    with pytest.raises(SystemExit, match=r"^cannot make the folder .*/file \(.*\): choose another one with --out$"):
        liang.main("", liang.parts, arguments)


def test_a_device_that_is_not_there_is_told_in_one_sentence(script, experiment, monkeypatch, tmp_path):
    def absent(device):
        raise RuntimeError(f"there is no {device}")

    monkeypatch.setattr(experiment, "array_module", absent)
    with pytest.raises(SystemExit, match=r"^there is no gpu$"):
        experiment.main("", script("king").parts, ["--out", str(tmp_path), "--device", "gpu"])
