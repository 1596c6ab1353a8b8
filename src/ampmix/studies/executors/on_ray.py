"""Runs on a Ray cluster; this process hands them out and writes what comes back."""

from __future__ import annotations

import io
import logging
import socket
import tarfile
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ampmix._support.extras import needed
from ampmix._support.files import drafting, put
from ampmix.errors import AmpmixError, TooLong
from ampmix.studies.executors.base import Ended, Task
from ampmix.studies.executors.pool import WORKER_ENVIRONMENT, unpickled
from ampmix.studies.plan import Plan

ANSWER = 5.0  # seconds that an address has to answer


class Ray:
    """An :class:`ampmix.studies.executors.Executor` on the nodes of a Ray cluster.

    Each node needs the same version of ampmix. Nodes write no records: a run's record, and its
    model if models are kept, travel here. A run whose node or worker dies is lost, and begun anew
    elsewhere by whoever asked for it. Steps are not reported.

    Args:
        plans: what tasks are of.
        models: where models are put; None to keep none.
        address: of the head node, ``HOST:PORT`` or ``ray://HOST:PORT``; None for a cluster of this
            machine alone, which is stopped at the end.
        limit: how many runs at most at once; None for as many as the cluster has room for.
        gpus: share of a GPU for each run; None for a whole one where a plan trains on cuda.
        time_limit: seconds that a run may take from when it is handed out; None for any.

    Raises:
        AmpmixError: without the extra ``ray``, or if the address does not answer.
    """

    def __init__(
        self,
        plans: Sequence[Plan],
        models: Path | None,
        address: str | None = None,
        limit: int | None = None,
        gpus: float | None = None,
        time_limit: float | None = None,
    ) -> None:
        self._ray = ray = needed("ray", "ray")
        self._time_limit, self._since = time_limit, dict[Any, float]()
        self._models, self._limit = models, limit
        self._gpus = (
            float(any(plan.config.device == "cuda" for plan in plans)) if gpus is None else gpus
        )
        if address is not None:
            _check_answers(address)
        try:
            ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
        except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise AmpmixError(f"no Ray cluster at {address} to work on ({reason})") from error
        # classes of a script travel by value
        self._plans = ray.put(ray.cloudpickle.dumps(tuple(plans)))
        self._remote = ray.remote(_do).options(
            num_cpus=1,
            num_gpus=self._gpus,
            max_retries=0,  # counted and told by who asks for the run
            runtime_env={"env_vars": WORKER_ENVIRONMENT},
        )
        self._running: dict[Any, Task] = {}

    @property
    def slots(self) -> int:
        """Number of runs the cluster has room for now; it changes with the nodes."""
        try:
            has = self._ray.cluster_resources()
        except self._ray.exceptions.RayError:
            return 1
        room = has.get("CPU", 1.0)
        if self._gpus:
            room = min(room, has.get("GPU", 0.0) / self._gpus)
        return max(1, int(min(room, self._limit or room)))

    def start(self, task: Task) -> None:
        """Hand a task to the cluster."""
        reference = self._remote.remote(self._plans, task, self._models is not None)
        self._running[reference], self._since[reference] = task, time.monotonic()

    def poll(self, timeout: float) -> list[Ended]:
        """Return the tasks that ended: with a record, with an error, or with their node."""
        ready, _ = self._ray.wait(
            list(self._running), num_returns=len(self._running), timeout=timeout
        )
        for reference in ready:
            del self._since[reference]
        ended = [self._ended(self._running.pop(reference), reference) for reference in ready]
        return ended + self._overdue()

    def _overdue(self) -> list[Ended]:
        """Cancel the runs that take too long."""
        if self._time_limit is None:
            return []
        oldest = time.monotonic() - self._time_limit
        late = [reference for reference, since in self._since.items() if since < oldest]
        for reference in late:
            self._ray.cancel(reference, force=True)
            del self._since[reference]
        return [Ended(self._running.pop(one), error=TooLong.than(self._time_limit)) for one in late]

    def _ended(self, task: Task, reference: Any) -> Ended:
        try:
            ended, model = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            return Ended.by(task, error)
        except self._ray.exceptions.RayError:
            return Ended(task)
        if model is not None and self._models is not None and ended.record is not None:
            self._models.mkdir(parents=True, exist_ok=True)
            with drafting(self._models) as draft:
                with tarfile.open(fileobj=io.BytesIO(model)) as archive:
                    archive.extractall(draft, filter="data")
                for folder in list(draft.iterdir()):
                    put(folder, self._models / folder.name)
        return Ended(task, ended.record, ended.error, ended.trace)

    def close(self) -> None:
        """Stop what runs, and leave the cluster."""
        for reference in self._running:
            self._ray.cancel(reference, force=True)
        self._ray.shutdown()


def _do(content: bytes, task: Task, keep: bool) -> tuple[Ended, bytes | None]:
    """Do one run on any node; return its model as a tar file."""
    import torch

    task = Task(*task)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder) if keep else None
        try:
            record = unpickled(content)[task.plan].execute(task.run, models)
        except AmpmixError as error:
            return Ended(task, error=AmpmixError(str(error))), None
        except Exception as error:
            return Ended(task, error=RuntimeError(f"{type(error).__name__}: {error}")), None
        if models is None or not any(models.iterdir()):
            return Ended(task, record), None
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            archive.add(models, arcname=".")
        return Ended(task, record), packed.getvalue()


def _check_answers(address: str) -> None:
    """Ray itself waits long for an address that does not answer, and then prints pages."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        if address in ("auto", "local"):
            return
        raise AmpmixError(f"address is {address!r}: write HOST:PORT, such as 10.0.0.1:6379")
    try:
        socket.create_connection((host, int(port)), timeout=ANSWER).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise AmpmixError(
            f"no Ray cluster answers at {address} ({reason}): start one there with "
            "`ray start --head`, or leave --address out"
        ) from error
