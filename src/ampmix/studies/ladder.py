"""Plan which models to compare before any policy, and on which of them policies are compared."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ampmix._support import components
from ampmix._support.components import parse_model
from ampmix._support.json_files import check_writable
from ampmix.analysis.comparison import check_margin
from ampmix.analysis.ladder import Rung, chosen
from ampmix.backbones.base import Backbone
from ampmix.baselines.base import Baseline
from ampmix.baselines.majority import Majority
from ampmix.data.dataset import TextDataset
from ampmix.data.sample import sampled
from ampmix.errors import AmpmixError
from ampmix.policies.base import Policy
from ampmix.policies.none import NoMixup
from ampmix.statistics.metrics import MARGIN, metric_of
from ampmix.studies import automatic, baseline, cheap_models
from ampmix.studies.plan import FIRST_LOOK, Plan, policies_of
from ampmix.studies.run import left
from ampmix.studies.source import Source
from ampmix.studies.study import Study
from ampmix.training.checks import check_unlabelled, sited

MOST_RUNS = 10
"""Repeats, or seeds, of a comparison that goes on until it is decided."""

SHARES = (0.25, 0.5)  # of the labels, for which the cheap models are trained too
Policies = Sequence[Policy | str] | str | None


@dataclass(frozen=True)
class Ladder:
    """Models from the simplest on, and the policies to compare on the best of them that can mix.

    Attributes:
        plans: the policies on each backbone that they can be compared on; of several the best is
            taken.
        rungs: a plan for each model that is trained without mixing first, policy ``none`` alone;
            none where one backbone was asked for, which is then compared beside the baseline alone.
        shares: plans of the cheap models on a part of the labels, of a few runs each.
        notes: sentences for people on what was chosen.
        margin: a difference below it does not matter, in points (log loss: hundredths of a nat);
            0 for never.
        metric: what policies are compared by.
        until_decided: stop as soon as every policy is decided.
        seconds: time that `until_decided` may take; None for any.
        sample: about how many of the texts are used; None for all.
    """

    plans: tuple[Plan, ...]
    rungs: tuple[Plan, ...] = ()
    shares: tuple[Plan, ...] = ()
    notes: tuple[str, ...] = ()
    margin: float = MARGIN
    metric: str = "error"
    until_decided: bool = False
    seconds: float | None = None
    sample: int | None = None

    def __post_init__(self) -> None:
        metric_of(self.metric)
        check_margin(self.margin)

    @classmethod
    def of(
        cls,
        data: TextDataset | str | Path | Any,
        policies: Policies = None,
        backbone: Backbone | str = automatic.AUTO,
        models: Sequence[Backbone | str] | str | None = None,
        *,
        budget: str | None = None,
        workers: int = 1,
        out: str | Path | None = None,
        margin: float | None = None,
        metric: str = "error",
        until_decided: bool = False,
        **pieces: Any,
    ) -> Ladder:
        """A ladder of pieces as the command line takes them.

        Args:
            data: a data set, the name of one, a file, or a table of pandas, Polars or Arrow.
            policies: what to compare; by default ``none``, ``mixup`` and ``amp``, at sites that the
                backbone has.
            backbone: what to compare them on; ``auto``: the best pretrained encoder that there is
                time for, where one is installed, else ``cnn``.
            models: baselines and backbones to compare without mixing, besides `backbone`; with
                ``auto`` by default logistic regression on the encoder's features.
            budget: time that all runs may take, such as ``10m``, by which ``auto`` chooses.
            workers: processes that will train side by side.
            out: the folder in which the choice of ``auto`` is written down.
            margin: a difference below it does not matter, in points (log loss: hundredths of a
                nat); by default 1, 0 for never.
            metric: what policies are compared by: ``error``, ``macro-f1``, ``log-loss`` or
                ``calibration``.
            until_decided: go on repeat by repeat (with a test set seed by seed) until every policy
                is decided, `budget` is used up, or `repeats` (`seeds`) are done, 10 by default.
            pieces: ``seeds``, ``folds``, ``repeats``, ``fraction``, ``redraw``, ``unlabelled``,
                what goes with a file, and fields of :class:`ampmix.TrainConfig`, as of
                :meth:`ampmix.Plan.of`.

        Raises:
            AmpmixError: for what cannot run.
        """
        listed = policies_of(policies) if policies else None
        asked = None if models is None else _models(models)
        seconds = automatic.seconds(budget)
        if until_decided:
            pieces = {"most": MOST_RUNS, **pieces}
        make = _Maker(Source.of(data, **pieces))
        limit = MARGIN if margin is None else margin
        way = cls((), (), (), (), limit, metric, until_decided, seconds if budget else None)
        notes, steps = [], None
        extra: tuple[Plan, ...] = ()
        if backbone == automatic.AUTO:
            usual = asked is None and automatic.encoder_installed()
            if usual:
                asked = _models(cheap_models.CHEAP)
            one_alone = usual and not until_decided
            choice = make.choice(listed, asked or (), seconds, workers, out, one_alone)
            notes, steps = [choice.note], choice.steps
            whole, make = make.source.dataset, make.chosen(choice)
            notes.append(cheap_models.sample_note(whole.texts, make.source.dataset.texts, seconds))
            way = replace(way, sample=choice.texts)
            main: Any = parse_model(choice.backbone)
            if one_alone and choice.alone:
                own = make.plan(parse_model(choice.alone), _ALONE, choice.alone_steps)
                extra = (automatic.alone(own),)
                notes.append(automatic.alone_note(extra[0]))
        else:
            main = parse_model(backbone, True) if isinstance(backbone, str) else backbone
        plan = make.plan(main, listed, steps)
        check_unlabelled(plan.policies, plan.dataset, main, *(asked or []))
        if asked is None:
            return replace(way, plans=(plan,), notes=tuple(filter(None, notes)))
        others = [one for one in asked if one not in (main, baseline.MODEL)]
        mixable = [one for one in others if not isinstance(one, Baseline)]
        cheap = [baseline.MODEL, *(one for one in others if isinstance(one, Baseline))]
        shares = [make.share(one, share) for one in cheap for share in SHARES]
        rungs = (
            *(make.plan(one, _ALONE) for one in others),
            make.plan(main, _ALONE, steps),
            *extra,
        )
        some = FIRST_LOOK if until_decided else None
        return replace(
            way,
            plans=(plan, *filter(None, (make.able(one, listed) for one in mixable))),
            rungs=tuple(one.with_runs(some) for one in rungs),
            shares=tuple(
                one.with_runs(1 if one.cross_validated else FIRST_LOOK)
                for one in shares
                if one is not None
            ),
            notes=tuple(filter(None, notes)),
        )

    @property
    def dataset(self) -> TextDataset:
        """The texts."""
        return self.plans[0].dataset

    @property
    def study(self) -> Study:
        """The models on all labels; none of their runs' is kept."""
        return Study(self.dataset.name, "none", self.rungs)

    def curve_of(self, model: str) -> Study:
        """A cheap model on shares of the labels."""
        own = [one for one in self.shares if components.spec(one.backbone) == model]
        return Study(self.dataset.name, "none", tuple(own))

    def recorded(self, out: Path) -> tuple[int, int]:
        """Return how many of the runs are recorded in a folder, and how many there are.

        Of several backbones that the policies can be compared on, the one with the fewest runs left
        counts: which one is the best is known once the models are trained.
        """
        runs, missing = set[str](), set[str]()
        policies = map(comparison, self.plans)
        for study in (self.study, min(policies, key=lambda one: len(left(one, out)))):
            runs |= {study.run_id(task) for task in study.tasks()}
            missing |= {study.run_id(task) for task in left(study, out)}
        return len(runs - missing), len(runs)

    def best(self, rows: Sequence[Rung]) -> Rung | None:
        """The row of the model to keep."""
        return chosen(rows, self.plans[0].cross_validated)

    def plan_on(self, rows: Sequence[Rung]) -> Plan:
        """The policies on the best backbone that they can be compared on."""
        plans = {components.spec(plan.backbone): plan for plan in self.plans}
        best = self.best([row for row in rows if row.model in plans])
        return self.plans[0] if best is None else plans[best.model]


def comparison(plan: Plan) -> Study:
    """The study of one plan that a comparison of policies is."""
    return Study(plan.dataset.name, "each", (plan,))


_ALONE = [NoMixup()]


@dataclass(frozen=True)
class _Maker:
    """Makes plans on one source."""

    source: Source

    def plan(
        self, model: Backbone, policies: Sequence[Policy] | None, steps: int | None = None
    ) -> Plan:
        """The policies, or those of default, on a model."""
        own = self.source
        listed = sited(policies or policies_of(automatic.default_policies(model)), model)
        config = own.config(model, steps)
        design = own.seeds, own.fraction, config, own.repeats, own.redraw
        return Plan(own.dataset, model, tuple(listed), *design)

    def able(
        self, model: Backbone | str, policies: Sequence[Policy] | None, steps: int | None = None
    ) -> Plan | None:
        """The policies on a model, or that of a spec string; None if it cannot have one of them."""
        try:
            made = parse_model(model) if isinstance(model, str) else model
            return self.plan(made, policies, steps)
        except AmpmixError:
            return None

    def share(self, model: Backbone, share: float) -> Plan | None:
        """A model on a share of the labels, None if there are too few of them."""
        if isinstance(model, Majority):
            return None
        try:
            return replace(self.plan(model, _ALONE), fraction=self.source.fraction * share)
        except AmpmixError:
            return None

    def choice(
        self,
        policies: Sequence[Policy] | None,
        models: Sequence[Backbone],
        budget: float,
        workers: int,
        out: str | Path | None,
        one_alone: bool,
    ) -> automatic.Choice:
        """Choose what ``auto`` stands for; the same again if it was written down.

        With `one_alone` a better encoder is looked for, too, to be trained without mixing.
        """
        if not automatic.encoder_installed():
            return automatic.Choice(automatic.WITHOUT, note=automatic.WITHOUT_ENCODER)
        dataset, training = self.source.dataset, self.source.training
        memory = Path(out or Path("ampmix-runs") / dataset.name) / "auto.json"
        key = {
            "data_hash": dataset.fingerprint,
            "policies": None if policies is None else [components.spec(one) for one in policies],
            "budget": budget,
            "repeats": self.source.repeats,
            "training": dict(training),
        }
        if (found := automatic.remembered(memory, key)) is not None:
            return found

        check_writable(memory.parent)  # before the seconds that choosing takes
        began = time.monotonic()
        solved = [one for one in models if isinstance(one, Baseline)]
        classes = len(dataset.classes)
        speed = cheap_models.measured_speed(dataset.train, classes, solved, budget / 24)
        cheap = self.plan(parse_model(cheap_models.FEATURES), _ALONE)
        first = cheap.split(0)
        share = (len(first.train) + len(first.dev)) / len(dataset.texts)
        fits = share * (cheap.runs_each * (1 if cheap.cross_validated else 2) + 1) / workers
        texts = cheap_models.affordable(len(dataset.texts), budget, speed, fits)
        asks = any(policy.uses_unlabelled for policy in policies or ())
        maker = self.chosen(automatic.Choice(automatic.AUTO, texts=texts))
        chosen_from = time.monotonic()
        made = automatic.choose_encoder(
            lambda spec, steps: maker.able(spec, policies, steps),
            budget,
            workers,
            training.get("steps"),
            fewest=self.source.fewest,
            spent=chosen_from
            - began
            + speed.of(texts or len(dataset.texts), fits)
            + speed.of(len(first.unlabelled) * asks, 0),
        )
        made = replace(made, texts=texts, seconds=made.seconds + time.monotonic() - chosen_from)
        if one_alone:
            made = automatic.with_one_alone(
                made,
                lambda spec, steps: maker.able(spec, _ALONE, steps),
                budget,
                workers,
                training.get("steps"),
            )
        automatic.remember(memory, key, made)
        return made

    def chosen(self, choice: automatic.Choice) -> _Maker:
        """A maker of plans with the repeats and on the sample of a choice."""
        source = self.source
        if choice.texts is not None:
            source = replace(source, dataset=sampled(source.dataset, choice.texts))
        if choice.repeats is not None:
            source = replace(source, repeats=choice.repeats)
        return _Maker(source)


def _models(given: Sequence[Backbone | str] | str) -> list[Any]:
    """The baselines and backbones of a list, or of spec strings separated by commas."""
    parts = [given] if isinstance(given, str) else given
    found: list[Any] = []
    for one in parts:
        if isinstance(one, str):
            found += [parse_model(text, True) for text in components.split_list(one)]
        else:
            found.append(one)
    components.check_once([components.spec(one) for one in found], "model")
    return found
