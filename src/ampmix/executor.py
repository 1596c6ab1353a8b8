"""Runs in worker processes: one thread each, pages kept by the allocator, tidily interrupted."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ampmix.errors import AmpmixError
from ampmix.plan import Plan, Run
from ampmix.records import RunRecord

OnStep = Callable[[Run, int], None]
REPORT_EVERY = 0.3  # seconds

WORKER_ENVIRONMENT = {
    # two one-thread processes do more than one process with two threads
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "POLARS_MAX_THREADS": "1",
    # glibc hands large blocks back to the system at every free, and the page faults on the next
    # allocation are then a third of a step; kept and on huge pages they are none
    "GLIBC_TUNABLES": ":".join(
        f"glibc.malloc.{name}"
        for name in ("hugetlb=1", "mmap_threshold=33554432", "trim_threshold=1073741824")
    ),
}


def execute(
    plan: Plan,
    runs: Sequence[Run],
    models: Path,
    workers: int,
    on_step: OnStep,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[RunRecord]:
    """Do runs in `workers` processes; yield each record as its run ends, in any order.

    Also with one worker the runs happen in a process of their own: the result does not depend on
    how many there are. When the caller stops, by Ctrl-C say, the workers are ended at once.

    Raises:
        AmpmixError: if a worker dies (killed, or out of memory).
    """
    context = multiprocessing.get_context("spawn")
    reports: Any = context.Queue()
    pool = ProcessPoolExecutor(
        min(workers, len(runs)),
        mp_context=context,
        initializer=_start_worker,
        initargs=(plan, models, reports, os.getpid()),
    )
    try:
        with _worker_environment(environment), _interrupts_ignored():
            pending: set[Future[RunRecord]] = {pool.submit(_run, run) for run in runs}
        while pending:
            finished, pending = wait(pending, timeout=REPORT_EVERY, return_when=FIRST_COMPLETED)
            _pass_on(reports, on_step)
            for future in finished:
                yield future.result()
    except BrokenProcessPool:
        raise AmpmixError(
            "a worker process died, perhaps for lack of memory: finished runs are kept; "
            "give the same command again, with fewer --workers if it happens again"
        ) from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            process.terminate()
        reports.close()


def _pass_on(reports: Any, on_step: OnStep) -> None:
    with contextlib.suppress(queue.Empty):
        while True:
            run, step = reports.get_nowait()
            on_step(Run(*run), step)


_worker: tuple[Plan, Path, Any] | None = None


def _start_worker(plan: Plan, models: Path, reports: Any, parent: int) -> None:
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    import torch

    torch.set_num_threads(1)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    _worker = (plan, models, reports)


def _end_with(parent: int) -> None:
    """End this worker soon after its parent, however that ended."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


def _run(run: Run) -> RunRecord:
    assert _worker is not None
    plan, models, reports = _worker
    last = 0.0

    def on_step(step: int) -> None:
        nonlocal last
        if time.monotonic() - last > REPORT_EVERY:
            last = time.monotonic()
            reports.put((tuple(run), step))

    return plan.execute(run, models, on_step)


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
