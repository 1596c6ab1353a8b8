"""Tiny stand-ins for what the paper's studies read: true names, true formats."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

import tiny_encoders

WORDS = ["a", "cat", "dog", "rose", "oak", "runs", "grows", "lies", "grey", "red"]
BERT, GLOVE = "bert-base-uncased", "glove.840B.300d"


def _texts(count: int, seed: int) -> list[str]:
    """Texts that are all different."""
    draw = random.Random(seed)
    return [" ".join([*draw.choices(WORDS, k=3), f"w{seed}x{i}"]) for i in range(count)]


def _lines(classes: int, of_each: int, seed: int) -> str:
    texts = _texts(classes * of_each, seed)
    return "".join(f"{i % classes} {text}\n" for i, text in enumerate(texts))


def _trees(count: int, seed: int) -> str:
    made = []
    for i, text in enumerate(_texts(count, seed)):
        first, second, third, last = text.split()
        tree = f"({i % 5} (2 {first}) ({i % 5} (2 {second}) ({i % 5} (2 {third}) (2 {last}))))"
        made.append(tree + "\n")
    return "".join(made)


def write_data(folder: Path) -> None:
    """The files of ``AMPMIX_DATA``, with a few lines each."""
    files = {
        "sent-conv/TREC.train.all": _lines(6, 100, 1),
        "sent-conv/TREC.test.all": _lines(6, 4, 2),
        "sent-conv/rt-polarity.all": _lines(2, 20, 3),
        "sent-conv/subj.all": _lines(2, 20, 4),
        **{
            f"sst-trees/{part}.txt": _trees(20, k)
            for k, part in enumerate(("train", "dev", "test"), 5)
        },
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)


def write_models(folder: Path) -> None:
    """A BERT of two layers and GloVe vectors of ten words."""
    tiny_encoders.save("bert", folder / BERT)
    rows = (f"{word} {' '.join(['0.1', '-0.2', '0.3'] * 100)}\n" for word in WORDS)
    (folder / GLOVE).write_text("".join(rows))


def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the studies read these from here on; the current folder is `folder`."""
    write_data(folder / "data")
    write_models(folder)

    def fetch(name: str, *_: str, **__: str) -> Path:
        return folder / "data" / name

    for module in ("_sent_conv", "_sst"):
        monkeypatch.setattr(f"ampmix.datasets.{module}.fetch", fetch)
    monkeypatch.setenv("AMPMIX_CACHE", str(folder / "cache"))
    monkeypatch.chdir(folder)
