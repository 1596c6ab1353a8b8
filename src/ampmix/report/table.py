"""A comparison as a table and sentences, readable in a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ampmix.counting import counted
from ampmix.records import YARDSTICK

STYLES = {"lower error": "green", "higher error": "red"}


def print_comparison(summary: Mapping[str, Any], console: Console) -> None:
    """Print a comparison.

    Args:
        summary: the content of ``summary.json``.
        console: where to.
    """
    rows: Sequence[Mapping[str, Any]] = summary["rows"]
    with_paper = any(row["paper"] for row in rows)
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("policy", overflow="fold")
    for heading in ("test error %", "difference", "95 % interval", "p"):
        table.add_column(heading, justify="right", no_wrap=True)
    if with_paper:
        table.add_column("paper", justify="right", no_wrap=True)
    for row in rows:
        style = STYLES.get(row["decision"], "dim" if row["policy"] == YARDSTICK else "")
        cells: list[Text | str] = [
            Text(row["policy"]),
            mean_std(row["mean"], row["std"]),
            "baseline" if row["decision"] == "baseline" else signed(row["difference"]),
            interval(row["interval"]),
            p_value(row["p"]),
        ]
        if with_paper:
            paper = row["paper"]
            cells.append(mean_std(paper["error"], paper["std"]) if paper else "")
        table.add_row(*cells, style=style)
    console.print(table)
    console.print()
    for sentence in sentences(summary):
        console.print(Text(sentence), soft_wrap=not console.is_terminal)


def sentences(summary: Mapping[str, Any]) -> list[str]:
    """The verdicts and what else there is to say, a sentence each."""
    rows = summary["rows"]
    said = []
    for row in rows:
        if row["decision"] != "baseline":
            said.append(f"{row['policy']}: {row['verdict']}.")
        if failures := row["failures"]:
            noun = "seed" if len(failures) == 1 else "seeds"
            runs = counted(len(failures) + len(row["errors"]), "run")
            said.append(
                f"{row['policy']}: {len(failures)} of {runs} failed ({noun} "
                f"{', '.join(failures)}): {next(iter(failures.values()))}."
            )
    paired = "fold" if summary["design"] == "cross-validation" else "seed and test text"
    said.append(
        f"Difference to {summary['baseline']} in points, paired by {paired}; negative is a lower "
        f"error. p is Holm-corrected over the policies (not that of {YARDSTICK})."
    )
    means = {row["policy"]: row["mean"] for row in rows if row["mean"] is not None}
    own = means.pop(YARDSTICK, None)
    if means and own is not None and own < min(means.values()):
        said.append(f"No network has a lower mean error than {YARDSTICK}: consider using that.")
    if summary["model"]:
        said.append(
            f"Model: {summary['model']['policy']}, seed {summary['model']['seed']} (lowest mean "
            "development error; the test set had no say)."
        )
    return said


def mean_std(mean: float | None, std: float | None) -> str:
    """``8.6 ± 0.4``; without a standard deviation the mean alone."""
    if mean is None:
        return "failed"
    return f"{mean:.1f}" if std is None else f"{mean:.1f} ± {std:.1f}"


def signed(value: float | None) -> str:
    """``+0.4`` or ``-1.2``."""
    return "" if value is None else f"{value:+.1f}"


def interval(bounds: Sequence[float] | None) -> str:
    """``[-1.2, +0.3]``."""
    return "" if bounds is None else f"[{bounds[0]:+.1f}, {bounds[1]:+.1f}]"


def p_value(p: float | None) -> str:
    """Three decimals, ``<0.001`` below."""
    if p is None:
        return ""
    return "<0.001" if p < 0.001 else f"{p:.3f}"
