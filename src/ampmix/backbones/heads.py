"""Heads f that backbones share: affine classifiers and their dropout."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ampmix.mixing import blend
from ampmix.mixing.heads import Head


def dropout_scale(
    like: Tensor, p: float, training: bool, generator: torch.Generator | None
) -> Tensor | None:
    """Draw a dropout mask, already divided by the share kept; None where nothing is dropped."""
    if not training or p == 0.0:
        return None
    keep = torch.rand(like.shape, generator=generator, device=like.device) >= p
    return keep.to(like.dtype).div_(1.0 - p)


class AffineHead(Head):
    """An f of affine maps alone, whose slope in lam is the same at every lam."""

    knows_slope: ClassVar[bool] = True

    @abstractmethod
    def __call__(self, features: Tensor) -> Tensor:
        """Return logits of features."""

    @abstractmethod
    def slope(self, features: Tensor) -> Tensor:
        """Return the derivative of the logits along a derivative of the features."""

    def logits_and_slope(
        self, g: tuple[Tensor, ...], lam: Tensor, perm: Tensor, partners: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor]:
        """See :meth:`ampmix.mixing.heads.Head.logits_and_slope`."""
        (features,), (partner,) = g, partners
        return self(blend(features, lam, partner)), self.slope(features - partner)


@dataclass(frozen=True)
class Classify(AffineHead):
    """f after the ``sent`` site: dropout, then the last linear layer."""

    output: nn.Linear
    scale: Tensor | None
    draw: Callable[[], Tensor | None] | None = None

    @classmethod
    def of(
        cls,
        output: nn.Linear,
        like: Tensor,
        p: float,
        training: bool,
        generator: torch.Generator | None,
    ) -> Classify:
        """Draw the dropout mask, of the shape of `like` (:func:`dropout_scale`)."""
        draw = partial(dropout_scale, like, p, training, generator)
        return cls(output, draw(), draw)

    def redrawn(self) -> Classify:
        """See :meth:`ampmix.mixing.heads.Head.redrawn`."""
        return self if self.draw is None else replace(self, scale=self.draw())

    def __call__(self, features: Tensor) -> Tensor:
        """Return logits ``[B, C]`` of features ``[B, d]``."""
        logits: Tensor = self.output(_kept(features, self.scale))
        return logits

    def slope(self, features: Tensor) -> Tensor:
        """See :meth:`AffineHead.slope`."""
        return F.linear(_kept(features, self.scale), self.output.weight)


def _kept(features: Tensor, scale: Tensor | None) -> Tensor:
    return features if scale is None else features * scale
