"""Find the device that trains fastest."""

from __future__ import annotations

import torch


def best_device() -> str:
    """Return ``cuda`` if there is a GPU that this PyTorch can use, else ``cpu``."""
    return "cuda" if torch.cuda.is_available() else "cpu"
