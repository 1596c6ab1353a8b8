"""Headings and tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping


def opening(title: str, *said: str) -> Iterator[str]:
    """The lines of a heading and of paragraphs under it, an empty one after each."""
    for line in (f"## {title}", *said):
        yield line
        yield ""


def table(heads: Iterable[str], rows: Iterable[Iterable[object]]) -> Iterator[str]:
    """The lines of a table, and an empty one."""
    heads = list(heads)
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    for row in rows:
        yield f"| {' | '.join(map(str, row))} |"
    yield ""


def percent(row: Mapping[str, float], names: Iterable[str]) -> list[str]:
    """Some shares of a row, in per cent."""
    return [f"{100 * row[name]:.1f}" for name in names]
