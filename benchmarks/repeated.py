"""Do intervals of repeated cross-validation cover? Real learners on real texts.

    AMPMIX_DATA=FOLDER python benchmarks/repeated.py [--draws N] [--network-draws N] [--worlds WORD]

A draw is a study: n texts of SUBJ, MR or TREC, ten repeats of five folds, seven learners
(`_cheap_learners.py`); of `network` two policies on a TextCNN of ours. The truth is the mean
difference over all draws: cross-validation is unbiased for models of n (K-1)/K texts. Draws of n
out of N texts differ less than draws of an unlimited supply, so a distance from the truth is
divided by ``sqrt(1 - n/N)``. Worlds that ``benchmarks/results/repeated.json`` has are not simulated
again.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from _cheap_learners import Draw, Pool, Wrong, naive_bayes, nearest, ridge
from ampmix.statistics.comparison import FewTexts
from ampmix.statistics.crossed import mean_squares
from ampmix.statistics.crossed import reach as crossed_reach
from ampmix.statistics.repeated import RepeatedFolds

Array = npt.NDArray[np.float64]
Row = dict[str, Any]

FOLDS, REPEATS = 5, (2, 3, 5, 10)
SHIFTS = (0.01, 0.02, 0.04)
TAIL = 0.025
RESULTS = Path(__file__).parent / "results" / "repeated.json"

LEARNERS = {
    "ridge": ridge(1.0),
    "bayes": naive_bayes(),
    "smoother bayes": naive_bayes(smoothing=2.0),
    "even bayes": naive_bayes(smoothing=1.0, even=True),
    "half bayes": naive_bayes(0.5),
    "half bayes again": naive_bayes(0.5),
    "nearest": nearest,
}
PAIRS = {
    "stable, different": ("ridge", "bayes"),
    "stable, hardly different": ("smoother bayes", "bayes"),
    "one minds the classes' shares": ("ridge", "even bayes"),
    "noisy, equal": ("half bayes", "half bayes again"),
    "noisy against stable": ("half bayes", "bayes"),
    "nearest text against stable": ("nearest", "bayes"),
}


@dataclass(frozen=True)
class World:
    """Texts that studies are drawn from, and how.

    Attributes:
        name: of the world.
        file: below ``sent-conv``.
        texts: of a study.
        shares: of the classes; None as they come.
        twice: every text stands twice, the second time without a fifth of its words, in one fold.
    """

    name: str
    file: str
    texts: int
    shares: tuple[float, ...] | None = None
    twice: bool = False

    def draw(
        self, pool: Pool, rng: np.random.Generator, repeats: int = max(REPEATS)
    ) -> tuple[Draw, RepeatedFolds, float]:
        """A study, its layout, and the part of the texts that it has."""
        n = self.texts // 2 if self.twice else self.texts
        if self.shares is None:
            supply = len(pool.labels)
            indices = rng.choice(supply, n, replace=False)
        else:
            own = rng.multinomial(n, self.shares)
            of_class = [np.flatnonzero(pool.labels == c) for c in range(len(own))]
            indices = np.concatenate(
                [rng.choice(o, k, replace=False) for o, k in zip(of_class, own, strict=True)]
            )
            supply = round(min(len(o) / s for o, s in zip(of_class, self.shares, strict=True)))
        folds = np.stack([dealt(pool.labels[indices], rng) for _ in range(repeats)])
        groups = None
        if self.twice:
            groups = np.tile(np.arange(n), 2)
            indices, folds = np.tile(indices, 2), np.tile(folds, 2)
        draw = Draw(pool, indices, folds, rng, blurred=n if self.twice else None)
        return draw, RepeatedFolds(folds, groups), n / supply


SUBJ, MR, TREC = "subj.all", "rt-polarity.all", "TREC.train.all"
WORLDS = (
    *(World(f"SUBJ, {n:,} texts", SUBJ, n) for n in (100, 200, 300, 600, 1000)),
    *(World(f"MR, {n:,} texts", MR, n) for n in (100, 300, 600)),
    *(World(f"TREC, six classes, {n:,} texts", TREC, n) for n in (100, 300, 600)),
    *(
        World(f"SUBJ, nine of ten of one class, {n:,} texts", SUBJ, n, (0.9, 0.1))
        for n in (300, 600)
    ),
    World("SUBJ, each text nearly twice, 300 texts", SUBJ, 300, None, True),
)


def dealt(labels: npt.NDArray[Any], rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Stratified folds, as ``ampmix.data.splits`` deals them."""
    order = [rng.permutation(np.flatnonzero(labels == c)) for c in np.unique(labels)]
    folds = np.empty(len(labels), np.int64)
    folds[np.concatenate(order)] = np.arange(len(labels)) % FOLDS
    return folds


def t_reach(means: Array, folds: int) -> float:
    """Reach of the corrected resampled t over the means of folds, n_test / (n - n_test)."""
    ratio = 1 / len(means) + 1 / (folds - 1)
    return float(stdtrit(len(means) - 1, 1 - TAIL)) * float(np.sqrt(ratio * means.var(ddof=1)))


def reaches(d: Array, layout: RepeatedFolds) -> dict[str, tuple[float, float]]:
    """Difference and reach by each rule, of differences ``[R, n]``."""
    parts, mean = layout.parts(d), float(d.mean())
    fold_means = np.bincount(layout.runs.ravel(), weights=d.ravel()) / layout.sizes
    once = len(np.unique(layout.folds[0]))
    ms = mean_squares(d)
    t_texts = float(stdtrit(parts.units - 1, 1 - TAIL)) ** 2
    crossed = float(crossed_reach(ms, d.shape[0], d.shape[1], TAIL))
    factor = parts.folds / (parts.folds - 1)
    room = t_texts * factor * parts.again / 2
    return {
        "corrected t, one repeat": (float(d[0].mean()), t_reach(fold_means[:once], once)),
        "corrected t, all folds": (mean, t_reach(fold_means, once)),
        "per text": (mean, float(np.sqrt(t_texts * parts.texts))),
        "crossed": (mean, crossed),
        "crossed, all of the text term widened": (
            mean, float(np.sqrt(crossed**2 + factor * t_texts * parts.texts)),
        ),
        "half of the chosen room for training": (
            mean, float(np.sqrt(parts.reach(1 - TAIL) ** 2 - room)),
        ),
        "chosen": chosen(mean, parts.reach(1 - TAIL), layout.few(d)),
        "chosen, detectable": (mean, parts.reach(1 - TAIL) + parts.reach(0.8)),
    }  # fmt: skip


def chosen(mean: float, reach: float, few: FewTexts) -> tuple[float, float]:
    """Middle and half-width of the chosen interval, exact where a handful of texts differ."""
    low, high = mean - reach, mean + reach
    if few.too_few(1 - 2 * TAIL):
        exact = few.reach(1 - 2 * TAIL)
        low, high = min(low, exact[0]), max(high, exact[1])
    return (low + high) / 2, (high - low) / 2


Study = tuple[Mapping[str, Wrong], RepeatedFolds, float]


def studies(world: World, draws: int) -> Iterator[Study]:
    """Errors of all learners, draw by draw."""
    pool, rng = pool_of(world.file), np.random.default_rng([world.texts, *world.name.encode()])
    for _ in range(draws):
        draw, layout, part = world.draw(pool, rng)
        yield {name: learn(draw) for name, learn in LEARNERS.items()}, layout, part


@cache
def pool_of(file: str) -> Pool:
    return Pool.read(Path(os.environ["AMPMIX_DATA"], "sent-conv", file))


def of_world(world: World, draws: int) -> list[Row]:
    """What comes out in a world."""
    return simulated(studies(world, draws), PAIRS, REPEATS)


def simulated(
    made: Iterator[Study], pairs: Mapping[str, tuple[str, str]], repeats: tuple[int, ...]
) -> list[Row]:
    """Cover, width and power of each rule, by pair and number of repeats."""
    found: dict[tuple[str, int], list[dict[str, tuple[float, float]]]] = {}
    parts = set[float]()
    for wrong, whole, part in made:
        parts.add(part)
        layouts = {r: RepeatedFolds(whole.folds[:r], whole.groups) for r in repeats}
        for pair, (own, baseline) in pairs.items():
            d = wrong[own].astype(np.float64) - wrong[baseline]
            for r in repeats:
                found.setdefault((pair, r), []).append(reaches(d[:r], layouts[r]))
    (part,), rows = parts, []
    for (pair, r), of_draws in found.items():
        truths = [one["per text"][0] for one in found[pair, max(repeats)]]
        truth = 0.0 if pair.endswith("equal") else float(np.mean(truths))
        rules = {rule: np.array([one[rule] for one in of_draws]) for rule in of_draws[0]}
        detectable = rules.pop("chosen, detectable")[:, 1]
        limited = 0.0 if pair.endswith("equal") else part  # equal ones differ by seeds alone
        off = {rule: (v[:, 0] - truth) / np.sqrt(1 - limited) for rule, v in rules.items()}
        rows.append(
            {
                "pair": pair,
                "repeats": r,
                "truth": 100 * truth,
                "rules": {rule: measured(off[rule], v[:, 1]) for rule, v in rules.items()},
                "could_have_shown": 100 * float(detectable.mean()),
                "power_at_could_have_shown": shown(
                    off["chosen"], rules["chosen"][:, 1], float(detectable.mean())
                ),
            }
        )
    return rows


def measured(off: Array, reach: Array) -> Row:
    """Cover and half-width in points, and shares of studies that show a difference."""
    power = {f"{100 * shift:.0f}": shown(off, reach, shift) for shift in SHIFTS}
    return {
        "cover": float((np.abs(off) <= reach).mean()),
        "half_width": 100 * float(reach.mean()),
        "shows": power,
    }


def shown(off: Array, reach: Array, shift: float) -> float:
    """Share of studies whose interval would exclude 0 were the true difference `shift`."""
    sides = [(np.abs(off + side * shift) > reach).mean() for side in (-1, 1)]
    return float(np.mean(sides))


def network(draws: int) -> Iterator[Study]:
    """Two policies on a small TextCNN of ours, 200 texts of SUBJ, three repeats of three folds."""
    from _small_network import network_studies

    yield from network_studies(pool_path(SUBJ), draws)


def of_scikit_learn(draws: int) -> Iterator[Study]:
    """Logistic regression, and ComplementNB, which minds the classes' shares: 200 texts of SUBJ."""
    from sklearn.feature_extraction.text import HashingVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.naive_bayes import ComplementNB

    lines = pool_path(SUBJ).read_text(encoding="latin1").split("\n")
    rows = [line.split(" ", 1) for line in lines if line.strip()]
    hashed = HashingVectorizer(n_features=2**14, alternate_sign=False)
    texts, labels = hashed.transform([t for _, t in rows]), np.array([int(y) for y, _ in rows])
    learners = {
        "logistic": LogisticRegression(C=10, solver="liblinear"),
        "complement": ComplementNB(),
    }
    rng = np.random.default_rng(200)
    for _ in range(draws):
        own = rng.choice(len(labels), 200, replace=False)
        x, y = texts[own], labels[own]
        folds = np.stack([dealt(y, rng) for _ in range(8)])
        wrong = {name: np.empty(folds.shape, bool) for name in learners}
        for repeat, fold in np.ndindex(len(folds), FOLDS):
            test = folds[repeat] == fold
            for name, learner in learners.items():
                wrong[name][repeat, test] = (
                    learner.fit(x[~test], y[~test]).predict(x[test]) != y[test]
                )
        yield wrong, RepeatedFolds(folds), 200 / len(labels)


def pool_path(file: str) -> Path:
    return Path(os.environ["AMPMIX_DATA"], "sent-conv", file)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--draws", type=int, default=1000, metavar="N")
    parser.add_argument("--network-draws", type=int, default=60, metavar="N")
    parser.add_argument("--worlds", default="", metavar="WORD", help="worlds whose names have it")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FILE")
    options = parser.parse_args()
    known = json.loads(options.results.read_text()) if options.results.exists() else {"worlds": []}
    todo: list[tuple[str, int, Callable[[int], list[Row]]]] = [
        (w.name, options.draws, partial(of_world, w)) for w in WORLDS
    ]
    of_network = {"a network of ours, equal": ("none", "none again"),
                  "a network of ours, none and mixup": ("mixup", "none")}  # fmt: skip
    of_others = {"one minds the classes' shares": ("logistic", "complement")}
    todo.append(
        ("SUBJ, learners of scikit-learn, 200 texts", options.network_draws * 3,
         lambda n: simulated(of_scikit_learn(n), of_others, (2, 3, 5, 8)))
    )  # fmt: skip
    todo.append(
        ("SUBJ, TextCNN, 200 texts", options.network_draws,
         lambda n: simulated(network(n), of_network, (2, 3)))
    )  # fmt: skip
    for name, draws, simulate in todo:
        if options.worlds not in name or any(w["world"] == name for w in known["worlds"]):
            continue
        started = time.process_time()
        rows = simulate(draws)
        seconds = round(time.process_time() - started)
        known["worlds"].append({"world": name, "draws": draws, "seconds": seconds, "rows": rows})
        known["command"] = "AMPMIX_DATA=FOLDER python benchmarks/repeated.py"
        options.results.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
        print(f"{name}: {draws} draws, {seconds} s", flush=True)


if __name__ == "__main__":
    main()
