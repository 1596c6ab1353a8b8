"""AdaMixUp: lam from a range that is learned for each pair, so that mixtures keep off the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ampmix._torch.generators import Generators
from ampmix.errors import AmpmixError
from ampmix.mixing import Loss, mix, per_example, take_pairs
from ampmix.mixing.heads import Head, SameDraws, copied
from ampmix.mixing.words import mean_word
from ampmix.policies._options import check_amount, check_share
from ampmix.policies.base import Mixed
from ampmix.policies.mixup import rand_op
from ampmix.policies.parametric import ParametricLearner, ParametricPolicy


@dataclass(frozen=True)
class AdaMixUp(ParametricPolicy):
    """AdaMixUp (Guo, Mao and Zhang, AAAI 2019): lam is drawn from a range learned for each pair.

    ``lam_i = a_i + d_i u_i``, u uniform, with ``(a_i, d_i, 1 - a_i - d_i) = softmax(G(g_i, g_j))``
    of the policy region generator G, ``[..., B]``. The intrusion discriminator D tells mixtures
    from texts: ``L_i = (1 - weight) l(f(g_i), y_i) + weight (lam_i l(f_lam, y_i) + (1 - lam_i)
    l(f_lam, y_j)) + intrusion (softplus(-D(f(g_i))) + softplus(D(f_lam))) / 2``, with f_lam that at
    ``lam_i g_i + (1 - lam_i) g_j``. All is minimised together: f, g, D, and, through lam in the
    mixture and in its label, G.

    Args:
        weight: share of the mixture's loss, in [0, 1]; 0.5 in the authors' code.
        intrusion: weight of the discriminator's loss, >= 0; 1 in the paper.
        width: of the hidden layer that G and D each have, >= 1.
        site: where to mix.

    Cost: 6 passes of f, with the same dropout.

    Departures, as the paper mixes images and learns from them: here any site is mixed. Its
    generator is a network as large as the classifier, here one hidden layer on the means of both
    texts' words, as constants. Its discriminator shares the classifier up to the last layer, which
    f does not show: here it is one hidden layer on what f returns. The paper also mixes three
    texts at once, here two. Nothing is left of G and D in the trained model.

    Raises:
        AmpmixError: for options out of range, hidden states or outputs of other widths than
            prepared for, or a call without :meth:`prepare`.

    >>> learner = AdaMixUp().prepare((7, 4), classes=3)
    >>> f = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(28, 3))
    >>> mixed = learner(f, torch.randn(8, 7, 4), torch.randint(3, (8,)))
    >>> mixed.loss.mean().backward()
    """

    name: ClassVar[str] = "adamixup"
    rank: ClassVar[int] = 4
    weight: float = 0.5
    intrusion: float = 1.0
    width: int = 100
    site: str = "word"

    def __post_init__(self) -> None:
        check_share("weight", self.weight)
        check_amount("intrusion", self.intrusion)
        if self.width < 1:
            raise AmpmixError(f"width is {self.width}: it must be 1 or more")

    def prepare(
        self, shape: Sequence[int], classes: int, generator: torch.Generator | None = None
    ) -> PolicyRegion:
        """The generator and the discriminator for hidden states of that shape."""
        return PolicyRegion(self, shape, classes, generator)


class PolicyRegion(ParametricLearner):
    """AdaMixUp in one run: the networks ``region`` (G) and ``intruder`` (D)."""

    policy: AdaMixUp

    def __init__(
        self,
        policy: AdaMixUp,
        shape: Sequence[int],
        classes: int,
        generator: torch.Generator | None,
    ) -> None:
        super().__init__(policy)
        inputs = torch.Size(shape[1:] or shape).numel()
        self.region = _network(2 * inputs, policy.width, 3, generator)
        self.intruder = _network(classes, policy.width, 1, generator)

    def _train(
        self,
        f: Head,
        g: tuple[Tensor, ...],
        y: Tensor,
        shape: torch.Size,
        loss: Loss,
        generator: Generators,
    ) -> Mixed:
        drawn, perm = rand_op(1.0, shape, g[0], generator)
        alone = perm == torch.arange(shape[-1], device=perm.device)
        lam = self.lam(g, perm, drawn).masked_fill(alone, 1.0)
        again = SameDraws(f, g[0])
        logits, mixture = again(*copied(g)), again(*(mix(x, lam, perm) for x in g))
        plain = per_example(loss, logits, y, shape)
        partner, own = (per_example(loss, mixture, t, shape) for t in (take_pairs(y, perm), y))
        mixed = torch.lerp(partner, own, lam.to(own.dtype))  # the label's lam trains G, too
        apart = F.softplus(-self._told(logits, shape)) + F.softplus(self._told(mixture, shape))
        intrusion = self.policy.intrusion / 2 * apart.masked_fill(alone, 0.0).to(plain.dtype)
        total = torch.lerp(plain, mixed, self.policy.weight) + intrusion
        return Mixed(total, lam.detach(), perm=perm)

    def lam(self, g: tuple[Tensor, ...], perm: Tensor, drawn: Tensor) -> Tensor:
        """Coefficients ``a + d u`` of each pair with their graph, ``[..., B]``; `drawn` is u."""
        x = g[0].detach()
        own = mean_word(g, x.to(torch.promote_types(x.dtype, torch.float32)), perm.dim())
        both = torch.cat([own, take_pairs(own, perm)], -1)
        least, wide, _ = _answer(self.region, both, perm.shape, "pairs").softmax(-1).unbind(-1)
        return least + wide * drawn

    def _told(self, logits: Tensor, shape: torch.Size) -> Tensor:
        """Log-odds, by D, that outputs are those of texts, ``[..., B]``."""
        return _answer(self.intruder, logits, shape, "outputs").squeeze(-1)


def _network(
    inputs: int, width: int, outputs: int, generator: torch.Generator | None
) -> nn.Sequential:
    """One hidden layer, drawn as PyTorch's linear layers are."""
    sizes = ((inputs, width), (width, outputs))
    layers = [nn.Linear(*size, device="meta").to_empty(device="cpu") for size in sizes]
    for layer in layers:
        bound = layer.in_features**-0.5
        for parameter in layer.parameters():
            nn.init.uniform_(parameter, -bound, bound, generator=generator)
    return nn.Sequential(layers[0], nn.Tanh(), layers[1])


def _answer(network: nn.Sequential, x: Tensor, shape: torch.Size, what: str) -> Tensor:
    """Answer of a network to x, ``[..., B, *]`` of as many numbers as it reads."""
    first: Any = network[0]
    if x.shape != (*shape, first.in_features):
        raise AmpmixError(
            f"policy adamixup was prepared for {what} of {first.in_features} numbers, and these "
            f"have shape {list(x.shape)}: give prepare(shape, classes) the shape of one hidden "
            "state and the number of f's outputs"
        )
    answer: Tensor = network(x.to(first.weight.dtype))
    return answer
