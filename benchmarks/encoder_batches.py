"""How many texts MiniLM should read at once on a CPU, and what batches of like length save.

    python benchmarks/encoder_batches.py [--rounds N]

One thread. Reading: 256 questions of TREC in batches of 256, 64, 32 and 16 texts of like length,
in turn; medians. Training: steps of the upper layer on epochs of 24 texts, drawn at random and by
length, in turn; medians. Written to ``benchmarks/results/encoder_batches.json`` (AMPMIX_DATA, else
downloaded).
"""

from __future__ import annotations

import argparse
import os
import sys

import numpy as np

from ampmix.studies.executors import WORKER_ENVIRONMENT

if __name__ == "__main__" and os.environ.get("GLIBC_TUNABLES") is None:
    # the environment that training runs in; the allocator reads it once, at the start
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **WORKER_ENVIRONMENT})

import torch

from _fits_step import step_of
from _measuring import measure, ratios, report
from ampmix import datasets
from ampmix.backbones.encoder import MiniLM
from ampmix.data.splits import split_holdout
from ampmix.models.classifier import logits_of
from ampmix.text.encoded import Encoded
from ampmix.training.config import TrainConfig
from ampmix.training.step import generator_of, training_batches
from ampmix.training.training_run import _encode

SIZES = (256, 64, 32, 16)
READING = tuple(
    (f"256 / {size} at once", "256 at once", f"{size} at once", "") for size in SIZES[1:]
)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)

    data = split_holdout(datasets.load("trec"), 0, 0.1)
    backbone = MiniLM(train_layers=1)
    reader, parts = _encode(backbone, data, 512, ())
    model = backbone.build(reader, len(data.classes), generator_of(0, "weights"))
    some = parts.train.take(range(min(256, len(parts.train))))
    read = {f"{size} at once": _reading(model, size) for size in SIZES}
    times = measure(read, [some], arguments.rounds)

    config = TrainConfig.of(backbone, steps=-(-len(parts.train) // 24))
    step = step_of(model, "none", config)
    train: dict[str, list[float]] = {}
    for drawn in ("random", "length"):
        own = TrainConfig.of(backbone, steps=config.steps, batches=drawn)
        epoch = list(training_batches(parts.train, own, seed=0))
        train[f"batches {drawn}"] = measure({drawn: step}, epoch, arguments.rounds)[drawn]
    means = {name: float(np.mean(values)) for name, values in train.items()}
    report(
        "encoder_batches",
        times,
        ratios(times, READING),
        texts=len(some),
        mean_step_ms=means,
        tokens={drawn: _tokens(parts.train, drawn) for drawn in ("random", "length")},
    )
    saved = means["batches random"] / means["batches length"]
    print(f"mean step by length: {saved:.2f} times as fast as by batches drawn at random")


def _reading(model: torch.nn.Module, size: int):  # type: ignore[no-untyped-def]
    return lambda part: logits_of(model, part, batch_size=size)  # type: ignore[arg-type]


def _tokens(part: Encoded, drawn: str) -> dict[str, float]:
    """Tokens of a text, and what a batch makes of them."""
    config = TrainConfig(steps=100, batch_size=24, batches=drawn)
    padded = [ids.shape[1] for ids, *_ in training_batches(part, config, seed=0)]
    return {"of a text": float(part.lengths.mean()), "padded": float(np.mean(padded))}


if __name__ == "__main__":
    main()
