"""Training: the loop around `refopt.descend` that logs, evaluates, saves and stops."""

from __future__ import annotations

import json
import math
import platform
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits
from tqdm import tqdm

import refopt
from refopt import NonFiniteError, Rule, descend
from refopt.arrays import all_finite, namespace

from .checkpoint import Checkpoint, RunError, replacing
from .flat import Layout
from .logs import EPOCH_COLUMNS, VALID_COLUMNS, Shown, StepLog, Table
from .options import Options, setup


class Result(NamedTuple):
    """How a run ended."""

    rule: Rule
    out: Path
    rows: list[tuple[float, ...]]
    """One for each epoch of this session, in the order of `EPOCH_COLUMNS`."""
    finished: bool
    """False if it was interrupted."""


def fit(options: Options, rule: Rule, out: Path, checkpoint: Checkpoint | None = None) -> Result:
    """Train from the start, or from a checkpoint, into the folder `out`.

    It holds log.csv (a row for each step), epochs.csv, checkpoint.npz (after every epoch, and on Ctrl-C)
    and summary.json. A resumed run on the CPU is bit-equal to one that was never interrupted.

    Raises
    ------
    RunError
        If the checkpoint belongs to other settings, or `out` cannot be written.
    NonFiniteError
        If the loss or the gradient becomes infinite or undefined; the last checkpoint stands.
    """
    net, oracle, theta, parts = setup(options)
    settings = run_settings(options, rule, net.layout)
    make_folder(out)
    if checkpoint is None and (out / "checkpoint.npz").exists():
        raise RunError(f"{out} already holds a run: go on with it by --resume, or choose another folder with --out")
    if checkpoint is None:  # a new run is one that goes on from step 0
        rule.start(theta, oracle)
        checkpoint = Checkpoint(0, oracle.project(theta), rule.state(), oracle.buffers(), 0, settings)
        checkpoint.save(out / "checkpoint.npz")
    demand_same_settings(checkpoint.settings, settings)
    oracle.seek(checkpoint.position)
    taken, per_epoch = checkpoint.step, net.steps_per_epoch
    last = options.epochs * per_epoch
    columns = EPOCH_COLUMNS + (VALID_COLUMNS if "valid" in parts else ())
    epochs = Table(out / "epochs.csv", columns, keep=taken // per_epoch)
    log = StepLog(out / "log.csv", per_epoch, taken)
    rows: list[tuple[float, ...]] = []
    start = namespace(theta).asarray(checkpoint.theta)
    steps = descend(rule, oracle, start, state=checkpoint.rule, taken=taken) if taken < last else iter(())
    clock = time.perf_counter()
    bar = tqdm(total=last, initial=taken, disable=None, unit=" steps")
    with log, bar, threadpool_limits(product_threads(options, net.layout), "blas"), interruptible() as interrupted:
        shown = Shown(bar)
        for step in steps:
            taken = step.t
            log.add(step, net.data_loss)
            shown.update(step)
            if epoch_done := taken % per_epoch == 0:
                seconds = time.perf_counter() - clock
                scores = {name: net.evaluate(step.x, *part) for name, part in parts.items()}
                rows.append((taken // per_epoch, *scores["train"], *scores["test"], seconds, *scores.get("valid", ())))
                epochs.append(rows[-1:])
            if epoch_done or interrupted():
                log.flush()
                if not all_finite(step.x):
                    raise NonFiniteError(taken, rule)
                saved = Checkpoint(taken, step.x, rule.state(), oracle.buffers(), oracle.position(), settings)
                saved.save(out / "checkpoint.npz")
                clock = time.perf_counter()
            if taken == last or interrupted():
                break
    result = Result(rule, out, rows, finished=taken >= last)
    write_summary(result, settings, columns)
    return result


def product_threads(options: Options, layout: Layout) -> int | None:
    """Return how many threads to give a matrix product; None leaves it to the library.

    Handing half of a small product to another thread costs more than it saves, and where other programs
    compete for the cores it costs many times as much: 2²⁴ multiplications take a core about a millisecond.
    """
    largest = options.batch * max(math.prod(block.shape) for block in layout.blocks)
    return options.threads or (1 if largest < 2**24 else None)


def run_settings(options: Options, rule: Rule, layout: Layout) -> dict[str, Any]:
    """Return all that a resumed run must have in common with the one it continues, as JSON."""
    return {"options": asdict(options), "rule": repr(rule), "layout": [[b.name, list(b.shape)] for b in layout.blocks]}


def demand_same_settings(saved: dict[str, Any], given: dict[str, Any]) -> None:
    """Refuse to continue a run as another one; a different number of epochs or device is no other run."""
    free = {"epochs", "device"}
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


def write_summary(result: Result, settings: dict[str, Any], columns: tuple[str, ...]) -> None:
    """Write summary.json: settings, versions, final figures."""
    final = dict(zip(columns, result.rows[-1], strict=True)) if result.rows else {}
    summary = {
        "settings": settings,
        "versions": {
            "python": platform.python_version(),
            **{package.__name__: package.__version__ for package in (refopt, np)},
        },
        "finished": result.finished,
        "final": final,
    }
    with replacing(result.out / "summary.json") as file:
        file.write((json.dumps(summary, indent=2) + "\n").encode())


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C into a question the loop asks between two steps; a second one stops at once."""
    asked = threading.Event()

    def handler(signum, frame):
        asked.set()
        signal.signal(signal.SIGINT, before)

    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGINT, before)
