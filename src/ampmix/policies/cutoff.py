"""Cutoff: a text of which something is removed must keep its label and probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ampmix._torch.compiling import uncompiled
from ampmix._torch.generators import Generators
from ampmix.mixing import Loss, per_example, uniform
from ampmix.mixing.divergence import jensen_shannon, log_probabilities
from ampmix.mixing.heads import Head, SameDraws, copied
from ampmix.mixing.words import along, beside, presence, rounded, span, words_of
from ampmix.policies._options import check_amount, check_choice, check_share
from ampmix.policies.base import Mixed, Policy

CUTS = ("span", "tokens", "features")


@dataclass(frozen=True)
class Cutoff(Policy):
    """Cutoff: part of a text's hidden state set to zero (Shen et al. 2020).

    ``L_i = (l(z_i, y_i) + l(z'_i, y_i)) / 2 + weight JS(p_i, p'_i)``, with z the outputs
    ``[..., B, C]`` of g, z' those of g with a part removed, p and p' their softmax, and JS their
    Jensen-Shannon divergence.

    Args:
        cut: ``span`` removes words that follow each other, ``tokens`` words anywhere, ``features``
            the same elements of every word.
        share: of the words (rounded; at least one stays) or elements that is removed, in [0, 1].
        weight: of the divergence, >= 0; the paper's beta.
        site: where to cut.

    Cost: 6 passes of f, with the same dropout. With ``cut=tokens`` seeds train one after the other.

    Departures: the paper weighs the loss of the cut text by alpha; here both count alike, with the
    same dropout. Positions stay, as there; padding is not cut.

    Raises:
        AmpmixError: for numbers out of range, a site without words unless features are cut, or
            outputs or targets that are not of classes.

    >>> f = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(20, 3))
    >>> mixed = Cutoff()(f, torch.randn(8, 5, 4), torch.randint(3, (8,)))
    >>> mixed.loss.mean().backward()
    """

    name: ClassVar[str] = "cutoff"
    rank: ClassVar[int] = 21
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {"cut": CUTS}
    pairs: ClassVar[bool] = False
    needs_classes: ClassVar[bool] = True
    cut: str = "span"
    share: float = 0.15
    weight: float = 1.0
    site: str = "word"

    def __post_init__(self) -> None:
        check_choice("cut", self.cut, CUTS)
        check_share("share", self.share)
        check_amount("weight", self.weight)

    @property
    def needs_words(self) -> bool:
        """True unless features are cut."""
        return self.cut != "features"

    @property
    def stacks(self) -> bool:
        """False where a number is drawn for each word."""
        return self.cut != "tokens"

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
        cut = self._features if self.cut == "features" else self._words
        again, less = SameDraws(f, g[0]), cut(g, shape, generator)
        outputs = again(*copied(g)), again(*less)
        log_p, log_q = (log_probabilities(z, y, shape, self.name) for z in outputs)
        whole, part = (per_example(loss, z, y, shape) for z in outputs)
        return Mixed((whole + part) / 2 + self.weight * jensen_shannon(log_p, log_q))

    def _words(
        self, g: tuple[Tensor, ...], shape: torch.Size, generator: Generators
    ) -> tuple[Tensor, ...]:
        held = words_of(g, shape, self.name)
        count = held.sum(-1)
        size = torch.minimum(rounded(self.share, count), count - 1).clamp(min=0)
        if self.cut == "span":
            removed, _ = span(held, size, uniform(shape, generator, held.device))
        else:
            order = uniform(held.shape, generator, held.device).masked_fill(~held, 2.0)
            removed = _ranks(order) < size.unsqueeze(-1)
        return tuple(
            x.masked_fill(beside(removed, x), 0.0) if along(x, removed) else x for x in copied(g)
        )

    def _features(
        self, g: tuple[Tensor, ...], shape: torch.Size, generator: Generators
    ) -> tuple[Tensor, ...]:
        parts = []
        for x in copied(g):
            if x.is_floating_point() and x.dim() > len(shape):
                drawn = uniform((*shape, x.shape[-1]), generator, x.device)
                removed = _ranks(drawn) < round(self.share * x.shape[-1])
                removed = removed.reshape(*shape, *(1,) * (x.dim() - len(shape) - 1), -1)
                held = presence(g, x, len(shape))
                x = x.masked_fill(removed if held is None else removed & beside(held, x), 0.0)
            parts.append(x)
        return tuple(parts)


def _ranks(values: Tensor) -> Tensor:
    """The place of each value among those of the last axis, from 0."""
    return values.argsort(-1).argsort(-1)
