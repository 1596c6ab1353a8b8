"""Virtual adversarial training: probabilities must stay near where a step changes them most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ampmix._torch.compiling import uncompiled
from ampmix._torch.generators import Generators
from ampmix.errors import AmpmixError
from ampmix.mixing import Loss
from ampmix.mixing.adversary import Surroundings
from ampmix.mixing.divergence import kl, log_probabilities
from ampmix.mixing.heads import Head, SameDraws, copied
from ampmix.policies._options import check_amount, check_steps
from ampmix.policies._unlabelled import UnlabelledPolicy, labelled_and_not
from ampmix.policies.base import Mixed


@dataclass(frozen=True)
class VAT(UnlabelledPolicy):
    """Virtual adversarial training (Miyato et al. 2018): a step needs no label.

    ``L_i = l(f(g_i), y_i) + weight KL(p_i || p(g_i + r_i))`` with p_i = p(g_i) and r_i constant,
    ``r_i = eps ||g_i|| d_i / ||d_i||``; d is drawn from a Gaussian and then `steps` times replaced
    by the gradient of that divergence at ``g_i + xi ||g_i|| d_i / ||d_i||`` (Eqs. 5-8, Algorithm
    1), which is power iteration on its second derivative. Norms as in ``fgm``: a text's words
    together, ``[..., B]``; padding is not moved.

    Texts without a label have that divergence alone, times `unlabelled`; means over both kinds are
    added (Eq. 8 there takes one mean over all texts, whichever they are).

    Args:
        eps: length of the step, >= 0, as a share of the hidden state's.
        weight: of the divergence, >= 0; the paper's alpha, 1 there.
        steps: of power iteration, >= 1.
        xi: how far from g its gradient is taken, > 0, likewise a share. The paper's 1e-6 would be
            lost in float32.
        site: where to step.
        unlabelled: weight of the texts without a label, >= 0; with 0 they are not read.

    Cost: 6 + 2 steps passes of f, with the same dropout. Seeds train one after the other: the noise
    of a text would depend on the longest text of all seeds.

    Raises:
        AmpmixError: for numbers out of range, or outputs or targets that are not of classes.

    >>> f = torch.nn.Linear(4, 3)
    >>> mixed = VAT()(f, torch.randn(8, 4), torch.randint(3, (8,)))
    >>> mixed.loss.mean().backward()
    """

    name: ClassVar[str] = "vat"
    rank: ClassVar[int] = 12
    pairs: ClassVar[bool] = False
    needs_classes: ClassVar[bool] = True
    eps: float = 0.1
    weight: float = 1.0
    steps: int = 1
    xi: float = 0.01
    site: str = "word"
    unlabelled: float = 1.0

    def __post_init__(self) -> None:
        check_amount("eps", self.eps)
        check_amount("weight", self.weight)
        check_amount("unlabelled", self.unlabelled)
        check_steps(self.steps)
        if not 0 < self.xi < float("inf"):
            raise AmpmixError(f"xi is {self.xi}: it must be above 0")

    @property
    def stacks(self) -> bool:
        """False: see above."""
        return False

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
        around, again = Surroundings.of(g, shape), SameDraws(f, g[0])
        logits = again(*copied(g))
        log_p = log_probabilities(logits, y, shape, self.name).detach()

        def divergence(*hidden: Tensor) -> Tensor:
            return kl(log_p, log_probabilities(again(*hidden), y, shape, self.name))

        noise = around.directions(generator)
        for _ in range(self.steps):
            noise = around.gradients(divergence, around.scaled(noise, self.xi))
        smoothness = self.weight * divergence(*around.moved(around.scaled(noise, self.eps)))
        return labelled_and_not(logits, y, loss, smoothness, shape, self.unlabelled)
