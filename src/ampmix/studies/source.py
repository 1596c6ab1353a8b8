"""Data and settings that several plans of one comparison share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ampmix import datasets
from ampmix.backbones.base import Backbone
from ampmix.data.dataset import TextDataset
from ampmix.data.splits import texts_kept
from ampmix.data.unlabelled import with_unlabelled
from ampmix.errors import AmpmixError
from ampmix.training.config import TrainConfig, settings

REPEATS = 3
"""Of cross-validation by default: the fewest whose verdicts see about what more would."""

FEWEST = 2
"""Repeats where there is no time for more: one cannot tell seeds from texts."""

REDRAWN = 0.5
"""Share of the training texts that each seed draws for itself, where none is given."""

OF_A_FILE = ("text", "label", "test", "dev", "encoding", "group", "rare")


@dataclass(frozen=True)
class Source:
    """A data set, its seeds or folds, the labels that are kept, and the settings that were given.

    Attributes:
        dataset: the texts.
        known: whether it is one that ampmix knows.
        seeds: how many seeds, or folds without a test set.
        repeats: of cross-validation.
        fewest: repeats that may do where there is no time for `repeats`.
        fraction: labels kept of each class, in (0, 1].
        training: fields of :class:`ampmix.TrainConfig` that were given.
        redraw: whether verdicts are to hold for new training sets (:attr:`ampmix.Plan.redraw`).
    """

    dataset: TextDataset
    known: bool
    seeds: int
    fraction: float
    training: Mapping[str, Any]
    repeats: int = 1
    fewest: int = 1
    redraw: bool = False

    @classmethod
    def of(
        cls,
        data: Any,
        seeds: int | None = None,
        fraction: float = 1.0,
        folds: int | None = None,
        repeats: int | None = None,
        most: int = 0,
        unlabelled: Any = None,
        redraw: bool = False,
        **pieces: Any,
    ) -> Source:
        """Read the data.

        Args:
            data: a data set, the name of one, a file, or a table in memory.
            seeds: by default 5; without a test set another word for `folds`.
            fraction: labels kept of each class.
            folds: of cross-validation, by default the data set's, or 5.
            repeats: of cross-validation, by default 3; 1 where `seeds` are given, or the data set
                has folds of its own.
            most: repeats, or seeds of a test set, where none are given; 0 for the defaults above.
            unlabelled: a file of texts without labels, a list of them, or ``rest`` for the training
                texts whose labels `fraction` does not keep.
            redraw: each seed draws a training set of its own, half of the texts or `fraction`.
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
            data = datasets.load(data, unlabelled=unlabelled, **file)
        elif any(value is not None for value in file.values()):
            *others, last = OF_A_FILE
            raise AmpmixError(f"{', '.join(others)} and {last} go with a file: leave them out")
        else:
            data = with_unlabelled(data, unlabelled)
        if data.test is not None:
            for name, number in (("folds", folds), ("repeats", repeats)):
                if number is not None:
                    raise AmpmixError(
                        f"{name} is {number}: data set {data.name!r} has a test set, so nothing is "
                        "cross-validated; use --seeds"
                    )
        elif folds is not None and seeds not in (None, folds):
            raise AmpmixError(
                f"folds is {folds} and seeds is {seeds}: without a test set seeds are folds; give "
                "--folds and --repeats"
            )
        own_folds = getattr(known, "folds", None)
        fewest = repeats
        if most and data.test is None and repeats is None:
            repeats = fewest = most
        if most and data.test is not None and seeds is None:
            seeds = most
        if repeats is None:  # seeds alone, and a data set's own folds, are folds of one repeat
            once = data.test is not None or seeds is not None or (own_folds and not folds)
            repeats, fewest = (1, 1) if once else (REPEATS, FEWEST)
        if seeds is None:
            seeds = 5 if folds is None else folds
            seeds = own_folds if own_folds and folds is None else seeds
        if redraw:
            fraction = REDRAWN if fraction == 1.0 else fraction
            check_redraw(data.test is None, fraction)
        given = {name: value for name, value in pieces.items() if value is not None}
        made = data, known is not None, seeds, fraction, given, repeats, fewest or 1, redraw
        return cls(*made)

    def config(self, model: Backbone, steps: int | None = None) -> TrainConfig:
        """The settings that were given, else those that suit a model and the number of texts."""
        texts = texts_kept(self.dataset, self.fraction)
        given = self.training if steps is None else {**self.training, "steps": steps}
        return settings(model, self.known, texts, **given)


def check_redraw(cross_validated: bool, fraction: float) -> None:
    """Raise AmpmixError where training sets cannot be drawn anew by each seed."""
    if cross_validated:
        raise AmpmixError(
            "redraw is for a test set: cross-validation draws its training sets anew, and its "
            "verdicts hold for new ones already; leave it out"
        )
    if fraction == 1.0:
        raise AmpmixError(
            "redraw needs a fraction below 1: of all training texts every seed draws the same ones"
        )
