"""A report as sections of sentences, tables and charts, before it is Markdown or a page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
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

    @property
    def parts(self) -> tuple[tuple[Block, ...], ...]:
        """The blocks, with charts that follow one another together."""
        runs = groupby(self.blocks, key=lambda block: isinstance(block, Chart))
        return tuple(tuple(blocks) for _, blocks in runs)


@dataclass(frozen=True)
class Document:
    """A whole report.

    Attributes:
        title: what it is on.
        lead: sentences before all sections.
        sections: in their order.
        answer: what somebody who reads no further must know, "" for none.
    """

    title: str
    lead: tuple[str, ...]
    sections: tuple[Section, ...]
    answer: str = ""

    @property
    def charts(self) -> tuple[Chart, ...]:
        """All charts, in their order."""
        return tuple(b for s in self.sections for b in s.blocks if isinstance(b, Chart))
