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
    "batches": "length",
}
UPPER: Mapping[str, Any] = {**FINE_TUNED, "steps": 300, "lr": 3e-4}
"""For the upper layers and the head; of few texts by :func:`upper_steps`."""
FROZEN: Mapping[str, Any] = _BOTH | {"steps": 1000, "lr": 1e-3, "weight_decay": 1.0}
"""For the last layer alone, with the weights of the encoder as they are.

Of six pairs of learning rate and weight decay they err least on development texts of TREC and MR
(``paper/few-labels``).
"""


def upper_steps(texts: int, most: int) -> int:
    """Return the steps for upper layers: 12 epochs of `texts`, from 100 to `most`.

    >>> upper_steps(160, 300), upper_steps(480, 300), upper_steps(6000, 300)
    (100, 240, 300)
    """
    epochs, batch = 12, int(UPPER["batch_size"])
    return max(100, min(most, round(epochs * texts / batch)))
