"""R3F: probabilities must not change with noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ampmix._torch.compiling import uncompiled
from ampmix._torch.generators import Generators
from ampmix.mixing import Loss, per_example
from ampmix.mixing.adversary import Surroundings
from ampmix.mixing.divergence import kl, log_probabilities
from ampmix.mixing.heads import Head, SameDraws, copied
from ampmix.policies._options import check_amount
from ampmix.policies.base import Mixed, Policy


@dataclass(frozen=True)
class R3F(Policy):
    """Fine-tuning with noise that must change no probabilities (R3F; Aghajanyan et al. 2021).

    ``L_i = l(f(g_i), y_i) + weight (KL(p_i || q_i) + KL(q_i || p_i))`` with p the probabilities at
    g, q those at ``g_i + eps ||g_i|| n_i / ||n_i||`` and Gaussian n. Norms are those of all of a
    text's words, ``[..., B]``; padding is not moved.

    Args:
        eps: length of the noise, >= 0, as a share of the hidden state's.
        weight: of the divergence, >= 0; the paper's lambda, 0.1 to 5 there.
        site: where the noise is added; the paper's is the embedded words.

    Cost: 6 passes of f, with the same dropout. Seeds train one after the other: the noise of a
    text would depend on the longest text of all seeds.

    Departures: the paper's noise has a deviation of 1e-5 whatever the model, which float32 hardly
    sees; here its length is a share of the text's own.

    Raises:
        AmpmixError: for numbers below 0, or outputs or targets that are not of classes.

    >>> f = torch.nn.Linear(4, 3)
    >>> mixed = R3F()(f, torch.randn(8, 4), torch.randint(3, (8,)))
    >>> mixed.loss.mean().backward()
    """

    name: ClassVar[str] = "r3f"
    rank: ClassVar[int] = 22
    pairs: ClassVar[bool] = False
    needs_classes: ClassVar[bool] = True
    eps: float = 0.1
    weight: float = 1.0
    site: str = "word"

    def __post_init__(self) -> None:
        check_amount("eps", self.eps)
        check_amount("weight", self.weight)

    @property
    def stacks(self) -> bool:
        """False: see above."""
        return False

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
        noise = around.scaled(around.directions(generator), self.eps)
        logits, noisy = again(*copied(g)), again(*around.moved(noise))
        p, q = (log_probabilities(z, y, shape, self.name) for z in (logits, noisy))
        return Mixed(per_example(loss, logits, y, shape) + self.weight * (kl(p, q) + kl(q, p)))
