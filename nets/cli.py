"""The command line: every command is a dataclass, every rule a sub-command made of its own fields."""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, Union

import numpy as np
import tyro

from refopt import RULES, GradientDescent, Rule, SPSMax
from refopt.rule import Rate

from .checkpoint import Checkpoint, RunError, out_of_memory
from .commands import Book, Data, Eval, Plot, Race, Rules
from .logs import last_row, read_table
from .options import Options
from .plots import draw_curves, draw_runs
from .spec import command_name, parse_rate, parse_rule, short
from .spread import curves, final, print_table, spread, write_table
from .sweep import grid, sweep
from .train import Result, fit

AnyRule = Union[tuple(Annotated[cls, tyro.conf.subcommand(command_name(cls))] for cls in RULES)]  # type: ignore[valid-type]  # noqa: UP007
BAD_GUESS = GradientDescent(lr=0.001)


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
class Sweep:
    """Train over a grid, each run in a folder of its own; the same command again does what is left to do.

    The folder gets table.csv and curves.png: mean and standard deviation over seeds.
    """

    out: Path
    """Folder for the runs."""
    rules: tuple[str, ...]
    """Rules: names such as sps-max, or with hyper-parameters such as "HeavyBall(mu=0.8)"."""
    options: Annotated[Options, tyro.conf.arg(name="")] = field(default_factory=Options)
    rates: tuple[float, ...] = ()
    """Nominal rates, for the rules that have one; by default their own."""
    batches: tuple[int, ...] = ()
    """Samples in a mini-batch, instead of --batch."""
    models: tuple[str, ...] = ()
    """Nets, instead of --model."""
    seeds: tuple[int, ...] = ()
    """Seeds, instead of --seed."""
    jobs: int = 1
    """Runs at a time, each with its part of the cores; -1 for one on each core."""
    backend: Literal["loky", "dask"] = "loky"
    """Where they run: in processes of this machine, or on the cluster at --address."""
    address: str | None = None
    """Of the scheduler of the Dask cluster, such as tcp://host:8786."""

    def run(self) -> None:
        """Train, draw, and print the table."""
        if (self.backend == "dask") != (self.address is not None):
            raise ValueError("a cluster needs both: --backend dask and the --address of its scheduler")
        if not self.rules:
            raise ValueError("name at least one rule")
        rules = [parse_rule(text) for text in self.rules]
        trials = grid(self.options, rules, models=self.models, batches=self.batches, rates=self.rates, seeds=self.seeds)
        try:
            sweep(trials, self.out, jobs=self.jobs, address=self.address)
        except KeyboardInterrupt:
            raise RunError("interrupted: the same command goes on") from None
        found = curves(trials, self.out)
        rows = final(found)
        write_table(rows, self.out / "table.csv")
        bands = {label: {name: spread(values) for name, values in columns.items()} for label, columns in found.items()}
        draw_curves(bands, self.out / "curves.png", f"{self.options.data}, mean and standard deviation")
        print_table(rows)


Command = (
    Annotated[Rules, tyro.conf.subcommand("rules")]
    | Annotated[Train, tyro.conf.subcommand("train")]
    | Annotated[Sweep, tyro.conf.subcommand("sweep")]
    | Annotated[Data, tyro.conf.subcommand("data")]
    | Annotated[Eval, tyro.conf.subcommand("eval")]
    | Annotated[Race, tyro.conf.subcommand("race")]
    | Annotated[Plot, tyro.conf.subcommand("plot")]
    | Annotated[Book, tyro.conf.subcommand("book")]
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
    except MemoryError as error:
        sys.exit(f"refopt: {out_of_memory(error)}")
    except OSError as error:
        with suppress(OSError, AttributeError):  # what stdout has not taken by now it never will
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1 if isinstance(error, BrokenPipeError) else f"refopt: {error}")  # if the reader went, nobody listens


if __name__ == "__main__":
    main()
