"""What is to run on a GPU runs on the double as far as that reaches, so that a slip does not cost a GPU's time."""

import contextlib
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest
import strict
from gpu import conformance
from gpu.rows import Row

from refopt.arrays import gpu_problem

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("section", [conformance.problems, conformance.rules], ids=lambda section: section.__name__)
def test_a_section_finds_the_double_conforming(section, monkeypatch):
    @contextlib.contextmanager
    def allow_synchronize(allowed):
        with strict.watch(may_wait=allowed):
            yield

    monkeypatch.setitem(sys.modules, "cupyx", types.SimpleNamespace(allow_synchronize=allow_synchronize))
    with strict.watch(may_wait=True):
        rows = list(section(strict))
    assert [row.line() for row in rows if row.ok is not True] == []


def test_a_difference_is_seen():
    a = strict.asarray([1.0, 2.0])
    with strict.watch(may_wait=True):
        assert conformance.error([1.0, 2.0], a) == 0
        assert conformance.error([1.0, 4.0], a) == 0.5
        assert conformance.error([1.0], a) == conformance.error([1.0, 2.0], a * float("inf")) == float("inf")


def test_a_row_says_whether_a_demand_is_met():
    assert Row("steps", "ours", 1.23456, "ms", False, "<= 1").line() == "| steps | ours | 1.235 ms | <= 1 | NO |"


def test_without_a_gpu_it_says_why_and_leaves_the_results_alone():
    if gpu_problem() is None:
        pytest.skip("there is a GPU here")
    before = (ROOT / "tests" / "gpu" / "RESULTS.md").read_text()
    ended = subprocess.run([sys.executable, "-m", "tests.gpu"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert re.fullmatch(r"nothing to prove here: .+\n", ended.stderr)
    assert (ROOT / "tests" / "gpu" / "RESULTS.md").read_text() == before
