"""One training step: forward, policy, backward, optimiser."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ampmix._support.random_streams import numpy_stream, torch_seed
from ampmix._torch.precision import autocast, products
from ampmix.backbones.base import CutModule
from ampmix.mixing import Loss
from ampmix.policies.base import Learner
from ampmix.text.encoded import Encoded
from ampmix.training.config import TrainConfig
from ampmix.training.losses import weighted
from ampmix.training.optimizer import set_lr
from ampmix.training.perturbation import Perturbation
from ampmix.training.processes import ALONE, Processes


def generator_of(seed: int, purpose: str, device: torch.device | str = "cpu") -> torch.Generator:
    """The random stream of a seed for a purpose."""
    return torch.Generator(device).manual_seed(torch_seed(seed, purpose))


Integers = npt.NDArray[np.int64]
POOL = 8  # batches whose texts are sorted by length together


def orders(lengths: Integers, config: TrainConfig, seed: int) -> Iterator[Integers]:
    """Yield the indices of the examples of each of ``config.steps`` batches.

    A new order every epoch, whose last batch may be smaller. With ``batches="length"`` the texts of
    eight batches at a time are sorted by length before they are parted, and the batches shuffled.

    Args:
        lengths: tokens of each example.
        config: batch size, steps, and how batches are drawn.
        seed: of the run.
    """
    rng, done, size = numpy_stream(seed, "batches"), 0, config.batch_size
    while True:
        order = rng.permutation(len(lengths))
        if config.batches == "length":
            order = _by_length(order, lengths, size, rng)
        for start in range(0, len(order), size):
            if done == config.steps:
                return
            done += 1
            yield order[start : start + size]


def _by_length(order: Integers, lengths: Integers, size: int, rng: np.random.Generator) -> Integers:
    """The order with texts of like length in each batch; a smaller batch stays the last."""
    pools = np.split(order, range(POOL * size, len(order), POOL * size))
    by_length = np.concatenate([pool[np.argsort(lengths[pool], kind="stable")] for pool in pools])
    whole = len(order) // size
    batches = by_length[: whole * size].reshape(whole, size)
    return np.concatenate([rng.permutation(batches).reshape(-1), by_length[whole * size :]])


def _batches(
    train: Encoded,
    config: TrainConfig,
    seed: int,
    weights: npt.NDArray[np.float64] | None = None,
) -> Iterator[tuple[Tensor, ...]]:
    """The batches of :func:`orders`: token ids, mask, labels, and weights if there are any."""
    for order in orders(train.lengths, config, seed):
        own = () if weights is None else (weights[order].astype(np.float32),)
        yield tuple(map(torch.from_numpy, (*train.batch(order), *own)))


class TrainingStep(nn.Module):
    """A policy's losses of a batch in one ``forward``, which DistributedDataParallel wraps."""

    def __init__(
        self,
        model: CutModule,
        learner: Learner,
        loss: Loss,
        seed: int,
        device: torch.device,
        rank: int = 0,
    ) -> None:
        super().__init__()
        self.model, self.learner, self.loss = model, learner, loss
        own = f" {rank}" if rank else ""  # the first of several draws as one alone
        self.mixing = generator_of(seed, f"mixing{own}", device)
        self.dropout = generator_of(seed, f"dropout{own}", device)
        self.seen, self.counting = Perturbation(), True

    def forward(
        self, ids: Tensor, mask: Tensor, y: Tensor, weights: Tensor | None = None
    ) -> Tensor:
        """The loss of each example, ``[B]``, of padded token ids, mask and class indices.

        With weights of the texts it is that of :func:`ampmix.training.losses.weighted`.
        """
        site = self.learner.policy.mixing_site
        f, g = self.model.cut(ids, mask, site, generator=self.dropout)
        mixed = self.learner(f, g, y, loss=self.loss, generator=self.mixing)
        self.seen.add(mixed, self.counting)
        loss: Tensor = mixed.loss if weights is None else weighted(mixed, weights)
        return loss


def stepper(
    step: TrainingStep,
    optimizer: torch.optim.Optimizer,
    config: TrainConfig,
    processes: Processes = ALONE,
) -> Callable[[tuple[Tensor, ...]], float]:
    """Return a function that takes one optimiser step on a batch and returns the mean loss."""
    parameters = [*step.parameters()]
    parallel = processes.parallel(step)
    device = processes.device(config.device)
    done = 0

    def once(batch: tuple[Tensor, ...]) -> float:
        nonlocal done
        set_lr(optimizer, config, done)
        done += 1
        size = len(batch[0])
        mine = processes.share(range(size))
        # with fewer examples than processes, some have none, but must take part in the exchange
        own = (
            [part[mine or [0]].to(device) for part in batch]
            if processes.count > 1
            else [part.to(device) for part in batch]
        )
        step.counting = bool(mine)
        # gradients are the mean over the processes, whose parts may differ in size by one
        with autocast(config.precision, device):
            losses = parallel(*own)
        loss = losses.sum() * (processes.count * bool(mine) / size)
        optimizer.zero_grad()
        loss.backward()
        if config.clip:
            torch.nn.utils.clip_grad_norm_(parameters, config.clip)
        optimizer.step()
        return processes.total(loss.detach()).item() / processes.count

    return products(config.precision)(once)
