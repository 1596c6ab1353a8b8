"""Counts of how far lam and the loss moved, against a loop in Python."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from ampmix import AMP, Mixup
from ampmix.policies.base import Mixed
from ampmix.report.runs.perturbation import quantile
from ampmix.training.perturbation import DECADES, PER_DECADE, Perturbation


def by_hand(values: list[float], kind: str) -> list[int]:
    low, high = DECADES[kind]
    edges = [10 ** (i / PER_DECADE) for i in range(low * PER_DECADE, high * PER_DECADE + 1)]
    counts = [0] * (len(edges) + 1)
    for value in values:
        if value:
            counts[sum(edge <= value for edge in edges)] += 1
    return counts


def test_counts_are_those_of_a_loop() -> None:
    draw = torch.Generator().manual_seed(0)
    seen, moves, gains = Perturbation(), [], []
    for size in (7, 50, 1):
        lam = torch.zeros(size, dtype=torch.float64)
        moved = 10 ** (torch.rand(size, generator=draw, dtype=torch.float64) * 12 - 10)
        moved[0] = 0
        sign = torch.randint(-1, 2, (size,), generator=draw)
        gain = sign * 10 ** (torch.rand(size, generator=draw, dtype=torch.float64) * 12 - 9)
        seen.add(Mixed(lam, lam, moved, lam > 1, lam.long(), gain))
        moves += moved.tolist()
        gains += gain.tolist()
    found = seen.as_json(seen.counts)
    assert found is not None
    assert found["examples"] == 58
    assert found["lam"]["zero"] == 3
    assert found["lam"]["counts"] == by_hand(moves, "lam")
    assert found["loss"]["zero"] == sum(gain == 0 for gain in gains)
    assert found["loss"]["up"] == by_hand([max(gain, 0) for gain in gains], "loss")
    assert found["loss"]["down"] == by_hand([max(-gain, 0) for gain in gains], "loss")


def test_policies_without_max_op_are_not_counted() -> None:
    seen = Perturbation()
    seen.add(Mixup()(torch.nn.Linear(4, 3), torch.randn(8, 4), torch.randint(3, (8,))))
    assert seen.as_json(seen.counts) is None


@pytest.mark.parametrize("options", [{}, {"min_op": False}, {"shared_dropout": False}])
def test_gain_is_the_difference_of_two_losses(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    f, g, y = torch.nn.Linear(6, 3), torch.randn(9, 6), torch.randint(3, (9,))
    mixed = AMP(eps=0.3, **options)(f, g, y, generator=torch.Generator().manual_seed(1))
    partner, expected = g[mixed.perm], []
    for i in range(9):
        losses = []
        for lam in (mixed.lam[i], mixed.lam_adv[i]):
            scores = f(lam * g[i] + (1 - lam) * partner[i]).log_softmax(0)
            label = mixed.lam[i] * scores[y[i]] + (1 - mixed.lam[i]) * scores[y[mixed.perm[i]]]
            losses.append(-label.item())
        expected.append(losses[1] - losses[0])
    assert mixed.gain is not None and not mixed.gain.requires_grad
    assert mixed.gain.tolist() == pytest.approx(expected, abs=1e-5)
    assert max(map(abs, expected)) > 0.01


def test_quantiles_are_bounds() -> None:
    own = {"from": -2, "to": 0, "per_decade": 1, "counts": [1, 2, 3, 4]}
    assert quantile(own, 0, 0.3) == "≤0.1"
    assert quantile(own, 0, 0.31) == "≤1"
    assert quantile(own, 0, 0.95) == ">1"
    assert quantile(own, 20, 0.5) == "0"
    assert not math.isnan(float(quantile(own, 0, 0.1)[1:]))
