"""One statement over data sets, from records."""

from __future__ import annotations

from typing import Any

import numpy as np

from ampmix import statistics
from ampmix.analysis.groups import groups_of
from ampmix.analysis.overall import overall_sentences
from ampmix.records.store import RunRecord


def records(data: str, policy: str, wrong: np.ndarray, backbone: str = "cnn") -> list[RunRecord]:
    made = []
    for seed, own in enumerate(wrong):
        specification: dict[str, Any] = {
            "dataset": data, "data_hash": data, "fraction": 1.0, "folds": None, "policy": policy,
            "seed": seed, "backbone": backbone, "training": {"steps": 5},
        }  # fmt: skip
        result = {
            "status": "done", "split_hash": f"{data} {seed}", "n_train": 50, "n_dev": 5,
            "n_test": len(own), "test_wrong": "".join("01"[int(w)] for w in own),
        }  # fmt: skip
        made.append(RunRecord(specification, result, {}))
    return made


def test_data_sets_are_put_together_by_their_differences_and_errors() -> None:
    rng = np.random.default_rng(0)
    found, differences, errors, decisions = [], [], [], []
    for data in ("one", "two", "three"):
        none, own = rng.random((2, 4, 200)) < 0.3
        if data == "one":
            own &= rng.random(200) < 0.5
        found += records(data, "none", none) + records(data, "mixup", own)
        compared = statistics.crossed_difference(own, none).scaled(100)
        differences.append(compared.difference)
        errors.append(compared.standard_error or 0.0)
        judged = statistics.judge_together({0: compared}, margin=1.0)[0]
        decisions.append(judged.decision)
    expected = statistics.overall(differences, errors, decisions)
    (said,) = overall_sentences(groups_of(found))
    assert said == f"mixup against none, cnn: {expected.sentence()}."
    assert expected.better == 1


def test_one_data_set_and_other_backbones_say_nothing() -> None:
    rng = np.random.default_rng(1)
    none, own = rng.random((2, 4, 100)) < 0.3
    alone = records("one", "none", none) + records("one", "mixup", own)
    other = records("two", "none", none, "bilstm") + records("two", "mixup", own, "bilstm")
    assert overall_sentences(groups_of([*alone, *other])) == []
