"""selection=oracle_test: the step with the lowest test error, as a loop finds it, and named."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ampmix import AmpmixError, NoMixup, TextCNN, TrainConfig, fit
from ampmix.cli.main import main
from ampmix.data.dataset import Examples, TextDataset
from ampmix.data.splits import split_train
from ampmix.training import training_run
from ampmix.training.replicas import fit_many

BACKBONE = TextCNN(embedding_dim=8, feature_maps=4)
CONFIG = TrainConfig(steps=40, batch_size=8, lr=0.01, eval_every=4, selection="oracle_test")


def toy() -> Any:
    draws = np.random.default_rng(0)
    words = np.array([f"w{i}" for i in range(30)])
    labels = draws.integers(0, 2, 120)
    texts = [" ".join(draws.choice(words[y * 8 : y * 8 + 20], 6)) for y in labels]
    train, test = Examples(tuple(texts[:80]), labels[:80]), Examples(tuple(texts[80:]), labels[80:])
    return split_train(TextDataset("toy", ("a", "b"), train, test=test), 0, dev_fraction=0.2)


def test_the_step_is_that_of_a_loop_over_readings(monkeypatch: pytest.MonkeyPatch) -> None:
    split, read = toy(), []
    measure = training_run._measure

    def watched(model: Any, learner: Any, part: Any, *more: Any) -> tuple[float, float]:
        found = measure(model, learner, part, *more)
        read.append((len(part), found))
        return found

    monkeypatch.setattr(training_run, "_measure", watched)
    fitted = fit(BACKBONE, NoMixup(), split, CONFIG, 0)
    tested = [found for size, found in read if size == len(split.test)]
    assert len(tested) == len(fitted.curve) == 10
    best = min(range(10), key=lambda i: (tested[i], i))
    assert fitted.best == fitted.curve[best]
    assert fitted.test_error == tested[best][0]
    assert fitted.test_reads == tuple(reading.step for reading in fitted.curve)
    honest = fit(BACKBONE, NoMixup(), split, replace(CONFIG, selection="best_dev"), 0)
    assert honest.curve == fitted.curve and honest.test_reads == (honest.best.step,)
    assert fitted.test_error <= honest.test_error


def test_seeds_side_by_side_choose_alike() -> None:
    split = toy()
    both = fit_many(BACKBONE, NoMixup(), [split, split], CONFIG, [0, 1])
    for seed, one in enumerate(both):
        assert one.best.step == fit(BACKBONE, NoMixup(), split, CONFIG, seed).best.step


def test_without_a_test_set_it_is_refused() -> None:
    split = toy()
    nothing = replace(split, test=split.test.take([]), test_indices=split.test_indices[:0])
    with pytest.raises(AmpmixError, match="selection is 'oracle_test', but there is no test set"):
        fit(BACKBONE, NoMixup(), nothing, CONFIG, 0)


def test_every_table_names_it(
    tmp_path: Path, serial: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    split = toy()
    for name, part in (("train", split.train), ("test", split.test)):
        rows = (f"{t},{'ab'[y]}\n" for t, y in zip(part.texts, part.labels, strict=True))
        (tmp_path / f"{name}.csv").write_text("text,label\n" + "".join(rows))
    data = [str(tmp_path / "train.csv"), "--test", str(tmp_path / "test.csv")]
    small = ["--backbone", "cnn[embedding_dim=8,feature_maps=4]", "--steps", "8"]
    small += ["--selection", "oracle_test"]
    runs, model = str(tmp_path / "runs"), tmp_path / "model"
    policies = ["--policies", "none,mixup", "--seeds", "2"]
    assert main(["compare", *data, *small, *policies, "--out", runs]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "oracle_test error %" in said and "all these errors are too low" in said
    assert "not on test texts" not in said
    record = json.loads(next((tmp_path / "runs/records").glob("*.json")).read_text())
    assert record["specification"].get("training", {"selection": "oracle_test"})["selection"]
    assert main(["report", runs, "--out", str(tmp_path / "page")]) == 0
    capsys.readouterr()
    page = (tmp_path / "page/report.md").read_text().replace("\\", "")
    assert "oracle_test error %" in page and "all these errors are too low" in page
    assert main(["train", *data, *small, "--out", str(model)]) == 0
    assert "the step was chosen by it, so it is too low" in capsys.readouterr().out
    assert (
        "chosen by the test error, which is therefore too low" in (model / "README.md").read_text()
    )
