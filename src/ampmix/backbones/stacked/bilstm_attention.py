"""BiLSTM with attention, with an axis of seeds."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ampmix.backbones.recurrence import _Recurrence
from ampmix.backbones.stacked.head import StackedClassify, affine


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
class _StackedRest:
    """:class:`_AttendAndClassify` of S models."""

    attend: _StackedAttend
    classify: StackedClassify

    def __call__(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.classify(self.attend(x, mask))


@dataclass(frozen=True)
class _StackedProject:
    """:class:`_ProjectAndAttend` of S models; inputs ``[S, d, 8n]``, bias ``[S, 8n]``."""

    inputs: Tensor
    bias: Tensor
    attend: _StackedAttend
    classify: StackedClassify

    def __call__(self, words: Tensor, mask: Tensor) -> Tensor:
        return self.classify(self.attend(affine(words, self.inputs, self.bias), mask))
