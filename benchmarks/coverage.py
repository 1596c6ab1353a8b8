"""Do the statistics keep what they promise? Thousands of made-up studies of known truth.

    python benchmarks/coverage.py [--studies N] [--pigeonhole-studies N]

Coverage of 95 % intervals, false alarms of tests, power of planned studies and verdicts on claims,
on one core in minutes; the worlds are in `_worlds.py`. The standard error of a coverage of 95 % is
0.2 points at 12,000 studies. Figures go to ``benchmarks/results/coverage.json``.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import ndtri

from _best_rule import smallest_error
from _worlds import Array, World, binary, binary_worlds, folds, normal, normal_worlds
from ampmix.statistics import (
    Components,
    Printed,
    corrected_resampled_t,
    crossed_difference,
    crossed_relative_improvement,
    holm,
    judge_claim,
    seeds_needed,
    sign_flip_test,
)
from ampmix.statistics.crossed import mean_squares, reach
from ampmix.statistics.pigeonhole import resampled_means

Row = dict[str, Any]

SEEDS = (2, 3, 4, 5, 7, 10)
EXAMPLES = (50, 500)
LEVEL = 0.95
RESAMPLES = 400
RESULTS = Path(__file__).parent / "results" / "coverage.json"


def intervals(studies: int) -> Iterator[Row]:
    """Coverage of `crossed_difference` and its width over that of a known variance."""
    for world in normal_worlds() + binary_worlds():
        for examples in EXAMPLES:
            for seeds in SEEDS:
                means, halves = [], []
                for wrong, baseline in world.studies(studies, seeds, examples):
                    means.append((wrong - baseline).mean(axis=(1, 2)))
                    ms = mean_squares(wrong - baseline)
                    halves.append(reach(ms, seeds, examples, (1 - LEVEL) / 2))
                mean, half = np.concatenate(means), np.concatenate(halves)
                held = np.abs(mean - world.truth) <= half + 1e-12
                ideal = float(ndtri((1 + LEVEL) / 2)) * float(mean.std())
                yield {
                    "world": world.name,
                    "seeds": seeds,
                    "examples": examples,
                    "coverage": float(held.mean()),
                    "relative_width": float(half.mean()) / ideal,
                }


def pigeonhole(studies: int) -> Iterator[Row]:
    """Coverage of the pigeonhole bootstrap; a stack of studies shares its resampling counts."""
    tails = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
    for world in normal_worlds() + binary_worlds():
        for seeds in (2, 3, 5, 10, 20):
            held, rng = [], np.random.default_rng(seeds)
            for wrong, baseline in world.studies(studies, seeds, 100):
                means = resampled_means(wrong - baseline, RESAMPLES, rng)
                low, high = np.quantile(means, tails, axis=0)
                held.append((low <= world.truth) & (world.truth <= high))
            coverage = float(np.concatenate(held).mean())
            yield {"world": world.name, "seeds": seeds, "examples": 100, "coverage": coverage}


def relative(studies: int) -> Iterator[Row]:
    """Coverage of RP's interval; one that is unbounded holds the truth."""
    rare = World("0/1 better, 1 % wrong", _binary((0.008, 0.01)), 0.008, 0.01)
    for world in [*binary_worlds(), rare]:
        for examples in EXAMPLES:
            for seeds in (2, 3, 5, 10):
                truth = 100 * (1 - world.error / world.error_baseline)
                held = unbounded = 0
                for amp, mixup in world.studies(studies, seeds, examples):
                    for pair in zip(mixup, amp, strict=True):
                        found = crossed_relative_improvement(*pair, LEVEL).interval
                        unbounded += found is None
                        held += found is None or found[0] <= truth <= found[1]
                yield {
                    "world": world.name,
                    "seeds": seeds,
                    "examples": examples,
                    "coverage": held / studies,
                    "unbounded": unbounded / studies,
                }


def cross_validation(studies: int) -> Iterator[Row]:
    """Coverage of the corrected resampled t: where its assumption holds, and in real folds."""
    for k in (5, 10):
        rng = np.random.default_rng(k)
        shared = np.sqrt(1 / k) * rng.standard_normal((studies, 1))  # correlation n_test / n
        assumed = shared + np.sqrt(1 - 1 / k) * rng.standard_normal((studies, k))
        stable, unstable = folds(rng, studies, k, 200, 8), folds(rng, studies, k, 60, 200)
        for world, drawn, truth in (
            ("as assumed", assumed, 0.0),
            ("stable classifiers", stable, float(stable.mean())),
            ("unstable classifiers", unstable, float(unstable.mean())),
        ):
            found = [corrected_resampled_t(row, k - 1, 1, LEVEL).interval for row in drawn]
            held = [i is not None and i[0] <= truth <= i[1] for i in found]
            between = np.asarray(np.corrcoef(drawn.T))[np.triu_indices(k, 1)].mean()
            yield {
                "world": world,
                "folds": k,
                "correlation": float(between),
                "coverage": float(np.mean(held)),
            }


def false_alarms(studies: int) -> Iterator[Row]:
    """Rates of alarms where there is no difference: sign flips, and four policies under Holm."""
    rng = np.random.default_rng(1)
    for seeds in (5, 6, 7, 8, 12):
        drawn = rng.standard_t(3, (studies, seeds))
        said = [sign_flip_test(row, LEVEL).decision for row in drawn]
        alarms = np.mean([decision.endswith("error") for decision in said])
        yield {"test": "sign flips", "seeds": seeds, "alarms": float(alarms)}
    for seeds in (3, 5, 10):
        any_alarm = []
        for _ in range(studies // 4):
            drawn = normal(rng, 5, seeds, 60, (0.3, 0.3, 0.4))[0]
            p = [crossed_difference(policy, drawn[0], LEVEL).p for policy in drawn[1:]]
            any_alarm.append(bool((holm(p) <= 1 - LEVEL).any()))
        yield {"test": "four policies, Holm", "seeds": seeds, "alarms": float(np.mean(any_alarm))}


def planned(studies: int) -> Iterator[Row]:
    """Power of studies with the seeds that `seeds_needed` asks for at 80 %."""
    for seed, example, residual, wanted in (
        (0.3, 0.0, 10.0, 0.6),
        (0.3, 10.0, 10.0, 0.9),
        (0.05, 10.0, 100.0, 0.8),
        (1.0, 1.0, 1.0, 1.5),
        (0.0, 10.0, 200.0, 0.7),
    ):
        components = Components(seed, example, residual, 300)
        seeds = seeds_needed(components, wanted, LEVEL).seeds
        assert seeds is not None
        of_mean = np.array([seed / seeds, example / 300, residual / (seeds * 300)])
        world = World("planned", _normal(tuple(of_mean)), 0.0, 0.0)
        shown: list[Array] = []
        for drawn, _ in world.studies(studies, seeds, 300):
            half = reach(mean_squares(drawn), seeds, 300, (1 - LEVEL) / 2)
            shown.append(drawn.mean(axis=(1, 2)) + wanted > half)
        yield {
            "components": [seed, example, residual],
            "difference": wanted,
            "seeds": seeds,
            "power": float(np.concatenate(shown).mean()),
        }


def claims(studies: int) -> Iterator[Row]:
    """Verdicts on a printed difference: ten runs each, of deviation 0.5; ours are 0.5 apart."""
    rng = np.random.default_rng(2)
    for claimed, ours in (
        (-1.0, -1.0),
        (-0.3, -0.3),
        (-1.0, -0.3),
        (-1.0, 0.0),
        (-1.0, 1.0),
        (0.0, 0.0),
    ):
        for seeds in (5, 10):
            said = dict.fromkeys(("reproduced", "contradicted", "not decided"), 0)
            for _ in range(studies):
                runs = 10 + 0.5 * rng.standard_normal((2, 10))
                mean, std = runs.mean(axis=1), runs.std(axis=1, ddof=1)
                printed = Printed(mean[0] + claimed, mean[1], std[0], std[1], 10)
                variances = np.array([0.25 / seeds, 0.04, 10 / (seeds * 300)])
                drawn = ours + normal(rng, 1, seeds, 300, tuple(variances))[0][0]
                comparison = crossed_difference(drawn, np.zeros_like(drawn), LEVEL)
                said[judge_claim(comparison, printed, LEVEL)] += 1
            rates = {decision: count / studies for decision, count in said.items()}
            yield {"claimed": claimed, "true": ours, "seeds": seeds, **rates}


def _normal(shares: tuple[float, ...]) -> Any:
    return partial(normal, shares=shares)


def _binary(errors: tuple[float, float]) -> Any:
    return partial(binary, errors=errors, preference=0.5, run=0.1)


def best_possible(_studies: int) -> Iterator[Row]:
    """What no rule can beat that claims no more than the test examples alone allow."""
    for seeds in SEEDS:
        yield {"seeds": seeds, "error": smallest_error(seeds, LEVEL)}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--studies", type=int, default=12000, metavar="N")
    parser.add_argument("--pigeonhole-studies", type=int, default=2000, metavar="N")
    options = parser.parse_args()

    figures: dict[str, Any] = {
        "level": LEVEL,
        "studies": options.studies,
        "pigeonhole_studies": options.pigeonhole_studies,
        "pigeonhole_resamples": RESAMPLES,
    }
    start, cpu = time.perf_counter(), time.process_time()
    for part, studies in (
        (intervals, options.studies),
        (pigeonhole, options.pigeonhole_studies),
        (relative, options.studies // 2),
        (cross_validation, options.studies),
        (false_alarms, options.studies),
        (planned, options.studies),
        (claims, options.studies // 2),
        (best_possible, 0),
    ):
        rows = []
        for row in part(studies):
            rows.append(row)
            print(part.__name__, *row.values(), sep="\t", flush=True)
        figures[part.__name__] = rows
        print(f"{time.perf_counter() - start:.0f} s")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(f"{time.process_time() - cpu:.0f} s of one core; figures in {RESULTS}")


if __name__ == "__main__":
    main()
