"""Write report.md and report.html on RUNS, beside the paper's numbers."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ampmix.cli import options

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ampmix.report.document import Document


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `ampmix report` takes."""
    parser.add_argument(
        "runs",
        metavar="RUNS",
        nargs="+",
        help="output folder of compare or study, or folder of records",
    )
    parser.add_argument("--out", metavar="DIR", help="output folder (the first RUNS)")
    options.add_figures(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from ampmix._support.json_files import check_writable
    from ampmix.analysis.groups import groups_of, read_runs
    from ampmix.cli.paper_names import method_of, named
    from ampmix.report.charts import formats_of
    from ampmix.report.runs.document import runs_document

    formats = formats_of(arguments.figures)
    found = read_runs(arguments.runs)
    groups = [named(group) for group in groups_of(found.records)]
    out = Path(arguments.out or arguments.runs[0])
    check_writable(out)
    document = runs_document(found, groups, method_of)
    written = write(document, out, "report", formats)
    print(" ".join(document.lead[0].split()))
    print(f"Written to {out}: {', '.join(written)}.")
    return 0


def write(
    document: Document,
    out: Path,
    name: str,
    formats: Sequence[str],
    pairs: Mapping[str, Any] | None = None,
    script: str = "",
) -> list[str]:
    """Write a document as Markdown, as a page and, in `formats`, its charts; what was written."""
    from ampmix._support.files import write_text
    from ampmix.report.charts import save
    from ampmix.report.markdown import markdown
    from ampmix.report.page import page

    content = page(document, pairs, script)
    write_text(out / f"{name}.md", markdown(document))
    write_text(out / f"{name}.html", content)
    for chart in document.charts:
        for suffix in formats:
            save(chart.spec, out / "figures" / f"{chart.name}.{suffix}")
    return [f"{name}.md", f"{name}.html", *(["figures/"] if formats and document.charts else [])]
