"""Train the chosen recipe again on every label: the model to keep."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ampmix import statistics
from ampmix._support import components
from ampmix._support.json_files import content_sha256
from ampmix.analysis.abstention import abstention
from ampmix.analysis.ladder import Rung
from ampmix.backbones.base import CutModule
from ampmix.baselines.base import Baseline
from ampmix.data.splits import split_all
from ampmix.errors import AmpmixError
from ampmix.models.classifier import Classifier, check_replaceable
from ampmix.records.store import RunRecord
from ampmix.studies.plan import Plan
from ampmix.studies.results import unlabelled_facts
from ampmix.training.config import TrainConfig
from ampmix.training.fit import fit
from ampmix.training.training_run import Fit


@dataclass(frozen=True)
class Recipe:
    """Recipe to train again: a backbone with a policy, and what its runs have shown.

    Attributes:
        plan: with the backbone and its settings.
        policy: the spec string of one of its policies.
        records: of its runs, by seed.
        expected: the model's row of the ladder, or the policy's in its shape.
    """

    plan: Plan
    policy: str
    records: Mapping[int, RunRecord]
    expected: Rung

    @property
    def config(self) -> TrainConfig:
        """The settings on all labels.

        Where runs kept their best step on the development set, the steps are the median of those:
        all labels leave no development set. A linear schedule then ends at the last of them.
        """
        config = self.plan.config
        if isinstance(self.plan.backbone, Baseline) or config.selection == "last":
            return replace(config, selection="last", patience=0)
        best = [r.result.best_step for r in self.records.values() if r.result.best_step]
        steps = int(np.median(best)) if best else config.steps
        return replace(config, selection="last", patience=0, steps=steps, eval_every=steps)

    @property
    def id(self) -> str:
        """A name for what the model depends on."""
        plan, runs = self.plan, [record.digest for record in self.records.values()]
        told = [plan.dataset.fingerprint, plan.backbone.identity, self.policy, self.fraction]
        if plan.dataset.unlabelled is not None:
            told.append(plan.dataset.unlabelled.fingerprint)
        return content_sha256([*told, self.config.identity, sorted(runs)])[:16]

    @property
    def fraction(self) -> float:
        """Labels to train on; all of them where runs drew training sets of their own."""
        return 1.0 if self.plan.redraw else self.plan.fraction

    @property
    def steps(self) -> int:
        """Steps that training takes; a baseline's counts as one."""
        return 1 if isinstance(self.plan.backbone, Baseline) else self.config.steps


def refit(recipe: Recipe, folder: Path, on_step: Callable[[int], None] | None = None) -> Classifier:
    """Train a recipe on every label, calibrate it, and put the model in a folder.

    A model that is there already from the same recipe and records is left as it is. Probabilities
    are calibrated by the temperature of the out-of-fold probabilities
    (:func:`ampmix.statistics.temperature`), which becomes part of the last layer.

    Args:
        recipe: what to train.
        folder: where to put the model.
        on_step: told of the number of steps done.

    Raises:
        AmpmixError: if the folder holds something else, or training fails.
    """
    try:
        there = Classifier.load(folder)
        if there.about.get("recipe") == recipe.id:
            return there
    except AmpmixError:
        pass
    if folder.exists():
        check_replaceable(folder)
    plan = recipe.plan
    split = split_all(plan.dataset, 0, recipe.fraction)
    fitted = fit(
        plan.backbone, plan.policy(recipe.policy), split, recipe.config, 0, on_step=on_step
    )
    told = _about(recipe, fitted, len(split.train)) | calibration(recipe)
    if "temperature" in told:
        _scale(fitted.classifier.model, told["temperature"])
    fitted.classifier.save(folder, told)
    return Classifier.load(folder)


def _about(recipe: Recipe, fitted: Fit, texts: int) -> dict[str, Any]:
    plan, expected = recipe.plan, recipe.expected
    return {
        "dataset": plan.dataset.name,
        "data_hash": plan.dataset.fingerprint,
        "fraction": recipe.fraction,
        "model": components.spec(plan.backbone),
        "policy": recipe.policy,
        "seed": 0,
        "n_train": texts,
        "recipe": recipe.id,
        "expected": {
            "error": expected.mean,
            "interval": expected.interval,
            "measured": "cross-validation" if plan.cross_validated else "test set",
        },
        "training": asdict(recipe.config),
        **unlabelled_facts(fitted),
    }


def calibration(recipe: Recipe) -> dict[str, Any]:
    """The ``temperature`` of the out-of-fold probabilities, and what abstention brings after it.

    A test set is not for fitting: there is no temperature with one. Nothing without probabilities.
    """
    found = [record.result for record in recipe.records.values()]
    try:
        tables = np.concatenate([one.probabilities() for one in found])
        labels = np.concatenate([one.labels() for one in found])
    except ValueError:  # records of earlier versions, and of very large test sets, have none
        return {}
    if not recipe.plan.cross_validated:
        return {"abstention": abstention(tables, labels)}
    hot = statistics.temperature(tables, labels)
    told = abstention(statistics.calibrated(tables, hot), labels)
    return {"temperature": hot, "abstention": told}


def _scale(model: CutModule, temperature: float) -> None:
    """Divide the logits of a model by a temperature."""
    for parameter in model.logit_parameters():
        parameter.data.div_(temperature)
