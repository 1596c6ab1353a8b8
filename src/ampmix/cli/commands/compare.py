"""Train each policy with every seed on DATA and compare their errors."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ampmix._support.wording import counted
from ampmix.cli import options
from ampmix.cli.output import INTERRUPTED, consoles, cut, interrupted, note, recorded, say
from ampmix.studies import DEFAULT_POLICIES

if TYPE_CHECKING:
    from rich.console import Console

    from ampmix.studies.compare import Summary
    from ampmix.studies.plan import Plan


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `ampmix compare` takes.

    Under torchrun, its processes share out the runs, with the records that one process would make.
    """
    options.add_data(parser)
    what = parser.add_argument_group("what to compare")
    what.add_argument(
        "--policies",
        default=DEFAULT_POLICIES,
        metavar="LIST",
        help="policies to compare (%(default)s)",
    )
    what.add_argument(
        "--seeds",
        type=int,
        metavar="N",
        help="number of seeds; without a test set, of folds (5; mr and subj 10)",
    )
    options.add_backbone(what)
    options.add_file(parser, "cross-validation")
    options.add_training(parser)
    run = parser.add_argument_group("running")
    run.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="processes (one per core; one per GPU with several --replicas)",
    )
    options.add_replicas(run)
    options.add_time_limit(run)
    run.add_argument("--out", metavar="DIR", help="output folder (ampmix-runs/NAME)")


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from ampmix._support.json_files import check_writable
    from ampmix.studies import compare
    from ampmix.studies.run import left
    from ampmix.terminal.progress import RunsProgress
    from ampmix.training import processes

    options.check_time_limit(arguments)
    plan = plan_of(arguments)
    out = Path(arguments.out or Path("ampmix-runs") / plan.dataset.name)
    check_writable(out)

    device = plan.config.device
    together = processes.joined(device)
    workers = max(1, options.workers_of(arguments, [device]) // together.count)
    replicas = plan.replicas(arguments.replicas, workers)
    screen, messages = consoles(together.rank)
    for one in notes(plan, replicas):
        note(one, messages)
    say(screen, describe(plan))
    study = compare.comparison(plan)
    total, runs = len(plan.runs()), len(left(study, out))
    if not runs:
        say(screen, f"{recorded(total, out)}: nothing to train.")
    if runs and together.count > 1:
        shared = f"{together.count} processes share {counted(runs, 'run')}"
        say(messages, f"{shared}; the progress shown is that of the first.")
    together.wait()  # none begins before all have counted
    progress = RunsProgress(runs, plan.config.steps, messages)
    try:
        with progress:
            summary = compare.compare(
                plan,
                out,
                workers=workers,
                replicas=replicas,
                time_limit=arguments.time_limit,
                watcher=progress,
                processes=together,
            )
    except KeyboardInterrupt:
        say(messages, interrupted(total - len(left(study, out)), total, out))
        return INTERRUPTED
    return conclude(plan, summary, out, screen, messages)


def plan_of(arguments: argparse.Namespace) -> Plan:
    """Make the plan that the options describe; AmpmixError if it cannot be run."""
    from ampmix import datasets
    from ampmix._support.components import POLICIES
    from ampmix.data.splits import texts_kept
    from ampmix.studies.plan import Plan
    from ampmix.training.checks import sited

    given = POLICIES.parse_list(arguments.policies, trusted=True)
    backbone = options.backbone_of(arguments)
    policies = sited(given, backbone)
    known = datasets.known(arguments.data)
    seeds = getattr(known, "folds", 5) if arguments.seeds is None else arguments.seeds
    dataset = options.dataset_of(arguments)
    texts = texts_kept(dataset, arguments.fraction)
    config = options.config_of(arguments, backbone, texts)
    return Plan(dataset, backbone, tuple(policies), seeds, arguments.fraction, config)


def notes(plan: Plan, replicas: int) -> list[str]:
    """Collect notes on the data and settings to show before training."""
    from ampmix.data.splits import rare_notes

    reading = plan.backbone.notes(plan.split(0), plan.config.max_length)
    folds = plan.seeds if plan.cross_validated else 0
    found = [*plan.dataset.notes, *rare_notes(plan.dataset, folds), *reading]
    return found + (options.alone(plan.backbone, plan.policies) if replicas > 1 else [])


def conclude(plan: Plan, summary: Summary, out: Path, screen: Console, messages: Console) -> int:
    """Say how it ended; 1 if there are runs without a record."""
    from ampmix.terminal.comparison import print_comparison

    for path, reason in summary.unreadable:
        note(f"set aside the unreadable record {path.name}: {reason}", messages)
    if summary.truncated:
        length = f"what the model reads, {counted(plan.config.max_length, 'token')} or fewer"
        note(cut(summary.truncated, length), messages)
    screen.print()
    print_comparison(summary.as_json(), screen)
    files = "summary.json, records/" + (", model/" if summary.model else "")
    say(screen, f"Written to {out}: {files}.")
    for run, reason in summary.unfinished.items():
        say(screen, f"no record: {run.policy}, seed {run.seed}: {reason}")
    if summary.unfinished:
        say(screen, f"The same command tries these again; more is in {out / 'failures'}.")
    return 1 if summary.unfinished else 0


def describe(plan: Plan) -> str:
    """Describe the comparison in a line or two."""
    from ampmix._support import components

    dataset = plan.dataset
    parts = [counted(len(dataset.train), "training text")]
    if dataset.dev is not None:
        parts.append(f"{len(dataset.dev):,} for development")
    if dataset.test is not None:
        parts.append(f"{len(dataset.test):,} for testing")
    design = (
        f"{plan.seeds}-fold cross-validation"
        if plan.cross_validated
        else counted(plan.seeds, "seed")
    )
    kept = "" if plan.fraction == 1.0 else f", {plan.fraction:.4g} of the labels kept"
    return (
        f"{dataset.name}: {', '.join(parts)}, {len(dataset.classes)} classes{kept}; "
        f"{components.spec(plan.backbone)}, {design}, "
        f"{'at most ' if plan.config.patience else ''}{counted(plan.config.steps, 'step')} a run."
    )
