"""fit(): one model trained with one policy on one split, chosen on the development set."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from torch import Tensor

from ampmix.backbones.base import Backbone
from ampmix.baselines.base import Baseline
from ampmix.data.dataset import Split
from ampmix.models.classifier import logits_of
from ampmix.policies.base import Policy
from ampmix.training.checks import check_trainable, device_of
from ampmix.training.config import ORACLE, TrainConfig
from ampmix.training.losses import sample_weights
from ampmix.training.optimizer import optimizer_of
from ampmix.training.processes import ALONE, Processes
from ampmix.training.selection import Reading
from ampmix.training.solve import solve
from ampmix.training.stack import Stack, unstackable
from ampmix.training.step import TrainingStep, stepper, training_batches
from ampmix.training.training_run import Diverged, Fit, TrainingRun


def fit(
    backbone: Backbone,
    policy: Policy,
    data: Split,
    config: TrainConfig | None = None,
    seed: int = 0,
    *,
    on_step: Callable[[int], None] | None = None,
    on_reading: Callable[[Reading], None] | None = None,
    processes: Processes = ALONE,
    weights: npt.ArrayLike | None = None,
) -> Fit:
    """Train a backbone with a policy; keep the step with the lowest development error.

    The vocabulary comes from the training part alone. Ties in development error go to the lower
    development loss, then to the earlier step. The test set is read once, after choosing. Random
    streams for initial weights, batches, mixing and dropout are separate, and none depends on the
    policy: with one seed all policies share split, initial weights, batch order and dropout masks.
    No global random state is touched.

    On a GPU steps are recorded once and replayed (:mod:`ampmix.training.stack`), where the backbone
    and the policy allow: the same result up to rounding.

    A policy that has teachers trains several models, one after the other; steps are counted as if
    they were those of one.

    Args:
        backbone: what to train, such as ``TextCNN()``, or a baseline, such as ``TfidfLogreg()``,
            which takes no steps and is given no policy but ``none``.
        policy: how, such as ``AMP(eps=0.1, site="sent")``.
        data: a split, from :func:`ampmix.data.splits.split_holdout` or
            :func:`ampmix.data.splits.split_fold`.
        config: optimisation settings; by default the backbone's.
        seed: the run's seed, >= 0.
        on_step: called with the number of steps done, after each.
        on_reading: called with each reading of the development set.
        processes: those that train this one model together
            (:func:`ampmix.training.processes.joined`), each on its part of every batch, within
            which it pairs. All return the same.
        weights: of the training texts, > 0, ``[n_train]``: a text of weight 2 counts as two copies
            of it would (:func:`ampmix.training.losses.weighted`). Only their ratios matter; equal
            ones are as none. The development and test texts are read without.

    Returns:
        :class:`Fit`.

    Raises:
        Diverged: if the loss is not finite, with the step.
        AmpmixError: as :func:`check_trainable`; for weights that are none.
    """
    config = config or TrainConfig.of(backbone)
    check_trainable(backbone, policy, data, config)
    own = sample_weights(weights, len(data.train))
    if isinstance(backbone, Baseline):
        return solve(backbone, data, config, seed, own)
    if own is None and processes.count == 1 and _recorded(backbone, policy, data, config):
        return _trained_as_stack(backbone, policy, data, config, seed, on_step, on_reading)
    guesses, notes = None, list[str]()
    fits = 1 + (policy.teachers if data.unlabelled else 0)
    told = _Told(on_step, on_reading, fits)
    for _ in range(fits - 1):
        own_data = data if config.selection == ORACLE else _untested(data)
        teacher, run = _trained(
            backbone, policy, own_data, config, seed, processes, own, guesses, told
        )
        told.fitted += 1
        notes += _doubts(teacher, data, told.fitted)
        guesses = _guesses(run)
    fitted, _ = _trained(backbone, policy, data, config, seed, processes, own, guesses, told)
    return replace(fitted, notes=tuple(notes))


def _recorded(backbone: Backbone, policy: Policy, data: Split, config: TrainConfig) -> bool:
    """Return True if steps are recorded, as a GPU can, and replayed."""
    stacking = backbone.stacking
    return (
        device_of(config.device).type == "cuda"
        and stacking is not None
        and stacking.pays_for_one
        and not unstackable(backbone, policy, bool(data.unlabelled))
    )


def _trained_as_stack(
    backbone: Backbone,
    policy: Policy,
    data: Split,
    config: TrainConfig,
    seed: int,
    on_step: Callable[[int], None] | None,
    on_reading: Callable[[Reading], None] | None,
) -> Fit:
    """Train one model as a stack of one, whose steps a GPU replays."""
    device = device_of(config.device)
    one = TrainingRun(backbone, policy, data, config, seed, device)
    told = _Told(on_step, on_reading, fits=1)
    (found,) = Stack([one], policy, config, device).train(
        lambda _, number: told.step(number, config.steps), lambda _, reading: told.reading(reading)
    )
    if isinstance(found, Diverged):
        raise found
    return found


@dataclass
class _Told:
    """Tells of the steps of one fit after another as of those of one."""

    on_step: Callable[[int], None] | None
    on_reading: Callable[[Reading], None] | None
    fits: int
    fitted: int = 0

    def step(self, number: int, steps: int) -> None:
        if self.on_step is not None:
            self.on_step(-(-(self.fitted * steps + number) // self.fits))

    def reading(self, reading: Reading) -> None:
        if self.on_reading is not None and self.fitted == self.fits - 1:
            self.on_reading(reading)


def _trained(
    backbone: Backbone,
    policy: Policy,
    data: Split,
    config: TrainConfig,
    seed: int,
    processes: Processes,
    weights: npt.NDArray[np.float64] | None,
    guesses: Tensor | None,
    told: _Told,
) -> tuple[Fit, TrainingRun]:
    """Train one model, with the labels that a teacher guessed if there is one.

    The first teacher learns from the labelled texts alone.
    """
    device = processes.device(str(device_of(config.device)))
    one = TrainingRun(backbone, policy, data, config, seed, device, processes, weights)
    optimizer = optimizer_of([*one.model.parameters(), *one.learner.parameters()], config)
    step = TrainingStep(one.model, one.learner, one.loss, seed, device, processes.rank)
    step_once = stepper(step, optimizer, config, processes)
    losses: list[float] = []

    one.model.train()
    alone = policy.teachers and guesses is None
    texts = one.parts.train, config, seed, weights
    others = () if alone else (one.parts.unlabelled, guesses)
    for number, batch in enumerate(training_batches(*texts, *others), start=1):
        losses.append(step_once(batch))
        one.check(losses[-1], number)
        if number % config.eval_every == 0 or number == config.steps:
            one.read(number, losses)
            losses.clear()
            told.reading(one.selection.curve[-1])
        told.step(number, config.steps)
        if one.selection.enough:
            break
    return one.finish(step.seen), one


def _untested(data: Split) -> Split:
    """The split without test texts, which no teacher reads."""
    return replace(data, test=data.test.take([]), test_indices=data.test_indices[:0])


def _guesses(teacher: TrainingRun) -> Tensor:
    """Class probabilities of the texts without a label, ``[n, C]``."""
    model, device = teacher.model.to(teacher.device), teacher.device
    teacher.read_ahead(every=True)
    return logits_of(model, teacher.parts.unlabelled, device).softmax(-1)


def _doubts(teacher: Fit, data: Split, number: int) -> list[str]:
    """A note on a teacher that errs no less than the most frequent class would."""
    if not len(data.dev) or math.isnan(teacher.best.dev_error):
        return []
    majority = np.bincount(data.train.labels, minlength=len(data.classes)).argmax()
    alone = float((data.dev.labels != majority).mean())
    if teacher.best.dev_error < alone:
        return []
    return [
        f"teacher {number} errs on {teacher.best.dev_error:.1%} of the development texts, and "
        f"{data.classes[majority]!r} for every text on {alone:.1%}: what it makes of the "
        "unlabelled texts teaches little"
    ]
