"""What several commands need."""

from __future__ import annotations

import os

INTERRUPTED = 130


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
