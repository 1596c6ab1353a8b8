"""What PyTorch does not promise is named in one folder, and this version of it has all of that."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from pkgutil import resolve_name

import pytest

import ampmix
from ampmix._torch.private_names import PRIVATE_NAMES

PACKAGE = Path(ampmix.__file__).parent
OWN = PACKAGE / "_torch"
TABLE = OWN / "private_names.py"
NAME = re.compile(r"torch(\.\w+)+")


def is_private(name: str) -> bool:
    """Return True if a dotted name is torch's and has a part with one leading underscore."""
    return bool(NAME.fullmatch(name)) and any(
        part.startswith("_") and not part.startswith("__") for part in name.split(".")
    )


class Names(ast.NodeVisitor):
    """Collects torch's private names: imported, as attributes, asked for by getattr, in strings."""

    def __init__(self, source: str) -> None:
        self.found: set[str] = set()
        self.known: dict[str, str] = {}
        tree = ast.parse(source)
        for node in ast.walk(tree):  # imports may come after what uses them
            if isinstance(node, ast.Import):
                for alias in node.names:
                    root = alias.name.split(".")[0]
                    self.known[alias.asname or root] = alias.name if alias.asname else root
                    self.found.add(alias.name)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                for alias in node.names:
                    whole = f"{node.module}.{alias.name}"
                    self.known[alias.asname or alias.name] = whole
                    self.found.add(whole)
        self.visit(tree)
        self.found = set(filter(is_private, self.found))

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if name := self.named(node):
            self.found.add(name)
        else:
            self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        called = getattr(node.func, "id", "")
        if called in ("getattr", "hasattr") and isinstance(node.args[1], ast.Constant):
            self.found.add(f"{self.named(node.args[0])}.{node.args[1].value}")
        else:
            self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        self.found.add(str(node.value))

    def named(self, node: ast.AST) -> str:
        """The dotted name of a chain of attributes of something imported, "" of anything else."""
        if isinstance(node, ast.Name):
            return self.known.get(node.id, "")
        if isinstance(node, ast.Attribute) and (holder := self.named(node.value)):
            return f"{holder}.{node.attr}"
        return ""


def modules() -> Iterator[Path]:
    return (path for path in PACKAGE.rglob("*.py") if path != TABLE)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import torch\nx = torch._C._one(torch.nn.__name__, torch.nn.Linear.forward)", "_C._one"),
        ("def f():\n    return d._two\nfrom torch import distributed as d", "distributed._two"),
        ("from torch._inner import three", "_inner.three"),
        ("import torch._four as four", "_four"),
        ("import torch\ngetattr(torch.ops, '_five', None)", "ops._five"),
        ("names = ('torch._six', 'see torch._seven, which', 'nontorch._eight')", "_six"),
    ],
)
def test_the_scan_finds_them(source: str, found: str) -> None:
    assert Names(source).found == {f"torch.{found}"}


def test_no_other_folder_names_any() -> None:
    found = {
        path.relative_to(PACKAGE): names
        for path in modules()
        if not path.is_relative_to(OWN) and (names := Names(path.read_text()).found)
    }
    assert not found


def test_the_table_lists_those_of_this_folder() -> None:
    found = set().union(*(Names(p.read_text()).found for p in modules() if p.is_relative_to(OWN)))
    assert found == set(PRIVATE_NAMES)


@pytest.mark.parametrize("name", PRIVATE_NAMES)
def test_this_version_of_torch_has_it_or_does_without(name: str) -> None:
    instead = PRIVATE_NAMES[name][1]
    try:
        resolve_name(name)
    except (ImportError, AttributeError):
        assert instead, f"{name} is gone, and nothing stands in for it"
