"""Training without mixing: the baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ampmix._torch.compiling import uncompiled
from ampmix._torch.generators import Generators
from ampmix.mixing import Loss, per_example
from ampmix.mixing.heads import Head
from ampmix.policies.base import Mixed, Policy


@dataclass(frozen=True)
class NoMixup(Policy):
    """No mixing: the loss of f(g) against y (Eq. 1).

    >>> f = torch.nn.Linear(4, 3)
    >>> mixed = NoMixup()(f, torch.randn(8, 4), torch.randint(3, (8,)))
    >>> mixed.loss.shape, mixed.lam.unique().tolist()
    (torch.Size([8]), [1.0])
    """

    name: ClassVar[str] = "none"
    rank: ClassVar[int] = 0
    printed: ClassVar[bool] = True

    @uncompiled
    def _train(
        self,
        f: Head,
        g: tuple[Tensor, ...],
        y: Tensor,
        shape: torch.Size,
        loss: Loss,
        generator: Generators,
    ) -> Mixed:
        return Mixed(per_example(loss, f(*g), y, shape))
