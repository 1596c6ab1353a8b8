"""What several commands need."""

from __future__ import annotations

import os

INTERRUPTED = 130


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
