"""AMP against the plain form of the paper's equations that stands first in its file."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from ampmix import AMP, Loss, cross_entropy
from ampmix.policies.amp import amp_reference


def model(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4)).double()


def smoothed(logits: Tensor, y: Tensor) -> Tensor:
    return cross_entropy(logits, y, weights=torch.tensor([1.0, 2.0, 0.5, 1.0]), smoothing=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("loss", [cross_entropy, smoothed], ids=lambda loss: loss.__name__)
@pytest.mark.parametrize("eps", [0.0, 0.002, 0.1, 1.0, 5.0])
@pytest.mark.parametrize("alpha", [1.0, 0.2])
def test_losses_are_those_of_the_paper_to_the_bit(
    alpha: float, eps: float, loss: Loss, dtype: torch.dtype
) -> None:
    """Where MinOp has a choice: two losses within 8 units in the last place count as one."""
    for seed in range(12):
        f, y = model(seed).to(dtype), torch.randint(4, (16,))
        g = torch.randn(16, 6, dtype=dtype)
        mixed = AMP(alpha, eps)(f, g, y, loss=loss, generator=torch.Generator().manual_seed(seed))
        plain = amp_reference(f, g, y, mixed.lam, mixed.perm, eps, loss)
        bound = 8 * torch.finfo(dtype).eps * plain.abs()
        assert mixed.gain is not None
        chosen = mixed.gain.abs() > bound
        assert torch.equal(mixed.loss[chosen], plain[chosen])
        assert ((mixed.loss - plain).abs() <= bound).all()
        assert chosen.any() or eps == 0.0


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
