"""Write report.md and report.html on RUNS, beside the paper's numbers."""

from __future__ import annotations

import argparse
from pathlib import Path

from ampmix.cli import options


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
    parser.add_argument(
        "--tables", default="", metavar="LIST", help="table formats to write: tex, csv (none)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from ampmix._support.json_files import check_writable
    from ampmix.report.drawing import Look, formats_of
    from ampmix.report.tables import TABLES
    from ampmix.studies.report import write_report

    formats = formats_of(arguments.figures)
    tables = formats_of(arguments.tables, TABLES)
    look = Look.of(arguments.width, arguments.font)
    out = Path(arguments.out or arguments.runs[0])
    check_writable(out)
    said, written = write_report(arguments.runs, out, formats, look, tables)
    output = arguments.output
    output.answer(said)
    output.remark(f"Written to {out}: {', '.join(written)}.")
    output.document({"answer": said, "out": out, "files": written})
    return 0
