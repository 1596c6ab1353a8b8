"""Reading in a precision below float32, and in float32 again where two classes are close."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ampmix._torch.int8 import in_int8, int8_products
from ampmix._torch.precision import autocast
from ampmix.backbones.base import CutModule
from ampmix.errors import AmpmixError
from ampmix.text.encoded import Encoded

Floats = npt.NDArray[np.float32]
Read = Callable[[CutModule, Encoded], Floats]
"""Computes class probabilities of texts, ``[n, classes]``."""
SAMPLE = 256
"""Texts that are read in both precisions, to see how much the lower one moves probabilities."""
SURE = 0.99
"""Share of those texts whose margin moves by less than what counts as close."""


class Faster:
    """A model that reads in ``bfloat16`` or ``int8`` what it is sure of.

    The margin of a text is the probability of its likeliest class less that of the next. Of
    `sample` the margins in both precisions are compared; what most of them (:data:`SURE`) move by
    is the threshold below which a text is read again in float32. A class changes only where a
    margin moves by more than itself, so hardly any does.

    Args:
        model: in evaluation mode, on the CPU.
        precision: ``bfloat16`` or ``int8``.
        read: how a model reads.
        sample: some of the texts.

    Raises:
        AmpmixError: for int8 where PyTorch has no such products.
    """

    def __init__(self, model: CutModule, precision: str, read: Read, sample: Encoded) -> None:
        if precision == "int8" and not int8_products():
            raise AmpmixError(
                "precision is int8, which PyTorch does not multiply on this machine: "
                "use float32 or bfloat16"
            )
        self._model, self._read, self._precision = model, read, precision
        self._lower, exact = self._lowered(sample)
        lower = self._fast(sample)
        moved = np.abs(_margins(exact, exact) - _margins(lower, exact))
        self.close = float(np.quantile(moved, SURE))

    def _lowered(self, sample: Encoded) -> tuple[CutModule, Floats]:
        """The model for the lower precision, and what is read of the sample in float32."""
        if self._precision != "int8":
            return self._model, self._read(self._model, sample)
        head = [name for name, part in self._model.named_modules() if part is self._model.head]
        exact = list[Floats]()
        made = in_int8(self._model, lambda model: exact.append(self._read(model, sample)), head)
        return made, exact[0]

    def _fast(self, texts: Encoded) -> Floats:
        with autocast(self._precision, torch.device("cpu")):
            return self._read(self._lower, texts)

    def __call__(self, texts: Encoded) -> Floats:
        """Class probabilities, ``[n, classes]``."""
        made = self._fast(texts)
        again = np.flatnonzero(_margins(made, made) < self.close)
        if len(again):
            made[again] = self._read(self._model, texts.take(again))
        return made


def has_layers(model: CutModule) -> bool:
    """Return True if the model has linear layers before the last one, which int8 is for."""
    return any(type(part) is nn.Linear and part is not model.head for part in model.modules())


def _margins(probabilities: Floats, of: Floats) -> Floats:
    """Probability less that of another class: the two likeliest of `of`; 1 with one class."""
    if probabilities.shape[1] < 2:
        return np.ones(len(probabilities), dtype=np.float32)
    second, first = np.argsort(of, axis=1)[:, -2:].T
    rows = np.arange(len(of))
    return probabilities[rows, first] - probabilities[rows, second]  # type: ignore[no-any-return]
