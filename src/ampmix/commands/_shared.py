"""What several commands need."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

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


def cut(texts: int, length: str) -> str:
    """A note on texts that were cut to a length.

    >>> cut(1, "512 tokens")
    'note: 1 text was cut to 512 tokens'
    """
    return f"note: {texts} {'text was' if texts == 1 else 'texts were'} cut to {length}"


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
