"""Recall, the majority class, and what is said where nothing was learnt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.metrics import recall_score

from ampmix.analysis.classes import class_sentences, majority, recalls
from ampmix.cli.main import main
from ampmix.records.result import Result
from ampmix.records.store import RunRecord

NAMES = ("ok", "fraud", "spam")


def record(labels: Any, predicted: Any, seed: int = 0) -> RunRecord:
    probabilities = np.eye(3, dtype=np.float32)[predicted]
    tested = Result.tested(labels != predicted, labels, probabilities, NAMES)
    sizes = {"status": "done", "n_train": 9, "n_dev": 1, "n_test": len(labels)}
    return RunRecord({"policy": "none", "seed": seed}, tested | sizes, {})


@pytest.mark.parametrize("seed", range(5))
def test_recall_and_majority_are_scikit_learns(seed: int) -> None:
    draws = np.random.default_rng(seed)
    labels = [draws.choice(3, 50, p=[0.7, 0.2, 0.1]) for _ in range(3)]
    predicted = [draws.choice(3, 50, p=[0.6, 0.3, 0.1]) for _ in range(3)]
    runs = [record(*both, seed=i) for i, both in enumerate(zip(labels, predicted, strict=True))]
    every, answers = np.concatenate(labels), np.concatenate(predicted)
    expected = 100 * recall_score(every, answers, average=None)
    assert recalls(runs) == pytest.approx(dict(zip(NAMES, expected, strict=True)))
    dummy = DummyClassifier(strategy="most_frequent").fit(every, every)
    errors = [100 * (1 - dummy.score(one, one)) for one in labels]
    found = majority({"none": dict(enumerate(runs))})
    assert found is not None and found["class"] == "ok"
    assert found["mean"] == pytest.approx(np.mean(errors))
    assert found["std"] == pytest.approx(np.std(errors, ddof=1))


def test_records_without_labels_give_neither() -> None:
    old = RunRecord({"policy": "none"}, {"status": "done", "test_wrong": "01", "n_test": 2}, {})
    assert recalls([old]) is None and majority({"none": {0: old}}) is None and majority({}) is None


def test_sentences_are_said_where_they_hold_alone() -> None:
    always = {"class": "ok", "mean": 3.3, "std": None}
    one = {"mean": 3.3, "recall": {"ok": 100.0, "fraud": 0.0}}
    better = {"mean": 2.0, "recall": {"ok": 99.0, "fraud": 50.0}}
    said = class_sentences({"majority": always, "rows": [one, one]})
    assert said[0].startswith("Nothing was learnt: no row errs less than always answering 'ok'")
    assert said[1] == "No row finds a single text of 'fraud'."
    assert class_sentences({"majority": always, "rows": [one, better]}) == []
    assert class_sentences({"rows": [one]}) == []


@pytest.mark.slow
def test_a_rare_class_that_nobody_finds_is_told(
    tmp_path: Path, serial: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    draws = np.random.default_rng(0)
    rows = [
        f"{' '.join(draws.choice(list('abcdefgh'), 4))} {i},{'fraud' if i % 30 == 0 else 'ok'}"
        for i in range(300)
    ]
    (tmp_path / "rare.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    small = ["--steps", "60", "--lr", "5e-3", "--backbone", "cnn[embedding_dim=8,feature_maps=4]"]
    command = ["compare", str(tmp_path / "rare.csv"), "--policies", "none,mixup", *small]
    command += ["--seeds", "2"]
    assert main([*command, "--out", str(tmp_path / "runs")]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "always ok 3.3" in out
    assert "Nothing was learnt: no row errs less than always answering 'ok' (3.3 %)" in out
    assert "No row finds a single text of 'fraud'." in out
    summary = json.loads((tmp_path / "runs/summary.json").read_text())
    assert summary["rows"][1]["recall"] == {"fraud": 0.0, "ok": 100.0}
    assert main(["report", str(tmp_path / "runs"), "--out", str(tmp_path / "page")]) == 0
    assert "always ok" in (tmp_path / "page/report.md").read_text()
