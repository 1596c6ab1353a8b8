"""Runs in this process, one after the other: for debugging, and where processes cannot be had."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from ampmix.executor._executor import Ended, OnStep, Task
from ampmix.plan import Plan


class InProcess:
    """An :class:`ampmix.executor.Executor` without other processes; one thread, as they have.

    Args:
        plans: what tasks are of.
        models: where models are put; None to keep none.
        on_step: told of every step.
    """

    slots = 1

    def __init__(self, plans: Sequence[Plan], models: Path | None, on_step: OnStep) -> None:
        self._plans, self._models, self._on_step = plans, models, on_step
        self._task: Task | None = None
        self._threads = torch.get_num_threads()
        torch.set_num_threads(1)

    def start(self, task: Task) -> None:
        """Remember a task; :meth:`poll` does it."""
        self._task = task

    def poll(self, timeout: float) -> list[Ended]:
        """Do the task, however long it takes."""
        task, self._task = self._task, None
        if task is None:
            return []
        try:
            record = self._plans[task.plan].execute(
                task.run, self._models, lambda step: self._on_step(task, step)
            )
        except Exception as error:
            return [Ended.by(task, error)]
        return [Ended(task, record)]

    def close(self) -> None:
        """Give the process its threads back."""
        torch.set_num_threads(self._threads)
