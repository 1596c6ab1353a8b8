"""fit_many(): seeds as an axis. S models of one architecture, trained side by side as one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from ampmix.backbones.base import Backbone
from ampmix.data.dataset import Split
from ampmix.errors import AmpmixError
from ampmix.policies.base import Policy
from ampmix.training.checks import check_trainable, device_of
from ampmix.training.config import TrainConfig
from ampmix.training.fit import fit
from ampmix.training.stack import Stack, named_weights, unstackable
from ampmix.training.training_run import Diverged, Fit, TrainingRun


def fit_many(
    backbone: Backbone,
    policy: Policy,
    splits: Sequence[Split],
    config: TrainConfig | None = None,
    seeds: Sequence[int] = (),
    *,
    on_step: Callable[[int, int], None] | None = None,
) -> list[Fit | Diverged]:
    """Train a backbone with a policy on several splits at once, each with a seed of its own.

    Each is what :func:`ampmix.training.fit.fit` makes of it alone, up to rounding (and, of a
    fine-tuned BERT, up to which numbers its body's dropout zeroes): its own vocabulary, initial
    weights, batches, pairs, coefficients and dropout masks, its own norm to clip, choice of the
    step, and end. One that diverges or has trained enough leaves the others as they are.

    The weights have a leading axis of seeds, and so has all that is computed from them; policies
    and the optimiser do not care. Texts lie on the device, losses stay there until the development
    sets are read, and on a GPU no step waits for it. On a CPU it gains nothing.

    Where that cannot be done (:func:`unstackable`) the seeds are trained one after the other.

    Args:
        backbone: what to train.
        policy: how.
        splits: one for each seed; their classes agree.
        config: optimisation settings; by default the backbone's.
        seeds: the runs' seeds; by default 0, 1, ...
        on_step: called with the index of a split and the number of steps done, after each.

    Returns:
        For each split :class:`ampmix.training.training_run.Fit`, or why its training failed.

    Raises:
        AmpmixError: for splits of several class lists, or without a seed for each; and as
            :func:`ampmix.training.checks.check_trainable`.
    """
    config = config or TrainConfig.of(backbone)
    seeds = tuple(seeds) or tuple(range(len(splits)))
    if len(seeds) != len(splits) or len({split.classes for split in splits}) > 1:
        raise AmpmixError(
            f"{len(splits)} splits with {len(seeds)} seeds, and classes "
            f"{sorted({split.classes for split in splits})}: give each split a seed, and splits of "
            "the same classes"
        )
    pairs = [(split, config, seed) for split, seed in zip(splits, seeds, strict=True)]
    for split in splits:
        check_trainable(backbone, policy, split, config)
    tell = on_step or (lambda _index, _step: None)
    unlabelled = any(split.unlabelled for split in splits)
    if len(splits) < 2 or unstackable(backbone, policy, unlabelled):
        return [
            _alone(backbone, policy, *pair, partial(tell, index))
            for index, pair in enumerate(pairs)
        ]
    device = device_of(config.device)
    runs = [TrainingRun(backbone, policy, *pair, device) for pair in pairs]
    return Stack(runs, policy, config, device).train(tell)


def automatic(
    backbone: Backbone,
    policies: Sequence[Policy],
    split: Split,
    config: TrainConfig,
    most: int,
    workers: int = 1,
) -> int:
    """Return the number of seeds to train at once: 1 on a CPU, where more gain nothing.

    On a GPU up to `most`, as many as its free memory holds when `workers` share half of it.
    """
    device = device_of(config.device)
    if device.type != "cuda" or most < 2 or not policies:
        return 1
    free, _ = torch.cuda.mem_get_info(device)
    return fitting(free // workers, [footprint(backbone, p, split, config) for p in policies], most)


def fitting(free: int, footprints: Sequence[int], most: int) -> int:
    """Return how many seeds fit in half of `free` bytes, by the largest of `footprints` bytes.

    At least 1 and at most `most`.
    """
    return max(1, min(most, int(free // 2 // max(footprints))))


def footprint(backbone: Backbone, policy: Policy, split: Split, config: TrainConfig) -> int:
    """Bytes that a seed more takes on the device while it trains.

    Measured on a step on the CPU: the weights, for those that train also gradients and the two
    moments of the optimiser, and twice what autograd keeps of a batch of the longest texts, for
    what is there in passing.
    """
    cpu = torch.device("cpu")
    config = replace(config, device="cpu")
    stack = Stack([TrainingRun(backbone, policy, split, config, 0, cpu)], policy, config, cpu)
    kept = 0

    def count(saved: Tensor) -> Tensor:
        nonlocal kept
        kept += saved.nbytes
        return saved

    batch = next(stack.batches.upcoming(1))
    with torch.autograd.graph.saved_tensors_hooks(count, lambda saved: saved):
        stack.step(batch, 0)
    longest = stack.batches.longest / batch.mask.shape[-1]
    (one,) = stack.runs
    held = sum(weight.nbytes for weight in named_weights(one).values())
    trained = sum(weight.nbytes for weight in stack.weights.values() if weight.requires_grad)
    return held + 3 * trained + int(2 * kept * longest)


def _alone(
    backbone: Backbone,
    policy: Policy,
    split: Split,
    config: TrainConfig,
    seed: int,
    tell: Callable[[int], None],
) -> Fit | Diverged:
    try:
        return fit(backbone, policy, split, config, seed, on_step=tell)
    except Diverged as error:
        return error
