"""solve(): a baseline fitted to a split, as fit() trains a backbone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from ampmix._support.cores import one_blas_thread
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
    """Fit a baseline to the texts with labels; read the test set once.

    A solver has no use for a development set. One that was drawn from the training texts gives it
    its labels: a network sees them as well, to choose its step. Outside cross-validation it is
    fitted to the training part alone first, to measure the development error by which models are
    compared there. From one that was given nothing is learnt: it stays whole where the labels of
    the training part are cut down, and would stand for those that are left out.

    Args:
        baseline: what to fit.
        data: a split.
        config: of which the fields in ``baseline.heeds`` and ``device`` count.
        seed: the run's.
        weights: of the training texts, mean 1, ``[n_train]``; None for equal ones.
    """
    own = np.ones(len(data.train)) if weights is None else weights
    fitted = partial(_solved, baseline, data, config, seed)
    learnt, asked, dev = data.train, [data.test, data.dev], (math.nan, math.nan)
    if len(data.dev) and not data.dev_given:
        if data.fold is None:
            *_, (first,), _ = fitted(learnt, own, [data.dev])
            dev = _measured(first, data.dev)
        y = np.concatenate([learnt.labels, data.dev.labels])
        learnt, asked = Examples(learnt.texts + data.dev.texts, y), [data.test]
        own = np.concatenate([own, np.ones(len(data.dev))])
    model, reader, (logits, *found), truncated = fitted(learnt, own, asked)
    if found and len(data.dev):
        dev = _measured(found[0], data.dev)
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


def _measured(logits: Tensor, known: Examples) -> tuple[float, float]:
    """Return error and loss."""
    y = torch.tensor(known.labels)
    error = (logits.argmax(1) != y).double().mean()
    return error.item(), F.cross_entropy(logits.double(), y).item()


def _solved(
    baseline: Baseline,
    data: Split,
    config: TrainConfig,
    seed: int,
    train: Examples,
    weights: Weights,
    asked: Sequence[Examples],
) -> tuple[CutModule, Reader, list[Tensor], int]:
    """Return the fitted module, its reader, logits of the texts asked, and how many were cut."""
    reader = baseline.reader(train.texts, data.tokenizer, config.max_length)
    classes = len(data.classes)
    model = baseline.build(reader, classes, generator_of(seed, "weights")).to(config.device)
    encoded = reader.encode(train.texts, train.labels)
    if config.class_weights == "balanced":
        weights = weights * balanced_weights(train.labels, classes, weights)[train.labels]
    others = [reader.encode(part.texts) for part in asked]
    read = [*others]
    if baseline.reads_pool and len(data.pool) <= POOL * (len(train) + sum(map(len, asked))):
        read.append(reader.encode(data.pool))  # the same texts in every split
    with one_blas_thread():
        if baseline.uses_unlabelled and data.unlabelled:
            without = reader.encode(data.unlabelled)
            found = baseline.solve_with(model, encoded, weights, read, without)
        else:
            found = baseline.solve(model, encoded, weights, read)
    model.eval()
    if found is None:
        found = [logits_of(model, part, config.device) for part in others]
    logits = [own.reshape(len(part), classes) for own, part in zip(found, others, strict=False)]
    return model, reader, logits, encoded.truncated + sum(part.truncated for part in others)
