"""One statement on each policy over the data sets of a study."""

from __future__ import annotations

from collections.abc import Sequence

from ampmix import statistics
from ampmix.analysis.comparison import ComparisonRow, rows
from ampmix.analysis.groups import Group
from ampmix.errors import AmpmixError
from ampmix.records.store import BASELINE

Setting = tuple[str, float, str]


def overall_sentences(groups: Sequence[Group]) -> list[str]:
    """A sentence for each policy and backbone that were compared on two data sets or more.

    The mean is over data sets with true differences of their own
    (:func:`ampmix.statistics.overall`). Of several groups of one data set, backbone and share of
    labels the first counts.

    Args:
        groups: of runs; one that cannot be compared is left out.
    """
    found: dict[tuple[Setting, str], dict[str, ComparisonRow]] = {}
    for group in groups:
        own = group.specification
        setting = str(own["backbone"]), group.percent, group.baseline
        try:
            made = rows(group.records, group.baseline, {}, group.cross_validated)
        except AmpmixError:
            continue
        for row in made:
            if row.policy not in (group.baseline, BASELINE) and row.standard_error:
                places = found.setdefault((setting, row.policy), {})
                places.setdefault(str(own["data_hash"]), row)
    said = []
    for ((backbone, percent, baseline), policy), places in found.items():
        if len(places) < 2:
            continue
        told = list(places.values())
        one = statistics.overall(
            [row.difference or 0.0 for row in told],
            [row.standard_error or 0.0 for row in told],
            [row.decision for row in told],
        )
        kept = "" if percent == 100 else f" with {percent:g} % of the labels"
        said.append(f"{policy} against {baseline}, {backbone}{kept}: {one.sentence()}.")
    return said
