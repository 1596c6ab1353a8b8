"""What stands behind errors: flipped labels, confused classes, abstention."""

from __future__ import annotations

import numpy as np
import pytest

from ampmix.analysis.errors import (
    conflicts,
    confused_pairs,
    errors,
    label_issues,
    mean_probabilities,
)


def flipped(n: int = 300, classes: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities of a good model, labels of which some are flipped, and which ones are."""
    rng = np.random.default_rng(1)
    true = rng.integers(classes, size=n)
    logits = rng.normal(size=(n, classes)) * 0.3 + 4 * np.eye(classes)[true]
    table = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    bad = rng.permutation(n)[: n // 20]
    labels = true.copy()
    labels[bad] = (labels[bad] + 1) % classes
    return table, labels, bad


def test_flipped_labels_are_found_as_many_as_cleanlab_counts() -> None:
    counts = pytest.importorskip("cleanlab.count")
    ranks = pytest.importorskip("cleanlab.rank")
    table, labels, bad = flipped()
    found = label_issues(table, labels)
    assert set(found.tolist()) <= set(bad.tolist())
    assert len(found) >= 0.9 * len(bad)
    scores = ranks.get_label_quality_scores(labels, table, method="self_confidence")
    count = counts.num_label_issues(labels, table)
    assert found.tolist() == np.argsort(scores, kind="stable")[:count].tolist()


def test_runs_on_one_text_are_averaged_and_untested_texts_are_told() -> None:
    first = np.array([[0.2, 0.8], [0.5, 0.5]])
    second = np.array([[0.4, 0.6]])
    table = mean_probabilities([(np.array([0, 2]), first), (np.array([0]), second)], 3, 2)
    np.testing.assert_allclose(table[0], [0.3, 0.7])
    np.testing.assert_allclose(table[2], [0.5, 0.5])
    assert np.isnan(table[1]).all()


def test_pairs_of_classes_and_equal_texts() -> None:
    table = np.array([[0.1, 0.9], [0.3, 0.7], [0.2, 0.8], [np.nan, np.nan], [0.9, 0.1]])
    labels = np.array([0, 0, 1, 0, 1])
    pairs = confused_pairs(table, labels)
    told = [(p["label"], p["predicted"], p["texts"]) for p in pairs]
    assert told == [(0, 1, [0, 1]), (1, 0, [4])]
    texts = ["A film", "a book", "a  FILM", "a book", "x"]
    assert conflicts(texts, labels) == ((0, 2),)


def test_errors_of_several_models() -> None:
    pytest.importorskip("cleanlab")
    table, labels, bad = flipped()
    other = table.copy()
    other[bad[0]] = np.eye(3)[labels[bad[0]]]  # this model has the flipped label too
    texts = [f"text {i}" for i in range(len(labels))]
    found = errors(texts, labels, {"a": table, "b": other}, "a")
    assert set(found.all_wrong) == set(bad[1:].tolist())
    assert found.mislabelled == tuple(label_issues(table, labels).tolist())
    assert 0 < found.coverage <= 0.8
    sure = np.sort(-table.max(1))[: round(found.coverage * len(labels))].max()
    kept = -table.max(1) <= sure
    assert found.kept_error == pytest.approx((table.argmax(1) != labels)[kept].mean())
