"""Settings of training: steps, batches, optimiser, learning rate."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor

from ampmix._torch.precision import PRECISIONS
from ampmix.backbones.base import Backbone
from ampmix.errors import AmpmixError, unknown
from ampmix.training.losses import CLASS_WEIGHTS
from ampmix.training.selection import SELECTIONS

OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
SCHEDULES = ("constant", "linear")
LATER = ("class_weights", "label_smoothing", "patience", "precision")
"""Settings younger than the first records, whose names they leave alone at their defaults."""


@dataclass(frozen=True)
class TrainConfig:
    """Settings of training; defaults are the paper's for CNN and RNN (Section 4.2).

    Args:
        steps: optimiser steps.
        batch_size: examples a step.
        lr: the optimiser's step size, at its highest.
        weight_decay: L2 coefficient added to the gradient; AdamW shrinks the weights instead.
        clip: largest norm of the gradient, 0 for no clipping (as in the paper).
        eval_every: steps between readings of the development set.
        max_length: tokens after which a text is cut.
        device: where to train, as PyTorch names it.
        optimizer: ``adam`` (the paper's) or ``adamw``.
        schedule: ``constant`` (the paper's), or ``linear``: lr falls to 0 over the steps.
        warmup: share of the steps over which lr rises linearly, in [0, 1).
        selection: which step's model is kept: ``best_dev`` (the paper's) or ``last``.
        class_weights: ``none``, or ``balanced``: classes of the training part count alike in the
            loss, however many texts they have (:func:`ampmix.training.losses.balanced_weights`).
        label_smoothing: share of a target that all classes get alike, in [0, 1).
        patience: readings of the development set without improvement (a lower error, or an equal
            one with a lower loss) after which training ends; 0 for none. ``steps`` is then the most
            there may be, and what the schedule is stretched over: a ``linear`` lr has not reached 0
            where training ends early. ``last`` keeps the step where it ended, ``patience`` readings
            after the best; with patience :meth:`of` therefore chooses ``best_dev``, for whatever
            backbone, unless told otherwise.
        precision: ``float32``; ``bfloat16``, in which the products of forward and backward passes
            are computed, or ``tf32`` (GPUs), in which they keep 10 bits. Weights, losses, mixing,
            optimiser and evaluation stay in float32.

    Selection and patience go by the plain error and cross-entropy, without weights and smoothing.

    Raises:
        AmpmixError: for values outside their range.
    """

    steps: int = 8000
    batch_size: int = 50
    lr: float = 2e-4
    weight_decay: float = 1e-8
    clip: float = 0.0
    eval_every: int = 100
    max_length: int = 512
    device: str = "cpu"
    optimizer: str = "adam"
    schedule: str = "constant"
    warmup: float = 0.0
    selection: str = "best_dev"
    class_weights: str = "none"
    label_smoothing: float = 0.0
    patience: int = 0
    precision: str = "float32"

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
        if self.optimizer not in OPTIMIZERS:
            raise unknown("optimizer", self.optimizer, OPTIMIZERS)
        if self.schedule not in SCHEDULES:
            raise unknown("schedule", self.schedule, SCHEDULES)
        if self.selection not in SELECTIONS:
            raise unknown("selection", self.selection, SELECTIONS)
        if not 0 <= self.warmup < 1:
            raise AmpmixError(f"warmup is {self.warmup}: it is a share of the steps, in [0, 1)")
        if self.class_weights not in CLASS_WEIGHTS:
            raise unknown("class_weights", self.class_weights, CLASS_WEIGHTS)
        if self.precision not in PRECISIONS:
            raise unknown("precision", self.precision, PRECISIONS)
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


def optimizer_of(
    parameters: Iterable[Tensor], config: TrainConfig, recorded: bool = False
) -> torch.optim.Optimizer:
    """The optimiser that the settings name.

    Args:
        parameters: what it moves.
        config: the settings.
        recorded: whether its steps are recorded on a GPU (:mod:`ampmix._torch.cuda_graphs`): the
            step size lies there then, where a replayed step finds what it is by now.
    """
    parameters = list(parameters)
    lr = torch.tensor(config.lr, device=parameters[0].device) if recorded else config.lr
    made: torch.optim.Optimizer = OPTIMIZERS[config.optimizer](
        parameters, lr=lr, weight_decay=config.weight_decay, fused=True, capturable=recorded
    )
    return made


def set_lr(optimizer: torch.optim.Optimizer, config: TrainConfig, done: int) -> None:
    """Give the optimiser the step size that it has after `done` steps."""
    lr = config.lr * config.lr_factor(done)
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(lr)
        else:
            group["lr"] = lr
