"""R-Drop, R3F and virtual Mixup against plain loops over texts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from ampmix import Mixup
from ampmix._support.components import POLICIES
from ampmix.backbones.heads import Classify
from ampmix.mixing.divergence import jensen_shannon, kl
from naive_texts import Reader, divergence, length, rng, surprise, texts


class Dropping(nn.Module):
    """An f whose logits are kept."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.logits = Reader(), list[Tensor]()

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        self.logits.append(self.inner(nn.functional.dropout(states, 0.4), mask))
        return self.logits[-1]


@pytest.mark.parametrize("weight", [0.0, 1.0, 3.5])
def test_rdrop_equals_the_loop(weight: float) -> None:
    f, (states, mask, y) = Dropping(), texts()
    loss = POLICIES.parse(f"rdrop[weight={weight}]")(f, (states, mask), y).loss
    first, second = f.logits
    assert not torch.allclose(first, second)
    for i, label in enumerate(y):
        plain = (surprise(first[i], label) + surprise(second[i], label)).item() / 2
        both = divergence(first[i], second[i]) + divergence(second[i], first[i])
        assert loss[i].item() == pytest.approx(plain + weight * both / 4, rel=1e-9)


def test_rdrop_trains_both_draws() -> None:
    """The gradient of a symmetric divergence, by finite differences in one weight."""
    f, (states, mask, y) = Dropping(), texts()
    policy, weight = POLICIES.parse("rdrop[weight=5.0]"), f.inner.last.weight

    def loss() -> Tensor:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(2)
            return policy(f, (states, mask), y).loss.sum()

    (grad,) = torch.autograd.grad(loss(), weight)
    for place in ((0, 0), (3, 5)):
        values = []
        for step in (1e-6, -1e-6):
            with torch.no_grad():
                weight[place] += step
                values.append(loss().item())
                weight[place] -= step
        assert grad[place].item() == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-6)


def test_rdrop_redraws_masks_that_are_drawn_before_the_passes() -> None:
    """As our backbones do: without :meth:`redrawn` both passes would be one."""
    like, output = torch.ones(8, 6), nn.Linear(6, 3)
    f = Classify.of(output, like, 0.5, True, rng(4))
    g, y = torch.randn(8, 6, generator=rng()), torch.randint(3, (8,), generator=rng(1))
    found = POLICIES.parse("rdrop")(f, g, y).loss
    draws = rng(4)
    logits = []
    for _ in range(2):
        keep = (torch.rand(8, 6, generator=draws) >= 0.5).float() / 0.5
        logits.append((g * keep) @ output.weight.T + output.bias)
    for i, label in enumerate(y):
        plain = (surprise(logits[0][i], label) + surprise(logits[1][i], label)).item() / 2
        both = divergence(*(z[i] for z in logits)) + divergence(*(z[i] for z in logits[::-1]))
        assert found[i].item() == pytest.approx(plain + both / 4, rel=1e-5)


@pytest.mark.parametrize(("eps", "weight"), [(0.1, 1.0), (0.7, 3.0)])
def test_r3f_equals_the_loop(eps: float, weight: float) -> None:
    (states, mask, y), f = texts(), Reader()
    policy = POLICIES.parse(f"r3f[eps={eps},weight={weight}]")
    loss = policy(f, (states, mask), y, generator=rng(6)).loss
    drawn = torch.randn(states.shape, generator=rng(6), dtype=torch.float64)
    for i, label in enumerate(y):
        noise = drawn[i] * mask[i].unsqueeze(-1)
        noise = eps * length(states[i], mask[i]) * noise / length(noise, mask[i])
        z, q = (f((states[i] + r)[None], mask[i : i + 1])[0].detach() for r in (0, noise))
        expected = surprise(z, label).item() + weight * (divergence(z, q) + divergence(q, z))
        assert loss[i].item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("alpha", "weight"), [(1.0, 1.0), (0.3, 4.0)])
def test_virtual_mixup_equals_the_loop(alpha: float, weight: float) -> None:
    (states, mask, y), f = texts(9), Reader()
    policy = POLICIES.parse(f"vmt[alpha={alpha},weight={weight}]")
    mixed = policy(f, (states, mask), y, generator=rng(6))
    drawn = Mixup(alpha=alpha)(f, (states, mask), y, generator=rng(6))
    for i, (own, j) in enumerate(zip(drawn.lam.tolist(), drawn.perm.tolist(), strict=True)):
        a, b = (f(states[k : k + 1], mask[k : k + 1])[0].detach() for k in (i, j))
        both = own * a.softmax(-1) + (1 - own) * b.softmax(-1)
        z = f((own * states[i] + (1 - own) * states[j])[None], (mask[i] | mask[j])[None])[0]
        expected = surprise(a, y[i]).item() + weight * divergence(both.log(), z.detach())
        assert mixed.loss[i].item() == pytest.approx(expected, rel=1e-9)


def test_the_target_of_virtual_mixup_is_constant() -> None:
    """Only the mixture is pulled: the gradient is that of the cross-entropy with the target."""
    (states, mask, y), f = texts(9), Reader()
    policy, plain = POLICIES.parse("vmt[weight=1.0]"), POLICIES.parse("none")
    drawn = Mixup()(f, (states, mask), y, generator=rng(6))
    target = f(states, mask).softmax(-1).detach()
    own = drawn.lam.unsqueeze(-1)
    soft = own * target + (1 - own) * target[drawn.perm]
    lam = drawn.lam.view(-1, 1, 1)
    mixture = f(lam * states + (1 - lam) * states[drawn.perm], mask | mask[drawn.perm])
    expected = plain(f, (states, mask), y).loss.sum() - (soft * mixture.log_softmax(-1)).sum()
    loss = policy(f, (states, mask), y, generator=rng(6)).loss.sum()
    pairs = (torch.autograd.grad(one, list(f.parameters())) for one in (loss, expected))
    for mine, theirs in zip(*pairs, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-12)


def test_divergences_are_those_of_the_textbook() -> None:
    z = torch.randn(9, 4, generator=rng(), dtype=torch.float64)
    log_p, log_q = z.log_softmax(-1), z.flip(0).log_softmax(-1)
    p, q = log_p.exp(), log_q.exp()
    m = (p + q) / 2
    for i in range(9):
        found = [kl(log_p, log_q)[i].item(), jensen_shannon(log_p, log_q)[i].item()]
        apart = [divergence(a[i].log(), m[i].log()) for a in (p, q)]
        assert found == pytest.approx([divergence(z[i], z.flip(0)[i]), sum(apart) / 2], abs=1e-12)
    assert jensen_shannon(log_p, log_p).abs().max() < 1e-12
    assert (jensen_shannon(log_p, log_q) <= torch.log(torch.tensor(2.0))).all()
