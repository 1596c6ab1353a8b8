"""From records to rows: errors, paired differences, Holm, verdicts, the paper's numbers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ampmix
from ampmix import statistics
from ampmix._support import components
from ampmix.analysis import comparison
from ampmix.analysis.comparison import ComparisonRow, best_policy, paper_cells
from ampmix.errors import AmpmixError
from ampmix.records.store import RunRecord

Records = dict[int, RunRecord]


def done(policy: str, seed: int, wrong: str, dev: float | None = 0.25, **more: object) -> RunRecord:
    result = {
        "status": "done",
        "split_hash": f"split {seed}",
        "n_train": 90,
        "n_dev": 10,
        "n_test": len(wrong),
        "test_wrong": wrong,
        "test_error": wrong.count("1") / len(wrong),
    }
    if dev is not None:
        result["dev_error"] = dev
    return RunRecord({"policy": policy, "seed": seed}, result | more, {})


def failed(policy: str, seed: int) -> RunRecord:
    result = {
        "status": "failed",
        "split_hash": f"split {seed}",
        "error": "the loss is nan at step 7",
    }
    return RunRecord({"policy": policy, "seed": seed}, result, {})


def runs(policy: str, wrongs: Sequence[str], dev: float | None = 0.25) -> Records:
    return {seed: done(policy, seed, wrong, dev) for seed, wrong in enumerate(wrongs)}


def rows(
    records: dict[str, Records], baseline: str = "none", cross_validated: bool = False
) -> dict[str, ComparisonRow]:
    made = comparison.rows(records, baseline, {}, cross_validated)
    assert [row.policy for row in made] == list(records)
    for row in made:
        json.dumps(row.as_json(), allow_nan=False)
    return {row.policy: row for row in made}


def matrix(wrongs: Sequence[str]) -> np.ndarray:
    return np.array([[c == "1" for c in wrong] for wrong in wrongs])


NONE = ["1100100000", "1110000000", "0100100000", "1100000100"]
MIXUP = ["1000000000", "1000000000", "0000100000", "0100000000"]
AMP = ["1100100010", "1010010000", "0110100000", "1100010100"]
YARD = ["0000100000", "0000000001", "0000000001", "0000000001"]


def test_errors_are_percent_by_seed() -> None:
    row = rows({"none": runs("none", NONE)})["none"]
    assert row.errors == pytest.approx((30, 30, 20, 30))
    assert row.seeds == (0, 1, 2, 3)
    assert row.mean == pytest.approx(27.5)
    assert row.std == pytest.approx(5.0)  # of a sample: sqrt((3 * 2.5**2 + 7.5**2) / 3)
    assert row.dev_error == pytest.approx(25)
    assert (row.decision, row.difference, row.interval, row.p) == ("baseline", None, None, None)


def test_with_a_test_set_seeds_and_texts_are_crossed() -> None:
    made = rows({"none": runs("none", NONE), "mixup": runs("mixup", MIXUP)})["mixup"]
    expected = statistics.crossed_difference(matrix(MIXUP), matrix(NONE))
    assert made.difference == pytest.approx(100 * (10 - 27.5) / 100)
    assert expected.interval is not None
    assert made.interval == pytest.approx([100 * bound for bound in expected.interval])
    assert made.p == pytest.approx(expected.p)


def test_in_cross_validation_folds_are_compared_with_the_corrected_variance() -> None:
    records = {"none": runs("none", NONE), "mixup": runs("mixup", MIXUP)}
    made = rows(records, cross_validated=True)["mixup"]
    d = np.array([-20.0, -20.0, -10.0, -20.0])
    error = np.sqrt((1 / 4 + 10 / 100) * d.var(ddof=1))  # training and development texts: 100
    t = 3.182446305284263  # 97.5 % of Student's t with 3 degrees of freedom
    assert made.difference == pytest.approx(-17.5)
    assert made.interval == pytest.approx((-17.5 - t * error, -17.5 + t * error))


def test_folds_may_differ_in_size() -> None:
    records = {
        "none": {0: done("none", 0, "1100"), 1: done("none", 1, "110")},
        "mixup": {0: done("mixup", 0, "1000"), 1: done("mixup", 1, "111")},
    }
    made = rows(records, cross_validated=True)["mixup"]
    assert made.difference == pytest.approx(100 * (-1 / 4 + 1 / 3) / 2)


@pytest.mark.parametrize(
    ("own", "decision"), [("0" * 10, "lower error"), ("1" * 8 + "00", "higher error")]
)
def test_clear_differences_have_their_name(own: str, decision: str) -> None:
    baseline = ["1111000000", "1110000000", "1111000000", "1101000000"]
    made = rows({"none": runs("none", baseline), "x": runs("x", [own] * 4)}, cross_validated=True)
    assert made["x"].decision == decision
    assert made["x"].verdict.startswith(decision)
    assert made["x"].interval is not None
    assert made["x"].interval[0] * made["x"].interval[1] > 0


def test_no_difference_shown_names_the_smallest_that_could_have_been() -> None:
    made = rows({"none": runs("none", NONE), "amp": runs("amp", AMP)})["amp"]
    assert made.decision == "no difference shown"
    assert made.detectable is not None
    assert f"{made.detectable:.0f} points" in made.verdict


def test_holm_runs_over_the_policies_and_leaves_the_baseline_out() -> None:
    records = {
        "tfidf-logreg": runs("tfidf-logreg", YARD, dev=None),
        "none": runs("none", NONE),
        "mixup": runs("mixup", MIXUP),
        "amp": runs("amp", AMP),
        "other": runs("other", NONE[1:] + NONE[:1]),
    }
    made = rows(records)
    raw = {}
    for name, wrongs in (("tfidf-logreg", YARD), ("mixup", MIXUP), ("amp", AMP)):
        raw[name] = statistics.crossed_difference(matrix(wrongs), matrix(NONE)).p
    raw["other"] = statistics.crossed_difference(matrix(NONE[1:] + NONE[:1]), matrix(NONE)).p
    assert made["tfidf-logreg"].p == raw["tfidf-logreg"]
    ordered = sorted(("mixup", "amp", "other"), key=lambda name: raw[name])
    largest = 0.0
    for rank, name in enumerate(ordered):
        largest = max(largest, min(1.0, (3 - rank) * raw[name]))
        assert made[name].p == pytest.approx(largest), name
    assert made["mixup"].p > raw["mixup"]  # so that the correction is seen at all


def test_another_baseline() -> None:
    records = {"mixup": runs("mixup", MIXUP), "amp": runs("amp", AMP)}
    made = rows(records, baseline="mixup")
    assert made["mixup"].decision == "baseline"
    assert made["amp"].difference == pytest.approx(100 * np.mean(matrix(AMP)) - 10)


@pytest.mark.parametrize("cross_validated", [False, True])
def test_one_seed_decides_nothing(cross_validated: bool) -> None:
    records = {"none": runs("none", NONE[:1]), "mixup": runs("mixup", MIXUP[:1])}
    made = rows(records, cross_validated=cross_validated)
    row = made["mixup"]
    assert row.decision == "not decided"
    assert row.verdict.startswith("not decided: one ")
    assert row.difference == pytest.approx(-20)
    assert (row.std, row.interval, row.p, row.detectable) == (None, None, None, None)
    assert made["none"].std is None


def test_the_baseline_alone() -> None:
    made = rows({"tfidf-logreg": runs("tfidf-logreg", YARD, dev=None), "none": runs("none", NONE)})
    assert made["none"].decision == "baseline"
    assert made["tfidf-logreg"].difference == pytest.approx(-17.5)
    assert made["tfidf-logreg"].dev_error is None


def test_a_policy_all_of_whose_runs_failed() -> None:
    records = {
        "none": runs("none", NONE),
        "mixup": {seed: failed("mixup", seed) for seed in range(4)},
        "amp": runs("amp", AMP),
    }
    made = rows(records)
    row = made["mixup"]
    assert (row.errors, row.seeds, row.mean, row.std) == ((), (), None, None)
    assert (row.difference, row.p, row.dev_error) == (None, None, None)
    assert row.decision == "not decided"
    assert row.failures == dict.fromkeys(range(4), "the loss is nan at step 7")
    assert row.as_json()["failures"]["3"] == "the loss is nan at step 7"
    # a comparison that could not be made does not count for Holm
    assert made["amp"].p == statistics.crossed_difference(matrix(AMP), matrix(NONE)).p


def test_seeds_that_failed_for_one_are_left_out_of_the_pairs() -> None:
    records = {"none": runs("none", NONE), "mixup": runs("mixup", MIXUP)}
    records["none"][1] = failed("none", 1)
    records["mixup"][3] = failed("mixup", 3)
    made = rows(records)
    assert made["none"].seeds == (0, 2, 3)
    assert made["none"].errors == pytest.approx((30, 20, 30))
    assert made["mixup"].seeds == (0, 1, 2)
    expected = statistics.crossed_difference(
        matrix([MIXUP[0], MIXUP[2]]), matrix([NONE[0], NONE[2]])
    )
    assert made["mixup"].difference == pytest.approx(100 * expected.difference)
    assert made["mixup"].p == pytest.approx(expected.p)
    assert set(made["mixup"].failures) == {3}


def test_runs_that_redrew_their_training_sets_are_judged_for_new_ones() -> None:
    none = ["1" * errors + "0" * (60 - errors) for errors in (20, 32, 28, 24)]
    mixup = ["1" * errors + "0" * (60 - errors) for errors in (19, 12, 20, 23)]

    def of(**redrawn: Any) -> ComparisonRow:
        made = {"none": runs("none", none), "mixup": runs("mixup", mixup)}
        for own in made.values():
            for seed, record in own.items():
                told = {**record.specification, "fraction": 0.5, **redrawn}
                own[seed] = replace(record, specification=told)
        return rows(made)["mixup"]

    plain, redrawn = of(), of(redraw=True)
    expected = statistics.crossed_difference(matrix(mixup), matrix(none), overlap=0.5)
    assert redrawn.p == pytest.approx(expected.p)
    assert plain.p is not None and redrawn.p is not None and redrawn.p > plain.p
    assert redrawn.difference == plain.difference


def test_pairs_go_by_seed_whatever_the_order_of_the_records() -> None:
    straight = {"none": runs("none", NONE), "mixup": runs("mixup", MIXUP)}
    turned = {name: dict(reversed(own.items())) for name, own in straight.items()}
    turned["none"] = straight["none"]
    one, other = rows(straight)["mixup"], rows(turned)["mixup"]
    assert other.errors == one.errors
    assert other.seeds == one.seeds
    assert other.p == pytest.approx(one.p)
    assert other.interval == pytest.approx(one.interval)


def test_a_baseline_all_of_whose_runs_failed() -> None:
    records = {
        "tfidf-logreg": runs("tfidf-logreg", YARD, dev=None),
        "none": {seed: failed("none", seed) for seed in range(4)},
        "mixup": runs("mixup", MIXUP),
    }
    made = rows(records)
    assert made["none"].decision == "baseline"
    assert made["none"].mean is None
    for name in ("tfidf-logreg", "mixup"):
        assert made[name].decision == "not decided"
        assert made[name].mean is not None
        assert made[name].p is None


def test_records_of_different_splits_are_never_paired() -> None:
    records = {"none": runs("none", NONE), "mixup": runs("mixup", MIXUP)}
    records["mixup"][2] = done("mixup", 2, MIXUP[2], split_hash="another")
    with pytest.raises(AmpmixError, match="seed 2 mixup was tested on another and none on split 2"):
        rows(records)


def test_the_best_policy_is_that_of_lowest_development_error_never_test_error() -> None:
    records = {
        "tfidf-logreg": runs("tfidf-logreg", ["0" * 10] * 4, dev=None),
        "none": runs("none", ["0" * 10] * 4, dev=0.3),
        "mixup": runs("mixup", ["1" * 10] * 4, dev=0.2),
        "amp": runs("amp", AMP, dev=0.2),
    }
    best = best_policy(list(rows(records).values()))
    assert best is not None
    assert best.policy == "mixup"  # of equals the first
    records["amp"] = runs("amp", AMP, dev=0.0)
    best = best_policy(list(rows(records).values()))
    assert best is not None
    assert best.policy == "amp"


def test_no_best_policy_if_every_run_failed() -> None:
    records = {"tfidf-logreg": runs("tfidf-logreg", YARD, dev=None), "none": {0: failed("none", 0)}}
    assert best_policy(list(rows(records).values())) is None


@pytest.mark.parametrize(
    ("spec", "error", "std"),
    [
        ("none", 8.8, 0.86),
        ("mixup", 8.3, 0.71),
        ("amp", 8.4, 0.92),
        ("mixup[site=sent]", 8.3, 0.63),
        ("amp[site=sent]", 8.1, 0.71),
    ],
)
def test_the_papers_cells_for_trec(spec: str, error: float, std: float) -> None:
    policy = components.parse(spec, "ampmix.policies", "policy")
    cells = paper_cells("TREC", "cnn-rand", {spec: policy.reference_name})
    assert cells == {spec: {"error": error, "std": std}}


@pytest.mark.parametrize(
    "spec", ["amp[eps=0.1]", "amp[min_op=false]", "mixup[alpha=0.4]", "amp[site=sent,eps=0.0]"]
)
def test_the_paper_has_no_cell_for_other_settings(spec: str) -> None:
    policy = components.parse(spec, "ampmix.policies", "policy")
    assert paper_cells("TREC", "cnn-rand", {spec: policy.reference_name}) == {}


def test_the_paper_has_no_cell_for_other_data_or_backbones() -> None:
    assert paper_cells("", "cnn-rand", {"none": "none"}) == {}
    assert paper_cells("TREC", "", {"none": "none"}) == {}
    assert paper_cells("trec", "cnn-rand", {"none": "none"}) == {}
    assert paper_cells("TREC", "cnn-rand", {"none": ""}) == {}


def test_import_ampmix_is_light() -> None:
    heavy = ["polars", "sklearn", "scipy", "rich", "safetensors", "transformers", "pandas"]
    code = f"import sys, ampmix; print([m for m in {heavy!r} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "[]"


def test_records_statistics_summary_and_report_need_no_torch() -> None:
    """The package's __init__ imports torch, so its modules are imported without it here."""
    folder = str(Path(ampmix.__file__).parent)
    code = (
        "import sys, types; sys.modules['torch'] = None\n"
        f"package = types.ModuleType('ampmix'); package.__path__ = [{folder!r}]\n"
        "sys.modules['ampmix'] = package\n"
        "import ampmix.records.store, ampmix.statistics, ampmix.analysis.comparison\n"
        "import ampmix.terminal.comparison, ampmix.terminal.progress\n"
        "try:\n    import ampmix.mixing\nexcept ImportError:\n    print('torch is barred')\n"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "torch is barred"
