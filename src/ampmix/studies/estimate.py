"""Estimate a study's computing time from recorded runs, else from a few steps of some runs."""

from __future__ import annotations

import contextlib
import itertools
import random
import time
from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean, median

import numpy as np
import torch

from ampmix.baselines.base import Baseline
from ampmix.data.dataset import Split
from ampmix.records.store import RunRecord
from ampmix.studies import baseline
from ampmix.studies.cheap_models import MEASURED
from ampmix.studies.executors import Task
from ampmix.studies.plan import Plan
from ampmix.training.fit import fit

BUDGET = 15.0  # seconds that calibration may take, and a little more
STEPS, EVAL_EVERY, ENOUGH = 8, 4, 5  # steps; that many end with one that follows a reading

Kind = tuple[int, str]
"""A plan and a policy: runs that differ by the seed alone take about as long."""


@dataclass(frozen=True)
class Estimate:
    """Estimated computing time of runs.

    Attributes:
        seconds: of one run of each kind.
        measured: how many kinds were measured, now or in records; the others were inferred.
    """

    seconds: Mapping[Kind, float]
    measured: int

    def total(self, tasks: Sequence[Task], slots: int) -> float:
        """Seconds for the tasks on so many slots, if these are evenly used."""
        times = [self.seconds[task.plan, task.run.policy] for task in tasks]
        return max(sum(times) / max(slots, 1), max(times, default=0.0))


def estimate(
    plans: Sequence[Plan],
    tasks: Sequence[Task],
    records: Mapping[Task, RunRecord],
    budget: float = BUDGET,
    clock: Callable[[], float] = time.monotonic,
) -> Estimate:
    """Estimate the computing time of each kind of run.

    A kind with finished runs takes their median. Of the others, as many as fit into the budget are
    begun, for up to 8 steps with two readings of the development set, and extrapolated. The rest
    take as long as others of the same backbone, else as all do, on average.

    Args:
        plans: the study's.
        tasks: what is left to do.
        records: what there is.
        budget: seconds to spend on measuring.
        clock: tells the time in seconds.
    """
    known: dict[Kind, list[float]] = {}
    for task, record in records.items():
        if record.done:
            known.setdefault(_kind(task), []).append(float(record.provenance["seconds"]))
    seconds = {kind: median(times) for kind, times in known.items()}
    missing = list(dict.fromkeys(_kind(task) for task in tasks if _kind(task) not in seconds))
    random.Random(0).shuffle(missing)  # a few of everything, should the budget not suffice
    end, threads = clock() + budget, torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for kind in missing:
            if (rest := end - clock()) <= 0:
                break
            seconds[kind] = seconds_of_run(plans[kind[0]], kind[1], rest, clock)
    finally:
        torch.set_num_threads(threads)
    measured = len(seconds)
    for kind in missing:
        if kind not in seconds:
            seconds[kind] = _inferred(plans, kind, seconds)
    return Estimate(seconds, measured)


def _kind(task: Task) -> Kind:
    return task.plan, task.run.policy


def _inferred(plans: Sequence[Plan], kind: Kind, seconds: Mapping[Kind, float]) -> float:
    """Infer the time from kinds with the same backbone and policy, else backbone, else from all.

    By their steps: a step of a backbone with a policy takes about as long on other texts.
    """
    steps = [plan.config.steps for plan in plans]
    trained = {other: time for other, time in seconds.items() if other[1] != baseline.NAME}
    backbone = plans[kind[0]].backbone
    same = {other: time for other, time in trained.items() if plans[other[0]].backbone == backbone}
    alike = {other: time for other, time in same.items() if other[1] == kind[1]}
    rates = [time / steps[other[0]] for other, time in (alike or same or trained).items()]
    return fmean(rates) * steps[kind[0]] if rates else 0.0


class _Enough(Exception):
    """Calibration has seen what it needs."""


def seconds_of_run(
    plan: Plan,
    policy: str,
    budget: float,
    clock: Callable[[], float] = time.monotonic,
) -> float:
    """Seconds that one run would take, from its beginning.

    Encoders are measured on 128 texts of each part: reading all would take too long, and what is
    read once for all runs is then hardly counted.

    Args:
        plan: with the run.
        policy: its name.
        budget: seconds after which enough is measured.
        clock: tells the time in seconds.
    """
    started, at = clock(), list[float]()
    whole = plan.split(0)
    if policy == baseline.NAME:
        baseline.errors(whole)
        return clock() - started
    split = _some(whole, MEASURED) if plan.backbone.reads_folder else whole
    if isinstance(plan.backbone, Baseline):
        return _seconds_of_solving(plan, split, clock) * len(whole.train) / len(split.train)

    def on_step(step: int) -> None:
        at.append(clock())
        if len(at) >= ENOUGH and at[-1] - started > budget:
            raise _Enough

    config = replace(plan.config, steps=STEPS, eval_every=EVAL_EVERY, patience=0)
    if plan.config.schedule != "constant" or plan.config.warmup:
        config = replace(config, schedule="constant", warmup=0.0)
    with contextlib.suppress(_Enough):
        fit(plan.backbone, plan.policy(policy), split, config, 0, on_step=on_step)
    ended = clock()
    gaps = [later - earlier for earlier, later in itertools.pairwise(at)]
    plain = [gap for i, gap in enumerate(gaps, start=2) if i % EVAL_EVERY]
    step = median(plain)  # some texts are longer than others
    reading = max(0.0, gaps[EVAL_EVERY - 2] - step) if len(gaps) >= EVAL_EVERY - 1 else 0.0
    before = max(0.0, at[0] - started - step)
    each = reading / max(len(split.dev), 1)
    fits = 1 + (plan.policy(policy).teachers if split.unlabelled else 0)
    all_done = len(at) == fits * STEPS and split is whole
    after = ended - at[-1] if all_done else each * len(whole.test)
    readings = -(-plan.config.steps // plan.config.eval_every)
    one = plan.config.steps * step + readings * each * len(whole.dev)
    return before + fits * one + after


def _seconds_of_solving(plan: Plan, split: Split, clock: Callable[[], float]) -> float:
    """Seconds that a model takes which is solved for, once its texts have been read."""
    solve = partial(fit, plan.backbone, plan.policy("none"), split, plan.config)
    if plan.backbone.reads_folder:
        solve()  # reads them
    started = clock()
    solve()
    return clock() - started


def _some(split: Split, most: int) -> Split:
    """A split of at most so many texts a part, from all over it: labels may lie in blocks."""

    def few(part: Sized) -> list[int]:
        places = np.linspace(0, len(part) - 1, min(most, len(part)), dtype=int)
        return [int(place) for place in places]

    train, dev, test = few(split.train), few(split.dev), few(split.test)
    return replace(
        split,
        train=split.train.take(train),
        dev=split.dev.take(dev),
        test=split.test.take(test),
        train_indices=split.train_indices[train],
        dev_indices=split.dev_indices[dev],
        test_indices=split.test_indices[test],
        unlabelled=split.unlabelled[:most],
        pool=(),
    )
