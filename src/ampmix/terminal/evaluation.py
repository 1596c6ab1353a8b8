"""An evaluation as a table of 80 columns and as a picture of its confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ampmix._support.files import whole
from ampmix._support.wording import counted
from ampmix.errors import AmpmixError
from ampmix.models.evaluate import BINS, Evaluation

NAMED = 30  # classes; with more the picture shows colours alone


def print_evaluation(found: Evaluation, console: Console) -> None:
    """Print an evaluation."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("class", overflow="fold")
    for heading in ("precision %", "recall %", "F1 %", "texts"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in found.classes:
        scores = map(_percent, (one.precision, one.recall, one.f1))
        table.add_row(Text(one.name), *scores, f"{one.support:,}")
    console.print(table)
    console.print()
    for sentence in sentences(found):
        console.print(Text(sentence), soft_wrap=not console.is_terminal)


def sentences(found: Evaluation) -> list[str]:
    """Sentences below the table: error with interval, macro-F1, calibration, confusion."""
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
            f"Most often confused: {found.classes[true].name} taken for "
            f"{found.classes[taken].name} ({off.max():,} of {found.classes[true].support:,})."
        )
    if absent := [one.name for one in found.classes if not one.support]:
        said.append(f"No text of {', '.join(absent[:10])}{' ...' * (len(absent) > 10)}.")
    return said


def save_confusion(found: Evaluation, path: Path) -> None:
    """Draw the confusion matrix: rows are true classes, colours shares of their texts.

    The suffix of `path` names the format, such as ``.png`` or ``.svg``.

    Raises AmpmixError without matplotlib, or for a format that it does not know.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise AmpmixError("pictures need matplotlib: pip install 'ampmix[plots]'") from None
    count = len(found.classes)
    shares = found.confusion / np.maximum(found.confusion.sum(1, keepdims=True), 1)
    side = min(3.0 + 0.55 * count, 14.0)
    figure = Figure(figsize=(side + 1.2, side), layout="constrained", dpi=150)
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    bar = figure.colorbar(image, ax=axes, fraction=0.046, pad=0.03)
    bar.set_label("share of the true class")
    axes.set(
        xlabel="predicted",
        ylabel="true",
        title=f"Error {found.error:.1%}, {counted(found.n, 'text')}",
    )
    if count <= NAMED:
        names = [_short(one.name) for one in found.classes]
        size = 10 if count <= 12 else 7
        axes.set_xticks(range(count), names, rotation=45, ha="right", fontsize=size)
        axes.set_yticks(range(count), names, fontsize=size)
        for (i, j), n in np.ndenumerate(found.confusion):
            colour = "white" if shares[i, j] > 0.5 else "black"
            axes.text(j, i, f"{n:,}", ha="center", va="center", color=colour, fontsize=size)
    try:
        with whole(path) as draft:
            figure.savefig(draft)
    except ValueError as error:
        raise AmpmixError(f"cannot draw {str(path)!r} ({error}): name it .png") from None


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}".removesuffix("%")


def _short(name: Sequence[str] | str) -> str:
    """A name that fits beside an axis; $ would begin a formula."""
    text = " ".join(str(name).split())
    return (text if len(text) <= 18 else text[:17] + "…").replace("$", r"\$")
