"""Overview of the groups of a report: what the policies did in each, a line a group."""

from __future__ import annotations

from collections.abc import Sequence

from ampmix._support.wording import mean_std, signed
from ampmix.analysis.comparison import ComparisonRow
from ampmix.analysis.groups import Group
from ampmix.records.store import BASELINE
from ampmix.report.document import ReportTable, Section
from ampmix.report.runs import about

Compared = Sequence[tuple[Group, Sequence[ComparisonRow]]]


def overview(compared: Compared) -> Section | None:
    """A table of the groups; None where there is one alone.

    Args:
        compared: groups with their rows, none for a group that could not be compared.
    """
    if len(compared) < 2:
        return None
    policies = dict.fromkeys(row.policy for _, rows in compared for row in rows if _judged(row))
    table = tuple(
        (about.title_of(group), _baseline(rows), *(_cell(rows, policy) for policy in policies))
        for group, rows in compared
    )
    columns = ("group", "baseline's error %", *policies)
    caption = "Difference of each policy to the baseline of its group, in points, and the verdict."
    return Section("Overview", (ReportTable(columns, table, caption),))


def _judged(row: ComparisonRow) -> bool:
    return row.decision != "baseline" and row.policy != BASELINE


def _baseline(rows: Sequence[ComparisonRow]) -> str:
    own = next((row for row in rows if row.decision == "baseline"), None)
    return "" if own is None else f"{mean_std(own.mean, own.std)} ({own.policy})"


def _cell(rows: Sequence[ComparisonRow], policy: str) -> str:
    row = next((row for row in rows if row.policy == policy and _judged(row)), None)
    return "" if row is None else f"{signed(row.difference)}\n{row.decision}"
