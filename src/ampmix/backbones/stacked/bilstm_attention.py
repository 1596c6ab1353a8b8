"""BiLSTM with attention, with an axis of seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ampmix._torch.generators import Ragged
from ampmix.backbones.base import Cut, Stacking
from ampmix.backbones.recurrence import _Recurrence
from ampmix.backbones.stacked.head import StackedClassify, affine, stacked_words
from ampmix.mixing.heads import Head


@dataclass(frozen=True)
class StackedBiLSTM(Stacking):
    """BiLSTMs with an axis of seeds; all directions of all seeds take a step at once."""

    weights: ClassVar[tuple[str, ...]] = (
        "embedding",
        "inputs",
        "bias",
        "recurrent",
        "attention",
        "output.weight",
        "output.bias",
    )
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
        classify = StackedClassify.of(weights, inputs.shape[1], self.dropout, dropout)
        attend = _StackedAttend(weights["recurrent"], weights["attention"])
        project = _StackedProject(weights["inputs"], weights["bias"], attend, classify)
        words = stacked_words(weights["embedding"], inputs)
        if site == "embedding":
            return project, (words, mask)
        x = affine(words, project.inputs, project.bias)
        if site == "word":
            return _StackedRest(attend, classify), (x, mask)
        return classify, (attend(x, mask),)


@dataclass(frozen=True)
class _StackedAttend:
    """:class:`_Attend` of S models: ``[S, B, 2n]`` of ``[S, B, L, 8n]`` and mask ``[S, B, L]``."""

    recurrent: Tensor
    attention: Tensor

    def __call__(self, x: Tensor, mask: Tensor) -> Tensor:
        recurrent = self.recurrent.view_as(self.recurrent)
        states: Tensor = _Recurrence.apply(x, recurrent, mask)  # type: ignore[no-untyped-call]
        scores = states.tanh().flatten(1, 2) @ self.attention.unsqueeze(-1)
        alpha = scores.view(mask.shape).masked_fill(~mask, float("-inf")).softmax(-1)
        return (alpha.unsqueeze(-2) @ states).squeeze(-2).tanh()


@dataclass(frozen=True)
class _StackedRest(Head):
    """:class:`_AttendAndClassify` of S models."""

    attend: _StackedAttend
    classify: StackedClassify

    def __call__(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.classify(self.attend(x, mask))


@dataclass(frozen=True)
class _StackedProject(Head):
    """:class:`_ProjectAndAttend` of S models; inputs ``[S, d, 8n]``, bias ``[S, 8n]``."""

    inputs: Tensor
    bias: Tensor
    attend: _StackedAttend
    classify: StackedClassify

    def __call__(self, words: Tensor, mask: Tensor) -> Tensor:
        return self.classify(self.attend(affine(words, self.inputs, self.bias), mask))
