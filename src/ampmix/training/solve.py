"""solve(): a baseline fitted to a split, as fit() trains a backbone."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from ampmix.backbones.base import CutModule
from ampmix.baselines.base import Baseline
from ampmix.data.dataset import Examples, Split, texts_sha256
from ampmix.models.classifier import Classifier, logits_of
from ampmix.text.reader import Reader
from ampmix.training.config import TrainConfig
from ampmix.training.losses import balanced_weights
from ampmix.training.selection import Reading
from ampmix.training.step import generator_of
from ampmix.training.training_run import Fit, about_training

Weights = npt.NDArray[np.float64]
POOL = 8  # times the texts of a split that are read for the sake of other splits


def solve(
    baseline: Baseline,
    data: Split,
    config: TrainConfig,
    seed: int = 0,
    weights: Weights | None = None,
) -> Fit:
    """Fit a baseline to training and development texts; read the test set once.

    A solver has no use for a development set, so it gets those labels too: a network sees them as
    well, to choose its step. Outside cross-validation it is fitted to the training part alone
    first, to measure the development error by which models are compared there.

    Args:
        baseline: what to fit.
        data: a split.
        config: of which the fields in ``baseline.heeds`` and ``device`` count.
        seed: the run's.
        weights: of the training texts, mean 1, ``[n_train]``; None for equal ones.
    """
    own = np.ones(len(data.train)) if weights is None else weights
    dev = math.nan, math.nan
    if data.fold is None and len(data.dev):
        *_, logits, _ = _solved(baseline, data, data.train, own, data.dev, config, seed)
        y = torch.tensor(data.dev.labels)
        error = (logits.argmax(1) != y).double().mean()
        dev = error.item(), F.cross_entropy(logits.double(), y).item()
    both = Examples(
        data.train.texts + data.dev.texts, np.concatenate([data.train.labels, data.dev.labels])
    )
    every = np.concatenate([own, np.ones(len(data.dev))])
    model, reader, logits, truncated = _solved(baseline, data, both, every, data.test, config, seed)
    used = data.unlabelled if baseline.uses_unlabelled else ()
    probabilities, tested = logits.softmax(1).numpy(), len(data.test) > 0
    model.to("cpu").eval()
    return Fit(
        classifier=Classifier(
            model.config, model, reader, data.classes, about_training(data, baseline)
        ),
        best=Reading(0, math.nan, *dev),
        curve=(),
        test_wrong=probabilities.argmax(1) != data.test.labels,
        test_reads=(0,) if tested else (),
        truncated=truncated,
        seed=seed,
        test_probabilities=probabilities,
        unlabelled=(len(used), texts_sha256(used)) if used else (0, ""),
    )


def _solved(
    baseline: Baseline,
    data: Split,
    train: Examples,
    weights: Weights,
    asked: Examples,
    config: TrainConfig,
    seed: int,
) -> tuple[CutModule, Reader, Tensor, int]:
    """Return the fitted module, its reader, logits of the texts asked, and how many were cut."""
    reader = baseline.reader(train.texts, data.tokenizer, config.max_length)
    classes = len(data.classes)
    model = baseline.build(reader, classes, generator_of(seed, "weights")).to(config.device)
    encoded = reader.encode(train.texts, train.labels)
    if config.class_weights == "balanced":
        weights = weights * balanced_weights(train.labels, classes, weights)[train.labels]
    test = reader.encode(asked.texts)
    others = [test]
    if baseline.reads_pool and len(data.pool) <= POOL * (len(train) + len(asked)):
        others.append(reader.encode(data.pool))  # the same texts in every split
    if baseline.uses_unlabelled and data.unlabelled:
        without = reader.encode(data.unlabelled)
        found = baseline.solve_with(model, encoded, weights, others, without)
    else:
        found = baseline.solve(model, encoded, weights, others)
    model.eval()
    if not len(asked):
        logits = torch.empty(0, classes)
    else:
        logits = found[0] if found is not None else logits_of(model, test, config.device)
    return model, reader, logits, encoded.truncated + test.truncated
