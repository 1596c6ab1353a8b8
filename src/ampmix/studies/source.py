"""Data and settings that several plans of one comparison share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ampmix import datasets
from ampmix.backbones.base import Backbone
from ampmix.data.dataset import TextDataset
from ampmix.data.splits import texts_kept
from ampmix.errors import AmpmixError
from ampmix.training.config import TrainConfig, settings

OF_A_FILE = ("text", "label", "test", "dev", "encoding", "group", "rare")


@dataclass(frozen=True)
class Source:
    """A data set, its seeds or folds, the labels that are kept, and the settings that were given.

    Attributes:
        dataset: the texts.
        known: whether it is one that ampmix knows.
        seeds: how many seeds, or folds without a test set.
        fraction: labels kept of each class, in (0, 1].
        training: fields of :class:`ampmix.TrainConfig` that were given.
    """

    dataset: TextDataset
    known: bool
    seeds: int
    fraction: float
    training: Mapping[str, Any]

    @classmethod
    def of(
        cls, data: Any, seeds: int | None = None, fraction: float = 1.0, **pieces: Any
    ) -> Source:
        """Read the data.

        Args:
            data: a data set, the name of one, a file, or a table in memory.
            seeds: by default the data set's folds, or 5.
            fraction: labels kept of each class.
            pieces: what goes with a file (:data:`OF_A_FILE`), and settings of training.

        Raises:
            AmpmixError: if it cannot be read, or something goes with a file that is none.
            TypeError: for an argument that is neither.
        """
        known = datasets.known(data) if isinstance(data, str) else None
        file = {name: pieces.pop(name, None) for name in OF_A_FILE}
        if strange := set(pieces) - {field.name for field in fields(TrainConfig)}:
            raise TypeError(f"there is no argument {', '.join(sorted(strange))}")
        if not isinstance(data, TextDataset):
            data = datasets.load(data, **file)
        elif any(value is not None for value in file.values()):
            *most, last = OF_A_FILE
            raise AmpmixError(f"{', '.join(most)} and {last} go with a file: leave them out")
        if seeds is None:
            seeds = getattr(known, "folds", 5)
        given = {name: value for name, value in pieces.items() if value is not None}
        return cls(data, known is not None, seeds, fraction, given)

    def config(self, model: Backbone, steps: int | None = None) -> TrainConfig:
        """The settings that were given, else those that suit a model and the number of texts."""
        texts = texts_kept(self.dataset, self.fraction)
        given = self.training if steps is None else {**self.training, "steps": steps}
        return settings(model, self.known, texts, **given)
