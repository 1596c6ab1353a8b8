"""Common parts of policies that train on texts without labels."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from ampmix._torch.compiling import uncompiled
from ampmix._torch.generators import Generators
from ampmix.mixing import Loss, per_example
from ampmix.mixing.heads import Head
from ampmix.policies.base import Mixed, Policy


@dataclass(frozen=True)
class UnlabelledPolicy(Policy):
    """A policy that also trains on texts without labels: labelled ones alone are U = 0 of them.

    It writes :meth:`_train_unlabelled` and has an option ``unlabelled``, by which their loss is
    weighed.
    """

    @property
    def uses_unlabelled(self) -> bool:
        """True if their loss has a weight."""
        weights = getattr(self, "weight", 1.0), getattr(self, "unlabelled", 1.0)
        return weights[0] * weights[1] > 0

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
        return self._train_unlabelled(f, g, y, shape, loss, generator, None)

    @abstractmethod
    def _train_unlabelled(
        self,
        f: Head,
        g: tuple[Tensor, ...],
        y: Tensor,
        shape: torch.Size,
        loss: Loss,
        generator: Generators,
        guesses: Tensor | None,
    ) -> Mixed: ...


@uncompiled
def labelled_and_not(
    logits: Tensor, y: Tensor, loss: Loss, further: Tensor, shape: torch.Size, weight: float
) -> Mixed:
    """Return the losses of texts with a label, ``l_i + further_i``, and of those without one.

    These have ``weight * further_i``.

    Args:
        logits: of all texts, ``[..., B + U, C]``, the labelled ones first.
        y: targets of these.
        loss: per-example loss.
        further: a term of each text, ``[..., B + U]``.
        shape: of all texts.
        weight: see above.
    """
    dims, n = len(shape), y.shape[len(shape) - 1]
    labelled = logits.narrow(dims - 1, 0, n)
    losses = per_example(loss, labelled, y, (*shape[:-1], n)) + further[..., :n]
    return Mixed(losses, unlabelled=weight * further[..., n:] if n < shape[-1] else None)
