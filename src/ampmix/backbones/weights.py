"""Read and check the weights of saved models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

WEIGHTS = "model.safetensors"
HEAD, BAG = "ampmix_head.safetensors", "ampmix_bag.safetensors"  # beside transformers' own


def header_of(path: Path) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor of a safetensors file; none is read."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118


def check_shapes(
    found: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]]
) -> None:
    """Raise ValueError unless weights are those of the configuration, by names and shapes."""
    for name in sorted({*found, *expected}):
        own, other = found.get(name), expected.get(name)
        if own != other:
            raise ValueError(
                f"{name[:80]!r} of its weights has the shape {_told(own)}, its configuration says "
                f"{_told(other)}"
            )


def _told(shape: tuple[int, ...] | None) -> str:
    return "none at all" if shape is None else str(shape)[:80]
