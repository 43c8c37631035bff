"""Everything there is to prove with a GPU, in one call of under eight minutes.

    python -m tests.gpu [SECTION ...]

needs a GPU, CuPy, NumPy and SciPy; PyTorch, if it is there, is timed beside. Prints a table, and unless only some
sections were asked for writes it, after each of them, to tests/gpu/RESULTS.md and tests/gpu/results.json. A section is
a process of its own: whatever becomes of it, and of the GPU's state with it, is a row of the table, and the others go
on.
"""

import json
import platform
import subprocess
import sys
import tempfile
import time
import traceback
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np

from refopt import array_module

from . import conformance, speed, steps
from .rows import Row

HERE = Path(__file__).parent
SECONDS = 460  # for all sections; and one has at most
LONGEST = 150
SECTIONS = {  # what later ones rest on first, what takes longest to compile last
    "formulas": conformance.formulas, "operations": conformance.operations, "determinism": conformance.determinism,
    "ceilings": speed.ceilings, "kernels": speed.kernels,
    **{name: partial(steps.steps, name=name) for name in steps.NETS},
    "rates": speed.rates, "nets": conformance.nets, "launches": steps.launches, "epoch": speed.epoch,
    "problems": conformance.problems, "rules": conformance.rules,
}  # fmt: skip


def machine(xp):
    """The GPU's name, and all versions in a line."""
    versions = {"Python": platform.python_version(), "NumPy": np.__version__, "CuPy": xp.__version__,
                "CUDA": xp.cuda.runtime.runtimeGetVersion(), "driver": xp.cuda.runtime.driverGetVersion()}  # fmt: skip
    if steps.has_torch():
        import torch

        versions |= {"PyTorch": torch.__version__, "cuDNN": torch.backends.cudnn.version()}
    name = xp.cuda.runtime.getDeviceProperties(0)["name"].decode()
    return name, ", ".join(f"{what} {version}" for what, version in versions.items())


def one(name, file, xp):
    """Run a section here: print its rows, and append each to a file as it comes."""
    with Path(file).open("a") as found:
        try:
            for row in SECTIONS[name](xp):
                print(row.line(), flush=True)
                print(json.dumps(asdict(row), default=str), file=found, flush=True)
        except Exception as error:
            traceback.print_exc()
            failed = Row(name, f"failed: {type(error).__name__}: {error}".splitlines()[0], "", "", False)
            print(json.dumps(asdict(failed)), file=found)


def elsewhere(name, seconds, command):
    """Run a section by a command, in a process of its own, and return its rows, and one more if it came to no end."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows"
        file.touch()
        try:
            code = subprocess.run([*command, name, str(file)], timeout=seconds, check=False).returncode
            end = code and f"ended by {code}"
        except subprocess.TimeoutExpired:
            end = f"stopped after {seconds:.0f} s"
        rows = [Row(**json.loads(line)) for line in file.read_text().splitlines()]
    return rows + ([Row(name, end, "", "", False)] if end else [])


def write(rows, gpu, versions, folder):
    """Write what was found so far."""
    head = f"`python -m tests.gpu` on one {gpu}, {time.strftime('%Y-%m-%d')}; {versions}."
    table = ["| section | what | found | demanded | met |", "|---|---|---|---|---|", *(row.line() for row in rows)]
    (folder / "RESULTS.md").write_text("\n".join(["# On a GPU", "", head, "", summary(rows), "", *table, ""]))
    content = {"gpu": gpu, "versions": versions, "rows": [asdict(row) for row in rows]}
    (folder / "results.json").write_text(json.dumps(content, indent=1) + "\n")


def summary(rows):
    return f"{sum(row.ok is True for row in rows)} of {sum(row.ok is not None for row in rows)} demands are met."


def main(names, command, folder):
    """Run sections, each by the command; write what they find into the folder, or nowhere."""
    if unknown := ", ".join(set(names) - set(SECTIONS)):
        sys.exit(f"sections are {', '.join(SECTIONS)}, got {unknown}")
    try:
        gpu, versions = machine(array_module("gpu"))
    except RuntimeError as error:
        sys.exit(f"nothing to prove here: {error}")
    began, rows = time.perf_counter(), []
    for name in names:
        left = SECONDS - (time.perf_counter() - began)
        rows += elsewhere(name, min(LONGEST, left), command) if left > 0 else [Row(name, "not begun", "", "", False)]
        if folder:
            write(rows, gpu, versions, folder)
        print(f"| {name} | done | {time.perf_counter() - began:.0f} s | | |", flush=True)
    print(*(row.line() for row in rows if row.ok is False), summary(rows), sep="\n")
    sys.exit(any(row.ok is False for row in rows))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--one", name, file]:
            one(name, file, array_module("gpu"))
        case names:
            main(names or list(SECTIONS), [sys.executable, "-m", "tests.gpu", "--one"], None if names else HERE)
