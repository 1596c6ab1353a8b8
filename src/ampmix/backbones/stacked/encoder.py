"""Frozen encoders with an axis of seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, cast

import torch
from torch import Tensor

from ampmix._torch.generators import Ragged
from ampmix.backbones.base import Cut, CutModule, Stacking
from ampmix.backbones.stacked.head import StackedClassify
from ampmix.text.encoded import Encoded

if TYPE_CHECKING:
    from ampmix.backbones.encoder_module import EncoderModule


@dataclass(frozen=True)
class StackedFrozenEncoder(Stacking):
    """Last layers with an axis of seeds, on features that a frozen encoder computes once."""

    weights: ClassVar[tuple[str, ...]] = ("output.weight", "output.bias")
    dropout: float

    def cut(
        self,
        weights: Mapping[str, Tensor],
        inputs: Tensor,
        mask: Tensor,
        site: str | None,
        dropout: Ragged,
    ) -> Cut:
        """See :meth:`Stacking.cut`; `inputs` are the features of texts."""
        return StackedClassify.of(weights, inputs.shape[1], self.dropout, dropout), (inputs,)

    def constant(self, model: CutModule, part: Encoded, device: torch.device) -> Tensor:
        """Return the features of all texts, ``[n, d]``."""
        return cast("EncoderModule", model).encode_all(part, device)
