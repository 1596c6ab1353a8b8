"""The optimiser and its learning rate at a step, as the settings of training name them."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from ampmix.training.config import OPTIMIZERS, TrainConfig


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
    optimizer = getattr(torch.optim, OPTIMIZERS[config.optimizer])
    made: torch.optim.Optimizer = optimizer(
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
