"""Judge a model on labelled texts of a file or a table in memory."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ampmix._support.cores import cores
from ampmix._support.wording import counted
from ampmix.data.tables.labelled import Labelled, read_labelled
from ampmix.data.tables.labels import as_spelled
from ampmix.data.tables.table import listed
from ampmix.errors import AmpmixError
from ampmix.models.classifier import Classifier
from ampmix.models.evaluate import Evaluation
from ampmix.models.evaluate import evaluate as measured
from ampmix.models.predict import predict_chunks
from ampmix.text.coverage import ReadingCoverage


def evaluate(
    model: Classifier | str | Path,
    data: str | Path | Any,
    text: str | None = None,
    label: str | None = None,
    *,
    encoding: str | None = None,
    note: Callable[[str], None] = warnings.warn,
) -> Evaluation:
    """Measure the error of a model on labelled texts, as ``ampmix evaluate`` does.

    Args:
        model: a classifier, or its folder.
        data: a file, or a table of pandas, Polars or Arrow.
        text: column with the texts; by default the one that the model was trained on.
        label: column with the labels, likewise.
        encoding: of CSV and TSV.
        note: told in a sentence what people should know: texts that were cut, that the model was
            trained on, or that it cannot read.

    Raises:
        AmpmixError: if one of them cannot be read, or for labels that the model does not know.

    >>> ampmix.evaluate("ampmix-runs/tickets", "new.csv").error                  # doctest: +SKIP
    """
    classifier = model if isinstance(model, Classifier) else Classifier.load(model)
    text, label = text or classifier.column("text"), label or classifier.column("label")
    read = read_labelled(data, text, label, encoding)
    for one in read.notes:
        note(one)
    labels = _indices(read, classifier.classes, "the data" if not _named(data) else str(data))
    chunks = list(predict_chunks(classifier, read.texts, str, cores()))
    if truncated := sum(chunk.truncated for chunk in chunks):
        length = counted(classifier.reader.max_length, "token")
        note(f"{counted(truncated, 'text was', 'texts were')} cut to {length}")
    if seen := classifier.trained_on(read.texts):
        trained = f"{seen:,} of {counted(len(read.texts), 'text')}"
        note(f"the model was trained on {trained}: the error on new texts is higher")
    coverage = sum((chunk.coverage for chunk in chunks), ReadingCoverage())
    if coverage.low:
        note(coverage.sentence("texts"))
    probabilities = np.concatenate([chunk.probabilities for chunk in chunks])
    return measured(probabilities, labels, classifier.classes)


def _named(data: Any) -> bool:
    return isinstance(data, str | Path)


def _indices(read: Labelled, classes: tuple[str, ...], file: str) -> list[int]:
    """The labels as places in the model's classes."""
    index = {name: i for i, name in enumerate(classes)}
    labels = as_spelled(read.labels, classes)
    if unseen := sorted(set(labels) - set(classes)):
        raise AmpmixError(
            f"{file!r} has labels that the model was not trained on: {listed(unseen)}; it knows "
            f"{listed(classes)}: mend the labels, leave those rows out, or train with such texts"
        )
    return [index[label] for label in labels]
