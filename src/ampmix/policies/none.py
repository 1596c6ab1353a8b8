"""Training without mixing: the baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ampmix._torch.compiling import uncompiled
from ampmix._torch.generators import Generators
from ampmix.mixing import Loss, per_example
from ampmix.policies.base import Mixed, Policy
from ampmix.policies.heads import Head


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
        lam = torch.ones(shape, device=g[0].device)
        perm = torch.arange(shape[-1], device=g[0].device).expand(shape)
        mask = torch.zeros_like(lam, dtype=torch.bool)
        return Mixed(per_example(loss, f(*g), y, shape), lam, lam, mask, perm)
