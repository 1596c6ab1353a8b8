"""Share of flipped labels among the texts that look mislabelled most.

Flips 5 % of TREC's training labels at random, takes out-of-fold probabilities of each model in
5-fold cross-validation, and looks at the first 5 % of the list by self-confidence and at those
that confident learning prunes. Run: python benchmarks/label_errors.py [MODEL ...]
"""

from __future__ import annotations

import sys

import numpy as np
from cleanlab.rank import get_label_quality_scores

from ampmix import datasets
from ampmix._support.components import parse_model
from ampmix.analysis.errors import label_issues, mean_probabilities
from ampmix.data.dataset import Examples, TextDataset
from ampmix.studies.plan import Plan


def main() -> None:
    """Print one line for each model."""
    trec = datasets.load("trec")
    rng = np.random.default_rng(0)
    n, classes = len(trec.train), len(trec.classes)
    flipped = rng.permutation(n)[: round(0.05 * n)]
    labels = trec.train.labels.copy()
    labels[flipped] = (labels[flipped] + rng.integers(1, classes, len(flipped))) % classes
    data = TextDataset("trec-flipped", trec.classes, Examples(trec.train.texts, labels))
    for name in sys.argv[1:] or ["tfidf-logreg", "encoder-logreg"]:
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
        print(
            f"{name}: {n} texts, {len(flipped)} flipped; of the first {len(first)} by "
            f"self-confidence {100 * np.isin(first, flipped).mean():.1f} % are flipped; of "
            f"{len(issues)} listed {100 * np.isin(issues, flipped).mean():.1f} %, the first "
            f"{len(first)} of them {100 * np.isin(issues[: len(first)], flipped).mean():.1f} %; "
            f"{100 * np.isin(flipped, issues).mean():.1f} % of the flipped are listed"
        )


if __name__ == "__main__":
    main()
