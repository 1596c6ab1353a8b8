"""Docstrings as the site shows them: examples in blocks, Sphinx's roles as the names they hold."""

from __future__ import annotations

import re
from typing import Any

import griffe

ROLE = re.compile(r":(?:class|func|meth|data|mod|attr|exc):`~?([^`]*)`")
EXAMPLE = re.compile(r"^>>> .*(?:\n.+)*", re.MULTILINE)
SKIPPED = re.compile(r"\s*# doctest: .*")


def shown(text: str) -> str:
    """The text of a docstring in Markdown.

    >>> shown("See :class:`ampmix.AMP`.")
    'See `ampmix.AMP`.'
    """
    text = ROLE.sub(r"`\1`", text)
    return EXAMPLE.sub(lambda found: f"```pycon\n{SKIPPED.sub('', found[0])}\n```", text)


class Docstrings(griffe.Extension):
    """Changes every docstring that is read."""

    def on_object(self, *, obj: Any, **others: Any) -> None:
        """Change that of an object."""
        if obj.docstring is not None:
            obj.docstring.value = shown(obj.docstring.value)
