"""Parts that baselines on a frozen pretrained encoder share."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch

from ampmix._support import components
from ampmix.backbones.base import CutModule
from ampmix.backbones.encoder import Encoder
from ampmix.backbones.feature_cache import Floats
from ampmix.backbones.hf_loading import MINILM
from ampmix.baselines.base import Baseline
from ampmix.data.dataset import Split
from ampmix.errors import AmpmixError
from ampmix.text.reader import Reader

POOLINGS = ("layers", "mean")


@dataclass(frozen=True)
class FrozenBaseline(Baseline):
    """A baseline on the features of a frozen encoder, which texts are encoded by once.

    Args:
        model: as of backbone ``encoder``.
        pooling: ``layers``, or ``mean``, over the tokens after the last layer alone.

    Raises:
        AmpmixError: for another pooling.
    """

    reads_folder: ClassVar[bool] = True
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
    def reads_pool(self) -> bool:
        """True: features are kept on disk."""
        return True

    @property
    def _encoder(self) -> Encoder:
        return Encoder(self.model, self.pooling, freeze=True)

    @property
    def identity(self) -> str:
        """The spec string with a folder's content in place of its path; hub names stay."""
        return self._named(self._encoder.identity)

    @property
    def public_spec(self) -> str:
        """The spec string with the last name alone of a folder's path."""
        return self._named(self._encoder.public_spec)

    @property
    def base_model(self) -> str | None:
        """Hub name of the frozen encoder."""
        return self._encoder.base_model

    def _named(self, spec: str) -> str:
        """The spec string of this baseline with the model that the encoder's names."""
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


def lengths(x: Floats, layers: int) -> Floats:
    """Divisors ``[d]`` of features ``[n, d]`` after which each layer's share is as long."""
    squares = np.square(x, dtype=np.float64).mean(0).reshape(layers, -1).sum(1)
    sizes = np.sqrt(np.maximum(squares * layers, 1e-24))
    return np.repeat(sizes, x.shape[1] // layers).astype(np.float32)
