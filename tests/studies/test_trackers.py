"""Trackers are told of every run; each is an extra."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ampmix.errors import AmpmixError
from ampmix.records.store import RunRecord
from ampmix.studies import trackers
from ampmix.studies.executors import InProcess, Task
from ampmix.studies.file import read
from ampmix.studies.run import Watchers, run_study
from ampmix.studies.study import build
from small_studies import write_study


def tracked(folder: Path, name: str) -> dict[Task, RunRecord]:
    study, out = build(read(write_study(folder))), folder / "out"
    told = trackers.of(name, "small", study.plans, out)
    with trackers.closing(told):
        return dict(run_study(study, out, InProcess, Watchers(told)).records)


def test_mlflow_has_every_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # newer ones prefer a database
    uri = (tmp_path / "mlruns").as_uri()
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    try:
        records = tracked(tmp_path, "mlflow")
        client = mlflow.MlflowClient()
        experiment = client.get_experiment_by_name("small").experiment_id
        found = {run.data.params["run"]: run for run in client.search_runs([experiment])}
    finally:
        mlflow.set_tracking_uri(before)
    assert set(found) == {record.id for record in records.values()}
    for task, record in records.items():
        run = found[record.id]
        assert run.data.params["policy"] == task.run.policy
        assert run.data.params["training.lr"] == "0.01"
        assert run.data.metrics["test_error"] == record.result["test_error"]
        assert run.info.status == "FINISHED"


def test_tensorboard_has_every_curve(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    records = tracked(tmp_path, "tensorboard")
    for record in records.values():
        events: Any = EventAccumulator(str(tmp_path / "out" / "tensorboard" / record.id))
        events.Reload()
        (result,) = events.Scalars("result/test_error")
        assert result.value == pytest.approx(record.result["test_error"], rel=1e-6)
        for reading in record.result.get("curve", ()):
            values = {e.step: e.value for e in events.Scalars("curve/dev_error")}
            assert values[reading["step"]] == pytest.approx(reading["dev_error"], rel=1e-6)


@pytest.mark.parametrize("name", ["mlflow", "tensorboard"])
def test_without_the_package_the_extra_is_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, name, None)
    with pytest.raises(AmpmixError, match=rf"ampmix\[{name}\]"):
        trackers.of(name, "small", (), tmp_path)


def test_unknown_trackers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AmpmixError, match="did you mean mlflow"):
        trackers.of("mlfow", "small", (), tmp_path)
