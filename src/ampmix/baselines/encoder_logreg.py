"""Logistic regression on the features of a frozen pretrained encoder."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ampmix._support import components
from ampmix.backbones.base import CutModule
from ampmix.backbones.encoder import Encoder
from ampmix.backbones.encoder_module import EncoderModule
from ampmix.backbones.feature_cache import features
from ampmix.backbones.hf_loading import MINILM
from ampmix.baselines._logistic import fitted
from ampmix.baselines.base import Baseline, Numbers
from ampmix.data.dataset import Split
from ampmix.policies._options import check_amount, check_rounds, check_temperature
from ampmix.text.encoded import Encoded
from ampmix.text.reader import Reader

STRENGTHS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)  # of C, tried inside the training part
PARTS = 5
MOST = 2000  # texts on which they are tried
LEAST = 1e-6  # share of a guessed label that is left out


@dataclass(frozen=True)
class EncoderLogreg(Baseline):
    """Logistic regression on the features of a frozen pretrained encoder; MiniLM by default.

    Features are the mean over the tokens of the last hidden states; texts are encoded once for all
    folds (:func:`ampmix.backbones.feature_cache.features`). The L2 penalty is that of features of
    mean squared length 1. C is the one of 0.1, 0.3, 1, ..., 100 with the lowest log loss in a
    5-fold cross-validation inside the training part, of which 2,000 texts are drawn if there are
    more; with fewer than 2 texts of a class it is 3.

    With `rounds` and texts without labels it trains itself: their probabilities ``p_c^(1/T)``,
    normalised, become labels that weigh so much, C stays, and it is fitted anew, so many times. All
    these texts together weigh `unlabelled` times what the labelled ones do.

    Args:
        model: as of backbone ``encoder``.
        rounds: of self-training, >= 0.
        T: temperature of the labels, > 0, as of policy ``selftrain``.
        unlabelled: weight of the texts without a label, >= 0.

    Raises:
        AmpmixError: for numbers out of range.
    """

    name: ClassVar[str] = "encoder-logreg"
    described: ClassVar[str] = "logistic regression on a frozen encoder"
    rank: ClassVar[int] = 2
    reads_folder: ClassVar[bool] = True
    reads_pool: ClassVar[bool] = True
    heeds: ClassVar[tuple[str, ...]] = ("class_weights", "max_length")
    model: str = MINILM
    rounds: int = 0
    T: float = 0.5
    unlabelled: float = 1.0

    def __post_init__(self) -> None:
        if self.rounds:
            check_rounds(self.rounds)
        check_temperature(self.T)
        check_amount("unlabelled", self.unlabelled)

    @property
    def uses_unlabelled(self) -> bool:
        """True if there are rounds of self-training."""
        return self.rounds * self.unlabelled > 0

    @property
    def _encoder(self) -> Encoder:
        return Encoder(self.model, freeze=True)

    @property
    def identity(self) -> str:
        """The spec string with a folder's content in place of its path; hub names stay."""
        return self._named(self._encoder.identity)

    @property
    def public_spec(self) -> str:
        """The spec string with the last name alone of a folder's path."""
        return self._named(self._encoder.public_spec)

    def _named(self, spec: str) -> str:
        """The spec string of this baseline for that of the frozen encoder."""
        model = re.search(r"model=([^,\]]*)", spec)
        return components.spec(replace(self, model=model[1]) if model else self)

    def notes(self, split: Split, max_length: int) -> list[str]:
        """See :meth:`ampmix.backbones.base.Backbone.notes`."""
        return self._encoder.notes(split, max_length)

    def reader(self, texts: Sequence[str], tokenizer: str, max_length: int) -> Reader:
        """The model's own tokenizer."""
        return self._encoder.reader(texts, tokenizer, max_length)

    def build(self, reader: Reader, classes: int, generator: torch.Generator) -> CutModule:
        """The pretrained module, whose last layer waits for :meth:`solve`.

        Its configuration, by which it is saved, is that of a frozen ``encoder``.
        """
        return self._encoder.build(reader, classes, generator)

    def solve(
        self, model: CutModule, train: Encoded, weights: Numbers, others: Sequence[Encoded] = ()
    ) -> Sequence[Tensor]:
        """See :meth:`ampmix.baselines.base.Baseline.solve`."""
        return self._solved(model, train, weights, others, None)

    def solve_with(
        self,
        model: CutModule,
        train: Encoded,
        weights: Numbers,
        others: Sequence[Encoded],
        unlabelled: Encoded,
    ) -> Sequence[Tensor]:
        """See :meth:`ampmix.baselines.base.Baseline.solve_with`."""
        return self._solved(model, train, weights, others, unlabelled)

    def _solved(
        self,
        model: CutModule,
        train: Encoded,
        weights: Numbers,
        others: Sequence[Encoded],
        unlabelled: Encoded | None,
    ) -> Sequence[Tensor]:
        assert isinstance(model, EncoderModule)
        output = model.output
        device, classes = output.weight.device, output.out_features
        more = [] if unlabelled is None else [unlabelled]
        x, *asked = features(model, [train, *others, *more], device)
        wide = x.astype(np.float64)
        length = max(float(np.sqrt((wide**2).sum(1).mean())), 1e-12)
        known = wide / length, train.labels, weights
        strength = _strength(*known)
        slopes, bias = fitted(*known, classes, C=strength)
        if more:
            extra = asked.pop().astype(np.float64) / length
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


def _joined(known: tuple[Any, Any, Any], extra: Numbers, guessed: Numbers) -> tuple[Any, Any, Any]:
    """Features, labels and weights of known texts, and of others once for each likely class."""
    text, label = np.nonzero(guessed > LEAST * guessed.sum() / len(guessed))
    more = extra[text], label, guessed[text, label]
    x, y, weights = (np.concatenate(pair) for pair in zip(known, more, strict=True))
    return x, y, weights


def _strength(x: Any, labels: Any, weights: Numbers) -> float:
    """The C that has the lowest log loss in cross-validation, of some of the texts."""
    some = np.arange(len(labels))
    if len(some) > MOST:
        some = np.sort(np.random.default_rng(0).permutation(some)[:MOST])
    return _best_strength(x[some], labels[some], weights[some])


def _best_strength(x: Any, labels: Any, weights: Numbers) -> float:
    """The C with the lowest log loss in cross-validation."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss
    from sklearn.model_selection import StratifiedKFold

    seen, counts = np.unique(labels, return_counts=True)
    parts = min(PARTS, int(counts.min()))
    if parts < 2 or len(seen) < 2:
        return 3.0
    probabilities = np.empty((len(STRENGTHS), len(labels), len(seen)))
    for rest, held in StratifiedKFold(parts, shuffle=True, random_state=0).split(x, labels):
        model = LogisticRegression(max_iter=1000, warm_start=True)
        for i, strength in enumerate(STRENGTHS):  # each starts from the one before
            model.set_params(C=strength).fit(x[rest], labels[rest], weights[rest])
            probabilities[i, held] = model.predict_proba(x[held])
    losses = [log_loss(labels, own, sample_weight=weights) for own in probabilities]
    return STRENGTHS[int(np.argmin(losses))]
