"""Train every policy with every seed on DATA and say which errs less."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ampmix.commands import _options
from ampmix.commands._shared import INTERRUPTED, consoles, cut, interrupted, recorded
from ampmix.counting import counted

POLICIES = "none,mixup,amp,mixup[site=sent],amp[site=sent]"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `ampmix compare` takes.

    Under torchrun, its processes share out the runs, with the records that one process would make.
    """
    _options.add_data(parser)
    what = parser.add_argument_group("what to compare")
    what.add_argument("--policies", default=POLICIES, metavar="LIST", help="default: %(default)s")
    what.add_argument(
        "--seeds",
        type=int,
        metavar="N",
        help="seeds, or folds without a test set (5; for mr and subj 10)",
    )
    _options.add_backbone(what)
    _options.add_file(parser, "by cross-validation")
    _options.add_training(parser)
    run = parser.add_argument_group("running")
    run.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="processes (one a core; a GPU if it trains several)",
    )
    _options.add_replicas(run)
    _options.add_time_limit(run)
    run.add_argument("--out", metavar="DIR", help="output folder (ampmix-runs/NAME)")


def act(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from ampmix import components, processes
    from ampmix import yardstick as yardsticks
    from ampmix.compare import compare, remaining
    from ampmix.plan import Plan
    from ampmix.records import check_writable
    from ampmix.report.progress import RunsProgress
    from ampmix.report.table import print_comparison

    _options.check_time_limit(arguments)
    policies = components.parse_list(arguments.policies, "ampmix.policies", "policy")
    backbone = _options.backbone_of(arguments)
    known = components.find("ampmix.datasets").get(arguments.data.split("[")[0].strip())
    seeds = getattr(known, "folds", 5) if arguments.seeds is None else arguments.seeds
    config = _options.config_of(arguments, backbone)
    dataset = _options.dataset_of(arguments)
    plan = Plan(dataset, backbone, tuple(policies), seeds, arguments.fraction, config)
    out = Path(arguments.out or Path("ampmix-runs") / dataset.name)
    check_writable(out)

    together = processes.joined(config.device)
    workers = max(1, _options.workers_of(arguments, [config.device]) // together.count)
    screen, messages = consoles(together.rank)
    wrap = not screen.is_terminal  # lines in a pipe are nobody's to break
    for note in dataset.notes:
        messages.print(f"note: {note}", markup=False, soft_wrap=wrap)
    split = plan.split(0)
    if (coverage := backbone.coverage(split.train.texts, split.tokenizer)) is not None:
        messages.print(f"note: vectors: {coverage}", markup=False, soft_wrap=wrap)
    screen.print(describe(plan), markup=False, soft_wrap=wrap)
    runs = remaining(plan, out)
    if not runs:
        told = f"{recorded(len(plan.runs()), out)}: nothing to train."
        screen.print(told, markup=False, soft_wrap=wrap)
    mine = together.share(runs)
    if len(mine) < len(runs):
        shared = f"{together.count} processes share {counted(len(runs), 'run')}"
        told = f"{shared}; progress is the first one's."
        messages.print(told, markup=False, soft_wrap=wrap)
    progress = RunsProgress(len(mine), config.steps, messages)
    replicas = plan.replicas(arguments.replicas, workers)
    if replicas > 1:
        for note in _options.alone(backbone, policies):
            messages.print(f"note: {note}", markup=False, soft_wrap=wrap)
    try:
        with progress:
            limit = arguments.time_limit
            summary = compare(plan, out, workers, progress, together, replicas, limit)
    except KeyboardInterrupt:
        kept = len(plan.runs()) - len(remaining(plan, out))
        messages.print(interrupted(kept, len(plan.runs()), out), markup=False)
        return INTERRUPTED
    for path, reason in summary.unreadable:
        messages.print(f"note: set aside the unreadable record {path.name}: {reason}", markup=False)
    if summary.truncated:
        length = f"what the model reads, {counted(config.max_length, 'token')} or fewer"
        messages.print(cut(summary.truncated, length), markup=False, soft_wrap=wrap)
    screen.print()
    print_comparison(summary.as_json(), screen, yardsticks.NAME)
    files = "summary.json, records/" + (", model/" if summary.model else "")
    screen.print(f"Written to {out}: {files}.", markup=False, soft_wrap=wrap)
    for run, reason in summary.unfinished.items():
        told = f"no record: {run.policy}, seed {run.seed}: {reason}"
        screen.print(told, markup=False, soft_wrap=wrap)
    if summary.unfinished:
        told = f"The same command tries these again; more is in {out / 'failures'}."
        screen.print(told, markup=False, soft_wrap=wrap)
    return 1 if summary.unfinished else 0


def describe(plan: Any) -> str:
    """What is going to be compared, in a line or two."""
    from ampmix import components

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
