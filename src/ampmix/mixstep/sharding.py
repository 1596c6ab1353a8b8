"""DDP and FSDP2 support for steps that run a model several times."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist

from ampmix._torch.compiling import uncompiled
from ampmix._torch.fsdp import fsdp2
from ampmix._torch.trees import leaves
from ampmix.errors import AmpmixError


@uncompiled
def grouped() -> bool:
    """Return True if a process group exists; FSDP needs one, even with a single process."""
    return dist.is_available() and dist.is_initialized()


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
    """Unshard the parameters of modules whose forward is running (FSDP2).

    Every backward pass, that for lam's gradient too, ends by resharding all modules, even one
    whose forward has not returned yet and still needs its parameters.
    """
    if grouped():
        for module in running:
            if isinstance(module, fsdp2()):
                module.unshard()


@uncompiled
def any_process_has(rows: Tensor, step: nn.Module) -> bool:
    """Return True if any of `rows` is true in a process that must run as many passes as this one.

    All processes must run equally many where a pass communicates: under FSDP2, which gathers
    parameters, and SyncBatchNorm, which gathers statistics. One pass more would wait for ever.
    """
    found = rows.any()
    if communicates(step):
        flag = found.to(torch.uint8)
        dist.all_reduce(flag, dist.ReduceOp.MAX)
        found = flag
    return bool(found)


@uncompiled
def communicates(step: nn.Module) -> bool:
    """Return True if passes of the step wait for other processes."""
    if not grouped() or dist.get_world_size() < 2:
        return False
    kinds = (fsdp2(), nn.SyncBatchNorm)
    return any(isinstance(module, kinds) for module in step.modules())


@contextmanager
@uncompiled
def shards_around(model: nn.Module, path: str) -> Iterator[list[str]]:
    """Collect the FSDP2 modules around the submodule at `path` whose inputs have a gradient.

    The list is filled with their paths while the model runs. FSDP2 reshards such a module once
    the gradient of its inputs is computed. If part of an input goes around the site, that is
    before the gradients of the modules that ran for g.
    """
    around: list[str] = []
    with ExitStack() as stack:
        parts = path.split(".") if path and grouped() else []
        for depth in range(1, len(parts)):
            holder = ".".join(parts[:depth])
            module = model.get_submodule(holder)
            if isinstance(module, fsdp2()):

                def look(_: nn.Module, args: Any, kwargs: Any, holder: str = holder) -> None:
                    given = leaves((args, kwargs))
                    if any(isinstance(x, Tensor) and x.requires_grad for x in given):
                        around.append(holder)

                hook = module.register_forward_pre_hook(uncompiled(look), with_kwargs=True)
                stack.callback(hook.remove)
        yield around
