"""Choose the policies of the confirmation by the rule in README.md, and write them there.

python paper/few-labels/choose.py RUNS
python paper/few-labels/choose.py RUNS --frozen
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ampmix._support.components import parse
from ampmix.analysis.groups import Group, groups_of, read_runs
from ampmix.records.store import BASELINE

HERE = Path(__file__).parent
CELLS, FINALISTS, OF_EACH_KIND = 6, 3, 2
Ranked = list[tuple[str, float]]


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


def ranking(cells: list[Mapping[str, float]]) -> Ranked:
    """All settings with their figures, the lowest figure first."""
    figures = {policy: float(np.mean([cell[policy] for cell in cells])) for policy in cells[0]}
    return sorted(figures.items(), key=lambda one: (one[1], one[0]))


def chosen(ranked: Ranked) -> Ranked:
    """The best setting of each policy."""
    best: dict[str, tuple[str, float]] = {}
    for spec, figure in ranked:
        best.setdefault(spec.partition("[")[0], (spec, figure))
    return list(best.values())


def finalists(ranked: Ranked, count: int = FINALISTS) -> list[str]:
    """None, Mixup at its best setting, and the `count` others with the lowest figures."""
    own = [spec for spec, _ in chosen(ranked)]
    mixup = next(spec for spec in own if spec.partition("[")[0] == "mixup")
    return ["none", mixup, *[spec for spec in own if spec != mixup][:count]]


def takes_others(spec: str) -> bool:
    """True if a policy with these settings learns from texts without labels too."""
    return bool(parse(spec, "ampmix.policies", "policy").uses_unlabelled)


def frozen_finalists(ranked: Ranked) -> list[str]:
    """None, Mixup, the two best that learn from labelled texts alone, the two best others."""
    others = [one for one in ranked if takes_others(one[0])]
    own = [one for one in ranked if one not in others]
    best_others = [spec for spec, _ in chosen(others)][:OF_EACH_KIND]
    return [*finalists(own, OF_EACH_KIND), *best_others]


def main(runs: str, frozen: bool) -> None:
    """Choose, tell the figures, and write."""
    groups = groups_of(read_runs([runs]).records)
    if len(groups) != CELLS:
        sys.exit(f"{len(groups)} cells of {CELLS} have runs: finish the study first")
    ranked = ranking([differences(group) for group in groups])
    for spec, figure in ranked:
        print(f"{figure:+6.2f}  {spec}")
    names = frozen_finalists(ranked) if frozen else finalists(ranked)
    line = "policies = [" + ", ".join(f'"{spec}"' for spec in names) + "]"
    confirm = HERE / ("frozen-confirm.toml" if frozen else "confirm.toml")
    text = confirm.read_text(encoding="utf-8")
    confirm.write_text(re.sub(r"(?m)^policies = .*$", line, text), encoding="utf-8")
    print(line)


if __name__ == "__main__":
    main(sys.argv[1], "--frozen" in sys.argv[2:])
