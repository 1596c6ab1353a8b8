"""The one exception that ampmix raises for what a user can mend."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

LONGEST = 10_000  # characters of a message: input that is quoted must not flood a terminal


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


def printable(text: str) -> str:
    r"""A text whose control characters are spelled, so that none of them commands a terminal.

    Line ends and tabs stay.

    >>> printable("a\x1b[31mb")
    'a\\x1b[31mb'
    """
    return "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in text)


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
