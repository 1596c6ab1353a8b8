"""`ampmix.judge` on anybody's runs: the statistics' own verdicts, and one sentence for mistakes."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import ampmix
from ampmix import statistics
from ampmix.errors import AmpmixError


def wrongs(seed: int, seeds: int = 5, texts: int = 400, share: float = 0.3) -> Any:
    return np.random.default_rng(seed).random((seeds, texts)) < share


def test_verdicts_are_those_of_the_statistics() -> None:
    none = wrongs(0)
    runs = {"none": none, "better": none & (np.arange(400) % 5 > 0), "as good": wrongs(1)}
    found = ampmix.judge(runs)
    compared = {
        name: statistics.crossed_difference(runs[name], none).scaled(100)
        for name in ("better", "as good")
    }
    expected = statistics.judge_together(compared, margin=1.0)
    for name, one in expected.items():
        assert found[name].decision == one.decision
        assert found[name].comparison.interval == pytest.approx(one.comparison.interval)
        assert found[name].p == pytest.approx(one.p)
    assert found["better"].decision == "lower error"
    assert found.means["none"] == pytest.approx(100 * none.mean())
    assert str(found).startswith("better: lower error (-")
    assert json.loads(json.dumps(found.as_json()))["rows"][0]["decision"] == "lower error"


def test_folds_make_them_repeats_of_cross_validation() -> None:
    rng = np.random.default_rng(2)
    none, own = wrongs(3, 3), wrongs(4, 3, share=0.2)
    folds = np.stack([rng.permutation(np.arange(400) % 5) for _ in range(3)])
    found = ampmix.judge({"none": none, "own": own}, folds=folds)["own"].comparison
    expected = statistics.repeated_difference(own, none, folds).scaled(100)
    assert found.interval == pytest.approx(expected.interval)
    groups = np.arange(400) // 2
    together = ampmix.judge({"none": none, "own": own}, folds=folds, groups=groups)
    assert together["own"].comparison.interval != pytest.approx(expected.interval)


def test_one_repeat_says_that_it_is_the_corrected_t() -> None:
    folds = np.arange(400) % 5
    found = ampmix.judge({"none": wrongs(5, 1), "own": wrongs(6, 1)}, folds=folds)
    assert found["own"].comparison.method == "corrected-resampled-t"
    assert "corrected resampled t; two or more repeats" in str(found)


@pytest.mark.parametrize("metric", ["error", "macro-f1", "log-loss", "calibration"])
def test_scores_and_labels_give_every_metric(metric: str) -> None:
    rng = np.random.default_rng(7)
    labels = rng.integers(3, size=300)
    scores = rng.dirichlet([1, 1, 1], (2, 4, 300))
    right = np.eye(3)[labels]
    runs = {"none": scores[0], "own": 0.5 * scores[1] + 0.5 * right}
    found = ampmix.judge(runs, labels=labels, metric=metric)
    # always right at 67 %: never sure enough
    assert found["own"].decision == ("higher error" if metric == "calibration" else "lower error")
    assert found.metric.loss in str(found)
    if metric == "error":
        wrong = {name: own.argmax(2) != labels for name, own in runs.items()}
        same = ampmix.judge(wrong)["own"].comparison
        assert found["own"].comparison.interval == pytest.approx(same.interval)
        classes = {name: own.argmax(2) for name, own in runs.items()}
        again = ampmix.judge(classes, labels=labels)["own"].comparison
        assert again.interval == pytest.approx(same.interval)


def test_texts_with_keys_are_put_in_one_order() -> None:
    none, own = wrongs(8), wrongs(9)
    keyed = {
        "none": [dict(enumerate(run.tolist())) for run in none],
        "own": [dict(reversed(list(enumerate(run.tolist())))) for run in own],
    }
    plain = ampmix.judge({"none": none, "own": own})
    assert ampmix.judge(keyed)["own"].comparison == plain["own"].comparison


def test_a_claim_of_runs_that_half_failed_is_not_decided() -> None:
    none = wrongs(10, 6)
    better = list(none & (np.arange(400) % 3 > 0))
    runs: dict[str, Any] = {"none": none, "own": [None, None, None, *better[3:]]}
    found = ampmix.judge(runs)
    assert found["own"].decision == "not decided"
    assert "3 of 6 runs failed" in str(found)
    assert found.as_json()["rows"][0]["failed"] == ["0", "1", "2"]
    # all of the baseline's but one failed, and the claim stands whatever these had been
    whole = ampmix.judge({"none": none, "own": np.array(better)})
    assert whole["own"].decision == "lower error"


def test_identical_runs_have_an_exact_bound_and_many_are_the_same() -> None:
    none = wrongs(11)
    found = ampmix.judge({"none": none, "own": none})["own"]
    bound = 100 * (1 - 0.05 ** (1 / 400))
    assert found.comparison.interval == pytest.approx((-bound, bound))
    assert found.decision == "the same"
    assert ampmix.judge({"none": none, "own": none}, margin=0)["own"].decision != "the same"
    assert ampmix.judge({"none": none, "own": none}, margin=0.1)["own"].decision != "the same"


def test_what_is_shown_is_bounded_and_escaped() -> None:
    runs = {f"<b>{i}</b>" * 20: wrongs(i) for i in range(30)}
    found = ampmix.judge(runs)
    assert len(repr(found)) < 450
    page = found._repr_html_()
    assert "<b>" not in page
    assert page.count("<circle") == 29
    assert len(page) < 60_000


@pytest.mark.parametrize(
    ("runs", "more", "said"),
    [
        ({"none": wrongs(0)}, {}, "1 policy: give two or more"),
        ({"none": wrongs(0), "own": wrongs(0, 4)}, {}, "own has seeds 0, 1, 2, 3 and none has"),
        ({"none": {1: wrongs(0)[0]}, "own": {2: wrongs(0)[0]}}, {}, "own has seeds 2 and none"),
        ({"none": wrongs(0), "own": wrongs(0, texts=9)}, {}, "9 texts and none on 400"),
        ({"none": [{"a": 1, "b": 0}], "own": [{"a": 1, "c": 0}]}, {}, "such as '[bc]'"),
        ({"none": [{"a": 1}, {"b": 0}], "own": wrongs(0)}, {}, "other texts than with 0"),
        ({"none": wrongs(0), "own": wrongs(0) * np.nan}, {}, "own, seed 0: 400 values are NaN"),
        ({"none": wrongs(0), "own": wrongs(0) * 3}, {}, "not 0 or 1"),
        ({"none": wrongs(0), "own": [["x"] * 400] * 5}, {}, "no numbers"),
        ({"none": wrongs(0), "own": [None] * 5}, {}, "all 5 runs of own failed"),
        ({"none": wrongs(0), "own": wrongs(1)}, {"baseline": "x"}, "'x' has no runs"),
        ({"none": wrongs(0), "own": wrongs(1)}, {"metric": "log-loss"}, "needs labels"),
        ({"none": wrongs(0), "own": wrongs(1)}, {"metric": "f1"}, "unknown metric 'f1'"),
        ({"none": wrongs(0), "own": wrongs(1)}, {"margin": -1}, "margin is -1"),
        ({"none": wrongs(0), "own": wrongs(1)}, {"folds": [0, 1]}, "the fold of each of 400"),
        ({"none": wrongs(0), "own": wrongs(1)}, {"labels": [0.5] * 400}, "a whole number from 0"),
        ({"none": wrongs(0), "own": wrongs(1)}, {"labels": [0] * 3}, "3 labels"),
        (
            {"none": wrongs(0), "own": wrongs(1)},
            {"labels": [0] * 400, "metric": "log-loss"},
            "a row of probabilities",
        ),
    ],
)
def test_mistakes_get_a_sentence(runs: Any, more: Any, said: str) -> None:
    with pytest.raises(AmpmixError, match=said):
        ampmix.judge(runs, **more)


def test_one_seed_is_not_decided() -> None:
    found = ampmix.judge({"none": wrongs(0, 1), "own": wrongs(1, 1)})
    assert found["own"].decision == "not decided"
    assert "one seed says nothing about new seeds" in str(found)
