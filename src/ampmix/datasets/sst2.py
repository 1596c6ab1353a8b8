"""SST-2: film reviews, negative or positive; 6,920, 872 and 1,821 sentences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ampmix.data.dataset import TextDataset
from ampmix.datasets._sst import load_sst


@dataclass(frozen=True)
class SST2:
    """Sentences of film reviews, negative or positive (Socher et al., 2013).

    SST-1 without what is labelled neutral, both degrees of each side in one class.
    ``phrases=true`` trains on all 77,616 phrases of the training sentences that are not neutral
    (those of neutral sentences too), as the paper does, ``phrases=false`` on the 6,920 sentences.
    Tested on sentences either way. These hold 16,188 words; Table 1 prints 16,185.
    """

    name: ClassVar[str] = "sst2"
    title: ClassVar[str] = "SST-2"
    counted: ClassVar[Mapping[str, Any]] = {"phrases": False}

    phrases: bool = True

    def load(self) -> TextDataset:
        """Read the trees, downloading them the first time (0.8 MB)."""
        class_of = {0: 0, 1: 0, 3: 1, 4: 1}
        return load_sst(self.name, self.title, ("negative", "positive"), class_of, self.phrases)
