"""What the README shows is run as it stands."""

import re
import shlex
from math import prod
from pathlib import Path

import numpy as np
import pytest

from nets import MODELS, cli
from refopt import RULES, SCHEDULES

README = (Path(__file__).parent.parent / "README.md").read_text()
ROOT = Path(__file__).parent.parent


def blocks(language: str) -> list[str]:
    fenced = re.findall(r"^```(\w*)\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    return [text for name, text in fenced if name == language]


def test_the_python_examples_run_and_get_where_they_should(capsys):
    """One after the other, in one namespace, as a reader would; the block that shows the contract is not a program."""
    namespace: dict[str, object] = {}
    for block in blocks("python"):
        if "class Oracle:" not in block:
            exec(block, namespace)
    printed = capsys.readouterr().out.splitlines()
    gaps = [float(line.split()[1]) for line in printed[:4]]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] < 1e-3
    assert namespace["step"].t == 5 * 45
    far, (_loss, accuracy) = float(printed[-4]), eval(printed[-3])
    assert [line.partition("[")[0].strip() for line in printed[-2:]] == ["Adam, lr 0.001", "SPS"]
    assert far < 1e-2
    assert accuracy > 0.9
    result, logistic = namespace["result"], namespace["logistic"]
    assert result.success
    assert np.abs(result.x - logistic.x_star).max() < 1e-6


def test_the_table_of_nets_names_all_of_them_and_their_sizes():
    """Without the padding between parameters in theta."""
    rows = re.findall(r"^\| `(.+)` \| (\d+) x (\d+) x (\d+) \| ([\d,]+) \|", README, re.MULTILINE)
    assert [name for name, *_ in rows] == list(MODELS)
    for name, *images, parameters in rows:
        model = MODELS[name](tuple(map(int, images)), 10)
        assert f"{sum(prod(parameter.shape) for _, parameter in model.parameters()):,}" == parameters


def test_the_table_of_rules_names_all_of_them_and_leads_to_files_that_are_there():
    rows = re.findall(r"^\| \[`(\w+)`\]\(refopt/rules/\w+\.py\) \| ([^|]+) \|", README, re.MULTILINE)
    named = {(name.strip(), file) for file, names in rows for name in names.split(",")}
    assert named == {(kind.__name__, kind.__module__.rpartition(".")[2]) for kind in [*RULES, *SCHEDULES]}
    for target in re.findall(r"\]\(([^):]+)\)", README):
        assert (ROOT / target).exists(), target


COMMANDS = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("refopt")]


@pytest.mark.parametrize("line", COMMANDS)
def test_the_commands_are_spelled_right(line):
    cli.parse(shlex.split(line, comments=True)[1:])


def test_the_tree_names_files_that_are_there():
    (tree,) = blocks("")
    package = ""
    for line in tree.splitlines():
        if not line.startswith(" "):
            package = line.split("/")[0]
        for name in re.findall(r"\w+\.py", line):
            assert (ROOT / package / name).exists(), f"{package}/{name}"
    shown = set(re.findall(r"\w+\.py", tree))
    there = {path.name for folder in ("refopt", "nets") for path in (ROOT / folder).glob("*.py")} - {"__init__.py"}
    assert there == shown, "every file is in the tree"
