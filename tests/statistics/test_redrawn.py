"""Intervals for redrawn training sets: the rule written out, and worlds with a known truth."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from ampmix.statistics import (
    crossed_difference,
    crossed_relative_improvement,
    held_out_error,
)


def differences(rng: np.random.Generator, seeds: int, share: float, noise: float = 0.0) -> Any:
    """``[S, 400]``: a pool's effect in all seeds, training sets' own, noise of seeds, texts'."""
    pool = math.sqrt(share) * rng.standard_normal()
    drawn = math.sqrt(1 - share) * rng.standard_normal((seeds, 1))
    noisy = noise * rng.standard_normal((seeds, 1))
    return pool + drawn + noisy + 5 * rng.standard_normal((seeds, 400))


def reach(d: Any, overlap: float, level: float = 0.95) -> float:
    found = crossed_difference(d, np.zeros_like(d), level, overlap)
    assert found.interval is not None
    return (found.interval[1] - found.interval[0]) / 2


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_the_variance_of_seeds_counts_as_nadeau_and_bengio_have_it(share: float) -> None:
    d = differences(np.random.default_rng(1), 6, share)
    seeds, texts = d.shape
    means, columns = d.mean(axis=1), d.mean(axis=0)
    rest = d - means[:, None] - columns + d.mean()
    of_seeds = texts * means.var(ddof=1)
    of_texts = seeds * columns.var(ddof=1)
    residual = (rest**2).sum() / ((seeds - 1) * (texts - 1))
    t = [stats.t(df).ppf(0.975) ** 2 for df in (5, texts - 1, 5 * (texts - 1))]
    h = (1 - 1 / 5) * t[0] + t[2] / 5
    new_seeds = (t[0] * of_seeds - h * residual) / texts / seeds
    pool = (t[0] * of_seeds - t[2] / 2 * residual) / texts * share / (1 - share)
    squared = t[1] * of_texts / d.size + new_seeds + pool
    assert reach(d, share) == pytest.approx(math.sqrt(squared))
    assert reach(d, 0.0) < reach(d, share / 2) < reach(d, share)


@pytest.mark.parametrize(("share", "seeds"), [(0.3, 3), (0.5, 5), (0.5, 10), (0.8, 10)])
def test_it_covers_new_training_sets_where_the_plain_interval_does_not(
    share: float, seeds: int
) -> None:
    rng = np.random.default_rng(2)
    drawn = [differences(rng, seeds, share) for _ in range(1500)]
    covered = {
        overlap: np.mean([abs(d.mean()) <= reach(d, overlap) for d in drawn])
        for overlap in (0.0, share)
    }
    assert 0.93 <= covered[share] <= 0.995
    assert covered[0.0] < covered[share] - 0.05


def test_noise_of_seeds_makes_it_wider_than_need_be_not_narrower() -> None:
    rng = np.random.default_rng(3)
    drawn = [differences(rng, 10, 0.5, noise=2.0) for _ in range(500)]
    assert np.mean([abs(d.mean()) <= reach(d, 0.5) for d in drawn]) >= 0.97


def test_more_seeds_take_away_no_more_than_their_own_part() -> None:
    d = differences(np.random.default_rng(4), 10, 0.5)
    found = crossed_difference(d, np.zeros_like(d), overlap=0.5)
    plain = crossed_difference(d, np.zeros_like(d))
    assert found.reach_after is not None and plain.reach_after is not None
    many, plain_many = found.reach_after(10_000, 0.025), plain.reach_after(10_000, 0.025)
    assert many > 0.7 * reach(d, 0.5) and plain_many < 0.6 * reach(d, 0.0)


def test_errors_and_their_ratio_are_judged_alike() -> None:
    rng = np.random.default_rng(5)
    rates = 0.3 + 0.05 * rng.standard_normal((6, 1))
    wrong = rng.random((6, 300)) < rates
    plain, redrawn = held_out_error(wrong), held_out_error(wrong, overlap=0.5)
    assert plain is not None and redrawn is not None
    assert redrawn[0] < plain[0] and plain[1] < redrawn[1]
    other = rng.random((6, 300)) < rates / 2
    one, two = (crossed_relative_improvement(wrong, other, overlap=o).interval for o in (0.0, 0.5))
    assert one is not None and two is not None and two[0] < one[0] and one[1] < two[1]


@pytest.mark.parametrize("overlap", [-0.1, 1.0, 2.0, math.nan])
def test_an_overlap_out_of_range_is_refused(overlap: float) -> None:
    with pytest.raises(ValueError, match="overlap is"):
        crossed_difference([[0, 1], [1, 0]], [[0, 0], [0, 0]], overlap=overlap)
