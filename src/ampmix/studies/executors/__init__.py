"""Executors do runs: in this process, in worker processes, or on a Ray cluster.

An executor is handed one task at a time and asked now and then what has ended; the loop around it
is :func:`ampmix.studies.executors.loop.drive`, the same for all.
"""

from __future__ import annotations

from ampmix.studies.executors.base import Ended, Executor, OnStep, Task, in_blocks
from ampmix.studies.executors.in_process import InProcess
from ampmix.studies.executors.loop import drive
from ampmix.studies.executors.pool import WORKER_ENVIRONMENT, Pool

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
