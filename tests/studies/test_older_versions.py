"""Records, a study and a model that commit 0afeb06 wrote: read, continued, predicted with."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ampmix import Classifier, load_records
from ampmix.analysis.groups import groups_of, read_runs
from ampmix.cli.main import main
from ampmix.studies.baseline import NAME
from ampmix.studies.file import read
from ampmix.studies.run import run_study
from ampmix.studies.study import build
from small_studies import contents

OLD = Path(__file__).parents[1] / "data" / "0afeb06"
NEW_FIELDS = {"test_classes", "test_labels", "test_probabilities"}
COMPUTED = {"curve", "dev_loss", "perturbation"}  # in float32, which is another on another CPU


def half_done(folder: Path) -> Path:
    """The study with the records of its first seed and a half."""
    out = folder / "out"
    (out / "records").mkdir(parents=True)
    for name in ("films.csv", "small.toml"):
        shutil.copy(OLD / name, folder / name)
    shutil.copy(OLD / "study.json", out / "study.json")
    for path in (OLD / "records").iterdir():
        specification = json.loads(path.read_text())["specification"]
        if specification["seed"] == 0 or specification["policy"] == NAME:
            shutil.copy(path, out / "records" / path.name)
    return out


def plain(record: dict[str, Any]) -> dict[str, Any]:
    """What must be there again, whatever the machine."""
    result = {k: v for k, v in record["result"].items() if k not in NEW_FIELDS | COMPUTED}
    return {"specification": record["specification"], "result": result}


def test_a_half_done_study_goes_on_where_it_was(tmp_path: Path) -> None:
    out = half_done(tmp_path)
    before = {path.name: path.read_bytes() for path in (out / "records").iterdir()}
    assert len(before) == 5
    study = build(read(tmp_path / "small.toml"))
    assert run_study(study, out).trained == 4
    for name, content in before.items():
        assert (out / "records" / name).read_bytes() == content
    whole = {path.name: json.loads(path.read_text()) for path in (OLD / "records").iterdir()}
    made = contents(out)
    assert {n: plain(r) for n, r in made.items()} == {n: plain(r) for n, r in whole.items()}
    for name, record in made.items():
        old = whole[name]["result"]
        if "dev_loss" in old:
            assert record["result"]["dev_loss"] == pytest.approx(old["dev_loss"], rel=1e-3)
    told, before_that = (json.loads((f / "study.json").read_text()) for f in (out, OLD))
    for plan in told["plans"]:  # a setting that is younger
        assert plan["training"].pop("batches") == "random"
    for plan in (*told["plans"], *before_that["plans"]):  # in whatever order they are done
        plan["runs"].sort()
    assert told == before_that


def test_a_comparison_takes_old_records_and_the_report_reads_old_and_new(tmp_path: Path) -> None:
    out = half_done(tmp_path)
    run_study(build(read(tmp_path / "small.toml")), out)
    (group,) = groups_of(read_runs([out]).records)
    assert {policy: len(runs) for policy, runs in group.records.items()} == {
        NAME: 3,
        "none": 3,
        "amp[eps=0.5]": 3,
    }
    command = [
        "--backbone",
        "cnn[embedding_dim=8,feature_maps=4]",
        "--policies",
        "none,amp[eps=0.5]",
    ]
    command += ["--seeds", "3", "--steps", "20", "--eval-every", "5", "--lr", "0.01"]
    before = {p.name: p.stat().st_mtime_ns for p in (out / "records").iterdir()}
    data = str(tmp_path / "films.csv")
    assert main(["compare", data, *command, "--workers", "1", "--out", str(out)]) == 0
    assert {p.name: p.stat().st_mtime_ns for p in (out / "records").iterdir()} == before


def test_old_records_have_no_probabilities_and_new_ones_do(tmp_path: Path) -> None:
    out = half_done(tmp_path)
    outcome = run_study(build(read(tmp_path / "small.toml")), out)
    for task, record in outcome.records.items():
        if task.run.seed == 0 or task.run.policy == NAME:
            with pytest.raises(ValueError, match="are not there"):
                record.result.probabilities()
            continue
        table, labels = record.result.probabilities(), record.result.labels()
        assert table.shape == (16, 3)
        assert np.array_equal(table.argmax(1) != labels, record.test_wrong)
    frame = load_records(OLD)
    assert frame.height == 9 and not NEW_FIELDS & set(frame.columns)
    assert not NEW_FIELDS & set(load_records(out).columns)


def test_an_old_model_predicts_as_it_did() -> None:
    expected = json.loads((OLD / "predicted.json").read_text())
    classifier = Classifier.load(OLD / "model")
    assert list(classifier.classes) == expected["classes"]
    assert classifier.predict(expected["texts"]) == expected["labels"]
    found = classifier.predict_proba(expected["texts"])
    np.testing.assert_allclose(found, expected["probabilities"], rtol=1e-5, atol=1e-6)
