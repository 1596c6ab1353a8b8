"""Does bfloat16 change the error of a fine-tuned encoder on a CPU, and what does it save?

    python benchmarks/encoder_precision.py [--seeds 5] [--data trec,sst2] [--models NAMES]
        [--policies none,amp[site=layer.4]] [--workers 2]

MiniLM (real weights) on about 545 training texts of known data sets (AMPMIX_DATA, else
downloaded): whole runs of fit(), one thread each, the same seeds in both precisions, which of the
two first by turns; what frozen layers make of texts is kept from before. The differences in error
are compared over seeds and test texts (:func:`ampmix.statistics.crossed_difference`); seconds are
ratios of medians. Written to ``benchmarks/results/encoder_precision.json`` after each pair; what is
there is not run again.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np

from ampmix.studies.executors import WORKER_ENVIRONMENT

if __name__ == "__main__" and os.environ.get("GLIBC_TUNABLES") is None:
    # the environment that training runs in; the allocator reads it once, at the start
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **WORKER_ENVIRONMENT})

import torch

import ampmix
from _measuring import RESULTS
from ampmix import datasets, statistics
from ampmix._support.components import parse, split_list
from ampmix.backbones.encoder import MiniLM
from ampmix.data.splits import split_holdout
from ampmix.training.config import settings

PATH = RESULTS / "encoder_precision.json"
PRECISIONS = ("float32", "bfloat16")
MODELS = {
    "upper one": MiniLM(train_layers=1),
    "upper two": MiniLM(train_layers=2),
    "all layers": MiniLM(),
}
TEXTS = 545
Pair = tuple[str, str, str, int]
"""Data set, model, policy, seed."""


def run(pair: Pair) -> tuple[Pair, dict[str, Any]]:
    """Train in both precisions; return seconds and where each errs."""
    torch.set_num_threads(1)
    name, model, policy, seed = pair
    data = datasets.load(name)
    split = split_holdout(data, seed, TEXTS / len(data.train))
    learner = parse(policy, "ampmix.policies", "policy")
    first = settings(MODELS[model], False, len(split.train), precision="bfloat16", steps=1)
    ampmix.fit(MODELS[model], learner, split, first, seed)  # imports; what frozen layers encode
    seconds, wrong = dict[str, float](), dict[str, str]()
    for precision in PRECISIONS if seed % 2 else PRECISIONS[::-1]:
        config = settings(MODELS[model], False, len(split.train), precision=precision)
        started = time.perf_counter()
        done = ampmix.fit(MODELS[model], learner, split, config, seed)
        seconds[precision] = time.perf_counter() - started
        wrong[precision] = "".join(map(str, done.test_wrong.astype(int)))
    return pair, {"seconds": seconds, "wrong": wrong}


def told(runs: dict[str, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """A row for each data set, model and policy with two seeds or more."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for key, one in sorted(runs.items()):
        groups.setdefault(tuple(key.split(" | ")[:3]), []).append(one)
    for group, own in groups.items():
        if len(own) < 2:
            continue
        wrong = {p: np.array([[*map(int, one["wrong"][p])] for one in own]) for p in PRECISIONS}
        seconds = {p: float(np.median([one["seconds"][p] for one in own])) for p in PRECISIONS}
        found = statistics.crossed_difference(wrong["bfloat16"], wrong["float32"])
        yield {
            "data": group[0],
            "model": group[1],
            "policy": group[2],
            "seeds": len(own),
            "errors": {p: float(wrong[p].mean()) for p in PRECISIONS},
            "difference": found.difference,
            "interval": found.interval or (float("nan"), float("nan")),
            "seconds": seconds,
            "ratio": seconds["float32"] / seconds["bfloat16"],
        }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--data", default="trec,sst2")
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--policies", default="none")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    content = json.loads(PATH.read_text(encoding="utf-8")) if PATH.exists() else {"runs": {}}
    runs = content["runs"]
    pairs = [
        (name, model, policy, seed)
        for seed in range(arguments.seeds)
        for name in arguments.data.split(",")
        for model in arguments.models.split(",")
        for policy in split_list(arguments.policies)
    ]
    new = [pair for pair in pairs if " | ".join(map(str, pair)) not in runs]
    with ProcessPoolExecutor(arguments.workers, multiprocessing.get_context("spawn")) as pool:
        for pair, own in pool.map(run, new):
            runs[" | ".join(map(str, pair))] = own
            content = {"texts": TEXTS, "summary": list(told(runs)), "runs": runs}
            PATH.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
            print(*pair, {p: f"{s:.1f} s" for p, s in own["seconds"].items()}, flush=True)
    for row in told(runs):
        low, high = row["interval"]
        print(
            f"{row['data']}, {row['model']}, {row['policy']}, {row['seeds']} seeds: "
            f"{row['errors']['float32']:.2%} in float32, {row['errors']['bfloat16']:.2%} in "
            f"bfloat16, difference {row['difference']:+.2%} [{low:+.2%}, {high:+.2%}]; "
            f"float32 takes {row['ratio']:.2f} times as long"
        )


if __name__ == "__main__":
    main()
