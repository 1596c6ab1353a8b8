"""Processes that torchrun started for one command, grouped by Accelerate."""

from __future__ import annotations

import atexit
import datetime
import os
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ampmix._support.extras import needed

Item = TypeVar("Item")
PATIENCE = datetime.timedelta(days=30)  # for a process whose share of the runs takes longest


class Processes:
    """A process that works alone; :class:`Joined` overrides what several do differently."""

    rank = 0
    count = 1

    def share(self, items: Sequence[Item]) -> list[Item]:
        """The items that this process works on; all processes get about as many."""
        return list(items[self.rank :: self.count])

    def device(self, name: str) -> torch.device:
        """The device of this process, of the kind `name`."""
        return torch.device(name)

    def parallel(self, step: nn.Module) -> nn.Module:
        """A training step whose gradients are the mean over the processes."""
        return step

    def total(self, values: Tensor) -> Tensor:
        """Sums over the processes."""
        return values

    def wait(self) -> None:
        """Until every process is here."""

    def environment(self) -> Mapping[str, str]:
        """Environment variables for the workers that this process starts."""
        return {}


ALONE = Processes()


class Joined(Processes):
    """One of several processes that torchrun has started.

    Args:
        cpu: whether they compute there; else each has the GPU of its local rank.

    Raises:
        AmpmixError: without the package accelerate (extra ``trainer``).
    """

    def __init__(self, cpu: bool) -> None:
        accelerate = needed("accelerate", "trainer")
        handlers = accelerate.utils
        self._accelerator: Any = accelerate.Accelerator(
            cpu=cpu,
            kwargs_handlers=[
                handlers.InitProcessGroupKwargs(timeout=PATIENCE),
                # a pooled encoder has parameters that its f does not use, the same ones every time
                handlers.DistributedDataParallelKwargs(static_graph=True),
            ],
        )
        atexit.register(self._leave)
        self.rank = int(self._accelerator.process_index)
        self.count = int(self._accelerator.num_processes)

    def _leave(self) -> None:
        """Leave the group: a process that ends while threads of it run is aborted, now and then.

        Parallel models hold on to the group, so they go first.
        """
        self._accelerator.free_memory()
        self._accelerator.end_training()

    def device(self, name: str) -> torch.device:
        """The CPU, or this process's own GPU."""
        device: torch.device = self._accelerator.device
        return device if torch.device(name).type == device.type else torch.device(name)

    def parallel(self, step: nn.Module) -> nn.Module:
        """DistributedDataParallel around the step."""
        prepared: nn.Module = self._accelerator.prepare(step)
        return prepared

    def total(self, values: Tensor) -> Tensor:
        """Sums over the processes, the same to the bit in each."""
        summed: Tensor = self._accelerator.reduce(values, "sum")
        return summed

    def wait(self) -> None:
        """Until every process is here."""
        self._accelerator.wait_for_everyone()

    def environment(self) -> Mapping[str, str]:
        """The GPU of this process alone."""
        if self._accelerator.device.type != "cuda":
            return {}
        seen = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
        local = int(self._accelerator.local_process_index)
        return {
            "CUDA_VISIBLE_DEVICES": seen[local] if local < len(seen) and seen[0] else str(local)
        }


def joined(device: str) -> Processes:
    """The processes that this one belongs to: itself alone, unless torchrun has started it."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return ALONE
    return Joined(cpu=torch.device(device).type == "cpu")
