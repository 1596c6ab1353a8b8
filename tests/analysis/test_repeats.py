"""Records of repeated cross-validation to rows: repeats, failures, collapses, families, looks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from ampmix import statistics
from ampmix.analysis import comparison
from ampmix.analysis.comparison import ComparisonRow
from ampmix.analysis.failures import collapsed
from ampmix.analysis.ladder import ladder, repeats_of
from ampmix.analysis.pairs import OutOfFold, paired_comparison
from ampmix.analysis.sentences import sentences
from ampmix.errors import AmpmixError
from ampmix.records.result import Result, problem_in, texts_tested
from ampmix.records.store import RunRecord

Records = dict[int, RunRecord]
K, N = 4, 80


def folds_of(repeats: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.stack([rng.permutation(np.arange(N) % K) for _ in range(repeats)])


def record(policy: str, seed: int, wrong: np.ndarray, test: np.ndarray, **more: Any) -> RunRecord:
    told = {
        "status": "done",
        "split_hash": f"split {seed}",
        "n_train": N - len(test) - 6,
        "n_dev": 6,
        "n_test": len(test),
        "test_wrong": "".join("1" if w else "0" for w in wrong[test]),
        "dev_error": 0.25,
    }
    groups = more.pop("groups", None)
    known = more.pop("known", True)
    fold = texts_tested(test, groups) if known else {}
    return RunRecord({"policy": policy, "seed": seed, "folds": K}, told | more, fold)


def runs(policy: str, wrong: np.ndarray, **more: Any) -> Records:
    """Records of ``wrong [R, N]``, run ``r * K + f`` being fold f of repeat r."""
    folds, made = folds_of(len(wrong)), {}
    for r, own in enumerate(wrong):
        for f in range(K):
            test = np.random.default_rng([r, f]).permutation(np.flatnonzero(folds[r] == f))
            made[r * K + f] = record(policy, r * K + f, own, test, **more)
    return made


def failed(one: RunRecord) -> RunRecord:
    told = {"status": "failed", "error": "the loss is nan", "split_hash": one.result.split_hash}
    return RunRecord(one.specification, told, {})


def drawn(seed: int, repeats: int = 3, share: float = 0.3) -> np.ndarray:
    return np.random.default_rng(seed).random((repeats, N)) < share


def rows(records: dict[str, Records], **more: Any) -> dict[str, ComparisonRow]:
    made = comparison.rows(records, "none", {}, True, **more)
    for row in made:
        json.dumps(row.as_json(), allow_nan=False)
    return {row.policy: row for row in made}


def test_repeats_are_compared_text_by_text_whatever_their_order_in_records() -> None:
    none, own = drawn(1), drawn(2, share=0.2)
    made = rows({"none": runs("none", none), "x": runs("x", own)})["x"]
    expected = statistics.repeated_difference(own, none, folds_of(3)).scaled(100)
    assert made.compared_by == "repeated-cv"
    assert made.difference == pytest.approx(expected.difference)
    assert made.interval == pytest.approx(expected.interval)
    assert made.p == pytest.approx(expected.p)
    assert repeats_of(runs("x", own)) == 3


def test_groups_in_the_records_are_the_units() -> None:
    none, own, groups = drawn(1), drawn(2), np.arange(N) // 2
    pair = {name: runs(name, w, groups=groups) for name, w in (("none", none), ("x", own))}
    expected = statistics.repeated_difference(own, none, folds_of(3), groups).scaled(100)
    assert rows(pair)["x"].interval == pytest.approx(expected.interval)


def test_one_repeat_and_records_without_indices_have_the_corrected_t() -> None:
    none, own = drawn(1), drawn(2)
    once = rows({"none": runs("none", none[:1]), "x": runs("x", own[:1])})["x"]
    assert once.compared_by == "corrected-resampled-t"
    older = {
        name: {**runs(name, wrong), **runs(name, wrong[:1], known=False)}
        for name, wrong in (("none", none), ("x", own))
    }
    made = rows(older)["x"]
    assert made.compared_by == "corrected-resampled-t"
    folds = folds_of(3)
    means = [
        100 * (own[r][folds[r] == f].mean() - none[r][folds[r] == f].mean())
        for r in range(3)
        for f in range(K)
    ]
    expected = statistics.corrected_resampled_t(means, N - N / K, N / K)
    assert made.interval == pytest.approx(expected.interval)


def test_few_labels_do_not_blind_the_folds() -> None:
    none, own = drawn(1, 1), drawn(2, 1)
    few = {"n_train": 4, "n_dev": 2}
    all_labels = rows({"none": runs("none", none), "x": runs("x", own)})["x"]
    some = rows({"none": runs("none", none, **few), "x": runs("x", own, **few)})["x"]
    assert some.interval == pytest.approx(all_labels.interval)


def test_a_policy_that_failed_in_one_repeat_is_paired_on_the_rest_and_said() -> None:
    none, own = drawn(1), drawn(1)
    own[:, :50] = False
    lost = runs("x", own)
    lost[5] = failed(lost[5])
    made = rows({"none": runs("none", none), "x": lost})["x"]
    kept = [0, 2]
    expected = statistics.repeated_difference(own[kept], none[kept], folds_of(3)[kept])
    assert made.difference == pytest.approx(100 * expected.difference)
    assert list(made.failures) == [5]
    assert expected.p < 0.05 and made.decision == "not decided"
    assert "1 of 12 runs of x failed" in made.verdict
    # where the claim stands even with the failed run counted as wrong on every text, it is made
    few, most = runs("none", drawn(3, share=0.1)), runs("x", drawn(4, share=0.9))
    bad = rows({"none": few, "x": {**most, 5: failed(lost[5])}})["x"]
    assert bad.decision == "higher error"


@pytest.mark.parametrize("lost", [1, 3])
def test_with_a_test_set_half_the_seeds_failing_leaves_no_claim(lost: int) -> None:
    rng = np.random.default_rng(3)
    none = rng.random((6, 200)) < 0.3
    better = none & (np.arange(200) % 4 > 0)

    def of(policy: str, wrong: np.ndarray) -> Records:
        test = np.arange(200)
        return {
            s: RunRecord(
                {"policy": policy, "seed": s},
                record(policy, s, w, test).result,
                {},
            )
            for s, w in enumerate(wrong)
        }

    whole = comparison.rows({"none": of("none", none), "amp": of("amp", better)}, "none", {}, False)
    assert whole[1].decision == "lower error"
    own = of("amp", better)
    own |= {s: failed(own[s]) for s in range(lost)}
    made = comparison.rows({"none": of("none", none), "amp": own}, "none", {}, False)[1]
    assert made.decision == "not decided"
    assert f"{lost} of 6 runs of amp failed" in made.verdict


def test_collapsed_runs_are_named_and_others_are_not() -> None:
    rng = np.random.default_rng(4)
    wrong = rng.random((5, N)) < 0.1
    usual = runs("x", wrong)
    assert collapsed(usual) == {}
    astray = wrong.copy()
    test = folds_of(5)[2] == 1
    astray[2, test] = rng.random(test.sum()) < 0.9
    found = collapsed(runs("x", astray))
    assert list(found) == [2 * K + 1]
    told = rows({"none": runs("none", wrong), "x": runs("x", astray)})
    said = sentences(
        {
            "rows": [row.as_json() for row in told.values()],
            "design": "cross-validation",
            "baseline": "none",
            "model": None,
        }
    )
    assert any("x: 1 of 20 runs collapsed (seed 9:" in s and "median error is" in s for s in said)


def test_ordinary_seeds_are_hardly_ever_called_collapsed() -> None:
    found = [collapsed(runs("x", drawn(seed, 5, 0.2))) for seed in range(200)]
    assert sum(map(bool, found)) <= 2


def test_the_family_is_what_was_tried_not_what_is_named() -> None:
    none = drawn(1)
    records = {"none": runs("none", none)}
    records |= {name: runs(name, drawn(i)) for i, name in enumerate("abc", start=5)}
    whole = rows(records)
    alone = rows({"none": records["none"], "a": records["a"]}, beside={n: records[n] for n in "bc"})
    assert alone["a"].p == whole["a"].p
    assert alone["a"].interval == whole["a"].interval
    assert list(alone) == ["none", "a"]
    shopping = rows({"none": records["none"], "a": records["a"]})
    assert shopping["a"].interval != whole["a"].interval


def test_a_margin_says_the_same_and_0_never_does() -> None:
    none = drawn(1)
    own = none.copy()
    own[:, 0] ^= True
    pair = {"none": runs("none", none), "x": runs("x", own)}
    assert rows(pair, margin=12.0)["x"].decision == "the same"
    assert rows(pair, margin=12.0)["x"].verdict == "the same to within 12 points"
    assert rows(pair, margin=0.0)["x"].decision == "no difference shown"
    with pytest.raises(AmpmixError, match="margin is -1"):
        rows(pair, margin=-1.0)


def test_looks_share_the_error_and_keep_the_first_claim() -> None:
    none = drawn(1, 4)
    better = none & (np.arange(N) % 3 > 0)
    own = {"none": runs("none", none), "a": runs("a", better), "b": runs("b", drawn(2, 4))}
    made = rows(own, looks=(2, 3, 4), most=6)
    by_look = [
        {
            name: paired_comparison(
                {s: r for s, r in own[name].items() if s < look * K},
                {s: r for s, r in own["none"].items() if s < look * K},
                True,
            )
            for name in ("a", "b")
        }
        for look in (2, 3, 4)
    ]
    expected = statistics.judge_in_turn(by_look, 6, margin=1.0)  # type: ignore[arg-type]
    for name in ("a", "b"):
        assert made[name].decision == expected.judgements[name].decision
        assert made[name].interval == expected.judgements[name].comparison.interval
    assert made["a"].verdict == "lower error (decided after 2)"
    once = rows(own, looks=(4,), most=4)
    assert once["b"].interval == rows(own)["b"].interval


@pytest.mark.parametrize("metric", ["macro-f1", "log-loss", "calibration"])
@pytest.mark.parametrize("repeats", [1, 3])
def test_other_metrics_are_compared_likewise(metric: str, repeats: int) -> None:
    rng = np.random.default_rng(7)
    labels = rng.integers(3, size=N)
    scores = rng.dirichlet([1, 1, 1], (2, repeats, N)).astype(np.float16).astype(np.float32)
    pair = {}
    for name, own in zip(("none", "x"), scores, strict=True):
        pair[name] = runs(name, own.argmax(2) != labels)
        for seed, one in pair[name].items():
            test = one.test_indices
            told = Result.tested(
                one.test_wrong, labels[test], own[seed // K][test], ("a", "b", "c")
            )
            pair[name][seed] = RunRecord(
                one.specification, one.result.as_json() | told, one.provenance
            )
    made = rows(pair, metric=metric)["x"]
    measured = statistics.metrics.METRICS[metric]
    a, b = (statistics.metrics.values_of(measured, labels, own) for own in scores[::-1])
    assert made.difference == pytest.approx(100 * (a - b).mean(), abs=1e-3)
    if repeats > 1:
        expected = statistics.repeated_difference(a, b, folds_of(repeats)).scaled(100)
        assert made.interval == pytest.approx(expected.interval, abs=1e-3)
    without = {
        name: runs(name, own.argmax(2) != labels) for name, own in zip(pair, scores, strict=True)
    }
    with pytest.raises(AmpmixError, match="needs probabilities"):
        rows(without, metric=metric)


def test_a_models_error_counts_a_text_once_however_often_it_was_tested() -> None:
    once, thrice = (ladder({"m": runs("m", drawn(1, r))}, True)[0] for r in (1, 3))
    assert once.interval and thrice.interval
    widths = [high - low for low, high in (once.interval, thrice.interval)]
    assert widths[1] == pytest.approx(widths[0], rel=0.2)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"test_indices": "!"}, "test_indices are no base64"),
        ({"test_indices": "AAAAAA=="}, "not n_test different texts"),
        ({"test_groups": "AAAAAA=="}, "not those of n_test texts"),
    ],
)
def test_damaged_indices_are_a_problem_of_the_record(fields: Any, said: str) -> None:
    one = runs("x", drawn(1, 1))[0]
    specification = {**one.specification, "dataset": "d", "data_hash": "h", "fraction": 1.0}
    assert problem_in(specification, one.result, one.provenance) == ""
    assert said in problem_in(specification, one.result, {**one.provenance, **fields})


def test_repeats_of_other_texts_are_not_put_together() -> None:
    records: Sequence[RunRecord] = list(runs("x", drawn(1, 2)).values())
    assert OutOfFold.of(records) is not None
    assert OutOfFold.of(records[:-1]) is None
    shifted = record("x", 7, drawn(1, 2)[1], np.arange(20))
    assert OutOfFold.of([*records[:-1], shifted]) is None
