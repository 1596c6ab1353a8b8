"""Trackers that the library accelerate knows, each told of a run when it is recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ampmix._support.attempts import attempt
from ampmix._support.extras import needed
from ampmix.errors import AmpmixError
from ampmix.records.store import RunRecord
from ampmix.studies.executors import Task
from ampmix.studies.plan import Plan
from ampmix.studies.trackers import CURVE, Tracker, metrics

OPTIONS: Mapping[str, Mapping[str, str]] = {
    "aim": {"experiment": "study"},
    "clearml": {"project_name": "study", "task_name": "run"},
    "comet_ml": {},
    "dvclive": {"dir": "folder"},
    "swanlab": {"experiment_name": "run"},
    "trackio": {"name": "run"},
    "wandb": {"name": "run"},
}
"""By tracker, the options of its own that take the study's name, the run's, or a folder."""


class Accelerated(Tracker):
    """A run of one of accelerate's trackers for each run, in a project of the study's name.

    Accounts, servers and folders are the tracker's own business: its environment variables say.
    What it refuses is left out, with a warning; the record is kept.

    Args:
        name: a key of :data:`OPTIONS`.
        study: the study's name.
        plans: its plans.
        out: its output folder; trackers that keep files keep them in a folder there.

    Raises:
        AmpmixError: without accelerate, one that knows the tracker, or the tracker's own package.
    """

    def __init__(self, name: str, study: str, plans: Sequence[Plan], out: Path) -> None:
        super().__init__(study, plans, out)
        self._name = name
        accelerate = needed("accelerate", "trainer")
        known = needed("accelerate.tracking", "trainer").LOGGER_TYPE_TO_CLASS
        if name not in known:
            version = accelerate.__version__
            raise AmpmixError(
                f"accelerate {version} has no tracker {name}: pip install -U accelerate"
            )
        if find_spec(name) is None:
            raise AmpmixError(f"the package {name} is not installed: pip install {name}")
        self._open = known[name]
        accelerate.PartialState()  # without which its trackers cannot log

    def on_record(self, task: Task, record: RunRecord) -> None:
        """Tell of a run: its parameters, its curve and its result."""
        attempt(lambda: self._tell(task, record), None, f"a run in the tracker {self._name}")

    def _tell(self, task: Task, record: RunRecord) -> None:
        about = {**self.parameters(task), "run": record.id}
        if not record.done:
            about["error"] = str(record.result.error)
        run, last = self._begun(task, record), 0
        try:
            run.store_init_configuration(about)
            for reading in record.result.curve or ():
                last = reading["step"]
                run.log({f"curve/{key}": reading[key] for key in CURVE}, step=last)
            results = {f"result/{key}": number for key, number in metrics(record).items()}
            run.log(results, step=last + 1)
        finally:
            run.finish()

    def _begun(self, task: Task, record: RunRecord) -> Any:
        """Begin the tracker's run, by a name that no other run has: some go on with an old one."""
        place = self._out / self._name
        values = {
            "study": self._study,
            "run": f"{task.run.policy} seed {task.run.seed} {record.id[:8]}",
            "folder": str(place / record.id),
        }
        given = {key: values[kind] for key, kind in OPTIONS[self._name].items()}
        if self._open.requires_logging_directory:
            place.mkdir(parents=True, exist_ok=True)
            run = self._open(values["run"], str(place), **given)
        elif self._name == "dvclive":  # it takes no project
            run = self._open(**given)
        else:
            run = self._open(self._study, **given)
        if hasattr(run, "start"):  # older versions begin as they are made
            run.start()
        return run
