"""What becomes of a run that ends without a record: a note, which tells nothing of the machine."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

import ampmix
from ampmix._support.redact import without_paths
from ampmix.cli.main import main
from ampmix.records.store import RunRecord
from ampmix.studies.executors import Ended, InProcess, Pool, Task
from ampmix.studies.file import read
from ampmix.studies.plan import Plan, Run
from ampmix.studies.run import Watchers, run_study
from ampmix.studies.study import Study, build
from small_studies import CNN, STUDY, contents, digests, write_study, write_texts

needs_proc = pytest.mark.skipif(not Path("/proc/self").exists(), reason="asks /proc")


def study_of(folder: Path, text: str = STUDY) -> Study:
    return build(read(write_study(folder, text)))


def notes(out: Path) -> dict[str, dict[str, Any]]:
    return {path.stem: json.loads(path.read_text()) for path in (out / "failures").iterdir()}


# ------------------------------------------------------------------ what a note tells


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('File "/opt/some py/x/y.py", line 3', 'File "y.py", line 3'),
        ("[Errno 2] No such file: '/srv/a b/c.csv'", "[Errno 2] No such file: 'c.csv'"),
        ("at /srv/a/b.txt, then (/srv/q.txt)", "at b.txt, then (q.txt)"),
        ("cnn[vectors=/srv/a/glove.txt,oov=drop]", "cnn[vectors=glove.txt,oov=drop]"),
        (r"C:\Users\marie\films.csv is bad", "films.csv is bad"),
        ("see https://host/a/b and s3://bucket/c", "see https://host/a/b and s3://bucket/c"),
        ("3/4 of a/b", "3/4 of a/b"),
    ],
)
def test_paths_are_cut_to_what_tells_nothing_of_the_machine(text: str, told: str) -> None:
    assert without_paths(text) == told


def test_no_file_of_a_study_holds_a_path_a_name_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not of a failure either, whose message and trace are full of them."""
    monkeypatch.setenv("A_SECRET_OF_MINE", "hunter2hunter2")
    home = tmp_path / "home of marie"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    vectors = write_texts(home).with_name("vectors.txt")
    vectors.write_text("film 1 2\nbook 3 4\n")
    text = STUDY.replace("feature_maps=4", f"feature_maps=4,vectors={vectors}")
    text = text.replace('"mixup"]', '"mixup", "amp[site=wrod]"]')
    study = build(read(write_study(home, text.replace("embedding_dim=8,", ""))), skip_invalid=True)
    assert study.refused

    def broken(self: Plan, run: Run, *more: Any) -> RunRecord:
        if run.policy == "mixup":
            return RunRecord({}, {"test_error": (home / "nowhere" / "films.csv").read_text()}, {})
        return execute(self, run, *more)

    execute = Plan.execute
    monkeypatch.setattr(Plan, "execute", broken)
    out = tmp_path / "out"
    run_study(study, out, InProcess, Watchers([]))
    found = [path for path in out.rglob("*") if path.is_file()]
    secret = str(tmp_path), "marie", "hunter2", "A_SECRET", "site-packages"
    assert len(notes(out)) == 2 and len(found) > 6
    for path in found:
        content = path.read_text()
        for private in (*secret, str(Path(ampmix.__file__).parent)):
            assert private not in content, path
    (note, _) = notes(out).values()
    assert 'test_failures.py"' in note["trace"] and "in broken" in note["trace"]
    assert note["error"] == "FileNotFoundError: [Errno 2] No such file or directory: 'films.csv'"


# ------------------------------------------------------------------ a run that takes too long


@pytest.mark.slow
@needs_proc
def test_a_worker_that_hangs_is_ended_and_its_run_tried_again(tmp_path: Path) -> None:
    """A stopped process answers nothing but kill -9."""
    study = study_of(tmp_path, STUDY.replace("steps = 4", "steps = 40"))
    victim = Task(0, Run("mixup", 1))

    class Stopper(Watchers):
        def on_start(self, task: Task) -> None:
            self.started = time.monotonic()

        def on_step(self, task: Task, step: int) -> None:
            for worker in pools[-1]._workers:
                if task == victim and worker is not None and worker.tasks == [task]:
                    os.kill(worker.process.pid or 0, signal.SIGSTOP)

    pools: list[Pool] = []

    def opened(plans: Any, models: Any, on_step: Any) -> Pool:
        pools.append(Pool(plans, models, on_step, 1, time_limit=5))
        return pools[-1]

    outcome = run_study(study, tmp_path / "out", opened, Stopper([]))
    assert dict(outcome.errors) == {victim: "it took longer than 5 s, the --time-limit"}
    assert list(notes(tmp_path / "out")) == [study.run_id(victim)]
    assert len(contents(tmp_path / "out")) == 5
    again = run_study(study, tmp_path / "out", InProcess, Watchers([]))
    assert (again.trained, dict(again.errors), notes(tmp_path / "out")) == (1, {}, {})
    run_study(study, tmp_path / "undisturbed", InProcess, Watchers([]))
    assert digests(tmp_path / "out") == digests(tmp_path / "undisturbed")


def test_in_this_process_the_limit_is_asked_between_steps(tmp_path: Path) -> None:
    study = study_of(tmp_path)

    class Slow(Watchers):
        def on_step(self, task: Task, step: int) -> None:
            if task.run == Run("none", 0):
                time.sleep(0.2)

    def opened(plans: Any, models: Any, on_step: Any) -> InProcess:
        return InProcess(plans, models, on_step, time_limit=0.1)

    outcome = run_study(study, tmp_path / "out", opened, Slow([]))
    assert outcome.errors[Task(0, Run("none", 0))] == "it took longer than 0.1 s, the --time-limit"
    again = run_study(study, tmp_path / "out", InProcess, Watchers([]))
    assert not again.errors and len(again.records) == 6


@pytest.mark.parametrize("limit", ["0", "-1", "nan"])
@pytest.mark.parametrize("command", ["study", "compare"])
def test_a_limit_in_which_nothing_can_be_done_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, limit: str
) -> None:
    path = write_study(tmp_path)
    data = path if command == "study" else tmp_path / "films.csv"
    assert main([command, str(data), "--time-limit", limit]) == 2
    assert f"--time-limit is {limit}" in capsys.readouterr().err


# ------------------------------------------------------------------ compare


COMPARE = ["--backbone", CNN, "--steps", "4", "--eval-every", "2", "--lr", "0.01"]
COMPARE += ["--policies", "none,mixup", "--seeds", "2", "--workers", "1"]


def some_fail(monkeypatch: pytest.MonkeyPatch, error: Exception | None, lost: Run) -> None:
    """Runs happen here; one of them ends with an error."""

    class Failing(InProcess):
        def __init__(self, plans: Any, models: Any, on_step: Any, *_: Any) -> None:
            super().__init__(plans, models, on_step)

        def poll(self, timeout: float) -> list[Ended]:
            ended = super().poll(timeout)
            return [Ended.by(e.task, error) if error and e.task.run == lost else e for e in ended]

    monkeypatch.setattr("ampmix.studies.runner.Pool", Failing)


@pytest.mark.slow
@pytest.mark.parametrize("lost", [Run("mixup", 1), Run("none", 0), Run("tfidf-logreg", 0)])
def test_a_comparison_goes_on_without_a_run_and_the_same_command_tries_it_again(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    lost: Run,
) -> None:
    write_texts(tmp_path)
    monkeypatch.chdir(tmp_path)
    command = ["compare", "films.csv", *COMPARE, "--out", "out"]
    some_fail(monkeypatch, MemoryError(), lost)
    assert main(command) == 1
    said = capsys.readouterr()
    assert f"no record: {lost.policy}, seed {lost.seed}: MemoryError\n" in said.out
    assert "The same command tries these again" in said.out and "Traceback" not in said.err
    assert len(contents(tmp_path / "out")) == 5
    assert len(notes(tmp_path / "out")) == 1
    rows = json.loads(Path("out/summary.json").read_text())["rows"]
    failures = {row["policy"]: row["failures"] for row in rows}
    assert failures[lost.policy] == {str(lost.seed): "MemoryError"}

    some_fail(monkeypatch, None, lost)
    assert main(command) == 0
    assert notes(tmp_path / "out") == {}
    assert main([*command[:-1], "undisturbed"]) == 0
    assert digests(tmp_path / "out") == digests(tmp_path / "undisturbed")
    for name in ("summary.json", "model/model.safetensors"):
        assert Path("out", name).read_bytes() == Path("undisturbed", name).read_bytes()


# ------------------------------------------------------------------ memory, disks, leftovers


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"
        ),
        RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB"),
    ],
    ids=["python", "cpu", "cuda"],
)
def test_memory_that_runs_out_is_one_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise error

    write_texts(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ampmix.training.fit.fit", full)
    assert main(["train", "films.csv", "--backbone", CNN, "--out", "model"]) == 2
    said = capsys.readouterr().err
    assert "memory ran out" in said and "--batch-size" in said
    assert said.count("ampmix: ") == 1 and "Traceback" not in said
    monkeypatch.setattr("ampmix.training.fit.fit", lambda *_, **__: 1 + "1")  # type: ignore[operator]
    with pytest.raises(TypeError):  # what is our own mistake is not dressed up
        main(["train", "films.csv", "--backbone", CNN, "--out", "model"])


def test_weights_that_do_not_fit_the_disk_are_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The library that writes them is not Python's, and has errors of its own."""
    resource = pytest.importorskip("resource")
    write_texts(tmp_path)
    monkeypatch.chdir(tmp_path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        options = ["--backbone", CNN, "--steps", "2", "--out", "model"]
        code = main(["train", "films.csv", *options])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    said = capsys.readouterr().err
    assert (code, "ampmix: File too large" in said, "Traceback" in said) == (2, True, False)
    assert [path.name for path in tmp_path.iterdir()] == ["films.csv"]


def test_a_study_removes_what_killed_ones_have_left(tmp_path: Path) -> None:
    """Weights of a run that is not the best, a lock that nobody holds, a note, a draft."""
    study = study_of(tmp_path, STUDY.replace("seeds = 2", 'seeds = 2\nmodels = "best"'))
    out = tmp_path / "out"
    run_study(study, out, InProcess, Watchers([]))
    expected = sorted(path.relative_to(out) for path in out.rglob("*"))
    best = {path.name for path in (out / "models").iterdir()}
    trained = [task for task in study.tasks() if task.run.policy in ("none", "mixup")]
    other = next(run for run in map(study.run_id, trained) if run not in best)
    (out / "models" / other).mkdir()
    (out / "locks" / f"{other}.lock").write_text("1 on a machine that is no more")
    (out / "failures").mkdir(exist_ok=True)
    (out / "failures" / f"{other}.json").write_text("{}")
    for folder in (out, out / "records", out / "models", out / "failures"):
        (folder / ".ampmix-dead").mkdir()
        (folder / ".ampmix-dead" / "half").write_text("{")
    assert run_study(study, out, InProcess, Watchers([])).trained == 0
    left = {path.relative_to(out) for path in out.rglob("*")} - {Path("failures")}
    assert sorted(left) == expected
