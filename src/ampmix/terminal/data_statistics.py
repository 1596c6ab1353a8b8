"""Table 1, ours above the printed one, in 80 columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

COLUMNS = ("classes", "average_length", "vocabulary", "size", "test")


def print_statistics(
    rows: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]], console: Console
) -> None:
    """Print the data sets' statistics.

    Args:
        rows: by the data set's title, what was counted and what is printed, by column.
        console: where to.
    """
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 3, 0, 0))
    table.add_column("data set", no_wrap=True)
    for column in COLUMNS:
        table.add_column(column.replace("_", " "), justify="right", no_wrap=True)
    for title, (counted, printed) in rows.items():
        table.add_row(title, *(number(counted[column]) for column in COLUMNS))
        table.add_row("  printed", *(number(printed[column]) for column in COLUMNS), style="dim")
    console.print(table)
    console.print()
    wrap = not console.is_terminal
    console.print(
        "Counted over training, development and test sentences together, after the cleaning of "
        f"Kim (2014); printed: Table 1 of the paper. {differences(rows)}",
        soft_wrap=wrap,
    )


def differences(rows: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]]) -> str:
    """A sentence on where ours is not what is printed, lengths rounded as there.

    >>> ours = {"classes": 2, "average_length": 9.6, "vocabulary": 7, "size": 3, "test": "CV"}
    >>> differences({"toy": (ours, ours | {"average_length": 10, "vocabulary": 9})})
    'Not as printed: toy vocabulary (-2).'
    """
    found = []
    for title, (counted, printed) in rows.items():
        for column in COLUMNS:
            ours, theirs = counted[column], printed[column]
            if isinstance(ours, float):
                ours = round(ours)
            if ours != theirs:
                both = isinstance(ours, int) and isinstance(theirs, int)
                by = f"{ours - theirs:+,}" if both else f"{ours} for {theirs}"
                found.append(f"{title} {column.replace('_', ' ')} ({by})")
    return f"Not as printed: {', '.join(found)}." if found else "All is as printed."


def number(value: float | str) -> str:
    """``9,592``, ``10.2`` or ``CV``."""
    if isinstance(value, str):
        return value
    return f"{value:,.1f}" if isinstance(value, float) else f"{value:,}"
