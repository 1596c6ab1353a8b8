"""The report on runs: the paper's claims, each group's comparison, how training went, on what."""

from __future__ import annotations

from collections.abc import Sequence

from ampmix._support.redact import without_folders
from ampmix._support.wording import counted, duration
from ampmix.analysis.comparison import ComparisonRow
from ampmix.analysis.groups import Found, Group
from ampmix.analysis.ladder import Times, costs
from ampmix.analysis.overall import overall_sentences
from ampmix.analysis.replication import MethodOf, judge, ours_of
from ampmix.analysis.written import WrittenComparison
from ampmix.errors import AmpmixError
from ampmix.records.store import BASELINE, RunRecord
from ampmix.report.document import Document, Section
from ampmix.report.runs import about
from ampmix.report.runs.claims_section import claims_section
from ampmix.report.runs.comparison_sections import comparison_sections
from ampmix.report.runs.group_section import comparison_rows, group_section, training_section
from ampmix.report.runs.overview import overview
from ampmix.report.runs.paper_tables import paper_tables


def runs_document(
    found: Found,
    groups: Sequence[Group],
    method_of: MethodOf,
    comparisons: Sequence[WrittenComparison] = (),
) -> Document:
    """The whole report: the answer, then what it rests on, then what was run.

    Args:
        found: the records.
        groups: the same in groups, with the paper's names.
        method_of: what the paper calls a policy.
        comparisons: what was written beside the records.
    """
    palette = list(dict.fromkeys(p for group in groups for p in group.records if p != BASELINE))
    shown = [group for group in groups if not _only_a_model(group, comparisons)]
    compared = [(group, _rows(group, method_of)) for group in shown]
    ours = ours_of(groups, method_of)
    judged = judge(ours)
    sections = list(filter(None, [overview(compared)]))
    rest = list(shown)
    for number, one in enumerate(comparisons, 1):
        own = [g for g in shown if one.holds(g.specification) and len(comparisons) == 1]
        rest = [group for group in rest if group not in own]
        told = number if len(comparisons) > 1 else None
        mixing = [
            group_section(g, method_of, palette, _mixing_title(g, own), one.rows_of(g)) for g in own
        ]
        sections += comparison_sections(one.summary, one.errors, _times(groups), mixing, told)
    if ours:
        sections.append(claims_section(judged, paper_tables(ours, judged)))
    sections += [group_section(group, method_of, palette) for group in rest]
    sections += [training_section(group, palette, len(shown) == 1) for group in shown]
    sections.append(_told_section(found, groups))
    if len(comparisons) == 1:
        summary = comparisons[0].summary
        title = f"{summary['dataset']}: which model, and does mixing help?"
        return Document(title, (SCALE,), tuple(sections), summary["answer"])
    over_all = [f"Over data sets, {without_folders(one)}" for one in overall_sentences(groups)]
    lead = (_count(found, groups), APART, *over_all)
    return Document("What the runs show", lead, tuple(sections))


SCALE = "Errors are in percent of new texts, differences in points; intervals are of 95 %."
APART = (
    "Runs of different data, backbone or settings are different groups and are never pooled. "
    "Errors are in percent of the test texts, differences in points; intervals are of 95 %, "
    "for new seeds and new texts."
)


def _count(found: Found, groups: Sequence[Group]) -> str:
    failed = sum(not record.done for record in found.records)
    return (
        f"{counted(len(found.records), 'run')} in {counted(len(groups), 'group')}; {failed} "
        f"failed, {counted(len(found.unreadable), 'file')} left aside."
    )


def _only_a_model(group: Group, comparisons: Sequence[WrittenComparison]) -> bool:
    """Return True for runs without a policy, of a model that a comparison lists."""
    policies = [policy for policy in group.records if policy != BASELINE]
    return len(policies) == 1 and any(one.holds(group.specification) for one in comparisons)


def _mixing_title(group: Group, own: Sequence[Group]) -> str:
    title = "Does mixing help?"
    return title if len(own) == 1 else f"{title} {about.title_of(group)}"


def _rows(group: Group, method_of: MethodOf) -> list[ComparisonRow]:
    try:
        return comparison_rows(group, method_of)
    except AmpmixError:  # its section says why
        return []


def _times(groups: Sequence[Group]) -> Times:
    """Cost of the runs of each model on all labels, without mixing."""
    runs: dict[str, list[RunRecord]] = {}
    for group in groups:
        for policy in (BASELINE, "none"):
            own = group.records.get(policy, {}).values() if group.percent == 100 else ()
            for record in own:
                runs.setdefault(record.model, []).append(record)
    return {model: costs(own) for model, own in runs.items()}


def _told_section(found: Found, groups: Sequence[Group]) -> Section:
    finished = sorted(str(r.provenance.get("finished", ""))[:10] for r in found.records)
    spent = sum(float(record.provenance.get("seconds", 0)) for record in found.records)
    tables = (
        about.group_table(groups),
        about.machine_table(found.records),
        about.failure_table(groups),
        about.unreadable_table(found),
    )
    when = finished[0] if finished[0] == finished[-1] else f"{finished[0]} to {finished[-1]}"
    told = (
        f"{_count(found, groups)} Finished {when or 'at an unknown time'}; computing time "
        f"{duration(spent)}."
    )
    return Section(
        "What was run, and on what", (told, *(table for table in tables if table is not None))
    )
