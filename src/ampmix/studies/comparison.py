"""The runs of a comparison: models, policies, and what comes of them."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ampmix._support import components
from ampmix._support.attempts import paper_name
from ampmix._support.files import discard
from ampmix._support.redact import without_paths
from ampmix.analysis.classes import majority
from ampmix.analysis.comparison import ComparisonRow, best_policy, paper_cells
from ampmix.analysis.comparison import rows as rows_of
from ampmix.analysis.groups import OF_A_RUN, groups_of, read_runs
from ampmix.analysis.ladder import Rung, ladder
from ampmix.errors import AmpmixError
from ampmix.policies.none import NoMixup
from ampmix.records.store import RunRecord
from ampmix.studies import baseline
from ampmix.studies.executors import Task
from ampmix.studies.install import install
from ampmix.studies.ladder import Ladder, comparison
from ampmix.studies.plan import FIRST_LOOK, Plan, Run
from ampmix.studies.refit import Recipe, refit
from ampmix.studies.run import Outcome
from ampmix.studies.runner import Runner
from ampmix.studies.summary import Summary

Records = Mapping[int, RunRecord]
OPEN = ("no difference shown", "not decided")
REFIT = Run("the model to keep", 0)


class _Kept(NamedTuple):
    """The model that is kept: its policy, of which seed or (None) how many texts, new runs."""

    policy: str | None = None
    seed: int | None = None
    texts: int | None = None
    trained: int = 0
    problem: str = ""
    abstention: tuple[Mapping[str, float], ...] = ()


class ComparisonRuns:
    """Does the runs of a comparison, model by model, then policy by policy.

    Args:
        steps: what to compare.
        runner: how.
    """

    def __init__(self, steps: Ladder, runner: Runner) -> None:
        self.steps, self.runner = steps, runner
        self.cross_validated = steps.plans[0].cross_validated
        self.models: dict[str, Records] = {}
        self.most = self.trained = 0
        self.plan_of: dict[str, Plan] = {}
        self.curve: tuple[Mapping[str, Any], ...] = ()
        self.outcomes = self._rungs() if steps.rungs else []
        self.plan = steps.plan_on(ladder(self.models, self.cross_validated))
        self.looks = looked_before(self.plan, runner.out)
        if steps.until_decided:
            self._until_decided()
        else:
            self._train(self.plan)
        if not steps.rungs:
            spec = components.spec(self.plan.backbone)
            self.models = {spec: self.records[self.plan.baseline]}
            if baseline.NAME in self.records:
                self.models = {baseline.NAME: self.records[baseline.NAME], **self.models}
        alone = replace(self.plan, backbone=baseline.MODEL, policies=(NoMixup(),))
        self.plan_of = {components.spec(p.backbone): p for p in (alone, *steps.rungs, self.plan)}

    def _train(self, plan: Plan) -> None:
        """Do the runs of a plan; they are those of the comparison from now on."""
        self.plan, self.study = plan, comparison(plan)
        self.outcomes.append(self.runner.carry_out(self.study, "policies"))
        self.records = _records(plan, self.outcomes[-1])

    def _until_decided(self) -> None:
        """Go on repeat by repeat, or seed by seed, until nothing is open or the time is up."""
        whole, started = self.plan, time.monotonic()
        self.most = whole.repeats if whole.cross_validated else whole.seeds
        first = min(self.most, FIRST_LOOK)
        for look in range(first, self.most + 1):
            if look > first:  # its runs are among the next look's
                self.trained += self.outcomes.pop().trained
            self._train(whole.with_runs(look))
            self.looks = tuple(sorted({*self.looks, look}))
            still = [row for row in self._rows() if row.decision in OPEN]
            late = self.steps.seconds and time.monotonic() - started > self.steps.seconds
            if not still or late:
                break

    def _rungs(self) -> list[Outcome]:
        """Train the models of the ladder, then the best cheap one on shares of the labels."""
        whole = self.runner.carry_out(self.steps.study, "models")
        found = _by_model(self.steps.rungs, whole)
        names = [baseline.NAME, *(components.spec(plan.backbone) for plan in self.steps.rungs)]
        self.models = {name: found[name] for name in names if name in found}
        cheap = {components.spec(one.backbone) for one in self.steps.shares}
        errors = {name: _error(own) for name, own in self.models.items() if name in cheap}
        known = {name: error for name, error in errors.items() if error is not None}
        if not known:
            return [whole]
        best = min(known, key=lambda name: known[name])
        study = self.steps.curve_of(best)
        parts = self.runner.carry_out(study, "fewer labels")
        shares = [(one.fraction, _by_model((one,), parts).get(best, {})) for one in study.plans]
        self.curve = _learning_curve(best, self.models[best], self.steps.rungs[0].fraction, shares)
        return [whole, parts]

    def summary(self, keep_fold: bool) -> Summary:
        """Sum up, and put the model to keep in its place."""
        always = majority(self.records)
        titles = {name: plan.backbone.title for name, plan in self.plan_of.items()}
        rungs = ladder(self.models, self.cross_validated, always, titles)
        best = self.steps.best(rungs)
        rows = self._rows()
        kept, folder = _Kept(), self.runner.out / "model"
        if self.runner.processes.rank == 0:
            kept = self._kept(rows, best, folder, keep_fold)
        errors = {t.run: reason for one in self.outcomes for t, reason in one.errors.items()}
        records = [r for one in self.outcomes for r in one.records.values()]
        return Summary(
            plan=self.plan,
            ladder=rungs,
            best=None if best is None else best.model,
            rows=rows,
            out=self.runner.out,
            folder=None if kept.policy is None else folder,
            chosen=kept.policy,
            chosen_seed=kept.seed,
            trained_on=kept.texts,
            learning_curve=self.curve,
            abstention=kept.abstention,
            sample=self.steps.sample,
            truncated=max((r.result.truncated or 0 for r in records), default=0),
            trained=self.trained + sum(one.trained for one in self.outcomes) + kept.trained,
            unfinished=errors | ({REFIT: kept.problem} if kept.problem else {}),
            unreadable=tuple(x for one in self.outcomes for x in one.unreadable),
            majority=always,
            margin=self.steps.margin,
            metric=self.steps.metric,
            looks=tuple(sorted({*self.looks, self._done})),
            most=self.most,
            tried_before=tuple(tried_before(self.plan, self.runner.out)),
        )

    @property
    def _done(self) -> int:
        """Repeats or, with a test set, seeds."""
        return self.plan.repeats if self.cross_validated else self.plan.seeds

    def _rows(self) -> tuple[ComparisonRow, ...]:
        plan = self.plan
        names = {name: paper_name(plan.policy(name)) for name in plan.policy_names}
        done = self._done
        reference = paper_name(plan.backbone) if plan.fraction == 1.0 else ""
        paper = paper_cells(plan.dataset.title, reference, names)
        return tuple(
            rows_of(
                self.records,
                plan.baseline,
                paper,
                plan.cross_validated,
                self.steps.margin,
                tried_before(plan, self.runner.out),
                self.steps.metric,
                tuple(sorted({*(n for n in self.looks if n < done), done})),
                max(self.most, done),
            )
        )

    def _kept(
        self, rows: tuple[ComparisonRow, ...], best: Rung | None, folder: Path, keep_fold: bool
    ) -> _Kept:
        """Train or find the model to keep, and put it in its place."""
        problem = ""
        if best is not None and not keep_fold:
            try:
                return self._refitted(self._recipe(rows, best), folder)
            except AmpmixError as error:
                problem = str(error)
        return self._of_a_fold(rows, folder)._replace(problem=problem)

    def _recipe(self, rows: tuple[ComparisonRow, ...], best: Rung) -> Recipe:
        """The best model without mixing, unless a policy was shown to lower its error."""
        plan, policy, records = self.plan_of[best.model], "none", self.models[best.model]
        if plan is self.plan:
            policy = plan.baseline
            shown = [row for row in rows if row.decision == "lower error"]
            if shown and plan.baseline == "none":
                policy = min(shown, key=lambda row: row.difference or 0.0).policy
                records = self.records[policy]
                best = ladder({policy: records}, self.cross_validated)[0]
        done = {seed: record for seed, record in records.items() if record.done}
        return Recipe(plan, policy, done, best)

    def _refitted(self, recipe: Recipe, folder: Path) -> _Kept:
        watcher, task = self.runner.watcher, Task(0, REFIT)
        watcher.on_begin({task: recipe.steps}, "training on all labels")
        model = refit(recipe, folder, lambda step: watcher.on_step(task, step))
        about = model.about
        told = tuple(about.get("abstention", ()))
        return _Kept(recipe.policy, None, int(about["n_train"]), abstention=told)

    def _of_a_fold(self, rows: tuple[ComparisonRow, ...], folder: Path) -> _Kept:
        """The model of the policy with the lowest mean development error, its best seed's."""
        chosen = best_policy(rows)
        if chosen is None:
            discard(folder)  # an earlier comparison's
            return _Kept()
        of_each = self.study.best(self.outcomes[-1].records)
        task = next(t for t in of_each if t.run.policy == chosen.policy)
        made_again = 0
        for ended in self.runner.make_again(self.study, [task]):
            if ended.record is None:
                reason = ended.reason or "its worker died"
                raise AmpmixError(f"the chosen model could not be made again: {reason}")
            made_again += 1  # somebody had removed its weights
        install(self.runner.out / "models" / self.study.run_id(task), folder)
        return _Kept(chosen.policy, task.run.seed, None, made_again)


def looked_before(plan: Plan, out: Path) -> tuple[int, ...]:
    """Numbers of repeats, or seeds, after which the comparison in the folder was looked at."""
    try:
        told = json.loads((out / "summary.json").read_text(encoding="utf-8"))
        same = told["data_hash"] == plan.dataset.fingerprint
        same &= told["backbone"] == without_paths(components.spec(plan.backbone))
        looks = [*told["looks"], told["repeats" if plan.cross_validated else "seeds"]]
        return tuple(sorted({int(n) for n in looks if n >= 1})) if same else ()
    except (OSError, ValueError, KeyError, TypeError):
        return ()


def tried_before(plan: Plan, out: Path) -> dict[str, Records]:
    """Policies in the folder that the plan does not have, but which were compared as it compares.

    They count among the comparisons: else whoever names fewer policies would find more.
    """
    own = plan.specification(Run(plan.baseline, 0))
    same = {name: value for name, value in own.items() if name not in OF_A_RUN}
    try:
        groups = groups_of(read_runs([out]).records)
    except AmpmixError:  # no record
        return {}
    return {
        policy: runs
        for group in groups
        if group.specification == same
        for policy, runs in group.records.items()
        if policy not in (*plan.policy_names, baseline.NAME)
    }


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


def _by_model(plans: Sequence[Plan], outcome: Outcome) -> dict[str, dict[int, RunRecord]]:
    """The records of plans by model; TF-IDF's may stand beside another's."""
    by_id = {record.id: record for record in outcome.records.values()}
    found: dict[str, dict[int, RunRecord]] = {}
    for plan in plans:
        for run in plan.runs():
            model = baseline.NAME if run.policy == baseline.NAME else components.spec(plan.backbone)
            if (record := by_id.get(plan.run_id(run))) is not None:
                found.setdefault(model, {})[run.seed] = record
    return found


def _error(own: Records) -> float | None:
    """Mean error of the runs that were done, in percent; None without any."""
    errors = [100 * float(record.test_wrong.mean()) for record in own.values() if record.done]
    return float(np.mean(errors)) if errors else None


def _learning_curve(
    model: str, own: Records, whole: float, shares: Sequence[tuple[float, Records]]
) -> tuple[dict[str, Any], ...]:
    """Error of a model at each share of its labels and at all, by the same seeds, in percent."""
    seeds = {seed for _, records in shares for seed in records}
    points = [*shares, (whole, {seed: own[seed] for seed in own if seed in seeds})]
    return tuple(
        {
            "model": model,
            "share": fraction / whole,
            "labels": round(np.mean([_labels(record) for record in records.values()])),
            "error": error,
        }
        for fraction, records in sorted(points, key=lambda point: point[0])
        if (error := _error(records)) is not None
    )


def _labels(record: RunRecord) -> int:
    """Labels that a solver was given; those of a development set are not, if it was given."""
    told = record.result
    return (told.n_train or 0) if "learns" in record.specification else told.n_learned
