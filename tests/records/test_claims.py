"""Verdicts on printed differences: the definition case by case, and its rates of error."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from ampmix.errors import AmpmixError
from ampmix.statistics import Comparison, Printed, claim_verdict, crossed_difference, judge_claim

T_OF_TEN = stats.t(9).isf(0.025)


def ours(difference: float, half: float) -> Comparison:
    """A comparison of ten seeds with that half-width; p does not enter."""
    interval = (difference - half, difference + half)
    return Comparison(difference, half / T_OF_TEN, interval, 0.5, 1.4 * half, 10, "crossed")


def printed(difference: float, noise: float = 0.0) -> Printed:
    """A printed difference whose noise has that half-width."""
    std = noise * math.sqrt(10 / 2) / stats.t(18).isf(0.025)  # two equal ones: 18 degrees
    return Printed(10 + difference, 10, std, std, 10)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("difference", "half", "size", "noise", "expected"),
    [
        (1.0, 0.5, 1.0, 0.0, "reproduced"),
        (1.0, 0.5, 1.4, 0.0, "reproduced"),  # the printed size is within our interval
        (1.0, 0.5, 1.6, 0.0, "contradicted"),  # same sign, but we exclude as much as that
        (1.0, 0.5, 1.6, 0.4, "reproduced"),  # hypot(0.5, 0.4) = 0.64 reaches from 1.0 to 1.6
        (1.0, 0.5, 1.7, 0.4, "contradicted"),
        (5.0, 0.5, 1.0, 0.0, "reproduced"),  # ours is larger
        (0.3, 0.5, 0.7, 0.0, "not decided"),  # both 0 and the printed size are within
        (0.3, 0.5, 0.9, 0.0, "contradicted"),  # 0.8 at most
        (-0.3, 0.5, 0.1, 0.0, "not decided"),
        (-0.3, 0.5, 0.1, 9.0, "not decided"),
        (-1.0, 0.5, 0.1, 0.0, "contradicted"),
        (-1.0, 0.5, 0.1, 9.0, "contradicted"),  # the other sign is shown, however noisy theirs
        (0.5, 0.5, 0.5, 0.0, "not decided"),  # the limit is zero itself
    ],
)
def test_definition(
    sign: int, difference: float, half: float, size: float, noise: float, expected: str
) -> None:
    assert judge_claim(ours(sign * difference, half), printed(sign * size, noise)) == expected


@pytest.mark.parametrize(
    ("difference", "noise", "expected"),
    [(0.4, 0.0, "not decided"), (0.6, 0.0, "contradicted"), (-0.6, 0.4, "not decided")],
)
def test_a_printed_tie_is_contradicted_or_left_open(
    difference: float, noise: float, expected: str
) -> None:
    assert judge_claim(ours(difference, 0.5), printed(0.0, noise)) == expected


def test_noise_is_that_of_welchs_interval() -> None:
    claim = Printed(8.4, 9.6, 0.4, 0.9, 10)
    assert claim.difference == -1.2
    rng = np.random.default_rng(1)
    a, b = (stats.zscore(rng.normal(size=10), ddof=1) for _ in range(2))
    welch = stats.ttest_ind(8.4 + 0.4 * a, 9.6 + 0.9 * b, equal_var=False)
    for level in (0.8, 0.95):
        interval = welch.confidence_interval(level)
        assert claim.noise(level) == pytest.approx((interval.high - interval.low) / 2)
    one = stats.ttest_1samp(0.4 * a, 0).confidence_interval(0.95)
    assert Printed(8.4, 9.6, 0.4, None, 10).noise() == pytest.approx((one.high - one.low) / 2)
    assert Printed(8.4, 9.6).noise() == Printed(8.4, 9.6, 0.4, 0.5, runs=1).noise() == 0


def judged(true: float, claimed: float, studies: int) -> dict[str, float]:
    """Shares of verdicts where theirs are ten unpaired runs and ours are paired normal ones."""
    rng = np.random.default_rng(3)
    said = dict.fromkeys(("reproduced", "contradicted", "not decided"), 0.0)
    theirs = rng.normal(0, 0.6, (studies, 2, 10))
    own = rng.normal(true, 0.9, (studies, 10))
    for runs, values in zip(theirs, own, strict=True):
        std, std_baseline = runs.std(axis=1, ddof=1)
        means = runs.mean(axis=1) + [10 + claimed, 10]
        half = T_OF_TEN * values.std(ddof=1) / math.sqrt(10)
        claim = Printed(*means, std, std_baseline, 10)
        said[judge_claim(ours(values.mean(), half), claim)] += 1 / studies
    return said


def test_a_true_claim_is_seldom_contradicted() -> None:
    said = judged(-1.5, -1.5, 1500)
    assert said["contradicted"] <= 0.035
    assert said["reproduced"] >= 0.9
    # Where noise may have turned the printed sign, the turned one is rightly contradicted.
    assert judged(-0.3, -0.3, 1500)["contradicted"] <= 0.05


def test_an_effect_that_is_not_there_is_seldom_reproduced() -> None:
    said = judged(0.0, -1.5, 1500)
    assert said["reproduced"] <= 0.035
    assert said["contradicted"] >= 0.85


def test_sentences() -> None:
    claim = printed(-0.6, 0.4)
    assert claim_verdict(ours(0.1, 1.0), claim) == (
        "not decided (10 runs; could have detected 1.4 points)"
    )
    assert claim_verdict(ours(-1.0, 0.5), claim) == (
        "reproduced: -1.00 points [-1.50, -0.50], printed -0.60"
    )
    assert claim_verdict(ours(1.0, 0.5), claim, unit="%") == (
        "contradicted: +1.00 % [+0.50, +1.50], printed -0.60"
    )


def test_nothing_is_decided_without_an_interval() -> None:
    one = Comparison(-1.0, None, None, None, None, 1, "crossed")
    assert judge_claim(one, printed(-1.0)) == "not decided"
    assert claim_verdict(one, printed(-1.0)) == (
        "not decided (1 run; the smallest detectable difference is unknown)"
    )
    wrong = np.random.default_rng(0).random((5, 500)) < 0.1
    same = crossed_difference(wrong, wrong).scaled(100)
    told = "contradicted: +0.00 points [-0.60, +0.60], printed -1.00"
    assert claim_verdict(same, printed(-1.0)) == told
    assert judge_claim(same, printed(-0.2)) == "not decided"  # 37 of 100 such show no text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1.0, 9.0), "must be 0 or more"),
        ((math.nan, 9.0), "must be 0 or more"),
        ((1.0, 9.0, -0.1, 0.1), "must be 0 or more"),
        ((1.0, 9.0, 0.1, 0.1, 0), "of 1 run or more"),
    ],
)
def test_printed_nonsense_is_refused(arguments: tuple[float, ...], message: str) -> None:
    with pytest.raises(AmpmixError, match=message):
        Printed(*arguments)  # type: ignore[arg-type]


def test_level_is_checked() -> None:
    with pytest.raises(ValueError, match="level"):
        judge_claim(ours(0.0, 1.0), printed(1.0), 95)
