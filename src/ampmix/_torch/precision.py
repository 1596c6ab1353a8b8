"""Precision of matrix products in training steps; weights and evaluation stay in float32."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch

from ampmix.errors import AmpmixError


def check_precision(name: str, device: str) -> None:
    """Raise AmpmixError for a precision that devices of that name do not have."""
    if name == "tf32" and device.split(":")[0] != "cuda":
        raise AmpmixError(
            f"precision is tf32, which GPUs have, but the device is {device}: "
            "use bfloat16 or float32"
        )


def autocast(name: str, device: torch.device) -> AbstractContextManager[object]:
    """Forward passes within are in that precision where it is known to do; losses in float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=name == "bfloat16")


@contextmanager
def products(name: str) -> Iterator[None]:
    """For ``tf32``: matrix products on GPUs keep 10 bits of their factors, as PyTorch allows."""
    if name != "tf32":
        yield
        return
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = True
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before
