"""Mixup of hidden states: WordMixup and SentMixup (the paper's RandOp alone)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ampmix._torch.compiling import uncompiled
from ampmix._torch.generators import Generators, Ragged
from ampmix.mixing import Loss, interpolate_loss, pair, sample_lam
from ampmix.mixing.heads import Head, partners_of
from ampmix.policies._options import check_alpha
from ampmix.policies.base import Mixed, Policy


@uncompiled
def rand_op(
    alpha: float, shape: torch.Size, like: Tensor, generator: Generators = None
) -> tuple[Tensor, Tensor]:
    """RandOp: a coefficient and a partner for every example (Eq. 10 and Section 3.2).

    A batch of one cannot be paired: its lam is 1, so that it trains unmixed. lam is at least
    float32 whatever the precision of `like`.

    Returns:
        lam and perm, each of `shape` and on the device of `like`.
    """
    dtype = torch.promote_types(like.dtype, torch.float32)
    lam = sample_lam(alpha, shape, generator=generator, device=like.device, dtype=dtype)
    perm = pair(shape, generator=generator, device=like.device)
    if isinstance(generator, Ragged):  # a batch may be of one among larger ones
        own = torch.arange(shape[-1], device=like.device)
        return torch.where(perm == own, 1.0, lam), perm
    return (torch.ones_like(lam) if shape[-1] == 1 else lam), perm


@dataclass(frozen=True)
class Mixup(Policy):
    """Mixup at a hidden layer (Zhang et al. 2018; Verma et al. 2019; Guo et al. 2019).

    ``lam * g + (1 - lam) * g[perm]``, the loss alike (Eqs. 10-13, 17), one lam per example.

    Args:
        alpha: lam ~ Beta(alpha, alpha), > 0.
        site: the layer that a backbone is cut at: ``word`` (WordMixup: embeddings), ``sent``
            (SentMixup: last hidden state), or of an encoder ``layer.K``. The arithmetic does not
            depend on it.

    Raises:
        AmpmixError: for alpha <= 0.

    >>> f = torch.nn.Linear(4, 3)
    >>> mixed = Mixup()(f, torch.randn(8, 4), torch.randint(3, (8,)))
    >>> mixed.loss.mean().backward()
    """

    name: ClassVar[str] = "mixup"
    rank: ClassVar[int] = 1
    printed: ClassVar[bool] = True
    alpha: float = 1.0
    site: str = "word"

    def __post_init__(self) -> None:
        check_alpha(self.alpha)

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
        lam, perm = rand_op(self.alpha, shape, g[0], generator)
        logits = f.mixed_logits(g, lam, perm, partners_of(g, perm))
        per_example = interpolate_loss(loss, logits, y, lam, perm)
        return Mixed(per_example, lam, perm=perm)
