"""A chapter, run and written down: its text, its code, and what each cell printed, drew or showed, as one page.

    python weave.py CHAPTER.py FOLDER

Cells are run one after the other in one namespace, as the script would run. What a cell hands to `pages.show`,
`pages.save` and `pages.animate` is taken down beside what it prints, in order. Code that draws, and imports, are folded
away.
"""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any

FENCE = "`" * 4
RULE = re.compile(r"refopt/rules/(\w+)\.py, line (\d+)")  # a place in a file that has a page of its own


def cells(chapter: Path) -> Iterator[tuple[bool, int, str]]:
    """Yield (whether it is text, the number of lines above it, its lines) for each cell of a percent script."""
    marks = [*re.finditer(r"^# %%(.*)\n", source := chapter.read_text(), re.MULTILINE)]
    ends = [mark.start() for mark in marks[1:]] + [len(source)]
    for mark, end in zip(marks, ends, strict=True):
        yield "[markdown]" in mark[1], source.count("\n", 0, mark.end()), source[mark.end() : end]


def text(body: str) -> str:
    """Return the Markdown of a text cell: a docstring, or lines behind `# `."""
    if body.startswith('"""'):
        return body.strip().strip('"').strip()
    return re.sub(r"^# ?", "", body, flags=re.MULTILINE)


class Notes(io.StringIO):
    """What a chapter puts out, as Markdown: what is printed is gathered until something else comes."""

    def __init__(self, figures: Path):
        super().__init__()
        self.figures, self.page = figures, list[str]()

    def block(self, language: str, body: str, title: str = "") -> None:
        """Add a listing."""
        caption = f"\n:caption: {title}" if title else ""
        self.page.append(f"{FENCE}{{code-block}} {language}{caption}\n{body.rstrip()}\n{FENCE}\n")

    def flush_text(self) -> None:
        """Add what has been printed."""
        if printed := self.getvalue().strip("\n"):
            self.block("text", printed)
        self.seek(0)
        self.truncate()

    def listen(self, pages: ModuleType) -> None:
        """Take down what goes through the functions of `pages`, too."""
        show, save, animate = pages.show, pages.save, pages.animate

        def shown(*objects: Any) -> None:
            self.flush_text()
            show(*objects)
            listings = re.split(r"^# (\S+\.py, line \d+)\n", self.getvalue(), flags=re.MULTILINE)
            self.seek(0)
            self.truncate()
            for place, body in zip(listings[1::2], listings[2::2], strict=True):
                self.block("python", body, RULE.sub(r'<a href="../rules/\1.html#line-\2">\g<0></a>', place))

        def drawn(draw: Any, suffix: str, name: str, caption: str) -> None:
            self.flush_text()
            with redirect_stdout(None):
                draw()
            self.page.append(f"{FENCE}{{figure}} {name}{suffix}\n:alt: {caption}\n\n{caption}\n{FENCE}\n")

        pages.show = shown
        pages.save = lambda fig, name, caption: drawn(lambda: save(fig, name, caption), ".png", name, caption)
        pages.animate = lambda fig, draw, frames, name, caption, **more: drawn(
            lambda: animate(fig, draw, frames, name, caption, **more), ".gif", name, caption
        )


def weave(chapter: Path, folder: Path) -> None:
    """Run a chapter; write its page and its pictures into a folder."""
    os.environ["REFOPT_FIGURES"], os.environ["MPLBACKEND"] = str(folder), "agg"
    sys.path[:0] = [str(chapter.parent), str(chapter.parents[1])]
    import pages  # noqa: PLC0415  (of the chapters; it reads these settings)

    notes, names = Notes(folder), {"__name__": "__main__", "__file__": str(chapter)}
    notes.listen(pages)
    for is_text, above, body in cells(chapter):
        if is_text:
            notes.page.append(text(body))
            continue
        aside = re.search(r"^(import|from|save\(|animate\()", body, re.MULTILINE)
        notes.page.append("<details><summary>code</summary>\n" if aside else "")
        notes.block("python", body)
        notes.page.append("</details>\n" if aside else "")
        with redirect_stdout(notes):
            exec(compile("\n" * above + body, str(chapter), "exec"), names)
        notes.flush_text()
    (folder / f"{chapter.stem}.md").write_text("\n".join(notes.page))


if __name__ == "__main__":
    weave(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve())
