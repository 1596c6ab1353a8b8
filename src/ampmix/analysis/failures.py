"""Runs that failed or collapsed, and what they leave of a verdict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ampmix.records.store import RunRecord
from ampmix.statistics import Judgement

FAR = 5.0
"""Robust standard deviations, and points, by which a run that collapsed errs more than others."""


def collapsed(records: Mapping[int, RunRecord]) -> dict[int, float]:
    """Errors in percent of runs that err far more than the policy's others, by seed.

    A run collapsed if its error lies `FAR` points, and `FAR` standard deviations, above the median
    of the policy's runs. The deviation is the larger of 1.4826 times the median absolute deviation
    and that of a share of so many test texts.

    Args:
        records: runs of a policy by seed; those that failed do not count.
    """
    done = {seed: record for seed, record in records.items() if record.done}
    if len(done) < 3:
        return {}
    errors = {seed: 100 * float(record.test_wrong.mean()) for seed, record in done.items()}
    values = np.array(list(errors.values()))
    median = float(np.median(values))
    robust = 1.4826 * float(np.median(np.abs(values - median)))
    share = min(max(median / 100, 0.01), 0.99)
    texts = min(record.result.n_test or 1 for record in done.values())
    spread = max(robust, 100 * float(np.sqrt(share * (1 - share) / texts)))
    return {s: e for s, e in errors.items() if e - median > max(FAR, FAR * spread)}


def all_wrong(record: RunRecord, partner: RunRecord) -> RunRecord:
    """A failed run counted as what it is: wrong on every text that its partner was tested on."""
    told: dict[str, Any] = {
        name: value
        for name, value in partner.result.as_json().items()
        if name in ("split_hash", "n_train", "n_dev", "n_test")
    }
    wrong = "1" * len(partner.test_wrong)
    result = {**told, "status": "done", "test_wrong": wrong}
    return RunRecord(record.specification, result, partner.provenance)


def counted_as_wrong(
    own: Mapping[int, RunRecord], other: Mapping[int, RunRecord]
) -> dict[int, RunRecord]:
    """`own` with its failed runs counted as wrong on all texts, where `other` finished."""
    return {
        seed: all_wrong(record, other[seed])
        if not record.done and seed in other and other[seed].done
        else record
        for seed, record in own.items()
    }


def undone(judgement: Judgement, worst: Judgement | None, failed: str) -> str:
    """Say that failed runs leave a verdict undecided; "" where they do not.

    Args:
        judgement: of the runs that finished.
        worst: with the failed ones counted as wrong on every text; None where that cannot be told.
        failed: which failed, in words.
    """
    claims = ("lower error", "higher error", "the same")
    if judgement.decision not in claims:
        return ""
    if worst is not None and worst.decision == judgement.decision:
        return ""
    if worst is None:
        return f"not decided: {failed}, and nothing tells what they would have scored"
    return f"not decided: {failed}; counted as wrong on every text they change the verdict"
