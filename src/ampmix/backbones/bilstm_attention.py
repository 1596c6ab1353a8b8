"""A bidirectional LSTM whose states are pooled by attention."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ampmix.backbones._backbone import Classify, Cut, CutModule, StackedClassify, dropout_scale
from ampmix.backbones._words import (
    WordBackbone,
    affine,
    distinct,
    hold_embedding,
    stacked_words,
)
from ampmix.errors import AmpmixError
from ampmix.gradients import wanted
from ampmix.matmul import add_products_, linear, sum_of_products
from ampmix.mixing import Ragged
from ampmix.text import Reader

ROOM = 2**25
"""Numbers that the projected words of texts may take while predicting (128 MiB in float32)."""


@dataclass(frozen=True)
class BiLSTMAttention(WordBackbone):
    """One bidirectional LSTM layer with attention, sized as in Section 4.2 of the AMP paper.

    ``alpha = softmax(w . tanh(H))`` over the words of the text, ``features = tanh(H alpha)``,
    dropout, a linear layer; H holds both directions' states side by side. The paper cites Wang et
    al. (EMNLP 2016), whose attention is to an aspect that plain sentences lack; without it theirs
    becomes this, the form of Zhou et al. (ACL 2016), who add the directions up instead.

    Args:
        embedding_dim: width of the word embeddings.
        hidden_size: units of both directions together, even.
        dropout: share of the features dropped while training, in [0, 1).
        vectors, tuned, oov: see :class:`~ampmix.backbones._words.WordBackbone`.

    Sites: ``word`` mixes word embeddings, where it is cheap; ``embedding`` hands out the embeddings
    themselves; ``sent`` mixes the features, before dropout. Two texts mixed by their words have
    those of the longer: both directions run over all of them.

    Departures from the authors' released code: one layer as the paper says, not two; padding gets
    no attention.

    Raises:
        AmpmixError: for sizes below 1, an odd hidden size or a dropout outside [0, 1).

    >>> from ampmix.text import WordReader
    >>> reader = WordReader.of_texts(["what is a film ?"], "words")
    >>> model = BiLSTMAttention(hidden_size=8).build(reader, 6, torch.Generator().manual_seed(0))
    >>> model(torch.tensor([[4, 3, 2]]), torch.ones(1, 3, dtype=torch.bool)).shape
    torch.Size([1, 6])
    """

    name: ClassVar[str] = "bilstm"
    rank: ClassVar[int] = 1
    sites: ClassVar[tuple[str, ...]] = ("embedding", "word", "sent")
    printed_as: ClassVar[str] = "rnn-rand"
    embedding_dim: int = 300
    hidden_size: int = 1024
    dropout: float = 0.5
    vectors: str = ""
    tuned: bool = True
    oov: str = "random"

    def __post_init__(self) -> None:
        if min(self.embedding_dim, self.hidden_size) < 1:
            raise AmpmixError(f"{self}: every size must be 1 or more")
        if self.hidden_size % 2:
            raise AmpmixError(f"hidden_size is {self.hidden_size}: both directions share it evenly")
        if not 0 <= self.dropout < 1:
            raise AmpmixError(f"dropout is {self.dropout}: it must be in [0, 1)")
        self.check_words()

    @property
    def stacked(self) -> tuple[str, ...]:
        """All weights."""
        own = ("embedding", "inputs", "bias", "recurrent", "attention")
        return (*own, "output.weight", "output.bias")

    def build(self, reader: Reader, classes: int, generator: torch.Generator) -> CutModule:
        """The module; embeddings from U(-0.25, 0.25) or vectors, the rest as PyTorch's layers."""
        config, embedding = self.start(reader, generator)
        return BiLSTMAttentionModule(config, embedding, classes, generator)

    def shapes(self, words: int, classes: int) -> dict[str, tuple[int, ...]]:
        """See :meth:`Backbone.shapes`."""
        n = self.hidden_size // 2
        return {
            "embedding": (words, self.embedding_dim),
            "inputs": (self.embedding_dim, 8 * n),
            "bias": (8 * n,),
            "recurrent": (2, n, 4 * n),
            "attention": (2 * n,),
            "output.weight": (classes, 2 * n),
            "output.bias": (classes,),
        }


class BiLSTMAttentionModule(CutModule):
    """The trainable network; n is the hidden size of one direction.

    Parameters: ``embedding [V, d]`` (row 0 is padding and stays zero); ``inputs [d, 8n]`` and
    ``bias [8n]``, the forward direction's gates before the backward one's; ``recurrent [2, n,
    4n]``; ``attention [2n]``; ``output``. The gates of a direction are input, forget, output,
    candidate. There is one bias where PyTorch has two, which only ever appear as their sum.
    """

    config: BiLSTMAttention
    embedding: Tensor

    def __init__(
        self, config: BiLSTMAttention, embedding: Tensor, classes: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.config = config
        n = config.hidden_size // 2

        def uniform(fan: int, *shape: int) -> nn.Parameter:
            values, bound = torch.empty(*shape), fan**-0.5
            return nn.Parameter(values.uniform_(-bound, bound, generator=generator))

        hold_embedding(self, embedding, config.tuned)
        self.inputs = uniform(n, config.embedding_dim, 8 * n)
        self.bias = uniform(n, 8 * n)
        self.recurrent = uniform(n, 2, n, 4 * n)
        self.attention = uniform(2 * n, 2 * n)
        self.output = nn.Linear(2 * n, classes, device="meta")  # its weights are ours
        self.output.weight = uniform(2 * n, classes, 2 * n)
        self.output.bias = uniform(2 * n, classes)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Logits ``[B, C]``; without a graph, of as many texts at once as ``ROOM`` allows."""
        texts = max(1, ROOM // (max(ids.shape[1], 1) * len(self.bias)))
        if torch.is_grad_enabled() or texts >= len(ids):
            return super().forward(ids, mask)
        parts = zip(ids.split(texts), mask.split(texts), strict=True)  # type: ignore[no-untyped-call]
        return torch.cat([super(BiLSTMAttentionModule, self).forward(*part) for part in parts])

    def exportable(self) -> nn.Module:
        """The same in PyTorch's own LSTM, which ONNX has an operation for."""
        return _PlainBiLSTM(self)

    def _cut(self, ids: Tensor, mask: Tensor, site: str, generator: torch.Generator | None) -> Cut:
        like = self.bias.new_empty(()).expand(ids.shape[0], self.config.hidden_size)
        scale = dropout_scale(like, self.config.dropout, self.training, generator)
        attend, classify = _Attend(self.recurrent, self.attention), Classify(self.output, scale)
        if site == "embedding":
            f = _ProjectAndAttend(self.inputs, self.bias, _AttendAndClassify(attend, classify))
            return f, (F.embedding(ids, self.embedding, padding_idx=0), mask)
        x = self._project(ids)
        if site == "sent":
            return classify, (attend(x, mask),)
        return _AttendAndClassify(attend, classify), (x, mask)

    def _project(self, ids: Tensor) -> Tensor:
        """What the words add to the gates of both directions, ``[B, L, 8n]``.

        This is affine in the embeddings, and mixing commutes with affine maps, so that mixing here
        is mixing word embeddings (see :meth:`TextCNNModule._convolve`). Each DISTINCT word of the
        batch is projected once.
        """
        words, inverse = distinct(ids)
        vectors = F.embedding(words, self.embedding, padding_idx=0)
        return F.embedding(inverse, linear(vectors, self.inputs.t(), self.bias))

    def stacked_cut(
        self,
        weights: Mapping[str, Tensor],
        inputs: Tensor,
        mask: Tensor,
        site: str | None,
        dropout: Ragged,
    ) -> Cut:
        """See :meth:`CutModule.stacked_cut`; all directions of all seeds take a step at once."""
        classify = StackedClassify.of(weights, inputs.shape[1], self.config.dropout, dropout)
        attend = _StackedAttend(weights["recurrent"], weights["attention"])
        project = _StackedProject(weights["inputs"], weights["bias"], attend, classify)
        words = stacked_words(weights["embedding"], inputs)
        if site == "embedding":
            return project, (words, mask)
        x = affine(words, project.inputs, project.bias)
        if site == "word":
            return _StackedRest(attend, classify), (x, mask)
        return classify, (attend(x, mask),)


@dataclass(frozen=True)
class _Attend:
    """From the projected words to the features: recurrence, attention, tanh."""

    recurrent: Tensor
    attention: Tensor

    def __call__(self, x: Tensor, mask: Tensor) -> Tensor:
        """Features ``[B, 2n]`` of projected words ``[B, L, 8n]``; mask ``[B, L]``."""
        # a view, for the recurrence to ask whether its gradient is wanted: leaves cannot be asked
        recurrent = self.recurrent.to(x.dtype).view_as(self.recurrent)
        states: Tensor = _Recurrence.apply(x, recurrent, mask)  # type: ignore[no-untyped-call]
        scores = states.tanh() @ self.attention.to(x.dtype)
        alpha = scores.masked_fill(~mask, float("-inf")).softmax(-1)
        return torch.bmm(alpha.unsqueeze(1).to(x.dtype), states).squeeze(1).tanh()


@dataclass(frozen=True)
class _AttendAndClassify:
    """f after the ``word`` site."""

    attend: _Attend
    classify: Classify

    def __call__(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.classify(self.attend(x, mask))


@dataclass(frozen=True)
class _ProjectAndAttend:
    """f after the ``embedding`` site: the projection of every word, then the ``word`` site's f."""

    inputs: Tensor
    bias: Tensor
    attend: _AttendAndClassify

    def __call__(self, words: Tensor, mask: Tensor) -> Tensor:
        return self.attend(linear(words, self.inputs.t(), self.bias), mask)


@dataclass(frozen=True)
class _StackedAttend:
    """:class:`_Attend` of S models: ``[S, B, 2n]`` of ``[S, B, L, 8n]`` and mask ``[S, B, L]``."""

    recurrent: Tensor
    attention: Tensor

    def __call__(self, x: Tensor, mask: Tensor) -> Tensor:
        recurrent = self.recurrent.view_as(self.recurrent)
        states: Tensor = _Recurrence.apply(x, recurrent, mask)  # type: ignore[no-untyped-call]
        scores = states.tanh().flatten(1, 2) @ self.attention.unsqueeze(-1)
        alpha = scores.view(mask.shape).masked_fill(~mask, float("-inf")).softmax(-1)
        return (alpha.unsqueeze(-2) @ states).squeeze(-2).tanh()


@dataclass(frozen=True)
class _StackedRest:
    """:class:`_AttendAndClassify` of S models."""

    attend: _StackedAttend
    classify: StackedClassify

    def __call__(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.classify(self.attend(x, mask))


@dataclass(frozen=True)
class _StackedProject:
    """:class:`_ProjectAndAttend` of S models; inputs ``[S, d, 8n]``, bias ``[S, 8n]``."""

    inputs: Tensor
    bias: Tensor
    attend: _StackedAttend
    classify: StackedClassify

    def __call__(self, words: Tensor, mask: Tensor) -> Tensor:
        return self.classify(self.attend(affine(words, self.inputs, self.bias), mask))


class _PlainBiLSTM(nn.Module):
    """A copy of a BiLSTM in PyTorch's LSTM: of common operations, whatever is exported knows them.

    PyTorch's has no mask. Where there is no word, one more input, 1 there and 0 elsewhere, shuts
    the input and the forget gate, so that the cell is 0 there as in :class:`_Recurrence`.
    """

    SHUT = -1e4
    """Its weight: a sigmoid of that is 0 in every precision."""

    def __init__(self, model: BiLSTMAttentionModule) -> None:
        super().__init__()
        self.embedding, self.output = model.embedding.detach(), model.output
        self.attention = model.attention.detach()
        n, width = model.recurrent.shape[1], model.inputs.shape[0]
        lstm = nn.LSTM(width + 1, n, batch_first=True, bidirectional=True, device="meta")
        shut = model.bias.new_tensor([self.SHUT] * 2 + [0.0] * 2).repeat_interleave(n)
        for i, end in enumerate(("", "_reverse")):
            own = slice(4 * n * i, 4 * n * (i + 1))
            state = {
                "weight_ih": torch.column_stack([_reordered(model.inputs[:, own].T), shut]),
                "weight_hh": _reordered(model.recurrent[i].T),
                "bias_ih": _reordered(model.bias[own]),
                "bias_hh": torch.zeros_like(model.bias[own]),
            }
            for name, value in state.items():
                setattr(lstm, f"{name}_l0{end}", nn.Parameter(value.detach().contiguous()))
        self.lstm = lstm

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Logits ``[B, C]`` of token ids and mask ``[B, L]``."""
        vectors = F.embedding(ids, self.embedding)
        absent = (~mask).unsqueeze(-1).to(vectors.dtype)
        states, _ = self.lstm(torch.cat([vectors, absent], dim=-1))
        scores = states.tanh() @ self.attention
        alpha = scores.masked_fill(~mask, float("-inf")).softmax(-1)
        features = (alpha.unsqueeze(1) @ states).squeeze(1).tanh()
        logits: Tensor = self.output(features)
        return logits


def _reordered(gates: Tensor) -> Tensor:
    """Rows of our gates (input, forget, output, candidate) in PyTorch's order."""
    i, f, o, candidate = gates.chunk(4)
    return torch.cat([i, f, candidate, o])


class _Recurrence(torch.autograd.Function):
    """The LSTM's states ``[B, L, 2n]`` from projected words ``[B, L, 8n]``, both directions.

    Or of S models at once, whose directions all step together: ``[S, B, L, 2n]`` from
    ``[S, B, L, 8n]``, recurrent ``[S, 2, n, 4n]`` and mask ``[S, B, L]``.

    Written out for two reasons: both directions take each step in one batched product, and the
    gradient of the recurrent weights is one product over all steps, and none at all where it is
    not wanted, as for the gradient of lam.

    Step t of the forward direction is at word t, of the backward one at word L - 1 - t. Where the
    mask is false the cell is set to zero, so that the backward direction begins at each text's own
    last word; the forward one has no word left there.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, recurrent: Tensor, mask: Tensor) -> Tensor:
        here = _by_step(torch.stack([mask, mask], dim=-1)).to(x.dtype)
        gates, ctx.shape = _by_step(x), recurrent.shape
        recurrent = recurrent.flatten(0, -3)
        (length, directions, batch, _), n = gates.shape, recurrent.shape[1]
        cells = x.new_zeros(length + 1, directions, batch, n)
        states = x.new_zeros(length + 1, directions, batch, n)
        with torch.autocast(x.device.type, enabled=False):
            for t in range(length):
                gate = add_products_(gates[t], states[t], recurrent)
                gate[..., : 3 * n].sigmoid_()
                gate[..., 3 * n :].tanh_()
                i, f, o, candidate = gate.chunk(4, dim=-1)
                torch.mul(f, cells[t], out=cells[t + 1])
                cells[t + 1].addcmul_(i, candidate).mul_(here[t])
                torch.tanh(cells[t + 1], out=states[t + 1]).mul_(o)
        ctx.save_for_backward(recurrent, here, gates, cells, states)
        return _by_word(states[1:], x.shape[:-3])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None, None]:
        recurrent, here, gates, cells, states = ctx.saved_tensors
        length = len(gates)
        arriving, back = _by_step(grads[0]), recurrent.transpose(1, 2)
        grad_gates = torch.empty_like(gates)
        grad_cell = torch.zeros_like(cells[0])
        with torch.autocast(recurrent.device.type, enabled=False):
            for t in reversed(range(length)):
                grad_state = arriving[t]
                if t + 1 < length:
                    add_products_(grad_state, grad_gates[t + 1], back)
                i, f, o, candidate = gates[t].chunk(4, dim=-1)
                grad_i, grad_f, grad_o, grad_candidate = grad_gates[t].chunk(4, dim=-1)
                seen = cells[t + 1].tanh()
                grad_cell.addcmul_(grad_state * o, 1 - seen * seen).mul_(here[t])
                torch.mul(grad_state * seen, o * (1 - o), out=grad_o)
                torch.mul(grad_cell * candidate, i * (1 - i), out=grad_i)
                torch.mul(grad_cell * cells[t], f * (1 - f), out=grad_f)
                torch.mul(grad_cell * i, 1 - candidate * candidate, out=grad_candidate)
                grad_cell.mul_(f)
            grad_recurrent = None
            if wanted(ctx, 1):
                grad_recurrent = sum_of_products(states[:-1], grad_gates).view(ctx.shape)
        return _by_word(grad_gates, ctx.shape[:-3]), grad_recurrent, None


def _by_step(x: Tensor) -> Tensor:
    """``[B, L, 2m]`` as ``[L, 2, B, m]``, the second half of the columns from last to first.

    ``[S, B, L, 2m]`` as ``[L, 2S, B, m]``, the directions of a model one after the other.
    """
    first, second = x.movedim(-2, 0).chunk(2, dim=-1)
    return torch.stack([first, second.flip(0)], dim=-3).flatten(1, -3)


def _by_word(x: Tensor, seeds: torch.Size) -> Tensor:
    """The inverse of :func:`_by_step`, where there was an axis of `seeds` or none."""
    x = x.reshape(len(x), *seeds, 2, *x.shape[2:])
    both = torch.cat([x.select(-3, 0), x.select(-3, 1).flip(0)], dim=-1)
    return both.movedim(0, -2).contiguous()
