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
from ampmix.baselines._logistic import (
    STRENGTHS,
    USUAL,
    fitted,
    losses,
    out_of_fold,
    rotated,
    some_of,
)
from ampmix.baselines.base import Baseline, Numbers
from ampmix.data.dataset import Split
from ampmix.errors import AmpmixError
from ampmix.text.encoded import Encoded
from ampmix.text.reader import Reader

POOLINGS = ("layers", "mean")


@dataclass(frozen=True)
class EncoderLogreg(Baseline):
    """Logistic regression on the features of a frozen pretrained encoder; MiniLM by default.

    Features are the means over the tokens of the embedded words and of the hidden states after a
    third, two thirds and all of the layers (what a text is about is told above, which words ask
    for it below); texts are encoded once for all folds
    (:func:`ampmix.backbones.feature_cache.features`). The L2 penalty is that of features of mean
    squared length 1, each layer's of the same. C is the one of 0.3, 1, 3, 10 and 30 with the lowest
    log loss in a 3-fold cross-validation inside the training part, of which 2,000 texts are drawn
    if there are more; with fewer than 2 texts of a class it is 3.

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
        length = lengths(wide, output.in_features // model.body.config.hidden_size)
        wide /= length
        some = some_of(train.labels)
        strength = best_strength(rotated(wide[some]), train.labels[some], weights[some])
        slopes, bias = fitted(wide, train.labels, weights, output.out_features, C=strength)
        output.weight.data.copy_(torch.from_numpy(slopes / length))
        output.bias.data.copy_(torch.from_numpy(bias))
        with torch.no_grad():
            return [output(torch.from_numpy(own).to(device)).cpu() for own in asked]


def lengths(x: Numbers, layers: int) -> Numbers:
    """What to divide features ``[n, d]`` by, so that each layer's share of a text is as long."""
    squares = (x**2).mean(0).reshape(layers, -1).sum(1)
    return np.repeat(np.sqrt(np.maximum(squares * layers, 1e-24)), x.shape[1] // layers)


def best_strength(x: Numbers, labels: Any, weights: Numbers) -> float:
    """The C with the lowest log loss in a cross-validation."""
    log_p = out_of_fold(x, labels, weights, STRENGTHS)
    return USUAL if log_p is None else STRENGTHS[int(np.argmin(losses(log_p, labels, weights)))]
