"""Share of flipped labels among the texts that look mislabelled most.

    python benchmarks/label_errors.py [MODEL ...]

Flips 5 % of TREC's training labels at random, takes out-of-fold probabilities of each model in
5-fold cross-validation, and looks at the first 5 % of `ampmix errors`' list, of cleanlab's by
self-confidence on the same probabilities, and at all that is listed. Written to
``benchmarks/results/label_errors.json``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from cleanlab.rank import get_label_quality_scores

from ampmix import datasets
from ampmix._support.components import parse_model
from ampmix.analysis.errors import label_issues, mean_probabilities
from ampmix.data.dataset import Examples, TextDataset
from ampmix.studies.plan import Plan

RESULTS = Path(__file__).parent / "results" / "label_errors.json"


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
        scores = get_label_quality_scores(labels, table, method="self_confidence")
        first = np.argsort(scores, kind="stable")[: len(flipped)]
        issues = label_issues(table, labels)
        own = found[name] = {
            "listed": len(issues),
            "of_first": float(np.isin(issues[: len(first)], flipped).mean()),
            "of_cleanlabs_first": float(np.isin(first, flipped).mean()),
            "of_listed": float(np.isin(issues, flipped).mean()),
            "found": float(np.isin(flipped, issues).mean()),
        }
        print(
            f"{name}: {n} texts, {len(flipped)} flipped; of the first {len(first)} listed "
            f"{own['of_first']:.1%} are flipped, of cleanlab's by self-confidence "
            f"{own['of_cleanlabs_first']:.1%}; of all {len(issues)} listed "
            f"{own['of_listed']:.1%}; {own['found']:.1%} of the "
            "flipped are listed"
        )
        told = {"texts": n, "flipped": len(flipped), "models": found}
        RESULTS.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
