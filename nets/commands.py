"""Commands that look: at the rules, at data sets, at saved nets, at convex problems, at runs side by side; the book."""

from __future__ import annotations

import runpy
from dataclasses import dataclass, replace
from importlib.util import find_spec
from inspect import getsourcefile
from pathlib import Path
from typing import Literal

import numpy as np
import tyro

from refopt import PROBLEMS, REAL, RULES, SPECIAL, FiniteSum, Rule, Shuffled, array_module

from .checkpoint import Checkpoint, RunError
from .data import DATASETS, load
from .options import Options, setup
from .plots import draw_race, draw_runs
from .race import race, race_scipy
from .spec import command_name, parse_rule, short

EVERY_PROBLEM = PROBLEMS | SPECIAL | REAL


@dataclass
class Rules:
    """List every rule: its name here, its class and file, its paper and equation."""

    def run(self) -> None:
        """Print the table."""
        rows = [("RULE", "CLASS", "FILE", "PAPER"), *map(_rule_row, RULES)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def _rule_row(cls: type[Rule]) -> tuple[str, str, str, str]:
    file = Path(getsourcefile(cls) or "")
    return command_name(cls), cls.__name__, f"refopt/rules/{file.name}", cls.paper


@dataclass
class Data:
    """Fetch data sets ahead of time, and verify them; what REFOPT_DATA holds is not downloaded."""

    names: tyro.conf.Positional[tuple[Literal[tuple(DATASETS)], ...]]  # type: ignore[valid-type]
    """The data sets."""

    def run(self) -> None:
        """Print a line for each."""
        if not self.names:
            raise ValueError(f"name at least one data set: {', '.join(DATASETS)}")
        for name in self.names:
            data = load(name)
            size = " x ".join(map(str, data.x_train.shape[1:]))
            print(
                f"{name}: {len(data.y_train):,} images of {size} to train, {len(data.y_test):,} to test,"
                f" {data.classes} classes; verified",
                flush=True,
            )


@dataclass
class Eval:
    """Report the loss and accuracy of a saved net, computed on the CPU wherever it was trained."""

    checkpoint: tyro.conf.Positional[Path]
    """A checkpoint.npz, or the folder of a run."""

    def run(self) -> None:
        """Print a line for each part of the data."""
        path = self.checkpoint / "checkpoint.npz" if self.checkpoint.is_dir() else self.checkpoint
        saved = Checkpoint.load(path)
        net, _oracle, theta, parts = setup(replace(Options.saved(saved.settings), device="cpu"))
        net.restore(saved.buffers)
        print(f"{saved.settings['rule']} after {saved.step} steps")
        for name, part in parts.items():
            loss, accuracy = net.evaluate(np.asarray(saved.theta, theta.dtype), *part)
            print(f"{name:6} loss {loss:.6g}  accuracy {100 * accuracy:.2f} %")


@dataclass
class Race:
    """Run rules on a problem, and draw f - f* by evaluations of f and its gradient, and their step sizes."""

    problem: tyro.conf.Positional[Literal[tuple(EVERY_PROBLEM)]]  # type: ignore[valid-type]
    """The problem."""
    rules: tyro.conf.Positional[tuple[str, ...]]
    """Rules: names such as sps-max, or with hyper-parameters such as "SPSMax(c=1)"."""
    steps: int = 200
    """Steps each rule takes."""
    scipy: str = ""
    """Methods of scipy.optimize.minimize to run beside them, such as bfgs,l-bfgs-b,cg."""
    batch: int | None = None
    """Terms in a mini-batch, for problems that are sums; by default all of them."""
    seed: int = 0
    """Of the mini-batches."""
    dtype: Literal["float32", "float64"] = "float64"
    """Of iterates and gradients."""
    device: Literal["cpu", "gpu", "auto"] = "cpu"
    """Where to compute."""
    out: Path | None = None
    """The picture; by default race-<problem>.png."""

    def run(self) -> None:
        """Run, draw, and print the last gaps."""
        if not self.rules or self.steps < 1:
            raise ValueError("name at least one rule, and at least one step")
        if self.scipy and self.batch is not None:
            raise ValueError("SciPy's methods see the whole problem: leave out --batch or --scipy")
        problem = EVERY_PROBLEM[self.problem]().to(array_module(self.device), np.dtype(self.dtype))
        oracle = problem
        if self.batch is not None:
            if not hasattr(problem, "sample"):
                raise ValueError(f"{self.problem} is not a sum of terms: leave out --batch")
            oracle = FiniteSum(problem, Shuffled(problem.n, self.batch, self.seed))
        raced = {short(rule): race(rule, problem, oracle, self.steps) for rule in map(parse_rule, self.rules)}
        for method in self.scipy.split(",") if self.scipy else ():
            raced[f"SciPy's {method}"] = race_scipy(method, EVERY_PROBLEM[self.problem](), self.steps)
        gap = "f" if problem.f_star is None else "f - f*"
        path = self.out or Path(f"race-{self.problem}.png")
        draw_race(raced, path, f"{self.problem}, {self.steps} steps", gap)
        width = max(map(len, raced))
        print(f"{'rule':{width}} {'best ' + gap:>12} {'last ' + gap:>12} {'last eta':>12} {'evaluations':>12}")
        for label, run in raced.items():
            eta = f"{run.eta[-1]:12.4e}" if len(run.eta) else f"{'-':>12}"
            print(f"{label:{width}} {np.nanmin(run.gap):12.4e} {run.gap[-1]:12.4e} {eta} {run.evaluations[-1]:12}")
        print(f"drawn in {path}")


@dataclass
class Plot:
    """Compare runs in one picture: loss, accuracy, step size."""

    folders: tyro.conf.Positional[tuple[Path, ...]]
    """Folders of runs."""
    out: Path = Path("compare.png")
    """The picture."""

    def run(self) -> None:
        """Draw."""
        if not self.folders:
            raise ValueError("name at least one folder of a run")
        draw_runs({str(folder): folder for folder in self.folders}, self.out, "runs compared")
        print(f"drawn in {self.out}")


@dataclass
class Book:
    """Build the book as a static site, in a clone of the project: chapters as they ran, rules, findings, search."""

    out: Path = Path("build/book")
    """Folder for the site; its start is index.html."""
    quick: bool = False
    """Run the chapters with fewer steps and coarser pictures."""

    def run(self) -> None:
        """Build."""
        builder = Path("tutorials/site/build.py")
        if not builder.exists():
            raise RunError("the book is built from its chapters: run this in a clone of the project")
        if find_spec("sphinx") is None or find_spec("myst_parser") is None:
            raise RunError('the book needs Sphinx: pip install ".[book]"')
        runpy.run_path(str(builder))["build"](self.out.resolve(), self.quick)
        print(f"built: {self.out / 'index.html'}")
