"""Interface of executors: tasks in, ends out."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

from ampmix.errors import AmpmixError
from ampmix.records.store import RunRecord
from ampmix.studies.plan import Plan, Run


class Task(NamedTuple):
    """A run of one of several plans."""

    plan: int
    run: Run


OnStep = Callable[[Task, int], None]
"""Told of a task and how many steps it has done."""


@dataclass(frozen=True)
class Ended:
    """End of a task: its record, or its error.

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
        """True if the task was lost with its process: neither record nor error."""
        return self.record is None and self.error is None

    @property
    def reason(self) -> str:
        """Error of the task as a sentence, "" if there was none."""
        told = str(self.error or "")
        if self.error is None or isinstance(self.error, AmpmixError):
            return told
        return f"{type(self.error).__name__}: {told}" if told else type(self.error).__name__

    @classmethod
    def by(cls, task: Task, error: Exception) -> Ended:
        """A task that raised `error`."""
        return cls(task, error=error, trace="".join(traceback.format_exception(error)))


def in_blocks(tasks: Sequence[Task], replicas: Sequence[int]) -> list[Task]:
    """The tasks in an order in which those to be done side by side follow one another.

    Args:
        tasks: in the order that they would be done in otherwise, which is kept as far as possible.
        replicas: by plan, how many seeds train at once; nothing for one.

    >>> names = [Run(policy, seed) for seed in range(3) for policy in ("a", "b")]
    >>> [f"{run.policy}{run.seed}" for _, run in in_blocks([Task(0, run) for run in names], [2])]
    ['a0', 'a1', 'b0', 'b1', 'a2', 'b2']
    """
    count, first = Counter[tuple[int, str]](), dict[tuple[int, str], int]()
    places = {}
    for task in tasks:
        kind, size = (task.plan, task.run.policy), _size(replicas, task)
        first.setdefault(kind, len(first))
        places[task] = (count[kind] // size * size, first[kind] if size > 1 else -1)
        count[kind] += 1
    return sorted(tasks, key=places.__getitem__) if any(n > 1 for n in replicas) else list(tasks)


def next_block(plans: Sequence[Plan], tasks: Sequence[Task], replicas: Sequence[int]) -> list[Task]:
    """The first task, and those that can be done side by side with it."""
    first = tasks[0]
    size = _size(replicas, first)
    if size > 1:
        size = min(size, plans[first.plan].most_replicas(first.run.policy))
    kind = (first.plan, first.run.policy)
    return [task for task in tasks if (task.plan, task.run.policy) == kind][:size]


def _size(replicas: Sequence[int], task: Task) -> int:
    return replicas[task.plan] if replicas else 1


def do(
    plans: Sequence[Plan], tasks: Sequence[Task], models: Path | None, on_step: OnStep
) -> list[Ended]:
    """Do a task, or several of one plan and policy side by side; how each ended."""
    plan, own = plans[tasks[0].plan], {task.run: task for task in tasks}
    try:
        if len(tasks) == 1:
            (task,) = tasks
            return [Ended(task, plan.execute(task.run, models, partial(on_step, task)))]
        records = plan.execute_many(list(own), models, lambda run, step: on_step(own[run], step))
    except Exception as error:
        return [Ended.by(task, error) for task in tasks]
    return [Ended(task, record) for task, record in zip(tasks, records, strict=True)]


class Executor(Protocol):
    """Does tasks, up to :attr:`slots` at a time. Results do not depend on which executor does."""

    @property
    def slots(self) -> int:
        """Number of tasks that may run at once, now."""

    def start(self, task: Task) -> None:
        """Begin a task; the caller sees to it that a slot is free."""

    def poll(self, timeout: float) -> list[Ended]:
        """Return the tasks ended since the last call; wait at most `timeout` seconds for one."""

    def close(self) -> None:
        """End everything that still runs, at once."""
