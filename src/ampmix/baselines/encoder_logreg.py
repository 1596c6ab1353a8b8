"""Logistic regression on the features of a frozen pretrained encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ampmix.backbones.base import CutModule
from ampmix.backbones.encoder_module import EncoderModule
from ampmix.backbones.feature_cache import features
from ampmix.baselines._frozen import FrozenBaseline, lengths
from ampmix.baselines._logistic import best_strength, fitted
from ampmix.baselines.base import Numbers
from ampmix.policies._options import check_amount, check_rounds, check_temperature
from ampmix.text.encoded import Encoded

LEAST = 1e-6  # share of a guessed label that is left out


@dataclass(frozen=True)
class EncoderLogreg(FrozenBaseline):
    """Logistic regression on the features of a frozen pretrained encoder; MiniLM by default.

    Features are the means over the tokens of the embedded words and of the hidden states after a
    third, two thirds and all of the layers (what a text is about is told above, which words ask
    for it below); texts are encoded once for all folds
    (:func:`ampmix.backbones.feature_cache.features`). The L2 penalty is that of features of mean
    squared length 1, each layer's of the same. C is the one of 1, 3, 10, 30 and 100 with the lowest
    log loss in a 3-fold cross-validation inside the training part, of which 1,000 texts are drawn
    if there are more; with fewer than 2 texts of a class it is 10.

    With `rounds` and texts without labels it trains itself: their probabilities ``p_c^(1/T)``,
    normalised, become labels that weigh so much, C stays, and it is fitted anew, so many times. All
    these texts together weigh `unlabelled` times what the labelled ones do.

    Args:
        model: as of backbone ``encoder``.
        pooling: ``layers``, or ``mean``, over the tokens after the last layer alone.
        rounds: of self-training, >= 0.
        T: temperature of the labels, > 0, as of policy ``selftrain``.
        unlabelled: weight of the texts without a label, >= 0.

    Raises:
        AmpmixError: for another pooling, and for numbers out of range.
    """

    name: ClassVar[str] = "encoder-logreg"
    described: ClassVar[str] = "logistic regression on a frozen encoder"
    rank: ClassVar[int] = 2
    version: ClassVar[int] = 3  # 1: pooling ``mean``; 2: C chosen on 2,000 texts
    rounds: int = 0
    T: float = 0.5
    unlabelled: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rounds:
            check_rounds(self.rounds)
        check_temperature(self.T)
        check_amount("unlabelled", self.unlabelled)

    @property
    def uses_unlabelled(self) -> bool:
        """True if there are rounds of self-training."""
        return self.rounds * self.unlabelled > 0

    def solve(
        self, model: CutModule, train: Encoded, weights: Numbers, others: Sequence[Encoded] = ()
    ) -> Sequence[Tensor]:
        """See :meth:`ampmix.baselines.base.Baseline.solve`."""
        return self.solve_with(model, train, weights, others, None)

    def solve_with(
        self,
        model: CutModule,
        train: Encoded,
        weights: Numbers,
        others: Sequence[Encoded],
        unlabelled: Encoded | None,
    ) -> Sequence[Tensor]:
        """See :meth:`ampmix.baselines.base.Baseline.solve_with`; None for no such texts."""
        assert isinstance(model, EncoderModule)
        output = model.output
        device, classes = output.weight.device, output.out_features
        more = [] if unlabelled is None else [unlabelled]
        x, *asked = features(model, [train, *others, *more], device)
        length = lengths(x, output.in_features // model.body.config.hidden_size)
        known = x / length, train.labels, weights
        strength = best_strength(*known)
        slopes, bias = fitted(*known, classes, C=strength)
        if more:
            extra = asked.pop() / length
            for _ in range(self.rounds):
                guessed = self._guessed(extra @ slopes.T + bias, weights.sum())
                joined = _joined(known, extra, guessed)
                slopes, bias = fitted(*joined, classes, C=strength)
        output.weight.data.copy_(torch.from_numpy(slopes / length))
        output.bias.data.copy_(torch.from_numpy(bias))
        with torch.no_grad():
            return [output(torch.from_numpy(own).to(device)).cpu() for own in asked]

    def _guessed(self, logits: Numbers, weight: float) -> Numbers:
        """Weights ``[n, C]`` of texts without labels as texts of each class."""
        q = torch.from_numpy(logits / self.T).softmax(1).numpy()
        made: Numbers = q * (self.unlabelled * weight / len(q))
        return made


def _joined(known: tuple[Any, Any, Any], extra: Any, guessed: Numbers) -> tuple[Any, Any, Any]:
    """Features, labels and weights of known texts, and of others once for each likely class."""
    text, label = np.nonzero(guessed > LEAST * guessed.sum() / len(guessed))
    more = extra[text], label, guessed[text, label]
    x, y, weights = (np.concatenate(pair) for pair in zip(known, more, strict=True))
    return x, y, weights
