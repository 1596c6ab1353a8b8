"""What training the upper layers of MiniLM costs, beside training all of it.

    python benchmarks/encoder_layers.py [--rounds N] [--steps N]

One thread, the 23 batches of 24 questions that an epoch of 10 % of TREC has (AMPMIX_DATA, else
downloaded), all candidates in turn on the same batch; medians. The lower layers encode each
question once: what that takes is measured apart, three times, and counted to a run of ``--steps``
(300). Written to ``benchmarks/results/encoder_layers.json``.
"""

from __future__ import annotations

import argparse
import os
import sys
import time

import numpy as np

from ampmix.studies.executors import WORKER_ENVIRONMENT

if __name__ == "__main__" and os.environ.get("GLIBC_TUNABLES") is None:
    # the environment that training runs in; the allocator reads it once, at the start
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **WORKER_ENVIRONMENT})

import torch

from _fits_step import step_of
from _measuring import measure, ratios, report
from ampmix import datasets
from ampmix.backbones.encoder import Encoder, MiniLM
from ampmix.backbones.encoder_module import EncoderModule
from ampmix.data.splits import split_holdout
from ampmix.training.config import TrainConfig
from ampmix.training.step import TrainingBatch, generator_of, training_batches
from ampmix.training.training_run import _encode

MODELS: dict[str, Encoder] = {
    "all layers": MiniLM(),
    "upper two": MiniLM(train_layers=2),
    "upper one": MiniLM(train_layers=1),
}
WANTED = (
    ("all layers / upper two", "all layers", "upper two", ""),
    ("all layers / upper one", "all layers", "upper one", ""),
)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=300)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)

    data = split_holdout(datasets.load("trec"), 0, 0.1)
    reader, parts = _encode(MiniLM(), data, 512, ())
    epoch = -(-len(parts.train) // 24)
    batches = list(training_batches(parts.train, TrainConfig(steps=epoch, batch_size=24), seed=0))
    steps, models = {}, {}
    for name, backbone in MODELS.items():
        models[name] = built(backbone, reader, len(data.classes))
        steps[name] = step_of(models[name], "none", TrainConfig.of(backbone))
    times = measure(steps, batches, arguments.rounds)
    median = {name: float(np.median(values)) for name, values in times.items()}
    encoding = {n: encoding_of(models[n], batches) for n in ("upper two", "upper one")}
    with_encoding = {
        name: arguments.steps * median["all layers"] / (arguments.steps * median[name] + ms)
        for name, ms in encoding.items()
    }
    report(
        "encoder_layers",
        times,
        ratios(times, WANTED),
        texts=len(parts.train),
        encoding_ms=encoding,
        steps=arguments.steps,
        speed_with_encoding=with_encoding,
    )
    for name, ratio in with_encoding.items():
        print(
            f"{name}, {arguments.steps} steps and {encoding[name] / 1e3:.1f} s of encoding: "
            f"{ratio:.2f} times as fast as all layers"
        )


def built(backbone: Encoder, reader: object, classes: int) -> EncoderModule:
    """A module that trains."""
    model = backbone.build(reader, classes, generator_of(0, "weights"))  # type: ignore[arg-type]
    assert isinstance(model, EncoderModule)
    return model.train()


def encoding_of(model: EncoderModule, batches: list[TrainingBatch]) -> float:
    """Milliseconds in which the lower layers encode all texts, batch by batch as in training."""
    found = []
    for _ in range(3):
        model.encoded.clear()
        started = time.perf_counter()
        for ids, mask, *_ in batches:
            model._frozen(ids, mask)
        found.append(1e3 * (time.perf_counter() - started))
    return float(np.median(found))


if __name__ == "__main__":
    main()
