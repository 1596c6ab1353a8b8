"""The step that fit() takes, to be timed by itself."""

from __future__ import annotations

from typing import Any

import torch

from _measuring import Step
from ampmix.backbones._backbone import Backbone
from ampmix.components import parse
from ampmix.mixing import cross_entropy
from ampmix.train_config import TrainConfig, optimizer_of
from ampmix.training import TrainingStep, generator_of, stepper


def fits_step(
    backbone: Backbone, policy: str, reader: Any, classes: int, config: TrainConfig
) -> Step:
    """A new model's step on the CPU; called with a batch, it returns the mean loss."""
    model = backbone.build(reader, classes, generator_of(0, "weights"))
    model.train()
    learner = parse(policy, "ampmix.policies", "policy").prepare((), classes)
    step = TrainingStep(model, learner, cross_entropy, 0, torch.device("cpu"))
    return stepper(step, optimizer_of(model.parameters(), config), config)
