"""Logistic regression on a frozen encoder and on TF-IDF of its word pieces, together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from ampmix.backbones.base import Cut, CutModule
from ampmix.backbones.encoder_module import EncoderModule
from ampmix.backbones.feature_cache import features
from ampmix.backbones.weights import BAG
from ampmix.baselines._frozen import FrozenBaseline, lengths
from ampmix.baselines._logistic import (
    Real,
    best_strength,
    fitted,
    losses,
    out_of_fold,
    rotated,
    some_of,
)
from ampmix.baselines.base import Numbers
from ampmix.baselines.tfidf_logreg import (
    SOLVER,
    TfidfLogreg,
    TfidfModule,
    counted,
    idf_of,
    rank_anywhere,
    weighted,
)
from ampmix.text.encoded import Encoded
from ampmix.text.reader import Reader

SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
SCALES = (1.0, 1.4, 2.0, 2.8, 4.0)
FEW_TEXTS = 0.2  # the share where texts are too few to choose
MANY = 2000  # texts on which it is chosen: with fewer, words seem to tell less than they do


@dataclass(frozen=True)
class EncoderTfidf(FrozenBaseline):
    """Logistic regression on a frozen encoder and on the words themselves, together.

    The logits are ``t ((1 - s) a + s b)``, with a of ``encoder-logreg`` and b of a logistic
    regression on TF-IDF of the encoder's word pieces (weights and C as of ``tfidf-logreg``; a piece
    that every training text has, or none, counts for nothing). The share s is one of 0, 0.1, ...,
    0.8, and the scale t one of 1, 1.4, 2, 2.8 and 4, for the mean of two models is less sure than
    either: those with the lowest log loss in a 3-fold cross-validation inside the training part, of
    which 2,000 texts are drawn if there are more; 0.2 and 1 with fewer than 2 texts of a class.

    Args:
        model: as of backbone ``encoder``.
        pooling: as of ``encoder-logreg``.

    Raises:
        AmpmixError: for another pooling.
    """

    name: ClassVar[str] = "encoder-tfidf"
    described: ClassVar[str] = "a frozen encoder with TF-IDF"
    rank: ClassVar[int] = 3
    version: ClassVar[int] = 2  # 1: C chosen on 2,000 texts

    def build(self, reader: Reader, classes: int, generator: torch.Generator) -> CutModule:
        """A module whose last layers wait for :meth:`solve`."""
        encoder = super().build(reader, classes, generator)
        assert isinstance(encoder, EncoderModule)
        return EncoderTfidfModule(self, encoder, len(reader), classes)

    def load(self, folder: Path, config: Mapping[str, Any]) -> tuple[CutModule, Reader]:
        """See :meth:`ampmix.backbones.base.Backbone.load`."""
        from safetensors.torch import load_file

        encoder, reader = self._encoder.load(folder, config)
        assert isinstance(encoder, EncoderModule)
        model = EncoderTfidfModule(self, encoder, len(reader), len(config["classes"]))
        model.bag.load_state_dict(load_file(folder / BAG))
        return model, reader

    def solve(
        self, model: CutModule, train: Encoded, weights: Numbers, others: Sequence[Encoded] = ()
    ) -> Sequence[Tensor]:
        """See :meth:`ampmix.baselines.base.Baseline.solve`."""
        assert isinstance(model, EncoderTfidfModule)
        encoder, bag, y = model.encoder, model.bag, train.labels
        classes, device = encoder.output.out_features, encoder.output.weight.device
        x, *asked = features(encoder, [train, *others], device)
        length = lengths(x, encoder.output.in_features // encoder.body.config.hidden_size)
        known = x / length
        counts = counted(train, len(bag.idf))
        idf = idf_of(counts)
        having = np.diff(counts.tocsc().indptr)
        idf[(having == 0) | (having == len(train))] = 0
        pieces = weighted(counts, idf)

        strength = best_strength(known, y, weights)
        many = some_of(y, MANY)
        own = rotated(known[many]), pieces[many], y[many], weights[many]
        above, beside = _shares(*own, strength, bag.config.C)
        slopes, bias = fitted(known, y, weights, classes, C=strength)
        encoder.output.weight.data.copy_(torch.from_numpy(above * slopes / length))
        encoder.output.bias.data.copy_(torch.from_numpy(above * bias))
        slopes, bias = fitted(pieces, y, weights, classes, C=bag.config.C, **SOLVER)
        bag.idf.data.copy_(torch.from_numpy(idf))
        bag.weight.data.copy_(torch.from_numpy(beside * slopes.T))
        bag.bias.data.copy_(torch.from_numpy(beside * bias))
        found = []
        for part, states in zip(others, asked, strict=True):
            read = weighted(counted(part, len(idf)), idf) @ (beside * slopes.T) + beside * bias
            with torch.no_grad():
                logits = encoder.output(torch.from_numpy(states).to(device)).cpu()
            found.append(logits + torch.from_numpy(read).to(logits.dtype))
        return found


def _shares(
    x: Real, pieces: Any, labels: Any, weights: Numbers, strength: float, bag_strength: float
) -> tuple[float, float]:
    """Weights of the encoder's logits, and of those of TF-IDF."""
    states = out_of_fold(x, labels, weights, [strength])
    bag = out_of_fold(pieces, labels, weights, [bag_strength], **SOLVER)
    if states is None or bag is None:
        return 1 - FEW_TEXTS, FEW_TEXTS
    pairs = [(t * (1 - share), t * share) for share in SHARES for t in SCALES]
    mixed = np.stack([above * states[0] + beside * bag[0] for above, beside in pairs])
    return pairs[int(np.argmin(losses(mixed, labels, weights)))]


class EncoderTfidfModule(CutModule):
    """The sum of an encoder's logits and those of a bag of its word pieces."""

    config: EncoderTfidf

    def __init__(
        self, config: EncoderTfidf, encoder: EncoderModule, words: int, classes: int
    ) -> None:
        super().__init__()
        self.config, self.encoder = config, encoder
        self.bag = TfidfModule(TfidfLogreg(), words, classes)

    @property
    def at_once(self) -> int:
        """See :attr:`ampmix.backbones.base.CutModule.at_once`."""
        return self.encoder.at_once

    def logit_parameters(self) -> list[nn.Parameter]:
        """See :meth:`ampmix.backbones.base.CutModule.logit_parameters`."""
        return self.encoder.logit_parameters() + self.bag.logit_parameters()

    def _cut(self, ids: Tensor, mask: Tensor, site: str, generator: torch.Generator | None) -> Cut:
        return self._logits, (ids, mask)

    def _logits(self, ids: Tensor, mask: Tensor) -> Tensor:
        logits: Tensor = self.encoder(ids, mask)
        return logits + self.bag.logits(ids, mask, rank_anywhere(ids))

    def exportable(self) -> nn.Module:
        """See :meth:`ampmix.backbones.base.CutModule.exportable`."""
        return _Exportable(self)

    def save(self, folder: Path, reader: Reader, classes: tuple[str, ...]) -> dict[str, Any]:
        """The encoder as it saves itself, and the weights of word pieces in a file beside it."""
        from safetensors.torch import save_file

        told = self.encoder.save(folder, reader, classes)
        save_file({k: v.cpu().contiguous() for k, v in self.bag.state_dict().items()}, folder / BAG)
        return told


class _Exportable(nn.Module):
    def __init__(self, module: EncoderTfidfModule) -> None:
        super().__init__()
        self.encoder, self.bag = module.encoder.exportable(), module.bag.exportable()

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        logits: Tensor = self.encoder(ids, mask) + self.bag(ids, mask)
        return logits
