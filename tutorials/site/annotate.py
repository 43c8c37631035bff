"""Rule files as pages: the derivation beside the code, each number of an equation a link from one to the other.

A Sphinx extension with three directives, each given a module by name: `rule`, the page of a rule file; `differs`, its
section on where papers and code differ; `members`, its public names with their docstrings.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

INDEX = re.compile(  # behind a Greek letter a word, behind others one character, or what is in braces
    r"(?<!\w)(?:(min|max|argmin|[Α-ωℓḀ-ỿ])_(?:\{([^}]+)\}|([A-Za-z0-9Α-ω]+))"
    r"|([A-Za-z])_(?:\{([^}]+)\}|([A-Za-z0-9Α-ω])(?![A-Za-z0-9_])))"
)
NUMBER = re.compile(r"(?<![\w)])\((\d+)\)(?: of `(\w+)`)?|`([^`]+)`")
DISPLAYED = re.compile(r"^(.*?)\s{2,}\((\d+)\)$")


def sections(doc: str) -> Iterator[tuple[str, list[str]]]:
    """Yield (heading, paragraphs) of a module's docstring; what stands above the first heading has heading ""."""
    heading, body = "", list[str]()
    for line in [*inspect.cleandoc(doc).splitlines(), "End"]:
        if line and not line[0].isspace() and (heading or not line.endswith((".", ";", ",", ":"))) and len(line) < 60:
            yield heading, paragraphs(body)
            heading, body = line, []
        else:
            body.append(line)


def paragraphs(lines: list[str]) -> list[str]:
    """Split lines at empty ones, their common indentation taken away."""
    whole = inspect.cleandoc("\n".join(["", *lines]))
    return [part for part in re.split(r"\n\s*\n", whole) if part.strip()]


class Page(Directive):
    """What the directives share: the module they are given, and how its text becomes nodes."""

    required_arguments = 1

    @property
    def module(self) -> ModuleType:
        return import_module(self.arguments[0])

    def run(self) -> list[nodes.Node]:
        self.state.document.settings.record_dependencies.add(str(inspect.getsourcefile(self.module)))
        return list(self.made(self.module))

    def made(self, module: ModuleType) -> Iterator[nodes.Node]:
        raise NotImplementedError

    def paragraph(self, text: str, here: str = "") -> nodes.Node:
        """Return a paragraph, or displayed equations, if it is indented."""
        if text.startswith(" "):
            block = nodes.container(classes=["equations"])
            for line in inspect.cleandoc("\n" + text).splitlines():
                row, match = nodes.paragraph(classes=["equation"]), DISPLAYED.match(line)
                indent = "\u2003" * ((len(line) - len(line.lstrip())) // 4)
                row += nodes.inline("", indent, *indexed((match[1] if match else line).strip()))
                if match and not here:
                    row["ids"].append(f"eq-{match[2]}")
                    number = f"({match[2]})"
                    if match[2] in tags(self.module):
                        row += nodes.reference("", number, refuri=f"#code-{match[2]}", classes=["tag"])
                    else:
                        row += nodes.inline("", number, classes=["tag"])
                block += row
            return block
        return nodes.paragraph("", "", *self.linked(" ".join(text.split()), here))

    def linked(self, text: str, here: str) -> Iterator[nodes.Node]:
        """Yield the parts of a text: numbers of equations and names of rule files are links."""
        at = 0
        for match in NUMBER.finditer(text):
            yield from indexed(text[at : match.start()])
            number, other, name = match.groups()
            page = f"{self.root}rules/{other}.html" if other else here
            if number and not other and number not in equations(self.module):
                yield nodes.Text(f"({number})")
            elif number:
                yield nodes.reference("", f"({number})", refuri=f"{page}#eq-{number}")
                if other:
                    yield nodes.Text(" of ")
            if name or other:
                yield self.named(other or name)
            at = match.end()
        yield from indexed(text[at:])

    def named(self, name: str) -> nodes.Node:
        """Return a name in code type, a link if it is a rule file's."""
        file = name.partition(".")[0]
        if find_spec(f"refopt.rules.{file}" if file.isidentifier() else "refopt.none"):
            return nodes.reference("", "", nodes.literal("", name), refuri=f"{self.root}rules/{file}.html")
        return nodes.literal("", name)

    @property
    def root(self) -> str:
        """The way from this page to the top of the site."""
        return "../" * self.state.document.settings.env.docname.count("/")


def equations(module: ModuleType) -> set[str]:
    """Return the numbers of the equations that a module's docstring displays."""
    return {match[2] for line in (module.__doc__ or "").splitlines() if (match := DISPLAYED.match(line))}


def tags(module: ModuleType) -> set[str]:
    """Return the numbers of the equations that lines of a module's code say they compute."""
    comments = re.findall(r"  # (.*)$", inspect.getsource(module), re.MULTILINE)
    return {number for comment in comments for number in re.findall(r"\((\d+)\)", comment)}


def indexed(text: str) -> Iterator[nodes.Node]:
    """Yield the parts of a text: what stands behind α_ or x_{...} is an index."""
    at = 0
    for match in INDEX.finditer(text):
        base, *indices = filter(None, match.groups())
        yield nodes.Text(text[at : match.start()] + base)
        yield nodes.subscript("", *indices)
        at = match.end()
    yield nodes.Text(text[at:])


class RulePage(Page):
    """The docstring of a rule file, section by section, beside its code."""

    def made(self, module):
        text, code = nodes.container(classes=["derivation"]), nodes.container(classes=["listing"])
        for heading, body in sections(module.__doc__ or ""):
            if heading:
                text += nodes.rubric("", heading)
            for part in body:
                text += self.paragraph(part)
        code += nodes.raw("", listing(module), format="html")
        yield nodes.container("", text, code, classes=["side-by-side"])


class Differs(Page):
    """The section of a rule file on its paper and its authors' code; of a file without one, each class' docstring."""

    def made(self, module):
        name = module.__name__.rpartition(".")[2]
        found = {heading: body for heading, body in sections(module.__doc__ or "") if heading.startswith("Differs")}
        for body in found.values():
            yield from (self.paragraph(part, f"{self.root}rules/{name}.html") for part in body)
        if not found:
            for kind in classes(module):
                yield nodes.rubric("", kind.__name__)
                yield from (self.paragraph(p, f"{self.root}rules/{name}.html") for p in paragraphs(doc_lines(kind)))


class Members(Page):
    """The public classes and functions of a module, each with its signature and its docstring as it stands."""

    def made(self, module):
        yield nodes.literal_block("", inspect.getdoc(module), language="text", classes=["docstring"])
        for name, member in vars(module).items():
            if name.startswith("_") or getattr(member, "__module__", "") != module.__name__ or not member.__doc__:
                continue
            if not (inspect.isclass(member) or inspect.isfunction(member)):
                continue
            section = nodes.section("", nodes.title("", name), ids=[name], names=[name])
            section += nodes.literal_block("", f"{name}{signature(member)}", language="python")
            section += nodes.literal_block("", inspect.getdoc(member), language="text", classes=["docstring"])
            yield section


def classes(module: ModuleType) -> list[type]:
    """Return the classes a module defines, in their order."""
    return [c for c in vars(module).values() if inspect.isclass(c) and c.__module__ == module.__name__]


def doc_lines(member: Any) -> list[str]:
    """Return the lines of a docstring."""
    return (inspect.getdoc(member) or "").splitlines()


def signature(member: Any) -> str:
    """Return the parameters of a function, or of a class' constructor, as its source has them."""
    tree = ast.parse(inspect.cleandoc("\n" + inspect.getsource(member))).body[0]
    assert isinstance(tree, ast.FunctionDef | ast.ClassDef)
    own = {part.name: part for part in tree.body if isinstance(part, ast.FunctionDef)}
    call = tree if isinstance(tree, ast.FunctionDef) else own.get("__init__")
    if call is None:  # a table of fields, or a class that adds nothing to its base's constructor
        parts = [ast.unparse(part) for part in tree.body if isinstance(part, ast.AnnAssign)]
    else:
        call.args.args = [arg for arg in call.args.args if arg.arg != "self"]
        parts = re.split(r", (?=\*{0,2}\w+(?:[:=]|$)|\*(?:,|$))", ast.unparse(call.args))
    whole = ", ".join(parts)
    return f"({whole})" if len(whole) < 70 else "(\n    " + ",\n    ".join(parts) + ",\n)"


def listing(module: ModuleType) -> str:
    """Return the code below a module's docstring as HTML; a number in a comment is a link to its equation."""
    source, known = inspect.getsource(module), equations(module)
    first = ast.parse(source).body[0].end_lineno or 0
    code = source.split("\n", first)[first].strip("\n")
    lines = highlight(code, PythonLexer(), HtmlFormatter(nowrap=True)).splitlines()
    offset, seen, rows = source[: source.index(code)].count("\n"), set[str](), list[str]()
    for k, line in enumerate(lines, start=1 + offset):

        def link(match: re.Match) -> str:
            number = match[1]
            if number not in known:
                return match[0]
            anchor = "" if number in seen else f' id="code-{number}"'
            seen.add(number)
            return f'<a{anchor} href="#eq-{number}">({number})</a>'

        comment = re.search(r'(<span class="c1">)(.*?)(</span>)', line)
        if comment:
            line = line.replace(comment[2], re.sub(r"\((\d+)\)", link, comment[2]))  # noqa: PLW2901
        rows.append(f'<span class="line" id="line-{k}">{line or " "}</span>')
    return f'<div class="highlight"><pre>{"".join(row + chr(10) for row in rows)}</pre></div>'


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx."""
    for name, directive in (("rule", RulePage), ("differs", Differs), ("members", Members)):
        app.add_directive(name, directive)
    return {"parallel_read_safe": True}
