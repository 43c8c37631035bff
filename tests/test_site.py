"""The book as a site: it builds without a warning, loads nothing from elsewhere, and works in a browser."""

import functools
import http.server
import re
import subprocess
import sys
import threading
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.needs("sphinx", "chromium")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    out = tmp_path_factory.mktemp("book") / "site"
    command = [sys.executable, "-m", "nets.cli", "book", "--quick", "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture
def server(site):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=site)) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{served.server_port}/"
        served.shutdown()


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


def test_links_resolve_and_nothing_comes_from_elsewhere(site):
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


def test_every_equation_of_a_rule_links_to_its_line_and_back(site):
    page = pages(site)["rules/polyak.html"]
    for number in (3, 4, 5):
        assert {f"eq-{number}", f"code-{number}"} <= page.ids
        assert {f"#eq-{number}", f"#code-{number}"} <= page.links


def browse(url, *options):
    """Return the page as a browser has it after its scripts have run, and what it wrote to its console."""
    command = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", *options]
    done = subprocess.run(
        [*command, "--virtual-time-budget=10000", "--dump-dom", url], capture_output=True, text=True, check=True
    )
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def test_pages_load_in_a_browser_without_a_word_on_its_console(site, server):
    names = ["index.html", "findings.html", "rules/index.html", "rules/adasecant.html", "api/nets.conv.html"]
    names += sorted(f"chapters/{path.name}" for path in (site / "chapters").glob("*.html"))
    for name in names:
        dom, console = browse(server + name)
        assert console == [], name
        if name.startswith("chapters/"):
            assert dom.count("<mjx-container") > 20, "formulas are set"


def test_the_search_finds_barzilai(server):
    dom, console = browse(server + "search.html?q=Barzilai")
    assert console == []
    assert "rules/barzilai_borwein.html" in dom.split('id="search-results"')[1]
