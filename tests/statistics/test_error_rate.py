"""Intervals of one model's error: Wilson's by scipy, cover in a world whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from ampmix.statistics import cross_validated_error, held_out_error, temperature


@pytest.mark.parametrize(("wrong", "n"), [(0, 40), (3, 40), (20, 40), (40, 40)])
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_one_seed_has_wilsons_interval(wrong: int, n: int, level: float) -> None:
    table = np.arange(n)[None] < wrong
    expected = binomtest(wrong, n).proportion_ci(level, "wilson")
    assert held_out_error(table, level) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_folds_have_wilsons_interval_of_fewer_texts() -> None:
    folds = [np.arange(90) < 30, np.arange(90) < 10]  # 40 of 180 texts, counted as 60
    expected = binomtest(40, 180).proportion_ci(0.95, "wilson")
    low, high = cross_validated_error(folds)
    assert low < expected.low < 40 / 180 < expected.high < high
    third = binomtest(40, 180)  # the formula at n = 60 and the same share
    assert third.statistic == pytest.approx(40 / 180)
    z, p, n = 1.959963984540054, 40 / 180, 60
    middle, half = p + z * z / 2 / n, z * np.sqrt(p * (1 - p) / n + z * z / 4 / n / n)
    assert (low, high) == pytest.approx(
        ((middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n))
    )


def test_several_seeds_cover_new_seeds_and_texts() -> None:
    draws, covered = np.random.default_rng(0), 0
    for _ in range(400):
        seeds, texts = draws.normal(0, 0.03, 5), draws.beta(1, 4, 200)  # mean 0.2
        chance = np.clip(texts[None] + seeds[:, None], 0, 1)
        found = held_out_error(draws.random((5, 200)) < chance)
        assert found is not None
        covered += found[0] <= 0.2 <= found[1]
    assert 0.91 <= covered / 400 <= 0.995


def test_what_is_no_table_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 folds"):
        cross_validated_error([[1, 0]])
    with pytest.raises(ValueError, match="at least 2 folds"):
        cross_validated_error([[], []])


def test_the_temperature_is_the_one_that_the_outputs_were_made_with() -> None:
    draws = np.random.default_rng(0)
    logits = draws.normal(0, 2, (4000, 3))
    true = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = (draws.random((4000, 1)) > true.cumsum(1)).sum(1)
    for hot in (0.5, 1.0, 3.0):
        told = np.exp(logits * hot)
        found = temperature(told / told.sum(1, keepdims=True), labels)
        assert found == pytest.approx(hot, rel=0.08)
    with pytest.raises(ValueError, match="labels of shape"):
        temperature([[0.5, 0.5]], [0, 1])
