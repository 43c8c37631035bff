"""What is to run on a GPU runs on the double first, every line of it, so that a slip does not cost a GPU's time."""

import contextlib
import json
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest
import shim
import strict
from gpu import __main__ as proof
from gpu import conformance, rows, speed, steps
from gpu.rows import Row
from test_contract import WAITS

from nets.models import MODELS
from refopt import gpu
from refopt.probe import gpu_problem

ROOT = Path(__file__).parents[1]


class Device(types.SimpleNamespace):
    """CuPy, as far as the double is not it: events, all of them a millisecond apart, a pool, and what it is."""

    __version__ = "14.2.0"

    def __getattr__(self, name):
        return getattr(strict, name)

    def get_default_memory_pool(self):
        return types.SimpleNamespace(free_all_blocks=lambda: None, total_bytes=lambda: 5_000_000_000)


@pytest.fixture
def xp(monkeypatch):
    @contextlib.contextmanager
    def allow_synchronize(allowed):
        with strict.watch(may_wait=allowed):
            yield

    class Event:
        recorded = done = False

        def record(self):
            self.recorded = True

        def synchronize(self):
            self.done = self.recorded

    def get_elapsed_time(start, end):
        assert start.recorded
        assert end.done
        return 1.0

    runtime = types.SimpleNamespace(
        runtimeGetVersion=lambda: 13000, driverGetVersion=lambda: 13000,
        getDeviceProperties=lambda device: {"name": b"Double"},
    )  # fmt: skip
    device = Device(
        cuda=types.SimpleNamespace(
            Event=Event, get_elapsed_time=get_elapsed_time, runtime=runtime,
            Device=lambda: types.SimpleNamespace(synchronize=lambda: None),
        )
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "cupy", device)
    monkeypatch.setitem(sys.modules, "cupyx", types.SimpleNamespace(allow_synchronize=allow_synchronize))
    monkeypatch.setattr(gpu, "kernel", shim.kernel)
    monkeypatch.setattr(gpu, "has_kernels", lambda xp: xp is strict)
    monkeypatch.setattr(gpu, "MOST_BLOCKS", 3)
    monkeypatch.setattr(gpu, "products", lambda tf32: contextlib.nullcontext())
    monkeypatch.setattr(steps, "has_torch", lambda: False)
    for module in speed, steps:
        monkeypatch.setattr(module, "times", lambda work, rounds=20, warm=3, ahead=None: rows.times(work, 2, 1, ahead))
    monkeypatch.setattr(speed, "COPIED", 1 << 10)
    monkeypatch.setattr(rows, "SIDE", 16)
    monkeypatch.setattr(speed, "IMAGES", (1, 4, 4, 4))
    monkeypatch.setattr(steps, "BATCH", 2)
    monkeypatch.setattr(steps, "MODELS", dict.fromkeys(steps.NETS, MODELS["lenet"]))
    monkeypatch.setattr(speed, "MODEL", "lenet")
    monkeypatch.setattr(speed, "BATCH", 2)
    monkeypatch.setattr(conformance, "NETS", ("mlp", "lenet"))
    monkeypatch.setattr(conformance, "TWICE", ("lenet", 4))
    monkeypatch.delenv("REFOPT_DATA", raising=False)
    with strict.watch(may_wait=True):
        yield device


@pytest.mark.needs("g++")
@pytest.mark.parametrize("name", proof.SECTIONS)
def test_a_section_finds_the_double_conforming(name, xp, monkeypatch):
    if name == "rules":  # by the plain text: g++ takes half a second for a formula
        monkeypatch.setattr(gpu, "has_kernels", lambda xp: False)
    found = list(proof.SECTIONS[name](xp))
    assert found
    assert [row.line() for row in found if row.ok is False and not times_are_compared(row)] == []
    assert all(type(row.ok) in (bool, type(None)) for row in found), "NumPy's True is not True"


def times_are_compared(row):
    return row.section == "rates"


@pytest.mark.needs("g++", "torch")
@pytest.mark.filterwarnings("ignore")
def test_training_steps_beside_those_of_pytorch(xp, monkeypatch):
    """On a CPU PyTorch counts no launches, and has no memory of a GPU."""
    import torch

    monkeypatch.setattr(steps, "has_torch", lambda: True)
    monkeypatch.setattr(steps, "DEVICE", "cpu")
    monkeypatch.setattr(steps, "launched", lambda work: work() and 1)
    monkeypatch.setattr(steps, "NETS", ("lenet",))
    for name in ("empty_cache", "reset_peak_memory_stats"):
        monkeypatch.setattr(torch.cuda, name, lambda: None)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda: 1)
    found = [*steps.steps(xp, "lenet"), *steps.launches(xp)]
    assert [row.line() for row in found if row.ok is False] == []
    assert sum("first losses" in row.what for row in found) == 4


def test_who_waits_is_who_may():
    assert conformance.WAIT == WAITS


def test_a_difference_is_seen():
    a = strict.asarray([1.0, 2.0])
    with strict.watch(may_wait=True):
        assert conformance.error([1.0, 2.0], a) == 0
        assert conformance.error([1.0, 4.0], a) == 0.5
        assert conformance.error([1.0], a) == conformance.error([1.0, 2.0], a * float("inf")) == float("inf")


# --- the whole -------------------------------------------------------------------------------------------------------


def test_a_row_says_whether_a_demand_is_met():
    assert Row("steps", "ours", 1.23456, "ms", False, "<= 1").line() == "| steps | ours | 1.235 ms | <= 1 | NO |"


def test_a_section_that_fails_leaves_its_rows_and_says_why(xp, monkeypatch, tmp_path, capsys):
    def section(_xp):
        yield Row("a", "b", 1.5, "ms", True)
        raise ValueError("slip\nand more")

    monkeypatch.setitem(proof.SECTIONS, "formulas", section)
    proof.one("formulas", tmp_path / "rows", xp)
    found = [Row(**json.loads(line)) for line in (tmp_path / "rows").read_text().splitlines()]
    assert found == [Row("a", "b", 1.5, "ms", True), Row("formulas", "failed: ValueError: slip", "", "", False)]
    assert "| a | b | 1.5 ms |  | yes |" in capsys.readouterr().out


SECTION = """
import json, sys, time, os
print(json.dumps(dict(section="s", what=sys.argv[1], value=1.5)), file=open(sys.argv[2], "a"))
"""


@pytest.mark.parametrize(
    ("then", "said"),
    [("", None), ("sys.exit(3)", "ended by 3"), ("os.abort()", "ended by -6"), ("time.sleep(60)", "stopped after 2 s")],
)
def test_whatever_becomes_of_a_section_its_rows_stay(then, said):
    found = proof.elsewhere("steps", 2, [sys.executable, "-c", SECTION + then])
    assert found == [Row("s", "steps", 1.5)] + ([Row("steps", said, "", "", False)] if said else [])


@pytest.mark.parametrize("failing", [False, True])
def test_the_table_is_written_after_every_section(xp, monkeypatch, tmp_path, capsys, failing):
    monkeypatch.setattr(proof, "array_module", lambda device: xp)
    command = [sys.executable, "-c", SECTION + f"sys.exit({int(failing)} if sys.argv[1] == 'nets' else 0)"]
    with pytest.raises(SystemExit) as end:
        proof.main(["nets", "rules"], command, tmp_path)
    assert end.value.code == failing
    table, (head, *_) = capsys.readouterr().out, (text := (tmp_path / "RESULTS.md").read_text()).splitlines()[2:]
    assert re.fullmatch(
        r"`python -m tests.gpu` on one Double, [\d-]+; Python .+, CuPy 14.2.0, CUDA 13000, driver 13000.", head
    )
    assert text.count("| s | ") == 2
    assert ("| nets | ended by 1 " in text) == ("| nets | ended by 1 " in table) == failing
    assert len(json.loads((tmp_path / "results.json").read_text())["rows"]) == 2 + failing


def test_a_section_that_there_is_no_time_for_is_named(xp, monkeypatch, tmp_path):
    monkeypatch.setattr(proof, "array_module", lambda device: xp)
    monkeypatch.setattr(proof, "SECONDS", 0)
    with pytest.raises(SystemExit):
        proof.main(["nets"], [], tmp_path)
    assert "| nets | not begun |" in (tmp_path / "RESULTS.md").read_text()


def test_another_section_is_refused():
    with pytest.raises(SystemExit, match=r"^sections are formulas, .*, rules, got speed$"):
        proof.main(["nets", "speed"], [], None)


def test_without_a_gpu_it_says_why_and_leaves_the_results_alone():
    if gpu_problem() is None:
        pytest.skip("there is a GPU here")
    before = (ROOT / "tests" / "gpu" / "RESULTS.md").read_text()
    ended = subprocess.run([sys.executable, "-m", "tests.gpu"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert re.fullmatch(r"nothing to prove here: .+\n", ended.stderr)
    assert (ROOT / "tests" / "gpu" / "RESULTS.md").read_text() == before


def test_numpy_scipy_and_cupy_are_all_it_needs():
    """Where a GPU is, the rest of what `pip install refopt` brings need not be."""
    absent = {"tyro", "pooch", "tqdm", "sklearn", "matplotlib", "threadpoolctl", "joblib", "torch", "pytest"}
    setup = f"import sys; sys.modules.update(dict.fromkeys({absent}))"
    subprocess.run([sys.executable, "-c", f"{setup}; import tests.gpu.__main__"], cwd=ROOT, check=True)
