"""Notes on runs that ended without a record, and how they tell nothing of whose machine it was."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ampmix.records import write_json

_PATH = re.compile(
    r"""(["'])(?:/|[A-Za-z]:[\\/])[^"'\n]*[\\/]([^"'/\\\n]*)\1"""  # quoted: with blanks too
    r"""|(?<![\w/:.~\\])(?:/|[A-Za-z]:[\\/])(?:[^\s"'/\\,;()\[\]]+[\\/])+"""
)


class Failures:
    """A folder with a file for each run that ended without a record, until it has one.

    Args:
        folder: where; made when it is needed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def note(
        self, identity: str, specification: Mapping[str, Any], error: str, trace: str = ""
    ) -> None:
        """Keep what a run ended with: a sentence, and where it was raised.

        Raises:
            OSError: if it cannot be written.
        """
        told = {"error": without_paths(error), "trace": without_paths(trace)}
        write_json(self.folder / f"{identity}.json", {"specification": specification, **told})

    def clear(self, identity: str) -> None:
        """The run has a record now."""
        (self.folder / f"{identity}.json").unlink(missing_ok=True)


def without_paths(text: str) -> str:
    """The text with files by what tells nothing of the machine.

    Modules are named from their package on, files in the current folder from there on, all else by
    the last part of its path.

    >>> without_paths("cannot read '/home/marie/my data/films.csv' or /srv/films.csv")
    "cannot read 'films.csv' or films.csv"
    >>> without_paths("cnn[vectors=/home/marie/glove.txt,tuned=false]")
    'cnn[vectors=glove.txt,tuned=false]'
    """
    inside = {entry for entry in sys.path if len(entry) > 1} | {str(Path.cwd())}
    inside |= {str(Path(entry).resolve()) for entry in inside}
    outside = {str(Path.home()), tempfile.gettempdir()}
    for place in sorted(inside | outside, key=len, reverse=True):
        for separator in "/\\":
            text = text.replace(place + separator, "" if place in inside else "/home/")
        text = text.replace(place, "…")
    return _PATH.sub(lambda found: f"{found[1] or ''}{found[2] or ''}{found[1] or ''}", text)
