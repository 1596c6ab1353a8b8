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


def dropout_scales(like: Tensor, p: float, dropout: Ragged) -> Tensor | None:
    """Draw masks for values ``[S, B, ...]``, each seed's as :func:`dropout_scale` would.

    What rows that only fill up keep does not matter.
    """
    if p == 0.0:
        return None
    drawn = like.new_zeros(like.shape)
    for own, n, generator in zip(drawn, dropout.sizes, dropout.generators, strict=True):
        own[:n] = torch.rand(n, *like.shape[2:], generator=generator, device=like.device)
    return (drawn >= p).to(like.dtype).div_(1.0 - p)


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
        like = weight.new_empty(()).expand(len(weight), rows, weight.shape[-1])
        draw = partial(dropout_scales, like, p, dropout)
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


def looked_up(embeddings: Tensor, ids: Tensor) -> Tensor:
    """Rows ``[S, B, L, d]`` of tables ``[S, V, d]`` by ids ``[S, B, L]``."""
    seeds, words, _ = embeddings.shape
    first = torch.arange(seeds, device=ids.device).mul_(words).view(-1, 1, 1)
    return F.embedding(ids + first, embeddings.flatten(0, 1))


def stacked_words(embeddings: Tensor, ids: Tensor) -> Tensor:
    """Word embeddings ``[S, B, L, d]`` of ids ``[S, B, L]`` from tables ``[S, V, d]``.

    Padding is zero and gives its row no gradient, as ``padding_idx`` does, of which a table of
    tables can have but one.
    """
    return looked_up(embeddings, ids) * (ids != 0).unsqueeze(-1)


def affine(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """``x @ weight + bias`` for each seed: ``[S, ..., d]``, ``[S, d, h]``, ``[S, h]``."""
    y = torch.baddbmm(bias.unsqueeze(1), x.flatten(1, -2), weight)
    return y.view(*x.shape[:-1], y.shape[-1])
