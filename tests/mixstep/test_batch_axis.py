"""Which axis of the hidden states counts examples: found by trial, or said by batch_dim=."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ampmix
from ampmix import AMP, AmpmixError, Mixed, MixStep, Mixup

B = 8


class Recurrent(nn.Module):
    """Sequence first, as PyTorch's own layers are by default."""

    def __init__(self, kind: type = nn.LSTM) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.rnn, self.head = nn.Embedding(60, 8), kind(8, 8), nn.Linear(8, 4)

    def rest(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x)[0][-1])  # type: ignore[no-any-return]

    def forward(self, ids: Tensor) -> Tensor:
        return self.rest(self.embed(ids.t()))


class Attentive(Recurrent):
    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0)
        self.rnn = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)  # type: ignore[assignment]

    def rest(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x).mean(0))  # type: ignore[no-any-return]


class SequenceFirstInputs(Recurrent):
    def forward(self, ids: Tensor) -> Tensor:
        return self.rest(self.embed(ids))


MODELS = [
    lambda: Recurrent(nn.LSTM),
    lambda: Recurrent(nn.GRU),
    Attentive,
    SequenceFirstInputs,
]


@pytest.mark.parametrize("make", MODELS, ids=["LSTM", "GRU", "Transformer", "inputs"])
@pytest.mark.parametrize("tokens", [B, 5])
@pytest.mark.parametrize("batch_dim", [None, 1])
def test_texts_are_mixed_with_texts(make: Any, tokens: int, batch_dim: int | None) -> None:
    """Also where there are as many tokens as texts, so that shapes do not tell."""
    model, seen = make().double().train(), list[Mixed]()
    ids = torch.randint(60, (B, tokens), generator=torch.Generator().manual_seed(1))
    given = ids.t() if isinstance(model, SequenceFirstInputs) else ids
    step = MixStep(model, Mixup(), site="embed", batch_dim=batch_dim, on_mixed=seen.append)
    y = torch.arange(B) % 4
    for _ in range(2):
        out = step(given, labels=y)
        out.loss.backward()
    lam, perm, x = seen[-1].lam.double()[None, :, None], seen[-1].perm, model.embed(ids.t())
    expected = model.rest(lam * x + (1 - lam) * x[:, perm])
    torch.testing.assert_close(out.logits, expected)
    row = ampmix.sites(model, given)[0]
    assert row.path == "embed"
    assert row.whole


def test_without_a_trial_the_axis_is_the_one_given() -> None:
    """A batch of one shows nothing."""
    model = Recurrent().train()
    ids, y = torch.randint(60, (1, 5)), torch.zeros(1, dtype=torch.long)
    with pytest.raises(AmpmixError, match=r"does not begin with the batch's 1 .*batch_dim="):
        MixStep(model, Mixup(), site="embed")(ids, labels=y)
    assert MixStep(model, Mixup(), site="embed", batch_dim=1)(ids, labels=y).loss.isfinite()
    with pytest.raises(AmpmixError, match=r"does not have at axis 0 the batch's 8"):
        MixStep(model, Mixup(), site="embed", batch_dim=0)(
            torch.randint(60, (8, 8)), labels=torch.arange(8) % 4
        )


@pytest.mark.parametrize("site", ["word", "transformer.layer.0"])
@pytest.mark.parametrize("tokens", [6, 7])
def test_xlnet_is_mixed_at_word_and_its_layers(site: str, tokens: int) -> None:
    pytest.importorskip("transformers")
    import tiny_families as tiny

    model, seen = tiny.build("XLNet"), list[Mixed]()
    inputs = tiny.batch(model, (tokens,) * 6)
    step = MixStep(model, AMP(eps=0.0), site=site, on_mixed=seen.append)
    out = step(**inputs)["logits"]
    module, given = model.get_submodule(step.cut.site.path), list[Tensor]()  # type: ignore[union-attr]

    def first(x: Any) -> Tensor:
        return x if isinstance(x, Tensor) else x[0]  # type: ignore[no-any-return]

    hook = module.register_forward_hook(lambda m, a, o: given.append(first(o)))
    model(**inputs)
    hook.remove()
    axis = 0 if site == "word" and given[0].shape[0] == 6 and tokens != 6 else 1
    lam, perm = seen[0].lam.double()[:, None], seen[0].perm
    lam = lam[None] if axis else lam[:, None]
    mixed = lam * given[0] + (1 - lam) * given[0].index_select(axis, perm)
    hook = module.register_forward_hook(
        lambda m, a, o: mixed if isinstance(o, Tensor) else (mixed, *o[1:])
    )
    expected = model(**inputs)["logits"]
    hook.remove()
    torch.testing.assert_close(out, expected)
    losses = F.cross_entropy(out, inputs["labels"], reduction="none")
    assert losses.isfinite().all()
