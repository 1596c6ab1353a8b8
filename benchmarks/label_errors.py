"""Share of flipped labels among the texts that look mislabelled most.

    python benchmarks/label_errors.py [MODEL ...]

Flips 5 % of TREC's training labels at random, takes out-of-fold probabilities of each model in
5-fold cross-validation, and looks at the first 5 % and at all of the list of `ampmix errors` and of
the one that cleanlab makes of the same probabilities by default. Written to
``benchmarks/results/label_errors.json``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
from cleanlab.filter import find_label_issues

from ampmix import datasets
from ampmix._support.components import parse_model
from ampmix.analysis.errors import label_issues, mean_probabilities
from ampmix.data.dataset import Examples, TextDataset
from ampmix.studies.plan import Plan

RESULTS = Path(__file__).parent / "results" / "label_errors.json"


def shares(listed: npt.NDArray[np.int64], flipped: npt.NDArray[np.int64]) -> dict[str, float]:
    """How many texts are listed, and the shares of flipped ones among them."""
    return {
        "listed": len(listed),
        "of_first": float(np.isin(listed[: len(flipped)], flipped).mean()),
        "of_listed": float(np.isin(listed, flipped).mean()),
        "found": float(np.isin(flipped, listed).mean()),
    }


def main() -> None:
    """Print one line for each model."""
    found = {}
    trec = datasets.load("trec")
    rng = np.random.default_rng(0)
    n, classes = len(trec.train), len(trec.classes)
    flipped = rng.permutation(n)[: round(0.05 * n)]
    labels = trec.train.labels.copy()
    labels[flipped] = (labels[flipped] + rng.integers(1, classes, len(flipped))) % classes
    data = TextDataset("trec-flipped", trec.classes, Examples(trec.train.texts, labels))
    for name in sys.argv[1:] or ["tfidf-logreg", "encoder-logreg", "encoder-tfidf"]:
        plan = Plan.of(data, ["none"], parse_model(name, True), seeds=5)
        parts = []
        for run in plan.runs():
            if run.policy == "none":
                result = plan.execute(run, None).result
                parts.append((plan.split(run.seed).test_indices, result.probabilities()))
        table = mean_probabilities(parts, n, classes)
        default = find_label_issues(
            labels, table, return_indices_ranked_by="self_confidence", n_jobs=1
        )
        own = found[name] = {
            "ampmix": shares(label_issues(table, labels), flipped),
            "cleanlab's default": shares(default, flipped),
        }
        print(f"{name}: {n} texts, {len(flipped)} flipped")
        for title, row in own.items():
            print(
                f"  {title}: {row['of_first']:.1%} of the first {len(flipped)} are flipped, "
                f"{row['of_listed']:.1%} of all {row['listed']:.0f}; {row['found']:.1%} of the "
                "flipped are listed"
            )
        told = {"texts": n, "flipped": len(flipped), "models": found}
        RESULTS.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
