"""Settings of training that suit pretrained encoders better than the paper's.

Imports no PyTorch: the help of the command line tells them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_BOTH = {"optimizer": "adamw", "schedule": "linear", "warmup": 0.1, "selection": "last"}
FINE_TUNED: Mapping[str, Any] = _BOTH | {
    "steps": 600,
    "batch_size": 24,
    "lr": 1e-4,
    "weight_decay": 1e-2,
    "clip": 1.0,
}
UPPER: Mapping[str, Any] = {**FINE_TUNED, "steps": 300, "lr": 3e-4}
"""For the upper layers and the head."""
FROZEN: Mapping[str, Any] = _BOTH | {"steps": 1000, "lr": 1e-2, "weight_decay": 1e-2}
"""For the last layer alone, with the weights of the encoder as they are."""
