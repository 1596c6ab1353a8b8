"""Logistic regression on the features of a frozen pretrained encoder."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ampmix.backbones.base import CutModule
from ampmix.backbones.encoder import Encoder
from ampmix.backbones.encoder_module import EncoderModule
from ampmix.backbones.feature_cache import features
from ampmix.backbones.hf_loading import MINILM
from ampmix.baselines._logistic import fitted
from ampmix.baselines.base import Baseline, Numbers
from ampmix.data.dataset import Split
from ampmix.errors import AmpmixError
from ampmix.text.encoded import Encoded
from ampmix.text.reader import Reader

STRENGTHS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)  # of C, tried inside the training part
PARTS = 5
MOST = 2000  # texts on which they are tried
POOLINGS = ("layers", "mean")


@dataclass(frozen=True)
class EncoderLogreg(Baseline):
    """Logistic regression on the features of a frozen pretrained encoder; MiniLM by default.

    Features are the means over the tokens of the embedded words and of the hidden states after a
    third, two thirds and all of the layers (what a text is about is told above, which words ask
    for it below); texts are encoded once for all folds
    (:func:`ampmix.backbones.feature_cache.features`). The L2 penalty is that of features of mean
    squared length 1, each layer's of the same. C is the one of 0.1, 0.3, 1, ..., 100 with the
    lowest log loss in a 5-fold cross-validation inside the training part, of which 2,000 texts are
    drawn if there are more; with fewer than 2 texts of a class it is 3.

    Args:
        model: as of backbone ``encoder``.
        pooling: ``layers``, or ``mean``, over the tokens after the last layer alone.

    Raises:
        AmpmixError: for another pooling.
    """

    name: ClassVar[str] = "encoder-logreg"
    described: ClassVar[str] = "logistic regression on a frozen encoder"
    rank: ClassVar[int] = 2
    reads_folder: ClassVar[bool] = True
    reads_pool: ClassVar[bool] = True
    heeds: ClassVar[tuple[str, ...]] = ("class_weights", "max_length")
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {"pooling": POOLINGS}
    model: str = MINILM
    pooling: str = "layers"

    def __post_init__(self) -> None:
        if self.pooling not in POOLINGS:
            raise AmpmixError(
                f"pooling is {self.pooling!r}: it must be one of {', '.join(POOLINGS)}"
            )

    @property
    def _encoder(self) -> Encoder:
        return Encoder(self.model, self.pooling, freeze=True)

    @property
    def identity(self) -> str:
        """As written out in full, with a folder's content in place of its path.

        Records of ``encoder-logreg`` alone are of the time when its pooling was ``mean``.
        """
        return self._named(self._encoder.identity, f"pooling={self.pooling}")

    @property
    def public_spec(self) -> str:
        """The spec string with the last name alone of a folder's path."""
        changed = self.pooling != type(self).pooling
        return self._named(self._encoder.public_spec, f"pooling={self.pooling}" if changed else "")

    def _named(self, spec: str, pooling: str) -> str:
        """The spec string of this baseline for that of the frozen encoder."""
        model = re.search(r"model=([^,\]]*)", spec)
        options = ",".join(filter(None, (model and model[0], pooling)))
        return f"{self.name}[{options}]" if options else self.name

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
        assert isinstance(model, EncoderModule)
        output = model.output
        device = output.weight.device
        x, *asked = features(model, [train, *others], device)
        wide = x.astype(np.float64)
        length = _lengths(wide, output.in_features // model.body.config.hidden_size)
        slopes, bias = _chosen(wide / length, train.labels, weights, output.out_features)
        output.weight.data.copy_(torch.from_numpy(slopes / length))
        output.bias.data.copy_(torch.from_numpy(bias))
        with torch.no_grad():
            return [output(torch.from_numpy(own).to(device)).cpu() for own in asked]


def _lengths(x: Numbers, layers: int) -> Numbers:
    """What to divide features ``[n, d]`` by, so that each layer's share of a text is as long."""
    squares = (x**2).mean(0).reshape(layers, -1).sum(1)
    return np.repeat(np.sqrt(np.maximum(squares * layers, 1e-24)), x.shape[1] // layers)


def _chosen(x: Any, labels: Any, weights: Numbers, classes: int) -> tuple[Numbers, Numbers]:
    """Slopes and biases with the C that has the lowest log loss in cross-validation."""
    some = np.arange(len(labels))
    if len(some) > MOST:
        some = np.sort(np.random.default_rng(0).permutation(some)[:MOST])
    strength = _best_strength(x[some], labels[some], weights[some])
    return fitted(x, labels, weights, classes, C=strength)


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
