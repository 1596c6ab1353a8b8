"""Settings of training: steps, batches, optimiser, learning rate.

Imports no PyTorch: the command line makes its options of the fields before PyTorch is there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from ampmix.errors import AmpmixError, unknown

if TYPE_CHECKING:
    from ampmix.backbones.base import Backbone

OWN_STEPS = 1500
"""Steps on data of the user's own; the default of :class:`TrainConfig` is the paper's."""
ORACLE = "oracle_test"
"""The rule of the authors' released code: the checkpoint with the lowest TEST error is kept.

It selects on the test set, so its errors are too low. Tables and records name it.
"""
OPTIMIZERS = {"adam": "Adam", "adamw": "AdamW"}
"""Names of optimisers, and of their classes in ``torch.optim``."""
DRAWN = ("random", "length")
LATER = ("class_weights", "label_smoothing", "patience", "precision", "batches")
"""Settings younger than the first records, whose names they leave alone at their defaults."""


def _setting(
    default: Any, help: str, *, choices: Iterable[str] = (), note: str = "", shown: str = ""
) -> Any:
    """A field whose metadata the command line reads.

    Args:
        default: its value where nothing is given.
        help: what it is, in a line.
        choices: the values that it can have; empty for any of its type.
        note: what the help adds to the default.
        shown: what the help says in place of the default.
    """
    metadata = {"help": help, "choices": (*choices,), "default": shown or told(default) + note}
    return field(default=default, metadata=metadata)


def told(value: Any) -> str:
    """A value as the help has it.

    >>> told(0.0), told(1e-8), told(8000)
    ('0', '1e-08', '8000')
    """
    return f"{value:g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Settings of training; defaults are the paper's for CNN and RNN (Section 4.2).

    Each field's metadata says what it is (``ampmix train --help`` prints it). In more words:

    Args:
        steps: with ``patience``, the most there may be.
        schedule: ``linear`` lowers lr to 0 over all `steps`, also where training ends earlier.
        warmup: share of the steps, in [0, 1).
        batches: ``length`` makes each batch of texts of like length, so that less of it is padding;
            partners in mixing are then of like length too.
        class_weights: ``balanced`` weighs a text inversely to the size of its class in the
            training part (:func:`ampmix.training.losses.balanced_weights`).
        label_smoothing: share of a label, in [0, 1).
        patience: an evaluation improves on the best so far by a lower error, or by an equal one
            with a lower loss. Selection ``last`` keeps the step where training ended, `patience`
            evaluations after the best; with patience :meth:`of` therefore chooses ``best_dev``,
            for whatever backbone, unless told otherwise.
        precision: of the products of the forward and backward passes: ``bfloat16``, or ``tf32``
            (GPUs), which keeps 10 bits of the factors. Weights, losses, mixing, optimiser and
            evaluation stay in float32.

    Selection and patience go by the plain error and cross-entropy, without weights and smoothing.

    Raises:
        AmpmixError: for values outside their range.
    """

    steps: int = _setting(8000, "optimiser steps", note=f"; own files {OWN_STEPS}")
    batch_size: int = _setting(50, "examples per step")
    lr: float = _setting(2e-4, "peak learning rate")
    clip: float = _setting(0.0, "maximum gradient norm, 0 for none")
    weight_decay: float = _setting(1e-8, "L2 coefficient, decoupled in adamw")
    optimizer: str = _setting("adam", "optimiser", choices=OPTIMIZERS)
    schedule: str = _setting("constant", "schedule of lr", choices=("constant", "linear"))
    warmup: float = _setting(0.0, "share of the steps in which lr rises")
    selection: str = _setting(
        "best_dev", "checkpoint that is kept", choices=("best_dev", "last", ORACLE)
    )
    device: str = _setting(
        "cpu", "PyTorch device, such as cuda", shown="auto: a GPU if there is one"
    )
    precision: str = _setting(
        "float32",
        "precision of matrix products",
        choices=("float32", "tf32", "bfloat16"),
        note="; encoders bfloat16 where that is faster",
    )
    eval_every: int = _setting(
        100,
        "steps between evaluations on the development set",
        note=", or steps / 20 if less, steps / 5 where the last step is kept",
    )
    patience: int = _setting(
        0, "evaluations without improvement before training ends, 0 for no limit"
    )
    batches: str = _setting("random", "batches of any texts, or of like length", choices=DRAWN)
    class_weights: str = _setting("none", "class weights in the loss", choices=("none", "balanced"))
    label_smoothing: float = _setting(0.0, "share of a label spread over all classes")
    max_length: int = _setting(512, "tokens after which a text is cut")

    @classmethod
    def of(cls, backbone: Backbone, **given: Any) -> TrainConfig:
        """The backbone's own defaults, but for what is given and not None."""
        chosen = {name: value for name, value in given.items() if value is not None}
        if chosen.get("patience"):
            chosen.setdefault("selection", "best_dev")
        return cls(**{**backbone.training_defaults, **chosen})

    @property
    def identity(self) -> dict[str, Any]:
        """The settings as a run's specification has them."""
        defaults = {f.name: f.default for f in fields(self) if f.name in LATER}
        return {name: value for name, value in asdict(self).items() if value != defaults.get(name)}

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "eval_every", "max_length"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise AmpmixError(f"{name} is {value}: it must be a whole number, 1 or more")
        if not 0 < self.lr < math.inf:
            raise AmpmixError(f"lr is {self.lr}: it must be above 0")
        for name in ("weight_decay", "clip"):
            if not 0 <= getattr(self, name) < math.inf:
                raise AmpmixError(f"{name} is {getattr(self, name)}: it must be 0 or more")
        for setting in fields(self):
            choices, value = setting.metadata["choices"], getattr(self, setting.name)
            if choices and value not in choices:
                raise unknown(setting.name, value, choices)
        if not 0 <= self.warmup < 1:
            raise AmpmixError(f"warmup is {self.warmup}: it is a share of the steps, in [0, 1)")
        if not 0 <= self.label_smoothing < 1:
            raise AmpmixError(
                f"label_smoothing is {self.label_smoothing}: it is a share of the label, in [0, 1)"
            )
        if not isinstance(self.patience, int) or self.patience < 0:
            raise AmpmixError(f"patience is {self.patience}: it must be a whole number, 0 for none")

    def lr_factor(self, step: int) -> float:
        """Factor of the learning rate at a step, counted from 0."""
        rising = self.warmup * self.steps
        if step + 1 < rising:
            return (step + 1) / rising
        if self.schedule == "constant":
            return 1.0
        return min(1.0, (self.steps - step) / (self.steps - rising))


def settings(backbone: Backbone, known: bool, texts: int = 0, **given: Any) -> TrainConfig:
    """Settings of training that suit backbone and data, but for what is given and not None.

    Args:
        backbone: what is trained.
        known: whether on a data set that ampmix knows: the paper trains on those for 8,000 steps.
        texts: how many there are to train on, 0 if that is not known.
        given: fields of :class:`TrainConfig`. Without a device, or with ``auto``, it is a GPU if
            there is one. Without a precision, encoders compute products in bfloat16 on GPUs and, if
            their layers train, on CPUs that have it (``docs/decisions/0029-bfloat16-on-cpus.md``).
    """
    chosen = {name: value for name, value in given.items() if value is not None}
    fallback = TrainConfig.steps if known else OWN_STEPS
    if chosen.get("device", "auto") == "auto":
        from ampmix._torch.devices import best_device

        chosen["device"] = best_device()
    if _faster_in_bfloat16(backbone, chosen["device"]):
        chosen.setdefault("precision", "bfloat16")
    steps = chosen.setdefault("steps", backbone.steps_for(texts) or fallback)
    config = TrainConfig.of(backbone, **chosen)
    if "eval_every" in chosen:
        return config
    return replace(config, eval_every=eval_every(steps, config.selection))


def _faster_in_bfloat16(backbone: Backbone, device: str) -> bool:
    """Return True for encoders on a GPU, and on a CPU that has it if their layers train."""
    if not backbone.reads_folder:
        return False
    if device.startswith("cuda"):
        return True
    from ampmix._torch.precision import bfloat16_is_fast

    return device == "cpu" and not backbone.reads_pool and bfloat16_is_fast()


def eval_every(steps: int, selection: str = TrainConfig.selection) -> int:
    """Steps between evaluations in a run of `steps`: 20 evaluations or more.

    Five where the last step is kept, whatever they say.

    >>> eval_every(8000), eval_every(600), eval_every(4), eval_every(600, "last")
    (100, 30, 1, 120)
    """
    if selection == "last":
        return -(-steps // 5)
    return min(TrainConfig.eval_every, max(1, steps // 20))
