"""Tables of a report as files of their own: LaTeX with booktabs, and CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from ampmix._support.files import write_text
from ampmix.data.tables.spreadsheet import guarded
from ampmix.errors import printable
from ampmix.report.document import Document, ReportTable

TABLES = ("tex", "csv")
_TEX = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "±": r"$\pm$", "×": r"$\times$", "<": r"\textless{}", ">": r"\textgreater{}",
    "†": r"\dag{}", "‡": r"\ddag{}", "–": "--",
    **{letter: "\\" + letter for letter in "&%$#_{}"},
}  # fmt: skip
_SIGN = re.compile(r"(?<![\w.)-])-(?=\d)")


def write_tables(document: Document, out: Path, formats: Sequence[str]) -> list[str]:
    """Write every table of a report into ``tables/``, in each format; what was written."""
    folder = out / "tables"
    if formats:
        folder.mkdir(parents=True, exist_ok=True)
    for name, table in named(document):
        for suffix in formats:
            content = latex(table) if suffix == "tex" else comma_separated(table)
            write_text(folder / f"{name}.{suffix}", content)
    return ["tables/"] if formats else []


def named(document: Document) -> Iterator[tuple[str, ReportTable]]:
    """The tables with names of their sections, numbered where one has several."""
    taken: dict[str, int] = {}
    for section in document.sections:
        for block in section.blocks:
            if isinstance(block, ReportTable):
                words = re.findall(r"[a-z0-9]+", section.title.lower())
                name = "-".join(words)[:60] or "table"
                taken[name] = taken.get(name, 0) + 1
                yield (name if taken[name] == 1 else f"{name}-{taken[name]}"), table_of(block)


def table_of(table: ReportTable) -> ReportTable:
    """The table with control characters spelled."""
    rows = tuple(tuple(printable(cell) for cell in row) for row in table.rows)
    return ReportTable(tuple(map(printable, table.columns)), rows, printable(table.caption))


def latex(table: ReportTable) -> str:
    r"""A ``tabular`` with booktabs, its caption as a comment; a cell of two lines is two rows.

    >>> print(latex(ReportTable(("policy", "error %"), (("none", "9.5"),))), end="")
    \begin{tabular}{lr}
    \toprule
    policy & error \% \\
    \midrule
    none & 9.5 \\
    \bottomrule
    \end{tabular}
    """
    lines = [f"% {' '.join(table.caption.split())}"] if table.caption else []
    lines += [rf"\begin{{tabular}}{{l{'r' * (len(table.columns) - 1)}}}", r"\toprule"]
    lines += [_row(table.columns), r"\midrule"]
    for row in table.rows:
        cells = [cell.split("\n") for cell in row]
        for line in range(max(map(len, cells))):
            lines.append(_row([own[line] if line < len(own) else "" for own in cells]))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _row(cells: Sequence[str]) -> str:
    return " & ".join(map(escaped, cells)) + r" \\"


def escaped(text: str) -> str:
    """A text as LaTeX that shows it, minus signs before numbers as such.

    >>> escaped("amp[eps=0.1] -0.8 & 95 %")
    'amp[eps=0.1] $-$0.8 \\\\& 95 \\\\%'
    """
    signed = _SIGN.sub("\x00", text)
    return "".join(_TEX.get(c, c) for c in signed).replace("\x00", "$-$")


def comma_separated(table: ReportTable) -> str:
    """The table as CSV, line breaks in cells as blanks."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows([guarded(" ".join(cell.split("\n"))) for cell in row] for row in table.rows)
    return text.getvalue()
