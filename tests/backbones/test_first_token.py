"""The last layer run for the first token alone, beside transformers' own, which runs for all."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ampmix.backbones.encoder import MiniLM
from ampmix.backbones.encoder_module import EncoderModule
from ampmix.backbones.first_token import KINDS, FirstToken
from built_encoders import batch, built, rng
from tiny_encoders import LAYERED, LIKE_BERT, PADDED_BY_1

SITES = ["word", "layer.1", "layer.2", "layer.3", "sent"]
every_kind = pytest.mark.parametrize("kind", sorted(LIKE_BERT))


def batch_of(kind: str) -> tuple[Tensor, Tensor, Tensor]:
    return batch(padding=int(f"deep {kind}" in PADDED_BY_1))


def whole(model: EncoderModule, ids: Tensor, mask: Tensor) -> Tensor:
    """Logits by one call of transformers' own model."""
    words = model.body.get_input_embeddings()(ids)
    made = model.body(inputs_embeds=words, attention_mask=mask.long())
    return model.output(made.logits)  # type: ignore[no-any-return]


def gradients(model: EncoderModule, logits: Tensor, y: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    F.cross_entropy(logits, y).backward()  # type: ignore[no-untyped-call]
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def calls_of(monkeypatch: pytest.MonkeyPatch) -> list[torch.Size]:
    """The shapes that the short layer is given from here on."""
    shapes: list[torch.Size] = []
    own = FirstToken.forward

    def noted(self: FirstToken, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Any:
        shapes.append(hidden_states.shape)
        return own(self, hidden_states, *args, **kwargs)

    monkeypatch.setattr(FirstToken, "forward", noted)
    return shapes


def test_every_kind_that_is_run_so_is_tested_here() -> None:
    assert set(LIKE_BERT) == KINDS


@every_kind
@pytest.mark.parametrize("site", SITES)
def test_logits_and_every_gradient_are_those_of_the_whole_model(
    kind: str, site: str, folders: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, (ids, mask, y) = built(folders[f"deep {kind}"]), batch_of(kind)
    shapes = calls_of(monkeypatch)
    f, g = model.cut(ids, mask, site)
    logits = f(*g)
    assert shapes, "the short layer ran"
    expected = whole(model, ids, mask)
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-12)
    own, theirs = gradients(model, logits, y), gradients(model, expected, y)
    assert own.keys() == theirs.keys()
    for name, grad in theirs.items():
        torch.testing.assert_close(own[name], grad, rtol=0, atol=1e-12, msg=name)


@pytest.mark.parametrize("kind", sorted(set(LAYERED) - {f"deep {kind}" for kind in KINDS}))
def test_other_models_run_their_own_last_layer(
    kind: str, folders: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, (ids, mask, _) = built(folders[kind]), batch(padding=int(kind in PADDED_BY_1))
    shapes = calls_of(monkeypatch)
    torch.testing.assert_close(model(ids, mask), whole(model, ids, mask), rtol=0, atol=1e-12)
    assert not shapes


def test_a_head_that_reads_other_tokens_gets_them(
    folders: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers decide, not names: a pooler that reads the last token of a BERT."""
    model, (ids, mask, _) = built(folders["deep bert"]), batch()

    class LastToken(nn.Module):
        def __init__(self, pooler: Any) -> None:
            super().__init__()
            self.dense = pooler.dense

        def forward(self, hidden_states: Tensor) -> Tensor:
            return self.dense(hidden_states[:, -1])  # type: ignore[no-any-return]

    model.body.bert.pooler = LastToken(model.body.bert.pooler)
    torch.testing.assert_close(model(ids, mask), whole(model, ids, mask), rtol=0, atol=1e-12)


@pytest.mark.parametrize("part", ["attention.self.dropout", "attention.output.dropout", "output"])
def test_every_dropout_of_the_layer_drops(part: str, folders: dict[str, str]) -> None:
    model, (ids, mask, _) = built(folders["deep bert"], dropout=0.0), batch()
    for dropout in model.modules():
        if isinstance(dropout, nn.Dropout):
            dropout.p = 0.0
    layer = model.body.bert.encoder.layer[-1]
    own = layer.get_submodule(part)
    (own if isinstance(own, nn.Dropout) else own.dropout).p = 0.5
    model.train()
    f, g = model.cut(ids, mask, "word", generator=rng(3))
    assert torch.equal(f(*g), f(*g)), "f is a function"
    other = f.redrawn()  # type: ignore[attr-defined]
    assert not torch.equal(other(*g), f(*g))
    assert torch.equal(model.eval()(ids, mask), model(ids, mask))


def test_attention_drops_as_often_as_it_says(folders: dict[str, str]) -> None:
    """With p = 0.5 the mean over many draws of the attended values is what is had without."""
    model, (_, mask, _) = built(folders["deep bert"], dropout=0.0), batch()
    layer = model.body.bert.encoder.layer[-1]
    short, hidden = FirstToken(layer, 0), torch.randn(5, 9, 16, dtype=torch.float64)
    for dropout in model.modules():
        if isinstance(dropout, nn.Dropout):
            dropout.p = 0.0
    seen: list[Tensor] = []
    layer.attention.output.dense.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    united = mask[:, None, None, :]
    short.train()(hidden, united)
    layer.attention.self.dropout.p = 0.5
    with torch.no_grad():
        for _ in range(4000):
            short(hidden, united)
    expected, draws = seen[0], torch.stack(seen[1:])
    error = draws.std(0) / len(draws) ** 0.5
    assert ((draws.mean(0) - expected).abs() <= 5 * error + 1e-12).all()
    assert (draws != expected).any()


def test_minilm_reads_one_token_of_real_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = MiniLM()
    reader = backbone.reader([], "words", 128)
    model = backbone.build(reader, 6, rng())
    assert isinstance(model, EncoderModule)
    texts = ["What is an atom ?", "Who was the first man to fly across the Pacific Ocean ?"]
    ids, mask, _ = map(torch.from_numpy, reader.encode(texts).batch([0, 1]))
    shapes = calls_of(monkeypatch)
    with torch.no_grad():
        logits, expected = model(ids, mask), whole(model, ids, mask)
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-6)
    assert shapes[-1] == (*ids.shape, 384)
