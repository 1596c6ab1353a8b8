"""TextCNN with an axis of seeds."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ampmix.backbones.stacked.head import StackedClassify
from ampmix.backbones.windows import (
    add_windows,
    masked_max,
    mixed_max,
    sloped_max,
    window_mask,
)


@dataclass(frozen=True)
class _StackedPool:
    """:class:`_PoolAndClassify` of S models.

    Shapes: bias ``[S, widths * maps]``, h ``[S, B, T, widths * maps]``, windows ``[S, B, T,
    widths]``.
    """

    bias: Tensor
    classify: StackedClassify

    def __call__(self, h: Tensor, windows: Tensor) -> Tensor:
        pooled = masked_max(h.flatten(0, 1), windows.flatten(0, 1))
        return self.classify(self.features(pooled, len(h)))

    def features(self, pooled: Tensor, seeds: int) -> Tensor:
        """What the maxima ``[S * B, widths * maps]`` give the last layer to read."""
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

    def sloped_logits(
        self, g: tuple[Tensor, ...], lam: Tensor, perm: Tensor, partners: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor]:
        """See :class:`ampmix.policies.heads.SlopedHead`."""
        (h, windows), (partner, partner_windows) = g, partners
        both = (windows | partner_windows).flatten(0, 1)
        parts = h.flatten(0, 1), both, lam.flatten(), partner.flatten(0, 1)
        pooled, slope = sloped_max(*parts)
        features = self.features(pooled, len(h))
        return self.classify(features), self.classify.slope(
            slope.view_as(features) * (features > 0)
        )


@dataclass(frozen=True)
class _StackedConvolve:
    """:class:`_Convolve` of S models; filters ``[S, d, sum(sizes), maps]``."""

    filters: Tensor
    sizes: tuple[int, ...]
    pool: _StackedPool

    def __call__(self, words: Tensor, mask: Tensor) -> Tensor:
        return self.pool(self.responses(words), _stacked_windows(mask, self.sizes))

    def responses(self, words: Tensor) -> Tensor:
        """Of every window, ``[S, B, T, widths * maps]``."""
        by_word = words.flatten(1, 2) @ self.filters.flatten(2)
        by_text = by_word.view(-1, words.shape[2], by_word.shape[-1])
        h = add_windows(by_text, self.sizes)
        return h.view(*words.shape[:2], *h.shape[1:])


def _stacked_windows(mask: Tensor, sizes: tuple[int, ...]) -> Tensor:
    windows = window_mask(mask.flatten(0, 1), sizes)
    return windows.view(*mask.shape[:2], *windows.shape[1:])
