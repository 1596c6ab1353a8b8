"""Selective prediction against a loop over thresholds."""

from __future__ import annotations

import numpy as np

from ampmix.analysis.abstention import abstention, abstention_sentence
from ampmix.statistics import calibrated, risk_coverage


def outcomes() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    table = np.round(rng.dirichlet([1, 1, 1], size=60), 1)  # with equals
    return table, rng.integers(3, size=60)


def test_risk_coverage_is_that_of_a_loop_over_thresholds() -> None:
    table, labels = outcomes()
    expected = []
    for threshold in sorted({max(row) for row in table.tolist()}, reverse=True):
        kept = [i for i in range(60) if max(table[i]) >= threshold]
        wrong = sum(int(np.argmax(table[i])) != labels[i] for i in kept)
        expected.append((len(kept) / 60, wrong / len(kept), threshold))
    np.testing.assert_allclose(np.stack(risk_coverage(table, labels), 1), expected)


def test_points_of_abstention_hold_for_who_keeps_what_is_above_the_confidence() -> None:
    table, labels = outcomes()
    points = abstention(table, labels)
    assert points[-1]["coverage"] == 100
    assert [p["coverage"] for p in points] == sorted({p["coverage"] for p in points})
    for point in points:
        kept = table.max(1) >= point["confidence"]
        assert 100 * kept.mean() == point["coverage"]
        assert np.isclose(100 * (table.argmax(1) != labels)[kept].mean(), point["error"])


def test_the_sentence_names_a_threshold_that_keeps_what_it_says() -> None:
    table = np.array([[0.9, 0.1]] * 3 + [[0.71239, 0.28761]] * 5 + [[0.6, 0.4]] * 2)
    said = abstention_sentence(abstention(table, np.array([0] * 7 + [1] * 3)))
    assert "On the 80 % of texts" in said and "probability 0.712 or more" in said
    assert "errs on 12.5 %, on all of them on 30.0 %" in said
    assert not abstention_sentence(abstention(np.full((4, 2), 0.5), np.zeros(4, int)))


def test_calibrated_probabilities_are_softmax_of_scaled_logits() -> None:
    table, _ = outcomes()
    p = np.maximum(table, 1e-7)
    for hot in (0.5, 1.0, 3.0):
        naive = np.array([[x ** (1 / hot) / sum(y ** (1 / hot) for y in row) for x in row]
                          for row in p.tolist()])  # fmt: skip
        np.testing.assert_allclose(calibrated(table, hot), naive, atol=1e-12)
