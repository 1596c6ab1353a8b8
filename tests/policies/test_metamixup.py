"""MetaMixUp against real steps of a real layer, finite differences and a loop over texts."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ampmix import NoMixup
from ampmix._support.components import POLICIES
from ampmix.mixing import cross_entropy, sample_lam
from ampmix.policies.metamixup import MetaMixUp, halves
from naive_texts import CLASSES, Reader, rng, surprise, texts

Loss = Callable[[Tensor, Tensor], Tensor]


def smoothed(logits: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(logits, y, label_smoothing=0.2, reduction="none")


def several(logits: Tensor, y: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, y, reduction="none").mean(-1)


def drawn(n: int, seed: int) -> tuple[list[list[int]], list[int], Tensor]:
    """Both halves, partners and coefficients as the policy draws them."""
    generator = rng(seed)
    numbers = torch.rand(n, generator=generator).tolist()
    order = sorted(range(n), key=numbers.__getitem__)
    both, partner = [order[: n // 2], order[n // 2 :]], [0] * n
    for half in both:
        for k, i in enumerate(half):
            partner[i] = half[k - 1]
    return both, partner, sample_lam(1.0, (n,), generator=generator, dtype=torch.float64)


# --- an oracle: a real layer behind f, and a real step of it -------------------------------------


class Oracle:
    """Meta losses of both halves, by torch.optim.SGD on an affine layer that is the identity."""

    def __init__(self, f: Reader, data: tuple[Tensor, Tensor, Tensor], loss: Loss, rate: float):
        self.f, (self.states, self.mask, self.y), self.loss, self.rate = f, data, loss, rate

    def mixed(self, layer: nn.Module, i: int, j: int, lam: float) -> Tensor:
        """The mixed loss of one text."""
        words = lam * self.states[i] + (1 - lam) * self.states[j]
        z = layer(self.f(words[None], (self.mask[i] | self.mask[j])[None]))
        own, other = (self.loss(z, self.y[k : k + 1])[0] for k in (i, j))
        return lam * own + (1 - lam) * other

    def meta(
        self, lam: list[float], half: list[int], other: list[int], partner: list[int]
    ) -> float:
        """Mean loss of the other half's texts after a step on the mixtures of this one."""
        layer = nn.Linear(CLASSES, CLASSES).double()
        with torch.no_grad():
            layer.weight.copy_(torch.eye(CLASSES))
            layer.bias.zero_()
        optimizer = torch.optim.SGD(layer.parameters(), lr=self.rate)
        losses = [self.mixed(layer, i, partner[i], lam[i]) for i in half]
        torch.stack(losses).mean().backward()
        optimizer.step()
        with torch.no_grad():
            z = layer(self.f(self.states[other], self.mask[other]))
            return self.loss(z, self.y[other]).mean().item()

    def slope(
        self, i: int, lam: Tensor, half: list[int], other: list[int], partner: list[int]
    ) -> float:
        """Derivative of the meta loss by one text's lam, by fourth-order central differences."""
        h, values = 1e-4, {}
        for k in (-2, -1, 1, 2):
            moved = lam.tolist()
            moved[i] += k * h
            values[k] = self.meta(moved, half, other, partner)
        return (8 * (values[1] - values[-1]) - (values[2] - values[-2])) / (12 * h)


@pytest.mark.parametrize(
    ("loss", "n"), [(cross_entropy, 9), (smoothed, 8), (several, 9), (cross_entropy, 3)]
)
@pytest.mark.parametrize(("rate", "step"), [(0.1, 0.02), (0.7, 0.005), (1.5, 3.0)])
def test_lam_moves_by_the_finite_differences_of_the_meta_loss(
    loss: Loss, n: int, rate: float, step: float
) -> None:
    """Of whole halves, of odd ones and of one of a single text, where step is 3 up to the clip."""
    f, (states, mask, y) = Reader(), texts(n)
    targets = F.one_hot(y, CLASSES).double() if loss is several else y
    both, partner, lam = drawn(n, 4)
    oracle = Oracle(f, (states, mask, targets), loss, rate)
    policy = MetaMixUp(rate=rate, step=step)
    mixed = policy(f, (states, mask), targets, loss=loss, generator=rng(4))
    assert mixed.perm.tolist() == partner
    moves = []
    for half, other in (both, both[::-1]):
        for i in half:
            if partner[i] == i:
                assert mixed.lam[i] == 1
                continue
            slope = oracle.slope(i, lam, half, other, partner)
            wanted = min(max(lam[i].item() - step * len(half) * slope, 0.0), 1.0)
            assert mixed.lam[i].item() == pytest.approx(wanted, abs=1e-8)
            moves.append(abs(wanted - lam[i].item()))
    assert max(moves) > 1e-4


def test_the_loss_and_every_gradient_are_those_of_mixup_at_the_moved_lam() -> None:
    """Lam is a constant there: nothing is gone back through the virtual step."""
    f, (states, mask, y) = Reader(), texts(8)
    states.requires_grad_()
    mixed = MetaMixUp(rate=0.5, step=2.0)(f, (states, mask), y, generator=rng(4))
    assert (mixed.lam - drawn(8, 4)[2]).abs().max() > 1e-2
    losses = []
    for i, (own, j) in enumerate(zip(mixed.lam.tolist(), mixed.perm.tolist(), strict=True)):
        words = own * states[i] + (1 - own) * states[j]
        z = f(words[None], (mask[i] | mask[j])[None])[0]
        losses.append(own * surprise(z, y[i]) + (1 - own) * surprise(z, y[j]))
    expected = torch.stack(losses)
    torch.testing.assert_close(mixed.loss, expected, rtol=0, atol=1e-9)
    leaves = [states, *f.parameters()]
    mine, theirs = (torch.autograd.grad(x.mean(), leaves) for x in (mixed.loss, expected))
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9)


def test_a_step_down_lowers_the_meta_loss() -> None:
    """Of each half by itself, as lam of one half is nothing to the virtual step of the other."""
    f, data = Reader(), texts(12)
    both, partner, lam = drawn(12, 4)
    oracle = Oracle(f, data, cross_entropy, 0.5)
    mixed = MetaMixUp(rate=0.5, step=0.05)(f, data[:2], data[2], generator=rng(4))
    for half, other in (both, both[::-1]):
        before, after = (
            oracle.meta(values.tolist(), half, other, partner) for values in (lam, mixed.lam)
        )
        assert after < before


# --- what it comes to ----------------------------------------------------------------------------


@pytest.mark.parametrize("options", ["rate=0.0", "step=0.0"])
def test_without_a_step_lam_is_as_drawn(options: str) -> None:
    f, (states, mask, y) = Reader(), texts(9)
    policy = POLICIES.parse(f"metamixup[{options}]")
    mixed = policy(f, (states, mask), y, generator=rng(4))
    _, partner, lam = drawn(9, 4)
    assert torch.equal(mixed.lam, lam)
    assert mixed.perm.tolist() == partner
    assert len(f.given) == 1, "no further passes"


@pytest.mark.parametrize("n", [1, 2])
def test_where_no_half_has_two_texts_all_train_plainly(n: int) -> None:
    f, (states, mask, y) = Reader(), texts(n)
    mixed = MetaMixUp()(f, (states, mask), y, generator=rng(4))
    assert torch.equal(mixed.loss, NoMixup()(f, (states, mask), y).loss)
    assert mixed.lam.tolist() == [1.0] * n


def test_halves_are_random_and_partners_stay_in_theirs() -> None:
    counts = torch.zeros(6, 6)
    for seed in range(600):
        perm, second = halves(torch.Size([6]), rng(seed), torch.device("cpu"))
        assert int(second.sum()) == 3
        assert torch.equal(second, second[perm])
        assert not (perm == torch.arange(6)).any()
        counts[torch.arange(6), perm] += 1
    off = counts[~torch.eye(6, dtype=torch.bool)]
    assert (off / 600 - 1 / 5).abs().max() < 5 * (0.2 * 0.8 / 600) ** 0.5
