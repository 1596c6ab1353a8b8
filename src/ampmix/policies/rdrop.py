"""R-Drop: two dropout draws of one text must agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ampmix._torch.compiling import uncompiled
from ampmix._torch.generators import Generators
from ampmix.mixing import Loss, per_example
from ampmix.mixing.divergence import kl, log_probabilities
from ampmix.mixing.heads import Head, copied
from ampmix.policies._options import check_amount
from ampmix.policies.base import Mixed, Policy


@dataclass(frozen=True)
class RDrop(Policy):
    """R-Drop: two passes with dropout of their own, and their difference (Liang et al. 2021).

    ``L_i = (l(z_i, y_i) + l(z'_i, y_i)) / 2 + weight (KL(p_i || p'_i) + KL(p'_i || p_i)) / 4``
    (Eqs. 1-4), with outputs z and z' ``[..., B, C]`` of f under two draws and their softmax p, p'.

    Args:
        weight: of the divergence, >= 0; the paper's alpha (0.1 to 1 for classifiers there). With 0
            what is left is the mean loss of two draws.
        site: where f begins, by default at the words, so that all dropout above is drawn twice.

    Cost: 6 passes of f (two forward, and two backward, which count for two).

    Departures: the paper adds the two losses up, which is twice ours, and runs all of the model
    twice; dropout below the site is drawn once here. Weights of classes do not weigh the
    divergence.

    Raises:
        AmpmixError: for a weight below 0, or outputs or targets that are not of classes.

    >>> f = torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.Linear(4, 3))
    >>> mixed = RDrop()(f, torch.randn(8, 4), torch.randint(3, (8,)))
    >>> mixed.loss.mean().backward()
    """

    name: ClassVar[str] = "rdrop"
    rank: ClassVar[int] = 20
    pairs: ClassVar[bool] = False
    needs_classes: ClassVar[bool] = True
    dropout_draws: ClassVar[int] = 2
    needs_dropout: ClassVar[bool] = True
    weight: float = 1.0
    site: str = "word"

    def __post_init__(self) -> None:
        check_amount("weight", self.weight)

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
        first, second = f(*copied(g)), f.redrawn()(*copied(g))
        p, q = (log_probabilities(z, y, shape, self.name) for z in (first, second))
        losses = (per_example(loss, first, y, shape) + per_example(loss, second, y, shape)) / 2
        return Mixed(losses + self.weight * (kl(p, q) + kl(q, p)) / 4)
