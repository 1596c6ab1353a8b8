"""Write the report on folders of runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ampmix.analysis.groups import groups_of, read_runs
from ampmix.analysis.written import written_in
from ampmix.errors import printable
from ampmix.report.drawing import Look
from ampmix.report.runs.document import runs_document
from ampmix.report.tables import write_tables
from ampmix.report.written import write
from ampmix.studies.paper_names import method_of, named


def write_report(
    runs: Sequence[str | Path],
    out: Path,
    formats: Sequence[str] = (),
    look: Look | None = None,
    tables: Sequence[str] = (),
) -> tuple[str, list[str]]:
    """Write ``report.md``, ``report.html`` and, in `formats`, the charts.

    Args:
        runs: folders of records, or files of them.
        out: where to.
        formats: of pictures, such as ``svg``.
        look: of these pictures.
        tables: formats of tables in files of their own, such as ``tex``.

    Returns:
        What the report says first, and what was written.

    Raises:
        AmpmixError: if there is nothing to report on, or without the extra ``report``.
    """
    found = read_runs(list(map(str, runs)))
    groups = [named(group) for group in groups_of(found.records)]
    document = runs_document(found, groups, method_of, written_in(runs))
    said = document.answer or document.lead[0]
    written = write(document, out, "report", formats, look=look)
    return printable(" ".join(said.split())), written + write_tables(document, out, tables)
