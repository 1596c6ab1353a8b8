"""Trackers are told of every run; each is an extra."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ampmix.errors import AmpmixError
from ampmix.records.store import RunRecord
from ampmix.studies import trackers
from ampmix.studies.accelerated import OPTIONS
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


# ------------------------------------------------------------------ those of accelerate


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What a stand-in for wandb is told, in accelerate's own place for trackers."""
    tracking = pytest.importorskip("accelerate.tracking")
    runs: list[Any] = []

    class Kept(tracking.GeneralTracker):  # type: ignore[misc, name-defined]
        name, requires_logging_directory, tracker = "wandb", False, None

        def __init__(self, project: str, **given: Any) -> None:
            super().__init__()
            self.project, self.given, self.values = project, given, list[Any]()
            self.state = "made"
            runs.append(self)

        def start(self) -> None:
            assert not [run for run in runs if run.state == "begun"], "one at a time"
            self.state = "begun"

        def store_init_configuration(self, values: dict[str, Any]) -> None:
            self.parameters = values

        def log(self, values: dict[str, Any], step: int | None = None, **_: Any) -> None:
            assert self.state == "begun"
            self.values.append((step, values))

        def finish(self) -> None:
            self.state = "finished"

    monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, "wandb", Kept)
    monkeypatch.setattr("ampmix.studies.accelerated.find_spec", lambda name: object())
    return runs


def test_a_tracker_of_accelerate_has_every_run(tmp_path: Path, told: list[Any]) -> None:
    records = tracked(tmp_path, "wandb")
    runs = {run.parameters["run"]: run for run in told}
    assert len(told) == len(records) and {run.state for run in told} == {"finished"}
    for task, record in records.items():
        run = runs[record.id]
        assert run.project == "small" and run.given["name"].startswith(task.run.policy)
        assert run.parameters["policy"] == task.run.policy
        assert run.parameters["training.lr"] == 0.01
        *curve, (last, result) = run.values
        assert result["result/test_error"] == record.result["test_error"]
        readings = record.result.curve or ()
        assert [step for step, _ in curve] == [reading["step"] for reading in readings]
        assert [values["curve/dev_loss"] for _, values in curve] == [
            reading["dev_loss"] for reading in readings
        ]
        assert last > max((step for step, _ in curve), default=0)  # steps only go up


def test_what_a_tracker_refuses_costs_no_record(
    tmp_path: Path, told: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise ConnectionError("nobody is logged in")

    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    monkeypatch.setattr(LOGGER_TYPE_TO_CLASS["wandb"], "start", refuse)
    with pytest.warns(UserWarning, match="tracker wandb is left out.*nobody is logged in"):
        records = tracked(tmp_path, "wandb")
    assert records and all(record.done for record in records.values())


def test_accelerate_itself_knows_all_that_are_offered() -> None:
    tracking = pytest.importorskip("accelerate.tracking")
    assert set(OPTIONS) == set(tracking.LOGGER_TYPE_TO_CLASS) - {"mlflow", "tensorboard"}


@pytest.mark.parametrize("name", OPTIONS)
def test_without_the_trackers_package_it_is_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("accelerate")
    monkeypatch.setattr("ampmix.studies.accelerated.find_spec", lambda _: None)
    with pytest.raises(AmpmixError, match=f"{name} is not installed: pip install {name}$"):
        trackers.of(name, "small", (), tmp_path)


def test_without_accelerate_or_with_an_old_one_a_sentence_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracking = pytest.importorskip("accelerate.tracking")
    monkeypatch.delitem(tracking.LOGGER_TYPE_TO_CLASS, "trackio")
    with pytest.raises(AmpmixError, match="no tracker trackio: pip install -U accelerate"):
        trackers.of("trackio", "small", (), tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "accelerate", None)
    with pytest.raises(AmpmixError, match=r"ampmix\[trainer\]"):
        trackers.of("wandb", "small", (), tmp_path)


def test_unknown_trackers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AmpmixError, match="did you mean mlflow"):
        trackers.of("mlfow", "small", (), tmp_path)
