"""What a MixStep returns can be built on: second heads, penalties, R-Drop, hidden states."""

from __future__ import annotations

import collections
import dataclasses
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ampmix import AMP, AmpmixError, Mixed, MixStep, Mixup, NoMixup
from ampmix.mixing import cross_entropy
from ampmix.policies.base import Policy

POLICIES = [(NoMixup(), None), (Mixup(), "embed"), (AMP(eps=0.3), "embed"), (AMP(), "head:input")]
IDS, Y, Z = torch.arange(42).reshape(6, 7), torch.arange(6) % 3, torch.arange(6) % 5


class Two(nn.Module):
    """A model with a second head."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.head, self.aux = nn.EmbeddingBag(50, 8), nn.Linear(8, 3), nn.Linear(8, 5)

    def forward(self, ids: Tensor) -> dict[str, Tensor]:
        x = self.embed(ids)
        return {"logits": self.head(x), "aux": self.aux(x), "hidden": x}


def terms(out: Any) -> dict[str, Tensor]:
    p = out["logits"].softmax(-1)
    return {
        "a second head": F.cross_entropy(out["aux"], Z),
        "a confidence penalty": (p * p.log()).sum(-1).mean(),
        "a hidden-state penalty": out["hidden"].square().mean(),
    }


@pytest.mark.parametrize(("policy", "site"), POLICIES, ids=str)
@pytest.mark.parametrize("term", terms(Two()(IDS)))
def test_further_terms_have_the_gradient_of_finite_differences(
    term: str, policy: Policy, site: str | None
) -> None:
    model = Two().double().train()
    step = MixStep(model, policy, site=site, generator=torch.Generator())

    def value() -> Tensor:
        step.generator.manual_seed(3)  # type: ignore[union-attr]
        return terms(step(IDS, labels=Y))[term]

    parameter = model.aux.weight if term == "a second head" else model.embed.weight
    (gradient,) = torch.autograd.grad(value(), parameter)
    assert float(gradient.abs().max()) > 0
    at = divmod(int(gradient.abs().argmax()), gradient.shape[1])
    found = []
    for sign in (1, -1):
        with torch.no_grad():
            parameter[at] += sign * 1e-6
        found.append(float(value().detach()))
        with torch.no_grad():
            parameter[at] -= sign * 1e-6
    slope = (found[0] - found[1]) / 2e-6
    if policy.name == "amp" and term != "a second head":
        return  # lam_adv moves with the weights: a finite difference sees that, too
    assert float(gradient[at]) == pytest.approx(slope, rel=1e-4)


def test_r_drop_trains() -> None:
    model = Two().train()
    step = MixStep(model, Mixup(), site="embed")
    a, b = (step(IDS, labels=Y)["logits"].log_softmax(-1) for _ in range(2))
    F.kl_div(a, b, log_target=True, reduction="batchmean").backward()
    assert float(model.head.weight.grad.abs().max()) > 0  # type: ignore[union-attr]


def test_a_policy_that_keeps_no_graph_has_outputs_that_say_so() -> None:
    class Detached(Mixup):
        """Trains on the hidden states alone: f runs without a graph."""

        name = "detached"

        def _train(self, f: Any, g: Any, y: Any, shape: Any, loss: Any, generator: Any) -> Mixed:
            with torch.no_grad():
                logits = f(*g)
            return Mixed(cross_entropy(logits, y) + g[0].flatten(1).sum(1))

    model = Two().train()
    step = MixStep(model, Detached(), site="embed")
    step._place.checked = True  # its loss goes around f
    out = step(IDS, labels=Y)
    out["loss"].backward(retain_graph=True)
    with pytest.raises(AmpmixError, match=r"detached ran the pass .*: call the model itself"):
        (out["loss"] + F.cross_entropy(out["aux"], Z)).backward()


# ------------------------------------------------------------------------------- their forms


@dataclasses.dataclass(frozen=True)
class Frozen:
    logits: Tensor


@dataclasses.dataclass(slots=True)
class Slots:
    logits: Tensor
    more: int = 3


@dataclasses.dataclass(frozen=True, slots=True)
class Both:
    logits: Tensor


class Plain:
    def __init__(self, logits: Tensor) -> None:
        self.logits = logits


def forms() -> list[Any]:
    transformers = pytest.importorskip("transformers")

    @dataclasses.dataclass
    class NoLoss(transformers.utils.ModelOutput):  # type: ignore[name-defined, misc]
        logits: Any = None

    return [
        Frozen,
        Slots,
        Both,
        Plain,
        lambda x: NoLoss(logits=x),
        lambda x: transformers.BatchEncoding({"logits": x}),
        lambda x: collections.UserDict(logits=x),
        lambda x: (None, x),
        lambda x: [x, 3],
    ]


@pytest.mark.parametrize("number", range(9))
def test_every_form_of_output_gets_the_loss(number: int) -> None:
    make = forms()[number]

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.head = nn.EmbeddingBag(50, 8), nn.Linear(8, 3)

        def forward(self, ids: Tensor) -> Any:
            return make(self.head(self.embed(ids)))

    model, seen = Net().train(), list[Mixed]()
    out = MixStep(model, Mixup(), site="embed", on_mixed=seen.append)(IDS, labels=Y)
    plain = model(IDS)
    loss = out[0] if isinstance(out, tuple | list) else getattr(out, "loss", None)
    loss = out["loss"] if loss is None else loss
    assert torch.equal(loss, seen[0].loss.mean())
    if not isinstance(plain, list | tuple):
        assert isinstance(out, type(plain))
    assert not hasattr(plain, "loss")  # the model's own class is as it was
    loss.backward()
    assert model.head.weight.grad is not None


class Required(nn.Module):
    """Computes its own loss, and cannot do without labels."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.EmbeddingBag(50, 8), nn.Linear(8, 3)

    def forward(self, ids: Tensor, labels: Tensor) -> Any:
        out = self.head(self.embed(ids))
        return {"loss": F.cross_entropy(out, labels), "logits": out}


class Unasked(Required):
    """Takes them for optional, and fails without."""

    def forward(self, ids: Tensor, labels: Tensor | None = None) -> Any:
        return super().forward(ids, labels)  # type: ignore[arg-type]


class Pair(Required):
    """Returns a tuple that begins with nothing."""

    def forward(self, ids: Tensor, labels: Tensor | None = None) -> Any:
        return None, self.head(self.embed(ids))


@pytest.mark.parametrize("kind", [Required, Unasked, Pair])
@pytest.mark.parametrize("policy", [NoMixup(), AMP(eps=0.1)], ids=lambda p: p.name)
def test_models_that_want_labels_get_them(kind: Any, policy: Policy) -> None:
    model, seen = kind().train(), list[Mixed]()
    step = MixStep(model, policy, site="embed", on_mixed=seen.append)
    for _ in range(2):
        out = step(ids=IDS, labels=Y)
    loss = out[0] if isinstance(out, tuple) else out["loss"]
    assert torch.equal(loss, seen[-1].loss.mean())
    with step.attached():
        model(IDS, labels=Y)
    assert len(seen) == 3


def test_labels_in_a_column_are_class_indices() -> None:
    model = Two().train()
    step = MixStep(model, NoMixup())
    assert torch.equal(step(IDS, labels=Y[:, None])["loss"], step(IDS, labels=Y)["loss"])


def test_without_gradients_and_labels_it_is_the_model() -> None:
    """As when the statistics of BatchNorm are updated for averaged weights."""
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))
    x = torch.randn(16, 4)
    step = MixStep(model, Mixup(), site="0")
    torch.optim.swa_utils.update_bn([(x,)], step)
    mean = model[0](x).mean(0)
    torch.testing.assert_close(model[1].running_mean, mean)
