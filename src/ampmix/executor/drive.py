"""The loop around an executor: keep its slots full, begin again what was lost."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from ampmix.errors import AmpmixError, TooLong, out_of_memory
from ampmix.executor._executor import Ended, Executor, Task, in_blocks
from ampmix.executor.pool import Pool, gpus
from ampmix.plan import Plan, Run
from ampmix.records import RunRecord

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


def execute(
    plan: Plan,
    runs: Sequence[Run],
    models: Path,
    workers: int,
    on_step: Callable[[Run, int], None],
    environment: Mapping[str, str] = MappingProxyType({}),
    replicas: int = 1,
    time_limit: float | None = None,
    on_failure: Callable[[Ended], None] | None = None,
) -> Iterator[RunRecord]:
    """Do runs of one plan in `workers` processes; yield each record as its run ends, in any order.

    Each trains up to `replicas` seeds of a policy at once. When the caller stops, by Ctrl-C say,
    the workers are ended at once.

    Args:
        plan: what the runs are of.
        runs: which.
        models: where models are put.
        workers: how many processes at most.
        on_step: told of steps.
        environment: what each worker finds in its environment.
        replicas: seeds of a policy that a worker trains at once.
        time_limit: seconds that a run may take; None for any.
        on_failure: told of a run that took too long, or whose memory ran out: the others go on.
            None raises what it ended with.

    Raises:
        AmpmixError: if the worker of one run dies again and again (killed, or out of memory).
    """
    tasks = iter(in_blocks([Task(0, run) for run in runs], [replicas]))
    pool = Pool(
        [plan],
        models,
        lambda task, step: on_step(task.run, step),
        min(workers, len(runs)),
        environment,
        gpus() if replicas > 1 and plan.config.device == "cuda" and not environment else (),
        [replicas],
        time_limit=time_limit,
    )
    try:
        for ended in drive(pool, lambda: next(tasks, None)):
            if on_failure is not None and _its_own(ended.error):
                on_failure(ended)
                continue
            if ended.error is not None:
                raise ended.error
            if ended.record is None:
                raise AmpmixError(died(ended.task.run))
            yield ended.record
    finally:
        pool.close()


def _its_own(error: Exception | None) -> bool:
    """Whether what went wrong need not go wrong in other runs."""
    return error is not None and (isinstance(error, TooLong) or out_of_memory(error))


def died(run: Run) -> str:
    """What to say of a run that was lost more often than it is begun again."""
    return (
        f"a worker process died {RETRIES + 1} times in the run of {run.policy} with seed "
        f"{run.seed}, perhaps for lack of memory: finished runs are kept; give the same command "
        "again with fewer --workers"
    )
