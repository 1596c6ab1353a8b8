"""Texts without labels in a batch of :class:`ampmix.MixStep`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ampmix._torch.compiling import uncompiled


@uncompiled
@dataclass(frozen=True, eq=False)
class Others:
    """Texts of a batch without labels: how many, and class probabilities of them by a teacher."""

    unlabelled: int = 0
    guesses: Tensor | None = None

    def given(self) -> dict[str, Any]:
        """Arguments of a policy; none without such texts."""
        return {"unlabelled": self.unlabelled, "guesses": self.guesses} if self.unlabelled else {}

    def filled(self, y: Tensor) -> Tensor:
        """Labels of all texts, for a model whose own loss is not used: the first stands in."""
        return torch.cat([y, y[:1].expand(self.unlabelled, *y.shape[1:])]) if self.unlabelled else y
