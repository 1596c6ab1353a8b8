"""The loop around an executor: keep its slots full, begin again what was lost."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator

from ampmix.studies.executors.base import Ended, Executor, Task
from ampmix.studies.plan import Run

POLL = 0.3  # seconds
RETRIES = 3


def drive(
    executor: Executor,
    next_task: Callable[[], Task | None],
    on_lost: Callable[[Task], None] | None = None,
    retries: int = RETRIES,
) -> Iterator[Ended]:
    """Do tasks until there are none; yield each as it ends, in any order.

    A task whose worker or machine died is begun anew, and yielded as lost once it has died
    ``retries + 1`` times.

    Args:
        executor: who does them.
        next_task: the next task to begin, asked for when a slot is free; None if there is none now.
        on_lost: told of a task that is going to be begun again.
        retries: how often.
    """
    running, lost, again = 0, Counter[Task](), deque[Task]()
    while True:
        while running < max(1, executor.slots):
            task = again.popleft() if again else next_task()
            if task is None:
                break
            executor.start(task)
            running += 1
        if not running:
            return
        for ended in executor.poll(POLL):
            running -= 1
            lost[ended.task] += ended.lost
            if ended.lost and lost[ended.task] <= retries:
                again.append(ended.task)
                if on_lost is not None:
                    on_lost(ended.task)
            else:
                yield ended


def died(run: Run) -> str:
    """Return the error for a run whose process died more often than runs are begun again."""
    return (
        f"a worker process died {RETRIES + 1} times in the run of {run.policy} with seed "
        f"{run.seed}, perhaps for lack of memory: finished runs are kept; give the same command "
        "again with fewer --workers"
    )
