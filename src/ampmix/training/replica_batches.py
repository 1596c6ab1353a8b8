"""Batches of several seeds side by side, gathered on the device where their texts lie."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ampmix.backbones.base import Stacking
from ampmix.text.encoded import Integers
from ampmix.training.config import TrainConfig
from ampmix.training.step import orders
from ampmix.training.training_run import TrainingRun

AHEAD = 64
"""Steps whose rows are sent to the device together."""


class Batch(NamedTuple):
    """A step's texts of S seeds side by side, as :meth:`Stacking.cut` takes them.

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
        """True if some rows only fill up."""
        return min(self.sizes) < self.labels.shape[1]


@dataclass(frozen=True, eq=False)
class _Texts:
    """The training texts of one seed, as rows of what lies on the device for all.

    Attributes:
        starts: place of each text's first token, or of its features.
        lengths: tokens of each text.
        labels: its class.
        order: the texts of each batch.
    """

    starts: Integers
    lengths: Integers
    labels: Integers
    order: Iterator[Integers]


class ReplicaBatches:
    """Gathers batches of several training parts on the device, where the texts lie.

    Args:
        runs: whose parts, in the order of their epochs.
        stacking: the form that is trained; it may read fixed features instead of tokens.
        config: the batch size, and how many there are.
        device: where to.
    """

    def __init__(
        self,
        runs: Sequence[TrainingRun],
        stacking: Stacking,
        config: TrainConfig,
        device: torch.device,
    ) -> None:
        self._device = device
        parts = [one.parts.train for one in runs]
        self._padding = parts[0].padding
        constants = [stacking.constant(one.model, one.parts.train, device) for one in runs]
        self._features = None
        if known := [part for part in constants if part is not None]:
            self._features = torch.cat(known)
            starts = [np.arange(len(part)) for part in parts]
            counts = [len(part) for part in parts]
        else:
            tokens = np.concatenate([part.tokens for part in parts])
            self._tokens = torch.from_numpy(tokens).to(device)
            starts = [part.offsets[:-1] for part in parts]
            counts = [len(part.tokens) for part in parts]
        firsts = np.cumsum([0, *counts[:-1]])
        self._texts = [
            _Texts(own + first, part.lengths, part.labels, orders(part.lengths, config, one.seed))
            for own, first, part, one in zip(starts, firsts, parts, runs, strict=True)
        ]

    @property
    def longest(self) -> int:
        """Tokens of the longest text, or 1 where texts are features."""
        if self._features is not None:
            return 1
        return int(max(texts.lengths.max() for texts in self._texts))

    def take(self, positions: Sequence[int]) -> None:
        """Go on with the seeds at these positions."""
        self._texts = [self._texts[i] for i in positions]

    def upcoming(self, count: int) -> Iterator[Batch]:
        """The next `count` batches; what is in them is sent some steps ahead, in one piece."""
        for start in range(0, count, AHEAD):
            ahead = range(min(AHEAD, count - start))
            steps = [[next(texts.order) for texts in self._texts] for _ in ahead]
            tables = [self._table(rows) for rows in steps]
            sent = torch.from_numpy(np.concatenate([t.reshape(4, -1) for t in tables], axis=1))
            if self._device.type == "cuda":
                sent = sent.pin_memory().to(self._device, non_blocking=True)
            pieces = torch.split(sent, [table[0].size for table in tables], dim=1)
            for rows, table, piece in zip(steps, tables, pieces, strict=True):
                sizes = tuple(map(len, rows))
                yield self._batch(piece.view(table.shape), sizes, int(table[1].max()))

    def _table(self, rows: Sequence[Integers]) -> Integers:
        """Return start, length, label and batch size of every row, ``[4, S, B]``.

        Where a batch is smaller than the others, its first text fills it up, with
        size 0.
        """
        table = np.empty((4, len(rows), max(map(len, rows))), dtype=np.int64)
        for i, chosen in enumerate(rows):
            n = len(chosen)
            texts = self._texts[i]
            columns = (texts.starts, texts.lengths, texts.labels)
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
