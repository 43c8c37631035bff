"""What the README shows is run as it stands."""

import ast
import inspect
import os
import re
import shlex
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from math import prod
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nets import MODELS, cli
from refopt import RULES, SCHEDULES, Oracle, Rule

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
SECTIONS = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", README, re.DOTALL | re.MULTILINE))
EXAMPLE = "Add a rule"


def blocks(language: str, text: str = README) -> list[str]:
    fenced = re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return [text for name, text in fenced if name == language]


def test_the_python_examples_run_and_get_where_they_should(capsys):
    """One after the other, in one namespace, as a reader would; the block that shows the contract is not a program."""
    namespace: dict[str, object] = {}
    for heading, text in SECTIONS.items():
        for block in blocks("python", text):
            if heading != EXAMPLE and "class Oracle:" not in block:
                exec(block, namespace)
    solved, mlp, cnn, *gaps, far, adam, sps = capsys.readouterr().out.splitlines()
    result, logistic = namespace["result"], namespace["logistic"]
    assert result.success
    assert solved.startswith(result.message)
    assert np.abs(result.x - logistic.x_star).max() < 1e-6
    assert min(eval(mlp)[1], eval(cnn)[1]) > 0.9
    gaps = [float(line.split()[1]) for line in gaps]
    assert len(gaps) == 4
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] < 1e-3
    assert float(far) < 1e-2
    assert [line.partition("[")[0].strip() for line in (adam, sps)] == ["Adam, lr 0.001", "SPS"]


def test_the_contract_that_is_shown_is_the_one_that_is_kept():
    (shown,) = [block for block in blocks("python") if "class Oracle:" in block]
    for each in ast.parse(shown).body:
        kind = {"Rule": Rule, "Oracle": Oracle}[each.name]
        for part in each.body:
            if isinstance(part, ast.FunctionDef):
                there = [name for name in inspect.signature(getattr(kind, part.name)).parameters if name != "out"]
                assert [arg.arg for arg in part.args.args] == there
            else:
                assert hasattr(kind, part.value.id)


# --- the rule that is added ------------------------------------------------------------------------------------------

AS_IF_THERE = """
import sys
import pytest, refopt, refopt.rules
refopt.rules.__path__.append(sys.argv[1])
from refopt.rules.constant_length import ConstantLength
refopt.ConstantLength = ConstantLength
refopt.RULES.append(ConstantLength)
sys.exit(pytest.main(["-o", "addopts=", "-p", "no:cacheprovider", "-q", *sys.argv[2:]]))
"""


def with_rule(folder, rule, *arguments):
    """Return the run of pytest for which refopt/rules/constant_length.py holds this text."""
    (folder / "constant_length.py").write_text(rule)
    command = [sys.executable, "-B", "-c", AS_IF_THERE, str(folder), *arguments, f"--rootdir={ROOT}"]
    settings = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    return subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True, check=False)


def test_the_rule_of_the_example_keeps_every_law_and_its_theorem_and_the_slip_is_noticed(tmp_path):
    rule, theorem = blocks("python", SECTIONS[EXAMPLE])
    (tmp_path / "test_constant_length.py").write_text(theorem)
    own = str(tmp_path / "test_constant_length.py")
    everyones = [f"tests/test_{name}.py" for name in ("contract", "equations", "units")]
    ended = with_rule(tmp_path, rule, *everyones, own, "-k", "ConstantLength or every_class_once or best_gap")
    assert ended.returncode == 0, ended.stdout
    assert int(re.search(r"(\d+) passed", ended.stdout)[1]) > 30
    ((name, slip),) = tomllib.loads(*blocks("toml", SECTIONS[EXAMPLE])).items()
    assert name.partition("-")[0] in theorem
    assert rule.count(slip["old"]) == 1
    assert with_rule(tmp_path, rule.replace(slip["old"], slip["new"]), own).returncode == 1


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


def test_the_picture_is_the_one_that_its_command_draws():
    """By its caption, which is inside the file, in the chapter, and here."""
    caption, file = re.search(r"^!\[(.+)\]\((\S+)\)$", README, re.MULTILINE).groups()
    chapter = re.search(r"`python (\S+)` draws it", README)[1]
    with Image.open(ROOT / file) as picture:
        assert picture.text["Description"] == caption
    assert caption in re.sub(r'"\s+"', "", (ROOT / chapter).read_text())
    assert (ROOT / file).stat().st_size < 100_000


def test_what_python_is_told_to_run_is_there():
    for name in re.findall(r"python (\w\S*\.py)", README):
        assert (ROOT / name).exists() or name == "script.py"
    for name in re.findall(r"python -m ([\w.]+)", README):
        assert find_spec(name) or name == "mpi4py", name  # of [cluster]; `test_ranks` runs it


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
