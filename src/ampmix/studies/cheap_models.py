"""The cheap models of a comparison: how fast they are, and for how many texts there is time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ampmix._support.components import parse_model
from ampmix._support.cores import one_blas_thread
from ampmix._support.wording import duration
from ampmix.backbones.feature_cache import features
from ampmix.baselines.base import Baseline
from ampmix.data.dataset import Examples
from ampmix.models.classifier import logits_of
from ampmix.training.config import TrainConfig

FEATURES = "encoder-logreg"
CHEAP = f"{FEATURES},encoder-tfidf"
FEW, MEASURED = 2000, 128  # texts that are always used, and that reading is measured on
FITTED = 2000  # texts at most that fitting is measured on: fewer do not show what choosing C takes


@dataclass(frozen=True)
class Speed:
    """Seconds that the cheap models take, by text.

    Attributes:
        reading: to encode a text, once for all of them.
        fitting: to fit all that are asked for to a text, in every run.
    """

    reading: float
    fitting: float

    def of(self, texts: int, fits: float) -> float:
        """Seconds for some texts and so many fits to all of them, one after another."""
        return texts * (self.reading + fits * self.fitting)


def measured_speed(
    examples: Examples, classes: int, models: Sequence[Baseline], limit: float
) -> Speed:
    """Measure how fast texts are read, and how fast the cheap models are fitted, on some of them.

    Args:
        examples: from which they are drawn.
        classes: how many there are.
        models: that are asked for; those that read with the encoder count, the others take little.
        limit: seconds that reading for the fits may take; 128 texts are read in any case, and no
            more than 2,000.
    """
    order = np.random.default_rng(0).permutation(len(examples))
    body: Any = parse_model(FEATURES)
    reader = body.reader((), "words", TrainConfig().max_length)
    encoder = body.build(reader, classes, torch.Generator().manual_seed(0))
    some = reader.encode([examples.texts[i] for i in order[:MEASURED]])
    logits_of(encoder, some.take(range(min(8, len(some)))))  # the first is slower
    started = time.monotonic()
    logits_of(encoder, some)
    reading = (time.monotonic() - started) / len(some)
    reading_too = [one for one in models if one.reads_folder]
    if not reading_too:
        return Speed(reading, 0.0)
    built = [one.build(reader, classes, torch.Generator().manual_seed(0)) for one in reading_too]
    known = examples.take(order[: min(FITTED, max(MEASURED, int(limit / reading)))])
    train, weights = reader.encode(known.texts, known.labels), np.ones(len(known))
    features(encoder, [train], encoder.output.weight.device)  # for all of them
    started = time.monotonic()
    with one_blas_thread():
        for one, module in zip(reading_too, built, strict=True):
            one.solve(module, train, weights)
    return Speed(reading, (time.monotonic() - started) / len(known))


def affordable(texts: int, budget: float, speed: Speed, fits: float) -> int | None:
    """Count the texts for which the cheap models take half of a time; None for all of them.

    Args:
        texts: how many there are.
        budget: seconds.
        speed: of the cheap models.
        fits: runs that fit them, one after another; one to half of the texts is half a run.
    """
    most = max(FEW, int(budget / 2 / speed.of(1, fits)))
    return None if most >= texts else most


def sample_note(texts: Sequence[str], used: Sequence[str], budget: float) -> str:
    """Say that a sample was drawn, "" if none was."""
    if len(used) == len(texts):
        return ""
    return (
        f"{len(used):,} of {len(texts):,} texts are used, drawn at random from each class: more "
        f"would take longer than {duration(budget)} (--budget)"
    )
