"""AMP against the plain form of the paper's equations that stands first in its file."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ampmix import AMP
from ampmix.policies.amp import amp_reference


def model(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4)).double()


@pytest.mark.parametrize("eps", [0.0, 0.002, 0.1, 1.0])
@pytest.mark.parametrize("seed", range(12))
def test_losses_and_gradients_are_those_of_the_paper(seed: int, eps: float) -> None:
    f = model(seed)
    g = torch.randn(16, 6, dtype=torch.float64, requires_grad=True)
    y = torch.randint(4, (16,))
    mixed = AMP(eps=eps)(f, g, y, generator=torch.Generator().manual_seed(seed))
    plain = amp_reference(f, g, y, mixed.lam, mixed.perm, eps)
    # AMP takes two losses within 8 units in the last place for one (docs/decisions/0009)
    torch.testing.assert_close(mixed.loss, plain, rtol=8 * torch.finfo(plain.dtype).eps, atol=0.0)
    inputs = [g, *f.parameters()]
    ours = torch.autograd.grad(mixed.loss.sum(), inputs)
    theirs = torch.autograd.grad(plain.sum(), inputs)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7)


def test_the_adversary_moves_some_losses() -> None:
    f, g, y = model(0), torch.randn(16, 6, dtype=torch.float64), torch.randint(4, (16,))
    lam, perm = torch.rand(16, dtype=torch.float64), torch.randperm(16)
    still, moved = (amp_reference(f, g, y, lam, perm, eps) for eps in (0.0, 0.1))
    assert (moved >= still).all()
    assert (moved > still).any()
