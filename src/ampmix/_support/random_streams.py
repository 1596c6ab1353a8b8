"""Random streams: one per seed and purpose, the same on every machine and in every process."""

from __future__ import annotations

import zlib

import numpy as np

from ampmix.errors import AmpmixError


def numpy_stream(seed: int, purpose: str) -> np.random.Generator:
    """A NumPy generator of its own for each pair of `seed` (0 or more) and `purpose`.

    The purpose enters by its CRC-32: Python's ``hash`` differs between processes. A policy's name
    must never be a purpose, or runs that should be paired would draw differently.

    Raises AmpmixError for a negative seed.

    >>> int(numpy_stream(0, "dev").integers(1000)) == int(numpy_stream(0, "dev").integers(1000))
    True
    """
    if seed < 0:
        raise AmpmixError(f"seed is {seed}: it must be 0 or more")
    return np.random.default_rng(np.random.SeedSequence([seed, zlib.crc32(purpose.encode())]))


def torch_seed(seed: int, purpose: str) -> int:
    """A 63-bit seed for a ``torch.Generator``, of its own for each pair of `seed` and `purpose`."""
    return int(numpy_stream(seed, purpose).integers(2**63))
