"""Add labels and probabilities to the rows of FILE, as many as there are."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ampmix._support.cores import cores
from ampmix._support.wording import counted
from ampmix.cli.output import Output
from ampmix.cli.predicted_rows import PredictedRows
from ampmix.cli.prediction import Doubts, given_texts, sink, source
from ampmix.errors import AmpmixError

if TYPE_CHECKING:
    from ampmix.data.tables.stream import FileRow, Stream
    from ampmix.models.classifier import Classifier
    from ampmix.models.predict import Predicted

PREFIX = "predicted_"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `ampmix predict` takes."""
    parser.add_argument("model", metavar="MODEL", help="folder of a trained model")
    parser.add_argument(
        "given",
        metavar="FILE",
        nargs="+",
        help="CSV, TSV, JSON, JSONL, XLSX, TXT or Parquet file; - for standard input; or texts",
    )
    parser.add_argument("--out", metavar="FILE", help="file to write (standard output)")
    column = parser.add_mutually_exclusive_group()
    column.add_argument("--text", metavar="COLUMN", help="column with the texts (several: a,b)")
    column.add_argument(
        "--text-lines", action="store_true", help="read every line as a text, as in a .txt file"
    )
    parser.add_argument("--encoding", metavar="NAME", help="encoding of FILE (utf-8)")
    parser.add_argument(
        "--proba",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="add a column p_CLASS with the probability of each class (on)",
    )
    parser.add_argument(
        "--min-confidence",
        type=float,
        default=0.0,
        metavar="P",
        help="leave the label empty where the likeliest class has a probability below P (0); the "
        "model's README says what that brings",
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
    parser.add_argument(
        "--precision",
        choices=("float32", "bfloat16", "int8"),
        default="float32",
        help="of matrix products (%(default)s); for encoders bfloat16 is faster on processors that "
        "have it (AMX or AVX-512), int8 on most others; texts whose two likeliest classes are "
        "close are read in float32, too, and what changes is told",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from ampmix.data.tables.stream import of_texts
    from ampmix.models.classifier import Classifier

    if arguments.threads < 1:
        raise AmpmixError(f"threads is {arguments.threads}: it must be 1 or more")
    if not 0 <= arguments.min_confidence <= 1:
        raise AmpmixError(
            f"min-confidence is {arguments.min_confidence:g}: it is a probability, from 0 to 1"
        )
    classifier = Classifier.load(arguments.model)
    arguments.precision = _precision(arguments, classifier)
    texts = given_texts(arguments.given)
    if texts is not None:
        _predict_lines(arguments, classifier, of_texts(texts, arguments.guard))
    else:
        _predict_file(arguments, classifier, arguments.given[0])
    return 0


def _precision(arguments: argparse.Namespace, classifier: Classifier) -> str:
    """The precision asked for, or float32 where the model has nothing to read in int8."""
    if arguments.precision == "int8":
        from ampmix._torch.int8 import is_fast
        from ampmix.models.faster import has_layers

        if not has_layers(classifier.model):
            named = classifier.backbone.public_spec
            said = f"{named} has no layers that int8 is for: it is read in float32"
            _note(arguments.output, said)
            return "float32"
        if not is_fast():
            _note(arguments.output, "this processor has no VNNI: int8 is no faster here")
    return arguments.precision  # type: ignore[no-any-return]


def _predict_file(arguments: argparse.Namespace, classifier: Classifier, name: str) -> None:
    """Predict the rows of a file."""
    from ampmix.data.tables.stream import open_stream

    with source(name) as (file, path):
        if path.suffix.lower() == ".parquet":
            _predict_parquet(arguments, classifier, path)
            return
        stream = open_stream(
            file,
            path,
            _column(arguments, classifier),
            arguments.encoding,
            arguments.guard,
            arguments.text_lines,
        )
        _predict_lines(arguments, classifier, stream)


def _column(arguments: argparse.Namespace, classifier: Classifier) -> str | None:
    """The column of --text, else the one that the model was trained on."""
    if arguments.text is not None or arguments.text_lines:
        return arguments.text  # type: ignore[no-any-return]
    return classifier.column("text")


def _doubts(arguments: argparse.Namespace, classifier: Classifier) -> Doubts:
    return Doubts(classifier.reader.max_length, arguments.min_confidence, arguments.precision)


def _predict_lines(arguments: argparse.Namespace, classifier: Classifier, stream: Stream) -> None:
    """Predict the rows of anything but Parquet."""
    output = arguments.output
    doubts = _doubts(arguments, classifier)
    names = _names(arguments, stream.columns, classifier.classes) if _has_file(arguments) else ()
    _note(output, *stream.notes)
    with _document(arguments, classifier) as document, _writing(arguments) as write:
        write(lambda: stream.head(names))
        chunks = _predicted(arguments, classifier, stream.rows)
        with contextlib.closing(chunks):
            for chunk in chunks:
                labels = _labels(chunk, classifier.classes, doubts)
                document.add(chunk, labels)
                write(partial(_written, stream, names, chunk, labels))
        write(lambda: stream.tail)
    _note(output, *stream.later(), *doubts.notes())
    if count := stream.guarded():
        output.note(
            f"{counted(count, 'cell')} got an apostrophe, so that no spreadsheet runs them "
            "as formulas (--no-guard writes them as they are)"
        )


def _predict_parquet(arguments: argparse.Namespace, classifier: Classifier, path: Path) -> None:
    """Predict the rows of a Parquet file, and write another Parquet file."""
    from ampmix.data.tables.parquet_stream import ParquetStream

    if arguments.out is None or Path(arguments.out).suffix.lower() != ".parquet":
        given = "nothing" if arguments.out is None else repr(arguments.out)
        raise AmpmixError(
            "the rows of a Parquet are written as Parquet, to a file: give --out FILE.parquet, "
            f"not {given}"
        )
    stream = ParquetStream(path, _column(arguments, classifier))
    doubts = _doubts(arguments, classifier)
    names = _names(arguments, stream.columns, classifier.classes)
    _note(arguments.output, *stream.notes)
    chunks = _predicted(arguments, classifier, stream.rows)
    with (
        _document(arguments, classifier) as document,
        stream.writing(Path(arguments.out), names) as writer,
        contextlib.closing(chunks),
    ):
        for chunk in chunks:
            labels = _labels(chunk, classifier.classes, doubts)
            document.add(chunk, labels)
            writer.add(labels, chunk.probabilities[:, : len(names) - 1])
    _note(arguments.output, *doubts.notes())


def _predicted(
    arguments: argparse.Namespace, classifier: Classifier, rows: Iterable[Any]
) -> Generator[Predicted[Any], None, None]:
    """The rows in chunks, as the options say."""
    from ampmix.models.predict import predict_chunks

    threads, precision = arguments.threads, arguments.precision
    return predict_chunks(classifier, rows, lambda row: row.text, threads, precision)


def _has_file(arguments: argparse.Namespace) -> bool:
    """Return True if rows are written beside the document, which has them else."""
    return arguments.out is not None or not arguments.output.as_json


@contextlib.contextmanager
def _writing(arguments: argparse.Namespace) -> Iterator[Callable[[Callable[[], str]], None]]:
    """Open the file of rows, for what makes a part of it: nothing where the document has them."""
    if not _has_file(arguments):
        yield lambda made: None
        return
    with sink(arguments.out) as out:

        def write(made: Callable[[], str]) -> None:
            out.write(made().encode())
            out.flush()

        yield write


@contextlib.contextmanager
def _document(arguments: argparse.Namespace, classifier: Classifier) -> Iterator[PredictedRows]:
    """The document of the answer; with --out it counts the rows, which are there."""
    output: Output = arguments.output
    with output.opened() if output.wants_document else contextlib.nullcontext() as file:
        told = {"model": arguments.model, "classes": classifier.classes, "out": arguments.out}
        document = PredictedRows(file, told, arguments.out is None, arguments.proba)
        yield document
        document.end()


def _note(output: Output, *sentences: str) -> None:
    for sentence in sentences:
        output.note(sentence)


def _names(
    arguments: argparse.Namespace, columns: Sequence[str], classes: Sequence[str]
) -> tuple[str, ...]:
    """Names of the added columns: no column of the input is replaced or named twice."""
    proba, prefix = arguments.proba, arguments.prefix
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
    arguments.output.note(
        f"there is a column {taken[0]!r} already; the names of added columns begin with "
        f"{prefix} (--prefix changes that)"
    )
    return tuple(prefix + name for name in added)


def _labels(chunk: Predicted[FileRow], classes: Sequence[str], doubts: Doubts) -> list[str | None]:
    """The likeliest classes; None for a row without a text, or where the model is not sure."""
    doubts.add(chunk)
    top = chunk.probabilities.argmax(1).tolist()
    sure = chunk.probabilities.max(1).tolist()
    return [
        classes[i] if doubts.has_text(row.text) and doubts.is_sure(p) else None
        for row, i, p in zip(chunk.items, top, sure, strict=True)
    ]


def _written(
    stream: Stream, names: Sequence[str], chunk: Predicted[FileRow], labels: Sequence[str | None]
) -> str:
    proba = chunk.probabilities.tolist() if len(names) > 1 else [[]] * len(labels)
    nothing: list[None] = [None] * len(names)
    return "".join(
        stream.body(row, names, [label, *numbers] if row.text.strip() else nothing)
        for row, label, numbers in zip(chunk.items, labels, proba, strict=True)
    )
