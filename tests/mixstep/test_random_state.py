"""Random numbers of a model: the same in all passes of a step, and those of plain training."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ampmix import AMP, Mixed, MixStep, Mixup, NoMixup

IDS, Y = torch.arange(42).reshape(6, 7), torch.arange(6) % 4


class Depth(nn.Module):
    """Stochastic depth, or noise, drawn from any of the global states."""

    def __init__(self, draw: Any) -> None:
        super().__init__()
        self.l, self.draw = nn.Linear(8, 8), draw

    def forward(self, x: Tensor) -> Tensor:
        return x if self.draw() < 0.5 else self.l(x)


DRAWS = [random.random, np.random.random, lambda: float(torch.rand(()))]


@pytest.mark.parametrize("draw", DRAWS, ids=["Python", "NumPy", "PyTorch"])
def test_passes_of_a_step_draw_the_same(draw: Any) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.EmbeddingBag(60, 8), Depth(draw), nn.Linear(8, 4)).double().train()
    seen: list[Mixed] = []
    step = MixStep(model, AMP(eps=1e-9), site="0", on_mixed=seen.append)
    for _ in range(16):
        step(IDS, labels=Y)
    assert max(float(mixed.gain.abs().max()) for mixed in seen) < 1e-6  # type: ignore[union-attr]
    assert any(draw() != draw() for _ in range(3))


class Functional(nn.Module):
    """Draws between its modules, before the site and after it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.f, self.g = nn.Embedding(60, 8), nn.Linear(8, 8), nn.Linear(8, 8)
        self.drop, self.head = nn.Dropout(0.3), nn.Linear(8, 4)

    def forward(self, ids: Tensor) -> Tensor:
        x = F.dropout(self.embed(ids), 0.4, self.training)
        if self.training and np.random.random() < 0.5:
            x = x * random.random()
        x = self.drop(self.f(x))
        x = F.dropout(self.g(x).tanh(), 0.4, self.training)
        return self.head(self.drop(x).mean(1))  # type: ignore[no-any-return]


def seeded() -> None:
    torch.manual_seed(3)
    random.seed(3)
    np.random.seed(3)


@pytest.mark.parametrize("site", ["embed", "f", "g", "head:input"])
def test_without_mixing_it_is_plain_training_to_the_bit(site: str) -> None:
    model = Functional().train()
    step = MixStep(model, NoMixup(), site=site)
    seeded()
    plain = [F.cross_entropy(model(IDS), Y, reduction="none").mean() for _ in range(3)]
    after = torch.rand(1)
    seeded()
    mine = [step(IDS, labels=Y).loss for _ in range(3)]
    assert [float(x.detach()) for x in mine] == [float(x.detach()) for x in plain]
    assert torch.equal(torch.rand(1), after)


def test_the_first_batches_trials_leave_no_trace() -> None:
    """Neither in random states nor in the statistics or the mode of the model."""
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 4))
    model.train()
    model[2].eval()
    seeded()
    MixStep(model, NoMixup(), site="0")(torch.randn(6, 4), labels=Y)
    assert int(model[1].num_batches_tracked) == 1
    assert [part.training for part in model] == [True, True, False, True]


class Skipping(nn.Module):
    """LayerDrop: a layer, and with it the site, is skipped at random."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.head = nn.EmbeddingBag(60, 8), nn.Linear(8, 4)
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embed(ids)
        for layer in self.layers:
            if self.training and torch.rand([]) < 0.4:
                continue
            x = layer(x).tanh()
        return self.head(x)  # type: ignore[no-any-return]


@pytest.mark.parametrize("policy", [NoMixup(), Mixup(), AMP(eps=1e-9)], ids=lambda p: p.name)
def test_layers_that_are_skipped_at_random(policy: Any) -> None:
    """Before the site they are skipped in all passes; where the site is, nothing is mixed."""
    model, seen = Skipping().double().train(), list[Mixed]()
    step = MixStep(model, policy, site="layers.1", on_mixed=seen.append)
    torch.manual_seed(3)
    for _ in range(30):
        out = step(IDS, labels=Y)
        out.loss.backward()
        assert out.logits.requires_grad
    mixed = [bool((m.lam < 1).any()) for m in seen]
    assert any(mixed) == (policy.name != "none")
    assert not all(mixed)
    gains = [float(m.gain.abs().max()) for m in seen if m.gain is not None]
    assert all(gain < 1e-6 for gain in gains)


def test_layerdrop_of_transformers() -> None:
    pytest.importorskip("transformers")
    import tiny_families as tiny

    tiny.FAMILIES["Bart"] = {"encoder_layerdrop": 0.4}
    try:
        model = tiny.build("Bart")
    finally:
        del tiny.FAMILIES["Bart"]
    model.model.encoder.layerdrop = 0.4
    inputs, seen = tiny.batch(model), list[Mixed]()
    step = MixStep(model, Mixup(), site="model.encoder.layers.1", on_mixed=seen.append)
    torch.manual_seed(3)
    with pytest.warns(UserWarning, match="around it"):
        for _ in range(12):
            step(**inputs)
    assert {bool((m.lam < 1).any()) for m in seen} == {True, False}
