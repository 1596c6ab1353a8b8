"""The report on runs: the paper's claims, each group's comparison, how training went, on what."""

from __future__ import annotations

from collections.abc import Sequence

from ampmix._support.wording import counted, duration
from ampmix.analysis.groups import Found, Group
from ampmix.analysis.replication import MethodOf, judge, ours_of
from ampmix.report.document import Document, Section
from ampmix.report.runs import about
from ampmix.report.runs.claims_section import _claims_section
from ampmix.report.runs.group_section import _group_section
from ampmix.report.runs.paper_tables import paper_tables


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
    told = f"Finished {when or 'at an unknown time'}; computing time {duration(spent)}."
    return Section(
        "What was run, and on what", (told, *(table for table in tables if table is not None))
    )
