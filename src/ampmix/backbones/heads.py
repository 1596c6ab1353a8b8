"""Heads f that backbones share: affine classifiers and their dropout."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ampmix.mixing import blend


def dropout_scale(
    like: Tensor, p: float, training: bool, generator: torch.Generator | None
) -> Tensor | None:
    """A dropout mask for tensors like `like`, already divided by the share kept; None for none."""
    if not training or p == 0.0:
        return None
    keep = torch.rand(like.shape, generator=generator, device=like.device) >= p
    return keep.to(like.dtype).div_(1.0 - p)


class AffineHead(ABC):
    """An f of affine maps alone, whose logits change alike at every lam."""

    @abstractmethod
    def __call__(self, features: Tensor) -> Tensor:
        """Logits of features."""

    @abstractmethod
    def slope(self, features: Tensor) -> Tensor:
        """How fast the logits change where the features change that fast."""

    def sloped_logits(
        self, g: tuple[Tensor, ...], lam: Tensor, perm: Tensor, partners: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor]:
        """See :class:`ampmix.policies.heads.SlopedHead`."""
        (features,), (partner,) = g, partners
        return self(blend(features, lam, partner)), self.slope(features - partner)


@dataclass(frozen=True)
class Classify(AffineHead):
    """f after the ``sent`` site: dropout, then the last linear layer."""

    output: nn.Linear
    scale: Tensor | None

    def __call__(self, features: Tensor) -> Tensor:
        """Logits ``[B, C]`` of features ``[B, d]``."""
        logits: Tensor = self.output(_kept(features, self.scale))
        return logits

    def slope(self, features: Tensor) -> Tensor:
        """See :meth:`AffineHead.slope`."""
        return F.linear(_kept(features, self.scale), self.output.weight)


def _kept(features: Tensor, scale: Tensor | None) -> Tensor:
    return features if scale is None else features * scale
