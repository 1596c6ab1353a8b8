"""List likely mislabelled texts and other errors of RUNS."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from ampmix._support.wording import counted, shortened
from ampmix.cli import options

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    from ampmix.analysis.errors import Errors
    from ampmix.data.dataset import Examples, TextDataset

SHOWN = 10  # texts of a kind that are printed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `ampmix errors` takes."""
    parser.add_argument("runs", metavar="RUNS", help="output folder of compare")
    options.add_data(parser)
    options.add_file(parser, "cross-validation")
    parser.add_argument("--out", metavar="FILE", help="CSV file for all texts found")


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from ampmix._support.json_files import write_json
    from ampmix.analysis.written import ERRORS
    from ampmix.studies.errors import find_errors

    output = arguments.output
    said = find_errors(arguments.runs, options.dataset_of(arguments))
    found, data, examples = said.errors, said.data, said.examples
    for sentence in said.notes:
        output.note(sentence)
    for line in lines(found, data, examples):
        output.answer(line)
    write_json(Path(arguments.runs, ERRORS), said.as_json())
    output.document(said.as_json())
    if arguments.out:
        _write_csv(Path(arguments.out), found, data, examples, said.probabilities)
        output.remark(f"Mend the labels listed in {arguments.out}, then run ampmix compare again.")
    else:
        output.remark("All of them in a table: the same command with --out errors.csv")
    output.remark(f"Next, a page with all of this: ampmix report {shlex.quote(arguments.runs)}")
    return 0


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
