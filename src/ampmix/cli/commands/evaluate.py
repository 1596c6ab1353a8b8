"""Evaluate MODEL on the labelled texts of FILE."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `ampmix evaluate` takes."""
    parser.add_argument("model", metavar="MODEL", help="folder of a trained model")
    parser.add_argument(
        "file", metavar="FILE", help="CSV, TSV, JSON, JSONL, XLSX or Parquet file with labels"
    )
    parser.add_argument("--text", metavar="COLUMN", help="column with the texts (several: a,b)")
    parser.add_argument("--label", metavar="COLUMN", help="column with the labels")
    parser.add_argument("--encoding", metavar="NAME", help="encoding of CSV and TSV (utf-8)")
    parser.add_argument(
        "--picture",
        metavar="FILE",
        help="file for the confusion matrix, such as confusion.png",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from ampmix.models.on_data import evaluate
    from ampmix.terminal.evaluation import print_evaluation, save_confusion

    output = arguments.output
    found = evaluate(
        arguments.model,
        arguments.file,
        arguments.text,
        arguments.label,
        encoding=arguments.encoding,
        note=output.note,
    )
    print_evaluation(found, output.screen)
    output.document({"file": Path(arguments.file).name, **found.as_json()})
    if arguments.picture:
        save_confusion(found, Path(arguments.picture))
    return 0
