"""Seeds as an axis: a seed in a stack is that seed alone."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from ampmix.backbones.bilstm_attention import BiLSTMAttention
from ampmix.backbones.encoder import Encoder
from ampmix.backbones.text_cnn import TextCNN
from ampmix.data import Examples, Split, TextDataset, split_holdout
from ampmix.policies.amp import AMP
from ampmix.policies.mixup import Mixup
from ampmix.policies.none import NoMixup
from ampmix.replicas import fit_many, unstackable
from ampmix.training import Diverged, Fit, TrainConfig, fit
from tiny_encoders import TINY

COMMON = "a cat dog rose oak runs grows lies grey red ? apple train music".split()  # noqa: SIM905
CNN = TextCNN(embedding_dim=8, filter_sizes=(1, 3), feature_maps=4)
LSTM = BiLSTMAttention(embedding_dim=6, hidden_size=8)
FROZEN = Encoder(model=TINY, freeze=True, dropout=0.3)
CONFIG = TrainConfig(steps=200, batch_size=8, lr=0.01, eval_every=25, clip=1.0, selection="last")
SEEDS = (3, 0, 7)
POLICIES: list[Any] = [
    NoMixup(),
    Mixup(),
    Mixup(alpha=0.4, site="sent"),
    AMP(),
    AMP(site="sent"),
    AMP(eps=0.1),
    AMP(eps=3.0, direction="sign"),
    AMP(min_op=False),
    AMP(site="embedding", shared_dropout=False),
]


def split(texts: int, own: int, seed: int) -> Split:
    """Texts of three classes with up to 14 words, `own` of them words that no other split has."""
    draw = random.Random(seed)
    words = [*COMMON, *(f"s{seed}n{i}" for i in range(own))]
    rows = [" ".join(draw.choices(words, k=draw.randint(1, 14))) for _ in range(texts + 12)]
    labels = [draw.randrange(3) if draw.random() < 0.3 else len(row) % 3 for row in rows]
    labels[:3] = 0, 1, 2
    train, test = Examples(rows[:texts], labels[:texts]), Examples(rows[texts:], labels[texts:])
    return split_holdout(TextDataset("made up", ("x", "y", "z"), train=train, test=test), seed)


SPLITS = [split(texts, own, seed) for texts, own, seed in ((38, 9, 3), (28, 30, 0), (31, 2, 7))]
"""Last batches of 2, 1 and 4 texts, after 4, 3 and 3 full ones."""


def test_the_splits_are_as_unequal_as_they_are_said_to_be() -> None:
    assert [divmod(len(split.train), CONFIG.batch_size) for split in SPLITS] == [
        (4, 2),
        (3, 1),
        (3, 4),
    ]
    assert len({len(CNN.reader(split.train.texts, "words", 512)) for split in SPLITS}) == 3


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that is built is float64."""
    for cls in (TextCNN, BiLSTMAttention, Encoder):

        def build(*args: Any, real: Any = cls.build) -> Any:
            return real(*args).double()

        monkeypatch.setattr(cls, "build", build)


def both(backbone: Any, policy: Any, config: TrainConfig) -> tuple[list[Any], list[Any]]:
    """The splits' results side by side and alone."""
    together = fit_many(backbone, policy, SPLITS, config, SEEDS)
    alone: list[Any] = []
    for part, seed in zip(SPLITS, SEEDS, strict=True):
        try:
            alone.append(fit(backbone, policy, part, config, seed))
        except Diverged as error:
            alone.append(error)
    return together, alone


def difference(one: Fit, other: Fit) -> float:
    """The largest difference between two models' trained weights."""
    pairs = zip(
        one.classifier.model.named_parameters(),
        other.classifier.model.named_parameters(),
        strict=True,
    )
    return max((p - q).abs().max().item() for (_, p), (_, q) in pairs)


def assert_equal(together: Fit, alone: Fit, tolerance: float) -> None:
    assert difference(together, alone) <= tolerance
    assert together.seed == alone.seed
    assert together.stopped == alone.stopped
    assert together.test_reads == alone.test_reads
    assert together.test_wrong.tolist() == alone.test_wrong.tolist()
    assert together.classifier.reader == alone.classifier.reader or alone.classifier.reader
    steps = [reading.step for reading in alone.curve]
    assert [reading.step for reading in together.curve] == steps
    mine, theirs = np.array(together.curve), np.array(alone.curve)
    np.testing.assert_allclose(mine, theirs, rtol=0, atol=tolerance)
    assert mine[:, 2].tolist() == theirs[:, 2].tolist()
    assert (together.perturbation is None) == (alone.perturbation is None)
    if alone.perturbation is not None:
        assert together.perturbation == alone.perturbation


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("policy", POLICIES, ids=str)
@pytest.mark.parametrize("backbone", [CNN, LSTM, FROZEN], ids=lambda b: b.name, indirect=True)
def test_every_seed_is_as_it_is_alone(backbone: Any, policy: Any) -> None:
    if isinstance(backbone, Encoder) and policy.mixing_site not in (None, "sent"):
        policy = replace(policy, site="sent")
    for together, alone in zip(*both(backbone, policy, CONFIG), strict=True):
        assert_equal(together, alone, 1e-9)
