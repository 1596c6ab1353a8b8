"""Sentiment trees in the Penn Treebank's brackets: ``(3 (2 A) (3 (3 good) (2 film)))``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from ampmix.errors import AmpmixError

_PIECE = re.compile(r"[()]|[^() ]+")  # a word may hold other blanks: "2\xa01/2" is one of them
_ESCAPED = {"-LRB-": "(", "-RRB-": ")"}


class Phrase(NamedTuple):
    """A node of a tree: its label and the words below it, joined by blanks."""

    label: int
    text: str


def read_trees(content: str, source: str) -> Iterator[list[Phrase]]:
    r"""The phrases of each tree, one a line: a node after its children, the whole sentence last.

    Labels are digits from 0 to 4. What the Treebank escapes is written as it was in the review:
    brackets (``-LRB-``), the slash and the asterisk (``\/``, ``\*``). Lines end at the line feed.

    Raises AmpmixError, with `source` and the line, for what is no tree.

    >>> [list(map(tuple, tree)) for tree in read_trees("(3 (2 A) (3 film))", "a file")]
    [[(2, 'A'), (3, 'film'), (3, 'A film')]]
    """
    for number, line in enumerate(content.removesuffix("\n").split("\n"), start=1):
        try:
            yield _phrases(_PIECE.findall(line.removesuffix("\r")))
        except ValueError as error:
            raise AmpmixError(
                f"{source} is no file of labelled trees: line {number} {error}; a tree reads "
                "(3 (2 A) (3 film))"
            ) from None


def _phrases(pieces: list[str]) -> list[Phrase]:
    """One tree, with a stack of open nodes: label, first word, what it holds so far."""
    phrases: list[Phrase] = []
    words: list[str] = []
    stack: list[tuple[int, int]] = []
    remaining = iter(pieces)
    before = ""
    for piece in remaining:
        if piece == "(":
            if phrases and not stack:
                raise ValueError("holds a second tree")
            label = next(remaining, "nothing")
            if label not in ("0", "1", "2", "3", "4"):
                raise ValueError(f"has the label {label!r}, which is none of 0 to 4")
            if before == "word":
                raise ValueError("has a node beside a word")
            stack.append((int(label), len(words)))
            before = "open"
        elif not stack:
            raise ValueError(f"has {piece!r} outside its brackets")
        elif piece == ")":
            label_, first = stack.pop()
            if first == len(words):
                raise ValueError("has a node without words")
            phrases.append(Phrase(label_, " ".join(words[first:])))
            before = "close"
        else:
            if before != "open":
                raise ValueError(f"has the word {piece!r} where a node or a bracket must be")
            word = _ESCAPED.get(piece, piece)
            words.append(word.replace("\\/", "/").replace("\\*", "*"))
            before = "word"
    if stack or not phrases:
        raise ValueError(f"lacks {len(stack)} closing brackets" if stack else "is empty")
    return phrases
