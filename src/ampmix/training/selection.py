"""Select the step whose model a run keeps, and stop training early."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn


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
            then the earlier step), ``last`` the last that was read.
        patience: readings without a lower error (or an equal one with a lower loss) after which
            there has been enough; 0 for never.
    """

    def __init__(self, rule: str, patience: int = 0) -> None:
        self._rule, self._patience = rule, patience
        self._lowest = 0  # which reading
        self._weights: dict[str, Tensor] = {}
        self.curve: list[Reading] = []

    def add(self, reading: Reading, model: nn.Module) -> None:
        """Take in the next reading, of the model as it is now."""
        self.curve.append(reading)
        if reading[2:] < self.curve[self._lowest][2:]:
            self._lowest = len(self.curve) - 1
        if self.kept is reading:
            self._weights = {name: value.clone() for name, value in model.state_dict().items()}

    @property
    def kept(self) -> Reading:
        """The reading of the step to keep."""
        return self.curve[-1 if self._rule == "last" else self._lowest]

    @property
    def enough(self) -> bool:
        """True once patience has run out."""
        return 0 < self._patience <= len(self.curve) - 1 - self._lowest

    def restore(self, model: nn.Module) -> None:
        """Give the model the weights of the step to keep."""
        model.load_state_dict(self._weights)
