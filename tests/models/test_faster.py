"""Texts near a tie are read again in float32, by simulated readings of known error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ampmix.errors import AmpmixError
from ampmix.models import faster
from ampmix.models.faster import SAMPLE, Faster
from ampmix.text.encoded import Encoded

N, ERROR = 5000, 0.02


class Readings:
    """Reads made-up texts: number i gets row i of a table, plus an error in the lower precision."""

    def __init__(self, classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
        rng = np.random.default_rng(0)
        logits = rng.normal(size=(N, classes))
        self.exact = (np.exp(logits) / np.exp(logits).sum(1, keepdims=True)).astype(np.float32)
        self.lower = self.exact + rng.normal(size=(N, classes)).astype(np.float32) * ERROR
        self.again: list[int] = []
        monkeypatch.setattr(faster, "in_int8", self.lowered)

    def lowered(self, model: Any, run: Callable[[Any], Any], *_: Any) -> str:
        """Reads the sample, as int8 does for its scales, and gives the lower model."""
        run(model)
        return "lower"

    def __call__(self, model: Any, texts: Encoded) -> Any:
        rows = texts.tokens.tolist()
        if model == "lower":
            return self.lower[rows].copy()
        self.again += rows
        return self.exact[rows].copy()


class Model:
    head = None

    def named_modules(self) -> list[Any]:
        return []


def texts(rows: Any) -> Encoded:
    return Encoded.of_ids([[int(i)] for i in rows], None)


@pytest.mark.parametrize("classes", [2, 3, 20])
def test_labels_are_those_of_float32_where_the_lower_precision_errs(
    classes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Readings(classes, monkeypatch)
    own = Faster(Model(), "int8", read, texts(range(SAMPLE)))  # type: ignore[arg-type]
    read.again.clear()
    rows = range(SAMPLE, N)
    found = own(texts(rows))
    wanted, plain = read.exact[rows].argmax(1), read.lower[rows].argmax(1)
    assert (plain == wanted).mean() < 0.99
    assert (found.argmax(1) == wanted).mean() > 0.999
    again = np.isin(rows, read.again)
    assert 0 < again.mean() < 0.6
    np.testing.assert_array_equal(found[again], read.exact[rows][again])
    np.testing.assert_array_equal(found[~again], read.lower[rows][~again])
    margins = np.sort(read.lower[rows], 1)
    assert ((margins[:, -1] - margins[:, -2] < own.close) == again).all()
    moved = np.abs(np.diff(read.exact[:SAMPLE] - read.lower[:SAMPLE]))
    assert ERROR < own.close < 8 * ERROR and (classes > 2 or own.close <= moved.max())


def test_one_class_is_never_close(monkeypatch: pytest.MonkeyPatch) -> None:
    read = Readings(1, monkeypatch)
    own = Faster(Model(), "int8", read, texts(range(SAMPLE)))  # type: ignore[arg-type]
    read.again.clear()
    assert own(texts(range(300, 310))).shape == (10, 1) and not read.again


def test_int8_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faster, "int8_products", lambda: False)
    with pytest.raises(AmpmixError, match="int8, which PyTorch does not multiply.*use float32"):
        Faster(Model(), "int8", None, texts([1]))  # type: ignore[arg-type]
