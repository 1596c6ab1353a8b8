"""The one exception that ampmix raises for what a user can mend."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable

LONGEST = 10_000  # characters of a message: input that is quoted must not flood a terminal
BIDIRECTIONAL = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


class AmpmixError(Exception):
    """A user's mistake, in one sentence with the value and the way out.

    The command line prints the sentence and exits with code 2; ``--debug`` adds the traceback. A
    message longer than ``LONGEST`` loses its middle.
    """

    def __init__(self, *arguments: object) -> None:
        if arguments and len(message := str(arguments[0])) > LONGEST:
            half = LONGEST // 2 - 50
            left_out = f" … ({len(message) - 2 * half:,} characters left out) … "
            arguments = (message[:half] + left_out + message[-half:], *arguments[1:])
        super().__init__(*arguments)


def printable(text: str, lines: bool = True) -> str:
    r"""Spell control characters, so that none commands a terminal or turns a line around.

    These are Unicode's controls, line and paragraph separators, lone surrogates and bidirectional
    overrides. Joiners stay, which scripts and emoji need.

    Args:
        text: any text, such as a class's name.
        lines: leave line ends and tabs as they are.

    >>> printable("a\x1b[31mb"), printable("a\nb", lines=False)
    ('a\\x1b[31mb', 'a\\nb')
    """
    kept = "\n\t" if lines else ""
    return "".join(c if c in kept or not _controls(c) else repr(c)[1:-1] for c in text)


def _controls(c: str) -> bool:
    """Return True for a character that acts instead of being shown."""
    return unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"} or c in BIDIRECTIONAL


class TooLong(AmpmixError):
    """A run took longer than its time limit, and was ended."""

    @classmethod
    def than(cls, limit: float) -> TooLong:
        """With how long that was, in seconds."""
        return cls(f"it took longer than {limit:g} s, the --time-limit")


def out_of_memory(error: BaseException) -> bool:
    """Return True for errors of Python, PyTorch or a GPU that say memory ran out.

    >>> out_of_memory(RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"))
    True
    """
    if isinstance(error, MemoryError):
        return True
    told = str(error)
    return isinstance(error, RuntimeError) and (
        "can't allocate memory" in told or "out of memory" in told
    )


def unknown(kind: str, name: str, choices: Iterable[str]) -> AmpmixError:
    """An error for a name that is not among `choices`, with near names first.

    >>> str(unknown("policy", "mixip", ["none", "mixup", "amp"]))
    "unknown policy 'mixip': did you mean mixup? There are none, mixup, amp"
    """
    names, name = list(choices), name if len(name) <= 80 else f"{name[:80]}…"
    near = difflib.get_close_matches(name, names, n=2, cutoff=0.6)
    hint = f"did you mean {' or '.join(near)}? There are" if near else "there are"
    return AmpmixError(f"unknown {kind} {name!r}: {hint} {', '.join(names) or 'none'}")
