"""SST-1: film reviews in five classes of sentiment; 8,544, 1,101 and 2,210 sentences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ampmix.data.dataset import TextDataset
from ampmix.datasets._sst import load_sst


@dataclass(frozen=True)
class SST1:
    """Sentences of film reviews in five steps from negative to positive (Socher et al., 2013).

    ``phrases=true`` trains on all 159,274 labelled phrases of the training sentences, as the paper
    and the baselines it quotes do, ``phrases=false`` on the 8,544 sentences. Tested on sentences
    either way. Words as in Kim (2014): for SST only the first step of his cleaning, and lower case,
    which gives the 17,836 words of Table 1.

    >>> SST1(phrases=False).load().name     # doctest: +SKIP
    'sst1-sentences'
    """

    name: ClassVar[str] = "sst1"
    title: ClassVar[str] = "SST-1"
    counted: ClassVar[Mapping[str, Any]] = {"phrases": False}

    phrases: bool = True

    def load(self) -> TextDataset:
        """Read the trees, downloading them the first time (0.8 MB)."""
        classes = ("very negative", "negative", "neutral", "positive", "very positive")
        return load_sst(self.name, self.title, classes, {i: i for i in range(5)}, self.phrases)
