"""How the cost of a step grows with batch, length, vocabulary, classes and data: exponents.

    python benchmarks/growth.py [--rounds N]

TextCNN with WordAMP on made-up texts (words drawn by Zipf's law), one thread. Each quantity in turn
grows while the others stay; sizes take turns on the clock. An exponent k means that a step costs
``size ** k`` times as much: the slope of log time over log size. "data" is the number of training
texts, which a step must not feel (0), and which encoding must take in linear time (1). Written to
``benchmarks/results/growth.json``.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from ampmix.studies.executors import WORKER_ENVIRONMENT

if __name__ == "__main__" and os.environ.get("GLIBC_TUNABLES") is None:
    # the environment that training runs in; the allocator reads it once, at the start
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **WORKER_ENVIRONMENT})

import torch

from _fits_step import fits_step
from _measuring import Step, measure, report
from ampmix.backbones.text_cnn import TextCNN
from ampmix.text.reader import WordReader
from ampmix.training.config import TrainConfig
from ampmix.training.step import training_batches


@dataclass(frozen=True)
class Size:
    """What a step is made for."""

    batch: int = 50
    length: int = 20
    vocabulary: int = 8000
    classes: int = 6
    data: int = 2000


AXES = {
    "batch": (25, 50, 100, 200, 400),
    "length": (10, 20, 40, 80, 160),
    "vocabulary": (4000, 8000, 16000, 32000, 64000),
    "classes": (2, 8, 32, 128, 512),
    "data": (500, 1000, 2000, 4000, 8000),
}


def texts_of(size: Size) -> tuple[str, ...]:
    """Made-up texts in which every word of the vocabulary may stand."""
    rng = np.random.default_rng(0)
    chances = 1 / np.arange(1, size.vocabulary + 1)
    words = rng.choice(size.vocabulary, (size.data, size.length), p=chances / chances.sum())
    return tuple(" ".join(f"w{word}" for word in row) for row in words)


def a_step(size: Size) -> tuple[Step, float]:
    """The step that fit() takes, on batches of its own, and the milliseconds that encoding took."""
    texts = texts_of(size)
    labels = np.random.default_rng(1).integers(size.classes, size=size.data)
    started = time.perf_counter()
    # the words once each, so that the vocabulary is as large as it is said to be
    words = tuple(f"w{word}" for word in range(size.vocabulary))
    reader = WordReader.of_texts(words, "words", 512)
    encoded = reader.encode(texts, labels)
    encoding = 1e3 * (time.perf_counter() - started)
    config = TrainConfig(batch_size=size.batch)
    batches = list(islice(training_batches(encoded, config, seed=0), 8))
    once = fits_step(TextCNN(), "amp", reader, size.classes, config)
    return lambda number: once(batches[number % len(batches)]), encoding


def exponent(sizes: tuple[int, ...], times: list[float]) -> float:
    """The slope of log time over log size."""
    return float(np.polyfit(np.log(sizes), np.log(times), 1)[0])


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    times: dict[str, list[float]] = {}
    exponents = {}
    for axis, sizes in AXES.items():
        made = {f"{axis} {n}": a_step(replace(Size(), **{axis: n})) for n in sizes}
        found = measure(
            {name: step for name, (step, _) in made.items()}, range(8), arguments.rounds
        )
        times |= found
        exponents[axis] = exponent(sizes, [float(np.median(found[name])) for name in found])
        if axis == "data":
            exponents["data, encoding"] = exponent(sizes, [spent for _, spent in made.values()])
    report("growth", times, {}, exponents=exponents)
    print("exponents")
    for axis, value in exponents.items():
        print(f"  {axis:34s}{value:9.2f}")


if __name__ == "__main__":
    main()
