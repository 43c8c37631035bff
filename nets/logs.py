"""What a run leaves to read: tables of its steps and epochs, and a progress bar while it goes on.

Tables are CSV files with one row per step or epoch, which it begins with the number of; on resume they are cut back
to the checkpoint.
"""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from refopt import NonFiniteError, Step, dot
from refopt.arrays import Array, namespace, to_host

from .checkpoint import DamagedError, RunError, cannot_write, replacing

LOG_COLUMNS = ("step", "epoch", "loss", "eta", "grad_norm")
EPOCH_COLUMNS = ("epoch", "train_loss", "train_accuracy", "test_loss", "test_accuracy", "seconds")
VALID_COLUMNS = ("valid_loss", "valid_accuracy")
FIGURE = r"(-?\d+(\.\d+)?(e[-+]\d+)?|-?inf|nan)"
"""A number as `Table.append` writes it."""


class Table:
    """A CSV file that grows by rows; opened with the rows 1 to `keep` of an earlier run, or none."""

    def __init__(self, path: Path, columns: tuple[str, ...], keep: int = 0):
        self.path, self.columns = path, columns
        rows = first_rows(path, columns, keep) if keep else []
        with replacing(path) as file:
            file.write("\n".join([",".join(columns), *rows, ""]).encode())

    def append(self, rows: list[tuple[float, ...]]) -> None:
        """Write rows, in the order of the columns; nine digits tell every float32 from its neighbours."""
        text = "".join(",".join(f"{value:.9g}" for value in row) + "\n" for row in rows)
        try:
            with self.path.open("a") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())  # a checkpoint that says so must find these rows
        except OSError as error:
            raise cannot_write(self.path, error) from error


def first_rows(path: Path, columns: tuple[str, ...], keep: int) -> list[str]:
    """Return the rows 1 to `keep` of a table; later ones, and a line that a kill cut off, are not among them.

    Raises
    ------
    DamagedError
        If it is not there, is another table, or has not each of these rows once, in order and whole.
    RunError
        If it cannot be read.
    """
    try:
        header, *lines = path.read_text(errors="replace").rpartition("\n")[0].split("\n")
    except OSError as error:
        kind = DamagedError if isinstance(error, FileNotFoundError) else RunError
        raise kind(f"cannot read {path} ({error.strerror}): a run goes on only with its tables") from error
    numbers = [str(k) for k in range(1, keep + 1)]
    known = set(numbers)
    rows = [line for line in lines if line.partition(",")[0] in known]
    whole = re.compile(rf"\d+(,{FIGURE}){{{len(columns) - 1}}}")
    in_order = [row.partition(",")[0] for row in rows] == numbers
    if header != ",".join(columns) or not in_order or not all(map(whole.fullmatch, rows)):
        raise DamagedError(
            f"{path} is not the table that this run wrote, with {','.join(columns)} and rows 1 to {keep}:"
            " put it back as it was, or start anew in another folder with --out"
        )
    return rows


def read_table(path: Path, columns: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
    """Return the columns of a CSV file by name, each (rows,) float64; `columns` must be among them.

    Raises
    ------
    RunError
        If it is not there, or not such a file.
    """
    try:
        names, *rows = (line.split(",") for line in path.read_text().splitlines())
        if missing := [name for name in columns if name not in names]:
            raise ValueError(f"it has no column {missing[0]}")
        values = np.array(rows, np.float64).reshape(len(rows), len(names))
        return dict(zip(names, values.T, strict=True))
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read as a table of a run ({error})") from error


def last_row(path: Path) -> dict[str, float]:
    """Return the last row of a table by column, or {} if it has none."""
    return {name: float(column[-1]) for name, column in read_table(path).items() if len(column)}


class StepLog:
    """log.csv: rows are gathered where the arrays are, and fetched in one transfer when they are written."""

    def __init__(self, path: Path, per_epoch: int, taken: int):
        self.table = Table(path, LOG_COLUMNS, keep=taken)
        self.per_epoch = per_epoch
        self.written = taken
        self.rows: list[Array] = []

    def add(self, step: Step, loss: Any) -> None:
        """Note a step, by its one step size (`Step.size`)."""
        xp, dtype = namespace(step.x), step.x.dtype
        figures = loss, step.size, xp.sqrt(dot(step.g, step.g))
        arrays = [xp.asarray(v, dtype) if hasattr(v, "shape") else xp.full((), v, dtype) for v in figures]
        self.rows.append(xp.stack(arrays))

    def __enter__(self) -> StepLog:
        return self

    def __exit__(self, kind, error, trace) -> None:
        """A run that diverged leaves the steps that led there."""
        if isinstance(error, NonFiniteError):
            self.flush()

    def flush(self) -> None:
        """Write what has been noted."""
        if not self.rows:
            return
        figures = to_host(namespace(self.rows[0]).stack(self.rows)).tolist()
        numbered = enumerate(figures, start=self.written + 1)
        self.table.append([(t, (t - 1) // self.per_epoch + 1, *row) for t, row in numbered])
        self.written += len(figures)
        self.rows.clear()


class Shown:
    """The progress bar's figures: at least a second old, so that reading them does not make a GPU wait."""

    def __init__(self, bar: tqdm):
        self.bar, self.seen = bar, time.monotonic()
        self.step: tuple[Any, Any] | None = None

    def update(self, step: Step) -> None:
        """Count a step, and once a second show the loss and step size noted a second ago."""
        self.bar.update()
        if self.bar.disable or time.monotonic() - self.seen < 1:
            return
        if self.step is not None:
            f, eta = self.step
            self.bar.set_postfix_str(f"loss {float(f):.3g}, eta {float(eta):.3g}")
        self.seen, self.step = time.monotonic(), (step.f, step.size)
