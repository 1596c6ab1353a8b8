"""What a comparison consists of: its runs, what determines each, and how one is done."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ampmix import components, yardstick
from ampmix.backbones._backbone import Backbone
from ampmix.data import Split, TextDataset, split_fold, split_holdout
from ampmix.errors import AmpmixError
from ampmix.policies._policy import Policy
from ampmix.records import RunRecord, provenance, run_id
from ampmix.training import Diverged, Fit, TrainConfig, check_trainable, fit

PAPER_STEPS, TABLE_STEPS = 8000, 1500


class Run(NamedTuple):
    """One run of a plan: a policy's spec string (or the yardstick's name) and a seed."""

    policy: str
    seed: int


def settings(backbone: Backbone, known: bool, **given: Any) -> TrainConfig:
    """Optimisation settings: what is given and not None, else as suits backbone and data.

    Args:
        backbone: what is trained.
        known: whether on a data set that ampmix knows, whose papers train for 8,000 steps.
        given: fields of :class:`ampmix.training.TrainConfig`.
    """
    chosen = {name: value for name, value in given.items() if value is not None}
    fallback = PAPER_STEPS if known else TABLE_STEPS
    steps = chosen.setdefault("steps", backbone.training_defaults.get("steps", fallback))
    if isinstance(steps, int):
        chosen.setdefault("eval_every", min(100, max(1, steps // 20)))
    return TrainConfig.of(backbone, **chosen)


@dataclass(frozen=True)
class Plan:
    """Every policy with every seed, on one data set with one backbone.

    With a test set, seed s draws the kept labels, the development set and all else. Without one
    the seeds are the folds of one stratified cross-validation: every text is tested once.

    Args:
        dataset: the texts.
        backbone: the model.
        policies: the policies to compare, each once.
        seeds: how many seeds (0, 1, ...), or folds.
        fraction: labels kept of each class, in (0, 1].
        config: optimisation settings.

    Raises:
        AmpmixError: for what cannot run: no seeds, a class too small to split, or as
            :func:`ampmix.training.check_trainable`.
    """

    dataset: TextDataset
    backbone: Backbone
    policies: tuple[Policy, ...]
    seeds: int = 5
    fraction: float = 1.0
    config: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise AmpmixError(f"seeds is {self.seeds}: at least 1 is needed, 5 or more to decide")
        first = self.split(0)
        for policy in self.policies:
            check_trainable(self.backbone, policy, first, self.config)
        for seed in range(1, self.seeds if self.cross_validated else 1):
            self.split(seed)

    @property
    def cross_validated(self) -> bool:
        """Whether the test sets are folds of the data set itself."""
        return self.dataset.test is None

    @property
    def policy_names(self) -> tuple[str, ...]:
        """The spec strings of the policies."""
        return tuple(components.spec(policy) for policy in self.policies)

    @property
    def baseline(self) -> str:
        """The policy that the others are compared with: ``none`` if it is there, else the first."""
        return "none" if "none" in self.policy_names else self.policy_names[0]

    def split(self, seed: int) -> Split:
        """The split of one seed, the same for all policies."""
        if self.cross_validated:
            return split_fold(self.dataset, seed, self.seeds, fraction=self.fraction)
        return split_holdout(self.dataset, seed, self.fraction)

    def runs(self) -> list[Run]:
        """All runs, seed by seed, so that an interrupted comparison leaves complete pairs."""
        names = (yardstick.NAME, *self.policy_names)
        return [Run(name, seed) for seed in range(self.seeds) for name in names]

    def specification(self, run: Run) -> dict[str, Any]:
        """Everything that determines a run. The policy's name enters no random stream."""
        specification: dict[str, Any] = {
            "dataset": self.dataset.name,
            "data_hash": self.dataset.fingerprint,
            "fraction": self.fraction,
            "folds": self.seeds if self.cross_validated else None,
            "policy": run.policy,
            "seed": run.seed,
        }
        if run.policy != yardstick.NAME:
            specification["backbone"] = self.backbone.identity
            specification["training"] = self.config.identity
        return specification

    def run_id(self, run: Run) -> str:
        """The name of a run's record and model."""
        return run_id(self.specification(run))

    def execute(
        self, run: Run, models: Path | None, on_step: Callable[[int], None] | None = None
    ) -> RunRecord:
        """Do one run: its record, and its model under ``models / run_id`` (None: not kept).

        A run whose loss diverges gives a record that says so.
        """
        started, split = time.monotonic(), self.split(run.seed)
        result: dict[str, Any] = {
            "split_hash": split.hash,
            "n_train": len(split.train),
            "n_dev": len(split.dev),
            "n_test": len(split.test),
        }
        if run.policy == yardstick.NAME:
            wrong = yardstick.yardstick(split)
            result |= _test_result(wrong) | {"status": "done", "test_reads": [0]}
        else:
            policy = components.parse(run.policy, "ampmix.policies", "policy")
            coverage = self.backbone.coverage(split.train.texts, split.tokenizer)
            if coverage is not None:
                result["vectors"] = coverage._asdict()
            try:
                fitted = fit(self.backbone, policy, split, self.config, run.seed, on_step=on_step)
            except Diverged as error:
                result |= {"status": "failed", "error": str(error)}
            else:
                result |= _training_result(fitted)
                if models is not None:
                    fitted.classifier.save(models / self.run_id(run), self._about(run, fitted))
        made = provenance(time.monotonic() - started)
        if run.policy != yardstick.NAME:  # a record has vectors by content, the paper by name
            made["printed_as"] = [self.dataset.title, self.backbone.reference_name]
        return RunRecord(self.specification(run), result, made)

    def _about(self, run: Run, fitted: Fit) -> dict[str, Any]:
        """What a saved model says of itself."""
        return {
            "dataset": self.dataset.name,
            "data_hash": self.dataset.fingerprint,
            "fraction": self.fraction,
            "policy": run.policy,
            "seed": run.seed,
            "dev_error": fitted.best.dev_error,
            "test_error": fitted.test_error,
            "run": self.run_id(run),
            "training": asdict(self.config),
        }


def _training_result(fitted: Fit) -> dict[str, Any]:
    stopped = {} if fitted.stopped is None else {"stopped": fitted.stopped}
    moved = {} if fitted.perturbation is None else {"perturbation": fitted.perturbation}
    return (
        _test_result(fitted.test_wrong)
        | stopped
        | moved
        | {
            "status": "done",
            "test_reads": list(fitted.test_reads),
            "best_step": fitted.best.step,
            "dev_error": fitted.best.dev_error,
            "dev_loss": fitted.best.dev_loss,
            "truncated": fitted.truncated,
            "curve": [reading._asdict() for reading in fitted.curve],
        }
    )


def _test_result(wrong: np.ndarray[Any, np.dtype[np.bool_]]) -> dict[str, Any]:
    return {
        "test_error": float(wrong.mean()),
        "test_wrong": "".join("1" if w else "0" for w in wrong.tolist()),
    }
