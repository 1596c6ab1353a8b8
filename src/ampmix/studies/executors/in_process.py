"""Runs in this process, one after the other: for debugging, and where processes cannot be had."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import torch

from ampmix.errors import TooLong
from ampmix.studies.executors.base import Ended, OnStep, Task, do, next_block
from ampmix.studies.plan import Plan


class InProcess:
    """An :class:`ampmix.studies.executors.Executor` without other processes; one thread, as they
    have.

    Args:
        plans: what tasks are of.
        models: where models are put; None to keep none.
        on_step: told of every step.
        replicas: by plan, how many seeds of a policy train at once; nothing for one.
        time_limit: seconds that a run may take, asked between steps; None for any.
    """

    def __init__(
        self,
        plans: Sequence[Plan],
        models: Path | None,
        on_step: OnStep,
        replicas: Sequence[int] = (),
        time_limit: float | None = None,
    ) -> None:
        self._plans, self._models, self._on_step = plans, models, on_step
        self._replicas, self._limit = replicas, time_limit
        self._waiting: list[Task] = []
        self._threads = torch.get_num_threads()
        torch.set_num_threads(1)

    @property
    def slots(self) -> int:
        """Number of tasks: one, or as many as can train side by side."""
        return max(self._replicas, default=1)

    def start(self, task: Task) -> None:
        """Remember a task; :meth:`poll` does it."""
        self._waiting.append(task)

    def poll(self, timeout: float) -> list[Ended]:
        """Do the first task, and what can be done with it, however long it takes."""
        if not self._waiting:
            return []
        block = next_block(self._plans, self._waiting, self._replicas)
        self._waiting = [task for task in self._waiting if task not in block]
        started = time.monotonic()

        def on_step(task: Task, step: int) -> None:
            if self._limit is not None and time.monotonic() - started > self._limit:
                raise TooLong.than(self._limit)
            self._on_step(task, step)

        return do(self._plans, block, self._models, on_step)

    def close(self) -> None:
        """Give the process its threads back."""
        torch.set_num_threads(self._threads)
