"""Remove private paths from texts that leave the machine."""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

_PATH = re.compile(
    r"""(["'])(?:/|[A-Za-z]:[\\/])[^"'\n]*[\\/]([^"'/\\\n]*)\1"""  # quoted: with blanks too
    r"""|(?<![\w/:.~\\])(?:/|[A-Za-z]:[\\/])(?:[^\s"'/\\,;()\[\]]+[\\/])+"""
)


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


_FOLDERS = re.compile(
    r"""(?:^|(?<=[\s=("'\[,]))(?:[A-Za-z]:[\\/]|~?[\\/])(?:[^\s,;:'"\]\\/<>]+[\\/])+"""
)


def without_folders(text: str) -> str:
    """The text with absolute paths cut to their last name: a report says nothing of a machine.

    >>> without_folders("encoder[model=/home/me/bert] and 3/4")
    'encoder[model=bert] and 3/4'
    """
    return _FOLDERS.sub("", text)
