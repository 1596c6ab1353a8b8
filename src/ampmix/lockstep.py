"""What a step that runs a model several times must know of the processes beside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.utils._pytree import tree_leaves

from ampmix.compiling import uncompiled
from ampmix.errors import AmpmixError


@uncompiled
def grouped() -> bool:
    """Whether this process is one of a group; FSDP needs one, if only of one process."""
    return dist.is_available() and dist.is_initialized()


@uncompiled
def fsdp2() -> Any:
    """The class that ``fully_shard`` gives to modules."""
    try:
        from torch.distributed.fsdp import FSDPModule
    except ImportError:  # torch before 2.6
        from torch.distributed._composable.fsdp import (  # type: ignore[attr-defined]
            FSDPModule,
        )
    return FSDPModule


@uncompiled
def refuse_fsdp1(step: nn.Module) -> None:
    """Raise if a part of the step is in FullyShardedDataParallel."""
    if not grouped():
        return
    from torch.distributed.fsdp import FullyShardedDataParallel

    if any(isinstance(m, FullyShardedDataParallel) for m in step.modules()):
        raise AmpmixError(
            "FullyShardedDataParallel (FSDP1) runs each wrapped module once a step, which a cut "
            "does not: use fully_shard (FSDP2), on the layers and then on the step"
        )


@uncompiled
def gather(running: Iterable[nn.Module]) -> None:
    """Let modules that are running now have their parameters in full (FSDP2).

    A backward pass, as that for lam's gradient, ends with the parameters of all modules put back
    into shards, those of the module whose forward it was called in among them.
    """
    if grouped():
        for module in running:
            if isinstance(module, fsdp2()):
                module.unshard()


@uncompiled
def anywhere(rows: Tensor, step: nn.Module) -> bool:
    """Whether any of `rows` is true, here or in a process that must run as many passes as this one.

    It must where a pass has all processes communicate: in FSDP2, which gathers parameters, and in
    SyncBatchNorm, which gathers statistics. If one ran a pass more, all would wait for ever.
    """
    found = rows.any()
    if grouped() and dist.get_world_size() > 1 and _communicates(step):
        flag = found.to(torch.uint8)
        dist.all_reduce(flag, dist.ReduceOp.MAX)
        found = flag
    return bool(found)


@uncompiled
def _communicates(step: nn.Module) -> bool:
    kinds = (fsdp2(), nn.SyncBatchNorm)
    return any(isinstance(module, kinds) for module in step.modules())


@contextmanager
@uncompiled
def shards_around(model: nn.Module, path: str) -> Iterator[list[str]]:
    """Modules in FSDP2 that hold the submodule at `path` and are given tensors with a gradient.

    The list is filled with their paths while the model runs. They put their parameters back into
    shards once the gradient of what they were given is there, and that can be before the gradients
    of what ran for g, if part of it goes around the site.
    """
    around: list[str] = []
    with ExitStack() as stack:
        parts = path.split(".") if path and grouped() else []
        for depth in range(1, len(parts)):
            holder = ".".join(parts[:depth])
            module = model.get_submodule(holder)
            if isinstance(module, fsdp2()):

                def look(_: nn.Module, args: Any, kwargs: Any, holder: str = holder) -> None:
                    given = tree_leaves((args, kwargs))
                    if any(isinstance(x, Tensor) and x.requires_grad for x in given):
                        around.append(holder)

                hook = module.register_forward_pre_hook(uncompiled(look), with_kwargs=True)
                stack.callback(hook.remove)
        yield around
