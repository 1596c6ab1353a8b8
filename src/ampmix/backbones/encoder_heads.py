"""Heads f of encoders: the layers above a site, then the last linear layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ampmix.backbones.encoder_layers import Point
from ampmix.backbones.heads import Classify
from ampmix.mixing.heads import Head

if TYPE_CHECKING:
    from ampmix.backbones.encoder_module import EncoderModule


@dataclass(frozen=True)
class EncodeAndClassify(Head):
    """Computes f after ``word`` and ``embedding``: the body, then :class:`Classify`."""

    module: EncoderModule
    classify: Classify
    seed: int | None
    draw: Callable[[], int] | None

    def redrawn(self) -> EncodeAndClassify:
        """See :meth:`ampmix.mixing.heads.Head.redrawn`."""
        seed = self.draw() if self.draw else None
        return replace(self, classify=self.classify.redrawn(), seed=seed)

    def __call__(self, embedded: Tensor, mask: Tensor) -> Tensor:
        """Return logits ``[B, C]`` of embedded words ``[B, L, e]``."""
        return self.classify(self.module.features(embedded, mask, self.seed))


@dataclass(frozen=True)
class LayersAndClassify(Head):
    """Computes f after ``layer.K``: the layers above, then :class:`Classify`.

    Its dropout goes on from the random state that the layers below left, or from a seed.
    """

    module: EncoderModule
    classify: Classify
    at: int
    state: Any
    seed: int | None
    draw: Callable[[], int] | None

    def redrawn(self) -> LayersAndClassify:
        """See :meth:`ampmix.mixing.heads.Head.redrawn`."""
        seed = self.draw() if self.draw else None
        return replace(self, classify=self.classify.redrawn(), state=None, seed=seed)

    def __call__(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Return logits ``[B, C]`` of hidden states ``[B, L, d]``."""
        point = Point(self.at, hidden, self.state)
        return self.classify(self.module.features_above(point, mask, self.seed))
