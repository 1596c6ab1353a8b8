"""Carry out studies one after the other in one folder, with the same executors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ampmix.errors import TooLong, out_of_memory
from ampmix.studies.executors import Ended, Executor, InProcess, OnStep, Pool, Task
from ampmix.studies.executors.pool import gpus
from ampmix.studies.plan import Plan
from ampmix.studies.run import Outcome, carry_out, left, make_again
from ampmix.studies.study import Study
from ampmix.terminal.watchers import Watcher
from ampmix.training.processes import ALONE, Processes


@dataclass(frozen=True)
class Runner:
    """Settings by which the runs of a comparison are done, and the doing.

    Attributes:
        out: the output folder.
        workers: processes that train; 0 trains in this one.
        replicas: seeds of a policy that a worker trains at once.
        time_limit: seconds that a run may take; None for any.
        watcher: told of every step and record.
        processes: those that share out the runs.
    """

    out: Path
    workers: int = 0
    replicas: int = 1
    time_limit: float | None = None
    watcher: Watcher = field(default_factory=Watcher)
    processes: Processes = ALONE

    def carry_out(self, study: Study, what: str) -> Outcome:
        """Do what is left of a study, and wait for the others; `what` it is for is shown."""
        missing = left(study, self.out)
        self.processes.wait()  # none begins before all have counted
        steps = {task: study.plans[task.plan].steps(task.run) for task in missing}
        self.watcher.on_begin(steps, what)
        sizes = [self.replicas] * len(study.plans)
        outcome = carry_out(
            study, self.out, lambda *given: self._opened(study, *given), self.watcher, sizes, _fatal
        )
        self.processes.wait()
        return outcome

    def make_again(self, study: Study, tasks: Iterable[Task]) -> list[Ended]:
        """Train models of recorded runs anew where their weights are not there."""
        return make_again(study, self.out, tasks, lambda *given: self._opened(study, *given))

    def _opened(
        self, study: Study, plans: Sequence[Plan], models: Path | None, on_step: OnStep
    ) -> Executor:
        sizes = [self.replicas] * len(plans)
        if not self.workers:
            return InProcess(plans, models, on_step, sizes, self.time_limit)
        own = self.processes.environment()
        on_gpus = any(plan.config.device == "cuda" for plan in plans) and not own
        busy = min(self.workers, len(left(study, self.out)) or 1)
        devices = gpus() if on_gpus else ()
        return Pool(plans, models, on_step, busy, own, devices, sizes, self.time_limit)


def _fatal(ended: Ended) -> bool:
    """Return True if the error of a run would hit the others too: neither time nor memory."""
    error = ended.error
    return error is None or not (isinstance(error, TooLong) or out_of_memory(error))
