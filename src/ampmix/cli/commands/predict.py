"""Predict the label of every row of FILE, with probabilities."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ampmix._support.files import whole
from ampmix._support.wording import counted
from ampmix.cli.output import cores, cut, note
from ampmix.errors import AmpmixError

if TYPE_CHECKING:
    from ampmix.data.tables.stream import Row, Stream
    from ampmix.models.classifier import Classifier
    from ampmix.models.predict import Predicted
    from ampmix.text.coverage import ReadingCoverage

PREFIX = "predicted_"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `ampmix predict` takes."""
    parser.add_argument("model", metavar="MODEL", help="folder of a trained model")
    parser.add_argument(
        "file", metavar="FILE", help="CSV, TSV, JSONL or Parquet file; - for standard input"
    )
    parser.add_argument("--out", metavar="FILE", help="file to write (standard output)")
    parser.add_argument("--text", metavar="COLUMN", help="column with the texts")
    parser.add_argument("--encoding", metavar="NAME", help="encoding of FILE (utf-8)")
    parser.add_argument(
        "--proba",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="add a column p_CLASS with the probability of each class (on)",
    )
    parser.add_argument(
        "--prefix",
        metavar="TEXT",
        help=f"prefix of the added columns (none, or {PREFIX} if a name is taken)",
    )
    parser.add_argument(
        "--guard",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="put an apostrophe before spreadsheet formulas in CSV and TSV (on)",
    )
    parser.add_argument(
        "--threads", type=int, default=cores(), metavar="N", help="PyTorch threads (%(default)s)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from ampmix.models.classifier import Classifier

    if arguments.threads < 1:
        raise AmpmixError(f"threads is {arguments.threads}: it must be 1 or more")
    classifier = Classifier.load(arguments.model)
    with _source(arguments.file) as (file, path):
        if path.suffix.lower() == ".parquet":
            truncated, coverage = _predict_parquet(arguments, classifier, path)
        else:
            truncated, coverage = _predict_lines(arguments, classifier, file, path)
    if truncated:
        note(cut(truncated, counted(classifier.reader.max_length, "token")))
    if coverage.low:
        note(coverage.sentence("texts"))
    return 0


def _predict_lines(
    arguments: argparse.Namespace, classifier: Classifier, file: BinaryIO, path: Path
) -> tuple[int, ReadingCoverage]:
    """Predict the rows of a CSV, TSV or JSONL; return how many texts were cut, and the coverage."""
    from ampmix.data.tables.stream import open_stream
    from ampmix.models.predict import predict_chunks
    from ampmix.text.coverage import ReadingCoverage

    truncated, coverage = 0, ReadingCoverage()
    with _sink(arguments.out) as out:
        stream = open_stream(file, path, arguments.text, arguments.encoding, arguments.guard)
        names = _names(stream.columns, classifier.classes, arguments.proba, arguments.prefix)
        for one in stream.notes:
            note(one)
        out.write(stream.head(names).encode())
        chunks = predict_chunks(classifier, stream.rows, lambda row: row.text, arguments.threads)
        with contextlib.closing(chunks):
            for chunk in chunks:
                truncated += chunk.truncated
                coverage += chunk.coverage
                out.write(_written(stream, names, chunk, classifier.classes).encode())
                out.flush()
    if count := stream.guarded():
        note(
            f"{counted(count, 'cell')} got an apostrophe, so that no spreadsheet runs them "
            "as formulas (--no-guard writes them as they are)"
        )
    return truncated, coverage


def _predict_parquet(
    arguments: argparse.Namespace, classifier: Classifier, path: Path
) -> tuple[int, ReadingCoverage]:
    """Predict the rows of a Parquet file, and write another Parquet file."""
    from ampmix.data.tables.parquet_stream import ParquetStream
    from ampmix.models.predict import predict_chunks
    from ampmix.text.coverage import ReadingCoverage

    if arguments.out is None or Path(arguments.out).suffix.lower() != ".parquet":
        given = "nothing" if arguments.out is None else repr(arguments.out)
        raise AmpmixError(
            "the rows of a Parquet are written as Parquet, to a file: give --out FILE.parquet, "
            f"not {given}"
        )
    stream, truncated = ParquetStream(path, arguments.text), 0
    coverage = ReadingCoverage()
    names = _names(stream.columns, classifier.classes, arguments.proba, arguments.prefix)
    chunks = predict_chunks(classifier, stream.rows, lambda row: row.text, arguments.threads)
    with stream.writing(Path(arguments.out), names) as writer, contextlib.closing(chunks):
        for chunk in chunks:
            truncated += chunk.truncated
            coverage += chunk.coverage
            labels = [classifier.classes[i] for i in chunk.probabilities.argmax(1).tolist()]
            writer.add(labels, chunk.probabilities[:, : len(names) - 1])
    return truncated, coverage


def _names(
    columns: Sequence[str], classes: Sequence[str], proba: bool, prefix: str | None
) -> tuple[str, ...]:
    """Names of the added columns: no column of the input is replaced or named twice."""
    added = ("label", *(f"p_{name}" for name in classes)) if proba else ("label",)
    names = tuple((prefix or "") + name for name in added)
    taken = [name for name in names if name in columns]
    if not taken:
        return names
    if prefix is not None:
        raise AmpmixError(f"there is a column {taken[0]!r} already: give another --prefix")
    prefix = PREFIX
    while any(prefix + name in columns for name in added):
        prefix += "_"
    note(
        f"there is a column {taken[0]!r} already; the names of added columns begin with "
        f"{prefix} (--prefix changes that)"
    )
    return tuple(prefix + name for name in added)


def _written(
    stream: Stream, names: Sequence[str], chunk: Predicted[Row], classes: Sequence[str]
) -> str:
    labels = [classes[i] for i in chunk.probabilities.argmax(1).tolist()]
    proba = chunk.probabilities.tolist() if len(names) > 1 else [[]] * len(labels)
    return "".join(
        stream.body(row, names, [label, *numbers])
        for row, label, numbers in zip(chunk.items, labels, proba, strict=True)
    )


@contextlib.contextmanager
def _source(name: str) -> Iterator[tuple[BinaryIO, Path]]:
    """The file to read, and what to call it."""
    if name == "-":
        yield sys.stdin.buffer, Path("standard input")
        return
    path = Path(name)
    if path.is_dir():
        raise AmpmixError(f"{name!r} is a folder: give one file in it")
    try:
        file = path.open("rb")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise AmpmixError(f"cannot read {name!r} ({reason}): check the path") from None
    with file:
        yield file, path


@contextlib.contextmanager
def _sink(name: str | None) -> Iterator[BinaryIO]:
    """Open the output; a file appears when it is whole, so that no part passes for all of it."""
    if name is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = Path(name)
    if path.exists() and not path.is_file():  # a pipe or a device
        with path.open("wb") as file:
            yield file
        return
    try:
        with whole(path) as draft, draft.open("wb") as file:
            yield file
    except FileNotFoundError:
        raise AmpmixError(f"cannot write {name!r}: there is no folder {path.parent}") from None
