"""CutMix of texts: a span of words from the partner, the label by its length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ampmix._torch.compiling import uncompiled
from ampmix._torch.generators import Generators
from ampmix.mixing import Loss, interpolate_loss, mix, take_pairs, uniform
from ampmix.mixing.heads import Head
from ampmix.mixing.words import along, beside, number_of, rounded, span, words_of
from ampmix.policies._options import check_alpha
from ampmix.policies.base import Mixed, Policy
from ampmix.policies.mixup import rand_op


@dataclass(frozen=True)
class CutMix(Policy):
    """CutMix of hidden words: a span of them from a partner (Yun et al. 2019; Yoon et al. 2021).

    Of a text of n words, ``m = min(round((1 - lam) n), n_j)`` that follow each other become as many
    of the partner's, both at random places; the loss is ``(1 - m/n) l(y_i) + (m/n) l(y_j)``, by
    the words that each has. What is reported as lam is ``1 - m/n``, ``[..., B]``.

    Args:
        alpha: lam ~ Beta(alpha, alpha), > 0.
        site: where to cut, with an axis of words.

    Cost: 3 passes of f.

    Departures: SSMix (Yoon et al.) chooses spans by saliency and cuts tokens that are no words
    (``[CLS]``) out of them; here spans are random, hidden states anywhere. A text keeps its length
    and mask. Where f reads windows (``word`` of the CNN) a span is one of windows:
    ``site=embedding`` cuts words. States without words, beside others, are mixed by that lam.

    Raises:
        AmpmixError: for alpha <= 0 or a site without words.

    >>> f = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(20, 3))
    >>> mixed = CutMix()(f, torch.randn(8, 5, 4), torch.randint(3, (8,)))
    >>> bool(((mixed.lam * 5).round() - mixed.lam * 5).abs().max() < 1e-5)
    True
    """

    name: ClassVar[str] = "cutmix"
    rank: ClassVar[int] = 5
    alpha: float = 1.0
    site: str = "word"

    def __post_init__(self) -> None:
        check_alpha(self.alpha)

    @property
    def needs_words(self) -> bool:
        """True: spans are of words."""
        return True

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
        held = words_of(g, shape, self.name, whole=True)
        lam, perm = rand_op(self.alpha, shape, g[0], generator)
        count, theirs = held.sum(-1), take_pairs(held, perm)
        size = torch.minimum(rounded(1 - lam, count), theirs.sum(-1))
        place = uniform((*shape, 2), generator, held.device)
        cut, first = span(held, size, place[..., 0])
        _, other = span(theirs, size, place[..., 1])
        number = number_of(held) + (other - first).unsqueeze(-1)
        words_first = (~theirs).to(torch.uint8).argsort(stable=True, dim=-1)
        source = words_first.gather(-1, number.clamp(0, held.shape[-1] - 1))
        lam = 1 - size.to(lam.dtype) / count.clamp(min=1)

        def spliced(x: Tensor) -> Tensor:
            if not along(x, held):
                return mix(x, lam, perm) if x.is_floating_point() else x
            from_partner = take_pairs(x, perm).gather(
                held.dim() - 1, beside(source, x).expand_as(x)
            )
            return torch.where(beside(cut, x), from_partner, x)

        logits = f(*(spliced(x) for x in g))
        return Mixed(interpolate_loss(loss, logits, y, lam, perm), lam, perm=perm)
