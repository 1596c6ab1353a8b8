"""The BiLSTM against torch.nn.LSTM on packed sequences and attention as in a textbook."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from ampmix._support.components import parse, spec
from ampmix.backbones import bilstm_attention, recurrence
from ampmix.backbones.bilstm_attention import BiLSTMAttention, BiLSTMAttentionModule
from ampmix.errors import AmpmixError
from ampmix.policies.amp import AMP
from ampmix.policies.base import Policy
from ampmix.policies.mixup import Mixup
from ampmix.policies.none import NoMixup
from ampmix.text.encoded import Vocabulary
from ampmix.text.reader import WordReader

WORDS, CLASSES, WIDTH, UNITS = 12, 3, 5, 4
SMALL = BiLSTMAttention(WIDTH, 2 * UNITS, dropout=0.0)
VARIANTS = [NoMixup(), Mixup(), AMP(), AMP(eps=0.3), AMP(eps=0.3, min_op=False)]
LENGTHS = ([1], [4, 1, 7], [1, 1, 2, 9, 3, 3], [6, 6])


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def build(config: BiLSTMAttention = SMALL, seed: int = 0) -> BiLSTMAttentionModule:
    """In double precision, with weights large enough that gates are neither open nor shut."""
    reader = WordReader("words", Vocabulary(tuple(f"w{i}" for i in range(WORDS - 2))))
    model: Any = config.build(reader, CLASSES, rng(seed)).double()
    with torch.no_grad():
        model.embedding.mul_(8)
        model.output.weight.mul_(10)
    return model


def batch(lengths: list[int], seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    mask = torch.arange(max(lengths)) < torch.tensor(lengths).unsqueeze(-1)
    ids = torch.randint(1, WORDS, mask.shape, generator=rng(seed)) * mask
    return ids, mask, torch.randint(CLASSES, (len(lengths),), generator=rng(seed))


# --- the textbook ------------------------------------------------------------------------------


def pytorch_lstm(model: BiLSTMAttentionModule) -> tuple[nn.LSTM, dict[str, Tensor]]:
    """PyTorch's LSTM and the model's weights as its own: its gates are i, f, candidate, o."""
    n = model.config.hidden_size // 2
    order = torch.cat([torch.arange(k * n, (k + 1) * n) for k in (0, 1, 3, 2)])
    weights = {}
    for d, suffix in enumerate(("", "_reverse")):
        own = slice(4 * n * d, 4 * n * (d + 1))
        weights[f"weight_ih_l0{suffix}"] = model.inputs[:, own].T[order]
        weights[f"weight_hh_l0{suffix}"] = model.recurrent[d].T[order]
        weights[f"bias_ih_l0{suffix}"] = model.bias[own][order]
        weights[f"bias_hh_l0{suffix}"] = torch.zeros_like(model.bias[own])
    width = model.config.embedding_dim
    return nn.LSTM(width, n, bidirectional=True, batch_first=True).double(), weights


class Packed(nn.Module):
    """Pack, run, unpack, as a forward for functional_call."""

    def __init__(self, lstm: nn.LSTM) -> None:
        super().__init__()
        self.lstm = lstm

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        packed = pack_padded_sequence(x, mask.sum(1), batch_first=True, enforce_sorted=False)
        states, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True)
        return states


def features(model: BiLSTMAttentionModule, embedded: Tensor, mask: Tensor) -> Tensor:
    """Text by text: attention over its own words' states."""
    lstm, weights = pytorch_lstm(model)
    given = {f"lstm.{name}": value for name, value in weights.items()}
    states = torch.func.functional_call(Packed(lstm), given, (embedded, mask))
    rows = []
    for row, length in zip(states, mask.sum(1).tolist(), strict=True):
        h = row[:length].T  # [2n, words], the letters of Zhou et al.
        alpha = (model.attention @ torch.tanh(h)).softmax(0)
        rows.append(torch.tanh(h @ alpha))
    return torch.stack(rows)


def textbook_loss(
    model: BiLSTMAttentionModule,
    policy: Policy,
    site: str,
    inputs: tuple[Tensor, Tensor, Tensor],
    lam: Tensor,
    perm: Tensor,
) -> Tensor:
    """Mix the embeddings (or the features), run everything, by composite autograd."""
    ids, mask, y = inputs
    embedded = model.embedding[ids] * mask.unsqueeze(-1)

    def classify(hidden: Tensor) -> Tensor:
        return hidden @ model.output.weight.T + model.output.bias

    def at(value: Tensor) -> Tensor:
        if site != "sent":
            weight = value[:, None, None]
            both = weight * embedded + (1 - weight) * embedded[perm]
            logits = classify(features(model, both, mask | mask[perm]))
        else:
            own, weight = features(model, embedded, mask), value[:, None]
            logits = classify(weight * own + (1 - weight) * own[perm])
        partner = F.cross_entropy(logits, y[perm], reduction="none")
        return lam * F.cross_entropy(logits, y, reduction="none") + (1 - lam) * partner

    if isinstance(policy, NoMixup):
        return F.cross_entropy(classify(features(model, embedded, mask)), y, reduction="none")
    if not isinstance(policy, AMP):
        return at(lam)
    leaf = lam.clone().requires_grad_()
    (slope,) = torch.autograd.grad(at(leaf).sum(), leaf)
    plain, moved = at(lam), at((lam + policy.eps * slope.clamp(-1, 1)).clamp(0, 1))
    if not policy.min_op:
        return moved
    return torch.where(moved.detach() > plain.detach(), moved, plain)


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_forward_equals_pytorchs_lstm_with_textbook_attention(lengths: list[int]) -> None:
    model = build().eval()
    ids, mask, _ = batch(lengths)
    hidden = features(model, F.embedding(ids, model.embedding), mask)
    expected = hidden @ model.output.weight.T + model.output.bias
    torch.testing.assert_close(model(ids, mask), expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(model.cut(ids, mask, "sent")[1][0], hidden, rtol=0, atol=1e-10)
    as_float = model.float()(ids, mask)
    torch.testing.assert_close(as_float.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("policy", VARIANTS, ids=spec)
@pytest.mark.parametrize("site", SMALL.sites)
@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_mixing_through_the_cut_equals_mixing_in_the_textbook(
    policy: Policy, site: str, lengths: list[int]
) -> None:
    """Loss and the gradient of every parameter; the projected words stand for the words."""
    model, inputs = build(), batch(lengths)
    f, g = model.cut(*inputs[:2], site)
    mixed = policy(f, g, inputs[2], generator=rng(1))
    expected = textbook_loss(model, policy, site, inputs, mixed.lam.double(), mixed.perm)
    torch.testing.assert_close(mixed.loss, expected, rtol=1e-8, atol=1e-8)
    parameters = dict(model.named_parameters())
    mine = torch.autograd.grad(mixed.loss.mean(), list(parameters.values()))
    theirs = torch.autograd.grad(expected.mean(), list(parameters.values()))
    for name, one, other in zip(parameters, mine, theirs, strict=True):
        assert one.any() or lengths == [1], name
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-9, msg=name)


def test_the_paper_sized_model_in_single_precision_agrees_to_1e_5() -> None:
    torch.manual_seed(0)
    reader = WordReader("words", Vocabulary(tuple(f"w{i}" for i in range(WORDS - 2))))
    model: Any = BiLSTMAttention().build(reader, CLASSES, rng()).eval()
    ids, mask, _ = batch([12, 3, 7, 1])
    out = model(ids, mask).detach()
    hidden = features(model.double(), F.embedding(ids, model.embedding), mask)
    expected = hidden @ model.output.weight.T + model.output.bias
    torch.testing.assert_close(out.double(), expected, rtol=1e-5, atol=1e-5)


def test_the_gradient_of_lam_computes_none_of_the_recurrent_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[bool] = []
    wanted = recurrence.wanted

    def watched(*arguments: Any) -> bool:
        asked.append(wanted(*arguments))
        return asked[-1]

    monkeypatch.setattr(recurrence, "wanted", watched)
    model, (ids, mask, y) = build(), batch([4, 1, 7])
    f, g = model.cut(ids, mask, "word")
    loss = AMP(eps=0.1)(f, g, y, generator=rng()).loss
    assert asked == [False]
    loss.mean().backward()
    assert asked == [False, True]  # MinOp kept no row at lam


def test_a_mixed_texts_backward_direction_begins_at_the_longer_texts_last_word() -> None:
    """The partner's last word changes what is seen of the first, though the own text is short."""
    model = build()
    ids, mask, _ = batch([1, 6])
    changed = ids.clone()
    changed[1, 5] = changed[1, 5] % (WORDS - 1) + 1
    outcomes = []
    for given in (ids, changed):
        f, (x, there) = model.cut(given, mask, "word")
        assert not torch.equal(x[0], x[1])
        both = 0.5 * x + 0.5 * x.flip(0)
        outcomes.append(f(both, there | there.flip(0))[0])
    assert not torch.allclose(outcomes[0], outcomes[1])


@pytest.mark.parametrize("room", [1, 7 * 8 * UNITS, 3 * 7 * 8 * UNITS])
def test_predicting_in_parts_gives_the_same(room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model, (ids, mask, _) = build().eval(), batch([4, 1, 7, 2, 3])
    expected, sizes = model(ids, mask), []
    project = BiLSTMAttentionModule._project

    def watched(module: BiLSTMAttentionModule, ids: Tensor) -> Tensor:
        sizes.append(len(ids))
        return project(module, ids)

    monkeypatch.setattr(bilstm_attention, "ROOM", room)
    monkeypatch.setattr(BiLSTMAttentionModule, "_project", watched)
    with torch.inference_mode():
        torch.testing.assert_close(model(ids, mask), expected, rtol=0, atol=1e-12)
    assert max(sizes) == max(1, room // (7 * 8 * UNITS))
    assert sum(sizes) == 5


def test_weights_begin_within_their_usual_bounds() -> None:
    reader = WordReader("words", Vocabulary(tuple(f"w{i}" for i in range(400))))
    model: Any = BiLSTMAttention(embedding_dim=30, hidden_size=100).build(reader, 6, rng())
    assert not model.embedding[0].any()
    bounds = {"embedding": 0.25, "inputs": 50**-0.5, "bias": 50**-0.5, "recurrent": 50**-0.5}
    bounds |= {"attention": 0.1, "output.weight": 0.1}
    for name, bound in bounds.items():
        weight = model.get_parameter(name)
        assert 0.9 * bound < weight.abs().max() <= bound, name
        assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.15), name


def test_defaults_are_the_papers_and_carry_its_name() -> None:
    config = BiLSTMAttention()
    assert (config.embedding_dim, config.hidden_size, config.dropout) == (300, 1024, 0.5)
    assert config.reference_name == "rnn-rand"
    assert BiLSTMAttention(hidden_size=512).reference_name == ""
    assert BiLSTMAttention(vectors="glove.840B.300d").reference_name == "rnn-glove"
    assert BiLSTMAttention(vectors="glove.840B.300d", hidden_size=512).reference_name == ""
    assert BiLSTMAttention(vectors="glove.6B.50d").reference_name == ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("bilstm[hidden_size=7]", "hidden_size is 7"),
        ("bilstm[hidden_size=0]", "1 or more"),
        ("bilstm[embedding_dim=0]", "1 or more"),
        ("bilstm[dropout=1]", "[0, 1)"),
        ("bilstm[oov=keep]", "random or drop"),
        ("bilstm[oov=drop]", "vectors="),
    ],
)
def test_options_that_cannot_be_are_refused(text: str, said: str) -> None:
    with pytest.raises(AmpmixError) as error:
        parse(text, "ampmix.backbones", "backbone")
    assert said in str(error.value)
