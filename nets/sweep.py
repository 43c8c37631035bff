"""Many runs: each in a folder of its own, side by side on the cores of a machine or a cluster.

A sweep is a list of trials, and what it has done lies in their folders and nowhere else. A trial that has come to its
end, or has diverged, is left as it is; one that was cut off goes on from its checkpoint; one whose files are damaged
starts anew. So a sweep that is asked for again does what is left to do, whatever killed it or one of its workers; and
the lock of a folder keeps everybody but one out of it, so nothing is done twice.

Trials of one label differ by seed or by fold, and become one curve with its spread: see `nets.spread`.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs, parallel_config
from tqdm import tqdm

from refopt import NonFiniteError, Rule
from refopt.arrays import CORES

from .checkpoint import Checkpoint, DamagedError, RunError, locked, out_of_memory
from .logs import EPOCH_COLUMNS, read_table
from .options import Options
from .spec import short
from .train import demand_same_settings, fit

ATTEMPTS = 3
"""How often a sweep whose workers are killed goes on by itself."""


class Trial(NamedTuple):
    """One run of a sweep."""

    label: str
    """What it is called in tables and pictures; the trials of one label differ by seed or fold alone."""
    options: Options
    rule: Rule

    def folder(self, out: Path) -> Path:
        """Return where in the folder of the sweep it lies."""
        fold = f"-fold-{self.options.fold}" if self.options.fold else ""
        return out / re.sub(r"[^\w.=+-]+", "-", self.label).strip("-") / f"seed-{self.options.seed}{fold}"


def grid(
    options: Options, rules: Sequence[Rule], *, models: Sequence[str] = (), batches: Sequence[int] = (),
    rates: Sequence[float] = (), seeds: Sequence[int] = (),
) -> list[Trial]:  # fmt: skip
    """Return a trial for each combination; what is empty stays as `options` and the rules have it.

    A rule that has no rate, such as SPSMax, enters once for all rates.
    """
    paced = [with_rate(rule, rate) for rule in rules for rate in rates] or list(rules)
    trials = {}
    axes = models or [options.model], batches or [options.batch], paced, seeds or [options.seed]
    for model, batch, rule, seed in product(*axes):
        more = [model] * (len(models) > 1) + [f"batch {batch}"] * (len(batches) > 1)
        label = ", ".join([short(rule), *more])
        trials[label, seed] = Trial(label, replace(options, model=model, batch=batch, seed=seed), rule)
    return list(trials.values())


def with_rate(rule: Rule, rate: float) -> Rule:
    """Return the rule with its nominal rate, or that of the rule it adapts, set to `rate`; as it is without one."""
    names = {field.name for field in fields(rule)}
    if "lr" in names:
        return replace(rule, lr=rate)  # type: ignore[call-arg]
    return replace(rule, base=with_rate(rule.base, rate)) if "base" in names else rule  # type: ignore[attr-defined, call-arg]


# --- work ------------------------------------------------------------------------------------------------------------


def sweep(trials: Sequence[Trial], out: Path, *, jobs: int = 1, address: str | None = None) -> None:
    """Bring every trial to its end, in its folder below `out`.

    Parameters
    ----------
    jobs : how many run at a time, each with its part of the cores; -1 for as many as there are cores
    address : of the scheduler of a Dask cluster that runs them instead, as many as it has threads, each on one; its
        workers need this package and the same file system

    Raises
    ------
    RunError
        If a trial cannot be run, after all others have been; or workers are killed again and again.
    ValueError
        If two trials have the same folder, or jobs is neither positive nor -1.
    """
    if jobs < 1 and jobs != -1:
        raise ValueError(f"jobs must be at least 1, or -1 for as many as there are cores, got {jobs}")
    out = out.absolute()  # a worker may stand elsewhere
    folders = [trial.folder(out) for trial in trials]
    if len(set(folders)) < len(folders):
        twice = next(folder for folder in folders if folders.count(folder) > 1)
        raise ValueError(f"two trials would lie in {twice}: give them labels that tell them apart")
    for _ in range(ATTEMPTS):
        left = [trial for trial in trials if not ended(trial, out)]
        try:
            with _workers(jobs, address) as threads:
                alone = address is None and effective_n_jobs(jobs) == 1
                work = (delayed(complete)(trial, out, threads, shown=alone) for trial in left)
                answers = Parallel(batch_size=1, return_as="generator_unordered")(work)
                done = len(trials) - len(left)
                bar = tqdm(answers, initial=done, total=len(trials), disable=None if sys.stderr else True, unit=" runs")
                problems = [problem for problem in bar if problem]
        except BrokenProcessPool:
            print("refopt: a worker was killed; what it did goes on from its last checkpoint", file=sys.stderr)
            continue
        if problems:
            raise RunError(f"{len(problems)} of {len(trials)} runs did not come to their end; the first: {problems[0]}")
        return
    raise RunError(
        f"workers were killed {ATTEMPTS} times, perhaps for their memory: the same command goes on, with fewer --jobs"
    )


@contextmanager
def _workers(jobs: int, address: str | None) -> Iterator[int]:
    """Let joblib's work go to processes of this machine, or to a cluster; yield the threads that each trial gets."""
    if address is None:
        with parallel_config("loky", n_jobs=jobs):
            yield max(1, CORES // effective_n_jobs(jobs))
        return
    try:
        from distributed import Client, KilledWorker  # noqa: PLC0415  (optional)
        from distributed.comm import get_address_host_port  # noqa: PLC0415
    except ImportError:
        raise RunError("a cluster needs Dask: install refopt[cluster], or leave out --backend dask") from None
    try:
        get_address_host_port(address)  # a Client that is given none raises, too, but then never ends
        client = Client(address, set_as_default=False)
    except (OSError, ValueError) as error:
        raise RunError(f"no cluster at {address!r} ({error}): pass the --address that its scheduler printed") from error
    with client, parallel_config("dask", client=client):
        try:
            yield 1
        except KilledWorker as error:
            raise BrokenProcessPool from error


def ended(trial: Trial, out: Path) -> bool:
    """Whether a trial needs no more work; RunError if its folder holds another run."""
    folder, epochs = trial.folder(out), trial.options.epochs
    try:
        summary = json.loads((folder / "summary.json").read_text())
        saved, finished, diverged = summary["settings"], summary["finished"], summary["diverged"]
        given = {"options": asdict(trial.options), "rule": repr(trial.rule), "layout": saved["layout"]}
        demand_same_settings(saved, given)
    except (OSError, ValueError, LookupError, TypeError):  # not there, or damaged
        return False
    return diverged is not None or (finished and has_epochs(folder / "epochs.csv", epochs))


def has_epochs(path: Path, epochs: int) -> bool:
    """Whether a table of epochs can be read, and begins with the rows 1 to `epochs`."""
    try:
        return read_table(path, EPOCH_COLUMNS)["epoch"][:epochs].tolist() == [*range(1, epochs + 1)]
    except RunError:
        return False


def complete(trial: Trial, out: Path, threads: int, *, shown: bool) -> str | None:
    """Bring one trial to its end; return, as one sentence, what kept it from that. To diverge is an end."""
    folder, options = trial.folder(out), replace(trial.options, threads=trial.options.threads or threads)
    path = folder / "checkpoint.npz"
    try:
        with np.errstate(all="ignore"):  # an overflow shows in the answers, which are checked
            try:
                result = fit(options, trial.rule, folder, Checkpoint.load(path) if path.exists() else None, shown=shown)
            except DamagedError:
                with locked(folder):
                    path.unlink()
                result = fit(options, trial.rule, folder, shown=shown)
    except NonFiniteError:
        return None
    except MemoryError as error:
        return f"{trial.label}, seed {options.seed}: {out_of_memory(error)}"
    except (RuntimeError, ValueError, ArithmeticError, OSError) as error:
        return f"{trial.label}, seed {options.seed}: {error}"
    if not result.finished:
        raise KeyboardInterrupt
    return None
