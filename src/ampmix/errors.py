"""The one exception that ampmix raises for what a user can mend."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class AmpmixError(Exception):
    """What was wrong with the input, in one sentence with the value and the way out.

    The command line prints the sentence and exits with code 2; ``--debug`` adds the traceback.
    """


def unknown(kind: str, name: str, choices: Iterable[str]) -> AmpmixError:
    """An error for a name that is not among `choices`, with near names first.

    >>> str(unknown("policy", "mixip", ["none", "mixup", "amp"]))
    "unknown policy 'mixip': did you mean mixup? There are none, mixup, amp"
    """
    names = list(choices)
    near = difflib.get_close_matches(name, names, n=2, cutoff=0.6)
    hint = f"did you mean {' or '.join(near)}? There are" if near else "there are"
    return AmpmixError(f"unknown {kind} {name!r}: {hint} {', '.join(names) or 'none'}")
