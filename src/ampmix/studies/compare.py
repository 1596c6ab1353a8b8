"""Compare policies: a study of one plan, summed up, with the best policy's model."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ampmix._support import components
from ampmix._support.attempts import paper_name
from ampmix._support.files import discard, drafting, put
from ampmix._support.json_files import write_json
from ampmix._support.redact import without_paths
from ampmix.analysis.classes import majority
from ampmix.analysis.comparison import ComparisonRow, best_policy, paper_cells
from ampmix.analysis.comparison import rows as rows_of
from ampmix.data.dataset import TextDataset
from ampmix.errors import AmpmixError, TooLong, out_of_memory
from ampmix.records.store import RunRecord
from ampmix.studies.executors import Ended, Executor, InProcess, OnStep, Pool, Task
from ampmix.studies.executors.pool import end_unless_guarded, gpus
from ampmix.studies.plan import Plan, Run
from ampmix.studies.run import Outcome, carry_out, left, make_again
from ampmix.studies.study import Study
from ampmix.terminal.watchers import Watcher
from ampmix.training.processes import ALONE, Processes


@dataclass(frozen=True)
class Summary:
    """Outcome of a comparison.

    Attributes:
        plan: what was compared.
        rows: the baseline, then the policies in their order.
        model: the folder of the chosen model, or None if every run failed.
        chosen: its policy: the one with the lowest mean development error.
        chosen_seed: its seed: the one with the lowest development error (then loss) of that policy.
        truncated: texts that were cut, over training, development and test part of the run with
            most of them: seeds may keep different texts.
        trained: how many runs were done now; the others were recorded already.
        unfinished: runs without a record, and why; the same call tries them again.
        unreadable: record files that were set aside, with the reason.
        majority: class and error of always answering one class
            (:func:`ampmix.analysis.classes.majority`).
    """

    plan: Plan
    rows: tuple[ComparisonRow, ...]
    model: Path | None
    chosen: str | None
    chosen_seed: int | None
    truncated: int
    trained: int
    unfinished: Mapping[Run, str]
    unreadable: tuple[tuple[Path, str], ...]
    majority: Mapping[str, Any] | None = None

    def __str__(self) -> str:
        """The table and its sentences, as the command line prints them."""
        from rich.console import Console

        from ampmix.terminal.comparison import print_comparison

        console = Console(file=io.StringIO(), width=80, highlight=False)
        print_comparison(self.as_json(), console)
        return console.file.getvalue().rstrip("\n")  # type: ignore[attr-defined, no-any-return]

    def as_json(self) -> dict[str, Any]:
        """Return the content of ``summary.json``; errors and differences in percent."""
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
            "selection": plan.config.selection,
            "truncated": self.truncated,
            "baseline": plan.baseline,
            "rows": [row.as_json() for row in self.rows],
            "majority": self.majority,
            "model": None
            if self.model is None
            else {"folder": self.model.name, "policy": self.chosen, "seed": self.chosen_seed},
        }


def comparison(plan: Plan) -> Study:
    """The study of one plan that a comparison is."""
    return Study(plan.dataset.name, "each", (plan,))


def compare(
    data: Plan | TextDataset | str | Path,
    out: str | Path | None = None,
    *,
    workers: int = 0,
    replicas: int = 1,
    time_limit: float | None = None,
    watcher: Watcher | None = None,
    processes: Processes = ALONE,
    **pieces: Any,
) -> Summary:
    """Train every policy with every seed, as far as that is not done, and say which errs less.

    Writes to `out`: ``records/`` (one file a run, see :mod:`ampmix.records.store`),
    ``summary.json``, and ``model/``, the best policy's model. Finished runs are never done again,
    whatever happens: after an interruption the same call goes on. A run that takes too long, or
    whose memory runs out, ends without a record; why stands in ``failures/``, and the same call
    tries it again.

    Args:
        data: a :class:`ampmix.Plan`, or what one is made of: a data set, its name, or a file.
        out: the output folder; ``ampmix-runs/NAME`` by default.
        workers: processes that train; 0 trains in this one. Results do not depend on it. A script
            that has workers must call this below ``if __name__ == "__main__":``.
        replicas: seeds of a policy that a worker trains at once (:mod:`ampmix.training.replicas`);
            the results depend on it by rounding alone.
        time_limit: seconds that a run may take; None for any.
        watcher: told of every step and record.
        processes: those that share out the runs (:func:`ampmix.training.processes.joined`), in one
            output folder; the first sums up when all are done.
        pieces: ``policies``, ``backbone``, ``seeds``, ``steps`` and whatever else :meth:`Plan.of`
            takes, if `data` is no plan.

    Returns:
        :class:`Summary`; ``print`` shows it as the command line does.

    Raises:
        AmpmixError: if `out` cannot be written to, a worker dies, or a component breaks its
            contract.

    >>> summary = compare("tickets.csv", policies="none,amp[eps=0.1]")            # doctest: +SKIP
    >>> print(summary)                                                            # doctest: +SKIP
    """
    end_unless_guarded()
    if isinstance(data, Plan) and pieces:
        raise AmpmixError(f"{', '.join(pieces)} cannot be given with a Plan: make it part of that")
    plan = data if isinstance(data, Plan) else Plan.of(data, **pieces)
    out, study = Path(out or Path("ampmix-runs") / plan.dataset.name), comparison(plan)

    def opened(plans: Sequence[Plan], models: Path | None, on_step: OnStep) -> Executor:
        if not workers:
            return InProcess(plans, models, on_step, [replicas], time_limit)
        own = processes.environment()
        devices = gpus() if plan.config.device == "cuda" and not own else ()
        busy = min(workers, len(left(study, out)) or 1)
        return Pool(plans, models, on_step, busy, own, devices, [replicas], time_limit)

    outcome = carry_out(study, out, opened, watcher, [replicas], _ends_all)
    processes.wait()
    records = _records(plan, outcome)
    rows, chosen, best = _summed_up(plan, outcome, records)
    made_again = 0
    if processes.rank == 0 and best is not None:
        for ended in make_again(study, out, [best], opened):
            if ended.record is None:
                reason = ended.reason or "its worker died"
                raise AmpmixError(f"the chosen model could not be made again: {reason}")
            made_again += 1  # somebody had removed its weights
        _install(out / "models" / study.run_id(best), out / "model")
    elif processes.rank == 0:
        discard(out / "model")  # an earlier comparison's
    summary = Summary(
        plan=plan,
        rows=rows,
        model=None if best is None else out / "model",
        chosen=chosen,
        chosen_seed=None if best is None else best.run.seed,
        truncated=max((r.result.truncated or 0 for r in outcome.records.values()), default=0),
        trained=outcome.trained + made_again,
        unfinished={task.run: reason for task, reason in outcome.errors.items()},
        unreadable=outcome.unreadable,
        majority=majority(records),
    )
    if processes.rank == 0:
        write_json(out / "summary.json", summary.as_json())
    processes.wait()
    return summary


def _ends_all(ended: Ended) -> bool:
    """Return True if the error of a run would hit the others too: neither time nor memory."""
    error = ended.error
    return error is None or not (isinstance(error, TooLong) or out_of_memory(error))


def _records(plan: Plan, outcome: Outcome) -> dict[str, dict[int, RunRecord]]:
    """The records by policy and seed; a run without one has failed."""
    records: dict[str, dict[int, RunRecord]] = {}
    for run in plan.runs():
        task = Task(0, run)
        record = outcome.records.get(task) or RunRecord(
            plan.specification(run), {"status": "failed", "error": outcome.errors[task]}, {}
        )
        records.setdefault(run.policy, {})[run.seed] = record
    return records


def _summed_up(
    plan: Plan, outcome: Outcome, records: Mapping[str, Mapping[int, RunRecord]]
) -> tuple[tuple[ComparisonRow, ...], str | None, Task | None]:
    """The rows, the policy with the lowest mean development error, and its best run."""
    names = {name: paper_name(plan.policy(name)) for name in plan.policy_names}
    reference = paper_name(plan.backbone) if plan.fraction == 1.0 else ""
    paper = paper_cells(plan.dataset.title, reference, names)
    made = rows_of(records, plan.baseline, paper, plan.cross_validated)
    chosen = best_policy(made)
    if chosen is None:
        return tuple(made), None, None
    of_each = comparison(plan).best(outcome.records)
    return tuple(made), chosen.policy, next(t for t in of_each if t.run.policy == chosen.policy)


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
