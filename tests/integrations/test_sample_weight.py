"""sample_weight: a text of weight w counts as w copies of it."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.model_selection import GridSearchCV

from ampmix import AMP, Mixup, MixupTextClassifier, NoMixup, TextCNN
from ampmix.data.dataset import Examples, TextDataset
from ampmix.data.splits import split_train
from ampmix.data.texts import DataError
from ampmix.errors import AmpmixError
from ampmix.policies.base import Mixed
from ampmix.training.config import TrainConfig
from ampmix.training.fit import fit
from ampmix.training.losses import balanced_weights, weighted

# every text has the same words, so that copies do not change the vocabulary's order
TEXTS = [" ".join(one) for one in permutations(["late", "box", "bill", "refund"])][:12]
LABELS = np.array([0, 1, 1] * 4)
COPIES = np.array([3, 1, 2, 1] * 3)


def model(policy: Any = "none", **more: Any) -> MixupTextClassifier:
    settings: dict[str, Any] = {"steps": 4, "lr": 1e-2, "clip": 0.0, "dev_size": 0.0}
    backbone = TextCNN(embedding_dim=6, feature_maps=3, dropout=0.0)
    return MixupTextClassifier(policy, backbone, random_state=3, **{**settings, **more})


def weights_of(fitted: MixupTextClassifier) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = fitted.classifier_.model.state_dict()
    return state


@pytest.mark.parametrize("class_weights", ["none", "balanced"])
def test_weights_are_copies_in_steps_on_the_whole(class_weights: str) -> None:
    one = model(class_weights=class_weights, batch_size=64).fit(TEXTS, LABELS, COPIES)
    rows = np.repeat(np.arange(12), COPIES)
    copied = model(class_weights=class_weights, batch_size=64)
    copied.fit([TEXTS[i] for i in rows], LABELS[rows])
    plain = model(class_weights=class_weights, batch_size=64).fit(TEXTS, LABELS)
    for name, weight in weights_of(copied).items():
        torch.testing.assert_close(weights_of(one)[name], weight, rtol=1e-4, atol=1e-5)
    assert any(
        not torch.allclose(w, weights_of(plain)[n], atol=1e-4) for n, w in weights_of(one).items()
    )


@pytest.mark.parametrize("policy", [NoMixup(), Mixup(), AMP(eps=0.1, site="sent")])
def test_equal_weights_are_none_and_zero_leaves_out(policy: Any) -> None:
    for weight in (1, 0.3):
        same = model(policy, batch_size=5).fit(TEXTS, LABELS, [weight] * 12)
        for name, value in weights_of(model(policy, batch_size=5).fit(TEXTS, LABELS)).items():
            assert torch.equal(weights_of(same)[name], value)
    kept = np.array([i for i in range(12) if i % 4])
    without = model(policy, batch_size=5).fit([TEXTS[i] for i in kept], LABELS[kept])
    zero = model(policy, batch_size=5).fit(TEXTS, LABELS, (np.arange(12) % 4 > 0).astype(float))
    assert all(torch.equal(weights_of(zero)[n], w) for n, w in weights_of(without).items())


def test_pairs_of_copies_are_counted() -> None:
    """All pairs of copies of three texts, one by one, against pairs of the texts with weights."""
    copies, loss = torch.tensor([3.0, 1.0, 2.0]), torch.rand(3, 3, dtype=torch.double)
    rows = [i for i in range(3) for _ in range(int(copies[i]))]
    one_by_one = sum(loss[i, j] for a, i in enumerate(rows) for b, j in enumerate(rows) if i != j)
    found = torch.tensor(0.0, dtype=torch.double)
    for perm in ([1, 2, 0], [2, 0, 1]):  # each pair of different texts once
        partners = torch.tensor(perm)
        mixed = Mixed(loss[torch.arange(3), partners], perm=partners)
        found += weighted(mixed, copies.double()).sum()
    assert found.item() == pytest.approx(float(one_by_one))
    alone = Mixed(loss.diagonal())
    assert torch.equal(weighted(alone, copies.double()), loss.diagonal() * copies)


@pytest.mark.parametrize("policy", [Mixup(), AMP(eps=0.1), "nonlinear"])
def test_every_policy_takes_weights(policy: Any) -> None:
    given = model(policy, batch_size=5).fit(TEXTS, LABELS, COPIES)
    plain = model(policy, batch_size=5).fit(TEXTS, LABELS)
    assert any(not torch.equal(w, weights_of(plain)[n]) for n, w in weights_of(given).items())
    assert np.isfinite(given.predict_proba(TEXTS)).all()


def test_scikit_learn_hands_weights_on() -> None:
    search = GridSearchCV(model(steps=1), {"policy": ["none", "mixup"]}, cv=2)
    search.fit(TEXTS, LABELS, sample_weight=COPIES)
    assert set(search.best_params_) == {"policy"}
    assert model().set_fit_request is not None


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ([1] * 11, "for 12 texts"),
        ([[1]] * 12, r"shape \[12, 1\]"),
        ([-1] + [1] * 11, r"sample_weight\[0\] is -1"),
        ([1] * 11 + [float("nan")], r"sample_weight\[11\] is nan"),
        (["a"] * 12, "no number"),
        ([0] * 12, "0 for all texts"),
        ([1, 0, 0] * 4, "one class only"),
    ],
)
def test_what_are_no_weights_is_said(weights: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        model().fit(TEXTS, LABELS, weights)


def test_fit_checks_its_weights() -> None:
    data = TextDataset("toy", ("a", "b"), Examples(tuple(TEXTS), LABELS))
    split = split_train(data, 0, dev_fraction=0.2)
    for weights, said in (([1.0], "for 10 texts"), ([0.0] + [1.0] * 9, "a weight is 0")):
        with pytest.raises(AmpmixError, match=said):
            fit(TextCNN(), NoMixup(), split, TrainConfig(steps=1), weights=weights)
    assert balanced_weights(np.array([0, 0, 1]), 2, np.array([1.0, 1.0, 2.0])).tolist() == [1, 1]
