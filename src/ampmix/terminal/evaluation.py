"""An evaluation as a table of 80 columns and as a picture of its confusion matrix."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ampmix._support.extras import needed
from ampmix._support.wording import counted
from ampmix.errors import AmpmixError, printable
from ampmix.models.evaluate import BINS, Evaluation
from ampmix.report import drawing
from ampmix.report.confusion import confusion_chart


def print_evaluation(found: Evaluation, console: Console) -> None:
    """Print an evaluation: first what it comes to, then the table of its classes."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("class", overflow="fold")
    for heading in ("precision %", "recall %", "F1 %", "texts"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in found.classes:
        scores = map(_percent, (one.precision, one.recall, one.f1))
        table.add_row(Text(printable(one.name, lines=False)), *scores, f"{one.support:,}")
    for sentence in sentences(found):
        console.print(Text(printable(sentence)), soft_wrap=not console.is_terminal)
    console.print()
    console.print(table)


def sentences(found: Evaluation) -> list[str]:
    """Sentences above the table: error with interval, macro-F1, calibration, confusion."""
    low, high = found.interval
    texts = counted(found.n, "text")
    said = [
        f"Error {found.error:.1%} on {texts}; 95 % interval {low:.1%} to {high:.1%} "
        "(bootstrap over texts).",
        f"Macro-F1 {found.macro_f1:.1%}; calibration error {found.calibration_error:.1%} "
        f"({BINS} bins of equal width).",
    ]
    off = found.confusion - np.diag(np.diag(found.confusion))
    if off.any():
        true, taken = np.unravel_index(off.argmax(), off.shape)
        said.append(
            f"Most often confused: {_name(found, int(true))} taken for "
            f"{_name(found, int(taken))} ({off.max():,} of {found.classes[true].support:,})."
        )
    if absent := [_name(found, i) for i, one in enumerate(found.classes) if not one.support]:
        said.append(f"No text of {', '.join(absent[:10])}{' ...' * (len(absent) > 10)}.")
    return said


def _name(found: Evaluation, index: int) -> str:
    return printable(found.classes[index].name, lines=False)


def save_confusion(found: Evaluation, path: Path) -> None:
    """Draw the confusion matrix: rows are true classes, colours shares of their texts.

    The suffix of `path` names the format: ``.png``, ``.svg`` or ``.pdf``. Letters that no font of
    this machine has are boxes in the first; the second leaves them to the reader's fonts.

    Raises AmpmixError without the extra ``plots``, or for another format.
    """
    kind = path.suffix[1:].lower()
    if kind not in drawing.FORMATS:
        raise AmpmixError(f"cannot draw {str(path)!r}: name it .{', .'.join(drawing.FORMATS)}")
    for module in ("altair", "vl_convert"):
        needed(module, "plots")
    title = f"Error {found.error:.1%}, {counted(found.n, 'text')}"
    spec = confusion_chart(found.confusion.tolist(), [one.name for one in found.classes], title)
    drawing.draw(spec, path, **{"scale": 2} if kind == "png" else {})


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}".removesuffix("%")
