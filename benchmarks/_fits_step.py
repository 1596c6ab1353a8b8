"""The step that fit() takes, to be timed by itself."""

from __future__ import annotations

from typing import Any

import torch

from _measuring import Step
from ampmix._support.components import parse
from ampmix.backbones.base import Backbone, CutModule
from ampmix.mixing import cross_entropy
from ampmix.training.config import TrainConfig
from ampmix.training.optimizer import optimizer_of
from ampmix.training.step import TrainingStep, generator_of, stepper


def fits_step(
    backbone: Backbone, policy: str, reader: Any, classes: int, config: TrainConfig
) -> Step:
    """A new model's step on the CPU; called with a batch, it returns the mean loss."""
    model = backbone.build(reader, classes, generator_of(0, "weights"))
    return step_of(model, policy, config)


def step_of(model: CutModule, policy: str, config: TrainConfig) -> Step:
    """A model's step on the CPU; called with a batch, it returns the mean loss."""
    model.train()
    classes = model.head.out_features
    learner = parse(policy, "ampmix.policies", "policy").prepare((), classes)
    step = TrainingStep(model, learner, cross_entropy, 0, torch.device("cpu"))
    return stepper(step, optimizer_of(model.parameters(), config), config)
