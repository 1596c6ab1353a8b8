"""Histogram of how far MaxOp moved lam over a run, and of how much that changed the loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ampmix.policies.base import Mixed

PER_DECADE = 5
DECADES = {"lam": (-7, 0), "loss": (-7, 1)}
"""Powers of ten between which the bins of ``|lam_adv - lam|`` and of the loss (nats) lie."""
TOGETHER = 64
"""Batches that are counted at once: one by one they would cost a small model 1 % of its step."""


class Perturbation:
    """Counts of ``|lam_adv - lam|`` and of ``loss_adv - loss``, upwards and downwards apart.

    Batches are counted many at a time, on the device and in integers: no step waits, and order does
    not matter, so that a run gives the same counts again. Policies without MaxOp are not counted.

    >>> from ampmix import AMP
    >>> seen = Perturbation()
    >>> f, x, y = torch.nn.Linear(4, 3), torch.randn(8, 4), torch.randint(3, (8,))
    >>> seen.add(AMP(eps=0.0)(f, x, y))
    >>> seen.as_json(seen.counts)["lam"]["zero"]
    8
    """

    def __init__(self) -> None:
        self._counts: Tensor | None = None
        self._waiting: list[tuple[Tensor, Tensor]] = []
        self._edges: dict[tuple[str, torch.device, torch.dtype], Tensor] = {}

    def add(self, mixed: Mixed, counted: bool | Tensor = True) -> None:
        """Count a batch; one that is not `counted` adds nothing, but there is something to sum.

        Batches side by side ``[S, B]`` are counted each by itself. Of `counted` also a boolean
        tensor of that shape will do, true at the rows to count.
        """
        if mixed.gain is not None:
            self.add_moves((mixed.lam_adv - mixed.lam).detach(), mixed.gain.detach(), counted)

    def add_moves(self, moved: Tensor, gain: Tensor, counted: bool | Tensor = True) -> None:
        """Count ``lam_adv - lam`` and ``loss_adv - loss``, each ``[..., B]``."""
        if isinstance(counted, Tensor):
            nowhere = torch.where(counted, 0.0, torch.nan)
            moved, gain, counted = moved + nowhere, gain + nowhere, True
        self._waiting.append((moved, gain) if counted else (moved[..., :0], gain[..., :0]))
        if len(self._waiting) >= TOGETHER:
            self._count_waiting()

    @property
    def counts(self) -> Tensor | None:
        """Counts of lam, of the loss upwards and downwards, concatenated; None if none."""
        self._count_waiting()
        return self._counts

    def _count_waiting(self) -> None:
        if not self._waiting:
            return
        moved, gain = (torch.cat(parts, dim=-1) for parts in zip(*self._waiting, strict=True))
        self._waiting.clear()
        parts = [
            self._count("lam", moved.abs()),
            self._count("loss", gain.clamp(min=0)),
            self._count("loss", (-gain).clamp(min=0)),
        ]
        batches = torch.cat(parts, dim=-1)
        self._counts = batches if self._counts is None else self._counts + batches

    def of(self, which: int | Sequence[int]) -> Perturbation:
        """Return the counts of one or some of several batches side by side."""
        own, counts = Perturbation(), self.counts
        own._counts = None if counts is None else counts[which]
        return own

    def _count(self, kind: str, values: Tensor) -> Tensor:
        """Counts of exact zeros, values below the first edge, of each bin, and above the last.

        NaN counts nowhere.
        """
        low, high = DECADES[kind]
        key = kind, values.device, values.dtype
        if key not in self._edges:
            exponents = torch.arange(low * PER_DECADE, high * PER_DECADE + 1, dtype=torch.float64)
            self._edges[key] = (10.0 ** (exponents / PER_DECADE)).to(values)
        edges = self._edges[key]
        place = torch.bucketize(values, edges, right=True) + 1
        place = torch.where(values == 0, 0, torch.where(values.isnan(), -1, place))
        # a comparison rather than bincount, which on a GPU waits for its largest value
        places = torch.arange(len(edges) + 2, device=values.device)
        return (place.unsqueeze(-2) == places.unsqueeze(-1)).sum(-1)

    def as_json(self, counts: Tensor | None) -> dict[str, Any] | None:
        """Return what a record keeps of the counts, summed over processes; None without MaxOp.

        By quantity the powers of ten ``from`` and ``to``, bins ``per_decade``, the number of exact
        zeros, and ``counts``: below the first edge, each bin, from the last edge on. The loss has
        them as ``up`` where `loss_adv` was the larger, and ``down``.
        """
        if counts is None:
            return None
        lam, up, down = torch.split(counts.cpu(), [_bins("lam"), _bins("loss"), _bins("loss")])
        examples = int(lam.sum())
        return {
            "examples": examples,
            "lam": _scale("lam") | {"zero": int(lam[0]), "counts": lam[1:].tolist()},
            "loss": _scale("loss")
            | {
                "zero": int(up[0] + down[0]) - examples,
                "up": up[1:].tolist(),
                "down": down[1:].tolist(),
            },
        }


def _bins(kind: str) -> int:
    low, high = DECADES[kind]
    return (high - low) * PER_DECADE + 3


def _scale(kind: str) -> dict[str, int]:
    low, high = DECADES[kind]
    return {"from": low, "to": high, "per_decade": PER_DECADE}
