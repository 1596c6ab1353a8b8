"""Texts and study files that take seconds, for tests of studies."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

COMMON = ["the", "film", "book", "play", "was", "is", "a", "very", "so", "day"]
TELLING = {"good": ["great", "fine"], "bad": ["awful", "dull"], "ask": ["how", "why"]}
CNN = "cnn[embedding_dim=8,feature_maps=4]"

STUDY = """
name = "small"
datasets = ["films.csv"]
backbones = ["cnn[embedding_dim=8,feature_maps=4]"]
policies = ["none", "mixup"]
seeds = 2
[training]
steps = 4
eval_every = 2
lr = 0.01
"""


def write_texts(folder: Path, rows: int = 48) -> Path:
    """films.csv: texts of three classes that can be told apart, but not always."""
    draw, lines = random.Random(0), ["text,label"]
    for i in range(rows):
        label = list(TELLING)[i % 3]
        kind = label if draw.random() < 0.7 else draw.choice(list(TELLING))
        words = [*draw.choices(COMMON, k=5), draw.choice(TELLING[kind]), str(i)]
        lines.append(f"{' '.join(words)},{label}")
    path = folder / "films.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def write_study(folder: Path, text: str = STUDY, name: str = "small.toml") -> Path:
    """A study file beside its texts."""
    if not (folder / "films.csv").exists():
        write_texts(folder)
    path = folder / name
    path.write_text(text)
    return path


def contents(out: Path) -> dict[str, dict[str, Any]]:
    """The record files of a folder by their names."""
    return {p.name: json.loads(p.read_text()) for p in (out / "records").glob("[!.]*.json")}


def digests(out: Path) -> dict[str, str]:
    """What must be equal to the bit, by record file."""
    return {name: content["digest"] for name, content in contents(out).items()}
