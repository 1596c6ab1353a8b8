"""A report as Markdown."""

from __future__ import annotations

import re

from ampmix.errors import printable
from ampmix.report.document import Chart, Document, ReportTable

_SPECIAL = re.compile(r"([\\`*_\[\]<>|#~&$])")


def markdown(document: Document, pictures: str = "") -> str:
    """The whole report; texts stand as they are, whatever markup they hold.

    Args:
        document: what it says.
        pictures: format of the charts that lie in the folder ``figures``; "" for none.
    """
    answer = f"**{escaped(document.answer)}**" if document.answer else ""
    parts = [f"# {escaped(document.title)}", answer, *map(escaped, document.lead)]
    for section in document.sections:
        parts.append(f"## {escaped(section.title)}")
        for block in section.blocks:
            if isinstance(block, Chart):
                parts.append(f"### {escaped(block.title)}")
                if pictures:
                    parts.append(f"![{escaped(block.title)}](figures/{block.name}.{pictures})")
                parts.append(escaped(block.alt))
                parts += [_table(block.table)] if block.table else []
            else:
                parts.append(_table(block) if isinstance(block, ReportTable) else escaped(block))
    return "\n\n".join(part for part in parts if part) + "\n"


def escaped(text: str) -> str:
    """A text as Markdown that shows it.

    >>> escaped("amp[eps=0.1] <b>")
    'amp\\\\[eps=0.1\\\\] \\\\<b\\\\>'
    """
    return _SPECIAL.sub(r"\\\1", printable(" ".join(text.split())))


def _table(table: ReportTable) -> str:
    def line(cells: tuple[str, ...]) -> str:
        shown = ("<br>".join(map(escaped, cell.split("\n"))) for cell in cells)
        return f"| {' | '.join(shown)} |"

    rule = "|" + "|".join([" :-- ", *[" --: "] * (len(table.columns) - 1)]) + "|"
    lines = "\n".join([line(table.columns), rule, *map(line, table.rows)])
    return f"{escaped(table.caption)}\n\n{lines}" if table.caption else lines
