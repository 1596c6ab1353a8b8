"""FreeLB: all losses on the way of an adversary, not the last alone."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import ClassVar

import torch
from torch import Tensor

from ampmix._torch.compiling import uncompiled
from ampmix._torch.generators import Generators
from ampmix.mixing import Loss, per_example
from ampmix.mixing.adversary import Surroundings, climbing
from ampmix.mixing.heads import Head, SameDraws
from ampmix.policies._options import check_amount, check_steps
from ampmix.policies.base import Mixed, Policy


@dataclass(frozen=True)
class FreeLB(Policy):
    """Free large-batch adversarial training: the mean loss on the way up (Zhu et al. 2020).

    ``L_i = (1 / steps) sum_t l(f(g_i + r_t), y_i)`` for t = 0 .. steps - 1, with
    ``r_t+1 = P(r_t + (2.5 eps / steps) ||g_i|| d_i / ||d_i||)``, d the gradient of the loss at
    g + r_t and P the projection onto ``||r|| <= eps ||g_i||``. Norms are those of all of a text's
    words, ``[..., B]``.

    Args:
        steps: how many losses, >= 1; the first is the plain one.
        eps: radius, >= 0, as a share of the norm of the hidden state.
        site: where to step.

    Cost: 5 steps - 2 passes of f, with the same dropout (as the authors use it).

    Departures: the paper starts at a random point, here at g itself; eps is relative. What is free
    there, the gradient of r from the pass that trains, costs 2 here: graphs are gone by then.

    Raises:
        AmpmixError: for steps below 1, eps below 0, or an f without a gradient.

    >>> f = torch.nn.Linear(4, 3)
    >>> mixed = FreeLB()(f, torch.randn(8, 4), torch.randint(3, (8,)))
    >>> mixed.loss.mean().backward()
    """

    name: ClassVar[str] = "freelb"
    rank: ClassVar[int] = 13
    pairs: ClassVar[bool] = False
    steps: int = 3
    eps: float = 0.1
    site: str = "word"

    def __post_init__(self) -> None:
        check_steps(self.steps)
        check_amount("eps", self.eps)

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
        around, again = Surroundings.of(g, shape), SameDraws(f, g[0])

        def losses(*hidden: Tensor) -> Tensor:
            return per_example(loss, again(*hidden), y, shape)

        way = islice(climbing(around, losses, self.eps, self.steps), self.steps)
        return Mixed(torch.stack([losses(*around.moved(noise)) for noise in way]).mean(0))
