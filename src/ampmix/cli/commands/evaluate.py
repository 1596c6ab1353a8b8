"""Evaluate MODEL on the labelled texts of FILE."""

from __future__ import annotations

import argparse
from pathlib import Path

from ampmix.cli.output import note


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
    from rich.console import Console

    from ampmix._support.json_files import write_json
    from ampmix.models.on_data import evaluate
    from ampmix.terminal.evaluation import print_evaluation, save_confusion

    found = evaluate(
        arguments.model,
        arguments.file,
        arguments.text,
        arguments.label,
        encoding=arguments.encoding,
        note=note,
    )
    print_evaluation(found, Console(highlight=False))
    if arguments.json:
        write_json(Path(arguments.json), {"file": Path(arguments.file).name, **found.as_json()})
    if arguments.picture:
        save_confusion(found, Path(arguments.picture))
    return 0
