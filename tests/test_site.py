"""The book as a site: it builds without a warning, loads nothing from elsewhere, and works in a browser."""

import functools
import http.server
import re
import subprocess
import sys
import threading
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.needs("sphinx", "chromium")


@contextmanager
def served(site):
    """Serve a folder over HTTP, and yield its address."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=site)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


class Links(HTMLParser):
    """What a page refers to, what it loads, and what can be referred to in it."""

    def __init__(self, text):
        super().__init__()
        self.links, self.loads, self.ids = set(), set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.ids |= {values[key] for key in ("id", "name") if values.get(key)}
        if tag == "a" and values.get("href"):
            self.links.add(values["href"])
        elif tag in ("script", "img", "link", "iframe", "source") and values.get("rel") != "canonical":
            self.loads |= {values[key] for key in ("src", "href") if values.get(key)}


def pages(site):
    return {path.relative_to(site).as_posix(): Links(path.read_text()) for path in site.rglob("*.html")}


def check_links(site):
    """They resolve, and nothing is loaded from elsewhere."""
    read, checked = pages(site), 0
    for name, page in read.items():
        assert not [url for url in page.loads if re.match(r"(https?:)?//", url)], name
        for url in page.links | page.loads:
            if re.match(r"[a-z]+:", url):
                continue
            target, fragment = urldefrag(urljoin(f"/{name}", url.partition("?")[0] if "?" in url else url))
            path = unquote(target).lstrip("/")
            assert (site / path).exists(), (name, url)
            if fragment and path in read:
                assert unquote(fragment) in read[path].ids, (name, url)
            checked += 1
    assert len(read) > 40
    assert checked > 1000


def check_equations(site):
    """Each links to its line, and back."""
    page = pages(site)["rules/polyak.html"]
    for number in (3, 4, 5):
        assert {f"eq-{number}", f"code-{number}"} <= page.ids
        assert {f"#eq-{number}", f"#code-{number}"} <= page.links


def check_the_walk(site):
    """From a chapter to the line of the rule it shows, its derivation, its theorem's test, and back to the chapter."""
    read = pages(site)
    chapter, rule = "chapters/05_learning_the_step.html", "rules/trainable_rate.html"
    assert "rules/index.html" in read["index.html"].links
    assert "trainable_rate.html" in read["rules/index.html"].links
    assert {"../tests/test_trainable_rate.html", f"../{chapter}", "#eq-7", "#code-7"} <= read[rule].links
    shown = {link.partition("#line-")[0] for link in read[chapter].links if "#line-" in link}
    assert shown == {"../rules/hypergradient.html", f"../{rule}"}


def browse(url, *options):
    """Return the page as a browser has it after its scripts have run, and what it wrote to its console."""
    command = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", *options]
    done = subprocess.run(
        [*command, "--virtual-time-budget=10000", "--dump-dom", url], capture_output=True, text=True, check=True
    )
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def check_in_a_browser(site, address):
    """Pages load without a word on the console, formulas are set, and the search finds Barzilai."""
    names = ["index.html", "findings.html", "rules/index.html", "rules/adasecant.html", "api/nets.conv.html"]
    names += sorted(f"chapters/{path.name}" for path in (site / "chapters").glob("*.html"))
    for name in names:
        dom, console = browse(address + name)
        assert console == [], name
        if name.startswith("chapters/"):
            assert dom.count("<mjx-container") > 20, name
    dom, console = browse(address + "search.html?q=Barzilai")
    assert console == []
    assert "rules/barzilai_borwein.html" in dom.split('id="search-results"')[1]


def test_the_book_is_built_and_works_in_a_browser(tmp_path):
    """One test, as building takes a while."""
    site = tmp_path / "book"
    command = [sys.executable, "-m", "nets.cli", "book", "--quick", "--out", str(site)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    check_links(site)
    check_equations(site)
    check_the_walk(site)
    with served(site) as address:
        check_in_a_browser(site, address)
