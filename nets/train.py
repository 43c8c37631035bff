"""Training: the loop around `refopt.descend` that logs, evaluates, saves and stops."""

from __future__ import annotations

import json
import math
import platform
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits
from tqdm import tqdm

import refopt
from refopt import NonFiniteError, Rule, descend
from refopt.arrays import CORES, THREADS, all_finite, namespace

from .checkpoint import Checkpoint, RunError, locked, replacing
from .flat import Layout
from .logs import EPOCH_COLUMNS, VALID_COLUMNS, Shown, StepLog, Table, last_row
from .options import Options, Setup, setup
from .spec import is_told


class Result(NamedTuple):
    """How a run ended."""

    rule: Rule
    out: Path
    rows: list[tuple[float, ...]]
    """One for each epoch of this session, in the order of `EPOCH_COLUMNS`."""
    finished: bool
    """False if it was interrupted."""


def fit(
    options: Options, rule: Rule, out: Path, checkpoint: Checkpoint | None = None,
    *, compared: bool = False, shown: bool = True,
) -> Result:  # fmt: skip
    """Train from the start, or from a checkpoint, into the folder `out`.

    It holds log.csv (a row for each step), epochs.csv, checkpoint.npz (after every epoch, and on Ctrl-C)
    and summary.json. A resumed run on the CPU is bit-equal to one that was never interrupted. That the run is the
    first half of a comparison, `compared`, is noted in the checkpoint; a terminal shows a progress bar if `shown`.

    Raises
    ------
    RunError
        If the checkpoint belongs to other settings, the tables in `out` to another run, another process trains
        there, `out` cannot be written, or a hyper-parameter is a function or an array.
    NonFiniteError
        If the loss or the gradient becomes infinite or undefined; the last checkpoint stands, and summary.json says so.
    """
    built = setup(options)
    settings = run_settings(options, rule, built.net.layout) | {"compared": compared}
    make_folder(out)
    with locked(out):
        path = out / "checkpoint.npz"
        if checkpoint is None and path.exists() and Checkpoint.load(path).step > 0:
            raise RunError(f"{out} already holds a run: go on with it by --resume, or choose another folder with --out")
        if checkpoint is None:  # a new run is one that goes on from step 0
            rule.start(built.theta, built.oracle)
            x, buffers = built.oracle.project(built.theta), built.oracle.buffers()
            checkpoint = Checkpoint(0, x, rule.state(), buffers, 0, settings)
        demand_same_settings(checkpoint.settings, settings)
        try:
            result = go_on(options, rule, out, replace(checkpoint, settings=settings), built, shown=shown)
        except NonFiniteError as error:
            write_summary(out, settings, finished=False, diverged=str(error))
            raise
        write_summary(out, settings, finished=result.finished)
        return result


def go_on(options: Options, rule: Rule, out: Path, checkpoint: Checkpoint, built: Setup, *, shown: bool) -> Result:
    """Train from a checkpoint to the last epoch, or to Ctrl-C."""
    net, oracle, theta, parts = built
    settings = checkpoint.settings
    oracle.seek(checkpoint.position)
    net.restore(checkpoint.buffers)
    taken, per_epoch = checkpoint.step, net.steps_per_epoch
    last = options.epochs * per_epoch
    columns = EPOCH_COLUMNS + (VALID_COLUMNS if "valid" in parts else ())
    epochs = Table(out / "epochs.csv", columns, keep=taken // per_epoch)
    log = StepLog(out / "log.csv", per_epoch, taken)
    checkpoint.save(out / "checkpoint.npz")  # of a resumed run, too: it may ask for more epochs
    rows: list[tuple[float, ...]] = []
    start = namespace(theta).asarray(checkpoint.theta)
    steps = descend(rule, oracle, start, state=checkpoint.rule, taken=taken) if taken < last else iter(())
    clock = time.perf_counter()
    bar = tqdm(total=last, initial=taken, disable=None if shown and sys.stderr else True, unit=" steps")
    with log, bar, threads(options, net.layout), interruptible() as interrupted:
        figures = Shown(bar)
        for step in steps:
            taken = step.t
            log.add(step, net.data_loss)
            figures.update(step)
            if epoch_done := taken % per_epoch == 0:
                seconds = time.perf_counter() - clock
                scores = {name: net.evaluate(step.x, *part) for name, part in parts.items()}
                rows.append((taken // per_epoch, *scores["train"], *scores["test"], seconds, *scores.get("valid", ())))
                epochs.append(rows[-1:])
            stop = interrupted() or taken == last
            if epoch_done or stop:
                log.flush()
                if not all_finite(step.x):
                    raise NonFiniteError(taken, rule)
                saved = Checkpoint(taken, step.x, rule.state(), oracle.buffers(), oracle.position(), settings)
                saved.save(out / "checkpoint.npz")
                clock = time.perf_counter()
            if stop:
                break
    return Result(rule, out, rows, finished=taken >= last)


@contextmanager
def threads(options: Options, layout: Layout) -> Iterator[None]:
    """Give a run its threads: for matrix products, and for long vectors."""
    before = THREADS.set(options.threads or CORES)
    try:
        with threadpool_limits(product_threads(options, layout), "blas"):
            yield
    finally:
        THREADS.reset(before)


def product_threads(options: Options, layout: Layout) -> int | None:
    """Return how many threads to give a matrix product; None leaves it to the library.

    Handing half of a small product to another thread costs more than it saves, and where other programs
    compete for the cores it costs many times as much: 2²⁴ multiplications take a core about a millisecond.
    """
    largest = options.batch * max(math.prod(block.shape) for block in layout.blocks)
    return options.threads or (1 if largest < 2**24 else None)


def run_settings(options: Options, rule: Rule, layout: Layout) -> dict[str, Any]:
    """Return all that a resumed run must have in common with the one it continues, as JSON."""
    for field in fields(rule):
        if not is_told(getattr(rule, field.name)):
            raise RunError(
                f"{field.name} of {type(rule).__name__} cannot be noted in a checkpoint: pass numbers or a schedule of"
                " refopt; a function or an array can be used with refopt.descend"
            )
    return {"options": asdict(options), "rule": repr(rule), "layout": [[b.name, list(b.shape)] for b in layout.blocks]}


def demand_same_settings(saved: dict[str, Any], given: dict[str, Any]) -> None:
    """Refuse to continue a run as another one; other epochs, another device or number of threads make no other run."""
    free = {"epochs", "device", "threads"}
    for name, value in (saved["options"] | {"rule": saved["rule"], "layout": saved["layout"]}).items():
        mine = given.get(name, given["options"].get(name))
        if mine != value and name not in free:
            raise RunError(
                f"the checkpoint belongs to another run: its {name} is {value}, yours is {mine}; give the same"
                " settings, or start anew in another folder with --out"
            )


def make_folder(path: Path) -> None:
    """Make a folder for a run, or say in one sentence why not."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot make the folder {path} ({error.strerror}): choose another one with --out") from error


def write_summary(out: Path, settings: dict[str, Any], finished: bool, diverged: str | None = None) -> None:
    """Write summary.json: settings, versions, how it ended, and the figures of the last epoch that epochs.csv holds."""
    summary = {
        "settings": settings,
        "versions": {
            "python": platform.python_version(),
            **{package.__name__: package.__version__ for package in (refopt, np)},
        },
        "finished": finished,
        "diverged": diverged,
        "final": last_row(out / "epochs.csv"),
    }
    with replacing(out / "summary.json") as file:
        file.write((json.dumps(summary, indent=2) + "\n").encode())


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C into a question the loop asks between two steps; a second one stops at once.

    Where whoever started the process has Ctrl-C ignored (nohup, a background job of a script), it stays ignored.
    """
    asked = threading.Event()

    def handler(signum, frame):
        asked.set()
        signal.signal(signal.SIGINT, before)

    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is signal.SIG_IGN:
        yield asked.is_set
        return
    signal.signal(signal.SIGINT, handler)
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGINT, before)
