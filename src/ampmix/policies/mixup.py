"""Mixup of hidden states: WordMixup and SentMixup (the paper's RandOp alone)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ampmix._torch.compiling import uncompiled
from ampmix._torch.generators import Generators, Ragged
from ampmix.mixing import Loss, interpolate_loss, pair, sample_lam
from ampmix.mixing.heads import Head, partners_of
from ampmix.mixing.pairing import BY_CLASS, PAIRINGS, pair_by_class, pair_near
from ampmix.policies._options import check_alpha, check_choice, check_share
from ampmix.policies.base import Mixed, Policy
from ampmix.policies.none import NoMixup

LAMS = ("any", "max")


@uncompiled
def rand_op(
    alpha: float,
    shape: torch.Size,
    like: Tensor,
    generator: Generators = None,
    y: Tensor | None = None,
    pairing: str = "any",
    lam: str = "any",
    g: tuple[Tensor, ...] = (),
) -> tuple[Tensor, Tensor]:
    """RandOp: a coefficient and a partner for every example (Eq. 10 and Section 3.2).

    An example that finds no partner, as in a batch of one, has a lam of 1, so that it trains
    unmixed. lam is at least float32 whatever the precision of `like`.

    Args:
        alpha: lam ~ Beta(alpha, alpha).
        shape: the batch's, ``[..., B]``.
        like: hidden states.
        generator: source of randomness.
        y: class indices, for a `pairing` by class.
        pairing: see :func:`ampmix.mixing.pairing.pair_by_class`, and for ``near``
            :func:`ampmix.mixing.pairing.pair_near`.
        lam: ``max`` gives the larger of lam and 1 - lam.
        g: the parts of the hidden states, for partners that are near.

    Returns:
        lam and perm, each of `shape` and on the device of `like`.
    """
    dtype = torch.promote_types(like.dtype, torch.float32)
    drawn = sample_lam(alpha, shape, generator=generator, device=like.device, dtype=dtype)
    drawn = torch.maximum(drawn, 1 - drawn) if lam == "max" else drawn
    if pairing == "near":
        perm, fits = pair_near(g or (like,), shape, generator)
        return torch.where(fits, drawn, 1.0), perm
    if pairing != "any" and y is not None:
        perm, fits = pair_by_class(y, shape, pairing, generator)
        return torch.where(fits, drawn, 1.0), perm
    perm = pair(shape, generator=generator, device=like.device)
    if isinstance(generator, Ragged):  # a batch may be of one among larger ones
        own = torch.arange(shape[-1], device=like.device)
        return torch.where(perm == own, 1.0, drawn), perm
    return (torch.ones_like(drawn) if shape[-1] == 1 else drawn), perm


class MixesPairs(Policy):
    """Options of policies that mix texts with partners; each has them among its own."""

    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {"pairing": PAIRINGS, "lam": LAMS}
    alpha: float
    pairing: str
    lam: str
    until: float

    @property
    def needs_indices(self) -> bool:
        """True if partners go by class."""
        return self.pairing in BY_CLASS

    @property
    def changes(self) -> bool:
        """True if mixing ends before training does."""
        return self.until < 1

    def at(self, progress: float) -> Policy:
        """See :meth:`ampmix.policies.base.Policy.at`."""
        return NoMixup() if self.changes and progress >= self.until else self

    def _check_pairs(self) -> None:
        """Raise unless these options are what they may be."""
        check_alpha(self.alpha)
        check_choice("pairing", self.pairing, PAIRINGS)
        check_choice("lam", self.lam, LAMS)
        check_share("until", self.until)

    def _drawn_pairs(
        self, g: tuple[Tensor, ...], y: Tensor, shape: torch.Size, generator: Generators
    ) -> tuple[Tensor, Tensor]:
        """lam and perm by :func:`rand_op`."""
        return rand_op(self.alpha, shape, g[0], generator, y, self.pairing, self.lam, g)


@dataclass(frozen=True)
class Mixup(MixesPairs):
    """Mixup at a hidden layer (Zhang et al. 2018; Verma et al. 2019; Guo et al. 2019).

    ``lam * g + (1 - lam) * g[perm]``, the loss alike (Eqs. 10-13, 17), one lam per example.

    Args:
        alpha: lam ~ Beta(alpha, alpha), > 0.
        site: the layer that a backbone is cut at: ``word`` (WordMixup: embeddings), ``sent``
            (SentMixup: last hidden state), or of an encoder ``layer.K``. The arithmetic does not
            depend on it. Of several, as in ``word+layer.3``, one is drawn each step (Manifold
            Mixup: Verma et al. 2019; TMix: Chen et al. 2020).
        pairing: ``any`` partner, one of the ``same`` class or of an ``other``, or one ``near`` in
            hidden space; those for which the batch has none are not mixed.
        lam: ``max`` leaves a text the larger of lam and 1 - lam (MixMatch: Berthelot et al. 2019).
        until: share of the steps, in [0, 1], after which nothing is mixed any more.

    Cost: 3 passes of f.

    Raises:
        AmpmixError: for alpha <= 0, another pairing or lam, or a pairing by class of targets that
            are not class indices.

    >>> f = torch.nn.Linear(4, 3)
    >>> mixed = Mixup()(f, torch.randn(8, 4), torch.randint(3, (8,)))
    >>> mixed.loss.mean().backward()
    """

    name: ClassVar[str] = "mixup"
    rank: ClassVar[int] = 1
    printed: ClassVar[bool] = True
    alpha: float = 1.0
    site: str = "word"
    pairing: str = "any"
    lam: str = "any"
    until: float = 1.0

    def __post_init__(self) -> None:
        self._check_pairs()

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
        lam, perm = self._drawn_pairs(g, y, shape, generator)
        logits = f.mixed_logits(g, lam, perm, partners_of(g, perm))
        per_example = interpolate_loss(loss, logits, y, lam, perm)
        return Mixed(per_example, lam, perm=perm)
