"""Find the best model for DATA, whether mixing helps it, and keep it."""

from __future__ import annotations

import argparse
import logging
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ampmix._support.cores import cores
from ampmix._support.wording import counted
from ampmix.cli import options
from ampmix.cli.output import INTERRUPTED, Output, cut, interrupted, recorded

if TYPE_CHECKING:
    from ampmix.studies.ladder import Ladder
    from ampmix.studies.plan import Plan
    from ampmix.studies.summary import Summary


_log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `ampmix compare` takes.

    First it compares models without mixing: TF-IDF, a frozen encoder, a fine-tuned one. Then it
    compares policies on the best of those that can mix. Then it trains the best on every label.
    Under torchrun, its processes share out the runs, with the records that one process would make.
    """
    options.add_data(parser)
    what = parser.add_argument_group("what to compare")
    what.add_argument(
        "--policies",
        metavar="LIST",
        help="policies to compare (none, mixup and amp, at sites that the backbone has)",
    )
    what.add_argument(
        "--ladder",
        metavar="LIST",
        help="baselines and backbones to compare without mixing, besides the backbone "
        "(encoder-logreg where the backbone is auto)",
    )
    what.add_argument(
        "--seeds",
        type=int,
        metavar="N",
        help="number of seeds (5); without a test set, as --folds N --repeats 1",
    )
    what.add_argument(
        "--folds",
        type=int,
        metavar="K",
        help="folds of cross-validation, which there is without a test set (5; mr and subj 10)",
    )
    what.add_argument(
        "--repeats",
        type=int,
        metavar="R",
        help="repeats of cross-validation, each with folds and weights of its own (3; mr and subj "
        "1): each costs as many runs as the first",
    )
    what.add_argument(
        "--redraw",
        action="store_true",
        help="with a test set: each seed draws half of the training texts (or --fraction), and "
        "verdicts hold for new training sets, too",
    )
    what.add_argument(
        "--margin",
        type=float,
        metavar="POINTS",
        help="a difference below it does not matter: policies that are shown to differ by less are "
        "called the same (1; of log loss hundredths of a nat); 0: never",
    )
    what.add_argument(
        "--metric",
        default="error",
        metavar="NAME",
        help="what policies are compared by: error, macro-f1, log-loss or calibration (error)",
    )
    what.add_argument(
        "--until-decided",
        action="store_true",
        help="go on repeat by repeat, or seed by seed, until every policy is decided, --budget is "
        "used up, or --repeats or --seeds (10) are done",
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
    run.add_argument(
        "--budget",
        metavar="TIME",
        help="time to spend, such as 90s, 10m or 2h: decides what backbone auto trains (10m)",
    )
    run.add_argument(
        "--no-refit",
        action="store_true",
        help="keep the best fold's model instead of training on every label",
    )
    run.add_argument("--out", metavar="DIR", help="output folder (ampmix-runs/NAME)")


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from ampmix._support.json_files import check_writable
    from ampmix.studies import compare
    from ampmix.terminal.progress import RunsProgress
    from ampmix.training import processes

    options.check_time_limit(arguments)
    ladder = ladder_of(arguments)
    plan = ladder.plans[0]
    out = Path(arguments.out or Path("ampmix-runs") / plan.dataset.name)
    check_writable(out)

    device = plan.config.device
    together = processes.joined(device)
    workers = max(1, options.workers_of(arguments, [device]) // together.count)
    replicas = plan.replicas(arguments.replicas, workers)
    output = arguments.output
    output.only_first(together.rank)
    for one in (*notes(plan, replicas), *ladder.notes):
        output.note(one)
    output.remark(describe(ladder))
    _log.info("%s, %s at once", counted(workers, "worker"), counted(replicas, "seed"))
    for each in (*ladder.rungs, *ladder.plans):
        options.log_choice(each.backbone, each.config)
    kept, total = ladder.recorded(out)
    if kept == total:
        output.remark(f"{recorded(total, out)}: nothing to train.")
    elif together.count > 1:
        shared = f"{together.count} processes share {counted(total - kept, 'run')}"
        output.message(f"{shared}; the progress shown is that of the first.")
    together.wait()  # none begins before all have counted
    try:
        with RunsProgress(total - kept, plan.config.steps, output.messages) as progress:
            summary = compare.compare(
                ladder,
                out,
                workers=workers,
                replicas=replicas,
                time_limit=arguments.time_limit,
                watcher=progress,
                processes=together,
                keep_fold=arguments.no_refit,
            )
    except KeyboardInterrupt:
        output.error(interrupted(*ladder.recorded(out), out))
        return INTERRUPTED
    return conclude(plan, summary, out, output)


def ladder_of(arguments: argparse.Namespace) -> Ladder:
    """Make what the options describe; AmpmixError if it cannot be run."""
    from ampmix.studies.ladder import Ladder
    from ampmix.studies.source import OF_A_FILE

    return Ladder.of(
        arguments.data,
        arguments.policies,
        options.given_backbone(arguments),
        arguments.ladder,
        budget=arguments.budget,
        workers=arguments.workers or cores(),
        out=arguments.out,
        seeds=arguments.seeds,
        folds=arguments.folds,
        repeats=arguments.repeats,
        margin=arguments.margin,
        metric=arguments.metric,
        until_decided=arguments.until_decided,
        fraction=arguments.fraction,
        redraw=arguments.redraw,
        unlabelled=arguments.unlabelled,
        **{name: getattr(arguments, name) for name in OF_A_FILE},
        **options.training_of(arguments),
    )


def notes(plan: Plan, replicas: int) -> list[str]:
    """Collect notes on the data and settings to show before training."""
    from ampmix.data.splits import rare_notes
    from ampmix.training.checks import unlabelled_notes

    split = plan.split(0)
    reading = plan.backbone.notes(split, plan.config.max_length)
    reading += unlabelled_notes(plan.policies, split, plan.backbone)
    folds = plan.seeds if plan.cross_validated else 0
    found = [*plan.dataset.notes, *rare_notes(plan.dataset, folds), *reading]
    if replicas == 1:
        return found
    return found + options.alone(plan.backbone, plan.policies, bool(split.unlabelled))


def conclude(plan: Plan, summary: Summary, out: Path, output: Output) -> int:
    """Say how it ended; 1 if there are runs without a record."""
    from ampmix.terminal.comparison import print_comparison

    for path, reason in summary.unreadable:
        output.note(f"set aside the unreadable record {path.name}: {reason}")
    if summary.truncated:
        length = f"what the model reads, {counted(plan.config.max_length, 'token')} or fewer"
        output.note(cut(summary.truncated, length))
    output.remark("")
    print_comparison(summary.as_json(), output.screen, summary.times)
    files = "summary.json, records/" + (", model/" if summary.folder else "")
    output.remark(f"Written to {out}: {files}.")
    for run, reason in summary.unfinished.items():
        output.answer(f"no record: {run.policy}, seed {run.seed}: {reason}")
    if summary.unfinished:
        output.remark(f"The same command tries these again; more is in {out / 'failures'}.")
    if summary.folder:
        text = "a text of yours"
        output.remark(f'Next: ampmix predict {shlex.quote(str(out))} "{text}"')
    output.document({**summary.as_json(), "out": out, **_done_now(summary)})
    return 1 if summary.unfinished else 0


def _done_now(summary: Summary) -> dict[str, Any]:
    """Facts that summary.json lacks: runs of this command, and those without a record."""
    missing = [
        {"policy": run.policy, "seed": run.seed, "reason": reason}
        for run, reason in summary.unfinished.items()
    ]
    return {"trained": summary.trained, "unfinished": missing}


def describe(ladder: Ladder) -> str:
    """Describe the comparison in a line or two."""
    from ampmix._support import components
    from ampmix.studies.plan import Run
    from ampmix.training.config import TrainConfig

    plan, dataset = ladder.plans[0], ladder.dataset
    parts = [counted(len(dataset.train), "training text")]
    if dataset.dev is not None:
        parts.append(f"{len(dataset.dev):,} for development")
    if dataset.test is not None:
        parts.append(f"{len(dataset.test):,} for testing")
    design = plan.design
    if plan.cross_validated:
        most = "up to " if ladder.until_decided else ""
        again = "" if plan.repeats == 1 else f"{most}{plan.repeats} repeats of "
        design = f"{again}{plan.seeds}-fold cross-validation"
    kept = "" if plan.fraction == 1.0 else f", {plan.fraction:.4g} of the labels kept"
    kept += " by each seed anew" if plan.redraw else ""
    steps = counted(plan.steps(Run(plan.baseline, 0)), "step")
    precision = plan.config.precision
    return (
        f"{dataset.name}: {', '.join(parts)}, {len(dataset.classes)} classes{kept}; "
        f"{components.spec(plan.backbone)}, {design}, "
        f"{'at most ' if plan.config.patience else ''}{steps} a run"
        f"{'' if precision == TrainConfig.precision else f' in {precision}'}."
    )
