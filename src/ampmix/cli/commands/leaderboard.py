"""Write one page of what all studies in STUDIES found: filtered, sorted, with cost and machine."""

from __future__ import annotations

import argparse
from pathlib import Path

from ampmix._support.wording import counted
from ampmix.errors import AmpmixError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `ampmix leaderboard` takes."""
    parser.add_argument("studies", metavar="STUDIES", help="folder with a folder for each study")
    parser.add_argument(
        "--add", metavar="RUNS", help="first pack these runs of compare or study into STUDIES"
    )
    parser.add_argument("--name", metavar="NAME", help="with --add: of the study (that of RUNS)")
    parser.add_argument("--machine", metavar="TEXT", help="with --add: what it ran on, in words")
    parser.add_argument("--out", metavar="DIR", help="output folder (STUDIES)")


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from ampmix._support.json_files import check_writable
    from ampmix.studies.leaderboard import PAGE, TABLE, add_study, write_leaderboard

    output, folder, count = arguments.output, Path(arguments.studies), 0
    if arguments.add is None and (arguments.name or arguments.machine):
        raise AmpmixError("--name and --machine are of a study that is added: give --add RUNS")
    out = Path(arguments.out or folder)
    check_writable(out)
    if arguments.add is not None:
        count = add_study(
            Path(arguments.add), folder, arguments.name or "", arguments.machine or ""
        )
        output.remark(f"Added: {counted(count, 'run')}.")
    told, notes, effects = write_leaderboard(folder, out)
    for one in notes:
        output.note(one)
    output.answer(told)
    output.remark(f"Written to {out}: {PAGE}, {TABLE}.")
    found = [effect.as_json() for effect in effects]
    files = [PAGE, TABLE]
    output.document({"answer": told, "added": count, "effects": found, "out": out, "files": files})
    return 0
