"""Means over data sets against published figures and by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from ampmix.errors import AmpmixError
from ampmix.statistics.over_data_sets import overall

# Thirteen trials of the BCG vaccine (Colditz et al. 1994): cases and others, vaccinated and not.
TRIALS = [
    (4, 119, 11, 128), (6, 300, 29, 274), (3, 228, 11, 209), (62, 13536, 248, 12619),
    (33, 5036, 47, 5761), (180, 1361, 372, 1079), (8, 2537, 10, 619), (505, 87886, 499, 87892),
    (29, 7470, 45, 7232), (17, 1699, 65, 1600), (186, 50448, 141, 27197), (5, 2493, 3, 2338),
    (27, 16886, 29, 17825),
]  # fmt: skip


def trials():
    y, v = [], []
    for a, b, c, d in TRIALS:
        y.append(np.log((a / (a + b)) / (c / (c + d))))
        v.append(1 / a - 1 / (a + b) + 1 / c - 1 / (c + d))
    return np.array(y), np.sqrt(v)


def test_the_trials_of_the_vaccine_have_the_published_mean_and_spread():
    found = overall(*trials())  # metafor's rma(method="PM"): 0.3181 and -0.7150
    assert found.mean == pytest.approx(-0.7150, abs=2e-4)
    assert found.spread**2 == pytest.approx(0.3181, abs=2e-4)


def test_interval_is_hartungs_and_knapps():
    y, s = trials()
    found = overall(y, s, level=0.9)
    total = swept = 0.0
    for one, error in zip(y, s, strict=True):
        weight = 1 / (error**2 + found.spread**2)
        total, swept = total + weight, swept + weight * (one - found.mean) ** 2
    half = stats.t(12).ppf(0.95) * np.sqrt(max(swept / 12, 1) / total)
    assert found.interval == pytest.approx((found.mean - half, found.mean + half))
    at_p = stats.t(12).isf(found.p / 2) * np.sqrt(max(swept / 12, 1) / total)
    assert at_p == pytest.approx(abs(found.mean))


@pytest.mark.parametrize("spread", [0.0, 1.0])
@pytest.mark.parametrize("data_sets", [3, 8])
def test_intervals_cover(spread, data_sets):
    rng, held = np.random.default_rng([data_sets, int(spread)]), []
    for _ in range(600):
        s = rng.uniform(0.3, 1.0, data_sets)
        d = 0.5 + spread * rng.standard_normal(data_sets) + s * rng.standard_normal(data_sets)
        low, high = overall(d, s).interval
        held.append(low <= 0.5 <= high)
    assert 0.92 < np.mean(held) <= 1


def test_verdicts_are_counted_and_one_data_set_has_no_interval():
    found = overall([-1, 2, 0], [1, 1, 1], ["lower error", "higher error", "the same"])
    assert (found.better, found.same, found.worse) == (1, 1, 1)
    one = overall([-1.5], [0.5], ["no difference shown"])
    assert (one.mean, one.interval, one.p) == (-1.5, None, None)
    assert one.sentence() == "-1.5 points over 1 data set: 0 better, 0 the same, 0 worse, 1 open"


def test_refusals():
    with pytest.raises(AmpmixError, match="2 differences and 1 standard"):
        overall([1, 2], [1])
    with pytest.raises(ValueError, match="positive"):
        overall([1, 2], [1, 0])
