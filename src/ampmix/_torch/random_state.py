"""Save, seed and replay the global random states: PyTorch's, Python's and NumPy's."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ampmix._torch.compiling import never_compiled, uncompiled


@contextmanager
@uncompiled
def with_random_state(state: Any | None) -> Iterator[None]:
    """Run with the random states set to `state`, then go on as if nothing had been drawn."""
    if state is None:
        yield
        return
    now = _state(state[1])
    set_random_state(state)
    try:
        yield
    finally:
        set_random_state(now)


@uncompiled
def random_state(like: Tensor) -> Any:
    """The random states of Python, NumPy, and PyTorch on the CPU and on the device of `like`.

    Models draw from all of them: stochastic depth from Python's, SpecAugment from NumPy's. None
    while the work is recorded as a CUDA graph, which cannot be asked for its state: the f of
    seeds trained side by side draws nothing (:mod:`ampmix._torch.cuda_graphs`).
    """
    if like.is_cuda and torch.cuda.is_current_stream_capturing():
        return None
    return _state(like.device if like.is_cuda else None)


@never_compiled
def _state(device: torch.device | None) -> Any:
    gpu = torch.cuda.get_rng_state(device) if device is not None else None
    return torch.get_rng_state(), device, gpu, random.getstate(), np.random.get_state()


@never_compiled
def set_random_state(state: Any) -> None:
    """Draw on from what :func:`random_state` gave."""
    cpu, device, gpu, python, numpy = state
    torch.set_rng_state(cpu)
    if device is not None:
        torch.cuda.set_rng_state(gpu, device)
    random.setstate(python)
    np.random.set_state(numpy)


@uncompiled
def same_random_state(a: Any, b: Any) -> bool:
    """Return True if nothing was drawn between two states."""
    tensors = [(a[0], b[0])] if a[1] is None else [(a[0], b[0]), (a[2], b[2])]
    if not all(torch.equal(x, y) for x, y in tensors) or a[3] != b[3]:
        return False
    return all(np.array_equal(x, y) for x, y in zip(a[4], b[4], strict=True))


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
