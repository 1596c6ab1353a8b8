"""Experiment trackers: told of every run of a study, each an extra that is imported when used."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from ampmix._support.attempts import attempt
from ampmix._support.extras import needed
from ampmix.errors import unknown
from ampmix.records.store import RunRecord
from ampmix.studies.executors import Task
from ampmix.studies.plan import Plan
from ampmix.terminal.watchers import Watcher

CURVE = ("train_loss", "dev_error", "dev_loss")
"""Numbers of a reading that trackers are told."""


class Tracker(Watcher):
    """A watcher of records that is closed at the end."""

    def __init__(self, study: str, plans: Sequence[Plan], out: Path) -> None:
        self._study, self._plans, self._out = study, plans, out

    def close(self) -> None:
        """Write what is not written yet."""

    def parameters(self, task: Task) -> dict[str, Any]:
        """Settings that determine a run, in one flat dictionary."""
        plan = self._plans[task.plan]
        own = plan.backbone
        backbone = attempt(lambda: own.public_spec, own.name, "a spec string")
        training = {f"training.{name}": value for name, value in asdict(plan.config).items()}
        return {
            "study": self._study,
            "dataset": plan.dataset.name,
            "backbone": backbone,
            "fraction": plan.fraction,
            "policy": task.run.policy,
            "seed": task.run.seed,
            **training,
        }


def metrics(record: RunRecord) -> dict[str, float]:
    """The numbers that a run ends with."""
    names = ("test_error", "dev_error", "dev_loss", "best_step")
    return {name: float(record.result[name]) for name in names if name in record.result}


class MLflow(Tracker):
    """A run of MLflow for each run, in the experiment of the study's name.

    Where to is MLflow's own business: MLFLOW_TRACKING_URI.
    """

    def __init__(self, study: str, plans: Sequence[Plan], out: Path) -> None:
        super().__init__(study, plans, out)
        self._client = needed("mlflow", "mlflow").MlflowClient()
        found = self._client.get_experiment_by_name(study)
        self._experiment = (
            found.experiment_id if found is not None else self._client.create_experiment(study)
        )

    def on_record(self, task: Task, record: RunRecord) -> None:
        """Tell of a run, its parameters, its curve and its result."""
        name = f"{task.run.policy} seed {task.run.seed}"
        run = self._client.create_run(self._experiment, run_name=name).info.run_id
        for key, value in {**self.parameters(task), "run": record.id}.items():
            self._client.log_param(run, key, value)
        for reading in record.result.curve or ():
            for key in CURVE:
                self._client.log_metric(run, f"curve.{key}", reading[key], step=reading["step"])
        for key, number in metrics(record).items():
            self._client.log_metric(run, key, number)
        if not record.done:
            self._client.set_tag(run, "error", record.result.error)
        self._client.set_terminated(run, "FINISHED" if record.done else "FAILED")


class TensorBoard(Tracker):
    """A folder of events for each run, below ``OUT/tensorboard``."""

    def __init__(self, study: str, plans: Sequence[Plan], out: Path) -> None:
        super().__init__(study, plans, out)
        needed("tensorboard", "tensorboard")
        self._writer = needed("torch.utils.tensorboard", "tensorboard").SummaryWriter

    def on_record(self, task: Task, record: RunRecord) -> None:
        """Write a run's parameters, curve and result."""
        with contextlib.closing(self._writer(str(self._out / "tensorboard" / record.id))) as writer:
            for reading in record.result.curve or ():
                for key in CURVE:
                    writer.add_scalar(f"curve/{key}", reading[key], reading["step"])
            named = {f"result/{key}": number for key, number in metrics(record).items()}
            writer.add_hparams(self.parameters(task), named, run_name=".")


def known() -> dict[str, Callable[[str, Sequence[Plan], Path], Tracker]]:
    """Trackers by name: ampmix's own, then those of accelerate."""
    from ampmix.studies.accelerated import OPTIONS, Accelerated

    others = {name: partial(Accelerated, name) for name in OPTIONS}
    return {"mlflow": MLflow, "tensorboard": TensorBoard, **others}


def of(names: str, study: str, plans: Sequence[Plan], out: Path) -> list[Tracker]:
    """The trackers of a comma-separated list.

    Args:
        names: such as ``mlflow,tensorboard``; "" for none.
        study: the study's name.
        plans: its plans.
        out: its output folder.

    Raises:
        AmpmixError: for an unknown name, or one whose package is not installed.
    """
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    makers = known() if wanted else {}
    for name in wanted:
        if name not in makers:
            raise unknown("tracker", name, makers)
    return [makers[name](study, plans, out) for name in wanted]


@contextlib.contextmanager
def closing(trackers: Sequence[Tracker]) -> Iterator[None]:
    """Close the trackers in the end, however it comes."""
    try:
        yield
    finally:
        for tracker in trackers:
            tracker.close()
