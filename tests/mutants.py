"""Does a slip survive the tests? Each known slip is made in our own source, and the tests that should notice are run.

    python tests/mutants.py                 every chapter
    python tests/mutants.py polyak sps      some
    python tests/mutants.py --sample 20     twenty of all, evenly

A chapter is a table of slips, tests/mutants/CHAPTER.toml, in the file refopt/rules/CHAPTER.py or the one it names:

    file = "refopt/problems.py"      # optional, at the top, or for one slip

    [PS1-nosq]                       # statement, and a word for the slip
    what = "norm for squared norm"   # in words
    old = "dot(g, g)"                # stands exactly once in the file
    new = "xp.sqrt(dot(g, g))"
    equivalent = "..."               # only where no test can notice: why

The tests that should notice are those whose docstring cites the statement. A slip is killed by an assertion that
fails, or by a run that does not end; a name that does not exist is a slip of the table, and reported as such.
The patched text never touches the disk: a forked process imports it in place of the file.
"""

import ast
import importlib.util
import inspect
import io
import multiprocessing
import re
import signal
import sys
import tomllib
from argparse import ArgumentParser
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

import conftest  # noqa: F401  (before NumPy: one thread)
import hypothesis.extra.numpy  # noqa: F401  (what tests import: once, before the forks)
import pytest
import scipy.optimize
import scipy.special  # noqa: F401

ROOT = Path(__file__).parents[1]
PATIENCE = 60  # seconds, until a run counts as one that does not end
TYPOS = {"NameError", "UnboundLocalError", "AttributeError", "ImportError", "SyntaxError", "TypeError"}


class Slip(NamedTuple):
    """A mistake in one place of one file."""

    chapter: str
    name: str
    file: str
    what: str
    old: str
    new: str
    equivalent: str = ""

    @property
    def statement(self) -> str:
        """The identifier of the statement it contradicts."""
        return self.name.split("-")[0]

    def patched(self) -> str:
        """Return the source with the slip; its text must stand there exactly once."""
        source = (ROOT / self.file).read_text()
        if (times := source.count(self.old)) != 1:
            raise LookupError(f"its text stands {times} times in {self.file}")
        source = source.replace(self.old, self.new)
        ast.parse(source)
        return source


def slips(chapter: str) -> list[Slip]:
    """Read a table."""
    table = tomllib.loads((ROOT / "tests" / "mutants" / f"{chapter}.toml").read_text())
    file = table.pop("file", f"refopt/rules/{chapter}.py")
    return [Slip(chapter, name, **({"file": file} | row)) for name, row in table.items()]


class Patched:
    """A finder that imports one module from a text."""

    def __init__(self, file: str, source: str):
        self.module = file.removesuffix(".py").replace("/", ".")
        self.file, self.source = ROOT / file, source

    def find_spec(self, name, _path=None, _target=None):
        if name == self.module:
            return importlib.util.spec_from_file_location(name, self.file, loader=self)
        return None

    def create_module(self, _spec):
        return None

    def exec_module(self, module):
        exec(compile(self.source, self.file, "exec"), module.__dict__)


class Watch:
    """The pytest plugin: run only tests that cite the statement, and note why the first one failed."""

    def __init__(self, statement: str):
        self.cited, self.failed, self.ran = re.compile(rf"\b{statement}\b"), "", 0

    def pytest_collection_modifyitems(self, items):
        items[:] = [item for item in items if self.cited.search(inspect.getdoc(item.obj) or "")]

    def pytest_runtest_makereport(self, item, call):
        self.ran += call.when == "call"
        if call.excinfo and not self.failed:
            self.failed = f"{call.excinfo.typename} in {item.name}"


def verdict(slip: Slip) -> str:
    """Return "killed by ...", "survived", or what is wrong with the slip. To be called in a process of its own."""

    def give_up(*_):
        raise AssertionError("the run does not end")

    try:
        sys.meta_path.insert(0, Patched(slip.file, slip.patched()))
        sys.path.insert(0, str(ROOT))  # this checkout, whatever is installed
    except (LookupError, SyntaxError) as error:
        return f"broken: {error}"
    watch = Watch(slip.statement)
    citing = [str(file) for file in (ROOT / "tests").glob("test_*.py") if watch.cited.search(file.read_text())]
    if not citing:
        return f"broken: no test cites {slip.statement}"
    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(PATIENCE)
    arguments = ["-o", "addopts=", "-x", "-q", "-p", "no:cacheprovider", f"--rootdir={ROOT}"]
    arguments += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # of modules imported before the fork
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(out):
        status = pytest.main([*arguments, *citing], plugins=[watch])
    if not watch.ran:
        return f"broken: no test that cites {slip.statement} ran (pytest exit {status})\n{out.getvalue()[-1000:]}"
    if not watch.failed:
        return "survived"
    return f"broken: {watch.failed}" if watch.failed.split()[0] in TYPOS else f"killed by {watch.failed}"


def main() -> int:
    """Print what became of every slip, the survivors last; return how many survived or are broken."""
    chapters = sorted(file.stem for file in (ROOT / "tests" / "mutants").glob("*.toml"))
    parser = ArgumentParser(description="Make known slips in the source, and see that tests notice.")
    parser.add_argument("chapters", nargs="*", metavar="CHAPTER", help=", ".join(chapters))
    parser.add_argument("--sample", type=int, help="so many of them, evenly spaced")
    parser.add_argument("--verbose", action="store_true", help="also name what is killed, and by what")
    options = parser.parse_args()
    if unknown := set(options.chapters) - set(chapters):
        parser.error(f"there is no chapter {', '.join(sorted(unknown))}: pass some of {', '.join(chapters)}")
    every = [slip for chapter in options.chapters or chapters for slip in slips(chapter)]
    tried = [slip for slip in every if not slip.equivalent]
    if options.sample:
        tried = tried[:: max(1, len(tried) // options.sample)][: options.sample]
    # forked, so that each imports the package anew, but not NumPy and SciPy
    with multiprocessing.get_context("fork").Pool(maxtasksperchild=1) as pool:
        verdicts = list(pool.imap(verdict, tried, chunksize=1))
    alive = 0
    for slip, what in zip(tried, verdicts, strict=True):
        killed = what.startswith("killed")
        alive += not killed
        if options.verbose or not killed:
            print(f"{slip.chapter} {slip.name} ({slip.what}): {what}")
    for slip in every:
        if slip.equivalent and not options.sample:
            print(f"{slip.chapter} {slip.name} ({slip.what}): equivalent, {slip.equivalent}")
    print(f"killed {len(tried) - alive} of {len(tried)}")
    return min(alive, 1)


if __name__ == "__main__":
    sys.exit(main())
