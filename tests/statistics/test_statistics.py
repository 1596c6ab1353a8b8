"""`ampmix.statistics` against oracles that share no code with it, and by simulation."""

from __future__ import annotations

import itertools
import math
from dataclasses import FrozenInstanceError, astuple, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ampmix.errors import AmpmixError
from ampmix.statistics import (
    Comparison,
    corrected_resampled_t,
    crossed_difference,
    decide,
    holm,
    pigeonhole_interval,
    sign_flip_p,
    sign_flip_test,
    verdict,
)
from ampmix.statistics.crossed import MeanSquares, reach
from ampmix.statistics.crossed import mean_squares as stacked_mean_squares
from ampmix.statistics.pigeonhole import resampled_means
from ampmix.statistics.sign_flips import EXACT_SEEDS

SHOWN = Comparison(-1.2, 0.3, (-2.0, -0.4), 0.016, 1.1, 5, "crossed")
NOT_SHOWN = Comparison(0.3, 0.5, (-1.1, 1.7), 0.58, 1.9, 5, "crossed")


def mean_squares(d):
    """Two-way analysis of variance without replication, by loops over the cells."""
    seeds, examples = len(d), len(d[0])
    mean = sum(map(sum, d)) / (seeds * examples)
    rows = [sum(d[s]) / examples for s in range(seeds)]
    columns = [sum(d[s][i] for s in range(seeds)) / seeds for i in range(examples)]
    ss_rows = sum((rows[s] - mean) ** 2 for s in range(seeds) for _ in range(examples))
    ss_columns = sum((columns[i] - mean) ** 2 for _ in range(seeds) for i in range(examples))
    ss_residual = sum(
        (d[s][i] - rows[s] - columns[i] + mean) ** 2 for s in range(seeds) for i in range(examples)
    )
    return (
        ss_rows / (seeds - 1),
        ss_columns / (examples - 1),
        ss_residual / ((seeds - 1) * (examples - 1)),
    )


def least_squares_mean_squares(d):
    """The same by comparing the residuals of nested linear models with dummy variables."""
    d = np.asarray(d, dtype=float)
    seeds, examples = d.shape
    one = np.ones((d.size, 1))
    by_seed = np.kron(np.eye(seeds), np.ones((examples, 1)))
    by_example = np.kron(np.ones((seeds, 1)), np.eye(examples))

    def rss(*blocks):
        design = np.hstack(blocks)
        fitted = design @ np.linalg.lstsq(design, d.ravel(), rcond=None)[0]
        return ((d.ravel() - fitted) ** 2).sum()

    full = rss(one, by_seed, by_example)
    return (
        (rss(one, by_example) - full) / (seeds - 1),
        (rss(one, by_seed) - full) / (examples - 1),
        full / ((seeds - 1) * (examples - 1)),
    )


def expected_reach(d, level, squares=mean_squares):
    """Half-width of the interval, the rule written out with scipy's distributions."""
    seeds, examples = len(d), len(d[0])
    a, b, e = squares(d)
    tail = (1 + level) / 2
    t_a, t_b = stats.t(seeds - 1).ppf(tail), stats.t(examples - 1).ppf(tail)
    t_e = stats.t((seeds - 1) * (examples - 1)).ppf(tail)
    share = 1 / (seeds - 1)
    squared = t_b**2 * max(b, e / 2)
    # What new seeds add: their mean square less the residual's in it, never below nothing.
    added = t_a**2 * a - ((1 - share) * t_a**2 + share * t_e**2) * e
    return math.sqrt((squared + max(0.0, added)) / (seeds * examples))


def draw(rng, seeds, examples, sd_seed, sd_example, sd_residual):
    return (
        sd_seed * rng.standard_normal((seeds, 1))
        + sd_example * rng.standard_normal((1, examples))
        + sd_residual * rng.standard_normal((seeds, examples))
    )


def crossed(d, level=0.95):
    return crossed_difference(d, np.zeros_like(d), level)


# Crossed difference -----------------------------------------------------------------------------


LAYOUTS = {
    "all vary": (1.0, 1.0, 1.0),
    "no seeds": (0.0, 2.0, 1.0),
    "no examples": (2.0, 0.0, 1.0),
    "residual": (0.0, 0.0, 1.0),
}


@pytest.mark.parametrize("squares", [mean_squares, least_squares_mean_squares])
@pytest.mark.parametrize("sds", LAYOUTS.values(), ids=LAYOUTS)
def test_crossed_matches_analysis_of_variance(sds, squares):
    rng = np.random.default_rng(3)
    for seeds, examples in itertools.product((2, 3, 5), (2, 7, 12)):
        d = draw(rng, seeds, examples, *sds)
        found = crossed(d, level=0.9)
        half, other = expected_reach(d.tolist(), 0.9, squares), expected_reach(d, 0.6, squares)
        a, b, e = squares(d.tolist())
        assert found.difference == pytest.approx(d.mean())
        assert found.standard_error**2 * d.size == pytest.approx(max(b, e / 2) + max(a - e, 0))
        assert found.interval == pytest.approx((d.mean() - half, d.mean() + half))
        assert found.detectable == pytest.approx(half + other)
        assert (found.n_seeds, found.method) == (seeds, "crossed")
        # p is where the interval just reaches zero.
        assert expected_reach(d, 1 - found.p, squares) == pytest.approx(abs(d.mean()), rel=1e-6)


def test_the_layouts_reach_all_cases_of_the_rule():
    rng = np.random.default_rng(3)
    reached = set()
    for sds, seeds in itertools.product(LAYOUTS.values(), (2, 3, 5, 5)):
        a, b, e = mean_squares(draw(rng, seeds, 12, *sds).tolist())
        t_a, t_e = stats.t(seeds - 1).ppf(0.95), stats.t((seeds - 1) * 11).ppf(0.95)
        share = 1 / (seeds - 1)
        reached.add((t_a**2 * a > ((1 - share) * t_a**2 + share * t_e**2) * e, b > e / 2))
    assert reached >= {(True, True), (False, True)}
    d = np.array([[1.0, -1.0], [-1.0, 1.0]])  # pure interaction: both mean squares are zero
    assert mean_squares(d.tolist()) == (0, 0, 4)
    assert crossed(d).standard_error == pytest.approx(math.sqrt(2 / 4))


def test_mean_squares_of_a_stack_are_those_of_its_layouts():
    stack = np.random.default_rng(4).normal(size=(2, 3, 4, 7))
    found = stacked_mean_squares(stack)
    for index in np.ndindex(2, 3):
        expected = mean_squares(stack[index].tolist())
        assert [float(part[index]) for part in found] == pytest.approx(expected)


def test_without_residual_the_squares_of_the_reaches_add_up():
    # No residual: t intervals over the seeds' means and over the examples' means, root of squares.
    rng = np.random.default_rng(5)
    d = rng.normal(0, 1, (6, 1)) + rng.normal(0, 2, (1, 30))
    by_seeds = stats.ttest_1samp(d.mean(axis=1), 0).confidence_interval(0.95)
    by_examples = stats.ttest_1samp(d.mean(axis=0), 0).confidence_interval(0.95)
    halves = [(interval.high - interval.low) / 2 for interval in (by_seeds, by_examples)]
    found = crossed(d).interval
    assert (found[1] - found[0]) / 2 == pytest.approx(math.hypot(*halves))


def test_never_surer_than_the_test_examples_alone_allow():
    rng = np.random.default_rng(6)
    for seeds in (2, 3, 8):
        d = draw(rng, seeds, 40, 0.1, 0.2, 1.0)
        alone = stats.ttest_1samp(d.mean(axis=0), 0)
        found, least = crossed(d), alone.confidence_interval(0.95)
        assert found.interval[0] <= least.low + 1e-12
        assert found.interval[1] >= least.high - 1e-12
        assert found.p >= alone.pvalue - 1e-9


def test_two_examples_by_hand():
    # Rows' means 1/2, 0, 1: MS_seed = 1/2; columns' means 1/3, 2/3: MS_example = 1/6;
    # residuals +-1/3 or so: MS_residual = 1/6, so Var = (1/2 + 1/6 - 1/6) / 6.
    found = crossed_difference([[0, 1], [0, 0], [1, 1]], np.zeros((3, 2)))
    assert found.difference == pytest.approx(1 / 2)
    assert found.standard_error == pytest.approx(math.sqrt(1 / 12))


def test_crossed_is_paired_and_takes_booleans():
    rng = np.random.default_rng(0)
    difficulty = rng.random(30)
    wrong, baseline = rng.random((2, 4, 30)) < difficulty
    found = crossed_difference(wrong, baseline)
    swapped = crossed_difference(baseline, wrong)
    assert found == crossed(wrong.astype(float) - baseline)
    assert swapped.difference == -found.difference
    assert swapped.p == found.p
    order = rng.permutation(30)
    shuffled = crossed_difference(wrong[::-1, order], baseline[::-1, order])
    assert astuple(shuffled)[1] == pytest.approx(astuple(found)[1])
    mispaired = crossed_difference(wrong, baseline[:, order])
    assert mispaired.difference == pytest.approx(found.difference)
    assert mispaired.standard_error > 1.3 * found.standard_error


def test_interval_and_p_agree():
    rng = np.random.default_rng(5)
    both = set()
    for _ in range(300):
        found = crossed(draw(rng, 4, 20, 0.1, 0.3, 1.0) + 0.4)
        outside = found.interval[0] > 0 or found.interval[1] < 0
        assert outside == (found.p < 0.05)
        both.add(outside)
    assert both == {True, False}


def test_identical_predictions():
    wrong = np.random.default_rng(0).random((3, 40)) < 0.2
    found = crossed_difference(wrong, wrong)
    reach = 1 - 0.05 ** (1 / 40)  # 40 texts, however many seeds
    assert found == Comparison(0.0, 0.0, (-reach, reach), 1.0, None, 3, "crossed")
    assert found.interval[1] == pytest.approx(
        stats.beta.ppf(0.95, 1, 40)
    )  # Clopper and Pearson's bound
    assert pigeonhole_interval(wrong, wrong) == found.interval
    assert crossed_difference(3.5 * wrong, 3.5 * wrong).interval is None  # may differ by anything


@pytest.mark.parametrize("discordance", [0.0005, 0.001, 0.002, 0.0055, 0.0065, 0.02])
def test_no_discordant_text_rules_out_too_much_in_one_of_twenty_at_most(discordance):
    """Five seeds that agree on every text tell as much of new texts as one seed does."""
    rng = np.random.default_rng(2)
    missed = none = 0
    for _ in range(3000):
        wrong = np.broadcast_to(rng.random(500) < discordance, (5, 500))
        found = crossed_difference(wrong, np.zeros((5, 500))) if not wrong.any() else None
        none += found is not None
        missed += found is not None and found.interval[1] < discordance
    assert none / 3000 == pytest.approx((1 - discordance) ** 500, abs=0.03)
    assert missed / 3000 <= 0.06


def test_a_small_true_difference_is_covered_where_it_often_shows_in_no_text():
    rng, held = np.random.default_rng(3), 0
    for _ in range(1000):
        wrong = np.broadcast_to(rng.random(500) < 0.002, (5, 500))
        low, high = crossed_difference(wrong, np.zeros((5, 500))).interval or (0.0, 0.0)
        held += low <= 0.002 <= high
    assert held / 1000 >= 0.95


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [1, 5])
@pytest.mark.parametrize(
    ("worse", "better"), [(0.002, 0.0), (0.008, 0.0), (0.004, 0.004), (0.001, 0.006), (0.014, 0.0)]
)
def test_intervals_hold_the_truth_where_few_texts_differ(worse, better, seeds):
    """Seeds that agree, or each of which sees two thirds of such texts: 500 texts, 95 %."""
    rng, held, by_t = np.random.default_rng(7), 0, 0
    seen = 1.0 if seeds == 1 else 2 / 3
    for _ in range(800):
        drawn = rng.random(500)
        sign = (drawn < worse).astype(float) - ((drawn >= worse) & (drawn < worse + better))
        runs = np.maximum(2, seeds)
        shown = rng.random((runs, 500)) < seen if seeds > 1 else np.ones((runs, 500))
        d = sign * shown
        found = crossed_difference(d > 0, d < 0)
        low, high = found.interval or (0.0, 0.0)
        held += low <= seen * (worse - better) <= high
        half = stats.t(499).ppf(0.975) * sign.std(ddof=1) / math.sqrt(500)
        by_t += abs(sign.mean() - (worse - better)) <= half
    assert held / 800 >= 0.95
    if better == 0:
        assert by_t / 800 < 0.95  # Student's t is too sure


@pytest.mark.parametrize(("worse", "better"), [(1, 0), (0, 2), (2, 3), (5, 0)])
def test_few_texts_have_clopper_and_pearsons_bounds_and_the_test_of_signs(worse, better):
    d = np.zeros((3, 400))
    d[:, :worse], d[:, worse : worse + better] = 1, -1
    found = crossed_difference(d > 0, d < 0)
    for counted, bound in ((worse, found.interval[1]), (better, -found.interval[0])):
        exact = stats.binomtest(counted, 400).proportion_ci(0.95, "exact").high
        assert bound == pytest.approx(exact)
    assert found.p >= stats.binomtest(worse, worse + better).pvalue > 0.05
    folds = d[0].reshape(5, 80).mean(axis=1)
    again = corrected_resampled_t(folds, 320, 80, discordant=(worse, better))
    assert again.interval[0] <= found.interval[0] and again.interval[1] >= found.interval[1]
    assert again.p >= stats.binomtest(worse, worse + better).pvalue


def test_six_texts_one_way_are_left_to_the_variance():
    d = np.zeros((3, 400))
    d[:, :6] = 1
    found = crossed_difference(d > 0, d < 0)
    assert found.interval[0] > 0 and found.p < 0.05
    assert crossed_difference(d > 0, d < 0, level=0.99).interval[0] < 0  # 6 are few for that


def test_constant_difference_proves_nothing():
    found = crossed_difference(np.ones((3, 4)), np.zeros((3, 4)))
    assert found == Comparison(1.0, 0.0, None, None, None, 3, "crossed")
    rounded = corrected_resampled_t([0.3 - 0.1, 0.4 - 0.2, 0.2], 90, 10)  # differ by rounding
    assert rounded.difference == pytest.approx(0.2)
    assert (rounded.p, rounded.interval, rounded.standard_error) == (None, None, 0.0)
    assert crossed([[1e-200, -1e-200], [1e-200, 1e-200]]).p is None  # squares underflow


@pytest.mark.parametrize("wrong", [[[0, 1, 1]], [[0, 0, 0]]])
def test_one_seed_decides_nothing(wrong):
    found = crossed_difference(wrong, [[0, 0, 0]])
    assert found == Comparison(np.mean(wrong), None, None, None, None, 1, "crossed")


@pytest.mark.parametrize("function", [crossed_difference, pigeonhole_interval])
@pytest.mark.parametrize(
    ("wrong", "baseline", "message"),
    [
        (np.zeros((2, 3)), np.zeros(3), "baseline must be a non-empty 2-d array"),
        (np.zeros((0, 3)), np.zeros((0, 3)), "non-empty"),
        (np.zeros((2, 1)), np.zeros((2, 1)), "two or more test examples"),
        ([[0, np.nan], [0, 1]], np.zeros((2, 2)), "wrong holds a value that is not finite"),
        (np.zeros((2, 2)), [[0, np.inf], [0, 1]], "wrong_baseline holds"),
    ],
)
def test_bad_arrays_are_refused(function, wrong, baseline, message):
    with pytest.raises(ValueError, match=message):
        function(wrong, baseline)


@pytest.mark.parametrize("function", [crossed_difference, pigeonhole_interval])
@pytest.mark.parametrize(
    ("shape", "message"),
    [((3, 3), "not paired: 2 seeds against 3"), ((2, 4), "not paired: 3 test examples against 4")],
)
def test_unpaired_arrays_are_refused(function, shape, message):
    with pytest.raises(AmpmixError, match=message):
        function(np.zeros((2, 3)), np.zeros(shape))


@pytest.mark.parametrize("level", [0, 1, 95, -0.1, math.nan])
def test_bad_levels_are_refused(level):
    pair = np.eye(3), np.zeros((3, 3))
    for call in (
        lambda: crossed_difference(*pair, level),
        lambda: crossed_difference(pair[0][:1], pair[1][:1], level),
        lambda: pigeonhole_interval(*pair, level),
        lambda: corrected_resampled_t([1, 2], 9, 1, level),
        lambda: decide(SHOWN, 0.01, level),
        lambda: verdict(SHOWN, 0.01, level),
    ):
        with pytest.raises(ValueError, match="level must lie between 0 and 1"):
            call()


# Simulations: what the intervals promise --------------------------------------------------------


def drawn_studies(rng, studies, seeds, examples, example, seed):
    """Means and mean squares of normal studies, drawn from their exact distributions.

    `example` and `seed` are what these components add to the mean squares, in units of the
    residual's. The mean is independent of the mean squares, whose distributions are chi-squared.
    """
    expected = (1 + seed, 1 + example, 1.0)
    df = (seeds - 1, examples - 1, (seeds - 1) * (examples - 1))
    ms = [e * rng.chisquare(f, studies) / f for e, f in zip(expected, df, strict=True)]
    sd = math.sqrt((1 + seed + example) / (seeds * examples))
    return sd * rng.standard_normal(studies), MeanSquares(*ms)


def coverages(seeds, rule=reach, examples=100, studies=20_000):
    """Coverage of 95 % intervals over a grid of components."""
    rng = np.random.default_rng(seeds)
    found = []
    for example, seed in itertools.product((0, 0.25, 1, 4, 1e3), (0, 0.5, 1, 3, 8, 40, 1e3)):
        mean, ms = drawn_studies(rng, studies, seeds, examples, example, seed)
        found.append(np.mean(np.abs(mean) <= rule(ms, seeds, examples, 0.025)))
    return np.array(found)


@pytest.mark.parametrize("seeds", [5, 7, 10, 20])
def test_95_percent_intervals_cover_93_to_97_percent(seeds):
    # The standard error of a coverage is 0.15 points at most.
    found = coverages(seeds)
    assert found.min() >= 0.93
    assert found.max() <= 0.97


@pytest.mark.parametrize(("seeds", "lowest", "highest"), [(4, 0.93, 0.975), (3, 0.93, 0.98)])
def test_3_and_4_seeds_cover_a_little_more(seeds, lowest, highest):
    found = coverages(seeds)
    assert found.min() >= lowest
    assert found.max() <= highest


def test_two_seeds_err_on_the_safe_side():
    found = coverages(2)
    assert found.min() >= 0.945
    assert found.max() <= 0.997


def wrong_rules():
    def over_seeds(ms, seeds, examples, tail):
        return stats.t(seeds - 1).isf(tail) * np.sqrt(ms.seeds / (seeds * examples))

    def over_examples(ms, seeds, examples, tail):
        return stats.t(examples - 1).isf(tail) * np.sqrt(ms.examples / (seeds * examples))

    def known_variance(ms, seeds, examples, tail):
        variance = ms.examples + np.maximum(ms.seeds - ms.residual, 0)
        return stats.norm.isf(tail) * np.sqrt(variance / (seeds * examples))

    def satterthwaite(ms, seeds, examples, tail):
        """With components below zero set to zero, and their degrees of freedom left out."""
        df = np.array([seeds - 1, examples - 1, (seeds - 1) * (examples - 1)])[:, None]
        terms = np.array(ms)
        in_use = terms[:2] > terms[2]
        terms = terms * np.array([*in_use, 1 - in_use.sum(axis=0)])
        variance = terms.sum(axis=0)
        t = stats.t(variance**2 / (terms**2 / df).sum(axis=0)).isf(tail)
        return t * np.sqrt(variance / (seeds * examples))

    return over_seeds, over_examples, known_variance, satterthwaite


@pytest.mark.parametrize("rule", wrong_rules())
def test_the_bounds_would_fail_other_rules(rule):
    found = coverages(5, rule, studies=10_000)
    assert found.min() < 0.925 or found.max() > 0.975


@pytest.mark.parametrize(
    ("error", "error_baseline", "run"), [(0.2, 0.2, 0.0), (0.2, 0.2, 0.3), (0.15, 0.2, 0.2)]
)
def test_intervals_cover_for_binary_errors(error, error_baseline, run):
    # 0/1 errors with example difficulty and training-run effects; the error rates are exact.
    rng, seeds, examples, studies = np.random.default_rng(7), 5, 200, 4000
    spread = math.sqrt(1 + 4 + run**2)
    difficulty = 2 * rng.standard_normal((studies, 1, examples))
    wrong, baseline = (
        rng.standard_normal((studies, seeds, examples))
        + difficulty
        + run * rng.standard_normal((studies, seeds, 1))
        > -spread * stats.norm.ppf(rate)
        for rate in (error, error_baseline)
    )
    d = wrong.astype(float) - baseline
    half = reach(stacked_mean_squares(d), seeds, examples, 0.025)
    held = np.abs(d.mean(axis=(1, 2)) - (error - error_baseline)) <= half
    assert 0.93 <= held.mean() <= 0.97
    one = crossed_difference(wrong[0], baseline[0])
    assert one.interval[1] - one.difference == pytest.approx(half[0])


@pytest.mark.parametrize("parts", [(1, 1), (0, 0), (1, 0), (0, 4)], ids=str)
@pytest.mark.parametrize("seeds", [5, 10])
def test_false_alarms_and_stated_power(parts, seeds):
    mean, ms = drawn_studies(np.random.default_rng(11), 20_000, seeds, 60, *parts)
    half = reach(ms, seeds, 60, 0.025)
    assert 0.03 <= np.mean(np.abs(mean) > half) <= 0.07
    detectable = np.mean(half + reach(ms, seeds, 60, 0.2))
    assert 0.73 <= np.mean(mean + detectable > half) <= 0.83


# Corrected resampled t --------------------------------------------------------------------------


def test_corrected_t_without_correction_is_the_t_test():
    values = np.random.default_rng(1).normal(0.5, 1, 10)
    found = corrected_resampled_t(values, n_train=100, n_test=0, level=0.9)
    expected = stats.ttest_1samp(values, 0)
    assert found.p == pytest.approx(expected.pvalue)
    assert found.interval == pytest.approx(tuple(expected.confidence_interval(0.9)))
    assert (found.n_seeds, found.method) == (10, "corrected-resampled-t")


def test_corrected_t_widens_by_the_stated_factor():
    values = np.array([0.1, 0.3, 0.2, 0.4])
    found = corrected_resampled_t(values, [80, 90, 90, 100], [20, 10, 10, 20])
    assert found.standard_error == pytest.approx(math.sqrt((1 / 4 + 15 / 90) * values.var(ddof=1)))
    t = stats.t(3)
    assert found.p == pytest.approx(2 * t.sf(0.25 / found.standard_error))
    assert found.detectable == pytest.approx((t.ppf(0.975) + t.ppf(0.8)) * found.standard_error)


@pytest.mark.slow
@pytest.mark.parametrize("folds", [3, 10])
def test_corrected_t_covers_where_its_assumption_holds(folds):
    # Folds correlate by n_test / (n_train + n_test); without the correction: 87 and 85 %.
    rng, between = np.random.default_rng(folds), 1 / folds
    d = math.sqrt(between) * rng.standard_normal((4000, 1))
    d = d + math.sqrt(1 - between) * rng.standard_normal((4000, folds))
    intervals = [corrected_resampled_t(row, folds - 1, 1).interval for row in d]
    assert 0.94 <= np.mean([low <= 0 <= high for low, high in intervals]) <= 0.96
    naive = [stats.ttest_1samp(row, 0).pvalue > 0.05 for row in d[:1000]]
    assert np.mean(naive) < 0.9


def test_corrected_t_of_one_fold_or_equal_folds():
    one = corrected_resampled_t([0.1], 90, 10)
    assert one == Comparison(0.1, None, None, None, None, 1, "corrected-resampled-t")
    equal = corrected_resampled_t([0.0, 0.0], 90, 10)
    assert equal == Comparison(0.0, 0.0, None, 1.0, None, 2, "corrected-resampled-t")
    same = corrected_resampled_t([0.0, 0.0], 90, [10, 12], discordant=(0, 0))
    assert same.interval == pytest.approx((0.05 ** (1 / 22) - 1, 1 - 0.05 ** (1 / 22)))
    assert corrected_resampled_t([0.0, 0.0], 90, 10, discordant=(2, 2)).interval is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], 9, 1), "non-empty"),
        (([[0.1, 0.2]], 9, 1), "1-d"),
        (([0.1, np.nan], 9, 1), "not finite"),
        (([0.1, 0.2], 0, 1), "n_train must be positive"),
        (([0.1, 0.2], [9, 9, 9], 1), "one number or 2"),
        (([0.1, 0.2], 9, -1), "n_test must be finite and not negative"),
        (([0.1, 0.2], np.inf, 1), "n_train must be finite"),
    ],
)
def test_corrected_t_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        corrected_resampled_t(*arguments)


# Holm -------------------------------------------------------------------------------------------


def naive_holm(p_values):
    """Adjusted p by definition: the smallest level at which stepping down rejects."""
    m = len(p_values)
    ranked = sorted(range(m), key=lambda i: p_values[i])
    adjusted = [0.0] * m
    for k, i in enumerate(ranked):
        adjusted[i] = min(1.0, max((m - j) * p_values[ranked[j]] for j in range(k + 1)))
    return adjusted


PROBABILITIES = st.lists(st.floats(0, 1), max_size=12)


@given(PROBABILITIES)
@settings(deadline=None)
def test_holm_matches_the_definition(p_values):
    adjusted = holm(p_values)
    assert adjusted.tolist() == pytest.approx(naive_holm(p_values))
    assert np.all(adjusted >= p_values)
    assert np.all(adjusted <= 1)
    order = np.argsort(p_values, kind="stable")
    assert np.all(np.diff(adjusted[order]) >= 0)
    assert holm(p_values[::-1]).tolist() == adjusted[::-1].tolist()


@given(PROBABILITIES, st.data())
@settings(deadline=None)
def test_holm_leaves_out_what_has_no_p(p_values, data):
    places = st.lists(st.integers(0, len(p_values)), max_size=4)
    gaps = list(p_values)
    for place in sorted(data.draw(places), reverse=True):
        gaps.insert(place, data.draw(st.sampled_from([None, math.nan])))
    missing = np.isnan(np.array(gaps, dtype=float))
    adjusted = holm(gaps)
    assert np.array_equal(np.isnan(adjusted), missing)
    assert adjusted[~missing].tolist() == holm(p_values).tolist()


@pytest.mark.parametrize("seed", range(20))
def test_holm_is_the_closed_bonferroni_test(seed):
    # Marcus, Peritz and Gabriel 1976: a hypothesis falls if every set of hypotheses that holds it
    # falls to Bonferroni's test; Holm's procedure is the shortcut.
    p_values = np.round(np.random.default_rng(seed).random(5) ** 2, 2)
    everything = [subset for r in range(1, 6) for subset in itertools.combinations(range(5), r)]
    closed = [
        max(
            min(1.0, len(subset) * min(p_values[list(subset)]))
            for subset in everything
            if i in subset
        )
        for i in range(5)
    ]
    assert holm(p_values).tolist() == pytest.approx(closed)


def test_holm_controls_any_false_alarm():
    p_values = np.random.default_rng(2).random((4000, 6))
    assert np.mean((p_values < 0.05).any(axis=1)) > 0.2
    assert np.mean([holm(row).min() <= 0.05 for row in p_values]) == pytest.approx(0.05, abs=0.01)


@pytest.mark.parametrize("p_values", [[0.1, 1.1], [-0.1], [[0.1]], [np.inf]])
def test_holm_refuses(p_values):
    with pytest.raises(ValueError, match="p_values must"):
        holm(p_values)


# Sign flips -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seeds", [2, 5, 8])
def test_sign_flip_matches_scipy(seeds):
    rng = np.random.default_rng(seeds)
    for values in (rng.normal(0.7, 1, seeds), rng.integers(-2, 4, seeds) / 100):
        expected = stats.permutation_test(
            (values,), np.mean, permutation_type="samples", n_resamples=np.inf
        )
        assert sign_flip_p(values) == pytest.approx(expected.pvalue)


def test_sign_flip_floor_and_ceiling():
    for seeds in range(1, 8):
        assert sign_flip_p(np.arange(1, seeds + 1)) == 2.0 ** (1 - seeds)
    assert sign_flip_p([0.0, 0.0]) == 1.0
    assert sign_flip_p([0.1, 0.2, -0.3]) == 1.0  # sums to 0 but for rounding


def test_sign_flip_of_many_seeds_is_drawn():
    values = np.random.default_rng(4).normal(0.25, 1, EXACT_SEEDS + 1)
    drawn = sign_flip_p(values)
    assert drawn == sign_flip_p(values)
    sums = np.zeros(1)
    for value in values:
        sums = np.r_[sums - value, sums + value]
    exact = np.mean(np.abs(sums) >= abs(values.sum()) - 1e-9)
    assert 0.02 < exact < 0.8
    assert drawn == pytest.approx(exact, abs=0.006)
    assert 0 < sign_flip_p(np.ones(60)) < 1e-4


@pytest.mark.parametrize("values", [[], [[0.1]], [np.nan]])
def test_sign_flip_refuses(values):
    with pytest.raises(ValueError, match="differences"):
        sign_flip_p(values)


@pytest.mark.parametrize("seeds", [2, 5, 6, 7, 10])
def test_sign_flips_decide_where_their_number_allows(seeds):
    clear = sign_flip_test(-np.arange(1.0, seeds + 1))
    assert clear.smallest_p == clear.p == 2.0 ** (1 - seeds)
    assert clear.decision == ("lower error" if seeds >= 6 else "not decided")
    unclear = sign_flip_test(np.resize([1.0, -1.1], seeds))
    assert unclear.decision == ("no difference shown" if seeds >= 6 else "not decided")
    assert sign_flip_test(np.arange(1.0, seeds + 1), level=1 - 2.0 ** (1 - seeds)).decision == (
        "higher error"
    )


def test_sign_flips_of_seeds_that_do_not_differ():
    found = sign_flip_test([0.0, 0.0, 1.0, 1.0, 1.0, 1.0])  # 4 of 6 signs matter
    assert (found.p, found.smallest_p, found.n_seeds) == (0.125, 0.125, 6)
    assert found.decision == "not decided"
    nothing = sign_flip_test([0.0] * 8)
    assert (nothing.p, nothing.smallest_p, nothing.decision) == (1.0, 1.0, "not decided")
    one = sign_flip_test([0.3])
    assert one.sentence() == "cannot decide: 1 seed gives p = 1 at the least"


def test_sign_flip_sentences():
    assert sign_flip_test([1.0] * 6).sentence() == "higher error (p = 0.031)"
    assert sign_flip_test([1, -1, 2, -2, 3, 1]).sentence() == "no difference shown (p = 0.53)"
    many = sign_flip_test(np.ones(60))
    assert (many.decision, many.smallest_p) == ("higher error", 1e-5)


@pytest.mark.parametrize(("seeds", "rate"), [(5, 0.0), (6, 2 / 64), (7, 6 / 128), (8, 12 / 256)])
def test_sign_flips_alarm_at_most_as_often_as_stated(seeds, rate):
    # Under symmetry every sign pattern is equally likely, so the rate is that of the patterns of
    # any magnitudes: the largest multiple of 2 / 2**S that is at most 5 %, heavy tails or not.
    magnitudes = np.random.default_rng(seeds).standard_cauchy(seeds)
    patterns = itertools.product((-1, 1), repeat=seeds)
    said = [sign_flip_test(magnitudes * pattern).decision for pattern in patterns]
    assert np.mean([decision.endswith("error") for decision in said]) == rate <= 0.05


# Pigeonhole bootstrap ---------------------------------------------------------------------------


def test_pigeonhole_matches_explicit_resampling():
    rng = np.random.default_rng(6)
    wrong, baseline = (rng.random((2, 4, 25)) < 0.3).astype(float)
    found = pigeonhole_interval(wrong, baseline, level=0.8, resamples=500, seed=9)
    replay = np.random.default_rng(9)
    means = []
    for _ in range(500):
        rows, columns = replay.integers(4, size=4), replay.integers(25, size=25)
        means.append(np.mean([[wrong[s, i] - baseline[s, i] for i in columns] for s in rows]))
    assert found == pytest.approx(tuple(np.quantile(means, [0.1, 0.9])))
    assert found == pigeonhole_interval(wrong, baseline, level=0.8, resamples=500, seed=9)
    assert found != pigeonhole_interval(wrong, baseline, level=0.8, resamples=500, seed=10)


@pytest.mark.parametrize("sds", LAYOUTS.values(), ids=LAYOUTS)
def test_pigeonhole_variance_is_as_in_theory(sds):
    d = draw(np.random.default_rng(8), 20, 60, *sds)
    # Counts have second moments E[u u'] = I + (1 - 1/S) 1 1', likewise for v, and are independent.
    moments = [np.eye(n) + (1 - 1 / n) * np.ones((n, n)) for n in d.shape]
    variance = np.trace(d.T @ moments[0] @ d @ moments[1]) / d.size**2 - d.mean() ** 2
    low, high = pigeonhole_interval(d, np.zeros_like(d), level=0.6827, resamples=4000)
    assert (high - low) / 2 == pytest.approx(math.sqrt(variance), rel=0.06)
    assert (high + low) / 2 == pytest.approx(d.mean(), abs=0.1 * math.sqrt(variance))


def test_pigeonhole_counts_pure_noise_three_times():
    d = draw(np.random.default_rng(8), 30, 100, 0.0, 0.0, 1.0)
    low, high = pigeonhole_interval(d, np.zeros_like(d), level=0.6827, resamples=4000)
    assert ((high - low) / 2) ** 2 * d.size == pytest.approx(3, rel=0.15)


def test_pigeonhole_of_a_stack_uses_the_same_counts_for_all():
    stack = np.random.default_rng(1).normal(size=(3, 4, 6))
    found = resampled_means(stack, 50, np.random.default_rng(2))
    for k in range(3):
        alone = resampled_means(stack[k], 50, np.random.default_rng(2))
        assert found[:, k] == pytest.approx(alone)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sds", "lowest", "highest"),
    [((0.3, 1.0, 0.0), 0.92, 0.97), ((0.0, 1.0, 1.0), 0.93, 0.98), ((0.0, 0.0, 1.0), 0.99, 1.0)],
)
def test_pigeonhole_covers_with_many_seeds_unless_all_is_noise(sds, lowest, highest):
    rng = np.random.default_rng(3)
    d = np.stack([draw(rng, 20, 60, *sds) for _ in range(1500)])
    low, high = np.quantile(resampled_means(d, 400, rng), (0.025, 0.975), axis=0)
    assert lowest <= np.mean((low <= 0) & (high >= 0)) <= highest


def test_pigeonhole_refuses():
    with pytest.raises(ValueError, match="one seed"):
        pigeonhole_interval([[0, 1]], [[0, 0]])
    with pytest.raises(ValueError, match="resamples must be at least 1"):
        pigeonhole_interval(np.eye(2), np.eye(2), resamples=0)


# Words ------------------------------------------------------------------------------------------


ONE = Comparison(0.1, None, None, None, None, 1, "crossed")
SAME = Comparison(0.0, 0.0, (-0.006, 0.006), 1.0, None, 3, "crossed")
CONSTANT = Comparison(0.1, 0.0, None, None, None, 3, "crossed")


@pytest.mark.parametrize(
    ("comparison", "adjusted_p", "expected"),
    [
        (SHOWN, 0.016, "lower error"),
        (replace(SHOWN, difference=1.2), 0.016, "higher error"),
        (SHOWN, 0.05, "lower error"),
        (
            SHOWN,
            0.051,
            "no difference shown after correcting for all comparisons; shown before it",
        ),
        (NOT_SHOWN, 0.58, "no difference shown; 5 seeds could have detected 1.9 points or more"),
        (
            replace(NOT_SHOWN, method="corrected-resampled-t", n_seeds=10, detectable=123.4),
            1.0,
            "no difference shown; 10 folds could have detected 123 points or more",
        ),
        (
            replace(NOT_SHOWN, detectable=0.0437),
            1.0,
            "no difference shown; 5 seeds could have detected 0.044 points or more",
        ),
        (SAME, 1.0, "no difference shown: every prediction was the same"),
        (
            replace(SAME, method="corrected-resampled-t"),
            1.0,
            "no difference shown: every fold was the same",
        ),
        (ONE, None, "not decided: one seed says nothing about new seeds"),
        (ONE, 0.001, "not decided: one seed says nothing about new seeds"),
        (
            replace(ONE, method="corrected-resampled-t"),
            None,
            "not decided: one fold says nothing about new folds",
        ),
        (
            CONSTANT,
            math.nan,
            "not decided: all seeds differ equally, so the standard error is unknown",
        ),
        (SHOWN, None, "not decided: there is no p-value"),
        (SHOWN, math.nan, "not decided: there is no p-value"),
    ],
)
def test_verdicts(comparison, adjusted_p, expected):
    sentence = verdict(comparison, adjusted_p)
    assert sentence == expected
    assert len(sentence) <= 80
    assert sentence.startswith(decide(comparison, adjusted_p))


def test_verdict_follows_level_and_unit():
    assert decide(SHOWN, 0.03, level=0.95) == "lower error"
    assert decide(SHOWN, 0.03, level=0.99) == "no difference shown"
    assert verdict(NOT_SHOWN, 1.0, unit="pp").endswith("could have detected 1.9 pp or more")


def test_from_arrays_to_words():
    rng = np.random.default_rng(12)
    baseline = rng.random((5, 400)) < 0.3
    better = baseline & (rng.random((5, 400)) < 0.6)
    noise = np.where(rng.random((5, 400)) < 0.1, ~baseline, baseline) & (rng.random(400) < 0.99)
    found = [crossed_difference(wrong, baseline).scaled(100) for wrong in (better, baseline, noise)]
    adjusted = holm([comparison.p for comparison in found])
    words = [decide(*pair) for pair in zip(found, adjusted, strict=True)]
    assert words[:2] == ["lower error", "no difference shown"]
    assert found[0].difference == pytest.approx(100 * (better.mean() - baseline.mean()))


def test_scaled_changes_the_unit_only():
    found = SHOWN.scaled(0.01)
    assert astuple(found)[:2] == pytest.approx((-0.012, 0.003))
    assert found.interval == pytest.approx((-0.02, -0.004))
    assert found.detectable == pytest.approx(0.011)
    assert (found.p, found.n_seeds, found.method) == (SHOWN.p, 5, "crossed")
    assert ONE.scaled(100) == replace(ONE, difference=10.0)
    for factor in (0, -1, math.nan, math.inf):
        with pytest.raises(ValueError, match="factor must be positive"):
            SHOWN.scaled(factor)
    with pytest.raises(FrozenInstanceError):
        SHOWN.p = 0.0
