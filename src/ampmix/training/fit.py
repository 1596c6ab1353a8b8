"""fit(): one model trained with one policy on one split, chosen on the development set."""

from __future__ import annotations

from collections.abc import Callable

import numpy.typing as npt

from ampmix.backbones.base import Backbone
from ampmix.baselines.base import Baseline
from ampmix.data.dataset import Split
from ampmix.policies.base import Policy
from ampmix.training.checks import check_trainable, device_of
from ampmix.training.config import TrainConfig
from ampmix.training.losses import sample_weights
from ampmix.training.optimizer import optimizer_of
from ampmix.training.processes import ALONE, Processes
from ampmix.training.selection import Reading
from ampmix.training.solve import solve
from ampmix.training.step import TrainingStep, _batches, stepper
from ampmix.training.training_run import Fit, TrainingRun


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
    device = processes.device(str(device_of(config.device)))
    one = TrainingRun(backbone, policy, data, config, seed, device, processes, own)
    optimizer = optimizer_of([*one.model.parameters(), *one.learner.parameters()], config)
    step = TrainingStep(one.model, one.learner, one.loss, seed, device, processes.rank)
    step_once = stepper(step, optimizer, config, processes)
    losses: list[float] = []

    one.model.train()
    for number, batch in enumerate(_batches(one.parts.train, config, seed, own), start=1):
        losses.append(step_once(batch))
        one.check(losses[-1], number)
        if number % config.eval_every == 0 or number == config.steps:
            one.read(number, losses)
            losses.clear()
            if on_reading is not None:
                on_reading(one.selection.curve[-1])
        if on_step is not None:
            on_step(number)
        if one.selection.enough:
            break
    return one.finish(step.seen)
