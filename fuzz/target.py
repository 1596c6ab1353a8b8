"""What a target is, and the scratch folder that targets write their inputs to."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class Target:
    """A reader and what it is fed.

    Attributes:
        name: on the command line.
        run: reads one input; may return or raise AmpmixError.
        seeds: good inputs, made by code.
        words: what inputs of that kind are made of, for the mutator.
        share: how many of the campaign's inputs, against 1 for most; slow targets have less.
        longest: bytes of an input.
    """

    name: str
    run: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]
    words: tuple[bytes, ...] = ()
    share: float = 1.0
    longest: int = 4096


@cache
def scratch() -> Path:
    """A folder in memory where there is one: an input is a file."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="fuzz-", dir=memory if memory.is_dir() else None))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def written(name: str, data: bytes) -> Path:
    """A file of the scratch folder that holds `data`."""
    path = scratch() / name
    path.write_bytes(data)
    return path
