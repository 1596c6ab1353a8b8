"""Answer the question by the rule in README.md, from the runs of the confirmation.

python paper/few-labels/verdict.py RUNS
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from ampmix import statistics
from ampmix.analysis.failures import counted_as_wrong
from ampmix.analysis.groups import Group, groups_of, read_runs
from ampmix.analysis.pairs import paired_comparison
from ampmix.records.store import BASELINE

LEVEL, WANTED = 0.01, 3


@dataclass(frozen=True)
class Cell:
    """A policy on a data set with so many labels, against none and against Mixup.

    Attributes:
        differences: to none and to Mixup, in points.
        interval: 95 % interval of the difference to none.
        p: the larger of the two p-values; 1 where a difference is not below zero.
    """

    dataset: str
    percent: float
    policy: str
    differences: tuple[float, float]
    interval: tuple[float, float] | None
    p: float


def cells_of(group: Group) -> list[Cell]:
    """The cells of a group, failed runs counted as wrong on every text."""
    runs = {name: own for name, own in group.records.items() if name != BASELINE}
    done = {s: r for own in runs.values() for s, r in own.items() if r.done}
    runs = {name: counted_as_wrong(own, done) for name, own in runs.items()}
    mixup = next(name for name in runs if name.partition("[")[0] == "mixup")
    found = []
    for policy, own in runs.items():
        if policy in ("none", mixup):
            continue
        both = [paired_comparison(own, runs[one], group.cross_validated) for one in ("none", mixup)]
        first, second = (one for one in both if one is not None)
        lower = first.difference < 0 and second.difference < 0
        p = max(first.p if first.p is not None else 1.0, second.p if second.p is not None else 1.0)
        found.append(
            Cell(
                group.specification["dataset"],
                group.percent,
                policy,
                (first.difference, second.difference),
                first.interval,
                p if lower else 1.0,
            )
        )
    return found


def wins(cells: Sequence[Cell]) -> dict[str, set[str]]:
    """Data sets that each policy wins on, by Holm's correction over all cells."""
    found: dict[str, set[str]] = {cell.policy: set() for cell in cells}
    for cell, p in zip(cells, statistics.holm([cell.p for cell in cells]), strict=True):
        if p < LEVEL:
            found[cell.policy].add(cell.dataset)
    return found


def main(runs: str) -> None:
    """Tell every cell, then the answer."""
    cells = [cell for group in groups_of(read_runs([runs]).records) for cell in cells_of(group)]
    for cell in cells:
        low, high = cell.interval or (float("nan"), float("nan"))
        to_none, to_mixup = cell.differences
        print(
            f"{cell.dataset:16} {cell.percent:7.3f} % {cell.policy:24} {to_none:+6.2f} "
            f"[{low:+6.2f}, {high:+6.2f}] to mixup {to_mixup:+6.2f}  p {cell.p:.4f}"
        )
    won = wins(cells)
    for policy, places in won.items():
        print(f"{policy} wins on {len(places)}: {', '.join(sorted(places)) or 'none'}")
    print("yes" if any(len(places) >= WANTED for places in won.values()) else "no")


if __name__ == "__main__":
    main(sys.argv[1])
