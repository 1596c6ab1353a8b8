"""The most frequent class for every text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from ampmix.backbones.base import Cut, CutModule
from ampmix.baselines.base import Baseline, Numbers
from ampmix.text.encoded import UNKNOWN, Encoded, Integers, Vocabulary
from ampmix.text.reader import Reader, WordReader

NEVER = -1e4  # a logit whose probability is 0


@dataclass(frozen=True)
class Majority(Baseline):
    """The most frequent class, whatever the text: what every other model must beat.

    Probabilities are the classes' shares of the training texts.
    """

    name: ClassVar[str] = "majority"
    described: ClassVar[str] = "the most frequent class"
    rank: ClassVar[int] = 0

    def reader(self, texts: Sequence[str], tokenizer: str, max_length: int) -> Reader:
        """A reader to which all texts are the same."""
        return _Reader(tokenizer, Vocabulary(("text",)), max_length)

    def notes(self, split: object, max_length: int) -> list[str]:
        """Return nothing: no text is read."""
        return []

    def build(self, reader: Reader, classes: int, generator: torch.Generator) -> CutModule:
        """A module whose logits are all 0."""
        return MajorityModule(self, classes)

    def shapes(self, words: int, classes: int) -> dict[str, tuple[int, ...]]:
        """See :meth:`ampmix.backbones.base.Backbone.shapes`."""
        return {"bias": (classes,)}

    def load(self, folder: Path, config: Mapping[str, Any]) -> tuple[CutModule, Reader]:
        """See :meth:`ampmix.backbones.base.Backbone.load`."""
        read = WordReader.of_json(config["reader"])
        reader = _Reader(read.tokenizer, read.vocabulary, read.max_length)
        return self._loaded(reader, folder, config)

    def solve(
        self, model: CutModule, train: Encoded, weights: Numbers, others: Sequence[Encoded] = ()
    ) -> Sequence[Tensor] | None:
        """See :meth:`ampmix.baselines.base.Baseline.solve`."""
        assert isinstance(model, MajorityModule)
        shares = np.bincount(train.labels, weights, minlength=len(model.bias)) / weights.sum()
        logits = np.log(shares, out=np.full(len(shares), NEVER), where=shares > 0)
        model.bias.data.copy_(torch.from_numpy(logits))
        return None


class _Reader(WordReader):
    def encode(
        self, texts: Sequence[str], labels: Sequence[int] | Integers | None = None
    ) -> Encoded:
        """Return one and the same word for every text."""
        return Encoded.of_ids([[UNKNOWN + 1]] * len(texts), labels, self.max_length)


class MajorityModule(CutModule):
    """Logits that no text changes, ``bias`` ``[C]``."""

    config: Majority

    def __init__(self, config: Majority, classes: int) -> None:
        super().__init__()
        self.config = config
        self.bias = nn.Parameter(torch.zeros(classes))

    def logit_parameters(self) -> list[nn.Parameter]:
        """See :meth:`ampmix.backbones.base.CutModule.logit_parameters`."""
        return [self.bias]

    def _cut(self, ids: Tensor, mask: Tensor, site: str, generator: torch.Generator | None) -> Cut:
        return lambda ids: self.bias + 0.0 * ids[:, :1].to(self.bias.dtype), (ids,)
