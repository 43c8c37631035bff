"""The known slips: their tables are sound, and a sample of them is made and noticed. All of them: tests/mutants.py."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MUTANTS = [sys.executable, str(ROOT / "tests" / "mutants.py")]


def run(*arguments):
    return subprocess.run([*MUTANTS, *arguments], capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="each slip is made in a forked process")
def test_a_sample_of_the_known_slips_is_noticed():
    """Twenty of them, evenly from all chapters."""
    ended = run("--sample", "20")
    assert ended.stdout.strip() == "killed 20 of 20", ended.stdout + ended.stderr
    assert ended.returncode == 0


def test_every_rule_file_has_its_chapter():
    """Apart from the switch, of which no statement says more than its own tests."""
    chapters = {file.stem for file in (ROOT / "tests" / "mutants").glob("*.toml")}
    files = {file.stem for file in (ROOT / "refopt" / "rules").glob("*.py")} - {"__init__", "switch"}
    assert files <= chapters


def test_every_slip_stands_once_in_the_source_is_python_and_has_a_test_that_cites_it():
    cited = set(re.findall(r"[\w-]+", "".join(file.read_text() for file in (ROOT / "tests").glob("test_*.py"))))
    sys.path.insert(0, str(ROOT / "tests"))
    from mutants import slips

    for file in (ROOT / "tests" / "mutants").glob("*.toml"):
        for slip in slips(file.stem):
            slip.patched()
            assert slip.statement in cited, slip.name


def test_a_chapter_that_is_not_there_is_named():
    ended = run("poliak")
    assert ended.returncode == 2
    assert "there is no chapter poliak: pass some of adam, " in ended.stderr
