"""Pictures of runs: loss, accuracy and step size of trained nets; gap and step size on convex problems.

Colours are Okabe and Ito's, which colour-blind readers can tell apart; line styles tell them apart in grey.
"""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .checkpoint import replacing
from .logs import EPOCH_COLUMNS, LOG_COLUMNS, read_table
from .race import Raced

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINES = ("-", "--", "-.", ":")


def style(k: int) -> dict[str, Any]:
    """Return colour and line style of the k-th curve."""
    return {"color": COLORS[k % len(COLORS)], "linestyle": LINES[k % len(LINES)], "linewidth": 1.6}


def figure(panels: int, title: str) -> tuple[Figure, list[Axes]]:
    """Return a figure with panels side by side, at most three in a row; it needs no display."""
    rows = math.ceil(panels / 3)
    columns = math.ceil(panels / rows)
    fig = Figure(figsize=(4.6 * columns, 3.4 * rows + 1), layout="constrained", dpi=130)
    FigureCanvasAgg(fig)
    fig.suptitle(title, fontsize="medium")
    every = np.ravel(fig.subplots(rows, columns))
    for ax in every[panels:]:
        ax.remove()
    axes = list(every[:panels])
    for ax in axes:
        ax.grid(alpha=0.3)
    return fig, axes


def save(fig: Figure, path: Path) -> None:
    """Write the figure as PNG; what stood at `path` is replaced at once."""
    with replacing(path) as file, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # what the font does not have is drawn as a box
        fig.savefig(file, format="png")


def positive_log(ax: Axes, curves: list[np.ndarray]) -> None:
    """Use a logarithmic axis if there is something above 0 to show on it."""
    if any((curve > 0).any() for curve in curves):
        ax.set_yscale("log")


def legend(fig: Figure, ax: Axes) -> None:
    """Name the curves of one panel below all panels: in two columns, or in one where names are long.

    A name is shown as it is: a $ begins no formula, and a byte that is no UTF-8 becomes a question mark.
    """
    curves, names = ax.get_legend_handles_labels()
    columns = 2 if all(len(name) < 50 for name in names) else 1
    names = [fill(name.encode(errors="replace").decode(), 110) for name in names]
    shown = fig.legend(curves, names, loc="outside lower center", ncols=columns, fontsize="small")
    for text in shown.get_texts():
        text.set_parse_math(False)


def draw_runs(runs: dict[str, Path], path: Path, title: str) -> None:
    """Draw loss, accuracy and step size of runs, given by name and folder, into one picture.

    Raises
    ------
    RunError
        If a folder holds no run.
    """
    fig, (loss, accuracy, eta) = figure(3, title)
    etas = []
    for k, (name, folder) in enumerate(runs.items()):
        epochs, log = read_table(folder / "epochs.csv", EPOCH_COLUMNS), read_table(folder / "log.csv", LOG_COLUMNS)
        mark = "o" if len(epochs["epoch"]) < 3 else ""
        loss.plot(epochs["epoch"], epochs["train_loss"], **style(k), marker=mark, label=f"train: {name}", alpha=0.45)
        loss.plot(epochs["epoch"], epochs["test_loss"], **style(k), marker=mark, label=f"test: {name}")
        accuracy.plot(epochs["epoch"], 100 * epochs["test_accuracy"], **style(k), marker=mark)
        eta.plot(log["step"], np.where(log["eta"] > 0, log["eta"], np.nan), **style(k) | {"linewidth": 0.8})
        etas.append(log["eta"])
    loss.set(xlabel="epoch", ylabel="mean loss", yscale="log")
    accuracy.set(xlabel="epoch", ylabel="test accuracy / %")
    eta.set(xlabel="step", ylabel="step size η")
    positive_log(eta, etas)
    for ax in (loss, accuracy):
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend(fig, loss)
    save(fig, path)


def draw_curves(curves: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]], path: Path, title: str) -> None:
    """Draw losses and accuracy over epochs, each a mean (E,) with its deviation (E,), by label and column.

    The band is one standard deviation wide on either side; where there is none, of a single run, there is no band.
    """
    panels = {"train_loss": "training loss", "test_loss": "test loss", "test_accuracy": "test accuracy / %"}
    fig, axes = figure(len(panels), title)
    for ax, (column, name) in zip(axes, panels.items(), strict=True):
        factor = 100 if column == "test_accuracy" else 1
        for k, (label, columns) in enumerate(curves.items()):
            mean, deviation = (factor * part for part in columns[column])
            epochs = np.arange(1, len(mean) + 1)
            ax.plot(epochs, mean, **style(k), marker="o" if len(mean) < 3 else "", label=label)
            low = mean - deviation if factor == 100 else np.maximum(mean - deviation, mean / 10)
            ax.fill_between(epochs, low, mean + deviation, color=style(k)["color"], alpha=0.15, linewidth=0)
        ax.set(xlabel="epoch", ylabel=name)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    for ax, column in zip(axes[:2], panels, strict=False):
        positive_log(ax, [columns[column][0] for columns in curves.values()])
    legend(fig, axes[0])
    save(fig, path)


def draw_race(raced: dict[str, Raced], path: Path, title: str, ylabel: str) -> None:
    """Draw f - f* by evaluations, and the step sizes by steps, of rules by name, into one picture.

    A gap that rounding has made 0 or negative is drawn as the least positive one of all.
    """
    fig, (gap_axes, eta_axes) = figure(2, title)
    floor = min((run.gap[run.gap > 0].min() for run in raced.values() if (run.gap > 0).any()), default=0.0)
    for k, (name, run) in enumerate(raced.items()):
        shown = run.gap < 1e4 * run.gap[0]  # a rule that diverges leaves the picture
        gap_axes.plot(run.evaluations, np.where(shown, np.maximum(run.gap, floor), np.nan), **style(k), label=name)
        eta_axes.plot(np.arange(1, len(run.eta) + 1), np.where(run.eta > 0, run.eta, np.nan), **style(k), label=name)
    gap_axes.set(xlabel="evaluations of f and its gradient", ylabel=ylabel)
    eta_axes.set(xlabel="step", ylabel="step size η")
    positive_log(gap_axes, [run.gap for run in raced.values()])
    positive_log(eta_axes, [run.eta for run in raced.values()])
    legend(fig, gap_axes)
    save(fig, path)
