"""Verdicts on several comparisons at once: false claims, intervals, power, by simulation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from ampmix.statistics import (
    Comparison,
    crossed_difference,
    decide,
    judge_together,
    repeated_difference,
    verdict,
    within,
    would_decide,
)


def studies(rng, truths, seeds=5, texts=40, spread=0.2):
    """Differences of policies to one baseline, whose noise they share."""
    baseline = rng.standard_normal((seeds, texts)) + spread * rng.standard_normal((seeds, 1))
    made = {}
    for name, truth in truths.items():
        own = rng.standard_normal((seeds, texts)) + spread * rng.standard_normal((seeds, 1))
        made[name] = crossed_difference(own + truth, baseline)
    return made


@pytest.mark.slow
@pytest.mark.parametrize("margin", [0.0, 0.5])
def test_any_false_claim_is_rare_and_all_intervals_hold(margin):
    rng, truths = np.random.default_rng(0), {"a": 0.0, "b": 0.5, "c": -1.0}
    false, missed, n = 0, 0, 400
    for _ in range(n):
        judged = judge_together(studies(rng, truths, spread=1.0), margin=margin)
        said = {name: one.decision for name, one in judged.items()}
        wrong_sign = said["a"].endswith("error") or said["b"] == "lower error"
        wrong_sign |= said["c"] == "higher error"
        false += wrong_sign or said["b"] == "the same" or said["c"] == "the same"
        missed += any(
            not one.comparison.interval[0] <= truths[name] <= one.comparison.interval[1]
            for name, one in judged.items()
        )
        for name, one in judged.items():  # what is shown is what the interval says
            low, high = one.comparison.interval
            assert (low >= 0 or high <= 0) == said[name].endswith("error")
    assert false / n < 0.065
    assert missed / n < 0.065


@pytest.mark.slow
def test_power_at_what_could_have_been_shown_is_that_of_the_corrected_test():
    rng = np.random.default_rng(1)
    alone, together = [], []
    for _ in range(400):
        made = studies(rng, dict.fromkeys("abcd", 0.0), texts=30)
        found = judge_together(made)["a"].comparison
        low, high = found.interval
        at_stated = found.difference + math.copysign(found.detectable, rng.standard_normal())
        together.append(abs(at_stated) > (high - low) / 2)
        uncorrected = found.difference + made["a"].detectable
        alone.append(abs(uncorrected) > (high - low) / 2)
    assert 0.75 < np.mean(together) < 0.85
    assert np.mean(alone) < 0.65  # what a single test could show, four together do not


def test_the_same_is_said_by_two_one_sided_tests():
    rng = np.random.default_rng(2)
    for _ in range(40):
        made = studies(rng, {"a": 0.0}, texts=200)["a"]
        low, high = made.at(0.9).interval
        for margin in (0.1, 0.2, 0.4):
            expected = -margin < low and high < margin
            assert within(made, margin) == expected
            if expected and made.p > 0.05:
                assert decide(made, made.p, margin=margin) == "the same"
                assert verdict(made, made.p, unit="points", margin=margin).startswith("the same to")
        assert decide(made, 1.0, margin=0.0) == "no difference shown"
        assert decide(made, 1.0, margin=1e9) == "the same"
        # of several comparisons each is tested more strictly
        assert within(made, 0.2, family=5) <= within(made, 0.2)


def test_a_shown_difference_may_be_smaller_than_what_matters():
    one = crossed_difference(*_shifted(0.05))
    assert verdict(one, one.p, margin=0.5) == "higher error, by less than 0.5 points"
    assert verdict(one, one.p, margin=0.01) == "higher error"


def _shifted(by):
    rng = np.random.default_rng(3)
    own = 0.05 * rng.standard_normal((5, 100))
    return own + by, np.zeros_like(own)


def test_identical_answers_of_many_texts_are_the_same_of_few_are_not():
    for texts, decision in ((2000, "the same"), (100, "no difference shown")):
        wrong = np.random.default_rng(4).random((3, texts)) < 0.2
        folds = np.tile(np.arange(texts) % 5, (3, 1))
        for found in (crossed_difference(wrong, wrong), repeated_difference(wrong, wrong, folds)):
            found = found.scaled(100)
            assert decide(found, found.p, margin=1.0) == decision
            assert found.interval != (0, 0)


def test_runs_needed_are_the_fewest_whose_expected_interval_decides():
    rng = np.random.default_rng(5)
    checked = 0
    for _ in range(60):
        folds = np.stack([rng.permutation(np.arange(100) % 5) for _ in range(2)])
        d = 0.25 + rng.standard_normal((2, 100))
        found = repeated_difference(d, np.zeros_like(d), folds)
        needed = would_decide(found)
        if found.p <= 0.05 or needed is None:
            continue
        reach = found.reach_after
        assert reach(needed, 0.025) < abs(found.difference)
        for fewer in range(3, needed):
            assert reach(fewer, 0.025) >= abs(found.difference)
        checked += 1
    assert checked > 5


def test_more_runs_cannot_help_where_texts_are_too_few():
    rng = np.random.default_rng(6)
    of_texts = rng.standard_normal(50)
    d = np.tile(of_texts - of_texts.mean() + 0.1, (3, 1)) + 0.01 * rng.standard_normal((3, 50))
    one = judge_together({"amp": crossed_difference(d, np.zeros_like(d))})["amp"]
    assert one.runs_needed is None
    assert one.advice.startswith("more seeds cannot help")


def test_expected_reach_at_the_runs_there_are_is_the_interval():
    rng = np.random.default_rng(7)
    d = rng.standard_normal((4, 50)) + rng.standard_normal(50) + rng.standard_normal((4, 1))
    found = crossed_difference(d, np.zeros_like(d))
    low, high = found.interval
    assert found.reach_after(4, 0.025) == pytest.approx((high - low) / 2, rel=0.05)
    scaled = found.scaled(100)
    assert scaled.reach_after(9, 0.025) == pytest.approx(100 * found.reach_after(9, 0.025))
    assert scaled.at(0.5).interval == pytest.approx(tuple(100 * b for b in found.at(0.5).interval))


def test_a_step_of_holms_ends_the_interval_at_zero():
    rng, reached = np.random.default_rng(8), 0
    for _ in range(300):
        for one in judge_together(studies(rng, {"a": 0.35, "b": 2.0})).values():
            if one.comparison.interval[0] == 0:
                assert one.decision == "higher error"
                assert 0.025 < one.comparison.p <= 0.05
                reached += 1
    assert reached


def test_what_has_no_data_keeps_its_interval():
    one = Comparison(-1.2, 0.3, (-2.0, -0.4), 0.016, 1.1, 5, "crossed")
    judged = judge_together({"a": one, "b": one})
    assert [j.comparison.interval for j in judged.values()] == [(-2.0, -0.4)] * 2
    with pytest.raises(ValueError, match="no data"):
        one.at(0.9)


@pytest.mark.parametrize("margin", [-1.0, math.nan])
def test_a_margin_is_no_negative_number(margin):
    one = next(itertools.islice(studies(np.random.default_rng(9), {"a": 0.0}).values(), 1))
    with pytest.raises(ValueError, match="margin must be 0 or more"):
        decide(one, 0.5, margin=margin)
