"""The base class of baselines."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from torch import Tensor

from ampmix.backbones.base import Backbone, CutModule
from ampmix.errors import AmpmixError
from ampmix.text.encoded import Encoded

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Baseline(Backbone):
    """Describes a model that a solver fits to all training texts at once: no steps, no mixing.

    It is saved, loaded, exported and asked like any backbone. Of the settings of training it heeds
    those in :attr:`heeds`, and no others.
    """

    sites: ClassVar[tuple[str, ...]] = ()
    heeds: ClassVar[tuple[str, ...]] = ("class_weights",)
    """Fields of :class:`ampmix.TrainConfig` that change what comes out."""

    @abstractmethod
    def solve(
        self, model: CutModule, train: Encoded, weights: Numbers, others: Sequence[Encoded] = ()
    ) -> Sequence[Tensor] | None:
        """Give the module that :meth:`build` made the weights that fit the training texts.

        Args:
            model: whose weights are set; on the device to compute on.
            train: texts and labels.
            weights: of each training text, ``[n]``, mean 1.
            others: texts that will be asked later, to be read along with these where that is
                cheaper; their labels are not looked at.

        Returns:
            Logits ``[n, C]`` of `others` where they are at hand, else None.
        """

    @property
    def uses_unlabelled(self) -> bool:
        """True if texts without labels change what is fitted, by :meth:`solve_with`."""
        return False

    def solve_with(
        self,
        model: CutModule,
        train: Encoded,
        weights: Numbers,
        others: Sequence[Encoded],
        unlabelled: Encoded,
    ) -> Sequence[Tensor] | None:
        """Solve as :meth:`solve` does, with texts that have no label; by default it reads none."""
        return self.solve(model, train, weights, others)

    def check_site(self, site: str | None) -> None:
        """Raise AmpmixError unless None: nothing is mixed in a model that a solver fits."""
        if site is not None:
            raise AmpmixError(
                f"{self.name} is fitted by a solver, so nothing can be mixed in it: use policy "
                "none, or a backbone such as minilm or cnn"
            )
