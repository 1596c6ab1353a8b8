"""Evaluate MODEL on the labelled texts of FILE."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ampmix._support.wording import counted
from ampmix.cli.output import cores, cut, note
from ampmix.errors import AmpmixError

if TYPE_CHECKING:
    from ampmix.data.tables.labelled import Labelled


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `ampmix evaluate` takes."""
    parser.add_argument("model", metavar="MODEL", help="folder of a trained model")
    parser.add_argument(
        "file", metavar="FILE", help="CSV, TSV, JSON, JSONL, XLSX or Parquet file with labels"
    )
    parser.add_argument("--text", metavar="COLUMN", help="column with the texts (several: a,b)")
    parser.add_argument("--label", metavar="COLUMN", help="column with the labels")
    parser.add_argument("--encoding", metavar="NAME", help="encoding of CSV and TSV (utf-8)")
    parser.add_argument("--json", metavar="FILE", help="file for all metrics")
    parser.add_argument(
        "--picture",
        metavar="FILE",
        help="file for the confusion matrix, such as confusion.png",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    import numpy as np
    from rich.console import Console

    from ampmix._support.json_files import write_json
    from ampmix.data.tables.labelled import read_labelled
    from ampmix.models.classifier import Classifier
    from ampmix.models.evaluate import evaluate
    from ampmix.models.predict import predict_chunks
    from ampmix.terminal.evaluation import print_evaluation, save_confusion
    from ampmix.text.coverage import ReadingCoverage

    classifier = Classifier.load(arguments.model)
    text = arguments.text or classifier.column("text")
    label = arguments.label or classifier.column("label")
    read = read_labelled(arguments.file, text, label, arguments.encoding)
    for one in read.notes:
        note(one)
    labels = _indices(read, classifier.classes, arguments.file)
    chunks = list(predict_chunks(classifier, read.texts, str, cores()))
    if truncated := sum(chunk.truncated for chunk in chunks):
        note(cut(truncated, counted(classifier.reader.max_length, "token")))
    if seen := classifier.trained_on(read.texts):
        trained = f"{seen:,} of {counted(len(read.texts), 'text')}"
        note(f"the model was trained on {trained}: the error on new texts is higher")
    coverage = sum((chunk.coverage for chunk in chunks), ReadingCoverage())
    if coverage.low:
        note(coverage.sentence("texts"))
    probabilities = np.concatenate([chunk.probabilities for chunk in chunks])
    found = evaluate(probabilities, labels, classifier.classes)
    print_evaluation(found, Console(highlight=False))
    if arguments.json:
        write_json(Path(arguments.json), {"file": Path(arguments.file).name, **found.as_json()})
    if arguments.picture:
        save_confusion(found, Path(arguments.picture))
    return 0


def _indices(read: Labelled, classes: tuple[str, ...], file: str) -> list[int]:
    """The labels as places in the model's classes."""
    from ampmix.data.tables.labels import as_spelled
    from ampmix.data.tables.table import listed

    index = {name: i for i, name in enumerate(classes)}
    labels = as_spelled(read.labels, classes)
    if unseen := sorted(set(labels) - set(classes)):
        raise AmpmixError(
            f"{file!r} has labels that the model was not trained on: {listed(unseen)}; it knows "
            f"{listed(classes)}: mend the labels, leave those rows out, or train with such texts"
        )
    return [index[label] for label in labels]
