"""Virtual Mixup: what f makes of a mixture must be the mixture of what it makes of both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ampmix._torch.compiling import uncompiled
from ampmix._torch.generators import Generators
from ampmix.mixing import Loss, mix, take_pairs
from ampmix.mixing.divergence import kl, log_probabilities
from ampmix.mixing.heads import Head, SameDraws, copied
from ampmix.policies._options import check_alpha, check_amount
from ampmix.policies._unlabelled import UnlabelledPolicy, labelled_and_not
from ampmix.policies.base import Mixed
from ampmix.policies.mixup import rand_op


@dataclass(frozen=True)
class VMT(UnlabelledPolicy):
    """Virtual Mixup training (Mao et al. 2019): mixing that needs no label.

    ``L_i = l(f(g_i), y_i) + weight KL(lam p_i + (1 - lam) p_j || p(lam g_i + (1 - lam) g_j))`` with
    p_i the probabilities at g_i, constant in the second term, and lam ``[..., B]``. The loss
    against the label is that of the text unmixed; texts without one have the divergence alone,
    times `unlabelled`. Pairs are drawn among all texts.

    Args:
        alpha: lam ~ Beta(alpha, alpha), > 0.
        weight: of the divergence, >= 0.
        site: where to mix.
        unlabelled: weight of the texts without a label, >= 0; with 0 they are not read.

    Cost: 6 passes of f, with the same dropout.

    Departures: the paper mixes inputs, here any site is mixed. Nothing is reported as lam or
    partner, as a text's label is its own.

    Raises:
        AmpmixError: for alpha <= 0, a weight below 0, or outputs or targets that are not of
            classes.

    >>> f = torch.nn.Linear(4, 3)
    >>> mixed = VMT()(f, torch.randn(8, 4), torch.randint(3, (8,)))
    >>> mixed.loss.mean().backward()
    """

    name: ClassVar[str] = "vmt"
    rank: ClassVar[int] = 6
    needs_classes: ClassVar[bool] = True
    alpha: float = 1.0
    weight: float = 1.0
    site: str = "word"
    unlabelled: float = 1.0

    def __post_init__(self) -> None:
        check_alpha(self.alpha)
        check_amount("weight", self.weight)
        check_amount("unlabelled", self.unlabelled)

    @uncompiled
    def _train_unlabelled(
        self,
        f: Head,
        g: tuple[Tensor, ...],
        y: Tensor,
        shape: torch.Size,
        loss: Loss,
        generator: Generators,
        guesses: Tensor | None,
    ) -> Mixed:
        lam, perm = rand_op(self.alpha, shape, g[0], generator)
        again = SameDraws(f, g[0])
        logits = again(*copied(g))
        own = log_probabilities(logits, y, shape, self.name).detach()
        mixture = log_probabilities(again(*(mix(x, lam, perm) for x in g)), y, shape, self.name)
        share = lam.to(own.dtype).unsqueeze(-1)
        target = torch.logaddexp(own + share.log(), take_pairs(own, perm) + (1 - share).log())
        divergence = self.weight * kl(target, mixture)
        return labelled_and_not(logits, y, loss, divergence, shape, self.unlabelled)
