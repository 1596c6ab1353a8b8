"""List likely mislabelled texts and other errors of RUNS."""

from __future__ import annotations

import argparse
import shlex
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ampmix._support.wording import counted, shortened
from ampmix.cli import options
from ampmix.cli.output import note, say
from ampmix.errors import AmpmixError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    import numpy.typing as npt

    from ampmix.analysis.errors import Errors
    from ampmix.data.dataset import Examples, TextDataset
    from ampmix.records.store import RunRecord

SHOWN, LONGEST = 10, 200  # texts of a kind, letters of one in the report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `ampmix errors` takes."""
    parser.add_argument("runs", metavar="RUNS", help="output folder of compare")
    options.add_data(parser)
    options.add_file(parser, "cross-validation")
    parser.add_argument("--out", metavar="FILE", help="CSV file for all texts found")
    parser.add_argument("--json", metavar="FILE", help="JSON file for all that was found")


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from rich.console import Console

    from ampmix._support.json_files import write_json
    from ampmix.analysis.errors import errors
    from ampmix.analysis.groups import read_runs
    from ampmix.analysis.written import ERRORS, written_in
    from ampmix.data.sample import sampled

    data = options.dataset_of(arguments)
    written = next((one.summary for one in written_in([arguments.runs])), {})
    if written.get("sample"):
        data = sampled(data, written["sample"])
    mine = [
        record
        for record in read_runs([arguments.runs]).records
        if record.done and record.specification["data_hash"] == data.fingerprint
    ]
    if not mine:
        raise AmpmixError(
            f"the runs in {arguments.runs!r} are of other data than {arguments.data!r}: give the "
            "file, and the options that go with it, that ampmix compare was given"
        )
    examples = data.test if data.test is not None else data.train
    tables = probabilities_of(mine, data, examples)
    model = str(written.get("best"))
    if model not in tables:
        model = min(tables, key=lambda name: _error(tables[name], examples.labels))
    if data.test is not None:
        note("only the test texts are judged: leave --test out of both commands to judge all")
    found = errors(examples.texts, examples.labels, tables, model)
    screen = Console(highlight=False)
    for line in lines(found, data, examples):
        say(screen, line)
    content = found.as_json() | {"classes": list(data.classes)}
    content["shown"] = _shown(found, data, examples, tables[model])
    for path in filter(None, (Path(arguments.runs, ERRORS), arguments.json)):
        write_json(Path(path), content)
    if arguments.out:
        _write_csv(Path(arguments.out), found, data, examples, tables[model])
        say(screen, f"Mend the labels listed in {arguments.out}, then run ampmix compare again.")
    else:
        say(screen, "All of them in a table: the same command with --out errors.csv")
    say(screen, f"Next, a page with all of this: ampmix report {shlex.quote(arguments.runs)}")
    return 0


def probabilities_of(
    records: Iterable[RunRecord], data: TextDataset, examples: Examples
) -> dict[str, npt.NDArray[np.float64]]:
    """Probabilities of each model for each of `examples`, of runs on the most labels."""
    import numpy as np

    from ampmix.analysis.errors import mean_probabilities
    from ampmix.data.splits import split_fold

    kept = [record for record in records if record.result.test_probabilities]
    if not kept:
        raise AmpmixError("the records hold no probabilities: run ampmix compare again")
    most = max(record.specification["fraction"] for record in kept)
    parts: dict[str, list[Any]] = defaultdict(list)
    strange = 0
    for record in kept:
        told = record.specification
        if told["fraction"] < most:
            continue
        if told["folds"] is None:
            indices = np.arange(len(examples))
        else:
            repeat, fold = divmod(told["seed"], told["folds"])
            indices = split_fold(data, fold, told["folds"], repeat).test_indices
        if not np.array_equal(record.result.labels(), examples.labels[indices]):
            strange += 1
            continue
        parts[_named(record)].append((indices, record.result.probabilities()))
    if strange:
        note(f"{counted(strange, 'run is', 'runs are')} left out: the test texts are others")
    if not parts:
        raise AmpmixError("no run was tested on these texts: run ampmix compare again")
    sizes = len(examples), len(data.classes)
    return {name: mean_probabilities(own, *sizes) for name, own in parts.items()}


def _named(record: RunRecord) -> str:
    policy = record.specification["policy"]
    alone = record.is_baseline or policy == "none"
    return record.model if alone else f"{record.model} with {policy}"


def _error(table: npt.NDArray[np.float64], labels: npt.NDArray[np.int64]) -> float:
    import numpy as np

    known = ~np.isnan(table[:, 0])
    return float((table.argmax(1) != labels)[known].mean())


def lines(found: Errors, data: TextDataset, examples: Examples) -> list[str]:
    """Lines that tell what was found, the answer first."""
    look = "looks" if len(found.mislabelled) == 1 else "look"
    told = [
        f"{len(found.mislabelled):,} of {counted(found.texts, 'text')} {look} mislabelled, by "
        f"{found.model}.",
        f"It errs on {100 * found.kept_error:.1f} % of the "
        f"{100 * found.coverage:.0f} % of texts it is surest of.",
    ]

    def listed(title: str, indices: Sequence[int]) -> None:
        told.extend(["", title])
        told.extend(_line(i, data, examples) for i in indices[:SHOWN])

    listed("Likely mislabelled, the likeliest first:", found.mislabelled)
    models = counted(len(found.models), "model")
    wrong = len(found.all_wrong)
    listed(f"{counted(wrong, 'text is', 'texts are')} wrong by all {models}:", found.all_wrong)
    told += ["", "Classes confused most:"]
    for pair in found.confused[:5]:
        label, other = data.classes[pair["label"]], data.classes[pair["predicted"]]
        told.append(f"  {len(pair['texts']):,} of {label} taken for {other}, such as")
        told.append("  " + _line(pair["texts"][0], data, examples))
    if found.conflicts:
        listed("Equal texts with unlike labels:", [i for own in found.conflicts for i in own])
    return [*told, ""]


def _line(index: int, data: TextDataset, examples: Examples) -> str:
    label = data.classes[int(examples.labels[index])][:18]
    return f"  {label:<18}  {shortened(' '.join(examples.texts[index].split()), 54)}"


def _shown(
    found: Errors, data: TextDataset, examples: Examples, table: npt.NDArray[np.float64]
) -> dict[str, dict[str, Any]]:
    """By index the texts that the report shows, with their labels."""
    indices = [*found.mislabelled[:SHOWN], *found.all_wrong[:SHOWN]]
    indices += [pair["texts"][0] for pair in found.confused]
    indices += [i for own in found.conflicts for i in own][:SHOWN]
    told = {}
    for i in indices:
        label, row = int(examples.labels[i]), table[i]
        known = row[0] == row[0]
        told[str(i)] = {
            "text": shortened(" ".join(examples.texts[i].split()), LONGEST),
            "label": data.classes[label],
            "predicted": data.classes[int(row.argmax())] if known else None,
            "probability": float(row[label]) if known else None,
        }
    return told


def _write_csv(
    path: Path,
    found: Errors,
    data: TextDataset,
    examples: Examples,
    table: npt.NDArray[np.float64],
) -> None:
    """One line for each text and reason."""
    import csv
    import io

    from ampmix._support.files import write_text

    reasons = [("mislabelled", i) for i in found.mislabelled]
    reasons += [("all models wrong", i) for i in found.all_wrong]
    reasons += [("equal text, other label", i) for own in found.conflicts for i in own]
    content = io.StringIO()
    out = csv.writer(content, lineterminator="\n")
    out.writerow(["reason", "text", "label", "predicted", "probability_of_label"])
    for reason, i in reasons:
        label, row = int(examples.labels[i]), table[i]
        told = ["", ""] if row[0] != row[0] else [data.classes[row.argmax()], f"{row[label]:.3f}"]
        out.writerow([reason, examples.texts[i], data.classes[label], *told])
    write_text(path, content.getvalue())
