"""One training step: forward, policy, backward, optimiser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

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


def orders(
    lengths: Integers, config: TrainConfig, seed: int, purpose: str = "batches"
) -> Iterator[Integers]:
    """Yield the indices of the examples of each of ``config.steps`` batches.

    A new order every epoch, whose last batch may be smaller. With ``batches="length"`` the texts of
    eight batches at a time are sorted by length before they are parted, and the batches shuffled.

    Args:
        lengths: tokens of each example.
        config: batch size, steps, and how batches are drawn.
        seed: of the run.
        purpose: of the random stream.
    """
    rng, done, size = numpy_stream(seed, purpose), 0, config.batch_size
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


class TrainingBatch(NamedTuple):
    """Texts of one step: B with labels, then U without.

    Attributes:
        ids, mask: token ids and where they are, ``[B + U, L]``.
        y: class indices, ``[B]``.
        weights: of the labelled texts, ``[B]``; None for equal ones.
        guesses: class probabilities of the others by a teacher, ``[U, C]``; None without one.
    """

    ids: Tensor
    mask: Tensor
    y: Tensor
    weights: Tensor | None = None
    guesses: Tensor | None = None

    def of(self, processes: Processes, device: torch.device) -> TrainingBatch:
        """Return the part of a process of several, on a device.

        With fewer texts than processes some have none, but must take part in the exchange.
        """
        if processes.count == 1:
            sent: list[Any] = [None if part is None else part.to(device) for part in self]
            return TrainingBatch(*sent)
        n, extra = len(self.y), len(self.ids) - len(self.y)
        mine = processes.share(range(n)) or [0]
        others = processes.share(range(extra)) or [0] * bool(extra)
        rows = [*mine, *(n + i for i in others)]
        weights = None if self.weights is None else self.weights[mine]
        guesses = None if self.guesses is None else self.guesses[others]
        own = TrainingBatch(self.ids[rows], self.mask[rows], self.y[mine], weights, guesses)
        return own.of(ALONE, device)


def training_batches(
    train: Encoded,
    config: TrainConfig,
    seed: int,
    weights: npt.NDArray[np.float64] | None = None,
    unlabelled: Encoded | None = None,
    guesses: Tensor | None = None,
) -> Iterator[TrainingBatch]:
    """Yield the batches of :func:`orders`, beside each as many texts without labels.

    Args:
        train: the labelled texts.
        config: how batches are drawn.
        seed: of the run; the other texts come in an order of their own.
        weights: of the labelled texts.
        unlabelled: the others; None or empty for none.
        guesses: class probabilities of these by a teacher, ``[n, C]``.
    """
    others: Iterator[Integers] = iter(())
    if unlabelled is not None and len(unlabelled):
        others = orders(unlabelled.lengths, config, seed, "unlabelled batches")
    for order in orders(train.lengths, config, seed):
        own = None if weights is None else torch.from_numpy(weights[order].astype(np.float32))
        ids, mask, y = train.batch(order)
        guessed = None
        if unlabelled is not None and (more := next(others, None)) is not None:
            ids, mask = _joined((ids, mask), unlabelled.batch(more)[:2], train.padding)
            guessed = None if guesses is None else guesses[more]
        texts = torch.from_numpy(ids), torch.from_numpy(mask), torch.from_numpy(y)
        yield TrainingBatch(*texts, own, guessed)


def _joined(one: Any, other: Any, padding: int) -> tuple[Integers, npt.NDArray[np.bool_]]:
    """Ids and masks of two batches below each other, padded to the longer."""
    longest = max(one[0].shape[1], other[0].shape[1])

    def wide(part: Any, filler: int) -> Any:
        return np.pad(part, ((0, 0), (0, longest - part.shape[1])), constant_values=filler)

    pairs = zip(one, other, (padding, False), strict=True)
    ids, mask = (np.concatenate([wide(a, filler), wide(b, filler)]) for a, b, filler in pairs)
    return ids, mask


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
        self,
        ids: Tensor,
        mask: Tensor,
        y: Tensor,
        weights: Tensor | None = None,
        guesses: Tensor | None = None,
    ) -> Tensor:
        """The loss of each example, ``[B]``, of a :class:`TrainingBatch`.

        With weights of the texts it is that of :func:`ampmix.training.losses.weighted`; each has
        the mean loss of the texts without labels in it.
        """
        site = self.learner.policy.drawn_site(self.mixing)
        f, g = self.model.cut(ids, mask, site, generator=self.dropout)
        given: dict[str, Any] = {"loss": self.loss, "generator": self.mixing}
        if len(ids) > len(y):
            given |= {"unlabelled": len(ids) - len(y), "guesses": guesses}
        mixed = self.learner(f, g, y, **given)
        self.seen.add(mixed, self.counting)
        loss: Tensor = mixed.loss if weights is None else weighted(mixed, weights)
        total: Tensor = mixed.beside(loss)
        return total


def stepper(
    step: TrainingStep,
    optimizer: torch.optim.Optimizer,
    config: TrainConfig,
    processes: Processes = ALONE,
) -> Callable[[TrainingBatch], float]:
    """Return a function that takes one optimiser step on a batch and returns the mean loss."""
    parameters = [*step.parameters()]
    parallel = processes.parallel(step)
    device, policy = processes.device(config.device), step.learner.policy
    done = 0

    def once(batch: TrainingBatch) -> float:
        nonlocal done
        set_lr(optimizer, config, done)
        step.learner.policy = policy.at(done / config.steps)
        done += 1
        size = len(batch.y)
        mine = processes.share(range(size))
        step.counting = bool(mine)
        # gradients are the mean over the processes, whose parts may differ in size by one
        with autocast(config.precision, device):
            losses = parallel(*batch.of(processes, device))
        loss = losses.sum() * (processes.count * bool(mine) / size)
        optimizer.zero_grad()
        loss.backward()
        if config.clip:
            torch.nn.utils.clip_grad_norm_(parameters, config.clip)
        optimizer.step()
        return processes.total(loss.detach()).item() / processes.count

    return products(config.precision)(once)
