"""Heads and embeddings with an axis of seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from ampmix._torch.generators import Ragged
from ampmix.backbones.heads import AffineHead, _kept


def dropout_scales(rows: int, weight: Tensor, p: float, dropout: Ragged) -> Tensor | None:
    """Masks for what layers ``[S, C, d]`` read, ``[S, rows, d]``, each as :func:`dropout_scale`'s.

    What rows that only fill up keep does not matter.
    """
    if p == 0.0:
        return None
    drawn = []
    for n, generator in zip(dropout.sizes, dropout.generators, strict=True):
        own = torch.rand(n, weight.shape[-1], generator=generator, device=weight.device)
        drawn.append(own if n == rows else F.pad(own, (0, 0, 0, rows - n)))
    return (torch.stack(drawn) >= p).to(weight.dtype).div_(1.0 - p)


@dataclass(frozen=True)
class StackedClassify(AffineHead):
    """f after ``sent`` of S models: dropout, then each one's linear layer.

    Shapes: weight ``[S, C, d]``, bias ``[S, C]``, scale ``[S, B, d]``.
    """

    weight: Tensor
    bias: Tensor
    scale: Tensor | None
    draw: Callable[[], Tensor | None]

    @classmethod
    def of(
        cls, weights: Mapping[str, Tensor], rows: int, p: float, dropout: Ragged
    ) -> StackedClassify:
        """Make the head from the layers called ``output``; dropout zeroes a share p of features."""
        weight = weights["output.weight"]
        draw = partial(dropout_scales, rows, weight, p, dropout)
        return cls(weight, weights["output.bias"], draw(), draw)

    def redrawn(self) -> StackedClassify:
        """See :meth:`ampmix.mixing.heads.Head.redrawn`."""
        return replace(self, scale=self.draw())

    def __call__(self, features: Tensor) -> Tensor:
        """Logits ``[S, B, C]`` of features ``[S, B, d]``."""
        kept = _kept(features, self.scale)
        return torch.baddbmm(self.bias.unsqueeze(1), kept, self.weight.mT)

    def slope(self, features: Tensor) -> Tensor:
        """See :meth:`AffineHead.slope`."""
        return torch.bmm(_kept(features, self.scale), self.weight.mT)


def stacked_words(embeddings: Tensor, ids: Tensor) -> Tensor:
    """Word embeddings ``[S, B, L, d]`` of ids ``[S, B, L]`` from tables ``[S, V, d]``.

    Padding is zero and gives its row no gradient, as ``padding_idx`` does, of which a table of
    tables can have but one.
    """
    seeds, words, _ = embeddings.shape
    first = torch.arange(seeds, device=ids.device).mul_(words).view(-1, 1, 1)
    found = F.embedding(ids + first, embeddings.flatten(0, 1))
    return found * (ids != 0).unsqueeze(-1)


def affine(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """``x @ weight + bias`` for each seed: ``[S, ..., d]``, ``[S, d, h]``, ``[S, h]``."""
    y = torch.baddbmm(bias.unsqueeze(1), x.flatten(1, -2), weight)
    return y.view(*x.shape[:-1], y.shape[-1])
