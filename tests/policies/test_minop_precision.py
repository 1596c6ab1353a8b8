"""MinOp compares in float32 whatever the model computes in, and MaxOp's clip can be left out."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from ampmix import AMP
from ampmix.mixing import cross_entropy, interpolate_loss, mix
from ampmix.policies.amp import amp_reference, max_op


def level(f: nn.Module, g: Tensor, y: Tensor, lam: Tensor, at: Tensor, perm: Tensor) -> Tensor:
    """The loss of each example with its hidden state mixed `at`, in float32."""
    with torch.no_grad():
        return interpolate_loss(cross_entropy, f(mix(g, at, perm)).float(), y, lam, perm)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("eps", [0.002, 0.05, 0.3])
def test_the_larger_loss_is_kept_in_half_precision(dtype: torch.dtype, eps: float) -> None:
    torch.manual_seed(0)
    f = nn.Sequential(nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, 3)).to(dtype)
    with torch.no_grad():
        for parameter in f.parameters():
            parameter.mul_(4)
    lower = 0
    for seed in range(20):
        draws = torch.Generator().manual_seed(seed)
        g = torch.randn(32, 16, generator=draws).to(dtype)
        y = torch.randint(3, (32,), generator=draws)
        mixed = AMP(eps=eps)(f, g, y, generator=draws)
        before = level(f, g, y, mixed.lam, mixed.lam, mixed.perm)
        after = level(f, g, y, mixed.lam, mixed.lam_adv, mixed.perm)
        tolerance = 8 * torch.finfo(torch.float32).eps * before.abs()
        assert (mixed.mask == (after > before))[(after - before).abs() > tolerance].all()
        kept = torch.where(mixed.mask, after, before)
        assert (kept >= torch.maximum(before, after) - tolerance).all()
        unit = torch.finfo(dtype).eps
        assert torch.allclose(mixed.loss.float(), kept, rtol=8 * unit, atol=4 * unit)
        lower += int((after < before * (1 - 8 * unit)).sum())
    assert lower or eps < 0.3, "no loss fell: nothing was tested"


@pytest.mark.parametrize("autocast", [True, False])
def test_rounding_to_half_precision_costs_no_third_pass(autocast: bool) -> None:
    """What bfloat16 rounds is no fall of the loss: the pass at lam is not run again for it."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, 3))
    net = net if autocast else net.bfloat16()
    passes, fell = 0, 0

    def f(x: Tensor) -> Tensor:
        nonlocal passes
        passes += 1
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            return net(x)  # type: ignore[no-any-return]

    for seed in range(10):
        draws = torch.Generator().manual_seed(seed)
        g = torch.randn(32, 16, generator=draws).to(torch.float32 if autocast else torch.bfloat16)
        y = torch.randint(3, (32,), generator=draws)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            mixed = AMP()(f, g, y, generator=draws)
        assert mixed.gain is not None
        fell += int((mixed.gain < -1e-5 * mixed.loss.float()).sum())
    assert fell, "nothing was rounded: nothing was tested"
    assert passes == 2 * 10


@pytest.mark.parametrize("direction", ["gradient", "sign"])
def test_without_the_clip_lam_leaves_the_interval(direction: str) -> None:
    lam, grad = torch.tensor([0.0, 0.5, 1.0]), torch.tensor([-3.0, 0.4, 0.2])
    inside = max_op(lam, grad, 0.5, direction)
    letter = max_op(lam, grad, 0.5, direction, clip_lam=False)
    step = grad.sign() if direction == "sign" else grad.clamp(-1, 1)
    assert torch.equal(letter, lam + 0.5 * step)
    assert torch.equal(inside, letter.clamp(0, 1)) and not torch.equal(inside, letter)


@pytest.mark.parametrize("seed", range(5))
def test_without_the_clip_it_is_the_reference_without_it(seed: int) -> None:
    draws = torch.Generator().manual_seed(seed)
    f = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    g = torch.randn(16, 8, generator=draws, dtype=torch.float64)
    y = torch.randint(3, (16,), generator=draws)
    mixed = AMP(eps=3.0, clip_lam=False)(f, g, y, generator=draws)
    expected = amp_reference(f, g, y, mixed.lam, mixed.perm, eps=3.0, clip_lam=False)
    assert torch.equal(mixed.loss, expected)
    assert ((mixed.lam_adv < 0) | (mixed.lam_adv > 1)).any()
