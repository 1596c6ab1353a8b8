"""Fine-tuned BERTs with an axis of seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor

from ampmix._torch.generators import Ragged
from ampmix.backbones.base import Cut, Stacking
from ampmix.backbones.encoder_pooling import means
from ampmix.backbones.stacked.head import StackedClassify, affine, dropout_scales, looked_up
from ampmix.mixing.heads import Head

_EMBEDDINGS = ("word_embeddings", "position_embeddings", "token_type_embeddings")
_LINEAR = ("attention.self.query", "attention.self.key", "attention.self.value",
           "attention.output.dense", "intermediate.dense", "output.dense")  # fmt: skip
_NORMS = ("attention.output.LayerNorm", "output.LayerNorm")


@dataclass(frozen=True)
class StackedBert(Stacking):
    """BERTs with an axis of seeds, written out: every product is one of all seeds.

    What one of them computes is what transformers' own model does, of the same weights. Which
    numbers the body's dropout zeroes differs: transformers draws from PyTorch's global generator,
    which has no axis of seeds, and here each seed draws from its own.

    Args:
        layers, heads, eps, act: of the model's configuration; `act` between the two layers of the
            feed-forward network.
        pooling: ``head`` or ``mean``.
        dropout: share of the last layer's input.
        hidden_dropout, attention_dropout: shares of the body's.
        padding: the token whose embedding does not train.

    One model alone is trained as transformers computes it: attention is written out here, whose
    memory grows with the square of the length, and what recorded steps gain was not measured.
    """

    pays_for_one: ClassVar[bool] = False
    layers: int
    heads: int
    eps: float
    act: Callable[[Tensor], Tensor]
    pooling: str
    dropout: float
    hidden_dropout: float
    attention_dropout: float
    padding: int

    @classmethod
    def of(cls, config: Any, pooling: str, dropout: float) -> StackedBert | None:
        """Make it of a model's configuration; None for other architectures than BERT's."""
        if (
            config.model_type != "bert"
            or config.is_decoder
            or not isinstance(config.hidden_act, str)
        ):
            return None
        from transformers.activations import ACT2FN

        return cls(
            layers=config.num_hidden_layers,
            heads=config.num_attention_heads,
            eps=config.layer_norm_eps,
            act=ACT2FN[config.hidden_act],
            pooling=pooling,
            dropout=dropout,
            hidden_dropout=config.hidden_dropout_prob,
            attention_dropout=config.attention_probs_dropout_prob,
            padding=config.pad_token_id,
        )

    @property
    def weights(self) -> tuple[str, ...]:
        """See :attr:`Stacking.weights`."""
        parts = [f"embeddings.{name}.weight" for name in _EMBEDDINGS]
        named = ["embeddings.LayerNorm"]
        for i in range(self.layers):
            named += [f"encoder.layer.{i}.{name}" for name in (*_LINEAR, *_NORMS)]
        named += ["pooler.dense"] if self.pooling == "head" else []
        parts += [f"{name}.{kind}" for name in named for kind in ("weight", "bias")]
        return (*(self._prefix + part for part in parts), "output.weight", "output.bias")

    @property
    def _prefix(self) -> str:
        return "body.bert." if self.pooling == "head" else "body."

    def cut(
        self,
        weights: Mapping[str, Tensor],
        inputs: Tensor,
        mask: Tensor,
        site: str | None,
        dropout: Ragged,
    ) -> Cut:
        """See :meth:`Stacking.cut`."""
        classify = StackedClassify.of(weights, inputs.shape[1], self.dropout, dropout)
        body = _Body(self, weights, _Drops(dropout))
        words = body.words(inputs)
        if site in ("word", "embedding"):
            return _Rest(body, classify, None), (words, mask)
        if site in (None, "sent"):
            return classify, (body.features(words, mask),)
        at = int(site.removeprefix("layer."))
        hidden = body.run(body.embedded(words), mask, 0, at)
        unread = mask.shape[2] - hidden.shape[2]  # after the last layer
        hidden = F.pad(hidden, (0, 0, 0, unread)).masked_fill(~mask.unsqueeze(-1), 0.0)
        return _Rest(body, classify, at), (hidden, mask)


@dataclass(frozen=True, eq=False)
class _Drops:
    """Dropout masks of the body, drawn where they are first asked for and then the same."""

    dropout: Ragged
    drawn: dict[str, Tensor | None] = field(default_factory=dict)

    def __call__(self, name: str, x: Tensor, p: float) -> Tensor:
        """Values ``[S, B, ...]`` of which a share p is zero and the rest larger."""
        if name not in self.drawn:
            self.drawn[name] = dropout_scales(x, p, self.dropout)
        scale = self.drawn[name]
        return x if scale is None else x * scale


@dataclass(frozen=True, eq=False)
class _Body:
    """The layers below the last one, of S models."""

    form: StackedBert
    weights: Mapping[str, Tensor]
    drops: _Drops

    def redrawn(self) -> _Body:
        return replace(self, drops=_Drops(self.drops.dropout))

    def words(self, ids: Tensor) -> Tensor:
        """Embedded words ``[S, B, L, d]``; padding gives its row no gradient."""
        found = looked_up(self._own("embeddings.word_embeddings.weight"), ids)
        return found.where((ids != self.form.padding).unsqueeze(-1), found.detach())

    def embedded(self, words: Tensor) -> Tensor:
        """Return what the first layer reads, ``[S, B, L, d]``."""
        places = self._own("embeddings.position_embeddings.weight")[:, None, : words.shape[2]]
        kinds = self._own("embeddings.token_type_embeddings.weight")[:, None, :1]
        x = self._norm("embeddings.LayerNorm", words + kinds + places)
        return self.drops("embeddings", x, self.form.hidden_dropout)

    def features(self, words: Tensor, mask: Tensor) -> Tensor:
        """Return what the last layer reads, ``[S, B, d]``."""
        return self.pooled(self.run(self.embedded(words), mask), mask)

    def pooled(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """See :func:`ampmix.backbones.encoder_pooling.pooled`."""
        if self.form.pooling == "head":
            return self._linear("pooler.dense", hidden[:, :, 0]).tanh()
        return means([hidden], mask)

    def run(self, hidden: Tensor, mask: Tensor, at: int = 0, stop: int | None = None) -> Tensor:
        """Hidden states after layer `stop` of those after layer `at`, ``[S, B, L, d]``.

        Of the last layer, where the head reads no more, those of the first token alone.
        """
        last = self.form.layers
        for i in range(at, last if stop is None else stop):
            short = i == last - 1 and self.form.pooling == "head"
            hidden = self._layer(f"encoder.layer.{i}.", hidden, mask, short)
        return hidden

    def _layer(self, name: str, hidden: Tensor, mask: Tensor, short: bool) -> Tensor:
        form, own = self.form, hidden[:, :, :1] if short else hidden
        attended = self._attend(name, own, hidden, mask)
        x = self._linear(f"{name}attention.output.dense", attended)
        x = self.drops(f"{name}attention", x, form.hidden_dropout)
        x = self._norm(f"{name}attention.output.LayerNorm", x + own)
        y = self._linear(
            f"{name}output.dense", form.act(self._linear(f"{name}intermediate.dense", x))
        )
        y = self.drops(f"{name}output", y, form.hidden_dropout)
        return self._norm(f"{name}output.LayerNorm", y + x)

    def _attend(self, name: str, own: Tensor, hidden: Tensor, mask: Tensor) -> Tensor:
        """Attention of `own` tokens to all, ``[S, B, l, d]``; all texts are one batch."""
        heads = self.form.heads

        def split(part: str, x: Tensor) -> Tensor:
            made = self._linear(f"{name}attention.self.{part}", x)
            return made.view(*x.shape[:3], heads, -1).flatten(0, 1).transpose(1, 2)

        q, k, v = split("query", own), split("key", hidden), split("value", hidden)
        there = mask.flatten(0, 1)[:, None, None]
        if (p := self.form.attention_dropout) == 0.0:
            made = F.scaled_dot_product_attention(q, k, v, attn_mask=there)
        else:
            scores = (q @ k.mT * q.shape[-1] ** -0.5).masked_fill(~there, float("-inf"))
            shares = scores.softmax(-1).view(*mask.shape[:2], *scores.shape[1:])
            made = self.drops(f"{name}shares", shares, p).flatten(0, 1).to(v.dtype) @ v
        return made.transpose(1, 2).reshape(*own.shape[:3], -1)

    def _own(self, name: str) -> Tensor:
        return self.weights[self.form._prefix + name]

    def _linear(self, name: str, x: Tensor) -> Tensor:
        return affine(x, self._own(f"{name}.weight").mT, self._own(f"{name}.bias"))

    def _norm(self, name: str, x: Tensor) -> Tensor:
        weight, bias = (self._own(f"{name}.{kind}")[:, None, None] for kind in ("weight", "bias"))
        return F.layer_norm(x, x.shape[-1:], eps=self.form.eps) * weight + bias


@dataclass(frozen=True, eq=False)
class _Rest(Head):
    """All that is above embedded words (`at` None) or layer `at`, of S models."""

    body: _Body
    classify: StackedClassify
    at: int | None

    def redrawn(self) -> _Rest:
        """See :meth:`ampmix.mixing.heads.Head.redrawn`."""
        return replace(self, body=self.body.redrawn(), classify=self.classify.redrawn())

    def __call__(self, hidden: Tensor, mask: Tensor) -> Tensor:
        body = self.body
        if self.at is None:
            return self.classify(body.features(hidden, mask))
        return self.classify(body.pooled(body.run(hidden, mask, self.at), mask))
