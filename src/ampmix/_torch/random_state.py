"""Save, seed and replay PyTorch's global random state."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from ampmix._torch.compiling import uncompiled


@contextmanager
@uncompiled
def with_random_state(state: Any | None) -> Iterator[None]:
    """Run with PyTorch's random state set to `state`, then go on as if nothing had been drawn."""
    if state is None:
        yield
        return
    device = state[1]
    now_cpu = torch.get_rng_state()
    now_gpu = torch.cuda.get_rng_state(device) if device is not None else None
    set_random_state(state)
    try:
        yield
    finally:
        torch.set_rng_state(now_cpu)
        if device is not None and now_gpu is not None:
            torch.cuda.set_rng_state(now_gpu, device)


@uncompiled
def set_random_state(state: Any) -> None:
    """Go on from a state that :func:`random_state` returned."""
    cpu, device, gpu = state
    torch.set_rng_state(cpu)
    if device is not None:
        torch.cuda.set_rng_state(gpu, device)


@uncompiled
def random_state(like: Tensor) -> Any:
    """PyTorch's random state on the CPU and on the device of `like`, for :func:`with_random_state`.

    None while the work is recorded as a CUDA graph, which cannot be asked for its state: the f of
    seeds trained side by side draws nothing (:mod:`ampmix._torch.cuda_graphs`).
    """
    if like.is_cuda and torch.cuda.is_current_stream_capturing():
        return None
    device = like.device if like.is_cuda else None
    gpu = torch.cuda.get_rng_state(device) if device is not None else None
    return torch.get_rng_state(), device, gpu


@contextmanager
def seeded(seed: int | None, device: torch.device) -> Iterator[None]:
    """Draw from PyTorch's global generators as if seeded with `seed`; leave them as they were.

    For layers of others, whose dropout knows no generator. None changes nothing.
    """
    if seed is None:
        yield
        return
    gpu = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if gpu else []):
        torch.default_generator.manual_seed(seed)
        if gpu:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield
