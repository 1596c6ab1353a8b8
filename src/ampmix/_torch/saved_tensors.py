"""The hooks that autograd calls on the tensors which it saves for the backward pass."""

from __future__ import annotations

from typing import Any

import torch

from ampmix._torch.compiling import uncompiled


@uncompiled
def saved_tensor_hooks() -> Any:
    """Return the saved-tensor hooks in force, or None. Activation checkpointing sets its own.

    Earlier versions of PyTorch do not tell; there it is None.
    """
    find = getattr(torch._C._autograd, "_top_saved_tensors_default_hooks", None)
    return None if find is None else find(True)
