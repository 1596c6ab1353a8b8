"""First lines of docstrings begin with a noun or a verb: no riddles."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src/ampmix"
RIDDLES = ("What ", "Whether ", "Who ", "That ", "How ", "Where ", "Those ", "The same", "As :")
"""Openings that put off the subject. "Which kind of answer" is a data set's own task."""


def first_lines(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
            yield (ast.get_docstring(node) or "").partition("\n")[0]


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda p: p.stem)
def test_first_lines_have_a_subject(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert not [line for line in first_lines(source) if line.startswith(RIDDLES)]


def test_a_riddle_is_found() -> None:
    (line,) = [line for line in first_lines('def f():\n    """Whether it is so."""') if line]
    assert line.startswith(RIDDLES)
