"""Options that `compare` and `train` share: the data, and how to train."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ampmix.errors import AmpmixError

if TYPE_CHECKING:
    from ampmix.backbones.base import Backbone
    from ampmix.data.dataset import TextDataset
    from ampmix.policies.base import Policy
    from ampmix.training.config import TrainConfig

PAPER_STEPS, TABLE_STEPS = 8000, 1500  # as in ampmix.studies.plan, which imports torch


def add_data(parser: argparse.ArgumentParser) -> None:
    """Declare DATA."""
    parser.add_argument(
        "data",
        metavar="DATA",
        help="a known data set (ampmix list), or a CSV, TSV, JSON, JSONL, XLSX or Parquet",
    )


def add_backbone(group: argparse._ArgumentGroup) -> None:
    """Declare what is trained, and on how much."""
    group.add_argument("--backbone", default="cnn", metavar="SPEC", help="default: %(default)s")
    group.add_argument(
        "--vectors",
        metavar="X",
        help="pretrained word vectors, a file or a known name; short for the backbone's vectors=X",
    )
    group.add_argument(
        "--fraction", type=float, default=1.0, metavar="F", help="labels kept of each class (1.0)"
    )


def add_file(parser: argparse.ArgumentParser, without_test: str) -> None:
    """Declare what goes with a file; `without_test` says what happens where --test is missing."""
    file = parser.add_argument_group("a file of your own")
    file.add_argument("--text", metavar="COLUMN", help="the column with the texts (several: a,b)")
    file.add_argument("--label", metavar="COLUMN", help="the column with the labels")
    file.add_argument("--test", metavar="FILE", help=f"test on this file (without: {without_test})")
    file.add_argument("--dev", metavar="FILE", help="choose the step on this file")
    file.add_argument("--encoding", metavar="NAME", help="of CSV and TSV (utf-8)")


def add_training(parser: argparse.ArgumentParser) -> None:
    """Declare how to train."""
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
    training.add_argument("--device", metavar="NAME", help="where to compute: cpu, cuda (cpu)")
    training.add_argument(
        "--precision", metavar="NAME", help="of products: float32, bfloat16 or tf32 (float32)"
    )
    training.add_argument(
        "--eval-every", type=int, metavar="N", help="steps between development readings"
    )
    training.add_argument(
        "--patience",
        type=int,
        metavar="N",
        help="end after N readings without improvement, and keep the best step (0: never)",
    )
    training.add_argument(
        "--class-weights",
        metavar="NAME",
        help="balanced: in the loss, rare classes count as much as common ones (none)",
    )
    training.add_argument(
        "--label-smoothing", type=float, metavar="X", help="share of a label given to all (0)"
    )
    training.add_argument(
        "--max-length", type=int, metavar="N", help="tokens after which a text is cut (512)"
    )


def add_replicas(group: argparse._ArgumentGroup) -> None:
    """Declare how many seeds train at once."""
    group.add_argument(
        "--replicas",
        default="auto",
        type=_replicas,
        metavar="N",
        help="seeds of a policy trained at once as one (auto: what fits on a GPU; on a CPU 1)",
    )


def _replicas(text: str) -> int | None:
    """A number, None for auto."""
    if text == "auto":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise AmpmixError(f"replicas is {text!r}: it must be auto or a whole number, 1 or more")
    return int(text)


def workers_of(arguments: argparse.Namespace, devices: Iterable[str]) -> int:
    """Return the number of worker processes: --workers, else one per core.

    Where GPUs train several seeds at once, one a GPU: more would only take its memory.
    """
    from ampmix.cli.output import cores

    if arguments.workers is not None:
        if arguments.workers < 1:
            raise AmpmixError(f"workers is {arguments.workers}: it must be 1 or more")
        return int(arguments.workers)
    if arguments.replicas == 1 or not any(device.startswith("cuda") for device in devices):
        return cores()
    from ampmix.studies.executors.pool import gpus

    return max(1, len(gpus()))


def alone(backbone: Backbone, policies: Iterable[Policy]) -> list[str]:
    """Notes on policies whose seeds train one by one whatever --replicas is."""
    from ampmix.training.replicas import unstackable

    reasons = dict.fromkeys(unstackable(backbone, policy) for policy in policies)
    return [f"{reason}: its seeds train one by one" for reason in reasons if reason]


def add_time_limit(group: argparse._ArgumentGroup) -> None:
    """Declare how long a run may take."""
    group.add_argument(
        "--time-limit",
        type=float,
        metavar="S",
        help="end runs that take more seconds; the same command tries them again (any)",
    )


def check_time_limit(arguments: argparse.Namespace) -> None:
    """Raise AmpmixError for a time in which nothing can be done."""
    limit = arguments.time_limit
    if limit is not None and not limit > 0:
        raise AmpmixError(f"--time-limit is {limit:g}: it must be above 0, in seconds")


def backbone_of(arguments: argparse.Namespace) -> Backbone:
    """Make the backbone that the options of :func:`add_backbone` describe."""
    from ampmix._support.components import BACKBONES

    backbone: Backbone = BACKBONES.parse(arguments.backbone, trusted=True)
    return backbone if arguments.vectors is None else with_vectors(backbone, arguments.vectors)


def with_vectors(backbone: Any, vectors: str) -> Any:
    """The backbone with the pretrained vectors of ``--vectors``."""
    from dataclasses import replace

    if not backbone.takes_vectors:
        raise AmpmixError(f"--vectors: backbone {backbone.name} has no word vectors to begin from")
    return replace(backbone, vectors=vectors)


def config_of(arguments: argparse.Namespace, backbone: Backbone) -> TrainConfig:
    """Make the settings that the options describe, else the backbone's own."""
    from ampmix import datasets
    from ampmix.studies.plan import settings

    known = datasets.known(arguments.data) is not None
    names = (
        *("steps", "batch_size", "lr", "clip", "weight_decay", "optimizer", "schedule", "warmup"),
        *("selection", "device", "patience", "class_weights", "label_smoothing", "max_length"),
        "precision",
        "eval_every",
    )
    return settings(backbone, known, **{name: getattr(arguments, name) for name in names})


def dataset_of(arguments: argparse.Namespace) -> TextDataset:
    """The data, as :func:`add_data` and :func:`add_file` were answered."""
    from ampmix import datasets

    return datasets.load(
        arguments.data,
        text=arguments.text,
        label=arguments.label,
        test=arguments.test,
        dev=arguments.dev,
        encoding=arguments.encoding,
    )
