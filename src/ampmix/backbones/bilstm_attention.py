"""A bidirectional LSTM whose states are pooled by attention."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ampmix._torch.matmul import linear
from ampmix.backbones.base import Cut, CutModule, Stacking
from ampmix.backbones.heads import Classify
from ampmix.backbones.recurrence import _Recurrence
from ampmix.backbones.stacked.bilstm_attention import StackedBiLSTM
from ampmix.backbones.words import WordBackbone, distinct, hold_embedding
from ampmix.errors import AmpmixError
from ampmix.mixing.heads import Head
from ampmix.text.reader import Reader

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
        vectors, tuned, oov: see :class:`~ampmix.backbones.words.WordBackbone`.

    Sites: ``word`` mixes word embeddings, where it is cheap; ``embedding`` hands out the embeddings
    themselves; ``sent`` mixes the features, before dropout. Two texts mixed by their words have
    those of the longer: both directions run over all of them.

    Departures from the authors' released code: one layer as the paper says, not two; padding gets
    no attention.

    Raises:
        AmpmixError: for sizes below 1, an odd hidden size or a dropout outside [0, 1).

    >>> from ampmix.text.reader import WordReader
    >>> reader = WordReader.of_texts(["what is a film ?"], "words")
    >>> model = BiLSTMAttention(hidden_size=8).build(reader, 6, torch.Generator().manual_seed(0))
    >>> model(torch.tensor([[4, 3, 2]]), torch.ones(1, 3, dtype=torch.bool)).shape
    torch.Size([1, 6])
    """

    name: ClassVar[str] = "bilstm"
    described: ClassVar[str] = "the BiLSTM"
    rank: ClassVar[int] = 1
    sites: ClassVar[tuple[str, ...]] = ("embedding", "word", "sent")
    printed_as: ClassVar[str] = "rnn-rand"
    tiny: ClassVar[Mapping[str, Any]] = {"embedding_dim": 8, "hidden_size": 8}
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
    def stacking(self) -> Stacking:
        """All weights have an axis of seeds."""
        return StackedBiLSTM(self.dropout)

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
        """Return the model with PyTorch's own LSTM, for which ONNX has an operation."""
        return _PlainBiLSTM(self)

    def _cut(self, ids: Tensor, mask: Tensor, site: str, generator: torch.Generator | None) -> Cut:
        like = self.bias.new_empty(()).expand(ids.shape[0], self.config.hidden_size)
        classify = Classify.of(self.output, like, self.config.dropout, self.training, generator)
        attend = _Attend(self.recurrent, self.attention)
        if site == "embedding":
            f = _ProjectAndAttend(self.inputs, self.bias, _AttendAndClassify(attend, classify))
            return f, (F.embedding(ids, self.embedding, padding_idx=0), mask)
        x = self._project(ids)
        if site == "sent":
            return classify, (attend(x, mask),)
        return _AttendAndClassify(attend, classify), (x, mask)

    def _project(self, ids: Tensor) -> Tensor:
        """Project the words onto the gates of both directions, ``[B, L, 8n]``.

        This is affine in the embeddings, and mixing commutes with affine maps, so that mixing here
        is mixing word embeddings (see :meth:`TextCNNModule._convolve`). Each DISTINCT word of the
        batch is projected once.
        """
        words, inverse = distinct(ids)
        vectors = F.embedding(words, self.embedding, padding_idx=0)
        return F.embedding(inverse, linear(vectors, self.inputs.t(), self.bias))


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
class _AttendAndClassify(Head):
    """f after the ``word`` site."""

    attend: _Attend
    classify: Classify

    def __call__(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.classify(self.attend(x, mask))


@dataclass(frozen=True)
class _ProjectAndAttend(Head):
    """f after the ``embedding`` site: the projection of every word, then the ``word`` site's f."""

    inputs: Tensor
    bias: Tensor
    attend: _AttendAndClassify

    def __call__(self, words: Tensor, mask: Tensor) -> Tensor:
        return self.attend(linear(words, self.inputs.t(), self.bias), mask)


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
