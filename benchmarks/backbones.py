"""What a training step costs by backbone, policy and site: fit()'s own step on TREC's questions.

    python benchmarks/backbones.py [--rounds N] [--batches N]

One thread; the candidates of a backbone take turns on the same batches (see ``_measuring.py``).
Written to ``benchmarks/results/backbones.json``. MiniLM has its real weights.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace

from ampmix.studies.executors import WORKER_ENVIRONMENT

if __name__ == "__main__" and os.environ.get("GLIBC_TUNABLES") is None:
    # the environment that training runs in; the allocator reads it once, at the start
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **WORKER_ENVIRONMENT})

import torch

from _fits_step import fits_step
from _measuring import measure, ratios, report
from ampmix import datasets
from ampmix._support.components import parse
from ampmix.backbones.base import Backbone
from ampmix.data.splits import split_holdout
from ampmix.training.config import settings
from ampmix.training.step import training_batches
from ampmix.training.training_run import _encode

BACKBONES = ("cnn", "bilstm", "minilm")
POLICIES = ("none", "mixup", "amp", "mixup[site=sent]", "amp[site=sent]")
MORE = {"cnn": 8}
"""A small step varies by more than its ratios differ, and is soon repeated."""
AIMS = {"cnn": "<= 1.12", "bilstm": "<= 1.75", "minilm": "<= 1.75"}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--batches", type=int, default=16)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data = split_holdout(datasets.load("trec"), seed=0)
    times: dict[str, list[float]] = {}
    wanted = []
    for name in BACKBONES:
        backbone: Backbone = parse(name, "ampmix.backbones", "backbone")
        config = settings(backbone, True, steps=arguments.batches, precision="float32")
        reader, parts = _encode(backbone, data, config.max_length, ())
        batches = list(training_batches(parts.train, config, seed=0))
        steps = {
            f"{name} {policy}": fits_step(backbone, policy, reader, len(data.classes), config)
            for policy in POLICIES
        }
        half = replace(config, precision="bfloat16")
        steps |= {
            f"{name} {policy} in bfloat16": fits_step(
                backbone, policy, reader, len(data.classes), half
            )
            for policy in ("none", "amp")
        }
        times |= measure(steps, batches, arguments.rounds * MORE.get(name, 1))
        for site, title, aim in (("", "Word", AIMS[name]), ("[site=sent]", "Sent", "<= 1.05")):
            above, below = f"{name} amp{site}", f"{name} mixup{site}"
            wanted.append((f"{name}: {title}AMP / {title}Mixup", above, below, aim))
        wanted.append((f"{name}: WordAMP / none", f"{name} amp", f"{name} none", ""))
        for policy in ("none", "amp"):
            title = f"{name}: {policy} in bfloat16 / float32"
            wanted.append((title, f"{name} {policy} in bfloat16", f"{name} {policy}", ""))
    report("backbones", times, ratios(times, wanted))


if __name__ == "__main__":
    main()
