"""A module in evaluation mode beside the one that trains."""

from __future__ import annotations

import copy
from typing import TypeVar

from torch import nn

M = TypeVar("M", bound=nn.Module)


def in_evaluation(model: M) -> M:
    """Return the model in evaluation mode without switching it: another thread may be using it.

    A model that trains is copied; the copy shares its weights and buffers.
    """
    if not any(module.training for module in model.modules()):
        return model
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    return copy.deepcopy(model, shared).eval()
