"""Sections on one data set and backbone: how its policies compare, and how they trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ampmix._support.redact import without_folders
from ampmix._support.wording import error_heading, interval, mean_std, p_value, signed
from ampmix.analysis import comparison
from ampmix.analysis.classes import majority
from ampmix.analysis.comparison import ComparisonRow
from ampmix.analysis.groups import Group
from ampmix.analysis.replication import MethodOf
from ampmix.analysis.sentences import sentences
from ampmix.errors import AmpmixError
from ampmix.records.store import BASELINE
from ampmix.report import charts
from ampmix.report.document import Block, Chart, ReportTable, Section
from ampmix.report.runs import about
from ampmix.report.runs.curves import curve_charts
from ampmix.report.runs.differences import difference_row
from ampmix.report.runs.perturbation import perturbations


def group_section(
    group: Group,
    method_of: MethodOf,
    palette: Sequence[str],
    title: str = "",
    summary: Mapping[str, Any] | None = None,
) -> Section:
    """Compare the policies of a group.

    Args:
        group: the runs.
        method_of: what the paper calls a policy.
        palette: policies in the order of their colours.
        title: of the section, where models without mixing have one of their own; by default the
            group's, with the TF-IDF baseline among the policies.
        summary: of the comparison that these runs are, whose metric, margin and looks then hold.
    """
    blocks: list[Block] = []
    try:
        told = dict(summary) if summary is not None else _summed_up(group, method_of)
    except AmpmixError as error:
        blocks.append(f"Not compared: {without_folders(str(error))}.")
    else:
        kept = [row for row in told["rows"] if not title or row["policy"] != BASELINE]
        told |= {"rows": kept, "model": None, "ladder": []}
        rows = [ComparisonRow(**row) for row in kept]
        if any(row.difference is not None for row in rows):
            blocks.append(_forest(group, rows, palette))
        table = _comparison_table(rows, told["selection"], told["majority"])
        blocks += [table, *map(without_folders, sentences(told))]
    return Section(title or about.title_of(group), tuple(blocks))


def training_section(group: Group, palette: Sequence[str], alone: bool = False) -> Section:
    """Tell how the models of a group were trained, and what AMP did meanwhile."""
    blocks: list[Block] = [without_folders(about.settings_of(group))]
    blocks += curve_charts(group, palette)
    blocks += perturbations(group, palette)
    title = "How they were trained" if alone else f"Training: {about.title_of(group)}"
    return Section(title, tuple(blocks))


def _summed_up(group: Group, method_of: MethodOf) -> dict[str, Any]:
    """Sum up a group's policies as ``summary.json`` does."""
    return {
        "rows": [row.as_json() for row in comparison_rows(group, method_of)],
        "design": "cross-validation" if group.cross_validated else "test set",
        "baseline": group.baseline,
        "selection": group.specification["training"].get("selection"),
        "majority": majority(group.records),
    }


def comparison_rows(group: Group, method_of: MethodOf) -> list[ComparisonRow]:
    """One row for each policy of a group, beside the paper's numbers.

    Raises:
        AmpmixError: runs of a seed are of different splits.
    """
    names = {}
    for policy in group.records:
        method = method_of(policy)
        plain = method is not None and method.alpha == 1.0 and method.min_op
        names[policy] = method.name if method is not None and plain else ""
    title, backbone = group.printed_as or ("", "")
    cells = comparison.paper_cells(title, backbone if group.percent == 100 else "", names)
    return comparison.rows(group.records, group.baseline, cells, group.cross_validated)


def _comparison_table(
    rows: Sequence[ComparisonRow], selection: str | None, always: Mapping[str, Any] | None
) -> ReportTable:
    with_paper = any(row.paper for row in rows)
    error = error_heading(selection)
    columns = ("policy", "runs", error, "difference", "95 % interval", "p", "verdict")
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
        printed = (
            (mean_std(paper["error"], paper["std"], 2) if paper else "",) if with_paper else ()
        )
        made.append((*cells, *printed))
        if row.policy == BASELINE and always:
            error = mean_std(always["mean"], always["std"])
            made.append((f"always {always['class']}", "", error, *[""] * (4 + with_paper)))
    return ReportTable((*columns, *(["paper"] * with_paper)), tuple(made))


def _forest(group: Group, rows: Sequence[ComparisonRow], palette: Sequence[str]) -> Chart:
    shown = [row for row in rows if row.difference is not None]
    lines = [difference_row(row.policy, row, row.decision) for row in shown]
    best = ", ".join(f"{row.policy} {signed(row.difference)}" for row in shown)
    return Chart(
        f"differences-{group.number}",
        f"Difference to {group.baseline}",
        f"Differences in test error to {group.baseline} with 95 % intervals, in points; left of "
        f"zero is a lower error: {best}.",
        charts.forest(
            lines,
            f"difference to {group.baseline}, points",
            [row.policy for row in shown],
            palette,
        ),
    )
