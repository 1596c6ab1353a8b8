"""A folder of studies, and the leaderboard of what they found."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from ampmix._support.files import write_text
from ampmix._support.json_files import write_json
from ampmix.analysis.effects import ABOUT, Effect, effects_in, machine_told
from ampmix.analysis.groups import read_runs
from ampmix.data.tables.spreadsheet import guarded
from ampmix.errors import AmpmixError, printable
from ampmix.records.pack import pack_records
from ampmix.report.leaderboard import leaderboard_page, told

PACK = "records.jsonl.gz"
PAGE, TABLE = "leaderboard.html", "leaderboard.csv"


def add_study(runs: Path, folder: Path, name: str = "", machine: str = "") -> int:
    """Pack the records of a comparison or a study into a folder of its own; return how many.

    A study that is there already is replaced by one that has all of its runs.

    Args:
        runs: the output folder of ``ampmix compare`` or ``ampmix study``.
        folder: the studies.
        name: of the study, by default that of `runs`.
        machine: that it ran on, in words; by default what is known of it already.

    Raises:
        AmpmixError: there are no records, or runs of the earlier study are not among them.
    """
    name = name or runs.resolve().name
    if Path(name).name != name or name.startswith("."):
        raise AmpmixError(f"{name!r} is no name of a study: give --name letters, digits, hyphens")
    found = {record.id: record for record in read_runs([runs]).records}
    study = folder / name
    if study.is_dir() and any(study.iterdir()):
        lost = {record.id for record in read_runs([study]).records} - found.keys()
        if lost:
            raise AmpmixError(
                f"{name} is there already, with {len(lost)} runs that {runs} has not: give "
                "another --name"
            )
    study.mkdir(parents=True, exist_ok=True)
    pack_records(found.values(), study / PACK)
    if machine or machine_told(study):
        write_json(study / ABOUT, {"machine": machine or machine_told(study)})
    return len(found)


def write_leaderboard(folder: Path, out: Path) -> tuple[str, list[str], list[Effect]]:
    """Write the page, and the same as CSV with all digits.

    Args:
        folder: the studies.
        out: where to.

    Returns:
        A sentence on what is in it, sentences on what was left out, and the effects.

    Raises:
        AmpmixError: if there is nothing to show, or without the extra ``report``.
    """
    effects, notes = effects_in(folder)
    write_text(out / PAGE, leaderboard_page(effects, notes))
    text = io.StringIO()
    writer = csv.DictWriter(text, effects[0].as_json(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(_safe(effect.as_json()) for effect in effects)
    write_text(out / TABLE, text.getvalue())
    return told(effects), notes, effects


def _safe(row: dict[str, Any]) -> dict[str, Any]:
    """A row whose texts, a stranger's, no spreadsheet runs as formulas."""
    return {
        name: guarded(printable(value)) if isinstance(value, str) else value
        for name, value in row.items()
    }
