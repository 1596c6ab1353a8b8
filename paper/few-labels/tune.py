"""Choose how `none` is trained on the frozen encoder, and write it into the frozen study's files.

python paper/few-labels/tune.py RUNS
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np

from ampmix.analysis.groups import groups_of, read_runs

HERE = Path(__file__).parent
CELLS = 6
SETTINGS = ("lr", "weight_decay")


def errors(runs: str) -> dict[tuple[str, float, float], list[float]]:
    """Mean error over seeds in each cell, in per cent, by backbone, learning rate and decay."""
    found: dict[tuple[str, float, float], list[float]] = {}
    for group in groups_of(read_runs([runs]).records):
        told, own = group.specification, group.records["none"].values()
        lr, decay = (float(told["training"][name]) for name in SETTINGS)
        error = 100 * float(np.mean([record.test_wrong.mean() for record in own]))
        found.setdefault((told["backbone"], lr, decay), []).append(error)
    return found


def main(runs: str) -> None:
    """Tell the mean error of each setting, and write the lowest one's."""
    found = errors(runs)
    if unlike := {len(cells) for cells in found.values()} - {CELLS}:
        sys.exit(f"a setting has {min(unlike)} cells of {CELLS}: finish the study first")
    means = sorted((float(np.mean(cells)), setting) for setting, cells in found.items())
    for mean, (backbone, lr, decay) in means:
        print(f"{mean:6.2f}  lr {lr:g}  weight_decay {decay:g}  {backbone}")
    _, (backbone, lr, decay) = means[0]
    training = f"[training]\nsteps = 1000\nlr = {lr:g}\nweight_decay = {decay:g}\n"
    for name in ("frozen-choose.toml", "frozen-confirm.toml"):
        text = (HERE / name).read_text(encoding="utf-8")
        text = re.sub(r"(?m)^backbones = .*$", f'backbones = "{backbone}"', text)
        text = re.sub(r"(?s)\[training\]\n.*?\n\n", training + "\n", text)
        (HERE / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
