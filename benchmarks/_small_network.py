"""Studies of a small TextCNN of ours: three repeats of three folds of 200 texts, three policies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch

import ampmix
from _cheap_learners import Wrong
from ampmix import Mixup, NoMixup, TextCNN, TrainConfig
from ampmix.data.dataset import Examples, TextDataset
from ampmix.data.splits import split_fold
from ampmix.statistics.repeated import RepeatedFolds

TEXTS, FOLDS, REPEATS, STEPS = 200, 3, 3, 30
BACKBONE = TextCNN(embedding_dim=32, feature_maps=16, filter_sizes=(2,))
OTHER = 10_000
"""Added to a run's number: weights and order of the same policy once more."""


def network_studies(
    path: Path, draws: int
) -> Iterator[tuple[Mapping[str, Wrong], RepeatedFolds, float]]:
    """Errors of policy none, of none with other seeds, and of mixup; layout; part of the texts."""
    torch.set_num_threads(1)
    rows = [line.split(" ", 1) for line in path.read_text(encoding="latin1").split("\n") if line]
    rng = np.random.default_rng(17)
    config = TrainConfig(steps=STEPS, batch_size=32, lr=1e-2, eval_every=STEPS)
    policies = {"none": (NoMixup(), 0), "none again": (NoMixup(), OTHER), "mixup": (Mixup(), 0)}
    for _ in range(draws):
        chosen = [rows[i] for i in rng.choice(len(rows), TEXTS, replace=False)]
        examples = Examples(tuple(t for _, t in chosen), np.array([int(y) for y, _ in chosen]))
        data = TextDataset("draw", ("objective", "subjective"), examples)
        wrong = {name: np.empty((REPEATS, TEXTS), bool) for name in policies}
        folds = np.empty((REPEATS, TEXTS), np.int64)
        first = int(rng.integers(1000)) * 2 * OTHER
        for repeat in range(REPEATS):
            for fold in range(FOLDS):
                split = split_fold(data, fold, FOLDS, repeat)
                folds[repeat, split.test_indices] = fold
                for name, (policy, more) in policies.items():
                    seed = first + more + repeat * FOLDS + fold
                    fitted = ampmix.fit(BACKBONE, policy, split, config, seed)
                    wrong[name][repeat, split.test_indices] = fitted.test_wrong
        yield wrong, RepeatedFolds(folds), TEXTS / len(rows)
