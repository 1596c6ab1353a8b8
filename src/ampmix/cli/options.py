"""Options that `compare` and `train` share: the data, and how to train."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterable
from dataclasses import Field, asdict, fields
from typing import TYPE_CHECKING, Any

from ampmix.backbones.recipes import FINE_TUNED
from ampmix.errors import AmpmixError
from ampmix.training.config import TrainConfig, settings, told

if TYPE_CHECKING:
    from ampmix.backbones.base import Backbone
    from ampmix.data.dataset import TextDataset
    from ampmix.policies.base import Policy

_log = logging.getLogger(__name__)
METAVARS = {int: "N", float: "X", str: "NAME"}


def add_data(parser: argparse.ArgumentParser) -> None:
    """Declare DATA."""
    parser.add_argument(
        "data",
        metavar="DATA",
        help="name of a built-in data set (see ampmix list), or a CSV, TSV, JSON, JSONL, XLSX or "
        "Parquet file",
    )


def add_backbone(group: argparse._ArgumentGroup) -> None:
    """Declare the backbone, and the share of the labels."""
    group.add_argument(
        "--backbone",
        "--model",
        dest="backbone",
        default="auto",
        metavar="SPEC",
        help="model to train, see ampmix list (%(default)s: a pretrained encoder if one is "
        "installed, else cnn)",
    )
    group.add_argument(
        "--vectors",
        metavar="X",
        help="pretrained word vectors: file or known name; sets vectors=X of the backbone",
    )
    group.add_argument(
        "--fraction",
        type=float,
        default=1.0,
        metavar="F",
        help="share of the labels of each class to use (1)",
    )
    group.add_argument(
        "--unlabelled",
        metavar="FILE",
        help="texts without labels for policies that learn from them (none), or rest: those whose "
        "labels --fraction leaves out",
    )


def add_file(parser: argparse.ArgumentParser, without_test: str) -> None:
    """Declare what goes with a file; `without_test` says what replaces a missing --test."""
    file = parser.add_argument_group("a file of your own")
    file.add_argument("--text", metavar="COLUMN", help="column with the texts (several: a,b)")
    file.add_argument("--label", metavar="COLUMN", help="column with the labels")
    file.add_argument("--test", metavar="FILE", help=f"test set (without: {without_test})")
    file.add_argument("--dev", metavar="FILE", help="development set (a tenth of the texts)")
    file.add_argument("--encoding", metavar="NAME", help="encoding of CSV and TSV (utf-8)")
    file.add_argument(
        "--group", metavar="COLUMN", help="column with groups of rows that stay in one part"
    )
    file.add_argument(
        "--rare", metavar="HOW", help="classes of fewer than 5 texts: keep, merge or drop (keep)"
    )


def add_figures(parser: argparse.ArgumentParser) -> None:
    """Declare the formats in which charts are written beside the page."""
    parser.add_argument(
        "--figures",
        default="",
        metavar="LIST",
        help="chart formats to write: svg, pdf, png (none)",
    )
    parser.add_argument(
        "--width",
        default="",
        metavar="W",
        help="width of these charts: single or double for a column of a paper, or centimetres (17)",
    )
    parser.add_argument("--font", default="", metavar="NAME", help="font of these charts")


def add_training(parser: argparse.ArgumentParser) -> None:
    """Declare how to train: an option for each field of TrainConfig."""
    note = "Defaults are in brackets. Those of encoders are for fine-tuning."
    training = parser.add_argument_group("training", note)
    for setting in fields(TrainConfig):
        kind = type(setting.default)
        training.add_argument(
            f"--{setting.name.replace('_', '-')}",
            type=kind,
            metavar=METAVARS[kind],
            help=_help(setting),
        )


def _help(setting: Field[Any]) -> str:
    """Describe a setting: its meaning, choices and defaults."""
    about = setting.metadata
    *others, last = about["choices"] or [""]
    choices = f": {', '.join(others)} or {last}" if others else ""
    default, encoders = about["default"], FINE_TUNED.get(setting.name, setting.default)
    if encoders != setting.default:
        default += f"; encoders {told(encoders)}"
    return f"{about['help']}{choices} ({default})"


def add_replicas(group: argparse._ArgumentGroup) -> None:
    """Declare how many seeds train at once."""
    group.add_argument(
        "--replicas",
        default="auto",
        type=_replicas,
        metavar="N",
        help="seeds trained at once as one model (auto: on a GPU as many as fit, on a CPU 1)",
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
    from ampmix._support.cores import cores

    if arguments.workers is not None:
        if arguments.workers < 1:
            raise AmpmixError(f"workers is {arguments.workers}: it must be 1 or more")
        return int(arguments.workers)
    if arguments.replicas == 1 or not any(device.startswith("cuda") for device in devices):
        return cores()
    from ampmix.studies.executors.pool import gpus

    return max(1, len(gpus()))


def alone(backbone: Backbone, policies: Iterable[Policy], unlabelled: bool) -> list[str]:
    """Notes on policies whose seeds train one by one whatever --replicas is."""
    from ampmix.training.stack import unstackable

    reasons = dict.fromkeys(unstackable(backbone, policy, unlabelled) for policy in policies)
    return [f"{reason}: its seeds train one by one" for reason in reasons if reason]


def add_time_limit(group: argparse._ArgumentGroup) -> None:
    """Declare how long a run may take."""
    group.add_argument(
        "--time-limit",
        type=float,
        metavar="S",
        help="seconds after which a run is stopped; the same command retries it (none)",
    )


def check_time_limit(arguments: argparse.Namespace) -> None:
    """Raise AmpmixError for a time in which nothing can be done."""
    limit = arguments.time_limit
    if limit is not None and not limit > 0:
        raise AmpmixError(f"--time-limit is {limit:g}: it must be above 0, in seconds")


def given_backbone(arguments: argparse.Namespace) -> Backbone | str:
    """Return the backbone that the options of :func:`add_backbone` name, or ``auto``."""
    from ampmix._support.components import parse_model
    from ampmix.backbones.words import backbone_with_vectors

    spec: str = arguments.backbone
    made: Backbone | str
    if spec == "auto":
        made = (
            spec if arguments.vectors is None else backbone_with_vectors("cnn", arguments.vectors)
        )
    elif arguments.vectors is None:
        made = parse_model(spec, trusted=True)
    else:
        made = backbone_with_vectors(spec, arguments.vectors)
    return made


def backbone_of(arguments: argparse.Namespace, policy: Policy) -> Backbone:
    """Make the backbone to train with a policy: ``auto`` is one that has the policy's site."""
    from ampmix.studies.automatic import automatic_backbone

    given = given_backbone(arguments)
    return automatic_backbone(policy) if isinstance(given, str) else given


def training_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the settings of training that were given, None for those that were not."""
    return {setting.name: getattr(arguments, setting.name) for setting in fields(TrainConfig)}


def config_of(arguments: argparse.Namespace, backbone: Backbone, texts: int = 0) -> TrainConfig:
    """Make the settings that the options describe, else the backbone's own for so many texts."""
    from ampmix import datasets

    known = datasets.known(arguments.data) is not None
    return settings(backbone, known, texts, **training_of(arguments))


def log_choice(backbone: Backbone, config: TrainConfig) -> None:
    """Log what is trained, with every setting, whoever chose it."""
    from ampmix._support import components

    chosen = ", ".join(f"{name} {told(value)}" for name, value in asdict(config).items())
    _log.info("%s: %s", components.spec(backbone), chosen)


def dataset_of(arguments: argparse.Namespace, unlabelled: str | None = None) -> TextDataset:
    """The data, as :func:`add_data` and :func:`add_file` were answered, with unlabelled texts."""
    from ampmix import datasets

    return datasets.load(
        arguments.data,
        text=arguments.text,
        label=arguments.label,
        test=arguments.test,
        dev=arguments.dev,
        encoding=arguments.encoding,
        group=arguments.group,
        rare=arguments.rare,
        unlabelled=unlabelled,
    )
