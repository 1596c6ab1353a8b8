"""Train every policy with every seed on DATA and say which errs less."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ampmix.commands._shared import INTERRUPTED, cores
from ampmix.errors import AmpmixError

POLICIES = "none,mixup,amp,mixup[site=sent],amp[site=sent]"
PAPER_STEPS, TABLE_STEPS = 8000, 1500


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `ampmix compare` takes."""
    parser.add_argument(
        "data",
        metavar="DATA",
        help="a known data set (ampmix list), or a CSV, TSV, JSONL or Parquet",
    )
    what = parser.add_argument_group("what to compare")
    what.add_argument("--policies", default=POLICIES, metavar="LIST", help="default: %(default)s")
    what.add_argument("--backbone", default="cnn", metavar="SPEC", help="default: %(default)s")
    what.add_argument(
        "--seeds", type=int, default=5, metavar="N", help="seeds, or folds without a test set (5)"
    )
    what.add_argument(
        "--fraction", type=float, default=1.0, metavar="F", help="labels kept of each class (1.0)"
    )
    file = parser.add_argument_group("a file of your own")
    file.add_argument("--text", metavar="COLUMN", help="the column with the texts")
    file.add_argument("--label", metavar="COLUMN", help="the column with the labels")
    file.add_argument("--test", metavar="FILE", help="test on this file, not by cross-validation")
    file.add_argument("--dev", metavar="FILE", help="choose the step on this file")
    file.add_argument("--encoding", metavar="NAME", help="of CSV and TSV (utf-8)")
    training = parser.add_argument_group("training")
    training.add_argument(
        "--steps",
        type=int,
        metavar="N",
        help=f"steps a run ({PAPER_STEPS}; files {TABLE_STEPS}; encoder 600)",
    )
    training.add_argument("--batch-size", type=int, metavar="N", help="(50; encoder 24)")
    training.add_argument(
        "--lr", type=float, metavar="X", help="learning rate (2e-4; encoder 1e-4)"
    )
    training.add_argument(
        "--clip", type=float, metavar="X", help="largest gradient norm, 0 for any (0; encoder 1)"
    )
    training.add_argument("--weight-decay", type=float, metavar="X", help="(1e-8; encoder 0.01)")
    training.add_argument("--optimizer", metavar="NAME", help="adam or adamw (adam; encoder adamw)")
    training.add_argument(
        "--schedule", metavar="NAME", help="of lr: constant or linear (constant; encoder linear)"
    )
    training.add_argument(
        "--warmup", type=float, metavar="F", help="share of the steps lr rises (0; encoder 0.1)"
    )
    training.add_argument(
        "--selection", metavar="NAME", help="of the step: best_dev or last (best_dev; encoder last)"
    )
    training.add_argument(
        "--eval-every", type=int, metavar="N", help="steps between development readings"
    )
    run = parser.add_argument_group("running")
    run.add_argument(
        "--workers", type=int, default=cores(), metavar="N", help="processes (%(default)s)"
    )
    run.add_argument("--out", metavar="DIR", help="output folder (ampmix-runs/NAME)")


def act(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from rich.console import Console

    from ampmix import components, datasets
    from ampmix import yardstick as yardsticks
    from ampmix.compare import compare, remaining
    from ampmix.plan import Plan
    from ampmix.records import check_writable
    from ampmix.report.progress import RunsProgress
    from ampmix.report.table import print_comparison
    from ampmix.training import TrainConfig

    if arguments.workers < 1:
        raise AmpmixError(f"workers is {arguments.workers}: it must be 1 or more")
    policies = components.parse_list(arguments.policies, "ampmix.policies", "policy")
    backbone = components.parse(arguments.backbone, "ampmix.backbones", "backbone")
    known = arguments.data.split("[")[0] in components.find("ampmix.datasets")
    steps = arguments.steps
    if steps is None:
        steps = backbone.training_defaults.get("steps", PAPER_STEPS if known else TABLE_STEPS)
    config = TrainConfig.of(
        backbone,
        steps=steps,
        batch_size=arguments.batch_size,
        lr=arguments.lr,
        clip=arguments.clip,
        weight_decay=arguments.weight_decay,
        optimizer=arguments.optimizer,
        schedule=arguments.schedule,
        warmup=arguments.warmup,
        selection=arguments.selection,
        eval_every=arguments.eval_every
        if arguments.eval_every is not None
        else min(100, max(1, steps // 20)),
    )
    dataset = datasets.load(
        arguments.data,
        text=arguments.text,
        label=arguments.label,
        test=arguments.test,
        dev=arguments.dev,
        encoding=arguments.encoding,
    )
    plan = Plan(dataset, backbone, tuple(policies), arguments.seeds, arguments.fraction, config)
    out = Path(arguments.out or Path("ampmix-runs") / dataset.name)
    check_writable(out)

    screen, messages = Console(highlight=False), Console(stderr=True, highlight=False)
    wrap = not screen.is_terminal  # lines in a pipe are nobody's to break
    for note in dataset.notes:
        messages.print(f"note: {note}", markup=False, soft_wrap=wrap)
    screen.print(describe(plan), markup=False, soft_wrap=wrap)
    runs = remaining(plan, out)
    if not runs:
        recorded = f"All {len(plan.runs())} runs are recorded in {out}: nothing to train."
        screen.print(recorded, markup=False, soft_wrap=wrap)
    progress = RunsProgress(len(runs), config.steps, messages)
    try:
        with progress:
            summary = compare(plan, out, arguments.workers, progress)
    except KeyboardInterrupt:
        kept = len(plan.runs()) - len(remaining(plan, out))
        messages.print(
            f"Interrupted: {kept} of {len(plan.runs())} runs are kept in {out}; "
            "the same command goes on from there.",
            markup=False,
        )
        return INTERRUPTED
    for path, reason in summary.unreadable:
        messages.print(f"note: set aside the unreadable record {path.name}: {reason}", markup=False)
    screen.print()
    print_comparison(summary.as_json(), screen, yardsticks.NAME)
    files = "summary.json, records/" + (", model/" if summary.model else "")
    screen.print(f"Written to {out}: {files}.", markup=False, soft_wrap=wrap)
    return 0


def describe(plan: Any) -> str:
    """What is going to be compared, in a line or two."""
    from ampmix import components

    dataset = plan.dataset
    parts = [f"{len(dataset.train)} training texts"]
    if dataset.dev is not None:
        parts.append(f"{len(dataset.dev)} for development")
    if dataset.test is not None:
        parts.append(f"{len(dataset.test)} for testing")
    design = (
        f"{plan.seeds}-fold cross-validation" if plan.cross_validated else f"{plan.seeds} seeds"
    )
    kept = "" if plan.fraction == 1.0 else f", {plan.fraction:.4g} of the labels kept"
    return (
        f"{dataset.name}: {', '.join(parts)}, {len(dataset.classes)} classes{kept}; "
        f"{components.spec(plan.backbone)}, {design}, {plan.config.steps} steps a run."
    )
