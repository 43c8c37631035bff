"""Settings for the whole test run."""

import os
from collections import Counter
from importlib.util import find_spec
from shutil import which

import pytest
from hypothesis import settings

# Tests run in parallel processes; linear algebra in each of them shall not compete for the same cores.
for library in ("OPENBLAS", "OMP", "MKL"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")

# No example is too slow for a busy machine, and every machine tries the same ones; --hypothesis-profile=explore
# looks for new ones.
settings.register_profile("same", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None)
settings.load_profile("same")

TOOLS = {  # name: whether it is here; see the README for what to install
    "cupy": find_spec("cupy"),
    "g++": which("g++"),
    "torch": find_spec("torch"),
    "dask": find_spec("distributed"),
    "mpi": which("mpiexec") and find_spec("mpi4py"),
    "sphinx": find_spec("sphinx") and find_spec("myst_parser"),
    "chromium": which("chromium"),
}


def pytest_collection_modifyitems(items):
    """Leave out tests that need a tool which is not here."""
    for item in items:
        for marker in item.iter_markers("needs"):
            if missing := [tool for tool in marker.args if not TOOLS[tool]]:
                item.add_marker(pytest.mark.skip(reason=f"needs {' and '.join(missing)}"))


def pytest_terminal_summary(terminalreporter):
    """Name what was left out."""
    reasons = Counter(
        report.longrepr[2].removeprefix("Skipped: ") for report in terminalreporter.stats.get("skipped", [])
    )
    for reason, count in sorted(reasons.items()):
        terminalreporter.write_line(f"left out: {count} ({reason})")
