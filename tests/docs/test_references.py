"""Every import and every dotted name of ampmix that stands in a text leads somewhere.

Scripts that tests start, examples in documents and cross-references in docstrings are strings: no
type checker looks at them, and a moved module would break them in silence.
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("src", "tests", "docs", "benchmarks", "fuzz", "torture", "examples")
FILES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *(
        path
        for folder in FOLDERS
        for kind in ("*.py", "*.md")
        for path in (ROOT / folder).rglob(kind)
    ),
]
IMPORT = re.compile(r"from (ampmix[\w.]*) import (\([^)]*\)|[\w, ]+)")
NAME = re.compile(r"(?<![\w./-])ampmix(?:\.[A-Za-z_]\w*)+")
NOWHERE = {"ampmix.X", "ampmix.x", "ampmix.nothing", "ampmix.mixing.nothing_like_this"} | {
    "ampmix.policies._policy.Policy"
}
"""Names that stand for any, or for one that is not there."""


def leads_somewhere(name: str) -> bool:
    """True if a dotted name is a module, or an attribute of one that is reached by attributes."""
    found = importlib.import_module("ampmix")
    parts = name.split(".")
    for count, part in enumerate(parts[1:], 2):
        try:
            found = getattr(found, part)
        except AttributeError:
            try:
                found = importlib.import_module(".".join(parts[:count]))
            except ImportError:
                return False
    return True


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_names_of_ampmix_lead_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    names = set(NAME.findall(text))
    for module, imported in IMPORT.findall(text):
        plain = re.sub(r"#.*| as \w+", "", imported).strip("()")
        names |= {f"{module}.{name}" for name in re.split(r"[,\s]+", plain) if name}
    assert not [name for name in sorted(names - NOWHERE) if not leads_somewhere(name)]


def test_a_name_that_is_gone_is_found() -> None:
    assert not leads_somewhere("ampmix.policies._policy.Policy")
    assert leads_somewhere("ampmix.policies.base.Policy")


PATH = re.compile(
    r"(?<![\w/.-])((?:src|tests|docs|benchmarks|fuzz|torture|examples|paper)/[\w/.-]*\w)"
)


@pytest.mark.parametrize(
    "path",
    [path for path in FILES if path.suffix == ".md"],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_paths_in_documents_exist(path: Path) -> None:
    named = set(PATH.findall(path.read_text(encoding="utf-8")))
    assert not [name for name in sorted(named) if not (ROOT / name).exists()]
