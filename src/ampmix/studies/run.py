"""A study: a list of plans that share one store, and the loop that does what is left of them."""

from __future__ import annotations

import contextlib
import itertools
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ampmix._support.files import discard, sweep
from ampmix._support.json_files import check_writable, write_json
from ampmix.errors import AmpmixError
from ampmix.records.store import RecordStore, RunRecord
from ampmix.studies.executors import Ended, Executor, InProcess, Task, drive, in_blocks
from ampmix.studies.executors.loop import died
from ampmix.studies.failures import Failures
from ampmix.studies.plan import Plan
from ampmix.studies.run_locks import RunLocks
from ampmix.studies.study import Study
from ampmix.terminal.watchers import Watcher as Watcher
from ampmix.terminal.watchers import Watchers as Watchers

_log = logging.getLogger(__name__)
OTHERS_EVERY = 1.0  # seconds between looks at what other processes have done


@dataclass(frozen=True)
class Outcome:
    """Outcome of :func:`run_study`: what is recorded, what failed, what is left.

    Attributes:
        records: of every task that has one.
        trained: how many of them this process made.
        errors: of tasks without a record, the reason; the same call tries them again.
        unreadable: record files that were set aside, with the reason.
    """

    records: Mapping[Task, RunRecord]
    trained: int
    errors: Mapping[Task, str]
    unreadable: tuple[tuple[Path, str], ...]

    @property
    def diverged(self) -> list[Task]:
        """Tasks whose record says that they failed."""
        return [task for task, record in self.records.items() if not record.done]


Open = Callable[[Sequence[Plan], "Path | None", Callable[[Task, int], None]], Executor]
"""Makes an executor from plans, the folder for models (None: keep none) and ``on_step``."""


def run_study(
    study: Study,
    out: str | Path,
    open_executor: Open = InProcess,
    watcher: Watcher | None = None,
    replicas: Sequence[int] = (),
) -> Outcome:
    """Do what is left of a study; several processes may do so in one folder, each its share.

    Writes to `out`: ``records/``, as :func:`ampmix.compare` names them, ``study.json``,
    ``failures/`` (a file for each run that ended without a record, until it has one), and
    ``models/`` if they are to be kept. A run is claimed before it begins (``locks/``), recorded
    when it ends, and never resumed in the middle: what a kill costs is the runs under way.

    Args:
        study: what to do.
        out: the output folder.
        open_executor: who does it; by default this process.
        watcher: told how it goes.
        replicas: by plan, how many seeds of a policy the executor trains at once, which are then
            begun one after the other; nothing for one.

    Raises:
        AmpmixError: if `out` cannot be written to, or files there cannot be locked.
    """
    check_writable(out := Path(out))
    write_json(out / "study.json", study.as_json())
    outcome = carry_out(study, out, open_executor, watcher, replicas)
    if study.models == "best":
        make_again(study, out, study.kept(outcome.records), open_executor)
    return outcome


def carry_out(
    study: Study,
    out: Path,
    open_executor: Open,
    watcher: Watcher | None = None,
    replicas: Sequence[int] = (),
    fatal: Callable[[Ended], bool] = lambda _: False,
) -> Outcome:
    """Do what is left of the runs of a study, as :func:`run_study`, which says more.

    Args:
        study: what to do.
        out: the output folder.
        open_executor: who does it.
        watcher: told how it goes.
        replicas: by plan, as of :func:`run_study`.
        fatal: which runs that end without a record end all: what they ended with is raised.
    """
    check_writable(out)
    watcher = watcher or Watcher()
    for folder in (out, out / "records", out / "models", out / "failures"):
        sweep(folder)
    work = _Work(study, out, watcher, replicas, fatal)
    models = out / "models" if study.models != "none" else None
    if work.open:
        with contextlib.closing(open_executor(study.plans, models, watcher.on_step)) as executor:
            work.do(executor)
    work.tidy()
    return Outcome(work.records, work.trained, work.errors, tuple(work.store.unreadable))


def make_again(study: Study, out: Path, tasks: Iterable[Task], open_executor: Open) -> list[Ended]:
    """Train models of recorded runs anew where their weights are not there; how each ended."""
    models = out / "models"
    missing = iter([task for task in tasks if not (models / study.run_id(task)).exists()])
    if (first := next(missing, None)) is None:
        return []
    left = itertools.chain([first], missing)
    with contextlib.closing(open_executor(study.plans, models, lambda _, step: None)) as executor:
        # the same as the record there is (of a run that had replicas, up to rounding)
        return list(drive(executor, lambda: next(left, None)))


class _Work:
    """The state of :func:`carry_out`: which tasks are open, claimed, recorded."""

    def __init__(
        self,
        study: Study,
        out: Path,
        watcher: Watcher,
        replicas: Sequence[int],
        fatal: Callable[[Ended], bool],
    ) -> None:
        self.study, self.watcher, self.fatal = study, watcher, fatal
        self.store, self.claims = RecordStore(out / "records"), RunLocks(out / "locks")
        self.models, self.failures = out / "models", Failures(out / "failures")
        self.records: dict[Task, RunRecord] = {}
        self.errors: dict[Task, str] = {}
        self.trained = 0
        self.ids = {task: study.run_id(task) for task in study.tasks()}
        self.specifications = {
            task: study.plans[task.plan].specification(task.run) for task in self.ids
        }
        for task in self.ids:
            if (record := self._look(task)) is not None:
                self.records[task] = record
        missing = [task for task in self.ids if task not in self.records]
        self.open: dict[Task, None] = dict.fromkeys(in_blocks(missing, replicas))

    def _look(self, task: Task) -> RunRecord | None:
        return self.store.get(self.specifications[task])

    def do(self, executor: Executor) -> None:
        """Until every task is recorded or has failed here, whoever does it."""
        try:
            while self.open:
                for ended in drive(executor, self._next, self.watcher.on_lost):
                    self._take_in(ended)
                if self.open:
                    time.sleep(OTHERS_EVERY)  # others are at the rest
        finally:
            self.claims.give_all_back()

    def tidy(self) -> None:
        """Remove what others left that were killed, or could not remove it."""
        self.claims.sweep()
        for task in self.records:
            self.failures.clear(self.ids[task])
        kinds = {(task.plan, task.run.policy): task for task in self.ids}
        for task in kinds.values():
            self._keep_best(task, all_done=True)

    def _next(self) -> Task | None:
        """Claim the first open task that nobody else does."""
        for task in list(self.open):
            if not self.claims.take(self.ids[task]):
                continue
            del self.open[task]
            record = self._look(task)  # another process may have made it meanwhile
            if record is None:
                self.watcher.on_start(task)
                return task
            self.claims.give_back(self.ids[task])
            self._recorded(task, record)
        return None

    def _take_in(self, ended: Ended) -> None:
        task, record = ended.task, ended.record
        if record is not None and record.id != self.ids[task]:
            ended = Ended.by(task, AmpmixError("its worker runs another version of ampmix"))
            record = None
        if record is not None:
            self.store.add(record)
            self.trained += 1
            self.failures.clear(self.ids[task])
            self._recorded(task, record)
        else:
            if self.fatal(ended):
                raise ended.error or AmpmixError(died(task.run))
            error = ended.reason or died(task.run)
            self.errors[task] = error
            discard(self.models / self.ids[task])  # of a run that was ended while it saved it
            self.failures.note(self.ids[task], self.specifications[task], error, ended.trace)
            self.watcher.on_failure(task, error)
        self.claims.give_back(self.ids[task])

    def _recorded(self, task: Task, record: RunRecord) -> None:
        self.records[task] = record
        self._keep_best(task)
        told = "" if record.done else f", failed: {record.result.error}"
        took = record.provenance.get("seconds", 0.0)
        _log.info("%s, seed %d: %.1f s%s", task.run.policy, task.run.seed, took, told)
        self.watcher.on_record(task, record)

    def _keep_best(self, last: Task, all_done: bool = False) -> None:
        """Keep the models of a plan that may be wanted: weights take more room than records.

        Those are of the seeds that are the best so far, and of ``best`` also those of seeds of
        which not all policies are done.
        """
        if self.study.models == "none":
            return
        own = {t: r for t, r in self.records.items() if t.plan == last.plan}
        best, seeds = self.study.kept(own), Counter(task.run.seed for task in own)
        whole = len({t.run.policy for t in self.ids if t.plan == last.plan})
        for task in own:
            open_seed = self.study.models == "best" and seeds[task.run.seed] < whole
            if task not in best and (all_done or not open_seed):
                discard(self.models / self.ids[task])


def left(study: Study, out: Path) -> list[Task]:
    """The tasks of a study that are not recorded in `out` yet."""
    store = RecordStore(out / "records")
    return [
        task
        for task in study.tasks()
        if store.get(study.plans[task.plan].specification(task.run)) is None
    ]
