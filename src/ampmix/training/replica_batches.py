"""Batches of several seeds side by side, gathered on the device where their texts lie."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ampmix.text.encoded import Encoded
from ampmix.training.config import TrainConfig
from ampmix.training.step import orders
from ampmix.training.trainee import Trainee

AHEAD = 64
"""Steps whose rows are sent to the device together."""


class Batch(NamedTuple):
    """A step's texts of S seeds side by side, as :meth:`CutModule.stacked_cut` takes them.

    Attributes:
        inputs, mask: see there.
        labels: ``[S, B]``.
        shares: of each row in its seed's mean loss, ``[S, B]``; 0 for rows that only fill up.
        sizes: how many rows of each seed are examples.
    """

    inputs: Tensor
    mask: Tensor
    labels: Tensor
    shares: Tensor
    sizes: tuple[int, ...]

    @property
    def ragged(self) -> bool:
        """Whether some rows only fill up."""
        return min(self.sizes) < self.labels.shape[1]


class Feed:
    """Batches of several training parts, gathered on the device, where the texts lie.

    Args:
        trainees: whose parts, in the order of their epochs.
        config: the batch size, and how many there are.
        device: where to.
    """

    def __init__(
        self, trainees: Sequence[Trainee], config: TrainConfig, device: torch.device
    ) -> None:
        self._device = device
        self._parts: list[Encoded] = [one.parts.train for one in trainees]
        self._orders = [orders(len(one.parts.train), config, one.seed) for one in trainees]
        self._padding = self._parts[0].padding
        constants = [one.model.constant(one.parts.train, device) for one in trainees]
        self._features = None
        if known := [part for part in constants if part is not None]:
            self._features = torch.cat(known)
            self._starts = [np.arange(len(part)) for part in self._parts]
            counts = [len(part) for part in self._parts]
        else:
            tokens = np.concatenate([part.tokens for part in self._parts])
            self._tokens = torch.from_numpy(tokens).to(device)
            self._starts = [part.offsets[:-1] for part in self._parts]
            counts = [len(part.tokens) for part in self._parts]
        firsts = np.cumsum([0, *counts[:-1]])
        self._starts = [own + first for own, first in zip(self._starts, firsts, strict=True)]
        self._lengths = [part.lengths for part in self._parts]

    @property
    def longest(self) -> int:
        """Tokens of the longest text, or 1 where texts are features."""
        return 1 if self._features is not None else int(max(map(np.max, self._lengths)))

    def keep(self, positions: Sequence[int]) -> None:
        """Go on with some of the seeds."""
        for name in ("_parts", "_orders", "_starts", "_lengths"):
            setattr(self, name, [getattr(self, name)[i] for i in positions])

    def batches(self, count: int) -> Iterator[Batch]:
        """The next `count` batches; what is in them is sent some steps ahead, in one piece."""
        for start in range(0, count, AHEAD):
            ahead = range(min(AHEAD, count - start))
            steps = [[next(order) for order in self._orders] for _ in ahead]
            tables = [self._table(rows) for rows in steps]
            sent = torch.from_numpy(np.concatenate([t.reshape(4, -1) for t in tables], axis=1))
            if self._device.type == "cuda":
                sent = sent.pin_memory().to(self._device, non_blocking=True)
            pieces = torch.split(sent, [table[0].size for table in tables], dim=1)
            for rows, table, piece in zip(steps, tables, pieces, strict=True):
                sizes = tuple(map(len, rows))
                yield self._batch(piece.view(table.shape), sizes, int(table[1].max()))

    def _table(self, rows: Sequence[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
        """Of every row where it starts, how long it is, its label and its batch's size.

        ``[4, S, B]``. Where a batch is smaller than the others, its first text fills it up, with
        size 0.
        """
        table = np.empty((4, len(rows), max(map(len, rows))), dtype=np.int64)
        for i, chosen in enumerate(rows):
            n = len(chosen)
            columns = (self._starts[i], self._lengths[i], self._parts[i].labels)
            for j, column in enumerate(columns):
                table[j, i, :n] = column[chosen]
                table[j, i, n:] = table[j, i, 0]
            table[3, i, :n], table[3, i, n:] = n, 0
        return table

    def _batch(self, table: Tensor, sizes: tuple[int, ...], longest: int) -> Batch:
        start, length, labels, size = table.unbind()
        shares = torch.where(size > 0, size.clamp(min=1).double().reciprocal(), 0.0)
        if self._features is not None:
            mask = torch.ones(*start.shape, 1, dtype=torch.bool, device=start.device)
            return Batch(self._features[start], mask, labels, shares, sizes)
        column = torch.arange(longest, device=start.device)
        mask = column < length.unsqueeze(-1)
        place = (start.unsqueeze(-1) + column).clamp_(max=len(self._tokens) - 1)
        ids = torch.where(mask, self._tokens[place].long(), self._padding)
        return Batch(ids, mask, labels, shares, sizes)
