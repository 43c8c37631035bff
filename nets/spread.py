"""What came of many runs: the mean and the spread of trials that differ by seed or fold, as curves and as a table.

Shapes: R trials of a label, E epochs.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .checkpoint import replacing
from .logs import EPOCH_COLUMNS, VALID_COLUMNS, read_table
from .sweep import Trial

Curves = dict[str, dict[str, np.ndarray]]
"""By label, by column of epochs.csv: (R, E), NaN where a trial has not come to, or diverged before."""


def curves(trials: Sequence[Trial], out: Path) -> Curves:
    """Return what the trials have left in their folders."""
    found: Curves = {}
    for label in dict.fromkeys(trial.label for trial in trials):
        same = [trial for trial in trials if trial.label == label]
        columns = EPOCH_COLUMNS[1:] + (VALID_COLUMNS if same[0].options.validation else ())
        found[label] = {name: np.full((len(same), same[0].options.epochs), np.nan) for name in columns}
        for row, trial in enumerate(same):
            path = trial.folder(out) / "epochs.csv"
            table = read_table(path, columns) if path.exists() else {}
            for name in table.keys() & columns:
                values = table[name][: trial.options.epochs]
                found[label][name][row, : len(values)] = values
    return found


def spread(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation (E,) of (R, E) over the rows that have a value; NaN without one, and two."""
    there = np.isfinite(values)
    count = there.sum(axis=0)
    total = np.where(there, values, 0).sum(axis=0)
    mean = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    squares = (np.where(there, values - mean, 0) ** 2).sum(axis=0)
    return mean, np.sqrt(np.divide(squares, count - 1, out=np.full(total.shape, np.nan), where=count > 1))


def final(found: Curves) -> list[dict[str, Any]]:
    """Return a row for each label: its trials, those that reached the last epoch, mean and deviation of their figures.

    And `best_test_accuracy`: mean and deviation over all trials of the best of their epochs.
    """
    rows = []
    for label, columns in found.items():
        reached = np.isfinite(columns["train_loss"][:, -1])
        row = {"label": label, "runs": len(reached), "finished": int(reached.sum())}
        last = {name: values[:, -1:] for name, values in columns.items() if name != "seconds"}
        best = np.fmax.reduce(columns["test_accuracy"], axis=1, keepdims=True)
        for name, values in (last | {"best_test_accuracy": best}).items():
            (mean,), (deviation,) = spread(values)
            row |= {name: float(mean), f"{name}_std": float(deviation)}
        rows.append(row)
    return rows


def write_table(rows: list[dict[str, Any]], path: Path) -> None:
    """Write what `final` returned as CSV; labels that hold a comma are quoted."""
    text = io.StringIO()
    names = dict.fromkeys(name for row in rows for name in row)
    writer = csv.DictWriter(text, list(names), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with replacing(path) as file:
        file.write(text.getvalue().encode())


def print_table(rows: list[dict[str, Any]]) -> None:
    """Print what `final` returned, as mean ± standard deviation."""

    def told(row: dict[str, Any], name: str, factor: float, form: str) -> str:
        mean, deviation = factor * row[name], factor * row[f"{name}_std"]
        return f"{mean:{form}}" + (f" ± {deviation:{form}}" if np.isfinite(deviation) else "")

    width = max(len(row["label"]) for row in rows)
    print(f"{'rule':{width}}  {'runs':>6}  {'train loss':>19}  {'test loss':>19}  {'test acc. / %':>13}  {'best':>13}")
    for row in rows:
        losses = "  ".join(f"{told(row, f'{part}_loss', 1, '.3g'):>19}" for part in ("train", "test"))
        accuracies = "  ".join(f"{told(row, name, 100, '.2f'):>13}" for name in ("test_accuracy", "best_test_accuracy"))
        print(f"{row['label']:{width}}  {row['finished']:>2} / {row['runs']:<1}  {losses}  {accuracies}")
