"""A comparison as a table and sentences, readable in a terminal of 80 columns."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ampmix._support.wording import (
    duration,
    error_heading,
    interval,
    mean_std,
    p_value,
    quoted_range,
    signed,
)
from ampmix.analysis.ladder import Times
from ampmix.analysis.sentences import sentences
from ampmix.errors import printable
from ampmix.records.store import BASELINE

STYLES = {"lower error": "green", "higher error": "red"}
WIDTH = 24  # of the names of models and policies: what the figures leave of 80 columns


def print_comparison(
    summary: Mapping[str, Any], console: Console, times: Times | None = None
) -> None:
    """Print a comparison: the answer, the models, the policies, and what is to be said of them.

    Args:
        summary: the content of ``summary.json``.
        console: where to.
        times: by model the seconds of a run and the texts predicted in a second, as far as known.
    """
    if said := summary.get("answer"):
        _say(said, console, style="bold")
        console.print()
    if summary.get("ladder"):
        console.print(_ladder_table(summary["ladder"], summary.get("best"), times or {}))
        console.print()
    console.print(_policy_table(summary))
    console.print()
    for sentence in sentences(summary):
        _say(sentence, console)


def _say(sentence: str, console: Console, style: str = "") -> None:
    console.print(Text(printable(sentence), style=style), soft_wrap=not console.is_terminal)


def _table(first: str, *headings: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column(first, overflow="fold")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _name(spec: str) -> Text:
    """A spec string; one that is too wide for its column goes on after a comma."""
    lines = [""]
    for part in re.findall("[^,]*,|[^,]+$", printable(spec, lines=False)):
        if lines[-1] and len(lines[-1]) + len(part) > WIDTH:
            lines.append("")
        lines[-1] += part
    return Text("\n".join(lines))


def _ladder_table(rows: Sequence[Mapping[str, Any]], best: str | None, times: Times) -> Table:
    table = _table("model", "error %", "95 % interval", "to the best", "training", "texts/s")
    for row in rows:
        away, close = row["difference"], row["difference_interval"]
        seconds, speed = times.get(row["model"], (None, None))
        table.add_row(
            _name(row["model"]),
            mean_std(row["mean"], None),
            quoted_range(row["interval"]).strip(),
            signed(away) + ("" if away is None or close is None or close[0] > 0 else " *"),
            "" if seconds is None else duration(seconds),
            "" if speed is None else f"{speed:,.0f}",
            style="green" if row["model"] == best else "",
        )
    return table


def _policy_table(summary: Mapping[str, Any]) -> Table:
    rows: Sequence[Mapping[str, Any]] = summary["rows"]
    with_paper = any(row["paper"] for row in rows)
    heads = [error_heading(summary.get("selection")), "difference", "95 % interval", "p"]
    table = _table("policy", *heads, *["paper"] * with_paper)
    for row in rows:
        if row["policy"] == BASELINE and summary.get("ladder"):
            continue  # a model of the ladder
        cells: list[Text | str] = [
            _name(row["policy"]),
            mean_std(row["mean"], row["std"]),
            "baseline" if row["decision"] == "baseline" else signed(row["difference"]),
            interval(row["interval"]),
            p_value(row["p"]),
        ]
        if with_paper:
            paper = row["paper"]
            cells.append(mean_std(paper["error"], paper["std"], 2) if paper else "")
        table.add_row(*cells, style=STYLES.get(row["decision"], ""))
    return table
