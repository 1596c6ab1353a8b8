"""Do verdicts of redrawn training sets hold for new ones? Real learners on real texts.

    AMPMIX_DATA=FOLDER python benchmarks/redrawn.py [--draws N]

A draw is a study with a test set: 600 texts of SUBJ or MR to learn from, 500 others to test on, and
seeds that each train on a share F of the 600, drawn anew in proportion to the classes, as
``ampmix compare --redraw`` does. The truth is the mean difference over all draws. Draws out of N
texts differ less than those of an unlimited supply, so a distance from the truth is divided by
``sqrt(1 - n/N)``. Figures go to ``benchmarks/results/redrawn.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from _cheap_learners import Pool
from ampmix.statistics import crossed_difference

RESULTS = Path(__file__).parent / "results" / "redrawn.json"
COMMAND = "AMPMIX_DATA=FOLDER python benchmarks/redrawn.py"
FILES = {"SUBJ": "subj.all", "MR": "rt-polarity.all"}
LEARNED, TESTED = 600, 500
SHARES, SEEDS = (0.1, 0.3, 0.5, 0.8), (5, 10)
PAIRS = {
    "stable, different": ("ridge", "bayes"),
    "one minds the classes' shares": ("bayes", "even bayes"),
    "noisy against stable": ("half bayes", "bayes"),
    "noisy, equal": ("half bayes", "half bayes again"),
}
Array = npt.NDArray[np.float64]


def wrong(counts: Any, even: Any, labels: Array, rng: np.random.Generator) -> Mapping[str, Array]:
    """Errors of the learners on the texts after the first `LEARNED`, of one training set's rows.

    `counts` and `even` hold the training set's rows, then the test texts; `labels` likewise.
    """
    learned = len(labels) - TESTED
    y, truth = labels[:learned], labels[learned:]
    found = {}
    for name, x, smoothing, share in (
        ("bayes", counts, 0.5, 1.0),
        ("even bayes", even, 1.0, 1.0),
        ("half bayes", counts, 0.5, 0.5),
        ("half bayes again", counts, 0.5, 0.5),
    ):
        sums = np.stack([np.asarray(x[:learned][y == c].sum(0)).ravel() for c in (0, 1)])
        logs = np.log(sums + smoothing)
        slopes = (
            logs[1] - logs[0] - np.log((sums[1] + smoothing).sum() / (sums[0] + smoothing).sum())
        )
        if share < 1:
            slopes = slopes * (rng.random(len(slopes)) < share)
        found[name] = (x[learned:] @ slopes > 0) != (truth == 1)
    gram = np.asarray((even @ even[:learned].T).toarray()) + 1.0
    dual = np.linalg.solve(gram[:learned] + np.eye(learned), np.where(y == 1, 1.0, -1.0))
    found["ridge"] = (gram[learned:] @ dual > 0) != (truth == 1)
    return found


def simulated(name: str, share: float, draws: int) -> list[dict[str, Any]]:
    """Cover and half-width for one world, by pair and number of seeds, with and without F."""
    pool = Pool.read(Path(os.environ["AMPMIX_DATA"], "sent-conv", FILES[name]))
    rng = np.random.default_rng([round(100 * share), *name.encode()])
    lengths = np.sqrt(pool.counts.multiply(pool.counts).sum(axis=1)).A1
    even = pool.counts.multiply(1 / np.maximum(lengths, 1e-9)[:, None]).tocsr()
    differences: dict[str, list[Array]] = {pair: [] for pair in PAIRS}
    for _ in range(draws):
        drawn = rng.choice(len(pool.labels), LEARNED + TESTED, replace=False)
        texts, test = drawn[:LEARNED], drawn[LEARNED:]
        runs: dict[str, list[Array]] = {}
        for _ in range(max(SEEDS)):
            own = [rng.permutation(texts[pool.labels[texts] == c]) for c in (0, 1)]
            rows = np.concatenate([*(o[: int(len(o) * share)] for o in own), test])
            for learner, errors in wrong(
                pool.counts[rows], even[rows], pool.labels[rows], rng
            ).items():
                runs.setdefault(learner, []).append(errors)
        for pair, (a, b) in PAIRS.items():
            differences[pair].append(np.stack(runs[a]).astype(float) - np.stack(runs[b]))
    supply = 1 - (LEARNED + TESTED) / len(pool.labels)
    rows_told = []
    for pair, found in differences.items():
        equal = pair.endswith("equal")
        truth = 0.0 if equal else float(np.mean(found))
        for seeds in SEEDS:
            row = {"world": name, "share": share, "pair": pair, "seeds": seeds}
            row |= {"truth": 100 * truth, "draws": draws}
            for rule, overlap in (("training set at hand", 0.0), ("redrawn", share)):
                off, half = [], []
                for d in found:
                    zeros = np.zeros_like(d[:seeds])
                    judged = crossed_difference(d[:seeds], zeros, overlap=overlap)
                    low, high = judged.interval or (np.nan, np.nan)
                    off.append(abs(judged.difference - truth) / (1 if equal else supply**0.5))
                    half.append((high - low) / 2)
                covered = np.array(off) <= np.array(half)
                row[rule] = {"cover": float(covered.mean()), "half_width": 100 * np.mean(half)}
            rows_told.append(row)
    return rows_told


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--draws", type=int, default=1000, metavar="N")
    options = parser.parse_args()
    started, rows = time.process_time(), []
    for name in FILES:
        for share in SHARES:
            rows += simulated(name, share, options.draws)
            for row in rows[-len(PAIRS) * len(SEEDS) :]:
                own, other = row["training set at hand"], row["redrawn"]
                print(
                    f"{name} {share:.1f} {row['seeds']:2} {row['pair']:32} "
                    f"{own['cover']:.1%} +-{own['half_width']:.2f}   "
                    f"{other['cover']:.1%} +-{other['half_width']:.2f}",
                    flush=True,
                )
            told = {"command": COMMAND, "seconds": round(time.process_time() - started)}
            RESULTS.write_text(json.dumps({**told, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
