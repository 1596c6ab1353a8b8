"""Compare policies: do the runs that are not recorded yet, sum up, keep the best policy's model."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ampmix import components, yardstick
from ampmix.errors import AmpmixError
from ampmix.executor import Ended, execute
from ampmix.failures import Failures, without_paths
from ampmix.files import discard, drafting, put, sweep
from ampmix.plan import Plan, Run
from ampmix.processes import ALONE, Processes
from ampmix.records import RecordStore, RunRecord, check_writable, write_json
from ampmix.summary import Row, best_policy, paper_cells, rows


class Progress(Protocol):
    """Who is told how a comparison goes on."""

    def on_step(self, run: Run, step: int) -> None:
        """`run` has done `step` steps."""

    def on_record(self, record: RunRecord) -> None:
        """A run has ended and is recorded."""


@dataclass(frozen=True)
class Summary:
    """What a comparison found.

    Attributes:
        plan: what was compared.
        rows: the yardstick, then the policies in their order.
        model: the folder of the chosen model, or None if every run failed.
        chosen: its policy: the one with the lowest mean development error.
        chosen_seed: its seed: the one with the lowest development error (then loss) of that policy.
        truncated: texts that were cut, over training, development and test part of the run with
            most of them: seeds may keep different texts.
        trained: how many runs were done now; the others were recorded already.
        unfinished: runs without a record, and why; the same call tries them again.
        unreadable: record files that were set aside, with the reason.
    """

    plan: Plan
    rows: tuple[Row, ...]
    model: Path | None
    chosen: str | None
    chosen_seed: int | None
    truncated: int
    trained: int
    unfinished: Mapping[Run, str]
    unreadable: tuple[tuple[Path, str], ...]

    def as_json(self) -> dict[str, Any]:
        """What ``summary.json`` holds; errors and differences in percent."""
        plan = self.plan
        return {
            "dataset": plan.dataset.name,
            "data_hash": plan.dataset.fingerprint,
            "classes": list(plan.dataset.classes),
            "notes": list(plan.dataset.notes),
            "backbone": without_paths(components.spec(plan.backbone)),
            "seeds": plan.seeds,
            "fraction": plan.fraction,
            "design": "cross-validation" if plan.cross_validated else "test set",
            "steps": plan.config.steps,
            "truncated": self.truncated,
            "baseline": plan.baseline,
            "rows": [row.as_json() for row in self.rows],
            "model": None
            if self.model is None
            else {"folder": self.model.name, "policy": self.chosen, "seed": self.chosen_seed},
        }


def remaining(plan: Plan, out: Path) -> list[Run]:
    """The runs of a plan that are not recorded in `out` yet."""
    store = RecordStore(out / "records")
    return [run for run in plan.runs() if store.get(plan.specification(run)) is None]


def compare(
    plan: Plan,
    out: str | Path,
    workers: int = 1,
    progress: Progress | None = None,
    processes: Processes = ALONE,
    replicas: int = 1,
    time_limit: float | None = None,
) -> Summary:
    """Do what is left of a plan and sum it up.

    Writes to `out`: ``records/`` (one file a run, see :mod:`ampmix.records`), ``summary.json``, and
    ``model/``, the best policy's model. Finished runs are never done again, whatever happens: after
    an interruption the same call goes on. A run that takes too long, or whose memory runs out, ends
    without a record; why stands in ``failures/``, and the same call tries it again.

    Args:
        plan: what to compare.
        out: the output folder.
        workers: processes; the results do not depend on it.
        progress: told of every step and record.
        processes: those that share out the runs (:func:`ampmix.processes.joined`), in one output
            folder; the first sums up when all are done.
        replicas: seeds of a policy that a worker trains at once (:mod:`ampmix.replicas`); the
            results depend on it by rounding alone.
        time_limit: seconds that a run may take; None for any.

    Raises:
        AmpmixError: if `out` cannot be written to, or a worker dies.
    """
    out = Path(out)
    check_writable(out)
    store, models = RecordStore(out / "records"), out / "models"
    failures, unfinished = Failures(out / "failures"), dict[Run, str]()
    for folder in (out, out / "records", models, out / "failures"):
        sweep(folder)
    found = {run: store.get(plan.specification(run)) for run in plan.runs()}
    missing = [run for run, record in found.items() if record is None]

    def on_step(run: Run, step: int) -> None:
        if progress is not None:
            progress.on_step(run, step)

    def tell(run: Run, record: RunRecord) -> None:
        found[run] = found[run] or record
        keep_best(plan, found, run.policy, models)
        if progress is not None:
            progress.on_record(record)

    def on_failure(ended: Ended) -> None:
        run = ended.task.run
        unfinished[run] = ended.reason
        failures.note(plan.run_id(run), plan.specification(run), ended.reason, ended.trace)
        tell(run, _without_record(plan, run, ended.reason))

    def do(runs: list[Run]) -> None:
        told = processes.environment()
        for record in execute(
            plan, runs, models, workers, on_step, told, replicas, time_limit, on_failure
        ):
            run = Run(record.specification["policy"], record.specification["seed"])
            if found[run] is None:
                store.add(record)
                failures.clear(record.id)
            tell(run, record)

    if mine := processes.share(missing):
        do(mine)
    processes.wait()
    for run in missing:
        if found[run] is None:
            found[run] = store.get(plan.specification(run))
        if found[run] is None:
            unfinished[run] = "it failed in another process"
            found[run] = _without_record(plan, run, unfinished[run])
    trained = len(missing) - len(unfinished)
    for policy in plan.policy_names:  # also what earlier calls could not remove
        keep_best(plan, found, policy, models)
    records: dict[str, dict[int, RunRecord]] = {}
    for run, record in found.items():
        assert record is not None
        records.setdefault(run.policy, {})[run.seed] = record
    names = {components.spec(policy): policy.reference_name for policy in plan.policies}
    reference = plan.backbone.reference_name if plan.fraction == 1.0 else ""
    made = rows(
        records,
        plan.baseline,
        yardstick.NAME,
        paper_cells(plan.dataset.title, reference, names),
        plan.cross_validated,
    )
    chosen = best_policy(made)
    best = None if chosen is None else _best_run(plan, found, chosen.policy)
    if processes.rank:
        pass  # the first process writes
    elif best is not None:
        if not (models / plan.run_id(best)).exists():
            do([best])  # somebody removed its weights
            trained += 1
        if best in unfinished:
            raise AmpmixError(f"the chosen model could not be made again: {unfinished[best]}")
        _install(models / plan.run_id(best), out / "model")
    else:
        discard(out / "model")  # an earlier comparison's
    summary = Summary(
        plan=plan,
        rows=tuple(made),
        model=None if best is None else out / "model",
        chosen=None if best is None else best.policy,
        chosen_seed=None if best is None else best.seed,
        truncated=max(
            record.result.get("truncated", 0) for own in records.values() for record in own.values()
        ),
        trained=trained,
        unfinished=unfinished,
        unreadable=tuple(store.unreadable),
    )
    if processes.rank == 0:
        write_json(out / "summary.json", summary.as_json())
    processes.wait()
    return summary


def _without_record(plan: Plan, run: Run, reason: str) -> RunRecord:
    """What stands for a run in the summary that has no record."""
    return RunRecord(plan.specification(run), {"status": "failed", "error": reason}, {})


def _best_run(plan: Plan, found: dict[Run, RunRecord | None], policy: str) -> Run | None:
    """The policy's run with the lowest development error, then loss, then seed."""
    done = [
        (record.result["dev_error"], record.result["dev_loss"], run.seed, run)
        for run, record in found.items()
        if run.policy == policy and record is not None and "dev_error" in record.result
    ]
    return min(done)[-1] if done else None


def keep_best(plan: Plan, found: dict[Run, RunRecord | None], policy: str, models: Path) -> None:
    """Keep one model a policy: weights take far more room than records."""
    best = _best_run(plan, found, policy)
    for run, record in found.items():
        if run.policy == policy and record is not None and run != best:
            discard(models / plan.run_id(run))


def _install(source: Path, target: Path) -> None:
    """Make `target` a copy of the model folder `source`, sharing the files where possible."""

    def link(original: str, copy: str) -> str:
        try:
            os.link(original, copy)
        except OSError:
            shutil.copyfile(original, copy)
        return copy

    with drafting(target.parent) as draft:
        shutil.copytree(source, draft / "ready", copy_function=link)
        put(draft / "ready", target)
