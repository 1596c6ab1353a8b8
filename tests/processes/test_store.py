"""A study that is killed, shared or out of luck ends with the records of one that was not."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import stat
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import forked
from ampmix.cli.main import main
from ampmix.errors import AmpmixError
from ampmix.records.store import RunRecord
from ampmix.studies.executors import Ended, InProcess, Pool, Task, drive
from ampmix.studies.file import read
from ampmix.studies.plan import Plan, Run
from ampmix.studies.run import Watchers, run_study
from ampmix.studies.run_locks import RunLocks
from ampmix.studies.study import Study, build
from small_studies import STUDY, contents, digests, write_study

needs_proc = pytest.mark.skipif(not Path("/proc/self").exists(), reason="asks /proc")
TWELVE = STUDY.replace("seeds = 2", "seeds = 4").replace("steps = 4", "steps = 60")


def study_of(folder: Path, text: str = STUDY) -> Study:
    return build(read(write_study(folder, text)))


def command(folder: Path, *more: str) -> list[str]:
    start = [sys.executable, "-m", "ampmix", "study", str(folder / "small.toml")]
    return [*start, "--out", str(folder / "out"), "--no-estimate", "--workers", "2", *more]


@contextlib.contextmanager
def started(arguments: list[str]) -> Iterator[subprocess.Popen[str]]:
    """A process in a session of its own, of which nothing is left afterwards."""
    process = forked.Popen(
        arguments,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def until(condition: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


# ------------------------------------------------------------------ kill -9


@pytest.mark.slow
def test_killed_at_random_it_ends_with_the_records_of_an_undisturbed_one(tmp_path: Path) -> None:
    """Twelve runs; after each kill one more record at least, so that it ends."""
    study = study_of(tmp_path, TWELVE)
    run_study(study, tmp_path / "undisturbed", InProcess, Watchers([]))
    expected = digests(tmp_path / "undisturbed")
    assert len(expected) == 12

    draw, kills, first_written = random.Random(4), 0, {}
    for _ in range(3):
        before = len(digests_or_none(tmp_path / "out"))
        with started(command(tmp_path)) as process:
            until(lambda b=before, p=process: names_in(tmp_path) > b or p.poll() is not None)
            time.sleep(draw.uniform(0, 0.3))
            kills += process.poll() is None
            os.killpg(process.pid, signal.SIGKILL)
        for path in (tmp_path / "out" / "records").glob("[!.]*.json"):
            first_written.setdefault(path, path.stat().st_mtime_ns)
    assert kills == 3
    done = forked.run(command(tmp_path), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert digests(tmp_path / "out") == expected
    for path, written in first_written.items():
        assert path.stat().st_mtime_ns == written  # what was there was not made again
    assert not list((tmp_path / "out" / "locks").iterdir())


def names_in(folder: Path) -> int:
    return len(list((folder / "out" / "records").glob("[!.]*.json")))


def digests_or_none(out: Path) -> dict[str, str]:
    return digests(out) if out.exists() else {}


@pytest.mark.slow
@needs_proc
def test_killed_workers_cost_their_runs_alone_which_are_begun_anew(tmp_path: Path) -> None:
    study = study_of(tmp_path, TWELVE)
    run_study(study, tmp_path / "undisturbed", InProcess, Watchers([]))
    lost: list[Task] = []

    class Killer(Watchers):
        """Kills the worker of every third run once, when it has done some steps."""

        def on_step(self, task: Task, step: int) -> None:
            if task.run.seed % 3 == 0 and task not in lost and task.run.policy == "mixup":
                for process in pool[-1]._workers:
                    if process is not None and task in process.tasks:
                        os.kill(process.process.pid or 0, signal.SIGKILL)

        def on_lost(self, task: Task) -> None:
            lost.append(task)

    pool: list[Pool] = []

    def opened(plans: Any, models: Any, on_step: Any) -> Pool:
        pool.append(Pool(plans, models, on_step, 2))
        return pool[-1]

    outcome = run_study(study, tmp_path / "out", opened, Killer([]))
    assert sorted(task.run for task in lost) == [Run("mixup", 0), Run("mixup", 3)]
    assert dict(outcome.errors) == {}
    assert digests(tmp_path / "out") == digests(tmp_path / "undisturbed")


# ------------------------------------------------------------------ several processes


@pytest.mark.slow
def test_two_processes_on_one_store_train_each_run_once(tmp_path: Path) -> None:
    study = study_of(tmp_path, TWELVE)
    with started(command(tmp_path)) as one, started(command(tmp_path)) as other:
        said = [process.communicate(timeout=120)[0] for process in (one, other)]
        assert (one.returncode, other.returncode) == (0, 0)
    trained = [int(text.partition("are done, ")[2].split()[0]) for text in said]
    assert all("12 of 12 runs are done" in text for text in said)
    assert sum(trained) == 12
    run_study(study, tmp_path / "undisturbed", InProcess, Watchers([]))
    assert digests(tmp_path / "out") == digests(tmp_path / "undisturbed")


HOLD = """
import sys, time
from pathlib import Path
from ampmix.studies.run_locks import RunLocks
claims = RunLocks(Path(sys.argv[1]))
print(claims.take("a"), flush=True)
time.sleep(60)
"""


def test_a_claim_keeps_others_off_and_ends_with_its_process(tmp_path: Path) -> None:
    with started([sys.executable, "-c", HOLD, str(tmp_path)]) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "True\n"
        mine = RunLocks(tmp_path)
        assert not mine.take("a")
        assert mine.take("b")
        assert str(holder.pid) in (tmp_path / "a.lock").read_text()
        os.utime(tmp_path / "a.lock", (0, 0))  # whatever clocks say
        assert not mine.take("a")
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        assert mine.take("a")
    assert not RunLocks(tmp_path).take("a")
    mine.give_all_back()
    assert RunLocks(tmp_path).take("a")


def test_a_claim_is_not_taken_on_a_name_that_is_gone(tmp_path: Path) -> None:
    """Given back while another waits: the file that was locked is not the file that is there."""
    one, other = RunLocks(tmp_path), RunLocks(tmp_path)
    for _ in range(50):
        assert one.take("a")
        assert not other.take("a")
        one.give_back("a")
        assert other.take("a")
        assert not one.take("a")
        other.give_back("a")
    assert not list(tmp_path.iterdir())


def test_what_another_process_has_made_meanwhile_is_not_made_again(tmp_path: Path) -> None:
    study, out = study_of(tmp_path), tmp_path / "out"
    run_study(study, tmp_path / "other", InProcess, Watchers([]))
    begun: list[Task] = []

    class Meanwhile(Watchers):
        """When the first run begins, the others appear."""

        def on_start(self, task: Task) -> None:
            begun.append(task)
            (out / "records").mkdir(parents=True)
            for path in (tmp_path / "other" / "records").iterdir():
                if path.stem != study.run_id(task):
                    (out / "records" / path.name).write_bytes(path.read_bytes())

    outcome = run_study(study, out, InProcess, Meanwhile([]))
    assert len(begun) == outcome.trained == 1
    assert len(outcome.records) == 6
    assert digests(out) == digests(tmp_path / "other")


# ------------------------------------------------------------------ a full disk


def test_a_full_disk_stops_the_study_and_keeps_what_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out, written = write_study(tmp_path), tmp_path / "out", []
    fsync = os.fsync

    def full(descriptor: int) -> None:
        written.append(stat.S_ISREG(os.fstat(descriptor).st_mode))
        if sum(written) > 3:
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    arguments = ["study", str(path), "--out", str(out), "--executor", "here", "--no-estimate"]
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert main(arguments) == 2
    said = capsys.readouterr().err
    assert "No space left on device" in said
    assert "finished runs are kept" in said
    assert len(contents(out)) == 2  # study.json was the first
    assert not list((out / "records").glob(".*"))
    assert main(arguments) == 0
    assert len(contents(out)) == 6


# ------------------------------------------------------------------ executors


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return study_of(tmp_path, STUDY.replace("seeds = 2", "seeds = 3")).plans[0]


def all_of(executor: Any, plan: Plan) -> dict[Run, Ended]:
    tasks = iter([Task(0, run) for run in plan.runs()])
    with contextlib.closing(executor):
        return {ended.task.run: ended for ended in drive(executor, lambda: next(tasks, None))}


def test_results_do_not_depend_on_the_executor(plan: Plan) -> None:
    here = all_of(InProcess([plan], None, lambda task, step: None), plan)
    steps = Counter[Task]()
    pool = all_of(Pool([plan], None, lambda task, step: steps.update([task]), 2), plan)
    expected = {run: plan.execute(run, None).digest for run in plan.runs()}
    for made in (here, pool):
        digests = {run: ended.record.digest for run, ended in made.items() if ended.record}
        assert digests == expected
    assert set(steps) <= {Task(0, run) for run in plan.runs()}


class Unlucky:
    """An executor whose runs get lost so many times each, then come to something."""

    slots = 2

    def __init__(self, times: dict[Run, int]) -> None:
        self.times, self.running, self.begun = dict(times), list[Task](), Counter[Run]()

    def start(self, task: Task) -> None:
        assert len(self.running) < self.slots
        self.running.append(task)
        self.begun[task.run] += 1

    def poll(self, timeout: float) -> list[Ended]:
        task = self.running.pop(0)
        if self.times.get(task.run, 0):
            self.times[task.run] -= 1
            return [Ended(task)]
        return [Ended(task, RunRecord({"policy": task.run.policy}, {"status": "done"}, {}))]

    def close(self) -> None: ...


def test_lost_runs_are_begun_anew_but_not_for_ever() -> None:
    runs = [Run(name, 0) for name in "abc"]
    executor, told = Unlucky({runs[0]: 3, runs[1]: 4}), list[Task]()
    tasks = iter([Task(0, run) for run in runs])
    ended = {e.task.run: e for e in drive(executor, lambda: next(tasks, None), told.append)}
    assert {run.policy: e.lost for run, e in ended.items()} == {"a": False, "b": True, "c": False}
    assert executor.begun == Counter({runs[0]: 4, runs[1]: 4, runs[2]: 1})
    assert Counter(task.run for task in told) == {runs[0]: 3, runs[1]: 3}


def test_an_error_that_cannot_travel_is_told_in_words(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ampmix.studies.executors import pool as pool_module

    class Odd(Exception):
        def __init__(self, one: int, two: int) -> None:
            super().__init__("odd")

    def broken(self: Plan, *more: Any) -> RunRecord:
        raise Odd(1, 2)

    monkeypatch.setattr(Plan, "execute", broken)
    (ended,) = pool_module._do(None, (plan,), None, [Task(0, plan.runs()[0])])  # type: ignore[arg-type]
    assert isinstance(ended.error, RuntimeError)
    assert str(ended.error) == "Odd: odd"


def test_gpus_are_shared_out(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    from ampmix.studies.executors.pool import gpus

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    pool = Pool([plan], None, lambda task, step: None, 3, devices=gpus())
    assert [e["CUDA_VISIBLE_DEVICES"] for e in pool._environments] == ["2", "5", "2"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpus() == []


def test_a_record_of_another_version_is_not_taken(tmp_path: Path) -> None:
    study = study_of(tmp_path)

    class Older(InProcess):
        def poll(self, timeout: float) -> list[Ended]:
            (ended,) = super().poll(timeout)
            assert ended.record is not None
            other = {**ended.record.specification, "seed": 77}
            return [Ended(ended.task, RunRecord(other, ended.record.result, {}))]

    outcome = run_study(study, tmp_path / "out", Older, Watchers([]))
    assert set(outcome.errors.values()) == {"its worker runs another version of ampmix"}
    assert contents(tmp_path / "out") == {}


def test_a_folder_that_cannot_be_locked_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno
    import fcntl

    def unable(*arguments: Any) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", unable)
    with pytest.raises(AmpmixError, match="cannot be locked"):
        RunLocks(tmp_path).take("a")
