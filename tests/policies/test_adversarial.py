"""FGM, PGD and VAT against finite differences, one text after the other."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ampmix import AmpmixError
from ampmix._support.components import POLICIES
from ampmix.mixing import sample_lam
from ampmix.mixing.adversary import Surroundings, climb
from naive_texts import WIDTH, WORDS, Reader, divergence, length, rng, slope, surprise, texts


def naive_noise(
    f: Reader, x: Tensor, mask: Tensor, y: Tensor, eps: float, steps: int, step: float
) -> Tensor:
    """r of one text, climbed along finite differences."""
    size, noise = length(x, mask), torch.zeros_like(x)

    def value(words: Tensor) -> float:
        return surprise(f(words.unsqueeze(0), mask.unsqueeze(0))[0], y).item()

    for _ in range(steps):
        uphill = slope(value, x + noise, mask)
        noise = noise + step * size * uphill / length(uphill, mask)
        if length(noise, mask) > eps * size:
            noise = noise * eps * size / length(noise, mask)
    return noise


CASES: list[tuple[str, float, int, float]] = [
    ("fgm", 0.1, 1, 0.5),
    ("fgm[eps=0.4,weight=0.2]", 0.4, 1, 0.2),
    ("pgd", 0.1, 3, 0.5),
    ("pgd[steps=1,eps=0.3,weight=1.0]", 0.3, 1, 1.0),
    ("pgd[steps=4,eps=0.6,weight=0.7]", 0.6, 4, 0.7),
]


@pytest.mark.parametrize(("text", "eps", "steps", "weight"), CASES)
@pytest.mark.parametrize("seed", [1, 5])
def test_adversarial_losses_and_gradients_equal_the_loop(
    text: str, eps: float, steps: int, weight: float, seed: int
) -> None:
    (states, mask, y), f = texts(seed=seed), Reader()
    x = states.clone().requires_grad_()
    loss = POLICIES.parse(text)(f, (x, mask), y, generator=rng()).loss
    expected = []
    for i in range(len(y)):
        noise = naive_noise(f, states[i], mask[i], y[i], eps, steps, 2.5 * eps / steps)
        here = surprise(f(x[i : i + 1], mask[i : i + 1])[0], y[i])
        there = surprise(f(x[i : i + 1] + noise, mask[i : i + 1])[0], y[i])
        expected.append((1 - weight) * here + weight * there)
    torch.testing.assert_close(loss, torch.stack(expected), rtol=1e-7, atol=1e-8)
    leaves = [x, *f.parameters()]
    mine = torch.autograd.grad(loss.mean(), leaves)
    theirs = torch.autograd.grad(torch.stack(expected).mean(), leaves)
    for own, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(("steps", "eps"), [(1, 0.1), (3, 0.1), (4, 0.5)])
def test_freelb_equals_the_loop(steps: int, eps: float) -> None:
    (states, mask, y), f = texts(), Reader()
    policy = POLICIES.parse(f"freelb[steps={steps},eps={eps}]")
    loss = policy(f, (states, mask), y, generator=rng()).loss
    for i in range(len(y)):
        losses = []
        for t in range(steps):
            noise = naive_noise(f, states[i], mask[i], y[i], eps, t, 2.5 * eps / steps)
            z = f(states[i : i + 1] + noise, mask[i : i + 1])[0]
            losses.append(surprise(z, y[i]).item())
        assert loss[i].item() == pytest.approx(sum(losses) / steps, rel=1e-7)


@pytest.mark.parametrize(
    "options",
    [{}, {"gamma": 0.5, "kept": 0.6}, {"alpha": 0.3, "steps": 1, "eps": 0.4}],
)
def test_avmixup_equals_the_loop(options: dict[str, Any]) -> None:
    (states, mask, y), f = texts(), Reader()
    text = ",".join(f"{name}={value}" for name, value in options.items())
    mixed = POLICIES.parse(f"avmixup[{text}]")(f, (states, mask), y, generator=rng(2))
    used = {"alpha": 1.0, "gamma": 2.0, "kept": 0.1, "steps": 3, "eps": 0.1, **options}
    eps, steps = used["eps"], used["steps"]
    drawn = sample_lam(used["alpha"], y.shape, generator=rng(2), dtype=torch.float64)
    assert torch.equal(mixed.lam, drawn)
    for i, lam in enumerate(drawn.tolist()):
        noise = naive_noise(f, states[i], mask[i], y[i], eps, steps, 2.5 * eps / steps)
        at = states[i] + (1 - lam) * used["gamma"] * noise
        z, share = f(at[None], mask[i : i + 1])[0], lam + (1 - lam) * used["kept"]
        soft = [(1 - share) / 4 + share * (c == y[i]) for c in range(4)]
        expected = torch.stack([w * surprise(z, c) for c, w in enumerate(soft)]).sum()
        assert mixed.loss[i].item() == pytest.approx(expected.item(), rel=1e-7)


VATS: list[tuple[str, float, float, int, float]] = [
    ("vat", 0.1, 1.0, 1, 0.01),
    ("vat[eps=0.5,weight=2.5]", 0.5, 2.5, 1, 0.01),
    ("vat[steps=3,xi=0.2]", 0.1, 1.0, 3, 0.2),
]


@pytest.mark.parametrize(("text", "eps", "weight", "steps", "xi"), VATS)
def test_virtual_adversarial_loss_equals_the_loop(
    text: str, eps: float, weight: float, steps: int, xi: float
) -> None:
    (states, mask, y), f = texts(), Reader()
    mixed = POLICIES.parse(text)(f, (states, mask), y, generator=rng(3))
    noise = torch.randn(states.shape, generator=rng(3), dtype=torch.float64)
    expected = []
    for i in range(len(y)):
        here = f(states[i : i + 1], mask[i : i + 1])[0].detach()
        size, direction = length(states[i], mask[i]), noise[i] * mask[i].unsqueeze(-1)

        def far(words: Tensor, here: Tensor = here, i: int = i) -> float:
            return divergence(here, f(words.unsqueeze(0), mask[i : i + 1])[0].detach())

        for _ in range(steps):
            at = states[i] + xi * size * direction / length(direction, mask[i])
            direction = slope(far, at, mask[i])
        there = states[i] + eps * size * direction / length(direction, mask[i])
        expected.append(surprise(here, y[i]).item() + weight * far(there))
    found = torch.tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(mixed.loss.detach(), found, rtol=1e-5, atol=1e-7)


def test_the_virtual_step_changes_probabilities_more_than_its_noise_does() -> None:
    (states, mask, y), f = texts(60), Reader()
    around = Surroundings.of((states, mask), y.shape)
    noise = around.scaled(around.directions(rng(3)), 0.1)
    here, there = f(states, mask), f(*around.moved(noise))
    plain = [surprise(z, label).item() for z, label in zip(here, y, strict=True)]
    random = [divergence(a.detach(), b.detach()) for a, b in zip(here, there, strict=True)]
    mixed = POLICIES.parse("vat")(f, (states, mask), y, generator=rng(3))
    found = mixed.loss.detach() - torch.tensor(plain, dtype=torch.float64)
    assert found.mean() > 1.5 * sum(random) / len(random)


def test_more_steps_find_a_larger_loss_and_stay_in_the_ball() -> None:
    (states, mask, y), f = texts(80), Reader()
    around = Surroundings.of((states, mask), y.shape)
    losses = []
    for steps in (1, 3, 20):

        def loss(words: Tensor, held: Tensor) -> Tensor:
            return torch.nn.functional.cross_entropy(f(words, held), y, reduction="none")

        noise = climb(around, loss, 0.8, steps)
        norms = torch.tensor([length(r, m) for r, m in zip(noise[0], mask, strict=True)])
        sizes = torch.tensor([length(x, m) for x, m in zip(states, mask, strict=True)])
        assert (norms <= 0.8 * sizes * (1 + 1e-6)).all()
        losses.append(loss(*around.moved(noise)).mean().item())
    assert losses[0] < losses[1] <= losses[2] + 1e-6


class Dropping(nn.Module):
    """An f with dropout that keeps its masks."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.masks = Reader(), list[Tensor]()

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        self.masks.append(nn.functional.dropout(torch.ones_like(states), 0.5))
        return self.inner(states * self.masks[-1], mask)


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("fgm", 3),
        ("pgd", 5),
        ("vat", 3),
        ("vat[steps=2]", 4),
        ("freelb", 5),
        ("avmixup", 4),
        ("r3f", 2),
        ("vmt", 2),
        ("cutoff", 2),
    ],
)
def test_all_passes_have_the_same_dropout_and_are_as_many_as_said(text: str, passes: int) -> None:
    f, (states, mask, y) = Dropping(), texts()
    POLICIES.parse(text)(f, (states, mask), y, generator=rng())
    assert len(f.masks) == passes
    assert all(torch.equal(f.masks[0], mask) for mask in f.masks)
    assert not f.masks[0].all()


@pytest.mark.parametrize("text", ["fgm", "pgd", "vat", "freelb", "avmixup"])
def test_an_f_without_a_gradient_is_refused(text: str) -> None:
    (states, mask, y), policy = texts(), POLICIES.parse(text)
    bias = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    for f in (lambda x, m: bias.expand(len(x), 4), lambda x, m: x.detach()[:, :4, 0] + bias):
        with pytest.raises(AmpmixError, match="does not depend on the hidden state"):
            policy(f, (states, mask), y)


@pytest.mark.parametrize("text", ["fgm", "pgd", "freelb", "avmixup"])
def test_parts_are_one_vector_and_an_unused_one_stays(text: str) -> None:
    """Two parts side by side are moved as their concatenation is; a third that f ignores is not."""
    (states, mask, y), f = texts(), Reader()
    given: list[Any] = []

    def apart(first: Tensor, second: Tensor, held: Tensor, idle: Tensor) -> Tensor:
        given.append(idle.detach().clone())
        return f(torch.cat([first, second], -1), held)

    idle = torch.zeros(len(y), 2, dtype=torch.float64)
    policy = POLICIES.parse(text)
    together = policy(f, (states, mask), y, generator=rng()).loss
    parts = (states[..., :1], states[..., 1:], mask, idle)
    torch.testing.assert_close(policy(apart, parts, y, generator=rng()).loss, together)
    assert not torch.stack(given).any()


@pytest.mark.parametrize("scale", [1e-30, 1e15])
def test_gradients_of_any_size_give_a_step_of_the_same_length(scale: float) -> None:
    x = torch.randn(4, WORDS, WIDTH, generator=rng())
    around = Surroundings.of((x,), x.shape[:1])
    noise = around.scaled([torch.randn(x.shape, generator=rng(1)) * scale], 0.1)
    torch.testing.assert_close(around.length(noise), 0.1 * x.flatten(1).norm(dim=1))


def test_a_gradient_of_zero_gives_no_step() -> None:
    x = torch.randn(4, WIDTH, generator=rng())
    around = Surroundings.of((x,), x.shape[:1])
    assert torch.equal(around.scaled([torch.zeros_like(x)], 0.1)[0], torch.zeros_like(x))
