"""What an executor is."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from ampmix.plan import Run
from ampmix.records import RunRecord


class Task(NamedTuple):
    """A run of one of several plans."""

    plan: int
    run: Run


OnStep = Callable[[Task, int], None]
"""Told of a task and how many steps it has done."""


@dataclass(frozen=True)
class Ended:
    """How a task ended.

    Attributes:
        task: which one.
        record: its record, also of a run that diverged; None if there is none.
        error: what the run raised, if it did.
        trace: where, for those who look into it.

    With neither record nor error the run was lost: its worker or machine is gone.
    """

    task: Task
    record: RunRecord | None = None
    error: Exception | None = None
    trace: str = ""

    @property
    def lost(self) -> bool:
        """Whether nobody knows what would have come out."""
        return self.record is None and self.error is None

    @classmethod
    def by(cls, task: Task, error: Exception) -> Ended:
        """A task that raised `error`."""
        return cls(task, error=error, trace="".join(traceback.format_exception(error)))


class Executor(Protocol):
    """Does tasks, up to :attr:`slots` at a time. Results do not depend on which executor does."""

    @property
    def slots(self) -> int:
        """How many tasks may run at once, now."""

    def start(self, task: Task) -> None:
        """Begin a task; the caller sees to it that a slot is free."""

    def poll(self, timeout: float) -> list[Ended]:
        """What has ended since the last call, after at most `timeout` seconds if nothing has."""

    def close(self) -> None:
        """End everything that still runs, at once."""
