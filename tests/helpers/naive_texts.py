"""Texts of vectors with padding, an f that reads them, and plain loops over examples."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

WORDS, WIDTH, CLASSES = 5, 3, 4


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Reader(nn.Module):
    """A smooth f of the words where the mask is true, in float64; order matters."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5)
            self.first, self.last = nn.Linear(WIDTH, 8), nn.Linear(8, CLASSES)
        self.double()
        self.given: list[tuple[Tensor, Tensor]] = []

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        self.given.append((states.detach().clone(), mask.clone()))
        place = 1 + torch.arange(states.shape[-2], dtype=states.dtype) / 7
        words = states * (mask * place).unsqueeze(-1)
        return 3 * self.last(self.first(words.sum(-2)).tanh())


def texts(n: int = 6, seed: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """States ``[n, 5, 3]``, mask ``[n, 5]`` and classes ``[n]``; some texts are padded in front."""
    states = torch.randn(n, WORDS, WIDTH, generator=rng(seed), dtype=torch.float64)
    lengths = torch.randint(1, WORDS + 1, (n,), generator=rng(seed + 1))
    mask = torch.arange(WORDS) < lengths.unsqueeze(-1)
    mask[1::3] = mask[1::3].flip(1)
    return states, mask, torch.randint(CLASSES, (n,), generator=rng(seed + 2))


def surprise(logits: Tensor, label: Tensor | int) -> Tensor:
    """Minus the log-probability of a class, of one text."""
    return logits.exp().sum().log() - logits[label]


def divergence(logits: Tensor, others: Tensor) -> float:
    """KL(p || q) of one text, class by class."""
    p, q = (z.exp() / z.exp().sum() for z in (logits, others))
    return sum((a * (a / b).log()).item() for a, b in zip(p, q, strict=True))


def slope(value: Callable[[Tensor], float], at: Tensor, mask: Tensor, h: float = 1e-4) -> Tensor:
    """Derivatives of a number by each word of one text, by fourth-order central differences."""
    found = torch.zeros_like(at)
    for word in mask.nonzero().flatten().tolist():
        for k in range(at.shape[1]):
            step = torch.zeros_like(at)
            step[word, k] = h
            near = value(at + step) - value(at - step)
            far = value(at + 2 * step) - value(at - 2 * step)
            found[word, k] = (8 * near - far) / (12 * h)
    return found


def length(words: Tensor, mask: Tensor) -> float:
    """Euclidean norm of the words of one text."""
    return sum(x.item() ** 2 for x in words[mask].flatten()) ** 0.5
