"""Choose the policies of the confirmation by the rule in README.md, and write them there.

python paper/few-labels/choose.py RUNS
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ampmix.analysis.groups import Group, groups_of, read_runs
from ampmix.records.store import BASELINE

CONFIRM = Path(__file__).parent / "confirm.toml"
CELLS, FINALISTS = 6, 3


def differences(group: Group) -> dict[str, float]:
    """Mean difference of each policy to none over seeds, in points; a failed run errs always."""
    errors = {
        policy: {s: 100 * float(r.test_wrong.mean()) if r.done else 100.0 for s, r in own.items()}
        for policy, own in group.records.items()
        if policy != BASELINE
    }
    none = errors.pop("none")
    return {
        policy: float(np.mean([own[seed] - none[seed] for seed in none]))
        for policy, own in errors.items()
    }


def chosen(cells: list[Mapping[str, float]]) -> list[tuple[str, float]]:
    """The best setting of each policy with its figure, the lowest figure first."""
    figures = {policy: float(np.mean([cell[policy] for cell in cells])) for policy in cells[0]}
    best: dict[str, tuple[str, float]] = {}
    for spec, figure in sorted(figures.items(), key=lambda one: (one[1], one[0])):
        best.setdefault(spec.partition("[")[0], (spec, figure))
    return list(best.values())


def finalists(ranked: list[tuple[str, float]]) -> list[str]:
    """None, Mixup at its best setting, and the three others with the lowest figures."""
    mixup = next(spec for spec, _ in ranked if spec.partition("[")[0] == "mixup")
    return ["none", mixup, *[spec for spec, _ in ranked if spec != mixup][:FINALISTS]]


def main(runs: str) -> None:
    """Choose, tell the figures, and write."""
    groups = groups_of(read_runs([runs]).records)
    if len(groups) != CELLS:
        sys.exit(f"{len(groups)} cells of {CELLS} have runs: finish the study first")
    ranked = chosen([differences(group) for group in groups])
    for spec, figure in ranked:
        print(f"{figure:+6.2f}  {spec}")
    line = "policies = [" + ", ".join(f'"{spec}"' for spec in finalists(ranked)) + "]"
    text = CONFIRM.read_text(encoding="utf-8")
    CONFIRM.write_text(re.sub(r"(?m)^policies = .*$", line, text), encoding="utf-8")
    print(line)


if __name__ == "__main__":
    main(sys.argv[1])
