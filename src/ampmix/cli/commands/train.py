"""Train one model on DATA and save it."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ampmix._support.wording import counted
from ampmix.cli import options
from ampmix.cli.output import INTERRUPTED, cut
from ampmix.errors import AmpmixError

if TYPE_CHECKING:
    from ampmix.backbones.base import Backbone
    from ampmix.data.dataset import Split
    from ampmix.training.config import TrainConfig
    from ampmix.training.training_run import Fit


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `ampmix train` takes.

    Under torchrun, its processes train the one model together, each on its part of every batch.
    The default policy is `none`: another one is worth its name once `ampmix compare` has shown, on
    the user's own data, that it lowers the error.
    """
    options.add_data(parser)
    parser.add_argument(
        "--out", required=True, metavar="MODEL", help="folder to write the model to"
    )
    what = parser.add_argument_group("what to train")
    what.add_argument(
        "--policy",
        default="none",
        metavar="SPEC",
        help="policy, such as amp[eps=0.1]; ampmix compare tells which helps (%(default)s)",
    )
    options.add_backbone(what)
    what.add_argument("--seed", type=int, default=0, metavar="N", help="random seed (%(default)s)")
    options.add_file(parser, "none")
    options.add_training(parser)
    run = parser.add_argument_group("running")
    run.add_argument(
        "--threads",
        type=int,
        default=1,
        metavar="N",
        help="PyTorch threads; 1 gives the same model as ampmix compare (%(default)s)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    import torch

    from ampmix._support import components
    from ampmix._support.components import POLICIES, kind_of_model
    from ampmix._support.json_files import check_writable
    from ampmix._support.origin import blaming
    from ampmix.data.splits import rare_notes, split_train, texts_kept
    from ampmix.models.classifier import check_replaceable
    from ampmix.terminal.progress import RunsProgress
    from ampmix.training import processes
    from ampmix.training.checks import (
        check_sites,
        check_trainable,
        check_unlabelled,
        sited,
        unlabelled_notes,
    )
    from ampmix.training.fit import fit

    if arguments.threads < 1:
        raise AmpmixError(f"threads is {arguments.threads}: it must be 1 or more")
    policy = POLICIES.parse(arguments.policy, trusted=True)
    backbone = options.backbone_of(arguments, policy)
    (policy,) = sited([policy], backbone)
    check_sites(policy, backbone)
    options.config_of(arguments, backbone)  # says before anything is read what cannot be
    out = Path(arguments.out)
    check_replaceable(out)
    check_writable(out.absolute().parent)
    dataset = options.dataset_of(arguments, arguments.unlabelled)
    texts = texts_kept(dataset, arguments.fraction)
    config = options.config_of(arguments, backbone, texts)
    split = split_train(dataset, arguments.seed, arguments.fraction)
    check_trainable(backbone, policy, split, config)
    check_unlabelled([policy], split, backbone)

    together = processes.joined(config.device)
    output = arguments.output
    output.only_first(together.rank)
    reading = [
        *backbone.notes(split, config.max_length),
        *unlabelled_notes([policy], split, backbone),
    ]
    for one in (*dataset.notes, *rare_notes(dataset, 0), *reading):
        output.note(one)
    specs = f"{components.spec(backbone)}, {components.spec(policy)}"
    told = f"{describe(split)}; {specs}, seed {arguments.seed}{steps_of(backbone, config)}."
    output.remark(told)
    options.log_choice(backbone, config)
    torch.set_num_threads(arguments.threads)
    try:
        with (
            RunsProgress(1, config.steps, output.messages) as progress,
            blaming(backbone, kind_of_model(backbone.name)),
            blaming(policy, POLICIES),
        ):
            on_step = lambda step: progress.on_step("the run", step)  # noqa: E731
            fitted = fit(
                backbone,
                policy,
                split,
                config,
                arguments.seed,
                on_step=on_step,
                on_reading=progress.on_reading,
                processes=together,
            )
        about = facts(split, config, fitted) | {
            "policy": components.spec(policy),
            "fraction": arguments.fraction,
        }
        if together.count > 1:
            about["processes"] = together.count  # which part of a batch is paired depends on it
        if together.rank == 0:
            fitted.classifier.save(out, about)
    except KeyboardInterrupt:
        output.error(f"Interrupted: nothing is written to {out}.")
        return INTERRUPTED
    for one in fitted.notes:
        output.note(one)
    if fitted.truncated:
        length = counted(fitted.classifier.reader.max_length, "token")
        output.note(cut(fitted.truncated, length))
    for line in results(split, fitted, config):
        output.answer(line)
    output.remark(f"Written to {out}: its README.md is a model card.")
    output.document({"out": out, "backbone": components.spec(backbone), **about})
    return 0


def steps_of(backbone: Backbone, config: TrainConfig) -> str:
    """Describe how long a backbone trains; a baseline takes no steps."""
    from ampmix.baselines.base import Baseline

    if isinstance(backbone, Baseline):
        return ""
    return f", {'at most ' if config.patience else ''}{counted(config.steps, 'step')}"


def describe(split: Split) -> str:
    """The parts of a split, in a line."""
    tested = f", {len(split.test):,} for testing" if len(split.test) else ""
    tested += f", {len(split.unlabelled):,} unlabelled" if split.unlabelled else ""
    return (
        f"{split.dataset}: {counted(len(split.train), 'training text')}, "
        f"{len(split.dev):,} for development"
        f"{tested}, {len(split.classes)} classes"
    )


def facts(split: Split, config: TrainConfig, fitted: Fit) -> dict[str, Any]:
    """Collect the facts on training that the model folder keeps."""
    known = {
        "dataset": split.dataset,
        "data_hash": split.data_hash,
        "n_train": len(split.train),
        "n_dev": len(split.dev),
        "n_test": len(split.test),
        "seed": fitted.seed,
        "dev_error": fitted.best.dev_error,
        "training": asdict(config),
    }
    if fitted.unlabelled[0]:
        known["n_unlabelled"], known["unlabelled_hash"] = fitted.unlabelled
    if fitted.curve:
        known["best_step"] = fitted.best.step
    if fitted.stopped is not None:
        known["stopped"] = fitted.stopped
    return known | ({"test_error": fitted.test_error} if len(split.test) else {})


def results(split: Split, fitted: Fit, config: TrainConfig) -> list[str]:
    """The errors, in percent."""
    from ampmix.training.config import ORACLE

    texts = counted(len(split.dev), "text")
    if not fitted.curve:
        chosen = "; the model then learnt them too"
    else:
        chosen = f"; step {fitted.best.step} of {config.steps}"
        if config.selection == "best_dev":
            chosen += ", chosen by it"
    said = [f"Development error {fitted.best.dev_error:.1%} ({texts}{chosen})."]
    if fitted.stopped is not None:
        readings = "reading" if config.patience == 1 else f"{config.patience} readings"
        said.insert(0, f"Ended at step {fitted.stopped}: no improvement in the last {readings}.")
    if len(split.test):
        texts = counted(len(split.test), "text")
        by = "; the step was chosen by it, so it is too low" * (config.selection == ORACLE)
        said.append(f"Test error {fitted.test_error:.1%} ({texts}{by}).")
    return said
