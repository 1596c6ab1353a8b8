"""Models that change in place what a submodule returned."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ampmix import AMP, Mixed, MixStep, Mixup, NoMixup
from ampmix.policies.base import Policy

IDS, Y = torch.arange(42).reshape(6, 7), torch.arange(6) % 3
POLICIES: list[Policy] = [NoMixup(), Mixup(), AMP(eps=0.3)]


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.pos = nn.Embedding(50, 8), nn.Parameter(torch.randn(7, 8))
        self.ln, self.f, self.head = nn.LayerNorm(8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embed(ids)
        x += self.pos
        return self.head((x + self.f(self.ln(x))).mean(1))  # type: ignore[no-any-return]


class After(Net):
    """In place behind the site."""

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embed(ids)
        h = self.f(self.ln(x + self.pos))
        x *= 2
        x += h
        return self.head(x.mean(1))  # type: ignore[no-any-return]


class Masked(Net):
    """A mask that is changed in place, and an activation that works so."""

    def __init__(self) -> None:
        super().__init__()
        self.act = nn.ReLU(inplace=True)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.act(self.embed(ids)) + 0
        kept = (ids > 3).to(x.dtype)
        kept *= 0.5
        x *= kept[..., None]
        x = self.act(self.f(self.ln(x)) + x)
        return self.head(x.mean(1))  # type: ignore[no-any-return]


SITES = ["embed", "ln", "f", "head:input"]


@pytest.mark.parametrize("kind", [Net, After, Masked])
@pytest.mark.parametrize("frozen", ["", "body", "embed"])
@pytest.mark.parametrize("site", SITES)
@pytest.mark.filterwarnings("ignore:site .*around it")
def test_without_mixing_it_is_plain_training(kind: Any, frozen: str, site: str) -> None:
    model = kind().double().train()
    for name, parameter in model.named_parameters():
        if (frozen == "body" and "head" not in name) or (frozen == "embed" and "embed" in name):
            parameter.requires_grad_(False)
    trained = [p for p in model.parameters() if p.requires_grad]
    plain = F.cross_entropy(model(IDS), Y)
    wanted = torch.autograd.grad(plain, trained, allow_unused=True)
    step = MixStep(model, NoMixup(), site=site)
    for _ in range(2):
        loss = step(IDS, labels=Y).loss
        got = torch.autograd.grad(loss, trained, allow_unused=True)
        assert float(loss.detach()) == pytest.approx(float(plain.detach()), abs=1e-12)
        torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("kind", [Net, After])
@pytest.mark.parametrize("policy", [Mixup(), AMP(eps=0.0)], ids=lambda p: p.name)
def test_mixed_it_is_the_model_without_statements_in_place(kind: Any, policy: Policy) -> None:
    model, seen = kind().double().train(), list[Mixed]()
    step = MixStep(model, policy, site="embed", on_mixed=seen.append)
    step(IDS, labels=Y).loss.backward()
    got = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    lam, perm, e = seen[0].lam.double(), seen[0].perm, model.embed(IDS)
    x = lam[:, None, None] * e + (1 - lam[:, None, None]) * e[perm]
    if kind is Net:
        x = x + model.pos
        logits = model.head((x + model.f(model.ln(x))).mean(1))
    else:
        logits = model.head((2 * x + model.f(model.ln(x + model.pos))).mean(1))
    own = F.cross_entropy(logits, Y, reduction="none")
    expected = lam * own + (1 - lam) * F.cross_entropy(logits, Y[perm], reduction="none")
    expected.mean().backward()
    torch.testing.assert_close(got, [p.grad for p in model.parameters()])


@pytest.mark.parametrize("name", ["XLM", "Flaubert"])
@pytest.mark.filterwarnings("ignore:site .*around it")
def test_models_of_transformers_that_do_so(name: str) -> None:
    pytest.importorskip("transformers")
    import tiny_families as tiny

    model = tiny.build(name)
    inputs = tiny.batch(model)
    for policy in POLICIES:
        MixStep(model, policy, site="transformer.layer_norm1.0")(**inputs)["loss"].backward()
    plain = F.cross_entropy(model(**inputs).logits, inputs["labels"])
    mine = MixStep(model, NoMixup(), site="transformer.layer_norm1.0")(**inputs)["loss"]
    torch.testing.assert_close(mine, plain)
