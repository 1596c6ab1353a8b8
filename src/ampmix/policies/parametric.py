"""Common parts of policies that train parameters."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from torch import Tensor

from ampmix._torch.generators import Generators
from ampmix.errors import AmpmixError
from ampmix.mixing import Loss, cross_entropy
from ampmix.mixing.heads import Head, Hidden, head_of
from ampmix.policies._mixed import check_mixed
from ampmix.policies.base import Learner, Mixed, Policy, batch_of, no_use


@dataclass(frozen=True)
class ParametricPolicy(Policy):
    """A policy with parameters: it trains as what :meth:`prepare` returns, which holds them."""

    def _train(self, *_: object) -> NoReturn:
        raise AmpmixError(
            f"policy {self.name} has parameters to train: call what "
            "prepare(shape, classes, generator) returns"
        )


class ParametricLearner(Learner):
    """A policy with parameters in one run. A subclass holds them and writes :meth:`_train`."""

    def forward(
        self,
        f: Callable[..., Tensor],
        g: Hidden,
        y: Tensor,
        *,
        loss: Loss = cross_entropy,
        generator: Generators = None,
        batch_dims: int | None = None,
        **unlabelled: Any,
    ) -> Mixed:
        """See :meth:`Policy.__call__`."""
        if unlabelled:
            raise AmpmixError(no_use(self.policy.name))
        parts, shape = batch_of(g, y, batch_dims)
        self.policy.check_loss(loss)
        mixed = self._train(head_of(f), parts, y, shape, loss, generator)
        check_mixed(mixed, shape, self.policy.name)
        return mixed

    @abstractmethod
    def _train(
        self,
        f: Head,
        g: tuple[Tensor, ...],
        y: Tensor,
        shape: torch.Size,
        loss: Loss,
        generator: Generators,
    ) -> Mixed:
        """See :meth:`Policy._train`."""
