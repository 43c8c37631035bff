"""The text of a rule file is part of the program: equations, tags and headings must agree with the code.

A line of code that implements an equation ends with its number, `eta = ratio(gap, dot(g, g))  # (4)`; the equation
stands in the module's docstring with (4) at the end of its line. A file that only changes other files' rules says so
line by line, and derives nothing: it is named in WITHOUT_DERIVATION.
"""

import ast
import inspect
import io
import pkgutil
import re
import tokenize
from importlib import import_module

import pytest

from refopt import RULES, SCHEDULES, Rule, Schedule, rules

HEADINGS = [
    "Problem", "Derivation", "Rule", "Assumes", "Fails when", "Cost",
    "Differs from the paper / from the authors' code in", "References",
]  # fmt: skip
WITHOUT_DERIVATION = {"authors"}
MODULES = {name: import_module(f"refopt.rules.{name}") for _, name, _ in pkgutil.iter_modules(rules.__path__)}

every_module = pytest.mark.parametrize("name", MODULES)
derived = pytest.mark.parametrize("name", [name for name in MODULES if name not in WITHOUT_DERIVATION])


def equations(doc):
    """The numbers of the displayed equations, in the order of the text."""
    return [int(number) for number in re.findall(r"  \((\d+)\)$", doc, re.MULTILINE)]


def mentioned(text):
    """The numbers that a tag or a sentence names: (3) is 3, and (3)-(5) is 3, 4, 5."""
    ranges = re.findall(r"\((\d+)\)(?:[-–]\((\d+)\))?", text)
    return [number for first, last in ranges for number in range(int(first), int(last or first) + 1)]


def tags(module):
    """(line, numbers) of every comment that begins with an equation number, and what stands before it on the line."""
    for token in tokenize.generate_tokens(io.StringIO(inspect.getsource(module)).readline):
        if token.type == tokenize.COMMENT and re.match(r"#\s*\(\d", token.string):
            yield token.start[0], token.line[: token.start[1]].strip(), mentioned(token.string)


def section(doc, heading):
    """The paragraph under a heading, up to the next one."""
    rest = doc.partition(f"\n{heading}\n")[2]
    return re.split(r"\n(?=\S)", rest)[0]


@derived
def test_the_docstring_has_its_headings_in_their_order(name):
    assert re.findall(r"^\S.*$", MODULES[name].__doc__, re.MULTILINE)[1:] == HEADINGS
    for heading in HEADINGS:
        assert section(MODULES[name].__doc__, heading).strip(), f"{heading} is empty"


@derived
def test_equations_are_numbered_from_1_without_gaps_in_the_derivation(name):
    numbers = equations(MODULES[name].__doc__)
    assert numbers
    assert numbers == list(range(1, len(numbers) + 1))
    assert numbers == equations(section(MODULES[name].__doc__, "Derivation")), "an equation outside the derivation"


@derived
def test_what_the_text_cites_exists(name):
    """In the Rule section, and anywhere else in the docstring: (n) is one of its equations."""
    doc = MODULES[name].__doc__
    cited = re.sub(r"eqs?\. ?\(\d+\)(?: and \(\d+\))?", "", doc)  # eq. (3) is a paper's
    assert set(mentioned(cited)) <= set(equations(doc))


@every_module
def test_every_tag_stands_on_a_line_of_code_and_names_an_equation_of_its_file(name):
    known = equations(MODULES[name].__doc__)
    for line, code, numbers in tags(MODULES[name]):
        assert code, f"{name}.py:{line}: a tag on a line of its own"
        assert set(numbers) <= set(known), f"{name}.py:{line}"


@pytest.mark.parametrize("kind", RULES, ids=lambda kind: kind.__name__)
def test_every_rule_runs_a_tagged_line(kind):
    """Its own, or one it inherits."""
    tagged = 0
    for parent in kind.__mro__:
        if parent.__module__.startswith("refopt.rules."):
            code, first = inspect.getsourcelines(parent)
            lines = range(first, first + len(code))
            tagged += sum(line in lines for line, _, _ in tags(inspect.getmodule(parent)))
    assert tagged


@pytest.mark.parametrize("kind", RULES, ids=lambda kind: kind.__name__)
def test_the_rule_section_names_every_rule_of_its_file(kind):
    name = kind.__module__.rpartition(".")[2]
    assert name in WITHOUT_DERIVATION or re.search(rf"\b{kind.__name__}\b", section(MODULES[name].__doc__, "Rule"))


@every_module
def test_a_step_fits_in_fifteen_lines(name):
    for node in ast.walk(ast.parse(inspect.getsource(MODULES[name]))):
        if isinstance(node, ast.FunctionDef) and node.name == "step":
            body = node.body[ast.get_docstring(node) is not None :]
            assert body[-1].end_lineno - body[0].lineno < 15, f"{name}.py:{node.lineno}"


def classes(base):
    """The subclasses of `base` in refopt.rules: those with a source of their own, and those nobody derives from."""
    found, queue = [], [base]
    while queue:
        children = [child for child in queue.pop().__subclasses__() if child.__module__.startswith("refopt.rules.")]
        queue += children
        found += children
    parents = {parent for kind in found for parent in kind.__bases__}
    return {kind for kind in found if vars(kind).get("paper") or kind not in parents}


@pytest.mark.parametrize(("listed", "base"), [(RULES, Rule), (SCHEDULES, Schedule)], ids=["RULES", "SCHEDULES"])
def test_the_list_holds_every_class_once_family_by_family_in_the_order_of_the_file(listed, base):
    assert len(set(listed)) == len(listed)
    assert set(listed) == classes(base)
    families = list(dict.fromkeys(kind.__module__ for kind in listed))
    places = [(families.index(kind.__module__), inspect.getsourcelines(kind)[1]) for kind in listed]
    assert places == sorted(places)
