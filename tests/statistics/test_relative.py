"""RP with Fieller's interval: the textbook's formula, a scan of all ratios, and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from ampmix.errors import AmpmixError
from ampmix.statistics import (
    RelativeImprovement,
    corrected_resampled_t,
    crossed_difference,
    crossed_relative_improvement,
    relative_improvement,
    resampled_relative_improvement,
)


def test_relative_improvement() -> None:
    assert relative_improvement(8.0, 6.0) == 25
    assert relative_improvement(8.0, 10.0) == -25
    assert relative_improvement(0.08, 0.08) == 0
    for errors in ((0.0, 0.0), (-1.0, 1.0), (math.nan, 1.0), (1.0, math.inf)):
        with pytest.raises(ValueError, match="errors must be finite"):
            relative_improvement(*errors)


def fieller(y: np.ndarray, x: np.ndarray, level: float) -> tuple[float, float]:
    """Limits of mean(y) / mean(x), in the textbook's form with g."""
    n, t = y.size, stats.t(y.size - 1).ppf((1 + level) / 2)
    (vyy, vyx), (_, vxx) = np.cov(y, x) / n
    ratio = y.mean() / x.mean()
    g = t**2 * vxx / x.mean() ** 2
    root = math.sqrt(vyy - 2 * ratio * vyx + ratio**2 * vxx - g * (vyy - vyx**2 / vxx))
    middle, half = ratio - g * vyx / vxx, t / x.mean() * root
    return (middle - half) / (1 - g), (middle + half) / (1 - g)


@pytest.mark.parametrize("seed", range(5))
def test_uncorrected_folds_have_the_textbook_interval(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mixup = rng.normal(10, 2, 8)
    amp = 0.5 * mixup + rng.normal(4, 1, 8)
    found = resampled_relative_improvement(mixup, amp, 100, 0, level=0.9)
    low, high = fieller(amp, mixup, 0.9)
    assert found.value == pytest.approx(100 * (1 - amp.mean() / mixup.mean()))
    assert found.interval == pytest.approx((100 * (1 - high), 100 * (1 - low)))
    assert found.n_seeds == 8


def test_folds_allow_what_the_corrected_t_does_not_exclude() -> None:
    rng = np.random.default_rng(1)
    mixup, amp = rng.uniform(0.08, 0.12, 10), rng.uniform(0.07, 0.11, 10)
    found = resampled_relative_improvement(mixup, amp, 90, 10)
    assert found.interval is not None
    for rp in found.interval:
        at_limit = corrected_resampled_t(amp - (1 - rp / 100) * mixup, 90, 10)
        assert at_limit.p == pytest.approx(0.05)


def errors(seed: int, seeds: int = 4, examples: int = 80) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    difficulty = rng.normal(size=examples)
    wrong = rng.normal(size=(2, seeds, examples)) + difficulty > [[[0.6]], [[0.9]]]
    return wrong[0], wrong[1]


@pytest.mark.parametrize("seeds", [2, 3, 6])
def test_crossed_allows_what_the_crossed_interval_does_not_exclude(seeds: int) -> None:
    mixup, amp = errors(seeds, seeds)
    found = crossed_relative_improvement(mixup, amp, level=0.8)
    assert found.interval is not None
    low, high = found.interval

    def allowed(rp: float) -> bool:
        weighted = amp - (1 - rp / 100) * mixup
        interval = crossed_difference(weighted, np.zeros_like(weighted), 0.8).interval
        assert interval is not None
        return interval[0] <= 0 <= interval[1]

    grid = np.linspace(-400, 100, 601)
    assert [allowed(rp) for rp in grid] == ((low <= grid) & (grid <= high)).tolist()


def test_it_excludes_zero_where_the_difference_does() -> None:
    both = set()
    for seed in range(60):
        mixup, amp = errors(seed)
        found = crossed_relative_improvement(mixup, amp).interval
        difference = crossed_difference(amp, mixup).interval
        assert difference is not None
        if found is not None:
            shown = difference[1] < 0 or difference[0] > 0
            assert shown == (found[0] > 0 or found[1] < 0)
            both.add(shown)
    assert both == {True, False}


def test_units_do_not_matter() -> None:
    mixup, amp = errors(3)
    found = crossed_relative_improvement(mixup, amp)
    scaled = crossed_relative_improvement(100 * mixup.astype(float), 100 * amp.astype(float))
    assert scaled.value == pytest.approx(found.value)
    assert scaled.interval == pytest.approx(found.interval)


def test_near_zero_there_is_no_interval() -> None:
    none_wrong = np.zeros((3, 20))
    assert crossed_relative_improvement(none_wrong, none_wrong + np.eye(3, 20)) == (
        RelativeImprovement(None, None, 3)
    )
    assert resampled_relative_improvement([0, 0], [0, 0.1], 9, 1).value is None
    one_wrong = none_wrong.copy()
    one_wrong[0, 0] = 1  # a single error says nothing of a ratio, though there is one
    found = crossed_relative_improvement(one_wrong, none_wrong)
    assert (found.value, found.interval) == (100.0, None)
    few = resampled_relative_improvement([0.0, 0.0, 0.1, 0.0], [0.1, 0.0, 0.0, 0.0], 90, 10)
    assert few.interval is None


def test_never_above_100_percent() -> None:
    mixup, _ = errors(4)
    amp = np.zeros_like(mixup)
    amp[0, :2] = 1
    found = crossed_relative_improvement(mixup, amp)
    assert found.interval is not None
    assert found.interval[1] == 100.0


def test_equal_predictions_and_single_seeds() -> None:
    mixup, amp = errors(5)
    same = RelativeImprovement(0.0, None, len(mixup))
    assert crossed_relative_improvement(mixup, mixup) == same
    assert crossed_relative_improvement(mixup, mixup / 2).interval is None  # a ratio without noise
    folds = [0.2, 0.3, 0.1]
    assert resampled_relative_improvement(folds, folds, 9, 1).interval is None
    assert crossed_relative_improvement(mixup[:1], amp[:1]).interval is None
    assert resampled_relative_improvement([0.2], [0.1], 9, 1) == (
        RelativeImprovement(50.0, None, 1)
    )


@pytest.mark.parametrize("mean", [10.0, 3.0])
def test_95_percent_intervals_cover_95_percent(mean: float) -> None:
    # Errors of folds that are normal, correlated, and with 3.0 near enough to zero for the delta
    # method to fail; Fieller's interval is exact, unbounded ones counted as holding the truth.
    rng = np.random.default_rng(6)
    held = []
    for _ in range(3000):
        shared = rng.normal(0, 1.5, 5)
        mixup = np.abs(mean + shared + rng.normal(0, 0.5, 5))
        amp = np.abs(0.9 * mean + shared + rng.normal(0, 0.5, 5))
        interval = resampled_relative_improvement(mixup, amp, 1, 0).interval
        held.append(interval is None or interval[0] <= 10 <= interval[1])
    assert 0.938 <= np.mean(held) <= 0.965


@pytest.mark.parametrize("rates", [(0.20, 0.15), (0.05, 0.05)])
def test_crossed_intervals_cover_for_binary_errors(rates: tuple[float, float]) -> None:
    rng, held = np.random.default_rng(8), []
    for _ in range(1500):
        latent = (rng.normal(size=(2, 5, 150)) + rng.normal(size=150)) / math.sqrt(2)
        mixup, amp = latent > -stats.norm.ppf(np.array(rates))[:, None, None]
        interval = crossed_relative_improvement(mixup, amp).interval
        truth = 100 * (1 - rates[1] / rates[0])
        held.append(interval is None or interval[0] <= truth <= interval[1])
    assert 0.93 <= np.mean(held) <= 0.985


def test_refusals() -> None:
    with pytest.raises(AmpmixError, match="not paired: 2 folds against 3"):
        resampled_relative_improvement([0.1, 0.2], [0.1, 0.2, 0.3], 9, 1)
    with pytest.raises(AmpmixError, match="not paired"):
        crossed_relative_improvement(np.zeros((2, 3)), np.zeros((3, 3)))
    with pytest.raises(ValueError, match="errors must not be negative"):
        resampled_relative_improvement([0.1, -0.2], [0.1, 0.2], 9, 1)
    with pytest.raises(ValueError, match="level"):
        crossed_relative_improvement(np.eye(2), np.eye(2), 95)
