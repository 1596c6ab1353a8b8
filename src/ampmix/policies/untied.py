"""Untied mixing: the input is mixed, and the label less or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ampmix._torch.compiling import uncompiled
from ampmix._torch.generators import Generators
from ampmix.mixing import Loss, interpolate_loss
from ampmix.mixing.heads import Head, partners_of
from ampmix.policies._options import check_alpha, check_choice, check_share
from ampmix.policies.base import Mixed, Policy
from ampmix.policies.mixup import LAMS, rand_op


@dataclass(frozen=True)
class Untied(Policy):
    """Directional adversarial training: the input mixed, the label kept (Archambault et al. 2019).

    ``f(lam g_i + (1 - lam) g_j)`` is trained on ``m l(y_i) + (1 - m) l(y_j)`` with
    ``m = lam + kept (1 - lam)``, lam ``[..., B]``: the partner is a direction to move in. Theirs
    are ``kept=1``, called DAT, and as "untied mixup" any m that depends on lam.

    Args:
        alpha: lam ~ Beta(alpha, alpha), > 0.
        kept: share of the partner's label that the own one gets, in [0, 1]; 0 is Mixup's label.
        lam: ``max`` leaves a text the larger of lam and 1 - lam, so that it is never trained to be
            what is mostly another; ``any`` with ``kept=0`` is Mixup to the bit.
        site: where to mix.

    Cost: 3 passes of f.

    Departures: their lam comes from distributions on [0, 1] that lean to 1; ours from Beta, folded.

    Raises:
        AmpmixError: for alpha <= 0 or a share outside [0, 1].

    >>> f = torch.nn.Linear(4, 3)
    >>> mixed = Untied()(f, torch.randn(8, 4), torch.randint(3, (8,)))
    >>> bool((mixed.lam >= 0.5).all())
    True
    """

    name: ClassVar[str] = "untied"
    rank: ClassVar[int] = 4
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {"lam": LAMS}
    alpha: float = 1.0
    kept: float = 1.0
    lam: str = "max"
    site: str = "word"

    def __post_init__(self) -> None:
        check_alpha(self.alpha)
        check_share("kept", self.kept)
        check_choice("lam", self.lam, LAMS)

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
        lam, perm = rand_op(self.alpha, shape, g[0], generator, lam=self.lam)
        logits = f.mixed_logits(g, lam, perm, partners_of(g, perm))
        label = lam + self.kept * (1 - lam)
        return Mixed(interpolate_loss(loss, logits, y, label, perm), lam, perm=perm)
