"""The command line: every command is a dataclass, every rule a sub-command made of its own fields."""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from inspect import getsourcefile
from pathlib import Path
from typing import Annotated, Any, Literal, Union

import numpy as np
import tyro

from refopt import (
    PROBLEMS,
    REAL,
    RULES,
    SPECIAL,
    FiniteSum,
    GradientDescent,
    Rule,
    Shuffled,
    SPSMax,
    array_module,
)
from refopt.rule import Rate

from .checkpoint import Checkpoint, RunError
from .logs import last_row, read_table
from .options import Options, setup
from .plots import draw_race, draw_runs
from .race import race, race_scipy
from .spec import command_name, parse_rate, parse_rule, short
from .train import Result, fit

AnyRule = Union[tuple(Annotated[cls, tyro.conf.subcommand(command_name(cls))] for cls in RULES)]  # type: ignore[valid-type]  # noqa: UP007
EVERY_PROBLEM = PROBLEMS | SPECIAL | REAL
BAD_GUESS = GradientDescent(lr=0.001)


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
class Train:
    """Train a net. Without a rule: by an adaptive one, and beside it by a badly guessed constant rate.

    The folder gets log.csv (a row for each step), epochs.csv, summary.json, curves.png and checkpoint.npz.
    Ctrl-C saves; --resume goes on.
    """

    options: Annotated[Options, tyro.conf.arg(name="")] = field(default_factory=Options)
    out: Path | None = None
    """Folder for the run; by default runs/<time>-<rule>."""
    resume: bool = False
    """Go on from the checkpoint in --out, with its settings; --epochs may be raised."""
    rule: AnyRule | Annotated[None, tyro.conf.subcommand("compare")] = None  # type: ignore[valid-type]
    """The rule, and behind it its hyper-parameters: refopt train --epochs 5 sps-max --c 0.2."""

    def run(self) -> None:
        """Train, draw, and print the table."""
        rule = self.rule or SPSMax()
        out = self.out or Path("runs") / f"{time.strftime('%Y%m%d-%H%M%S')}-{command_name(type(rule))}"
        runs = [(rule, out)] if self.rule else [(rule, out), (BAD_GUESS, out / "constant-rate")]
        results = []
        for each, folder in runs:
            checkpoint = Checkpoint.load(folder / "checkpoint.npz") if self.resume and _has_run(folder) else None
            print(f"{short(each)} on {self.options.data}, into {folder}", flush=True)
            first_half = self.rule is None and folder == out
            results.append(fit(self.options, each, folder, checkpoint, compared=first_half))
            if not results[-1].finished:
                print(f"interrupted and saved; go on with: refopt train --out {out} --resume")
                break
        drawn = {short(result.rule): result.out for result in results if last_row(result.out / "epochs.csv")}
        if drawn:
            draw_runs(drawn, out / "curves.png", f"{self.options.model} on {self.options.data}")
        _print_table(results)

    def resumed(self) -> Train:
        """Return this command with the settings of the checkpoint in `out` as its defaults."""
        if self.out is None:
            raise RunError("--resume needs the folder of the run: add --out FOLDER")
        if not _has_run(self.out):
            print(f"no checkpoint in {self.out} yet: starting from the beginning", file=sys.stderr)
            return self
        settings = Checkpoint.load(self.out / "checkpoint.npz").settings
        rule = None if settings.get("compared") else parse_rule(settings["rule"])
        return Train(Options.saved(settings), self.out, resume=True, rule=rule)


def _has_run(folder: Path) -> bool:
    return (folder / "checkpoint.npz").exists()


def _print_table(results: list[Result]) -> None:
    print(f"{'rule':32} {'epochs':>6} {'train loss':>11} {'test loss':>11} {'test acc.':>9} {'seconds':>8}")
    for result in results:
        if last := last_row(result.out / "epochs.csv"):
            seconds = read_table(result.out / "epochs.csv")["seconds"].sum()
            print(
                f"{short(result.rule):32} {last['epoch']:6.0f} {last['train_loss']:11.4g} {last['test_loss']:11.4g}"
                f" {100 * last['test_accuracy']:7.2f} % {seconds:8.1f}"
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


Command = (
    Annotated[Rules, tyro.conf.subcommand("rules")]
    | Annotated[Train, tyro.conf.subcommand("train")]
    | Annotated[Eval, tyro.conf.subcommand("eval")]
    | Annotated[Race, tyro.conf.subcommand("race")]
    | Annotated[Plot, tyro.conf.subcommand("plot")]
)


def registry() -> tyro.constructors.ConstructorRegistry:
    """Return how to read from the command line a rate (a number, or a schedule as text) and a rule within a rule."""
    readers = tyro.constructors.ConstructorRegistry()

    def reader(kind: Any, metavar: str, parse: Callable[[str], Any], holds: Callable[[Any], bool]) -> None:
        spec = tyro.constructors.PrimitiveConstructorSpec(
            nargs=1,
            metavar=metavar,
            instance_from_str=lambda texts: parse(texts[0]),
            is_instance=holds,
            str_from_instance=lambda value: [repr(value)],
        )
        readers.primitive_rule(lambda info: spec if info.type == kind else None)

    reader(Rate, "FLOAT|SCHEDULE", parse_rate, lambda value: isinstance(value, float | int) or callable(value))
    reader(Rule, "RULE", parse_rule, lambda value: isinstance(value, Rule))
    return readers


def parse(arguments: list[str], default: Train | None = None) -> Any:
    """Return the command that the arguments spell; tyro prints help or an error and exits if they spell none."""
    config = (tyro.conf.OmitSubcommandPrefixes, tyro.conf.OmitArgPrefixes)
    defaults = {} if default is None else {"default": default}
    return tyro.cli(Command, prog="refopt", args=arguments, config=config, registry=registry(), **defaults)  # type: ignore[call-overload]


def main() -> None:
    """Run the command line; what went wrong is one sentence and exit status 1."""
    arguments = sys.argv[1:]
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that knows no Greek shows question marks
    try:
        try:
            with np.errstate(all="ignore"):  # an overflow shows in the answers, which are checked
                command = parse(arguments)
                if isinstance(command, Train) and command.resume:
                    command = replace(parse(arguments, command.resumed()), resume=True)
                command.run()
        finally:
            if sys.stdout:
                sys.stdout.flush()
    except KeyboardInterrupt:
        sys.exit("refopt: interrupted; the last checkpoint of a run stands, and --resume goes on from it")
    except (RuntimeError, ValueError, ArithmeticError) as error:
        sys.exit(f"refopt: {error}")
    except OSError as error:
        with suppress(OSError, AttributeError):  # what stdout has not taken by now it never will
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1 if isinstance(error, BrokenPipeError) else f"refopt: {error}")  # if the reader went, nobody listens


if __name__ == "__main__":
    main()
