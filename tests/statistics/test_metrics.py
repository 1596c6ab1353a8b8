"""Metrics as means over texts, against scikit-learn and the bootstrap."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sklearn

from ampmix.errors import AmpmixError
from ampmix.statistics import crossed_difference
from ampmix.statistics.metrics import METRICS, metric_of, values_of


def drawn(rng, seeds, texts, classes, sharp=1.0, labels=None):
    labels = rng.integers(classes, size=texts) if labels is None else labels
    logits = rng.standard_normal((seeds, texts, classes)) + sharp * np.eye(classes)[labels]
    scores = np.exp(logits)
    return labels, scores / scores.sum(axis=2, keepdims=True)


def naive_calibration(labels, scores):
    total, confidence, right = 0.0, scores.max(1), scores.argmax(1) == labels
    for b in range(10):
        inside = [i for i in range(len(labels)) if min(int(confidence[i] * 10), 9) == b]
        total += abs(sum(confidence[i] - right[i] for i in inside)) / len(labels)
    return total


EXPECTED = {
    "error": lambda y, s: 1 - sklearn.accuracy_score(y, s.argmax(1)),
    "macro-f1": lambda y, s: 1 - sklearn.f1_score(y, s.argmax(1), average="macro"),
    "log-loss": lambda y, s: sklearn.log_loss(y, s, labels=range(s.shape[1])),
    "calibration": naive_calibration,
}


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("classes", [2, 4])
def test_means_are_the_metrics(name, classes):
    labels, scores = drawn(np.random.default_rng(classes), 3, 60, classes)
    found = values_of(METRICS[name], labels, scores)
    assert found.shape == (3, 60)
    for values, one in zip(found, scores, strict=True):
        assert values.mean() == pytest.approx(EXPECTED[name](labels, one))


@pytest.mark.slow
@pytest.mark.parametrize("name", METRICS)
def test_variances_are_those_of_the_bootstrap(name):
    rng = np.random.default_rng(1)
    labels, scores = drawn(rng, 2, 400, 3)
    scores = scores**4 / (scores**4).sum(axis=2, keepdims=True)  # too sure: no bin is near zero
    values = values_of(METRICS[name], labels, scores)
    difference = values[0] - values[1]
    again = []
    for _ in range(400):
        chosen = rng.integers(400, size=400)
        one, other = (EXPECTED[name](labels[chosen], s[chosen]) for s in scores)
        again.append(one - other)
    assert difference.std(ddof=1) / 20 == pytest.approx(np.std(again), rel=0.15)


@pytest.mark.parametrize("name", ["macro-f1", "calibration", "log-loss"])
def test_intervals_cover(name):
    rng = np.random.default_rng(2)
    metric, held, found = METRICS[name], [], []
    for _ in range(300):
        labels, own = drawn(rng, 3, 120, 3, 1.2)
        _, other = drawn(rng, 3, 120, 3, 1.0, labels)
        tables = (values_of(metric, labels, scores) for scores in (own, other))
        found.append(crossed_difference(*tables))
    truth = np.mean([one.difference for one in found])
    held = [one.interval[0] <= truth <= one.interval[1] for one in found]
    assert 0.91 < np.mean(held) <= 1


def test_what_is_no_score_is_refused():
    labels, scores = drawn(np.random.default_rng(3), 1, 5, 2)
    with pytest.raises(AmpmixError, match="score is NaN"):
        values_of(METRICS["error"], labels, np.where(scores > 0.9, np.nan, scores) * np.nan)
    with pytest.raises(AmpmixError, match="needs probabilities"):
        values_of(METRICS["log-loss"], labels, scores * 3)
    with pytest.raises(AmpmixError, match="a score for each run"):
        values_of(METRICS["error"], labels[:-1], scores)
    with pytest.raises(AmpmixError, match="did you mean macro-f1"):
        metric_of("macro-f2")
