"""Write the document of `ampmix predict --json` row by row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from ampmix.cli.output import dumped
from ampmix.data.tables.stream_parts import number

if TYPE_CHECKING:
    from ampmix.data.tables.stream import FileRow
    from ampmix.models.predict import Predicted


class PredictedRows:
    """The document of predictions, written as they come, so that memory does not grow.

    Args:
        file: where to; None for nowhere.
        told: members to begin with, ``classes`` among them.
        rows: give every row; else they are counted.
        proba: give the probability of each class.
    """

    def __init__(
        self, file: TextIO | None, told: Mapping[str, Any], rows: bool, proba: bool
    ) -> None:
        self._file, self._rows, self._proba = file, rows, proba
        self._classes: Sequence[str] = told["classes"]
        self._texts, self._labels = 0, Counter[str](dict.fromkeys(self._classes, 0))
        self._write(f'{dumped(told)[:-1]}, "rows": {"[" if rows else "null"}')

    def _write(self, text: str) -> None:
        if self._file is not None:
            self._file.write(text)

    def add(self, chunk: Predicted[FileRow], labels: Sequence[str | None]) -> None:
        """Add rows with their labels; one without a text has no probabilities."""
        self._labels.update(label for label in labels if label is not None)
        if self._file is not None and self._rows:
            for row, label, p in zip(chunk.items, labels, chunk.probabilities, strict=True):
                self._write(",\n" if self._texts else "\n")
                self._write(dumped(self._row(row, label, p)))
                self._texts += 1
        else:
            self._texts += len(labels)

    def _row(self, row: FileRow, label: str | None, probabilities: Any) -> dict[str, Any]:
        told = {"line": row.line, "text": row.text, "label": label}
        if not self._proba:
            return told
        known = bool(row.text.strip())
        given = [float(number(p)) for p in probabilities.tolist()] if known else None
        return told | {"probabilities": given and dict(zip(self._classes, given, strict=True))}

    def end(self) -> None:
        """Write the counts, which end the document."""
        without = self._texts - sum(self._labels.values())
        counts = {"texts": self._texts, "labels": self._labels, "unlabelled": without}
        self._write(("\n]" if self._rows else "") + f", {dumped(counts)[1:]}\n")
