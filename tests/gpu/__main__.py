"""Everything there is to prove with a GPU, in one call of under eight minutes.

    python -m tests.gpu

needs a GPU, CuPy and NumPy; PyTorch, if it is there, is timed beside. Prints a table, and writes it to
tests/gpu/RESULTS.md and tests/gpu/results.json. A section that fails is a row of its own, and the others go on.
"""

import json
import platform
import sys
import time
import traceback
from dataclasses import asdict
from pathlib import Path

import numpy as np

from refopt import array_module

from . import conformance, speed
from .rows import Row

HERE = Path(__file__).parent
SECONDS = 420  # after which no section begins


def machine(xp):
    device = xp.cuda.runtime.getDeviceProperties(0)
    versions = {"Python": platform.python_version(), "NumPy": np.__version__, "CuPy": xp.__version__,
                "CUDA": xp.cuda.runtime.runtimeGetVersion(), "driver": xp.cuda.runtime.driverGetVersion()}  # fmt: skip
    try:
        import torch

        versions["PyTorch"] = torch.__version__
    except ImportError:
        pass
    return device["name"].decode(), ", ".join(f"{name} {version}" for name, version in versions.items())


def main():
    try:
        xp = array_module("gpu")
    except RuntimeError as error:
        sys.exit(f"nothing to prove here: {error}")
    began, rows = time.perf_counter(), []
    gpu, versions = machine(xp)
    for section in [*conformance.SECTIONS, *speed.SECTIONS]:
        name = f"{section.__module__.rpartition('.')[2]}.{section.__name__}"
        if time.perf_counter() - began > SECONDS:
            rows.append(Row(name, "not begun, the time was up", "", "", False))
        else:
            try:
                for row in section(xp):
                    rows.append(row)
                    print(row.line(), flush=True)
            except Exception as error:
                traceback.print_exc()
                rows.append(Row(name, f"failed: {type(error).__name__}: {error}".splitlines()[0], "", "", False))
        xp.get_default_memory_pool().free_all_blocks()
        print(f"| {name} | done | {time.perf_counter() - began:.0f} s | | |", flush=True)
    missed = [row for row in rows if row.ok is False]
    head = f"`python -m tests.gpu` on one {gpu}, {time.strftime('%Y-%m-%d')}; {versions}."
    summary = f"{sum(row.ok is True for row in rows)} of {sum(row.ok is not None for row in rows)} demands are met."
    table = ["| section | what | found | demanded | met |", "|---|---|---|---|---|", *(row.line() for row in rows)]
    (HERE / "RESULTS.md").write_text("\n".join(["# On a GPU", "", head, "", summary, "", *table, ""]))
    content = {"gpu": gpu, "versions": versions, "rows": [asdict(row) for row in rows]}
    (HERE / "results.json").write_text(json.dumps(content, indent=1, default=str) + "\n")
    print(summary, *(row.line() for row in missed), sep="\n")
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
