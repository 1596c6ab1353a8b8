"""Error spending against published bounds, and false alarms of looks by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from ampmix.statistics import repeated_difference
from ampmix.statistics.spending import judge_in_turn, look_levels, spent


def like_obrien_fleming(t, alpha):
    """Half of alpha on either side, each as in Lan and DeMets."""
    return 4 - 4 * stats.norm.cdf(stats.norm.isf(alpha / 4) / math.sqrt(t))


@pytest.mark.parametrize(
    ("spend", "published"),
    [
        # Jennison and Turnbull 2000, Group Sequential Methods, and the R package gsDesign
        (like_obrien_fleming, (4.8769, 3.3569, 2.6803, 2.2898, 2.0310)),
        (spent, (2.4380, 2.4268, 2.4101, 2.3966, 2.3859)),
    ],
)
def test_bounds_are_those_of_the_tables(spend, published):
    levels = look_levels([0.2, 0.4, 0.6, 0.8, 1.0], 0.95, spend)
    bounds = [stats.norm.isf((1 - level) / 2) for level in levels]
    assert bounds == pytest.approx(published, abs=2e-3)


def test_one_look_has_the_level_and_any_number_the_stated_error():
    assert look_levels([1.0])[0] == pytest.approx(0.95)
    rng, fractions = np.random.default_rng(0), np.array([0.3, 0.5, 0.9, 1.0])
    steps = rng.standard_normal((200_000, 4)) * np.sqrt(np.diff(fractions, prepend=0))
    z = np.abs(steps.cumsum(1)) / np.sqrt(fractions)
    bounds = stats.norm.isf((1 - np.array(look_levels(fractions.tolist()))) / 2)
    assert (z > bounds).any(1).mean() == pytest.approx(0.05, abs=0.002)


@pytest.mark.parametrize("fractions", [[], [0.5, 0.4], [0.0, 1.0], [0.5, 1.1]])
def test_fractions_rise(fractions):
    with pytest.raises(ValueError, match="fractions must rise"):
        look_levels(fractions)


def studies(rng, truths, repeats, texts=60, folds=4, shared=0.7, noise=0.7, runs=0.1):
    """Looks after 2, 3, ... repeats at policies compared with one baseline."""
    layout = np.stack([rng.permutation(np.arange(texts) % folds) for _ in range(repeats)])

    def one(truth):
        own = runs * rng.standard_normal((repeats, folds))
        d = np.take_along_axis(own, layout, axis=1) + shared * rng.standard_normal(texts)
        return truth + d + noise * rng.standard_normal((repeats, texts))

    base = one(0.0)
    made = {name: one(truth) for name, truth in truths.items()}
    return [
        {name: repeated_difference(own[:r], base[:r], layout[:r]) for name, own in made.items()}
        for r in range(2, repeats + 1)
    ]


@pytest.mark.slow
def test_looks_alarm_no_more_often_than_one():
    rng, alarms, naive = np.random.default_rng(1), 0, 0
    for _ in range(250):
        looks = studies(rng, {"a": 0.0, "b": 0.0}, 5, shared=0.0, noise=1.5)
        alarms += bool(judge_in_turn(looks, 5).decided_at)
        naive += any(one.p < 0.05 for look in looks for one in look.values())
    assert alarms / 250 < 0.075
    assert naive / 250 > 0.09  # what looking without spending would do


def test_a_claim_of_an_early_look_stands_and_is_that_of_its_level():
    rng = np.random.default_rng(2)
    early = 0
    for _ in range(20):
        looks = studies(rng, {"a": 0.0, "b": 3.0}, 4)
        found = judge_in_turn(looks, 4, margin=0.6)
        assert found.judgements["b"].decision == "higher error"
        early += found.decided_at["b"] == 2
        assert found.all_decided == ("a" in found.decided_at)
        first = looks[0]["b"]
        if found.decided_at["b"] == 2:
            assert first.p <= 1 - found.levels[0]
    assert early > 10


def test_what_texts_tell_is_spent_at_the_first_look():
    rng = np.random.default_rng(3)
    of_texts = judge_in_turn(studies(rng, {"a": 0.0}, 4, noise=0.01, runs=0.0), 4)
    of_runs = judge_in_turn(studies(rng, {"a": 0.0}, 4, shared=0.0, noise=1.0), 4)
    assert of_texts.levels[0] < 0.955
    assert of_runs.levels[0] > 0.96
