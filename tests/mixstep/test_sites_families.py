"""Every whole site of many architectures, against a reference made of PyTorch's hooks.

The reference runs the model twice, with nothing of ours: a hook reads what is at the site, and a
hook puts its mixture there, the masks being united in the model's inputs.
"""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ampmix
from ampmix import AMP, Mixed, MixStep, Mixup

pytest.importorskip("transformers")

import tiny_families as tiny

EXPECTED = 40
"""How many families there must be."""


def replaced(output: Any, change: Any, path: tuple[Any, ...] = ()) -> Any:
    """What a module returned, with `change` of each tensor in it, given where that is."""
    if isinstance(output, dict):
        return type(output)(**{k: replaced(x, change, (*path, k)) for k, x in output.items()})
    if isinstance(output, tuple | list):
        return type(output)(replaced(x, change, (*path, i)) for i, x in enumerate(output))
    return change(path, output) if isinstance(output, Tensor) else output


def texts_of(output: Any) -> dict[Any, Tensor]:
    """The hidden states in it: with a gradient and an axis of the examples.

    Copies, since a model may go on to change them in place.
    """
    found: dict[Any, Tensor] = {}

    def look(path: Any, x: Tensor) -> Tensor:
        if x.requires_grad and len(tiny.LENGTHS) in x.shape:
            found[path] = x.clone()
        return x

    replaced(output, look)
    return found


def with_texts(output: Any, texts: dict[Any, Tensor]) -> Any:
    return replaced(output, lambda path, x: texts.get(path, x))


def united(model: Any, inputs: dict[str, Tensor], perm: Tensor) -> dict[str, Tensor]:
    """Inputs in which texts have the tokens of both; a text's first token stands in in its ids."""
    own, ids = inputs["attention_mask"], inputs["input_ids"]
    both = own | own[perm]
    filled = torch.where((both == 1) & (own == 0), ids[:, :1], ids)
    return {"input_ids": filled, "attention_mask": both}


class Reference:
    """Logits of a model with the hidden states of a site mixed, by hooks."""

    def __init__(self, model: Any, path: str, inputs: dict[str, Tensor]) -> None:
        self.model, self.site = model, model.get_submodule(path)
        self.inputs = {k: v for k, v in inputs.items() if k != "labels"}
        self.g: dict[Any, Tensor] = {}
        hook = self.site.register_forward_hook(self._read)
        model(**self.inputs)
        hook.remove()
        self.tokens = any(x.dim() > 2 for x in self.g.values())

    def _read(self, module: nn.Module, args: Any, output: Any) -> None:
        self.g = texts_of(output)

    def logits(self, lam: Tensor, perm: Tensor) -> Tensor:
        mixed = {}
        for key, x in self.g.items():
            axis = list(x.shape).index(len(lam))
            weight = lam.reshape([-1 if a == axis else 1 for a in range(x.dim())])
            mixed[key] = weight * x + (1 - weight) * x.index_select(axis, perm)
        inputs = united(self.model, self.inputs, perm) if self.tokens else self.inputs
        hook = self.site.register_forward_hook(lambda module, args, out: with_texts(out, mixed))
        try:
            return self.model(**inputs).logits  # type: ignore[no-any-return]
        finally:
            hook.remove()

    def losses(self, mixed: Mixed, y: Tensor, eps: float) -> Tensor:
        lam, perm = mixed.lam.double(), mixed.perm

        def at(coefficient: Tensor) -> Tensor:
            logits = self.logits(coefficient, perm)
            own = F.cross_entropy(logits, y, reduction="none")
            return lam * own + (1 - lam) * F.cross_entropy(logits, y[perm], reduction="none")

        if not eps:
            return at(lam)
        moving = lam.clone().requires_grad_()
        before = at(moving)
        (slope,) = torch.autograd.grad(before.sum(), moving, retain_graph=True)
        return torch.maximum(before, at((lam + eps * slope.clamp(-1, 1)).clamp(0, 1)))


def gradients(loss: Tensor, model: nn.Module) -> Tensor:
    trained = [p for p in model.parameters() if p.requires_grad]
    found = torch.autograd.grad(loss, trained, allow_unused=True)
    return torch.cat([g.flatten() for g in found if g is not None])


@cache
def family(name: str) -> tuple[Any, dict[str, Tensor], tuple[str, ...]]:
    """A model, a batch of unequal lengths, and the paths where all of a text passes."""
    model = tiny.build(name)
    inputs = tiny.batch(model)
    rows = ampmix.sites(model, inputs)
    return model, inputs, tuple(r.path for r in rows if r.whole and r.same_as == r.path)


def test_there_are_enough() -> None:
    assert len(tiny.FAMILIES) >= EXPECTED


@pytest.mark.slow
@pytest.mark.parametrize("name", tiny.FAMILIES)
def test_every_whole_site_is_cut_exactly(name: str) -> None:
    model, inputs, sites = family(name)
    assert len(sites) >= 4, sites
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        for path in sites:
            for policy, eps in ((Mixup(), 0.0), (AMP(eps=0.3), 0.3)):
                seen: list[Mixed] = []
                torch.manual_seed(0)
                loss = MixStep(model, policy, site=path, on_mixed=seen.append)(**inputs)["loss"]
                expected = Reference(model, path, inputs).losses(seen[0], inputs["labels"], eps)
                assert expected.isfinite().all()
                torch.testing.assert_close(seen[0].loss.double(), expected, rtol=1e-9, atol=1e-9)
                mine = gradients(loss, model)
                wanted = gradients(expected.mean(), model)
                torch.testing.assert_close(mine, wanted, rtol=1e-7, atol=1e-9, msg=path)


@pytest.mark.slow
@pytest.mark.parametrize("name", tiny.FAMILIES)
def test_at_lam_0_logits_are_the_partners(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of texts of one length, for which no mask is to be united."""

    def zero(alpha: float, shape: Any, *, dtype: Any, **_: Any) -> Tensor:
        return torch.zeros(shape, dtype=dtype)

    monkeypatch.setattr("ampmix.policies.mixup.sample_lam", zero)
    model, _, sites = family(name)
    inputs = tiny.batch(model, (tiny.TOKENS,) * len(tiny.LENGTHS))
    plain = model(**inputs).logits
    for path in sites:
        seen: list[Mixed] = []
        out = MixStep(model, Mixup(), site=path, on_mixed=seen.append)(**inputs)
        torch.testing.assert_close(out["logits"], plain[seen[0].perm], rtol=1e-9, atol=1e-9)
