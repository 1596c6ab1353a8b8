"""Precision of matrix products in training steps; weights and evaluation stay in float32."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache

import torch

from ampmix.errors import AmpmixError


def check_precision(name: str, device: str) -> None:
    """Raise AmpmixError for a precision that devices of that name do not have."""
    if name == "tf32" and device.split(":")[0] != "cuda":
        raise AmpmixError(
            f"precision is tf32, which GPUs have, but the device is {device}: "
            "use bfloat16 or float32"
        )


def bfloat16_is_fast() -> bool:
    """Return True on processors that multiply bfloat16 (AVX-512 BF16).

    Intel's for servers have it since 2023, AMD's since Zen 4.
    """
    return bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)())


def autocast(name: str, device: torch.device) -> AbstractContextManager[object]:
    """Forward passes within are in that precision where it is known to do; losses in float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=name == "bfloat16")


def unit_of(kinds: Iterable[torch.dtype], device: torch.device) -> float:
    """Relative distance of two numbers, in the coarsest of these precisions and autocast's.

    >>> unit_of([torch.float32, torch.bfloat16], torch.device("cpu"))
    0.0078125
    """
    found = set(kinds)
    if torch.is_autocast_enabled(device.type):
        found.add(torch.get_autocast_dtype(device.type))
    return max(torch.finfo(kind).eps for kind in found)


@contextmanager
def without_graph() -> Iterator[None]:
    """No gradients within, and none lost afterwards.

    Under autocast some versions of PyTorch (2.4 among them) keep the weights that they cast
    meanwhile: without a graph, so that later passes would not train them.
    """
    with torch.no_grad():
        yield
    if _keeps_casts():
        torch.clear_autocast_cache()


@lru_cache(maxsize=1)
def _keeps_casts() -> bool:
    """True if a weight that was cast without a graph stays without one."""
    weight, x = torch.ones(1, 1, requires_grad=True), torch.ones(1, 1)
    with torch.autocast("cpu", torch.bfloat16):
        with torch.no_grad():
            x @ weight
        with torch.enable_grad():
            return not (x @ weight).requires_grad


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
