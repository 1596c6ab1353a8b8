"""Recall of each class in recorded runs, and the error of always answering the same class."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ampmix.records.store import RunRecord

TOGETHER = 0.05  # points by which errors may differ and count as that of one constant answer


def recalls(records: Iterable[RunRecord]) -> dict[str, float] | None:
    """Recall of each class in percent over the test texts of all runs; None without labels.

    Records of earlier versions have no labels. A class without test texts is left out.
    """
    found: dict[str, list[int]] = {}
    for record in records:
        if record.result.test_labels is None:
            return None
        labels, right = record.result.labels(), ~record.test_wrong
        for i, name in enumerate(record.result.test_classes or ()):
            own = found.setdefault(name, [0, 0])
            own[0] += int(right[labels == i].sum())
            own[1] += int((labels == i).sum())
    return {name: 100 * hit / n for name, (hit, n) in found.items() if n} or None


def majority(records: Mapping[str, Mapping[int, RunRecord]]) -> dict[str, Any] | None:
    """Error of always answering the most frequent class of the test texts, in percent.

    Args:
        records: policy to seed to record; those of the policy that finished most runs count.

    Returns:
        ``class``, ``mean`` and ``std`` over the runs (None with one); None if the records hold no
        labels, or there are none.
    """
    counts: list[dict[str, int]] = []
    finished = ([one for one in own.values() if one.done] for own in records.values())
    for record in max(finished, key=len, default=[]):
        if record.result.test_labels is None:
            return None
        labels, names = record.result.labels(), record.result.test_classes or ()
        counts.append(
            dict(zip(names, np.bincount(labels, minlength=len(names)).tolist(), strict=True))
        )
    if not counts:
        return None
    total = {name: sum(one.get(name, 0) for one in counts) for name in counts[0]}
    likeliest = max(total, key=lambda name: (total[name], name))
    errors = [100 * (1 - one.get(likeliest, 0) / max(sum(one.values()), 1)) for one in counts]
    std = float(np.std(errors, ddof=1)) if len(errors) > 1 else None
    return {"class": likeliest, "mean": float(np.mean(errors)), "std": std}


def class_sentences(summary: Mapping[str, Any]) -> list[str]:
    """Sentences on runs that learnt no more than one answer, and on classes nobody finds."""
    known, rows = summary.get("majority"), summary["rows"]
    means = [row["mean"] for row in rows if row["mean"] is not None]
    if not known or not means:
        return []
    said = []
    if min(means) > known["mean"] - TOGETHER:
        said.append(
            f"Nothing was learnt: no row errs less than always answering {known['class']!r} "
            f"({known['mean']:.1f} %). More texts of the other classes, --class-weights balanced "
            "or another backbone may help."
        )
    recall = [row["recall"] for row in rows if row.get("recall")]
    missed = [name for name in (recall[0] if recall else {}) if not any(r[name] for r in recall)]
    if missed and len(recall) == len(means):
        names = ", ".join(map(repr, missed[:5])) + ", ..." * (len(missed) > 5)
        said.append(f"No row finds a single text of {names}.")
    return said
