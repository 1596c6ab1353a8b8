"""Print lines, notes and results the same way in all commands."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ampmix._support.wording import counted
from ampmix.errors import printable

if TYPE_CHECKING:
    from rich.console import Console

INTERRUPTED = 130


def consoles(rank: int = 0) -> tuple[Console, Console]:
    """Standard output and standard error; of several processes only the first writes."""
    from rich.console import Console

    silent = rank > 0
    return Console(highlight=False, quiet=silent), Console(
        stderr=True, highlight=False, quiet=silent
    )


def say(console: Console, message: str) -> None:
    """Print a message without markup; lines in a pipe are not broken."""
    console.print(printable(message), markup=False, soft_wrap=not console.is_terminal)


def note(message: str, messages: Console | None = None) -> None:
    """Print a note on standard error, or where `messages` writes to."""
    if messages is None:
        print(f"note: {printable(message)}", file=sys.stderr)
    else:
        say(messages, f"note: {message}")


def cut(texts: int, length: str) -> str:
    """A note on texts that were cut to a length.

    >>> cut(1, "512 tokens")
    '1 text was cut to 512 tokens'
    """
    return f"{counted(texts, 'text was', 'texts were')} cut to {length}"


def recorded(runs: int, out: Path) -> str:
    """Return the line that says all runs are recorded.

    >>> recorded(1, Path("out")), recorded(4, Path("out"))
    ('The 1 run is recorded in out', 'All 4 runs are recorded in out')
    """
    return (
        f"{'The' if runs == 1 else 'All'} {counted(runs, 'run is', 'runs are')} recorded in {out}"
    )


def interrupted(kept: int, runs: int, out: Path) -> str:
    """Return the line that says what an interruption has kept.

    >>> interrupted(0, 1, Path("out"))
    'Interrupted: 0 of 1 run is kept in out; the same command goes on from there.'
    """
    of_all = f"{kept} of {counted(runs, 'run is', 'runs are')}"
    return f"Interrupted: {of_all} kept in {out}; the same command goes on from there."
