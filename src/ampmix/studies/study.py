"""Studies: lists of plans that share one folder of records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from ampmix import datasets
from ampmix._support import components
from ampmix._support.components import POLICIES, parse_model
from ampmix._support.redact import without_paths
from ampmix._support.wording import counted
from ampmix.backbones.words import backbone_with_vectors
from ampmix.data.dataset import TextDataset
from ampmix.data.splits import texts_kept
from ampmix.errors import AmpmixError
from ampmix.records.store import RunRecord
from ampmix.studies.executors import Task
from ampmix.studies.file import GridCell, StudyFile
from ampmix.studies.plan import Plan
from ampmix.terminal.watchers import Watcher as Watcher
from ampmix.terminal.watchers import Watchers as Watchers
from ampmix.training.checks import check_trainable, check_unlabelled, sited
from ampmix.training.config import TrainConfig, settings


@dataclass(frozen=True)
class Study:
    """A study: plans, and which models to keep.

    Attributes:
        name: the study's.
        models: the models to keep: ``none``, ``best`` (one seed's of each plan, see :meth:`kept`)
            or ``each``, the best of each policy.
        plans: one a cell, without what cannot run.
        refused: what cannot run and why.
    """

    name: str
    models: str
    plans: tuple[Plan, ...]
    refused: tuple[str, ...] = ()

    def tasks(self) -> list[Task]:
        """All runs, each once, seed by seed over all plans, so that an early stop leaves pairs.

        The first seed's come as they are, the cheap model's first. Every other seed is done in
        reverse, the last among them: a worker that did the shorter run of one seed takes the longer
        of the next, and the longest run, which the last policy mostly is, is not the last to begin,
        so that none is left idle at the end.
        """
        once: dict[str, Task] = {}
        for i, plan in enumerate(self.plans):
            for run in plan.runs():
                once.setdefault(self.run_id(Task(i, run)), Task(i, run))
        by_seed: dict[int, list[Task]] = {}
        for task in once.values():
            by_seed.setdefault(task.run.seed, []).append(task)
        first, last = min(by_seed, default=0), max(by_seed, default=0)
        return [
            task
            for seed, own in sorted(by_seed.items())
            for task in (own if seed == first or (last - seed) % 2 else own[::-1])
        ]

    def run_id(self, task: Task) -> str:
        """The name of a task's record."""
        return self.plans[task.plan].run_id(task.run)

    def best(self, records: Mapping[Task, RunRecord]) -> list[Task]:
        """Return each policy's task with the lowest development error, loss, seed, per plan."""
        best: dict[tuple[int, str], tuple[float, float, int, Task]] = {}
        for task, record in records.items():
            if (reached := record.result.rank) is not None and not record.is_baseline:
                rank = (*reached, task.run.seed, task)
                kind = (task.plan, task.run.policy)
                best[kind] = min(best.get(kind, rank), rank)
        return [task for *_, task in best.values()]

    def kept(self, records: Mapping[Task, RunRecord]) -> list[Task]:
        """Return the tasks whose models ``models`` keeps: with ``best`` one seed's a plan.

        Models of one seed had the same texts, initial weights and batches, so that what tells them
        apart is the policy. The seed is the one with the lowest development error, mean over the
        policies, then loss, of those that all policies finished; if there is none, each policy
        keeps its own best.
        """
        if self.models != "best":
            return self.best(records)
        found: list[Task] = []
        for i in {task.plan: None for task in records}:
            own = {task: record for task, record in records.items() if task.plan == i}
            shared = _shared_seed(own)
            found += self.best({t: r for t, r in own.items() if shared in (None, t.run.seed)})
        return found

    def as_json(self) -> dict[str, Any]:
        """Return the content of ``study.json``: the records that the study consists of."""
        return {
            "name": self.name,
            "plans": [
                {
                    "dataset": plan.dataset.name,
                    "data_hash": plan.dataset.fingerprint,
                    "backbone": without_paths(components.spec(plan.backbone)),
                    "fraction": plan.fraction,
                    "policies": list(plan.policy_names),
                    "seeds": plan.seeds,
                    **({"repeats": plan.repeats} if plan.repeats > 1 else {}),
                    **({"redraw": True} if plan.redraw else {}),
                    "design": "cross-validation" if plan.cross_validated else "test set",
                    "training": asdict(plan.config),
                    "runs": [plan.run_id(run) for run in plan.runs()],
                }
                for plan in self.plans
            ],
            "refused": [without_paths(reason) for reason in self.refused],
        }


def _shared_seed(records: Mapping[Task, RunRecord]) -> int | None:
    """The best seed of those that all policies of a plan finished; None if there is none."""
    ranks: dict[int, list[tuple[float, float]]] = {}
    policies = set()
    for task, record in records.items():
        if (reached := record.result.rank) is not None and not record.is_baseline:
            ranks.setdefault(task.run.seed, []).append(reached)
            policies.add(task.run.policy)
    sums = [
        (sum(error for error, _ in found), sum(loss for _, loss in found), seed)
        for seed, found in ranks.items()
        if len(found) == len(policies)
    ]
    return min(sums)[2] if sums else None


def build(file: StudyFile, skip_invalid: bool = False) -> Study:
    """The plans of a study file; data sets are loaded and every combination is checked.

    Args:
        file: what the file says.
        skip_invalid: leave combinations out that cannot run.

    Raises:
        AmpmixError: that names every combination that cannot run, or if none is left.
    """
    load = _Loader()
    plans: list[Plan] = []
    refused: list[str] = []
    for cell in file.cells:
        try:
            plan = _plan(cell, load)
        except AmpmixError as error:
            refused.append(f"{cell.label}: {error}")
            continue
        fitting, first = [], plan.split(0)
        for policy in sited(_policies(cell), plan.backbone):
            try:
                check_trainable(plan.backbone, policy, first, plan.config)
            except AmpmixError as error:
                refused.append(f"{cell.label} {components.spec(policy)}: {error}")
            else:
                fitting.append(policy)
        if fitting:
            plans.append(replace(plan, policies=tuple(fitting)))
    if refused and not skip_invalid:
        listed = "".join(f"\n  {reason}" for reason in refused)
        raise AmpmixError(
            f"{counted(len(refused), 'combination')} cannot run; mend the study or leave "
            f"{'it' if len(refused) == 1 else 'them'} out with --skip-invalid:{listed}"
        )
    if not plans:
        raise AmpmixError("the study has no combination that can run")
    return Study(file.name, file.models, tuple(plans), tuple(refused))


class _Loader:
    """Data sets, each loaded once, also one that cannot be."""

    def __init__(self) -> None:
        self._found: dict[tuple[tuple[str, str], ...], TextDataset | AmpmixError] = {}

    def __call__(self, given: Mapping[str, str]) -> TextDataset:
        key = tuple(sorted(given.items()))
        if key not in self._found:
            options = {name: value for name, value in given.items() if name != "file"}
            try:
                self._found[key] = datasets.load(given["file"], **options)
            except AmpmixError as error:
                self._found[key] = error
        found = self._found[key]
        if isinstance(found, AmpmixError):
            raise found
        return found


def _plan(cell: GridCell, load: _Loader) -> Plan:
    """The plan of a cell, still without policies."""
    if cell.vectors:
        backbone = backbone_with_vectors(cell.backbone, cell.vectors)
    else:
        backbone = parse_model(cell.backbone, trusted=True)
    _ = backbone.identity  # says if its files are not there
    policies = _policies(cell)
    known = datasets.known(cell.dataset["file"])
    given = _converted(cell.training)
    dataset = load(cell.dataset)
    check_unlabelled(policies, dataset, backbone)
    texts = texts_kept(dataset, cell.fraction)
    config = settings(backbone, known is not None, texts, **given)
    seeds = cell.seeds
    if dataset.test is None:
        seeds = cell.folds or getattr(known, "folds", None) or seeds
    repeats = cell.repeats if dataset.test is None else 1
    return Plan(dataset, backbone, (), seeds, cell.fraction, config, repeats, cell.redraw)


def _policies(cell: GridCell) -> list[Any]:
    return POLICIES.parse_list(",".join(cell.policies), trusted=True)


def _converted(training: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of the type that they have: the 1 of ``lr = 1`` is the 1.0 of ``--lr 1``."""
    kinds = {field.name: type(field.default) for field in fields(TrainConfig)}
    made = {}
    for name, value in training.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if kinds[name] is float and number:
            value = float(value)
        if not isinstance(value, kinds[name]) or isinstance(value, bool):
            raise AmpmixError(f"training.{name} is {value!r}: it is a {kinds[name].__name__}")
        made[name] = value
    return made
