"""What a training step costs by policy: fit()'s own step on TREC's questions, in ratios to none.

    python benchmarks/policies.py [--backbones LIST] [--rounds N] [--batches N]

One thread; all policies at their defaults take turns on the same batches (see ``_measuring.py``).
"+ unlabelled" is a step with as many texts without labels beside. Written to
``benchmarks/results/policies.json``. MiniLM has its real weights, all of which train.
"""

from __future__ import annotations

import argparse
import os
import sys

from ampmix.studies.executors import WORKER_ENVIRONMENT

if __name__ == "__main__" and os.environ.get("GLIBC_TUNABLES") is None:
    # the environment that training runs in; the allocator reads it once, at the start
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **WORKER_ENVIRONMENT})

from functools import partial
from typing import Any

import torch

from _fits_step import fits_step
from _measuring import Step, measure, ratios, report
from ampmix import datasets
from ampmix._support.components import find, parse
from ampmix.backbones.base import Backbone
from ampmix.data.splits import split_holdout
from ampmix.training.checks import sited
from ampmix.training.config import settings
from ampmix.training.step import TrainingBatch, training_batches
from ampmix.training.training_run import _encode

MORE = {"cnn": 3}
"""A small step varies by more than its ratios differ, and is soon repeated."""
BESIDE = " + unlabelled"


def of(step: Step, which: int, batches: tuple[TrainingBatch, TrainingBatch]) -> float:
    """A step on a labelled batch, or on the one with other texts beside."""
    return step(batches[which])


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbones", default="cnn,bilstm,minilm")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--batches", type=int, default=12)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data = split_holdout(datasets.load("trec"), seed=0)
    times: dict[str, list[float]] = {}
    wanted = []
    for name in arguments.backbones.split(","):
        backbone: Backbone = parse(name, "ampmix.backbones", "backbone")
        config = settings(backbone, True, steps=arguments.batches, precision="float32")
        reader, parts = _encode(backbone, data, config.max_length, ())
        guesses = torch.rand(len(parts.train), len(data.classes)).softmax(-1)
        plain = training_batches(parts.train, config, 0)
        beside = training_batches(parts.train, config, 0, None, parts.train, guesses)
        classes: dict[str, Any] = find("ampmix.policies")
        every = {n: cls for n, cls in classes.items() if not cls.learns}
        listed = [
            (n, which) for n, cls in every.items() for which in range(1 + cls.takes_unlabelled)
        ]
        steps: dict[str, Step] = {}
        for policy, which in listed:
            (own,) = sited([every[policy]()], backbone)
            step = fits_step(backbone, own.name, reader, len(data.classes), config)
            steps[f"{name} {policy}{BESIDE * which}"] = partial(of, step, which)
        rounds = arguments.rounds * MORE.get(name, 1)
        times |= measure(steps, list(zip(plain, beside, strict=True)), rounds)
        none = f"{name} none"
        wanted += [(f"{one} / none", one, none, "") for one in steps if one != none]
    report("policies", times, ratios(times, wanted))


if __name__ == "__main__":
    main()
