"""The report on runs: the paper's claims, each group's comparison, how training went, on what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ampmix import summary
from ampmix.counting import counted
from ampmix.errors import AmpmixError
from ampmix.records import YARDSTICK
from ampmix.report import charts, runs_told
from ampmix.report.claims import Judged, MethodOf, judge, ours_of
from ampmix.report.document import Block, Chart, Document, Section, Table, without_folders
from ampmix.report.paper_tables import BACKBONES, LABELS, paper_tables
from ampmix.report.perturbation import perturbations
from ampmix.report.progress import duration
from ampmix.report.runs import Found, Group
from ampmix.report.table import interval, mean_std, p_value, sentences, signed
from ampmix.summary import Row

READINGS = 60  # of a curve, at most: more cannot be told apart, and weigh


def runs_document(found: Found, groups: Sequence[Group], method_of: MethodOf) -> Document:
    """The whole report.

    Args:
        found: the records.
        groups: the same in groups, with the paper's names.
        method_of: what the paper calls a policy.
    """
    ours = ours_of(groups, method_of)
    judged = judge(ours)
    failed = sum(not record.done for record in found.records)
    told = (
        f"{counted(len(found.records), 'run')} in {counted(len(groups), 'group')}; {failed} "
        f"failed, {counted(len(found.unreadable), 'file')} left aside."
    )
    sections = []
    if ours:
        sections.append(_claims_section(judged, paper_tables(ours, judged)))
    sections += [_group_section(group, method_of) for group in groups]
    sections.append(_told_section(found, groups))
    lead = (
        told,
        "Runs of different data, backbone or settings are different groups and are never pooled. "
        "Errors are in percent of the test texts, differences in points; intervals are of 95 %, "
        "for new seeds and new texts.",
    )
    return Document("What the runs show", lead, tuple(sections))


def _claims_section(judged: Sequence[Judged], tables: Sequence[Table]) -> Section:
    printed = (
        "Printed means are of ten runs of 8,000 steps; which settings ours had is said with their "
        "group (#)."
    )
    decisions = Counter(one.decision for one in judged)
    told = ", ".join(f"{decisions[d]} {d}" for d in ("reproduced", "contradicted", "not decided"))
    speak = (
        f"Of the printed differences these runs speak to {len(judged)}: {told}. Each is judged by "
        "itself at 95 %, so of many some will be wrong."
        if judged
        else "These runs speak to none of the printed differences: no group has both sides of one."
    )
    blocks: list[Block] = [f"{speak} {printed}"]
    if judged:
        table = _claims_table(judged)
        names = [f"#{one.own.group.number} {_where(one)}" for one in judged]
        rows = [
            _difference(name, one.comparison, one.decision)
            for name, one in zip(names, judged, strict=True)
            if one.comparison is not None
        ]
        rows += [
            {"name": name, "difference": _printed(one), "decision": "printed"}
            for name, one in zip(names, judged, strict=True)
        ]
        alt = (
            "Printed differences beside ours with their 95 % intervals; left of zero is a lower "
            f"error. {told.capitalize()}."
        )
        spec = charts.forest(rows, "difference in test error, points", names)
        blocks.append(Chart("claims", "The paper's claims and ours", alt, spec))
        blocks.append(table)
    blocks += tables
    return Section("The paper's tables and claims", tuple(blocks))


def _claims_table(judged: Sequence[Judged]) -> Table:
    rows = []
    for one in judged:
        c = one.comparison
        steps = one.own.group.specification["training"].get("steps", "")
        rows.append(
            (
                f"Table {one.claim.own.table}: {_where(one)}",
                f"#{one.own.group.number}, {c.n_seeds if c else 0}× {steps} steps",
                f"{_printed(one):+.1f}",
                signed(c.difference if c else None),
                interval(c.interval if c else None),
                one.verdict,
            )
        )
    columns = ("claim", "our runs", "printed", "ours", "95 % interval", "verdict")
    return Table(columns, tuple(rows), "Printed differences in points, and what our runs say.")


def _where(one: Judged) -> str:
    own, other = one.claim
    alpha = f", alpha {own.method.alpha:g}" if own.table == 5 else ""
    kept = f", {own.percent:g} % of labels" if own.percent != 100 else ""
    names = [
        LABELS[cell.method.name] + ("" if cell.method.min_op else " without MinOp")
        for cell in (own, other)
    ]
    return f"{own.dataset}, {BACKBONES[own.backbone]}{kept}{alpha}: {names[0]} - {names[1]}"


def _printed(one: Judged) -> float:
    return round(one.claim.own.error - one.claim.baseline.error, 9)


def _group_section(group: Group, method_of: MethodOf) -> Section:
    blocks: list[Block] = [without_folders(runs_told.settings_of(group))]
    try:
        rows = _rows(group, method_of)
    except AmpmixError as error:
        blocks.append(f"Not compared: {without_folders(str(error))}.")
    else:
        told = {
            "rows": [row.as_json() for row in rows],
            "design": "cross-validation" if group.cross_validated else "test set",
            "baseline": group.baseline,
            "model": None,
        }
        table = _comparison_table(rows)
        blocks += [table, *map(without_folders, sentences(told))]
        if any(row.difference is not None for row in rows):
            blocks.append(_forest(group, rows))
    blocks += _curves(group)
    blocks += perturbations(group)
    return Section(runs_told.title_of(group), tuple(blocks))


def _rows(group: Group, method_of: MethodOf) -> list[Row]:
    names = {}
    for policy in group.records:
        method = method_of(policy)
        plain = method is not None and method.alpha == 1.0 and method.min_op
        names[policy] = method.name if method is not None and plain else ""
    title, backbone = group.printed_as or ("", "")
    cells = summary.paper_cells(title, backbone if group.percent == 100 else "", names)
    return summary.rows(group.records, group.baseline, cells, group.cross_validated)


def _comparison_table(rows: Sequence[Row]) -> Table:
    with_paper = any(row.paper for row in rows)
    columns = ("policy", "runs", "test error %", "difference", "95 % interval", "p", "verdict")
    made = []
    for row in rows:
        cells = (
            row.policy,
            f"{len(row.errors)}",
            mean_std(row.mean, row.std),
            "baseline" if row.decision == "baseline" else signed(row.difference),
            interval(row.interval),
            p_value(row.p),
            row.decision,
        )
        paper = row.paper
        printed = (mean_std(paper["error"], paper["std"]) if paper else "",) if with_paper else ()
        made.append((*cells, *printed))
    return Table((*columns, *(["paper"] * with_paper)), tuple(made))


def _forest(group: Group, rows: Sequence[Row]) -> Chart:
    shown = [row for row in rows if row.difference is not None]
    lines = [_difference(row.policy, row, row.decision) for row in shown]
    best = ", ".join(f"{row.policy} {signed(row.difference)}" for row in shown)
    return Chart(
        f"differences-{group.number}",
        f"Difference to {group.baseline}",
        f"Differences in test error to {group.baseline} with 95 % intervals, in points; left of "
        f"zero is a lower error: {best}.",
        charts.forest(
            lines, f"difference to {group.baseline}, points", [row.policy for row in shown]
        ),
    )


def _difference(name: str, found: Any, decision: str) -> dict[str, Any]:
    low, high = found.interval or (None, None)
    return {
        "name": name,
        "difference": round(found.difference, 3),
        "low": None if low is None else round(low, 3),
        "high": None if high is None else round(high, 3),
        "decision": decision,
    }


def _curves(group: Group) -> list[Chart]:
    made = []
    names = [policy for policy in group.records if policy != YARDSTICK]
    for key, title, factor in (
        ("dev_error", "development error, percent", 100.0),
        ("dev_loss", "development loss, nats", 1.0),
    ):
        rows, lowest = [], []
        for policy in names:
            own = _curve(group.records[policy], key, factor)
            rows += [{"policy": policy, **point} for point in own]
            if own:
                best = min(own, key=lambda point: point["mean"])
                numbers = f"{best['mean']:.4g}", f"{best['step']:,}", f"{own[-1]['mean']:.4g}"
                lowest.append((policy, *numbers))
        if rows:
            alt = f"{title.capitalize()} by training step: lowest mean over seeds " + ", ".join(
                f"{policy} {value} at step {step}" for policy, value, step, _ in lowest
            )
            columns = ("policy", "lowest mean", "at step", "last")
            caption = f"{title.capitalize()}, mean over seeds."
            made.append(
                Chart(
                    f"{key.replace('_', '-')}-{group.number}",
                    f"Learning curves: {title}",
                    alt + ". Bands go from the lowest seed to the highest.",
                    charts.curves(rows, title, names),
                    Table(columns, tuple(lowest), caption),
                )
            )
    return made


def _curve(runs: Mapping[int, Any], key: str, factor: float) -> list[dict[str, float]]:
    """Mean, lowest and highest over the seeds at each step that all of them read."""
    curves = [record.result.curve for record in runs.values() if record.result.curve]
    if not curves:
        return []
    values: dict[int, list[float]] = {}
    for curve in curves:
        for reading in curve:
            values.setdefault(reading["step"], []).append(factor * reading[key])
    steps = [step for step in sorted(values) if len(values[step]) == len(curves)]
    if len(steps) > READINGS:
        chosen = np.unique(np.linspace(0, len(steps) - 1, READINGS).round().astype(int))
        steps = [steps[i] for i in chosen]
    return [
        {
            "step": step,
            "mean": round(float(np.mean(values[step])), 4),
            "low": round(min(values[step]), 4),
            "high": round(max(values[step]), 4),
        }
        for step in steps
    ]


def _told_section(found: Found, groups: Sequence[Group]) -> Section:
    finished = sorted(str(r.provenance.get("finished", ""))[:10] for r in found.records)
    spent = sum(float(record.provenance.get("seconds", 0)) for record in found.records)
    tables = (
        runs_told.group_table(groups),
        runs_told.machine_table(found.records),
        runs_told.failure_table(groups),
        runs_told.unreadable_table(found),
    )
    when = finished[0] if finished[0] == finished[-1] else f"{finished[0]} to {finished[-1]}"
    told = f"Finished {when or 'at an unknown time'}; computing time {duration(spent)}."
    return Section(
        "What was run, and on what", (told, *(table for table in tables if table is not None))
    )
