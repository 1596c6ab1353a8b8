"""Check that a backbone, policy and configuration can be trained together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import torch

from ampmix._support.components import spec
from ampmix._support.wording import counted
from ampmix._torch.precision import check_precision
from ampmix.backbones.base import Backbone
from ampmix.baselines.base import Baseline
from ampmix.data.dataset import Split, TextDataset
from ampmix.errors import AmpmixError
from ampmix.policies.base import Policy, no_use
from ampmix.training.config import ORACLE, TrainConfig
from ampmix.training.training_run import _loss


def sited(policies: Sequence[Policy], backbone: Backbone) -> list[Policy]:
    """Policies at sites that the backbone has, where their own defaults are none of them.

    Of some encoders only the upper part trains: ``mixup`` then mixes where that part begins. A site
    other than the default stays, for :func:`check_trainable` to refuse if it is not there, and a
    policy that comes to be another of the list is there once. See
    ``docs/decisions/0018-layers-of-encoders.md``.
    """
    if not (site := backbone.default_site):
        return list(policies)
    there, found = backbone.all_sites, list[Policy]()
    for policy in policies:
        moved: Any = policy
        own = {field.name: field.default for field in fields(moved)}.get("site")
        if own is not None and policy.mixing_site == own and own not in there:
            moved = replace(moved, site=site)
            if moved in policies:
                continue
        found.append(moved)
    return found


def check_sites(policy: Policy, backbone: Backbone) -> None:
    """Raise AmpmixError unless a backbone has all sites of a policy, each named once."""
    for site in policy.sites:
        backbone.check_site(site)
    if len(set(policy.sites)) < len(policy.sites):
        raise AmpmixError(f"site is {policy.mixing_site!r}: name each of several sites once")
    if len(policy.sites) > 1 and policy.learns:
        raise AmpmixError(
            f"policy {policy.name} has parameters for hidden states of one site, and site is "
            f"{policy.mixing_site!r}: give one, such as {policy.sites[0]}"
        )


def check_unlabelled(
    policies: Sequence[Policy], data: Split | TextDataset, *models: Backbone
) -> None:
    """Raise AmpmixError if there are texts without labels, and no policy or model uses them."""
    solved = [model for model in models if isinstance(model, Baseline) and model.uses_unlabelled]
    if data.unlabelled and not solved and not any(policy.uses_unlabelled for policy in policies):
        raise AmpmixError(no_use(*(spec(policy) for policy in policies)))


def unlabelled_notes(policies: Sequence[Policy], data: Split, model: Backbone) -> list[str]:
    """Return sentences on which policies learn from texts without labels, and which lack them."""
    if not data.unlabelled:
        return [
            f"policy {spec(policy)} learns from texts without labels, and there are none "
            f"(--unlabelled FILE): it trains as {policy.without_unlabelled} does"
            for policy in policies
            if policy.without_unlabelled
        ]
    using = [spec(policy) for policy in policies if policy.uses_unlabelled]
    using += [spec(model)] * (isinstance(model, Baseline) and model.uses_unlabelled)
    if not using:
        return []
    others = [spec(policy) for policy in policies if not policy.uses_unlabelled]
    told = f"{counted(len(data.unlabelled), 'unlabelled text')}: {', '.join(using)} learn"
    told += f"{'s' if len(using) == 1 else ''} from {'it' if len(data.unlabelled) == 1 else 'them'}"
    solved = isinstance(model, Baseline)
    return [told + (f", {', '.join(others)} not" if others and not solved else "")]


def check_trainable(backbone: Backbone, policy: Policy, data: Split, config: TrainConfig) -> None:
    """Raise AmpmixError if :func:`fit` could not train so; nothing is built or read for it.

    That is: a site that the backbone does not have, or one without words or a backbone without
    dropout for a policy that needs them, more classes than the policy allows, or class
    weights or label smoothing with a policy that has a loss of its own, a precision that the
    device does not have, or a selection on a test set that is not there.
    """
    check_sites(policy, backbone)
    if policy.needs_words and "sent" in policy.sites:
        raise AmpmixError(
            f"policy {policy.name} changes some words of a text, and site 'sent' has none left: "
            "take another site, such as word"
        )
    if policy.needs_dropout and not backbone.drops:
        raise AmpmixError(
            f"policy {policy.name} compares two draws of dropout, which {backbone.name} has not "
            "with dropout=0: give it some, such as dropout=0.1"
        )
    policy.outputs(len(data.classes))
    policy.check_loss(_loss(data, config))
    if isinstance(backbone, Baseline) and config.label_smoothing:
        raise AmpmixError(
            f"label_smoothing is {config.label_smoothing}: {backbone.name} is fitted by a solver, "
            "to plain labels; leave label_smoothing out"
        )
    check_precision(config.precision, config.device)
    if config.selection == ORACLE and not len(data.test):
        raise AmpmixError(
            f"selection is {ORACLE!r}, but there is no test set: give one, or choose best_dev"
        )


def device_of(name: str) -> torch.device:
    """The device of that name; AmpmixError unless something can be computed there."""
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        found = ["cpu"]
        found += ["cuda"] * torch.cuda.is_available()
        found += ["mps"] * torch.backends.mps.is_available()
        raise AmpmixError(
            f"device is {name!r}, which this PyTorch cannot use here: it can use {', '.join(found)}"
        ) from error
