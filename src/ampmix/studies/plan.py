"""Plan of a comparison: its runs, their specifications, and how each is executed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from ampmix._support import components
from ampmix._support.attempts import attempt
from ampmix._support.components import POLICIES, Kind, kind_of_model, parse_model
from ampmix._support.origin import blaming, package_of, source_of
from ampmix._support.wording import counted
from ampmix.backbones.base import Backbone
from ampmix.baselines.base import Baseline
from ampmix.data.dataset import Split, TextDataset
from ampmix.data.splits import split_fold, split_holdout
from ampmix.errors import AmpmixError, unknown
from ampmix.policies.base import Policy
from ampmix.records.provenance import provenance
from ampmix.records.store import RunRecord, run_id
from ampmix.studies import DEFAULT_POLICIES, baseline
from ampmix.studies.results import (
    facts_of,
    predicted_per_second,
    result_of,
    texts_of,
    unlabelled_facts,
)
from ampmix.studies.source import Source, check_redraw
from ampmix.training.checks import check_trainable, sited
from ampmix.training.config import TrainConfig
from ampmix.training.replicas import automatic, fit_many
from ampmix.training.stack import unstackable
from ampmix.training.training_run import Diverged, Fit

FIRST_LOOK = 2
"""Repeats, or seeds, after which a comparison is first looked at: one tells nothing of others."""


class Run(NamedTuple):
    """One run of a plan: a policy's spec string (or the baseline's name) and a seed.

    The spec string names the policy; the plan has the object (:meth:`Plan.policy`).
    """

    policy: str
    seed: int


class _Outcome(NamedTuple):
    """Result of a run, and what is told of it beside."""

    result: dict[str, Any]
    told: dict[str, Any]

    @classmethod
    def of(cls, fitted: Fit | Diverged, split: Split) -> _Outcome:
        told = {}
        if isinstance(fitted, Fit):
            told["predicted_per_second"] = predicted_per_second(fitted.classifier, split)
        return cls(result_of(fitted, split), told)


@dataclass(frozen=True)
class Plan:
    """Every policy with every seed, on one data set with one backbone.

    With a test set, seed s draws the kept labels, the development set and all else; with `redraw`
    the kept ones stand for a training set drawn anew, and verdicts hold for such. Without one there
    are R repeats of stratified cross-validation with K folds: every text is tested once a
    repeat. Run s is then fold ``s % K`` of repeat ``s // K``, with weights and order of its own;
    the folds of each repeat are drawn anew.

    Args:
        dataset: the texts.
        backbone: the model.
        policies: the policies to compare, each once.
        seeds: how many seeds (0, 1, ...), or folds.
        repeats: of cross-validation; 1 where there is a test set.
        fraction: labels kept of each class, in (0, 1].
        config: optimisation settings.
        redraw: whether verdicts are for new training sets of `fraction` of the texts, which each
            seed draws; with a test set and a `fraction` below 1.

    Raises:
        AmpmixError: for what cannot run: no seeds, a class too small to split, or as
            :func:`ampmix.training.checks.check_trainable`.
    """

    dataset: TextDataset
    backbone: Backbone
    policies: tuple[Policy, ...]
    seeds: int = 5
    fraction: float = 1.0
    config: TrainConfig = field(default_factory=TrainConfig)
    repeats: int = 1
    redraw: bool = False
    _policy_sources: Mapping[str, str] = field(init=False, repr=False, compare=False)
    _backbone_source: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise AmpmixError(f"seeds is {self.seeds}: at least 1 is needed, 5 or more to decide")
        if self.repeats < 1:
            raise AmpmixError(
                f"repeats is {self.repeats}: at least 1 is needed, 2 or more to decide"
            )
        if self.repeats > 1 and not self.cross_validated:
            raise AmpmixError(
                f"repeats is {self.repeats}: a data set with a test set has no folds to repeat; "
                "use more --seeds"
            )
        if self.redraw:
            check_redraw(self.cross_validated, self.fraction)
        self._kind.check(self.backbone)
        for policy in self.policies:
            POLICIES.check(policy)
        components.check_once(self.policy_names, "policy")
        # here once, for workers that have no source to read: those of Ray
        sources = {name: source_of(own, POLICIES) for name, own in self._by_name.items()}
        object.__setattr__(self, "_policy_sources", sources)
        object.__setattr__(self, "_backbone_source", source_of(self.backbone, self._kind))
        first = self.split(0)
        for policy in self.policies:
            with blaming(self.backbone, self._kind), blaming(policy, POLICIES):
                check_trainable(self.backbone, policy, first, self.config)
        for seed in range(1, self.seeds if self.cross_validated else 1):
            self.split(seed)

    @classmethod
    def of(
        cls,
        data: TextDataset | str | Path | Any,
        policies: Sequence[Policy | str] | str = DEFAULT_POLICIES,
        backbone: Backbone | str = "cnn",
        **pieces: Any,
    ) -> Plan:
        """A plan of pieces as the command line takes them.

        Args:
            data: a data set, the name of one (``ampmix list``), a file, or a table of pandas,
                Polars or Arrow.
            policies: policies, or spec strings, as a list or separated by commas; at the
                backbone's own site (:func:`ampmix.training.checks.sited`) where their default is
                not among its sites.
            backbone: a backbone, or its spec string.
            pieces: ``seeds`` (by default 5), ``folds`` and ``repeats`` of cross-validation (the
                data set's own or 5, and once), ``fraction``, ``redraw``, ``unlabelled``, of a file
                what :func:`ampmix.load_dataset` takes (``text``, ``label``, ``test``, ``dev``,
                ``encoding``, ``group``, ``rare``), and fields of :class:`ampmix.TrainConfig`; what
                is left out suits backbone and data.

        >>> Plan.of("films.csv", [NoMixup(), "amp[eps=0.1]"], seeds=10, steps=500) # doctest: +SKIP
        """
        parsed = isinstance(backbone, str)
        model: Any = parse_model(str(backbone), trusted=True) if parsed else backbone
        source = Source.of(data, **pieces)
        listed = tuple(sited(policies_of(policies), model))
        config = source.config(model)
        design = source.seeds, source.fraction, config, source.repeats, source.redraw
        return cls(source.dataset, model, listed, *design)

    @property
    def _kind(self) -> Kind:
        return kind_of_model(self.backbone.name)

    @property
    def _by_name(self) -> dict[str, Policy]:
        return {components.spec(policy): policy for policy in self.policies}

    def policy(self, name: str) -> Policy:
        """The policy that a run names; AmpmixError if the plan has none of that name."""
        found = self._by_name
        if name not in found:
            raise unknown("policy", name, found)
        return found[name]

    @property
    def cross_validated(self) -> bool:
        """True if the test sets are folds of the data set itself."""
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
            repeat, fold = divmod(seed, self.seeds)
            return split_fold(self.dataset, fold, self.seeds, repeat, self.fraction)
        return split_holdout(self.dataset, seed, self.fraction)

    @property
    def runs_each(self) -> int:
        """Runs of each policy: seeds, or folds of all repeats."""
        return self.seeds * self.repeats

    @property
    def design(self) -> str:
        """The runs of a policy in words."""
        if not self.cross_validated:
            return counted(self.seeds, "seed")
        folds = counted(self.seeds, "fold")
        return folds if self.repeats == 1 else f"{self.repeats} repeats of {folds}"

    def with_runs(self, looks: int | None) -> Plan:
        """Return the plan with fewer repeats or, with a test set, fewer seeds.

        None is for as many as it has.
        """
        if looks is None:
            return self
        if self.cross_validated:
            return replace(self, repeats=min(looks, self.repeats))
        return replace(self, seeds=min(looks, self.seeds))

    def runs(self) -> list[Run]:
        """All runs, seed by seed, the policies of each in their order."""
        beside = () if isinstance(self.backbone, Baseline) else (baseline.NAME,)
        names = (*beside, *self.policy_names)
        return [Run(name, seed) for seed in range(self.runs_each) for name in names]

    def steps(self, run: Run) -> int:
        """Steps of a run at most; a baseline's count as one."""
        return 1 if self._solved(run) else self.config.steps

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
        if self.backbone == baseline.MODEL:
            specification["policy"] = baseline.NAME  # one run, beside a backbone or alone
        elif run.policy != baseline.NAME:
            specification["backbone"] = self.backbone.identity
            if self.backbone.version > 1:
                specification["backbone_version"] = str(self.backbone.version)
            specification["training"] = self._settings
            if self.redraw:
                specification["redraw"] = True
            others = self.dataset.unlabelled
            own: Any = self.backbone if isinstance(self.backbone, Baseline) else None
            if others is not None and (own or self.policy(run.policy)).uses_unlabelled:
                specification["unlabelled"] = others.fingerprint
            # of somebody's own alone: ampmix's is known by its version
            if source := self._policy_sources.get(run.policy):
                specification["policy_source"] = source
            if self._backbone_source:
                specification["backbone_source"] = self._backbone_source
        if self._solved(run) and self.dataset.dev is not None:
            specification["learns"] = "training texts"  # once: those for development as well
        return specification

    def _solved(self, run: Run) -> bool:
        """True for a run whose model a solver fits."""
        return run.policy == baseline.NAME or isinstance(self.backbone, Baseline)

    @property
    def _settings(self) -> dict[str, Any]:
        """The settings of training that change what comes out."""
        own = self.config.identity
        if isinstance(self.backbone, Baseline):
            return {name: own[name] for name in self.backbone.heeds if name in own}
        return own

    def run_id(self, run: Run) -> str:
        """The name of a run's record and model."""
        return run_id(self.specification(run))

    def execute(
        self, run: Run, models: Path | None, on_step: Callable[[int], None] | None = None
    ) -> RunRecord:
        """Do one run: its record, and its model under ``models / run_id`` (None: not kept).

        A run whose loss diverges gives a record that says so.
        """
        tell = None if on_step is None else lambda _, step: on_step(step)
        (record,) = self.execute_many([run], models, tell)
        return record

    def execute_many(
        self,
        runs: Sequence[Run],
        models: Path | None,
        on_step: Callable[[Run, int], None] | None = None,
    ) -> list[RunRecord]:
        """Do runs of one policy side by side, as :meth:`execute` does one.

        Each has the record that it has alone, up to rounding
        (:func:`ampmix.training.replicas.fit_many`); the seconds that they took are shared out
        evenly.
        """
        started, (policy,) = time.monotonic(), {run.policy for run in runs}
        splits = [self.split(run.seed) for run in runs]
        if policy == baseline.NAME:
            outcomes = [_Outcome.of(baseline.fit_baseline(split), split) for split in splits]
        else:
            with blaming(self.backbone, self._kind), blaming(self.policy(policy), POLICIES):
                outcomes = self._trained(runs, splits, models, on_step)
        made = provenance((time.monotonic() - started) / len(runs))
        if policy != baseline.NAME:  # a record has vectors by content, the paper by name
            made |= self._told(policy, made["versions"])
        return [
            RunRecord(
                self.specification(run),
                facts_of(split) | one.result,
                made | one.told | texts_of(split, self.dataset.groups),
            )
            for run, split, one in zip(runs, splits, outcomes, strict=True)
        ]

    def _told(self, policy: str, versions: Mapping[str, str]) -> dict[str, Any]:
        """Return what is told of a result, as far as it can be had: nothing here may lose one."""
        title, backbone = self.dataset.title, self.backbone
        names = attempt(lambda: [title, backbone.reference_name], None, "the paper's name")
        parts = (backbone, self._kind), (self.policy(policy), POLICIES)
        owners = attempt(
            lambda: dict(filter(None, [package_of(part, kind) for part, kind in parts])),
            {},
            "a component's package",
        )
        told: dict[str, Any] = {"versions": {**versions, **owners}}
        return told if names is None else told | {"printed_as": names}

    def _trained(
        self,
        runs: Sequence[Run],
        splits: Sequence[Split],
        models: Path | None,
        on_step: Callable[[Run, int], None] | None,
    ) -> list[_Outcome]:
        """Train, and save the models."""
        policy = self.policy(runs[0].policy)
        tell = None if on_step is None else lambda index, step: on_step(runs[index], step)
        seeds = [run.seed for run in runs]
        # before training: a file of vectors may be gone after it
        found = [self.backbone.coverage(s.train.texts, s.tokenizer) for s in splits]
        fits = fit_many(self.backbone, policy, splits, self.config, seeds, on_step=tell)
        outcomes = []
        for run, split, fitted, coverage in zip(runs, splits, fits, found, strict=True):
            outcome = _Outcome.of(fitted, split)
            if coverage is not None:
                outcome.result["vectors"] = coverage._asdict()
            if models is not None and isinstance(fitted, Fit):
                fitted.classifier.save(models / self.run_id(run), self._about(run, fitted))
            outcomes.append(outcome)
        return outcomes

    def replicas(self, given: int | None, workers: int = 1) -> int:
        """Return the number of seeds of a policy to train at once: `given`, else the best."""
        if given is not None:
            return min(given, self.runs_each)
        trained = [p for p in self.policies if not self._alone(p)]
        config, split = self.config, self.split(0)
        return automatic(self.backbone, trained, split, config, self.runs_each, workers)

    def most_replicas(self, policy: str) -> int:
        """Return the largest number of runs of a policy that can be trained side by side."""
        if policy == baseline.NAME:
            return 1
        return 1 if self._alone(self.policy(policy)) else self.runs_each

    def _alone(self, policy: Policy) -> str:
        return unstackable(self.backbone, policy, self.dataset.unlabelled is not None)

    def _about(self, run: Run, fitted: Fit) -> dict[str, Any]:
        """Return the facts on training that a saved model keeps."""
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
            **unlabelled_facts(fitted),
        }


def policies_of(given: Sequence[Policy | str] | str) -> list[Policy]:
    """The policies of a list, or of spec strings separated by commas."""
    listed: list[Policy] = []
    for one in [given] if isinstance(given, str) else given:
        listed += POLICIES.parse_list(one, trusted=True) if isinstance(one, str) else [one]
    return listed
