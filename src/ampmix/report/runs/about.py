"""Tables of settings, versions, failures and ignored files of the runs in a report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ampmix._support.redact import without_folders
from ampmix._support.wording import duration
from ampmix.analysis.groups import Found, Group
from ampmix.records.store import RunRecord
from ampmix.report.document import ReportTable


def title_of(group: Group) -> str:
    """Return a group's title: data set, backbone and what else its runs share."""
    own = group.specification
    kept = "" if group.percent == 100 else f", {group.percent:g} % of the labels"
    return without_folders(f"{group.number}. {own['dataset']}, {own['backbone']}{kept}")


def settings_of(group: Group) -> str:
    """Describe how a group's models were trained and tested."""
    training: Mapping[str, Any] = group.specification["training"]
    told = [
        f"{name.replace('_', ' ')} {value:g}"
        if isinstance(value, float)
        else f"{name.replace('_', ' ')} {value}"
        for name, value in training.items()
    ]
    folds = group.specification["folds"]
    design = f"{folds}-fold cross-validation" if folds else "a test set of its own"
    records = [record.result for record in group.all if record.result.n_test is not None]
    sizes = {(r.n_train or 0, r.n_dev or 0, r.n_test or 0) for r in records}
    counts = [
        f"{min(column)}" if min(column) == max(column) else f"{min(column)} to {max(column)}"
        for column in zip(*sizes, strict=True)
    ]
    texts = dict(zip(("training", "development", "test"), counts, strict=True)) if counts else {}
    if used := [r.n_unlabelled for r in records if r.n_unlabelled]:
        texts["unlabelled"] = (
            f"{min(used)}" if min(used) == max(used) else f"{min(used)} to {max(used)}"
        )
    parts = ", ".join(f"{count} {part}" for part, count in texts.items())
    return f"Design: {design}; texts a run: {parts}. Training: {', '.join(told)}."


def group_table(groups: Sequence[Group]) -> ReportTable:
    """The groups side by side."""
    rows = []
    for group in groups:
        failed = sum(not record.done for record in group.all)
        seeds = sorted({seed for runs in group.records.values() for seed in runs})
        spent = sum(float(record.provenance.get("seconds", 0)) for record in group.all)
        training = group.specification["training"]
        rows.append(
            (
                title_of(group),
                f"{training.get('steps', '')}",
                ranges(seeds),
                f"{len(group.all)}",
                f"{failed}",
                duration(spent),
            )
        )
    columns = ("group", "steps", "seeds or folds", "runs", "failed", "time")
    return ReportTable(columns, tuple(rows), "Groups: runs that differ in policy and seed alone.")


def machine_table(records: Iterable[RunRecord]) -> ReportTable:
    """Versions and machines, each with the number of runs it had."""
    counts: dict[tuple[str, str], int] = {}
    for record in records:
        about = record.provenance
        git = about.get("git") or {}
        commit = str(git.get("commit", ""))[:12]
        facts = dict(about.get("versions", {}))
        facts["platform"] = about.get("platform", "unknown")
        training = record.specification.get("training")
        if training:
            facts["device"] = training.get("device", "cpu")
        if commit:
            facts["commit"] = commit + (" with changes" if git.get("dirty") else "")
        for name, value in facts.items():
            key = name, without_folders(str(value))
            counts[key] = counts.get(key, 0) + 1
    rows = tuple((name, value, f"{n}") for (name, value), n in sorted(counts.items()))
    return ReportTable(("what", "which", "runs"), rows, "What the runs were made with.")


def failure_table(groups: Sequence[Group]) -> ReportTable | None:
    """Every run that failed, with its error."""
    rows = tuple(
        (f"#{group.number} {policy}", f"{seed}", without_folders(str(record.result.error)))
        for group in groups
        for policy, runs in group.records.items()
        for seed, record in runs.items()
        if not record.done
    )
    return ReportTable(("run", "seed", "error"), rows, "Runs that failed.") if rows else None


def unreadable_table(found: Found) -> ReportTable | None:
    """Every file that could not be used."""
    rows = tuple((name, without_folders(reason)) for name, reason in found.unreadable)
    return ReportTable(("file", "reason"), rows, "Files that were left aside.") if rows else None


def ranges(numbers: Sequence[int]) -> str:
    """Sorted whole numbers with runs of them drawn together.

    >>> ranges([0, 1, 2, 5])
    '0-2, 5'
    """
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(f"{p[0]}-{p[-1]}" if len(p) > 1 else f"{p[0]}" for p in parts)
