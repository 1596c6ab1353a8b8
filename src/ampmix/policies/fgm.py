"""Adversarial training on hidden states, with one step along the gradient (FGM)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ampmix._torch.compiling import uncompiled
from ampmix._torch.generators import Generators
from ampmix.mixing import Loss, per_example
from ampmix.mixing.adversary import Surroundings, climb
from ampmix.mixing.heads import Head, SameDraws, copied
from ampmix.policies._options import check_amount, check_share
from ampmix.policies.base import Mixed, Policy


@dataclass(frozen=True)
class FGM(Policy):
    """Fast gradient method: the loss at g, and a step up its gradient (Miyato et al. 2017).

    ``r_i = eps ||g_i|| d_i / ||d_i||`` with ``d_i = dl_i / dg_i`` (Eq. 5 there), and
    ``L_i = (1 - weight) l(f(g_i), y_i) + weight l(f(g_i + r_i), y_i)``; r is a constant. Norms are
    those of all of a text's words together, ``[..., B]``; padding is not moved.

    Args:
        eps: length of the step, >= 0, as a share of the hidden state's.
        weight: share of the adversarial loss, in [0, 1].
        site: where to step.

    Cost: 8 passes of f (2 for the gradient, 3 for each loss), with the same dropout.

    Departures: the paper normalises its embeddings to unit variance, that eps may mean something;
    here eps is relative, which any site of any model allows. Its loss is twice ours. Where f reads
    windows (``word`` of the CNN), those are moved: ``site=embedding`` moves the words themselves.

    Raises:
        AmpmixError: for eps below 0, a weight outside [0, 1], or an f without a gradient.

    >>> f = torch.nn.Linear(4, 3)
    >>> mixed = FGM()(f, torch.randn(8, 4), torch.randint(3, (8,)))
    >>> mixed.loss.mean().backward()
    """

    name: ClassVar[str] = "fgm"
    rank: ClassVar[int] = 10
    pairs: ClassVar[bool] = False
    eps: float = 0.1
    weight: float = 0.5
    site: str = "word"

    def __post_init__(self) -> None:
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
        return adversarial(f, g, y, shape, loss, self.eps, 1, self.weight)


@uncompiled
def adversarial(
    f: Head,
    g: tuple[Tensor, ...],
    y: Tensor,
    shape: torch.Size,
    loss: Loss,
    eps: float,
    steps: int,
    weight: float,
) -> Mixed:
    """Mix the losses at g and at g + r, r found by :func:`ampmix.mixing.adversary.climb`."""
    around, again = Surroundings.of(g, shape), SameDraws(f, g[0])

    def losses(*hidden: Tensor) -> Tensor:
        return per_example(loss, again(*hidden), y, shape)

    noise = climb(around, losses, eps, steps)
    moved = losses(*around.moved(noise))
    return Mixed(moved if weight == 1 else torch.lerp(losses(*copied(g)), moved, weight))
