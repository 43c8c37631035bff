"""The book as a static site: chapters that ran, rule files beside their derivation, findings, API, search.

    refopt book [--out build/book] [--quick]

Chapters are run, each in a process of its own; the pages of the package are made of its docstrings; Sphinx does the
rest. Nothing is loaded from the network, now or by a reader's browser.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import refopt
import refopt.rules

SITE = Path(__file__).resolve().parent
TUTORIALS = SITE.parent
ROOT = TUTORIALS.parent
FENCE = "`" * 4
API = {
    "refopt": ["arrays", "oracle", "wrappers", "rule", "descend", "scipy_method", "sets", "problems", "convex",
               "linear_models", "nonsmooth", "nonconvex", "libsvm", "fetch"],
    "nets": ["tensor", "ops", "conv", "layers", "image_layers", "cnn", "resnet", "models", "losses", "initial", "flat",
             "data", "mnist", "cifar", "oracle", "options", "train", "checkpoint", "race", "engine"],
}  # fmt: skip


def build(out: Path, quick: bool) -> None:
    """Build the site into the folder `out`.

    Raises
    ------
    RuntimeError
        If a chapter does not run, or Sphinx warns: the message is its last lines.
    """
    source = out.parent / f"{out.name}-source"
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(SITE, source, ignore=shutil.ignore_patterns("build.py", "weave.py", "__pycache__"))
    chapters = sorted(TUTORIALS.glob("[0-9][0-9]_*.py"))
    (source / "chapters").mkdir()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for done in pool.map(lambda chapter: woven(chapter, source / "chapters", quick), chapters):
            print(f"  {done}", flush=True)
    write_pages(source, [chapter.stem for chapter in chapters])
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", source, out]
    run(command, os.environ | {"PYTHONPATH": str(ROOT)})


def woven(chapter: Path, folder: Path, quick: bool) -> str:
    """Run a chapter and write its page; return its name."""
    settings = {"PYTHONPATH": str(ROOT)} | ({"QUICK": "1"} if quick else {})
    run([sys.executable, SITE / "weave.py", chapter, folder], os.environ | settings)
    return chapter.stem


def run(command: list, environment: dict[str, str]) -> None:
    """Run a process; RuntimeError with the end of what it said if it fails."""
    done = subprocess.run([str(part) for part in command], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command[-2:]))} failed:\n{done.stderr[-2000:]}")


# --- pages that are made of the package ------------------------------------------------------------------------------


def write_pages(source: Path, chapters: list[str]) -> None:
    """Write the pages of rules, their tests, findings and API, and the tables of contents."""
    files = dict.fromkeys(kind.__module__.rpartition(".")[2] for kind in refopt.RULES)  # in reading order
    rules = ["gradient", "schedules", *(name for name in files if name != "gradient")]
    page(source / "rules" / "index.md", "The rules", table() + toctree(rules))
    for name in rules:
        page(source / "rules" / f"{name}.md", f"{name}.py", ways(name) + directive("rule", f"refopt.rules.{name}"))
    tests = sorted({test for name in rules for test in leads(name, "tests")})
    page(source / "tests" / "index.md", "What holds the rules to their theorems", toctree(tests))
    for test in tests:
        body = f"{FENCE}python\n{(ROOT / 'tests' / test).with_suffix('.py').read_text()}{FENCE}\n"
        page(source / "tests" / f"{test}.md", f"{test}.py", body)
    findings = "".join(f"\n## {name}\n\n{directive('differs', f'refopt.rules.{name}')}" for name in rules)
    page(source / "findings.md", "Where the papers and the authors' code differ", findings)
    modules = [f"{package}.{name}" for package, names in API.items() for name in names]
    page(source / "api" / "index.md", "The library", toctree(modules))
    for module in modules:
        page(source / "api" / f"{module}.md", module, directive("members", module))
    contents = toctree([f"chapters/{name}" for name in chapters]) + toctree(
        ["rules/index", "findings", "tests/index", "api/index"]
    )
    with (source / "index.md").open("a") as index:
        index.write(contents)


def leads(name: str, folder: str) -> list[str]:
    """Return the files of a folder, tests or tutorials, to which the README's table leads from a rule file."""
    (row,) = re.findall(rf"^\| \[`{name}`\].*$", (ROOT / "README.md").read_text(), re.MULTILINE)
    return re.findall(rf"\({folder}/(\w+)\.py\)", row)


def ways(name: str) -> str:
    """Return a line of links from a rule file's page: to the chapters that show it, and to its tests."""
    chapters = [f"[chapter {int(file[:2])}](../chapters/{file}.md)" for file in leads(name, "tutorials")]
    tests = [f"[{file}](../tests/{file}.md)" for file in leads(name, "tests")]
    return f"At work in {', '.join(chapters)}; held to its theorems by {', '.join(tests)}.\n\n"


def table() -> str:
    """Return a table of all rules: class, what it is in a line, and source."""
    rows = ["| rule | | paper |", "|---|---|---|"]
    for kind in refopt.RULES:
        line = (kind.__doc__ or "").splitlines()[0].replace("|", "\\|").replace("*", "\\*")
        rows.append(f"| [{kind.__name__}]({kind.__module__.rpartition('.')[2]}.md) | {line} | {kind.paper} |")
    return "\n".join(rows) + "\n"


def directive(name: str, argument: str) -> str:
    """Return a directive in Markdown."""
    return f"```{{{name}}} {argument}\n```\n"


def toctree(names: list[str]) -> str:
    """Return a table of contents in Markdown."""
    return "\n```{toctree}\n:maxdepth: 1\n\n" + "\n".join(names) + "\n```\n"


def page(path: Path, title: str, body: str) -> None:
    """Write a page."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"# {title}\n\n{body}")
