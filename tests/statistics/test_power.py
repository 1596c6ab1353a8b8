"""Variance components and the seeds that would decide, against expectation and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from ampmix.errors import AmpmixError
from ampmix.statistics import Components, SeedsNeeded, seeds_needed, variance_components
from ampmix.statistics.crossed import mean_squares, reach


def draw(rng: np.random.Generator, components: Components, studies: int, seeds: int) -> np.ndarray:
    shape = (studies, seeds, components.examples)
    return np.asarray(
        math.sqrt(components.seed) * rng.standard_normal((studies, seeds, 1))
        + math.sqrt(components.example) * rng.standard_normal((studies, 1, components.examples))
        + math.sqrt(components.residual) * rng.standard_normal(shape)
    )


def test_components_are_right_on_average() -> None:
    truth = Components(seed=0.5, example=2.0, residual=1.0, examples=40)
    drawn = draw(np.random.default_rng(1), truth, 1500, 6)
    found = [variance_components(d, np.zeros_like(d)) for d in drawn]
    for name in ("seed", "example", "residual"):
        values = np.array([getattr(components, name) for components in found])
        error = values.std() / math.sqrt(values.size)
        assert values.mean() == pytest.approx(getattr(truth, name), abs=4 * error)


def test_components_solve_the_expected_mean_squares() -> None:
    d = draw(np.random.default_rng(2), Components(0.5, 2.0, 1.0, 30), 1, 5)[0]
    ms = mean_squares(d)
    expected = variance_components(d, np.zeros_like(d)).mean_squares(5)
    assert [float(part) for part in expected] == pytest.approx([float(part) for part in ms])


def test_no_component_is_negative() -> None:
    interaction = [[1.0, -1.0], [-1.0, 1.0]]
    found = variance_components(interaction, np.zeros((2, 2)))
    assert found == Components(seed=0.0, example=0.0, residual=4.0, examples=2)


def test_one_seed_tells_nothing() -> None:
    with pytest.raises(AmpmixError, match="one seed tells no variance"):
        variance_components([[0, 1]], [[0, 0]])


def test_the_limit_is_that_of_a_paired_t_test_over_the_examples() -> None:
    components = Components(seed=1.0, example=4.0, residual=30.0, examples=25)
    t = stats.t(24)
    assert components.limit() == pytest.approx((t.isf(0.025) + t.isf(0.2)) * math.sqrt(4 / 25))
    detectable = [components.detectable(seeds) for seeds in (2, 5, 10, 100, 10**7)]
    assert detectable == sorted(detectable, reverse=True)
    assert detectable[-1] == pytest.approx(components.limit(), rel=1e-3)
    assert detectable[-1] > components.limit()


@pytest.mark.parametrize(
    ("components", "difference"),
    [
        (Components(0.3, 0.0, 10.0, 300), 0.6),
        (Components(0.3, 10.0, 10.0, 300), -0.9),
        (Components(0.0, 10.0, 200.0, 300), 0.7),
        (Components(1.0, 0.0, 0.0, 50), 3.0),
        (Components(1e-9, 1.0, 1e-9, 50), 2.0),
    ],
)
def test_seeds_needed_are_the_fewest(components: Components, difference: float) -> None:
    found = seeds_needed(components, difference)
    naive = next(s for s in range(2, 1000) if components.detectable(s) <= abs(difference))
    assert found == SeedsNeeded(abs(difference), naive, components.limit())


@pytest.mark.parametrize(
    ("components", "difference"),
    [
        (Components(0.3, 0.0, 10.0, 300), 0.6),
        (Components(0.3, 10.0, 10.0, 300), 0.9),
        (Components(0.0, 10.0, 200.0, 300), 0.7),
    ],
)
def test_that_many_seeds_decide_in_about_80_percent(
    components: Components, difference: float
) -> None:
    seeds = seeds_needed(components, difference).seeds
    assert seeds is not None
    rng = np.random.default_rng(4)

    def power(n: int) -> float:
        d = draw(rng, components, 600, n) + difference
        shown = d.mean(axis=(1, 2)) > reach(mean_squares(d), n, components.examples, 0.025)
        return float(shown.mean())

    assert 0.72 <= power(seeds) <= 0.9
    assert power(max(2, seeds // 2)) < 0.72


def test_seeds_cannot_help_where_the_test_set_is_the_limit() -> None:
    components = Components(seed=0.1, example=100.0, residual=10.0, examples=400)
    found = seeds_needed(components, 1.3)
    assert found == SeedsNeeded(1.3, None, components.limit())
    assert found.sentence() == (
        "1.3 points: more seeds cannot help, the test set is the limit (1.4 points)"
    )
    # Simulated with seeds enough to make their part vanish: power stays below 80 %.
    d = draw(np.random.default_rng(5), components, 400, 60) + 1.3
    shown = d.mean(axis=(1, 2)) > reach(mean_squares(d), 60, 400, 0.025)
    assert shown.mean() < 0.8
    above = seeds_needed(components, components.limit() * (1 + 1e-6))
    assert above.seeds is not None
    assert above.seeds > 1000


def test_sentence_with_seeds() -> None:
    assert SeedsNeeded(0.5, 12, 0.1).sentence() == "0.5 points: 12 seeds would decide it"
    assert SeedsNeeded(25.0, 2, 0.1).sentence("%") == "25 %: 2 seeds would decide it"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.0,), "difference must be finite and not 0"),
        ((math.nan,), "difference must be"),
        ((math.inf,), "difference must be"),
        ((1.0, 95), "level must lie between"),
        ((1.0, 0.95, 80), "power must lie between"),
        ((1.0, 0.95, 0.5), "power must be above 0.5"),
    ],
)
def test_nonsense_is_refused(arguments: tuple[float, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        seeds_needed(Components(1.0, 1.0, 1.0, 10), *arguments)


def test_no_variance_is_no_plan() -> None:
    with pytest.raises(AmpmixError, match="no variance to plan with"):
        seeds_needed(Components(0.0, 0.0, 0.0, 10), 1.0)
