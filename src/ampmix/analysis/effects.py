"""Effects of policies against none, a line each, over studies of whatever data and models."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ampmix._support.redact import without_folders
from ampmix._support.wording import counted
from ampmix.analysis.comparison import ComparisonRow, rows
from ampmix.analysis.groups import Group, groups_of, read_runs
from ampmix.analysis.ladder import costs, repeats_of
from ampmix.errors import AmpmixError
from ampmix.records.store import BASELINE

ABOUT = "about.json"
LONGEST = 200  # letters of what a stranger says of a machine


@dataclass(frozen=True)
class Effect:
    """One policy against none, on one data set, with one model. Errors in percent.

    Attributes:
        study: the folder that its runs lie in.
        dataset, model, policy: spec strings or names.
        labels: texts with a label that a run learned from, or chose its step by.
        share: of all labels, in percent.
        none: mean error without mixing.
        difference: policy minus none, in points.
        low, high: its 95 % interval, which holds for all policies of the group at once.
        p: Holm-corrected over these.
        decision: the verdict in a word or two.
        runs: of the policy, in words.
        seconds: of a run, on average.
        times: as many as a run of none takes; None where that is unknown.
        machine: that it ran on.
        finished: day of the last run.
        settings: of training, in words.
    """

    study: str
    dataset: str
    labels: int
    share: float
    model: str
    policy: str
    none: float
    difference: float
    low: float | None
    high: float | None
    p: float | None
    decision: str
    runs: str
    seconds: float | None
    times: float | None
    machine: str
    finished: str
    settings: str

    def as_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


def effects_in(folder: Path) -> tuple[list[Effect], list[str]]:
    """Read every study of a folder; its effects, and sentences on what was left out.

    Args:
        folder: it holds a folder for each study, with records (:mod:`ampmix.records.pack`) and,
            where somebody said on what they were made, ``about.json``.

    Raises:
        AmpmixError: there is no study in it.
    """
    found: list[Effect] = []
    notes: list[str] = []
    studies = sorted(one for one in folder.iterdir() if one.is_dir()) if folder.is_dir() else []
    for study in studies:
        try:
            read = read_runs([study])
            groups = groups_of(read.records)
        except AmpmixError as error:
            notes.append(f"{study.name} is left out: {without_folders(str(error))}")
            continue
        if read.unreadable:
            bad = counted(len(read.unreadable), "file or line", "files or lines")
            notes.append(f"{study.name}: {bad} left aside")
        for group in groups:
            found += _of_group(group, study.name, machine_told(study), notes)
    if not found:
        why = f" ({notes[0]})" if notes else ""
        raise AmpmixError(
            f"no study in {str(folder)!r} compares a policy with none{why}: give a folder of such "
            "studies, or add one with --add RUNS"
        )
    key = ("dataset", "labels", "model", "difference", "policy")
    return sorted(found, key=lambda one: [getattr(one, name) for name in key]), notes


def machine_told(study: Path) -> str:
    """The machine that ``about.json`` of a study names, "" for none."""
    try:
        about = json.loads((study / ABOUT).read_text(encoding="utf-8"))
        return " ".join(str(about["machine"]).split())[:LONGEST]
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _of_group(group: Group, study: str, machine: str, notes: list[str]) -> Iterator[Effect]:
    try:
        if group.baseline != "none":
            raise AmpmixError("it has no runs of the policy none")
        made = rows(group.records, group.baseline, {}, group.cross_validated)
    except AmpmixError as error:
        own = group.specification
        place = without_folders(f"{own['dataset']}, {own['backbone']}")
        notes.append(f"{study}, {place}: {without_folders(str(error))}")
        return
    none = next(row for row in made if row.policy == group.baseline)
    for row in made:
        if row.policy not in (group.baseline, BASELINE) and row.difference is not None:
            yield _effect(group, row, none, study, machine)


def _effect(
    group: Group, row: ComparisonRow, none: ComparisonRow, study: str, machine: str
) -> Effect:
    own = group.records[row.policy]
    records = [record for record in own.values() if record.done]
    seconds, base = (costs(group.records[policy].values())[0] for policy in (row.policy, "none"))
    low, high = row.interval or (None, None)
    told = group.specification
    return Effect(
        study=study,
        dataset=without_folders(str(told["dataset"])),
        labels=max(record.result.n_learned for record in records),
        share=group.percent,
        model=without_folders(str(told["backbone"])),
        policy=without_folders(row.policy),
        none=none.mean or 0.0,
        difference=row.difference or 0.0,
        low=low,
        high=high,
        p=row.p,
        decision=row.decision,
        runs=_runs(group, len(records), repeats_of(own)),
        seconds=seconds,
        times=seconds / base if seconds and base else None,
        machine=machine or _platform([record.provenance for record in records], told),
        finished=max(str(record.provenance.get("finished", ""))[:10] for record in records),
        settings=_settings(told["training"]),
    )


def _runs(group: Group, done: int, repeats: int) -> str:
    folds = group.specification["folds"]
    if not folds:
        return counted(done, "seed")
    return counted(done, "fold") if repeats == 1 else f"{repeats} × {folds} folds"


def _platform(told: Sequence[Mapping[str, Any]], specification: Mapping[str, Any]) -> str:
    systems = sorted({str(one.get("platform", "unknown"))[:LONGEST] for one in told})
    return f"{', '.join(systems)}, {specification['training'].get('device', 'cpu')}"


def _settings(training: Mapping[str, Any]) -> str:
    chosen = training.get("selection")
    by = {"oracle_test": "step chosen by the test set", "best_dev": "best step on development"}
    steps = f"{training.get('steps')} steps"
    return steps if chosen not in by else f"{steps}, {by[chosen]}"
