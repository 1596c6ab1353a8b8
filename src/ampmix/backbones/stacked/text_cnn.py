"""TextCNN with an axis of seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ampmix._torch.generators import Ragged
from ampmix.backbones.base import Cut, Stacking
from ampmix.backbones.stacked.head import StackedClassify, stacked_words
from ampmix.backbones.windows import (
    add_windows,
    masked_max,
    max_and_slope,
    mixed_max,
    window_mask,
)
from ampmix.mixing.heads import Head


@dataclass(frozen=True)
class StackedTextCNN(Stacking):
    """TextCNNs with an axis of seeds.

    The layers between the filters and the features have no weights: there all texts of all seeds
    are one batch. Every word is looked up, not each distinct word once as in one model: to find
    those, a GPU would have to be waited for.
    """

    weights: ClassVar[tuple[str, ...]] = (
        "embedding",
        "filters",
        "bias",
        "output.weight",
        "output.bias",
    )
    filter_sizes: tuple[int, ...]
    dropout: float

    def cut(
        self,
        weights: Mapping[str, Tensor],
        inputs: Tensor,
        mask: Tensor,
        site: str | None,
        dropout: Ragged,
    ) -> Cut:
        """See :meth:`Stacking.cut`."""
        sizes = self.filter_sizes
        classify = StackedClassify.of(weights, inputs.shape[1], self.dropout, dropout)
        pool = _StackedPool(weights["bias"], classify)
        convolve = _StackedConvolve(weights["filters"], sizes, pool)
        words = stacked_words(weights["embedding"], inputs)
        if site == "embedding":
            return convolve, (words, mask)
        h, windows = convolve.responses(words), _stacked_windows(mask, sizes)
        if site == "word":
            return pool, (h, windows)
        features = masked_max(h.flatten(0, 1), windows.flatten(0, 1))
        return classify, (pool.features(features, len(inputs)),)


@dataclass(frozen=True)
class _StackedPool(Head):
    """:class:`_PoolAndClassify` of S models.

    Shapes: bias ``[S, widths * maps]``, h ``[S, B, T, widths * maps]``, windows ``[S, B, T,
    widths]``.
    """

    knows_slope: ClassVar[bool] = True
    bias: Tensor
    classify: StackedClassify

    def __call__(self, h: Tensor, windows: Tensor) -> Tensor:
        pooled = masked_max(h.flatten(0, 1), windows.flatten(0, 1))
        return self.classify(self.features(pooled, len(h)))

    def features(self, pooled: Tensor, seeds: int) -> Tensor:
        """Compute the input of the last layer from the maxima ``[S * B, widths * maps]``."""
        return F.relu(pooled.view(seeds, -1, pooled.shape[-1]) + self.bias.unsqueeze(1))

    def mixed_logits(
        self, g: tuple[Tensor, ...], lam: Tensor, perm: Tensor, partners: tuple[Tensor, ...]
    ) -> Tensor:
        """Logits of the mixed windows."""
        (h, windows), (partner, partner_windows) = g, partners
        seeds, rows = perm.shape
        first = torch.arange(seeds, device=perm.device).mul_(rows).unsqueeze(1)
        pooled = mixed_max(
            h.flatten(0, 1),
            (windows | partner_windows).flatten(0, 1),
            lam.flatten(),
            (perm + first).flatten(),
            partner.flatten(0, 1),
        )
        return self.classify(self.features(pooled, seeds))

    def logits_and_slope(
        self, g: tuple[Tensor, ...], lam: Tensor, perm: Tensor, partners: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor]:
        """See :meth:`ampmix.mixing.heads.Head.logits_and_slope`."""
        (h, windows), (partner, partner_windows) = g, partners
        both = (windows | partner_windows).flatten(0, 1)
        parts = h.flatten(0, 1), both, lam.flatten(), partner.flatten(0, 1)
        pooled, slope = max_and_slope(*parts)
        features = self.features(pooled, len(h))
        return self.classify(features), self.classify.slope(
            slope.view_as(features) * (features > 0)
        )


@dataclass(frozen=True)
class _StackedConvolve(Head):
    """:class:`_Convolve` of S models; filters ``[S, d, sum(sizes), maps]``."""

    filters: Tensor
    sizes: tuple[int, ...]
    pool: _StackedPool

    def __call__(self, words: Tensor, mask: Tensor) -> Tensor:
        return self.pool(self.responses(words), _stacked_windows(mask, self.sizes))

    def responses(self, words: Tensor) -> Tensor:
        """Compute the response of every window, ``[S, B, T, widths * maps]``."""
        by_word = words.flatten(1, 2) @ self.filters.flatten(2)
        by_text = by_word.view(-1, words.shape[2], by_word.shape[-1])
        h = add_windows(by_text, self.sizes)
        return h.view(*words.shape[:2], *h.shape[1:])


def _stacked_windows(mask: Tensor, sizes: tuple[int, ...]) -> Tensor:
    windows = window_mask(mask.flatten(0, 1), sizes)
    return windows.view(*mask.shape[:2], *windows.shape[1:])
