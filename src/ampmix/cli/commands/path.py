"""Draw the loss of MODELS along mixtures of two texts (the paper's Figure 2)."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ampmix.cli import options
from ampmix.errors import AmpmixError

if TYPE_CHECKING:
    from ampmix.models.classifier import Classifier
    from ampmix.models.loss_path import Paths


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `ampmix path` takes."""
    parser.add_argument("models", metavar="MODEL", nargs="+", help="folder of a trained model")
    parser.add_argument(
        "--data",
        required=True,
        metavar="FILE",
        help="test texts with labels: a CSV, TSV, JSONL or Parquet file, or a built-in data set",
    )
    parser.add_argument("--text", metavar="COLUMN", help="column with the texts")
    parser.add_argument("--label", metavar="COLUMN", help="column with the labels")
    parser.add_argument("--encoding", metavar="NAME", help="encoding of CSV and TSV (utf-8)")
    parser.add_argument(
        "--site", metavar="NAME", help="mixing site (the one that each model was trained at)"
    )
    parser.add_argument(
        "--pairs", type=int, metavar="N", help="number of pairs (as Figure 2(c): all texts)"
    )
    parser.add_argument(
        "--points", type=int, default=21, metavar="N", help="number of values of lam (21)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="random seed of the pairs (0)"
    )
    parser.add_argument(
        "--out", default="ampmix-path", metavar="DIR", help="output folder (%(default)s)"
    )
    options.add_figures(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from ampmix._support.files import write_text
    from ampmix._support.json_files import check_writable, write_json
    from ampmix.data.tables.labels import as_spelled
    from ampmix.models.classifier import Classifier
    from ampmix.models.loss_path import compare_paths
    from ampmix.report.drawing import Look, formats_of
    from ampmix.report.loss_path import as_csv, chooser, path_document, path_json, script
    from ampmix.report.written import write

    output = arguments.output
    formats, look = formats_of(arguments.figures), Look.of(arguments.width, arguments.font)
    loaded = [(model, Classifier.load(model)) for model in arguments.models]
    models = _named(loaded)
    texts, labels = _texts(arguments)
    labels = as_spelled(labels, models[0][1].classes)
    found: Paths = compare_paths(
        models,
        texts,
        labels,
        pairs=arguments.pairs,
        points=arguments.points,
        seed=arguments.seed,
        site=arguments.site,
    )
    out = Path(arguments.out)
    check_writable(out)
    for one in found.notes:
        output.note(one)
    content = path_json(found)
    write_json(out / "path.json", content)
    write_text(out / "path.csv", as_csv(content))
    document = path_document(content)
    written = write(document, out, "path", formats, chooser(content), script(), look)
    for sentence in document.lead:
        output.answer(sentence)
    files = ["path.csv", "path.json", *written]
    output.remark(f"Written to {out}: {', '.join(files)}.")
    output.document({"answer": " ".join(document.lead), "out": out, "files": files, **content})
    return 0


def _named(models: list[tuple[str, Classifier]]) -> list[tuple[str, Classifier]]:
    """Short names: the policy that trained each where the models tell, else the last folder."""
    names = []
    for folder, model in models:
        about = model.about
        own = f"{about['policy']}, seed {about.get('seed', '?')}" if "policy" in about else ""
        names.append(own or Path(folder).resolve().name)
    made = []
    for place, ((_, model), name) in enumerate(zip(models, names, strict=True), start=1):
        made.append((name if names.count(name) == 1 else f"{name} ({place})", model))
    return made


def _texts(arguments: argparse.Namespace) -> tuple[list[str], list[str]]:
    """The test texts and the names of their labels."""
    from ampmix import datasets
    from ampmix.data.tables.labelled import read_labelled

    if datasets.known(arguments.data) is not None:
        dataset = datasets.load(
            arguments.data,
            text=arguments.text,
            label=arguments.label,
            encoding=arguments.encoding,
        )
        if dataset.test is None:
            raise AmpmixError(f"data set {arguments.data} has no test set: give a file")
        return list(dataset.test.texts), [dataset.classes[i] for i in dataset.test.labels]
    read = read_labelled(arguments.data, arguments.text, arguments.label, arguments.encoding)
    for one in read.notes:
        arguments.output.note(one)
    return list(read.texts), list(read.labels)
