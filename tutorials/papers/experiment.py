"""What the scripts of this folder share: a command line, and one way to run, to draw and to compare.

A script is a list of parts, each a table or a figure of its paper: the trials it needs, and how to show what came of
them. So a script is its settings, as data, and little else:

    python tutorials/papers/king.py --scale small --out runs/king --only figure-1a

The trials lie below DIR/runs, by label; one that two parts name is run once. What was cut off goes on by the same
command (see `nets.sweep`). Every part leaves NAME.png or NAME.csv, or both, in DIR.

The scales: `tiny` shows in seconds that everything runs; `small` takes minutes on two cores, with real data; `full` is
what the paper did, for a GPU. Only there is a difference from the paper's number one of results, not of settings.

Shapes: E epochs, T steps, R trials of a label.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import tyro
from matplotlib.ticker import MaxNLocator

from nets.checkpoint import replacing
from nets.logs import LOG_COLUMNS, read_table
from nets.plots import figure, save, style
from nets.spread import Curves, curves, spread
from nets.sweep import Trial, sweep
from nets.train import make_folder
from refopt import array_module

Scale = Literal["tiny", "small", "full"]


@dataclass
class Command:
    """What the command line says."""

    out: Path
    """Folder for runs, tables and pictures."""
    scale: Scale = "tiny"
    """How much: seconds, minutes on two cores, or the paper's own setting."""
    only: tuple[str, ...] = ()
    """Tables and figures, such as figure-1a; by default all."""
    jobs: int | None = None
    """Runs at a time, each with its part of the cores; by default one, but at `small` on a CPU as many as cores."""
    device: Literal["cpu", "gpu", "auto"] = "auto"
    """Where to compute; auto takes a GPU if there is one that works."""


class Part(NamedTuple):
    """A table or a figure of the paper."""

    name: str
    """As the paper numbers it: figure-1a."""
    title: str
    trials: Sequence[Trial]
    show: Callable[[Shown], None]
    """Draws or prints what came of the trials."""


class Row(NamedTuple):
    """A row of a table; what is compared is the mean."""

    name: str
    ours: np.ndarray
    """(R,), NaN of a trial that diverged."""
    paper: float | None = None
    paper_deviation: float | None = None


class Curve(NamedTuple):
    """y over x, both (E,) or (T,); curves of one label have one colour."""

    label: str
    x: np.ndarray
    y: np.ndarray
    deviation: np.ndarray | None = None
    """Half the width of the band around it; NaN where there is none."""
    author: bool = False
    """Whether it is the author's own recording: thin and dotted."""


class Panel(NamedTuple):
    """One pair of axes."""

    xlabel: str
    ylabel: str
    curves: Sequence[Curve]
    log: str = ""
    """The axes with a logarithmic scale: "", "x", "y" or "xy"."""
    title: str = ""
    until: float | None = None
    """Where the first axis, which then begins at 0, ends."""


class Shown:
    """What came of the trials of a part, and where to show it."""

    def __init__(self, part: Part, out: Path, scale: Scale):
        self.part, self.out, self.scale = part, out, scale
        self.found: Curves = curves(part.trials, out / "runs")
        self.title = "\n".join([part.title, *setting(part.trials)])

    def epochs(self, label: str, column: str, factor: float = 1) -> Curve:
        """Return a column of epochs.csv, times a factor: the mean over the trials of the label, and the deviation."""
        mean, deviation = spread(factor * self.found[label][column])
        return Curve(label, np.arange(1, len(mean) + 1), mean, deviation)

    def steps(self, label: str, column: str) -> Curve:
        """Return a column of log.csv, of the first trial of the label, over epochs as the steps part them."""
        first = next(trial for trial in self.part.trials if trial.label == label)
        log = read_table(first.folder(self.out / "runs") / "log.csv", LOG_COLUMNS)
        per_epoch = max(1, (log["epoch"] == 1).sum())
        return Curve(label, log["step"] / per_epoch, log[column])

    def last(self, label: str, column: str) -> np.ndarray:
        """Return the values (R,) after the last epoch."""
        return self.found[label][column][:, -1]

    def best(self, label: str, column: str = "test_accuracy") -> np.ndarray:
        """Return the largest values (R,) of all epochs."""
        return np.fmax.reduce(self.found[label][column], axis=1)

    def draw(self, panels: Sequence[Panel]) -> None:
        """Draw NAME.png: panels side by side, one legend below them."""
        fig, axes = figure(len(panels), self.title)
        labels = list(dict.fromkeys(curve.label for panel in panels for curve in panel.curves))
        handles = {}
        for ax, panel in zip(axes, panels, strict=True):
            ax.set(xlabel=panel.xlabel, ylabel=panel.ylabel)
            ax.set_title(panel.title, fontsize="medium")
            ax.xaxis.set_major_locator(MaxNLocator(integer=True))  # before a logarithm, which has its own
            if panel.until:
                ax.set_xlim(0, panel.until)
            for axis in panel.log:
                ax.set(**{f"{axis}scale": "log"})
            for label, x, values, deviation, author in panel.curves:
                y = np.where(values > 0, values, np.nan) if "y" in panel.log else values
                look = style(labels.index(label)) | ({"linestyle": ":", "linewidth": 1.0} if author else {})
                marker = "o" if len(x) < 3 else ""
                (line,) = ax.plot(x, y, **look, marker=marker)
                handles.setdefault(f"{label}, the author's" if author else label, line)
                if deviation is not None:
                    ax.fill_between(x, y - deviation, y + deviation, color=look["color"], alpha=0.15, linewidth=0)
        inches = 0.7 + 0.07 * max(map(len, handles))  # that the longest name takes, with its line
        ncols = max(1, int(fig.get_figwidth() / inches))
        fig.legend(handles.values(), handles, loc="outside lower center", ncols=ncols, fontsize="small")
        save(fig, self.out / f"{self.part.name}.png")

    def compare(self, rows: Sequence[Row], what: str) -> None:
        """Print, and write to NAME.csv, ours beside the paper's and the difference; `what` names the quantity."""
        table = [("", "ours", "deviation", "paper", "deviation", "difference", "runs", "diverged")]
        for name, ours, paper, paper_deviation in rows:
            (mean,), (deviation,) = spread(np.reshape(ours, (-1, 1)))
            figures = mean, deviation, paper, paper_deviation, None if paper is None else mean - paper
            told = ("" if x is None or np.isnan(x) else f"{x:.4g}" for x in figures)
            table.append((name, *told, str(len(ours)), str(np.isnan(ours).sum() or "")))
        columns = [column for column in zip(*table, strict=True) if any(column[1:])]
        table = list(zip(*columns, strict=True))
        text = StringIO()
        csv.writer(text, lineterminator="\n").writerows(table)
        with replacing(self.out / f"{self.part.name}.csv") as file:
            file.write(text.getvalue().encode())
        print(f"\n{what}")
        widths = [max(map(len, column)) for column in columns]
        for first, *rest in table:
            print("  ".join([first.ljust(widths[0]), *map(str.rjust, rest, widths[1:])]))
        if self.scale != "full" and any(row.paper is not None for row in rows):
            print(f"The scale is {self.scale}: the difference is mostly one of settings.")


def claim(text: str, holds: object) -> None:
    """Print whether a statement of the paper is true of our runs."""
    print(f"{'holds here' if holds else 'does NOT hold here'}: {text}")


def setting(trials: Sequence[Trial]) -> list[str]:
    """Return what is trained, on what and how long: at a smaller scale these are not the paper's."""
    seen = dict.fromkeys((o.model, o.data, o.samples, o.epochs) for _label, o, _rule in trials)
    return [
        f"{model} on {f'{samples} images of ' if samples else ''}{data}, epochs: {epochs}"
        for model, data, samples, epochs in seen
    ]


def main(doc: str | None, parts: Callable[[Scale], list[Part]], arguments: Sequence[str] | None = None) -> None:
    """Run a script: what the command line asks for of the parts that `parts` returns for a scale."""
    command = tyro.cli(Command, description=doc, args=arguments)
    try:
        all_parts = parts(command.scale)
        names = [part.name for part in all_parts]
        if unknown := set(command.only) - set(names):
            raise ValueError(f"there is no {min(unknown)}: choose of {', '.join(names)}")
        device: Literal["cpu", "gpu"] = "cpu" if array_module(command.device) is np else "gpu"
        threads = 1 if command.scale == "tiny" else None  # a second one costs more than it brings there
        many = -1 if (command.scale, device) == ("small", "cpu") else 1  # small nets leave a second core idle
        make_folder(command.out)
        for part in all_parts:
            if command.only and part.name not in command.only:
                continue
            print(f"\n{part.name}: {part.title}; {len(part.trials)} runs", *setting(part.trials), sep="; ", flush=True)
            placed = [
                trial._replace(options=replace(trial.options, device=device, threads=threads)) for trial in part.trials
            ]
            sweep(placed, command.out / "runs", jobs=many if command.jobs is None else command.jobs)
            part.show(Shown(part, command.out, command.scale))
    except KeyboardInterrupt:
        sys.exit("interrupted: the same command goes on")
    except (RuntimeError, ValueError) as error:
        sys.exit(str(error))
