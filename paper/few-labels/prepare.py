"""Put the studies' files into one folder: all study files and the data that they name.

    python paper/few-labels/prepare.py ampmix-runs/few-labels

debian-sections is looked for under AMPMIX_DATA.
"""

from __future__ import annotations

import csv
import os
import shutil
import sys
from pathlib import Path

import numpy as np

from ampmix import datasets

HERE = Path(__file__).parent
HELD = 2000  # texts of a development set


def parts(name: str) -> dict[str, list[tuple[str, str]]]:
    """Training texts of a data set as rows of text and label: ``dev``, and the ``pool``."""
    data = datasets.load(name)
    labels = data.train.labels
    rng = np.random.default_rng(0)
    order = np.concatenate(
        [rng.permutation(np.flatnonzero(labels == c)) for c in np.unique(labels)]
    )
    places = np.round(np.linspace(0, len(order) - 1, HELD)).astype(int)  # each class its share
    held = set(order[places].tolist())
    rows = [(text, data.classes[c]) for text, c in zip(data.train.texts, labels, strict=True)]
    return {
        "dev": [row for i, row in enumerate(rows) if i in held],
        "pool": [row for i, row in enumerate(rows) if i not in held],
    }


def prepare(folder: Path) -> None:
    """Write and copy all files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("trec", "mr"):
        for part, rows in parts(name).items():
            path = folder / f"{name}-{part}.csv"
            with path.open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows([("text", "label"), *rows])
    data = Path(os.environ["AMPMIX_DATA"], "debian-sections")
    for source, name in (
        (data / "train.csv", "debian-train.csv"),
        (data / "test.csv", "debian-test.csv"),
        (HERE.parents[1] / "examples/support-tickets.csv", "support-tickets.csv"),
        *((study, study.name) for study in HERE.glob("*.toml")),
    ):
        shutil.copyfile(source, folder / name)


if __name__ == "__main__":
    prepare(Path(sys.argv[1]))
