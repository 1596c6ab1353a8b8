"""The command line. Heavy modules are imported by the commands that need them."""

from __future__ import annotations

import argparse
import difflib
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from ampmix import __version__
from ampmix.errors import AmpmixError

POLICIES = "none,mixup,amp,mixup[site=sent],amp[site=sent]"
PAPER_STEPS, TABLE_STEPS = 8000, 1500
INTERRUPTED = 130


class _Parser(argparse.ArgumentParser):
    """argparse with one-sentence errors: near names for options that do not exist."""

    def error(self, message: str) -> NoReturn:
        raise AmpmixError(f"{message} (ampmix --help lists what there is)")

    def reject(self, extra: Sequence[str]) -> NoReturn:
        """Raise for arguments that no option takes."""
        if not extra[0].startswith("-"):
            raise AmpmixError(
                f"unexpected argument {extra[0]!r}: one DATA at a time (quote spec strings; a test "
                "set goes with --test)"
            )
        known = [name for action in self._actions for name in action.option_strings]
        near = difflib.get_close_matches(extra[0].split("=")[0], known, n=2, cutoff=0.6)
        hint = (
            f"did you mean {' or '.join(near)}?"
            if near
            else "ampmix COMMAND --help lists what there is"
        )
        raise AmpmixError(f"unknown option {extra[0]!r}: {hint}")


def build_parser() -> _Parser:
    """The parser of all commands."""
    parser = _Parser(prog="ampmix", description=__doc__, allow_abbrev=False)
    parser.description = "Regularise text classifiers with Mixup and AMP; see whether it helped."
    parser.add_argument("--version", action="version", version=f"ampmix {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)
    _add_compare(commands)
    listing = commands.add_parser("list", help="what there is: policies, backbones, data sets")
    listing.add_argument("--debug", action="store_true", help="show the traceback of an error")
    listing.set_defaults(act=_list, parser=listing)
    return parser


def _add_compare(commands: Any) -> None:
    parser = commands.add_parser(
        "compare",
        help="train every policy with every seed and say which errs less",
        description="Train every policy with every seed on DATA and say which errs less.",
        allow_abbrev=False,
    )
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
        help=f"steps a run ({PAPER_STEPS} for known data sets, {TABLE_STEPS} for files)",
    )
    training.add_argument("--batch-size", type=int, default=50, metavar="N", help="(50)")
    training.add_argument("--lr", type=float, default=2e-4, metavar="X", help="Adam's (2e-4)")
    training.add_argument(
        "--clip", type=float, default=0.0, metavar="X", help="largest gradient norm, 0 for any (0)"
    )
    training.add_argument(
        "--eval-every", type=int, metavar="N", help="steps between development readings"
    )
    run = parser.add_argument_group("running")
    run.add_argument(
        "--workers", type=int, default=_cores(), metavar="N", help="processes (%(default)s)"
    )
    run.add_argument("--out", metavar="DIR", help="output folder (ampmix-runs/NAME)")
    run.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.set_defaults(act=_compare, parser=parser)


def _compare(arguments: argparse.Namespace) -> int:
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
        steps = PAPER_STEPS if known else TABLE_STEPS
    config = TrainConfig(
        steps=steps,
        batch_size=arguments.batch_size,
        lr=arguments.lr,
        clip=arguments.clip,
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


def _list(arguments: argparse.Namespace) -> int:
    from dataclasses import fields

    from ampmix import components

    for package in ("policies", "backbones", "datasets"):
        print(package)
        for name, cls in components.find(f"ampmix.{package}").items():
            options = ",".join(f"{f.name}={components.text_of(f.default)}" for f in fields(cls))
            first = (cls.__doc__ or "").strip().splitlines()[0]
            print(f"  {name}{f'[{options}]' if options else ''}\n      {first}")
    return 0


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _interrupt(number: int, frame: Any) -> NoReturn:
    """Ctrl-C or SIGTERM: stop in good order; a second one must not disturb that."""
    for ignored in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)
    raise KeyboardInterrupt


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code: 0, 2 for what the user can mend, 130 if interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    for interrupting in (signal.SIGINT, signal.SIGTERM):
        signal.signal(interrupting, _interrupt)
    try:
        parsed, extra = build_parser().parse_known_args(arguments)
        if extra:
            getattr(parsed, "parser", build_parser()).reject(extra)
        if parsed.command is None:
            build_parser().print_help()
            return 2
        return int(parsed.act(parsed))
    except AmpmixError as error:
        if debug:
            traceback.print_exc()
        print(f"ampmix: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except OSError as error:
        if debug:
            traceback.print_exc()
        where = f": {error.filename}" if error.filename else ""
        print(f"ampmix: {error.strerror or error}{where}; finished runs are kept", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return INTERRUPTED


def run() -> NoReturn:
    """The console script: :func:`main` as a process of its own."""
    code = main()
    if code == INTERRUPTED:
        # at once: the pool's own clean-up at exit would wait for workers that are ended already
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
