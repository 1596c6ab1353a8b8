"""Adversarial vertex mixup: towards a point beyond the adversarial one, the label ever softer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ampmix._torch.compiling import uncompiled
from ampmix._torch.generators import Generators
from ampmix.mixing import Loss, per_example, sample_lam
from ampmix.mixing.adversary import Surroundings, climb
from ampmix.mixing.divergence import check_classes
from ampmix.mixing.heads import Head, SameDraws
from ampmix.mixing.words import beside
from ampmix.policies._options import check_alpha, check_amount, check_share, check_steps
from ampmix.policies.base import Mixed, Policy


@dataclass(frozen=True)
class AVMixup(Policy):
    """Adversarial vertex mixup (Lee et al. 2020): mixing with one's own adversarial vertex.

    ``g_i + (1 - lam) gamma r_i`` is trained on the label ``s y_i + (1 - s) / C`` with
    ``s = lam + (1 - lam) kept``; r_i as in ``pgd``, lam ~ Beta(alpha, alpha), ``[..., B]``. So
    the label is y at the text and soft at the vertex ``g + gamma r``.

    Args:
        alpha: of the Beta distribution, > 0; 1 in the paper.
        gamma: how far the vertex is, in r, >= 0; 2 in the paper.
        kept: share of the label that is left at the vertex, in [0, 1]; 0.1 in the paper.
        steps, eps: of r, see ``pgd``.
        site: where to step.

    Cost: 2 steps + 3 passes of f, with the same dropout.

    Departures: the paper spreads the rest of a label over the other classes; with two of them that
    would turn the label around, so here all classes share it. Norms as in ``pgd``.

    Raises:
        AmpmixError: for options out of range, an f without a gradient, or outputs or targets that
            are not of classes.

    >>> f = torch.nn.Linear(4, 3)
    >>> mixed = AVMixup()(f, torch.randn(8, 4), torch.randint(3, (8,)))
    >>> mixed.loss.mean().backward()
    """

    name: ClassVar[str] = "avmixup"
    rank: ClassVar[int] = 14
    pairs: ClassVar[bool] = False
    needs_classes: ClassVar[bool] = True
    alpha: float = 1.0
    gamma: float = 2.0
    kept: float = 0.1
    steps: int = 3
    eps: float = 0.1
    site: str = "word"

    def __post_init__(self) -> None:
        check_alpha(self.alpha)
        check_amount("gamma", self.gamma)
        check_share("kept", self.kept)
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
        lam = sample_lam(
            self.alpha, shape, generator=generator, device=y.device, dtype=around.norm.dtype
        )

        def losses(*hidden: Tensor) -> Tensor:
            return per_example(loss, again(*hidden), y, shape)

        noise = climb(around, losses, self.eps, self.steps)
        noise = [r * beside((1 - lam) * self.gamma, r).to(r.dtype) for r in noise]
        logits = again(*around.moved(noise))
        check_classes(logits, y, shape, self.name)
        every = [per_example(loss, logits, _label(y, c), shape) for c in range(logits.shape[-1])]
        own, anything = per_example(loss, logits, y, shape), torch.stack(every).mean(0)
        share = (lam + (1 - lam) * self.kept).to(own.dtype)
        return Mixed(torch.lerp(anything, own, share), lam)


def _label(y: Tensor, c: int) -> Tensor:
    """Targets like y that all say class c."""
    if not y.is_floating_point():
        return torch.full_like(y, c)
    said = torch.zeros_like(y)
    said[..., c] = 1.0
    return said
