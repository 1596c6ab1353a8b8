"""Adversarial training on hidden states, with several projected steps (PGD)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ampmix._torch.compiling import uncompiled
from ampmix._torch.generators import Generators
from ampmix.mixing import Loss
from ampmix.mixing.heads import Head
from ampmix.policies._options import check_amount, check_share, check_steps
from ampmix.policies.base import Mixed, Policy
from ampmix.policies.fgm import adversarial


@dataclass(frozen=True)
class PGD(Policy):
    """Projected gradient descent: the loss at the worst of some steps (Madry et al. 2018).

    ``r <- P(r + (2.5 eps / steps) ||g_i|| d_i / ||d_i||)`` with ``d_i = dl(f(g_i + r_i)) / dg_i``
    and P the projection onto ``||r_i|| <= eps ||g_i||``, from r = 0; then as ``fgm``
    ``L_i = (1 - weight) l(f(g_i), y_i) + weight l(f(g_i + r_i), y_i)``.

    Args:
        steps: how many, >= 1; with one it is ``fgm``.
        eps: radius, >= 0, as a share of the norm of the hidden state.
        weight: share of the adversarial loss, in [0, 1]; the paper trains on it alone
            (1), which with few steps or words may not learn what is plain.
        site: where to step.

    Cost: 2 steps + 6 passes of f, 3 fewer with a weight of 1, with the same dropout.

    Departures: the norm is Euclidean (the paper: the largest pixel's, for images), eps relative as
    in ``fgm``, and the start is g itself, not a random point, so that runs repeat.

    Raises:
        AmpmixError: for steps below 1, and as ``fgm``.

    >>> f = torch.nn.Linear(4, 3)
    >>> mixed = PGD(steps=2)(f, torch.randn(8, 4), torch.randint(3, (8,)))
    >>> mixed.loss.mean().backward()
    """

    name: ClassVar[str] = "pgd"
    rank: ClassVar[int] = 11
    pairs: ClassVar[bool] = False
    steps: int = 3
    eps: float = 0.1
    weight: float = 0.5
    site: str = "word"

    def __post_init__(self) -> None:
        check_steps(self.steps)
        check_amount("eps", self.eps)
        check_share("weight", self.weight)

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
        return adversarial(f, g, y, shape, loss, self.eps, self.steps, self.weight)
