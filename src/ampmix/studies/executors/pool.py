"""Runs in worker processes: one thread each, pages kept by the allocator, tidily interrupted."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import MappingProxyType

from ampmix.errors import AmpmixError, TooLong
from ampmix.studies.executors.base import Ended, OnStep, Task, do, next_block
from ampmix.studies.plan import Plan

REPORT_EVERY = 0.3  # seconds
STARTING = 120.0  # seconds that a worker may take to be there, apart from a time limit

WORKER_ENVIRONMENT = {
    # two one-thread processes do more than one process with two threads
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "POLARS_MAX_THREADS": "1",
    # oneDNN keeps code and room for weights of 1,024 shapes, which lengths of texts use up: 300 MB
    # of a MiniLM in bfloat16; of 128 it makes them again as fast as they come
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "128",
    # glibc hands large blocks back to the system at every free, and the page faults on the next
    # allocation are then a third of a step; kept and on huge pages they are none
    "GLIBC_TUNABLES": ":".join(
        f"glibc.malloc.{name}"
        for name in ("hugetlb=1", "mmap_threshold=33554432", "trim_threshold=1073741824")
    ),
}


UNGUARDED = 92  # exit code of a worker that ran the script's own call


class Begun:
    """First message of a worker about a task: it has begun."""


class Pool:
    """An :class:`ampmix.studies.executors.Executor` of processes on this machine.

    Every worker has a pipe of its own, so that one that is killed can harm no other: its run is
    lost, and the next task in its place gets a new process. Also with one worker the runs happen in
    a process of their own: the result does not depend on how many there are.

    Args:
        plans: what tasks are of.
        models: where models are put; None to keep none.
        on_step: told of steps, not of every one.
        workers: how many processes at most.
        environment: what each finds in its environment besides :data:`WORKER_ENVIRONMENT`.
        devices: GPUs as CUDA_VISIBLE_DEVICES names them, shared out to the workers in turn.
        replicas: by plan, how many seeds of a policy a worker trains at once; nothing for one.
        time_limit: seconds that a run may take once its worker is there; None for any.
    """

    def __init__(
        self,
        plans: Sequence[Plan],
        models: Path | None,
        on_step: OnStep,
        workers: int,
        environment: Mapping[str, str] = MappingProxyType({}),
        devices: Sequence[str] = (),
        replicas: Sequence[int] = (),
        time_limit: float | None = None,
    ) -> None:
        end_unless_guarded()
        self._plans, self._models = tuple(plans), models
        self._pickled = pickled(self._plans)
        self._replicas, self._waiting = replicas, list[Task]()
        self._limit = time_limit
        self._on_step = on_step
        self._environments = [
            {**environment, "CUDA_VISIBLE_DEVICES": devices[number % len(devices)]}
            if devices
            else dict(environment)
            for number in range(workers)
        ]
        self._workers: list[_Worker | None] = [None] * workers

    @property
    def slots(self) -> int:
        """As many tasks as each worker can do side by side, for all workers."""
        return len(self._workers) * max(self._replicas, default=1)

    def start(self, task: Task) -> None:
        """Take a task in; :meth:`poll` hands it on, with others of its kind."""
        self._waiting.append(task)

    def _hand_on(self) -> None:
        """Give what waits to workers that have nothing to do, or to new ones."""
        for slot, worker in enumerate(self._workers):
            if not self._waiting:
                return
            if worker is not None and worker.tasks:
                continue
            block = next_block(self._plans, self._waiting, self._replicas)
            self._waiting = [task for task in self._waiting if task not in block]
            if worker is None or not worker.begin(block):
                self._workers[slot] = worker = self._new(slot)
                if not worker.begin(block):
                    worker.tasks = block  # it is dead already: poll finds that out

    def _new(self, slot: int) -> _Worker:
        with _worker_environment(self._environments[slot]), _interrupts_ignored():
            return _Worker.new(self._pickled, self._models)

    def poll(self, timeout: float) -> list[Ended]:
        """Pass on steps; what has ended, also by the death of its worker."""
        self._hand_on()
        busy = {w.connection: w for w in self._workers if w is not None and w.tasks}
        ended: list[Ended] = []
        for connection in wait(list(busy), timeout):
            worker = busy[connection]  # type: ignore[index]
            try:
                message = worker.connection.recv()
            except (EOFError, OSError, pickle.UnpicklingError):
                worker.end()
                self._workers[self._workers.index(worker)] = None
                if worker.process.exitcode == UNGUARDED:
                    raise AmpmixError(
                        "a worker ran the script again from the top: call what has workers below "
                        'if __name__ == "__main__":'
                    ) from None
                ended += map(Ended, worker.tasks)
                continue
            if isinstance(message, Exception):
                raise message
            if isinstance(message, Begun):
                worker.since, worker.starting = time.monotonic(), 0.0
            elif isinstance(message, list):
                worker.tasks = []
                ended += message
            else:
                self._on_step(*message)
        return ended + self._overdue()

    def _overdue(self) -> list[Ended]:
        """End the workers whose runs take too long, stuck or not."""
        ended, now = list[Ended](), time.monotonic()
        for slot, worker in enumerate(self._workers):
            if self._limit is None or worker is None or not worker.tasks:
                continue
            if now - worker.since > self._limit + worker.starting:
                ended += [Ended(task, error=TooLong.than(self._limit)) for task in worker.tasks]
                worker.process.kill()  # it may be deaf to all else
                worker.end()
                self._workers[slot] = None
        return ended

    def close(self) -> None:
        """End all workers at once."""
        alive = [worker for worker in self._workers if worker is not None]
        for worker in alive:
            worker.process.terminate()
        for worker in alive:
            worker.end()
        self._workers = [None] * len(self._workers)


def pickled(plans: Sequence[Plan]) -> bytes:
    """The plans as they travel to workers.

    Raises AmpmixError that names the component of somebody's own that cannot.
    """
    try:
        for plan in plans:
            for one in (plan.backbone, *plan.policies):
                pickle.dumps(one)
    except Exception as error:
        raise _not_in_a_worker(f"{type(one).__module__}:{type(one).__qualname__}", error) from error
    return pickle.dumps(tuple(plans))


def unpickled(content: bytes) -> tuple[Plan, ...]:
    """The plans of :func:`pickled`; AmpmixError if a class of theirs cannot be imported here."""
    try:
        plans: tuple[Plan, ...] = pickle.loads(content)
    except (ImportError, AttributeError) as error:
        raise _not_in_a_worker("of a policy or backbone", error) from error
    return plans


def _not_in_a_worker(cls: str, error: Exception) -> AmpmixError:
    told = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    return AmpmixError(
        f"the class {cls} cannot be had in a worker process ({told}): define it at the top of a "
        "file, or train in this process: workers=0 in Python, ampmix study --executor here"
    )


def end_unless_guarded() -> None:
    """End a worker that is still starting: the script's own call has no guard around it."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        os._exit(UNGUARDED)


def gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    import torch

    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if seen is not None:
        return [name for name in seen.split(",") if name]
    return [str(number) for number in range(torch.cuda.device_count())]


class _Worker:
    """A process, its pipe, and what it is doing."""

    def __init__(self, process: BaseProcess, connection: Connection) -> None:
        self.process, self.connection = process, connection
        self.tasks: list[Task] = []
        self.since, self.starting = 0.0, STARTING

    @classmethod
    def new(cls, plans: bytes, models: Path | None) -> _Worker:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(
            target=_serve, args=(theirs, plans, models, os.getpid()), daemon=True
        )
        process.start()
        theirs.close()  # so that the worker's death closes the pipe
        return cls(process, ours)

    def begin(self, tasks: list[Task]) -> bool:
        """Hand tasks over; whether the worker was there to take them."""
        try:
            self.connection.send(tasks)
        except OSError:
            self.end()
            return False
        self.tasks, self.since = tasks, time.monotonic()
        return True

    def end(self) -> None:
        self.connection.close()
        self.process.terminate()
        self.process.join(5)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def _serve(connection: Connection, content: bytes, models: Path | None, parent: int) -> None:
    """Do tasks as they come, until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    import torch

    torch.set_num_threads(1)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    with contextlib.suppress(EOFError, OSError):
        try:
            plans = unpickled(content)
        except AmpmixError as error:
            connection.send(error)
            return
        while True:
            tasks = connection.recv()
            connection.send(Begun())
            connection.send(_do(connection, plans, models, tasks))


def _do(
    connection: Connection, plans: tuple[Plan, ...], models: Path | None, tasks: list[Task]
) -> list[Ended]:
    last = dict.fromkeys(tasks, 0.0)

    def on_step(task: Task, step: int) -> None:
        if time.monotonic() - last[task] > REPORT_EVERY:
            last[task] = time.monotonic()
            connection.send((task, step))

    return [_able_to_travel(ended) for ended in do(plans, tasks, models, on_step)]


def _able_to_travel(ended: Ended) -> Ended:
    """Replace an error that cannot be pickled by one that can."""
    if ended.error is None:
        return ended
    try:
        pickle.loads(pickle.dumps(ended))
    except Exception:
        return Ended(ended.task, error=RuntimeError(f"{type(ended.error).__name__}: {ended.error}"))
    return ended


def _end_with(parent: int) -> None:
    """End this worker soon after its parent, however that ended."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


@contextlib.contextmanager
def _worker_environment(more: Mapping[str, str]) -> Iterator[None]:
    """Environment for processes that start now; what the user has set is left alone, but `more`."""
    before = dict(os.environ)
    os.environ.update({**WORKER_ENVIRONMENT, **before, **more})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Processes that start now inherit that they ignore Ctrl-C; only the parent acts on it."""
    try:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    except ValueError:  # not in the main thread: then nothing arrives here anyway
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
