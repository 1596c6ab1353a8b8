"""Where runs happen: in this process, in worker processes, or on a Ray cluster.

An executor is handed one task at a time and asked now and then what has ended; the loop around it
is :func:`ampmix.executor.drive.drive`, the same for all.
"""

from __future__ import annotations

from ampmix.executor._executor import Ended, Executor, OnStep, Task, in_blocks
from ampmix.executor.drive import drive
from ampmix.executor.in_process import InProcess
from ampmix.executor.pool import WORKER_ENVIRONMENT, Pool

__all__ = [
    "WORKER_ENVIRONMENT",
    "Ended",
    "Executor",
    "InProcess",
    "OnStep",
    "Pool",
    "Task",
    "drive",
    "in_blocks",
]
