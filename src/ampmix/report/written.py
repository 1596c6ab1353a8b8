"""Write a report's files: Markdown, a page, and pictures of its charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ampmix._support.files import write_text
from ampmix.report.document import Document
from ampmix.report.drawing import Look, save
from ampmix.report.markdown import markdown
from ampmix.report.page import page

SHOWN = ("svg", "png")  # what viewers of Markdown draw


def write(
    document: Document,
    out: Path,
    name: str,
    formats: Sequence[str],
    pairs: Mapping[str, Any] | None = None,
    script: str = "",
    look: Look | None = None,
) -> list[str]:
    """Write a document as Markdown, as a page and, in `formats`, its charts; what was written.

    `look` is that of the charts in `formats`; the page has its own.
    """
    content = page(document, pairs, script)
    pictures = next((one for one in formats if one in SHOWN), "")
    write_text(out / f"{name}.md", markdown(document, pictures))
    write_text(out / f"{name}.html", content)
    for chart in document.charts:
        for suffix in formats:
            save(chart.spec, out / "figures" / f"{chart.name}.{suffix}", look)
    return [f"{name}.md", f"{name}.html", *(["figures/"] if formats and document.charts else [])]
