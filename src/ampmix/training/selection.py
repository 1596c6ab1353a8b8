"""Select the step whose model a run keeps, and stop training early."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ampmix.training.config import ORACLE


class Reading(NamedTuple):
    """One reading of the development set; errors are fractions, losses in nats.

    Attributes:
        step: after which it was taken.
        train_loss: mean of what was minimised since the reading before.
        dev_error: share misclassified.
        dev_loss: mean cross-entropy, without class weights or label smoothing.
    """

    step: int
    train_loss: float
    dev_error: float
    dev_loss: float


class Selection:
    """A run's development readings so far, and the weights of the step to keep.

    Args:
        rule: ``best_dev`` keeps the step with the lowest development error (ties: the lower loss,
            then the earlier step), ``last`` the last that was read, ``oracle_test`` the step with
            the lowest test error (ties alike).
        patience: readings without a lower error (or an equal one with a lower loss) after which
            there has been enough; 0 for never.
    """

    def __init__(self, rule: str, patience: int = 0) -> None:
        self._rule, self._patience = rule, patience
        self._lowest = 0  # which reading
        self._tested: list[tuple[float, float]] = []
        self._weights: dict[str, Tensor] = {}
        self.curve: list[Reading] = []

    @property
    def asks_test(self) -> bool:
        """True if the rule needs the test set at every reading."""
        return self._rule == ORACLE

    def add(
        self, reading: Reading, model: nn.Module, tested: tuple[float, float] = (0.0, 0.0)
    ) -> None:
        """Take in the next reading, of the model as it is now.

        Args:
            reading: of the development set.
            model: whose weights are copied if they are the ones to keep so far.
            tested: error and loss on the test set, where :attr:`asks_test` is true.
        """
        self.curve.append(reading)
        self._tested.append(tested)
        if reading[2:] < self.curve[self._lowest][2:]:
            self._lowest = len(self.curve) - 1
        if self.kept is reading:
            self._weights = {name: value.clone() for name, value in _moving(model).items()}

    @property
    def kept(self) -> Reading:
        """The reading of the step to keep."""
        if self.asks_test:
            return self.curve[self._tested.index(min(self._tested))]
        return self.curve[-1 if self._rule == "last" else self._lowest]

    @property
    def enough(self) -> bool:
        """True once patience has run out."""
        return 0 < self._patience <= len(self.curve) - 1 - self._lowest

    def restore(self, model: nn.Module) -> None:
        """Give the model the weights of the step to keep.

        In place: a model that keeps what its frozen part makes of texts keeps it.
        """
        with torch.no_grad():
            for name, value in _moving(model).items():
                value.copy_(self._weights[name])


def _moving(model: nn.Module) -> dict[str, Tensor]:
    """The model's state without parameters that do not train."""
    frozen = {name for name, own in model.named_parameters() if not own.requires_grad}
    return {name: value for name, value in model.state_dict().items() if name not in frozen}
