"""What the custom operations' backward passes ask of PyTorch's autograd."""

from __future__ import annotations

from typing import Any

import torch


def wanted(ctx: Any, position: int) -> bool:
    """Whether this backward pass needs the gradient of an input, which must not be a leaf.

    ``ctx.needs_input_grad`` tells whether any could: true of weights while a pass looks for the
    gradient of lam alone.
    """
    node = ctx.next_functions[position][0]
    return node is not None and bool(torch._C._will_engine_execute_node(node))
