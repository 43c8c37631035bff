"""The chapters of the book run, and leave the pictures they name; their exercises can be solved, and must be."""

import importlib.util
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent
CHAPTERS = sorted((ROOT / "tutorials").glob("[0-9][0-9]_*.py"))
EXERCISES = sorted((ROOT / "tutorials" / "exercises").glob("ch*.py"))
SOLUTIONS = ROOT / "tests" / "solutions"
RHYTHM = [
    "The question", "The theorem", "A picture of the mechanism", "The rule itself", "A check against the theorem",
    "A small network", "What breaks it", "Three exercises",
]  # fmt: skip

every_chapter = pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
every_sheet = pytest.mark.parametrize("sheet", EXERCISES, ids=lambda path: path.stem)


@every_chapter
def test_a_chapter_runs_without_a_warning_and_leaves_the_pictures_it_names(chapter, tmp_path):
    """Its assertions are the theorems'. QUICK=1 computes less, and asserts the same."""
    settings = {"QUICK": "1", "MPLBACKEND": "agg", "REFOPT_FIGURES": str(tmp_path / "made"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error", str(chapter)]
    done = subprocess.run(command, env=os.environ | settings, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    names = {f"{name}.png" for name in re.findall(r'"(\d\d-[a-z-]+)"', chapter.read_text())}
    made = {path.name for path in (tmp_path / "made").iterdir()}
    assert names == {name for name in made if name.endswith(".png")}
    assert all(name.startswith(chapter.name[:2]) for name in made)
    for name in names:
        with Image.open(tmp_path / "made" / name) as picture:
            assert len(picture.text["Description"]) > 20, "its caption goes with it"
    assert {path.name for path in tmp_path.iterdir()} == {"made"}, "it writes nothing else"


def cells(chapter: Path) -> list[tuple[bool, str]]:
    """(whether it is text, its lines) for each cell after the title."""
    parts = re.split(r"^# %%(.*)\n", chapter.read_text(), flags=re.MULTILINE)
    return [(mark == " [markdown]", body) for mark, body in zip(parts[3::2], parts[4::2], strict=True)]


@every_chapter
def test_a_chapter_keeps_the_rhythm_of_the_book(chapter):
    """A docstring for a title, text cells of comments, code cells; headings as both Markdown and reST know them."""
    title = rf'# %% \[markdown\]\n"""\nChapter {int(chapter.name[:2])}\. .+\n=+\n"""\n'
    assert re.match(title, chapter.read_text())
    headings = []
    for is_text, body in cells(chapter):
        lines = [line for line in body.splitlines() if line]
        assert lines
        assert all(line.startswith("#") for line in lines) == is_text
        if is_text:
            headings += re.findall(r"^# (.+)\n# -{4,}$", body, re.MULTILINE)
    assert headings == RHYTHM


@every_chapter
def test_a_chapter_prints_the_rules_own_source_and_its_exercises(chapter):
    shown = re.findall(r"^show\((.+?)\)$", chapter.read_text(), re.MULTILINE | re.DOTALL)
    assert len(shown) >= 2
    assert shown[-1] == f"ch{chapter.name[:2]}"


def test_every_chapter_has_its_sheet_of_exercises():
    numbers = [chapter.name[:2] for chapter in CHAPTERS]
    assert [sheet.stem for sheet in EXERCISES] == [f"ch{number}" for number in numbers]
    sheets = [sheet.name for sheet in EXERCISES]
    assert sorted(path.name for path in SOLUTIONS.glob("*.py")) == sheets
    assert sorted(path.name for path in EXERCISES[0].parent.glob("test_*.py")) == [f"test_{name}" for name in sheets]


# --- exercises -------------------------------------------------------------------------------------------------------


def module(name: str, source: str, path: Path):
    """Return the module of this source."""
    made = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader=None))
    exec(compile(source, str(path), "exec"), vars(made))
    return made


def readers_tests(sheet: Path, answers, monkeypatch):
    """The functions test_... beside a sheet, with these answers in its place."""
    monkeypatch.setitem(sys.modules, sheet.stem, answers)
    path = sheet.with_name(f"test_{sheet.name}")
    loaded = module(path.stem, path.read_text(), path)
    return [value for name, value in vars(loaded).items() if name.startswith("test_")]


@every_sheet
def test_the_readers_tests_fail_while_the_exercises_are_unsolved(sheet, monkeypatch):
    answers = module(sheet.stem, sheet.read_text(), sheet)
    assert sum(inspect.isfunction(value) for value in vars(answers).values()) == 3
    for test in readers_tests(sheet, answers, monkeypatch):
        with pytest.raises(NotImplementedError):
            test()


@every_sheet
def test_the_exercises_can_be_solved(sheet, monkeypatch):
    path = SOLUTIONS / sheet.name
    answers = module(sheet.stem, path.read_text(), path)
    asked = module(sheet.stem, sheet.read_text(), sheet)
    for name, stub in vars(asked).items():
        if inspect.isfunction(stub):
            assert inspect.signature(vars(answers)[name]) == inspect.signature(stub)
    for test in readers_tests(sheet, answers, monkeypatch):
        test()


SLIPS = [
    pytest.param(sheet, before, after, id=f"{sheet.stem}: {before} -> {after}")
    for sheet in EXERCISES
    for before, after in module(sheet.stem, (SOLUTIONS / sheet.name).read_text(), SOLUTIONS / sheet.name).SLIPS
]


@pytest.mark.parametrize(("sheet", "before", "after"), SLIPS)
def test_the_readers_tests_notice_a_typical_slip(sheet, before, after, monkeypatch):
    path = SOLUTIONS / sheet.name
    source = path.read_text().partition("SLIPS = [")[0]
    assert source.count(before) == 1
    answers = module(sheet.stem, source.replace(before, after), path)
    failures = 0
    for test in readers_tests(sheet, answers, monkeypatch):
        try:
            test()
        except Exception:
            failures += 1
    assert failures
