"""Repeated cross-validation against a plain implementation, and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from ampmix.errors import AmpmixError
from ampmix.statistics import corrected_resampled_t, repeated_difference
from ampmix.statistics.repeated import RepeatedFolds


def folds_of(rng, repeats, texts, k):
    return np.stack([rng.permutation(np.arange(texts) % k) for _ in range(repeats)])


def naive_squared_reach(d, folds, tail, groups=None):
    """The rule by nested linear models with dummy variables, and loops over the texts."""
    repeats, texts = d.shape
    rows, y = [], []
    names = sorted({(r, int(folds[r, i])) for r in range(repeats) for i in range(texts)})
    for r in range(repeats):
        for i in range(texts):
            of_text, of_run = [0.0] * texts, [0.0] * len(names)
            of_text[i], of_run[names.index((r, int(folds[r, i])))] = 1.0, 1.0
            rows.append(of_text + of_run)
            y.append(d[r, i])
    design, y = np.array(rows), np.array(y)

    def rss(columns):
        fitted = columns @ np.linalg.lstsq(columns, y, rcond=None)[0]
        return float(((y - fitted) ** 2).sum()), np.linalg.matrix_rank(columns)

    (alone, rank_alone), (both, rank_both) = rss(design[:, :texts]), rss(design)
    rank = rank_both - rank_alone
    residual = both / (len(y) - rank_both)
    run = (alone - both) / rank
    per_run = (repeats * texts - texts) / rank
    mean = sum(d[r, i] for r in range(repeats) for i in range(texts)) / (repeats * texts)
    of_text = [sum(d[r, i] for r in range(repeats)) / repeats for i in range(texts)]
    sums = {}
    for i in range(texts):
        key = i if groups is None else groups[i]
        sums[key] = sums.get(key, 0.0) + of_text[i] - mean
    n = len(sums)
    tested = sum(s * s for s in sums.values()) * n / (n - 1) / texts**2
    noise = residual / (repeats * texts)
    k = len(names) / repeats
    sampled = max(tested, noise / 2) + k / (k - 1) * max(0.0, tested - noise)
    share = sum((np.array([folds[r] == f]).sum() / (repeats * texts)) ** 2 for r, f in names)
    t_texts, t_runs = stats.t(n - 1).isf(tail), stats.t(rank).isf(tail)
    t_left = stats.t(len(y) - rank_both).isf(tail)
    of_runs = max(0.0, t_runs**2 * run - t_left**2 * residual)
    return t_texts**2 * sampled + of_runs / per_run * share


@pytest.mark.parametrize("groups", [None, [0, 0, 1, 2, 2, 2, 3, 4, 5, 5, 6, 7]])
@pytest.mark.parametrize(("repeats", "k"), [(2, 3), (3, 2), (4, 5)])
def test_interval_is_that_of_nested_linear_models(repeats, k, groups):
    rng = np.random.default_rng([repeats, k])
    for spread in (0.0, 0.3, 2.0):
        folds = folds_of(rng, repeats, 12, k)
        runs = spread * rng.standard_normal((repeats, k))
        d = np.take_along_axis(runs, folds, axis=1) + rng.standard_normal((repeats, 12))
        d += 1.5 * rng.standard_normal(12)
        found = repeated_difference(d, np.zeros_like(d), folds, groups, level=0.9)
        half = math.sqrt(naive_squared_reach(d, folds, 0.05, groups))
        other = math.sqrt(naive_squared_reach(d, folds, 0.2, groups))
        assert found.interval == pytest.approx((d.mean() - half, d.mean() + half))
        assert found.detectable == pytest.approx(half + other)
        assert (found.n_seeds, found.method) == (repeats, "repeated-cv")
        reached = math.sqrt(naive_squared_reach(d, folds, found.p / 2, groups))
        assert reached == pytest.approx(abs(d.mean()), rel=1e-6)
        narrower = found.at(0.5)
        half = math.sqrt(naive_squared_reach(d, folds, 0.25, groups))
        assert narrower.interval == pytest.approx((d.mean() - half, d.mean() + half))


def test_variances_are_right_on_average():
    rng = np.random.default_rng(0)
    found = []
    for _ in range(600):
        folds = folds_of(rng, 3, 40, 4)
        runs = 0.5 * rng.standard_normal((3, 4))
        d = np.take_along_axis(runs, folds, axis=1) + rng.standard_normal((3, 40))
        d += 0.8 * rng.standard_normal(40)
        parts = RepeatedFolds(folds).parts(d)
        found.append((parts.run, parts.noise * 120, parts.again * 40))
    run, noise, text = np.mean(found, axis=0)
    assert run == pytest.approx(0.25, rel=0.1)
    assert noise == pytest.approx(1.0, rel=0.05)
    # texts as tested hold a little of the runs' variance, which the folds spread over the texts
    assert text == pytest.approx(0.64 + 0.25 / 3 * 0.75, rel=0.05)


def test_one_repeat_has_the_corrected_t_of_its_folds():
    rng = np.random.default_rng(1)
    wrong, other = rng.random((2, 1, 40)) < 0.3
    folds = folds_of(rng, 1, 40, 5)
    means = [(wrong[0][folds[0] == f].mean() - other[0][folds[0] == f].mean()) for f in range(5)]
    expected = corrected_resampled_t(means, 32, 8)
    found = repeated_difference(wrong, other, folds)
    assert found.interval == pytest.approx(expected.interval)
    assert found.method == "corrected-resampled-t"


def test_identical_answers_have_an_exact_bound():
    wrong = np.random.default_rng(2).random((3, 200)) < 0.3
    found = repeated_difference(wrong, wrong, folds_of(np.random.default_rng(3), 3, 200, 5))
    bound = 1 - 0.05 ** (1 / 200)
    assert found.interval == pytest.approx((-bound, bound))
    assert found.p == 1
    assert found.at(0.9).interval[1] == pytest.approx(1 - 0.1 ** (1 / 200))


def test_a_handful_of_texts_has_clopper_and_pearsons_bound():
    wrong, other = np.zeros((2, 3, 100))
    wrong[:, :2] = 1  # two texts of 100, in every repeat
    found = repeated_difference(wrong, other, folds_of(np.random.default_rng(4), 3, 100, 5))
    highest = stats.binomtest(2, 100).proportion_ci(0.95, "exact").high
    assert found.interval[1] >= highest - 1e-12
    assert found.interval[0] <= 0
    assert found.p == pytest.approx(0.5)


def test_texts_given_twice_count_once():
    rng = np.random.default_rng(5)
    wrong, other = rng.random((2, 3, 60)) < 0.4
    folds = folds_of(rng, 3, 60, 5)
    once = repeated_difference(wrong, other, folds)
    twice = repeated_difference(
        np.tile(wrong, 2), np.tile(other, 2), np.tile(folds, 2), np.tile(np.arange(60), 2)
    )
    assert twice.difference == pytest.approx(once.difference)
    parts = [
        layout.parts(d)
        for layout, d in (
            (RepeatedFolds(folds), wrong * 1.0 - other),
            (RepeatedFolds(np.tile(folds, 2), np.tile(np.arange(60), 2)),
             np.tile(wrong * 1.0 - other, 2)),
        )
    ]  # fmt: skip
    assert parts[1].texts == pytest.approx(parts[0].texts)
    naive = repeated_difference(np.tile(wrong, 2), np.tile(other, 2), np.tile(folds, 2))
    assert twice.standard_error > 1.2 * naive.standard_error


def test_expected_parts_of_more_repeats():
    rng = np.random.default_rng(6)
    truth, few = [], []
    for _ in range(300):
        folds = folds_of(rng, 8, 50, 5)
        runs = 0.3 * rng.standard_normal((8, 5))
        d = np.take_along_axis(runs, folds, axis=1) + rng.standard_normal((8, 50))
        d += rng.standard_normal(50)
        few.append(RepeatedFolds(folds[:2]).parts(d[:2]).after(8).standard_error ** 2)
        truth.append(RepeatedFolds(folds).parts(d))
    variances = [parts.standard_error**2 for parts in truth]
    assert np.mean(few) == pytest.approx(np.mean(variances), rel=0.08)
    same = truth[0].after(8)
    assert (same.rank, same.share) == (truth[0].rank, pytest.approx(truth[0].share))
    assert same.blur == pytest.approx(truth[0].blur)


@pytest.mark.slow
@pytest.mark.parametrize("repeats", [2, 3, 5])
@pytest.mark.parametrize("spread", [0.0, 0.3])
def test_equal_policies_raise_an_alarm_in_5_percent_at_most(repeats, spread):
    rng = np.random.default_rng([repeats, int(10 * spread)])
    alarms, power = [], []
    for _ in range(600):
        folds = folds_of(rng, repeats, 80, 5)
        runs = spread * rng.standard_normal((repeats, 5))
        d = np.take_along_axis(runs, folds, axis=1) + rng.standard_normal((repeats, 80))
        found = repeated_difference(d, np.zeros_like(d), folds)
        alarms.append(found.p <= 0.05)
        low, high = found.interval
        power.append(abs(found.difference + found.detectable) > (high - low) / 2)
    assert 0.005 < np.mean(alarms) < 0.06
    assert 0.7 < np.mean(power) < 0.9


@pytest.mark.parametrize(
    ("folds", "groups", "said"),
    [
        ([[0, 1, 0, 1]], None, "2 repeats of 4 texts"),
        ([[0, 1, 0, 1], [0, 1, 0, 0.5]], None, "whole numbers"),
        ([[0, 1, 0, 1], [0, 1, 0, -1]], None, "from 0"),
        ([[0, 1, 0, 1], [2, 2, 2, 2]], None, "repeat 1 has one fold only"),
        ([[0, 1, 0, 1]] * 2, [0, 1], "one for each of 4 texts"),
        ([[0, 1, 0, 1]] * 2, [3, 3, 3, 3], "2 or more groups"),
    ],
)
def test_what_is_no_cross_validation_is_refused(folds, groups, said):
    with pytest.raises(AmpmixError, match=said):
        repeated_difference(np.eye(2, 4), np.zeros((2, 4)), folds, groups)


@pytest.mark.parametrize("error", [0.05, 0.15])
def test_unlike_variances_and_skewed_runs_raise_few_false_alarms_a_side(error):
    """Equal mean errors, one policy's runs all alike, the other's far apart and skewed."""
    rng, texts, k, repeats = np.random.default_rng(17), 200, 5, 3
    layouts = [RepeatedFolds(folds_of(rng, repeats, texts, k)) for _ in range(10)]
    lower, higher = 0, 0
    for study in range(400):
        layout = layouts[study % 10]
        common, wrongs = 2 * rng.standard_normal(texts), []
        for spread in (0.6, 0.05):
            total = math.sqrt(1 + 0.25 + spread**2 + 4)
            runs = spread * rng.standard_normal((repeats, k))
            latent = total * stats.norm.ppf(error) + common + 0.5 * rng.standard_normal(texts)
            latent = latent + np.take_along_axis(runs, layout.folds, axis=1)
            wrongs.append(latent + rng.standard_normal((repeats, texts)) > 0)
        difference = wrongs[0] * 1.0 - wrongs[1]
        reach = layout.parts(difference).reach(0.025)
        lower += difference.mean() < -reach
        higher += difference.mean() > reach
    assert lower / 400 <= 0.03
    assert higher / 400 <= 0.03
