"""Pages of the site that are made when it is built, and links that lead out of docs/.

MkDocs calls the functions whose names begin with ``on_``. A page knows where its text lies in the
repository; a link in it to a file that is no page of docs/ goes to the page made of that file, or
to a copy of it.
"""

from __future__ import annotations

import posixpath
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path.insert(0, str(HERE))

import made_pages  # noqa: E402

PAGES = {  # files elsewhere that are pages here
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "benchmarks/README.md": "benchmarks/README.md",
    "benchmarks/RESULTS.md": "benchmarks/RESULTS.md",
    "paper/results/README.md": "results.md",
}
LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#|/)([^)#\s]+)(#[^)\s]*)?(?=\))")
CODE = re.compile(r"```.*?```", re.DOTALL)


def on_config(config: Any) -> Any:
    """Put the pages of a folder where the navigation names the folder."""
    config.nav = _unfolded(config.nav)
    return config


def _unfolded(part: Any) -> Any:
    if isinstance(part, list):
        return [_unfolded(one) for one in part]
    if isinstance(part, dict):
        return {title: _unfolded(own) for title, own in part.items()}
    return made_pages.pages_in(part) if part.endswith("/") else part


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are made, those whose text lies elsewhere, and what these link to."""
    texts = {uri: (ROOT / place).read_text(encoding="utf-8") for place, uri in PAGES.items()}
    texts |= made_pages.all_pages()
    for uri, text in texts.items():
        files.append(File.generated(config, uri, content=text))
    own = {f"docs/{file.src_uri}": file.src_uri for file in files if file.src_uri not in texts}
    places = own | PAGES | {f"docs/{uri}": uri for uri in texts} | made_pages.PLACES
    config.extra["places"] = places
    for path in (*made_pages.EXAMPLES, *made_pages.NOTEBOOKS):
        uri = f"repository/examples/{path.name}"
        files.append(File.generated(config, uri, abs_src_path=str(path)))
    pages = [file for file in files if file.is_documentation_page()]
    for file in pages:
        for target in _targets(file.content_string, _place_of(file.src_uri)):
            if target not in places and (ROOT / target).is_file():
                places[target] = f"repository/{target}"
                copy = File.generated(config, places[target], abs_src_path=str(ROOT / target))
                files.append(copy)
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Let links lead to where their files are on the site."""
    place, uri = _place_of(page.file.src_uri), page.file.src_uri
    places = config.extra["places"]

    def moved(match: re.Match[str]) -> str:
        found = places.get(_resolved(place, match[1]))
        if found is None:
            return match[0]
        return posixpath.relpath(found, posixpath.dirname(uri) or ".") + (match[2] or "")

    return LINK.sub(moved, made_pages.filled(uri, markdown))


def _targets(text: str, place: str) -> Iterator[str]:
    for match in LINK.finditer(CODE.sub("", text)):
        yield _resolved(place, match[1])


def _place_of(uri: str) -> str:
    """Path of a page's text in the repository."""
    return next((place for place, own in PAGES.items() if own == uri), f"docs/{uri}")


def _resolved(place: str, target: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(place), target))
