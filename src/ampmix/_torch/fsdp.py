"""FSDP2's class of sharded modules, under any name that it has had."""

from __future__ import annotations

from typing import Any

from ampmix._torch.compiling import uncompiled


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
