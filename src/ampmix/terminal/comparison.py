"""A comparison as a table and sentences, readable in a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ampmix._support.wording import error_heading, interval, mean_std, p_value, signed
from ampmix.analysis.sentences import sentences
from ampmix.errors import printable
from ampmix.records.store import BASELINE

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
    for heading in (error_heading(summary.get("selection")), "difference", "95 % interval", "p"):
        table.add_column(heading, justify="right", no_wrap=True)
    if with_paper:
        table.add_column("paper", justify="right", no_wrap=True)
    for row in rows:
        style = STYLES.get(row["decision"], "dim" if row["policy"] == BASELINE else "")
        cells: list[Text | str] = [
            Text(printable(row["policy"], lines=False)),
            mean_std(row["mean"], row["std"]),
            "baseline" if row["decision"] == "baseline" else signed(row["difference"]),
            interval(row["interval"]),
            p_value(row["p"]),
        ]
        if with_paper:
            paper = row["paper"]
            cells.append(mean_std(paper["error"], paper["std"], 2) if paper else "")
        table.add_row(*cells, style=style)
        if row["policy"] == BASELINE and (known := summary.get("majority")):
            always = Text(printable(f"always {known['class']}", lines=False))
            error = mean_std(known["mean"], known["std"])
            table.add_row(always, error, *[""] * (3 + with_paper), style="dim")
    console.print(table)
    console.print()
    for sentence in sentences(summary):
        console.print(Text(printable(sentence)), soft_wrap=not console.is_terminal)
