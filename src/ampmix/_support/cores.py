"""Count the cores that may be used, and use one where more would be slower."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from typing import Any


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def one_blas_thread() -> AbstractContextManager[Any]:
    """Let NumPy and SciPy multiply on one thread within a ``with`` block.

    A solver's products are small: of logistic regression on a frozen encoder's features two threads
    take three to five times as long as one. PyTorch's threads stay as they are.
    """
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[Any] = threadpool_limits(1, user_api="blas")
    return limits
