"""The site builds strictly, its links lead somewhere, and it fetches nothing from elsewhere."""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import cache, partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import ampmix
from ampmix.cli.main import build_parser
from browser import chromium, errors_of, requests_of

ROOT = Path(__file__).parents[2]
EXTRAS = ("MixupTrainer", "MixupTrainerMixin", "MixupCallback")
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    for package in ("mkdocs-material", "mkdocstrings-python", "jinja2"):
        try:
            importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            pytest.skip(f"{package} is not installed (extra docs)")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


class Parsed(HTMLParser):
    """Names that a page has, and what it links to and fetches."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.names |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag == "link" and given.get("rel") not in ("canonical", "prev", "next"):
            self.fetched.append(given["href"])
        elif "src" in given:
            self.fetched.append(given["src"])


@cache
def parsed(page: Path) -> Parsed:
    return Parsed(page.read_text(encoding="utf-8"))


def test_every_link_and_picture_is_there(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 50
    lost, followed = [], 0
    for page in pages:
        if page.name == "404.html":
            continue
        for link in [*parsed(page).links, *parsed(page).fetched]:
            address = urlsplit(link)
            if address.scheme or link.startswith("data:"):
                continue
            target = (page.parent / unquote(address.path)).resolve() if address.path else page
            target = target / "index.html" if target.is_dir() else target
            followed += 1
            found = target.is_file() and target.is_relative_to(site.resolve())
            if found and address.fragment and target.suffix == ".html":
                found = unquote(address.fragment) in parsed(target).names
            if not found:
                lost.append((str(page.relative_to(site)), link))
    assert lost == [] and followed > 1000


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    asked = {one for page in site.rglob("*.html") for one in parsed(page).fetched}
    assert asked and not [one for one in asked if re.match(r"[a-z]+:|//", one)]


def test_every_public_name_has_its_docstring(site: Path) -> None:
    names = {f"ampmix.{name}" for name in (*ampmix.__all__, *EXTRAS)}
    names |= {f"ampmix.statistics.{name}" for name in ampmix.statistics.__all__}
    documented = {name for page in (site / "api").glob("*.html") for name in parsed(page).names}
    assert names <= documented, names - documented
    text = "".join(page.read_text(encoding="utf-8") for page in (site / "api").glob("*.html"))
    assert not re.search(r":(class|func|meth|data|mod):", text)


def test_every_example_and_command_is_shown(site: Path) -> None:
    for path in EXAMPLES:
        shown = (site / "gallery" / f"{path.stem}.html").read_text(encoding="utf-8")
        assert "It prints:" in shown and path.name in shown
    (action,) = (a for a in build_parser()._actions if a.dest == "command")
    assert set(action.choices or {}) <= parsed(site / "commands.html").names


def test_search_finds_what_is_made(site: Path) -> None:
    index = json.loads((site / "search/search_index.json").read_text(encoding="utf-8"))
    places = {doc["location"].partition("#")[0] for doc in index["docs"]}
    assert {"index.html", "leaderboard.html", "api/train.html", "gallery/own_loss.html"} <= places


@pytest.fixture
def address(site: Path) -> Iterator[str]:
    """Where the site is served: its search wants more than files."""
    handler = partial(Silent, directory=str(site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, *told: object) -> None:
        """Say nothing."""


@pytest.mark.parametrize("width", [1280, 768, 400])
def test_pages_fit_and_are_silent(address: str, width: int, tmp_path: Path) -> None:
    with chromium(tmp_path, width, dark=width == 768) as browser:
        for name in ("index", "csv", "leaderboard", "api/train", "gallery/own_loss", "policies"):
            browser.get(f"{address}/{name}.html")
            assert errors_of(browser) == [], name
            wide = "return document.documentElement.scrollWidth > innerWidth"
            assert not browser.execute_script(wide), name
        browser.get(f"{address}/leaderboard.html")
        assert browser.find_element("css selector", ".board-count").text.endswith(" effects")
        asked = [url for url in requests_of(browser) if url.startswith("http")]
        assert asked and all(url.startswith(address) for url in asked)
