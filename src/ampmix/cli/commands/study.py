"""Train all runs of a study FILE (TOML) and keep their records."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ampmix._support.wording import counted
from ampmix.cli import options
from ampmix.cli.executors import opener_of
from ampmix.cli.output import INTERRUPTED, Output, interrupted, recorded
from ampmix.errors import AmpmixError, unknown
from ampmix.training.config import eval_every

if TYPE_CHECKING:
    from ampmix.records.store import RunRecord
    from ampmix.studies.executors import Task
    from ampmix.studies.plan import Plan
    from ampmix.studies.run import Outcome
    from ampmix.studies.study import Study

EXECUTORS = ("processes", "here", "ray")
SMOKE = {"steps": 4, "seeds": 1, "eval_every": 2}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `ampmix study` takes."""
    parser.add_argument("file", metavar="FILE", help="study file; examples: paper/*.toml")
    what = parser.add_argument_group("what to run")
    what.add_argument(
        "--dry-run",
        action="store_true",
        help="list the runs and estimate their time, and stop",
    )
    what.add_argument(
        "--skip-invalid", action="store_true", help="leave out combinations that cannot be trained"
    )
    what.add_argument("--steps", type=int, metavar="N", help="optimiser steps; replaces the file's")
    what.add_argument(
        "--seeds", type=int, metavar="N", help="number of seeds or folds; replaces the file's"
    )
    what.add_argument(
        "--smoke",
        action="store_true",
        help="test the study: a few steps of one seed, in a separate folder",
    )
    what.add_argument("--no-estimate", action="store_true", help="skip the time estimate")
    run = parser.add_argument_group("running")
    run.add_argument("--out", metavar="DIR", help="output folder (ampmix-runs/NAME)")
    run.add_argument(
        "--executor",
        default="processes",
        metavar="NAME",
        help="where runs are trained: processes, here or ray (processes)",
    )
    run.add_argument(
        "--workers", type=int, metavar="N", help="processes (one per core; ray: as many as fit)"
    )
    options.add_replicas(run)
    options.add_time_limit(run)
    run.add_argument("--address", metavar="HOST:PORT", help="Ray cluster to use (a new one)")
    run.add_argument(
        "--gpus-per-run",
        type=float,
        metavar="F",
        help="GPUs per run with ray, such as 0.25 (on cuda 1)",
    )
    run.add_argument(
        "--track",
        default="",
        metavar="LIST",
        help="trackers of the runs: mlflow, tensorboard, or one of accelerate: aim, clearml, "
        "comet_ml, dvclive, swanlab, trackio, wandb (none)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from ampmix._support.json_files import check_writable
    from ampmix.records.store import RecordStore
    from ampmix.studies import file as study_file
    from ampmix.studies.study import build

    if arguments.executor not in EXECUTORS:
        raise unknown("executor", arguments.executor, EXECUTORS)
    if arguments.workers is not None and arguments.workers < 1:
        raise AmpmixError(f"workers is {arguments.workers}: it must be 1 or more")
    if arguments.executor == "ray" and (arguments.replicas or 1) > 1:
        raise AmpmixError(
            f"replicas is {arguments.replicas}: with ray every run is a task of its own; let "
            "several share a GPU, with --gpus-per-run 0.25"
        )
    options.check_time_limit(arguments)
    file = study_file.read(arguments.file, overrides(arguments), arguments.smoke)
    default = Path("ampmix-runs") / (f"{file.name}-smoke" if arguments.smoke else file.name)
    out = Path(arguments.out or default)
    output = arguments.output
    study = build(file, arguments.skip_invalid)
    for reason in study.refused:
        output.message(f"left out: {reason}")
    tasks = study.tasks()
    store, records = RecordStore(out / "records"), {}
    for task in tasks:
        found = store.get(study.plans[task.plan].specification(task.run))
        if found is not None:
            records[task] = found
    for line in describe(study, tasks):
        (output.answer if arguments.dry_run else output.remark)(line)
    for plan in study.plans:
        options.log_choice(plan.backbone, plan.config)
    if not arguments.dry_run:
        check_writable(out)
        _prepare(study, output)
    return _run(arguments, study, tasks, records, out)


def overrides(arguments: argparse.Namespace) -> dict[str, Any]:
    """Settings of the command line that go before the file's."""
    given = dict(SMOKE) if arguments.smoke else {}
    for name in ("steps", "seeds"):
        value = getattr(arguments, name)
        if value is not None:
            if value < 1:
                raise AmpmixError(f"{name} is {value}: it must be 1 or more")
            given[name] = value
    if arguments.steps is not None:
        given["eval_every"] = eval_every(arguments.steps)
    return given


def describe(study: Study, tasks: list[Task]) -> list[str]:
    """Describe the study, one line per plan."""
    counts = [sum(task.plan == i for task in tasks) for i in range(len(study.plans))]
    lines = [
        f"{label(plan, study)}: {', '.join(plan.policy_names)}; "
        f"{plan.design}{_steps_of(plan)}: {counted(count, 'run')}"
        for plan, count in zip(study.plans, counts, strict=True)
    ]
    parts = f"{counted(len(tasks), 'run')}, {counted(len(study.plans), 'comparison')}"
    total = f"{study.name}: {parts}"
    return [*lines, f"{total}, {len(study.refused)} left out" if study.refused else total]


def _steps_of(plan: Plan) -> str:
    """Steps of a plan's runs, "" where the model is solved for."""
    from ampmix.baselines.base import Baseline

    solved = isinstance(plan.backbone, Baseline)
    return "" if solved else f", {counted(plan.config.steps, 'step')}"


def label(plan: Any, study: Study) -> str:
    """A plan's data, backbone and labels kept, and what distinguishes its settings."""
    from dataclasses import asdict

    from ampmix._support import components

    settings = [asdict(other.config) for other in study.plans if other.backbone == plan.backbone]
    own = asdict(plan.config)
    varied = [key for key in own if any(other[key] != own[key] for other in settings)]
    parts = [plan.dataset.name, components.spec(plan.backbone)]
    parts += [f"fraction={plan.fraction:g}"] * (plan.fraction != 1.0)
    return " ".join([*parts, *(f"{key}={own[key]}" for key in varied)])


def _prepare(study: Study, output: Output) -> None:
    """Say what is to be said of data and vectors, and have them before workers ask for them."""
    from ampmix.data.splits import rare_notes
    from ampmix.training.checks import unlabelled_notes

    said: set[str] = set()
    for plan in study.plans:
        rare = rare_notes(plan.dataset, plan.seeds if plan.cross_validated else 0)
        notes = [f"{plan.dataset.name}: {one}" for one in (*plan.dataset.notes, *rare)]
        split = plan.split(0)
        reading = plan.backbone.notes(split, plan.config.max_length)
        reading += unlabelled_notes(plan.policies, split, plan.backbone)
        notes += [f"{label(plan, study)}: {one}" for one in reading]
        for one in notes:
            if one not in said:
                said.add(one)
                output.note(one)


def _run(
    arguments: argparse.Namespace,
    study: Study,
    tasks: list[Task],
    records: dict[Task, RunRecord],
    out: Path,
) -> int:
    from ampmix.studies import trackers
    from ampmix.studies.run import Watchers, left, run_study
    from ampmix.terminal.study_progress import StudyProgress

    output: Output = arguments.output
    devices = [plan.config.device for plan in study.plans]
    slots = 1 if arguments.executor == "here" else options.workers_of(arguments, devices)
    seconds: Mapping[tuple[int, str], float] = {}
    total: float | None = None
    if len(records) == len(tasks):
        output.remark(f"{recorded(len(tasks), out)}.")
    elif not arguments.no_estimate:
        seconds, total, took = _expected(study, tasks, records, slots)
        (output.answer if arguments.dry_run else output.remark)(took)
    if arguments.dry_run:
        left_now = {"runs": len(tasks), "left": len(tasks) - len(records), "seconds": total}
        output.document({**study.as_json(), "out": out, **left_now})
        return 0
    progress = StudyProgress(
        [label(plan, study) for plan in study.plans],
        seconds,
        tasks,
        records,
        [plan.config.steps for plan in study.plans],
        slots,
        output.messages,
    )
    replicas = _replicas(arguments, study, slots)
    told = trackers.of(arguments.track, study.name, study.plans, out)
    try:
        with progress, trackers.closing(told):
            watcher = Watchers([progress, *told])
            opener = opener_of(arguments, slots, replicas)
            outcome = run_study(study, out, opener, watcher, replicas)
    except KeyboardInterrupt:
        kept = len(tasks) - len(left(study, out))
        output.error(interrupted(kept, len(tasks), out))
        return INTERRUPTED
    return _conclude(study, outcome, out, output)


def _expected(
    study: Study, tasks: list[Task], records: dict[Task, RunRecord], slots: int
) -> tuple[Mapping[tuple[int, str], float], float, str]:
    """Return how long the rest takes: seconds by plan and policy, of all, and a sentence."""
    from ampmix._support.wording import duration
    from ampmix.studies.estimate import estimate

    rest = [task for task in tasks if task not in records]
    found = estimate(study.plans, rest, records)
    kinds = f"{found.measured} of {counted(len(found.seconds), 'kind')} of run measured"
    total = found.total(rest, slots)
    time = f"about {duration(total)} with {slots} at once ({kinds})"
    return found.seconds, total, f"{counted(len(rest), 'run is', 'runs are')} left: {time}."


def _replicas(arguments: argparse.Namespace, study: Study, slots: int) -> list[int]:
    """By plan, how many seeds train at once; notes on policies whose seeds do not."""
    if arguments.executor == "ray":
        return [1] * len(study.plans)
    replicas = [plan.replicas(arguments.replicas, slots) for plan in study.plans]
    stacked = [plan for plan, n in zip(study.plans, replicas, strict=True) if n > 1]
    alone = [
        one
        for plan in stacked
        for one in options.alone(plan.backbone, plan.policies, bool(plan.dataset.unlabelled))
    ]
    for one in dict.fromkeys(alone):
        arguments.output.note(one)
    return replicas


def _conclude(study: Study, outcome: Outcome, out: Path, output: Output) -> int:
    """Say how it ended; 1 if there are runs without a record."""
    from ampmix.analysis.groups import groups_of
    from ampmix.analysis.overall import overall_sentences

    for path, reason in outcome.unreadable:
        output.note(f"set aside the unreadable record {path.name}: {reason}")
    done = len(outcome.records) - len(outcome.diverged)
    total = len(outcome.records) + len(outcome.errors)
    of_all = f"{done} of {counted(total, 'run is', 'runs are')} done"
    output.answer(f"{of_all}, {outcome.trained} of them now.")
    diverged = {task: outcome.records[task].result.error for task in outcome.diverged}
    failed, missing = _listed(study, diverged), _listed(study, outcome.errors)
    for kind, runs in (("failed", failed), ("no record", missing)):
        for one in runs:
            output.answer(f"{kind}: {one['run']}: {one['reason']}")
    if missing:
        output.remark(f"The same command tries these again; more is in {out / 'failures'}.")
    overall = overall_sentences(groups_of(outcome.records.values()))
    for sentence in overall:
        output.answer(f"Over data sets, {sentence}")
    output.remark(f"Written to {out}: study.json, records/.")
    told = {"runs": total, "left": len(missing), "trained": outcome.trained, "failed": failed}
    told |= {"unfinished": missing, "overall": overall}
    output.document({**study.as_json(), "out": out, **told})
    return 1 if missing else 0


def _listed(study: Study, reasons: Mapping[Task, str | None]) -> list[dict[str, str | None]]:
    """Runs without a result, each with the reason."""
    return [
        {
            "run": f"{label(study.plans[task.plan], study)}, {task.run.policy}, "
            f"seed {task.run.seed}",
            "reason": reason,
        }
        for task, reason in reasons.items()
    ]
