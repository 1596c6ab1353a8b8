"""A report as sections of sentences, tables and charts, before it is Markdown or a page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ReportTable:
    """A table whose first column names the row.

    Attributes:
        columns: headings.
        rows: cells as plain text; a line break in a cell is kept.
        caption: what it shows.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""


@dataclass(frozen=True)
class Chart:
    """A chart with what it says to those who do not see it.

    Attributes:
        name: of its files, in letters, digits and hyphens.
        title: above it.
        alt: what it shows, in a sentence.
        spec: its Vega-Lite specification.
        table: its numbers; None where they stand beside it already.
    """

    name: str
    title: str
    alt: str
    spec: Mapping[str, Any]
    table: ReportTable | None = None


Block = str | ReportTable | Chart


@dataclass(frozen=True)
class Section:
    """A heading and what is below it."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Document:
    """A whole report."""

    title: str
    lead: tuple[str, ...]
    sections: tuple[Section, ...]

    @property
    def charts(self) -> tuple[Chart, ...]:
        """All charts, in their order."""
        return tuple(b for s in self.sections for b in s.blocks if isinstance(b, Chart))
