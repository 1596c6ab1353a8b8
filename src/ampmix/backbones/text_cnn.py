"""TextCNN: one convolution over word embeddings, max-pooled over time (Kim, EMNLP 2014)."""

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
from ampmix.backbones.stacked.text_cnn import StackedTextCNN
from ampmix.backbones.windows import (
    add_windows,
    masked_max,
    max_and_slope,
    mixed_max,
    window_mask,
    windows_of_words,
)
from ampmix.backbones.words import WordBackbone, distinct, hold_embedding
from ampmix.errors import AmpmixError
from ampmix.mixing.heads import Head
from ampmix.text.reader import Reader


@dataclass(frozen=True)
class TextCNN(WordBackbone):
    """The convolutional classifier of Kim (2014), with the paper's hyper-parameters as defaults.

    ``features = relu(max over windows(embeddings * filters + bias))``, dropout, a linear layer.
    Windows are those that hold at least one word: padding never wins the maximum.

    Args:
        embedding_dim: width of the word embeddings.
        filter_sizes: window widths in words; in a spec string ``filter_sizes=3+4+5``.
        feature_maps: filters of each width.
        dropout: share of the pooled features dropped while training, in [0, 1).
        vectors, tuned, oov: see :class:`~ampmix.backbones.words.WordBackbone`.

    Sites: ``word`` mixes word embeddings where it is cheap, which is the same for coefficients that
    are one number an example; ``embedding`` hands out the embeddings themselves, for all others;
    ``sent`` mixes the pooled features, before dropout.

    Raises:
        AmpmixError: for sizes below 1 or a dropout outside [0, 1).

    >>> from ampmix.text.reader import WordReader
    >>> reader = WordReader.of_texts(["what is a film ?"], "words")
    >>> model = TextCNN().build(reader, 6, torch.Generator().manual_seed(0))
    >>> model(torch.tensor([[4, 3, 2]]), torch.ones(1, 3, dtype=torch.bool)).shape
    torch.Size([1, 6])
    """

    name: ClassVar[str] = "cnn"
    described: ClassVar[str] = "the CNN"
    sites: ClassVar[tuple[str, ...]] = ("embedding", "word", "sent")
    printed_as: ClassVar[str] = "cnn-rand"
    tiny: ClassVar[Mapping[str, Any]] = {"embedding_dim": 8, "feature_maps": 4}
    embedding_dim: int = 300
    filter_sizes: tuple[int, ...] = (3, 4, 5)
    feature_maps: int = 100
    dropout: float = 0.5
    vectors: str = ""
    tuned: bool = True
    oov: str = "random"

    def __post_init__(self) -> None:
        if not self.filter_sizes:
            raise AmpmixError("filter_sizes is empty: give at least one window width")
        if min(self.embedding_dim, self.feature_maps, *self.filter_sizes, 1) < 1:
            raise AmpmixError(f"{self}: every size must be 1 or more")
        if not 0 <= self.dropout < 1:
            raise AmpmixError(f"dropout is {self.dropout}: it must be in [0, 1)")
        self.check_words()

    @property
    def stacking(self) -> Stacking:
        """All weights have an axis of seeds."""
        return StackedTextCNN(self.filter_sizes, self.dropout)

    def build(self, reader: Reader, classes: int, generator: torch.Generator) -> CutModule:
        """The module; embeddings from U(-0.25, 0.25) or vectors, the rest as PyTorch's layers."""
        config, embedding = self.start(reader, generator)
        return TextCNNModule(config, embedding, classes, generator)

    def shapes(self, words: int, classes: int) -> dict[str, tuple[int, ...]]:
        """See :meth:`Backbone.shapes`."""
        features = len(self.filter_sizes) * self.feature_maps
        return {
            "embedding": (words, self.embedding_dim),
            "filters": (self.embedding_dim, sum(self.filter_sizes), self.feature_maps),
            "bias": (features,),
            "output.weight": (classes, features),
            "output.bias": (classes,),
        }


class TextCNNModule(CutModule):
    """The trainable TextCNN.

    Parameters: ``embedding [V, d]`` (row 0 is padding and stays zero); ``filters [d, sum(sizes),
    maps]``, width by width, and word by word within a width; ``bias [widths * maps]``; ``output``.
    """

    config: TextCNN
    embedding: Tensor

    def __init__(
        self, config: TextCNN, embedding: Tensor, classes: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.config = config
        sizes, maps, dim = config.filter_sizes, config.feature_maps, config.embedding_dim

        def uniform(bound: float, *shape: int) -> nn.Parameter:
            values = torch.empty(*shape)
            return nn.Parameter(values.uniform_(-bound, bound, generator=generator))

        hold_embedding(self, embedding, config.tuned)
        bounds = [(dim * size) ** -0.5 for size in sizes]
        filters = [uniform(b, dim, s, maps) for b, s in zip(bounds, sizes, strict=True)]
        self.filters = nn.Parameter(torch.cat([part.detach() for part in filters], dim=1))
        biases = [uniform(b, maps) for b in bounds]
        self.bias = nn.Parameter(torch.cat([part.detach() for part in biases]))
        features = len(sizes) * maps
        self.output = nn.Linear(features, classes, device="meta")  # its weights are ours
        self.output.weight = uniform(features**-0.5, classes, features)
        self.output.bias = uniform(features**-0.5, classes)

    def exportable(self) -> nn.Module:
        """The textbook TextCNN: ``forward`` in ordinary convolutions."""
        return _PlainTextCNN(self)

    def _cut(self, ids: Tensor, mask: Tensor, site: str, generator: torch.Generator | None) -> Cut:
        like = self.bias.expand(ids.shape[0], -1)
        classify = Classify.of(self.output, like, self.config.dropout, self.training, generator)
        pool = _PoolAndClassify(self.bias, classify)
        if site == "embedding":
            f = _Convolve(self.filters, self.config.filter_sizes, pool)
            return f, (F.embedding(ids, self.embedding, padding_idx=0), mask)
        h, windows = self._convolve(ids), window_mask(mask, self.config.filter_sizes)
        if site == "sent":
            return classify, (pool.features(masked_max(h, windows)),)
        return pool, (h, windows)

    def _convolve(self, ids: Tensor) -> Tensor:
        """Responses of every window, ``[B, T, features]``, T = L + widest - 1.

        This is linear in the embeddings, and mixing commutes with linear maps:
        ``A(lam x + (1 - lam) x') = lam A x + (1 - lam) A x'``. So mixing here is mixing word
        embeddings, and one convolution serves lam, its gradient and lam_adv. The bias is added
        after the maximum over time and after mixing, which changes neither.

        Being linear, it also need not be done word by word: each DISTINCT word of the batch goes
        through the filters once, and windows add up the results. Window t ends at word t; words
        before the first and after the last count as zero.
        """
        sizes = self.config.filter_sizes
        reach = max(sizes) - 1
        words, places = distinct(F.pad(ids, (reach, reach)))
        vectors = F.embedding(words, self.embedding, padding_idx=0)
        responses = linear(vectors, self.filters.flatten(1).t())
        return windows_of_words(responses, places, sizes)


class _PlainTextCNN(nn.Module):
    """A copy of a TextCNN that looks up word by word and convolves: slower, common operations."""

    def __init__(self, model: TextCNNModule) -> None:
        super().__init__()
        config = model.config
        self.embedding, self.output = model.embedding.detach(), model.output
        widths = model.filters.detach().permute(2, 0, 1).split_with_sizes(config.filter_sizes, 2)
        biases = model.bias.detach().reshape(len(widths), -1)
        self.convolutions = [(w.contiguous(), b) for w, b in zip(widths, biases, strict=True)]

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Logits ``[B, C]`` of token ids and mask ``[B, L]``."""
        vectors = F.embedding(ids, self.embedding).transpose(1, 2)
        words = mask.unsqueeze(1).to(vectors.dtype)
        features = []
        for weight, bias in self.convolutions:
            size = weight.shape[-1]
            held = F.conv1d(words, words.new_ones(1, 1, size), padding=size - 1)
            h = F.conv1d(vectors, weight, bias, padding=size - 1)
            features.append(h.masked_fill(held == 0, float("-inf")).amax(-1))
        logits: Tensor = self.output(F.relu(torch.cat(features, dim=1)))
        return logits


@dataclass(frozen=True)
class _PoolAndClassify(Head):
    """f after the ``word`` site: maximum over time, ReLU, then :class:`Classify`.

    Bias and ReLU come after the maximum, which is the same and cheaper.
    """

    knows_slope: ClassVar[bool] = True
    bias: Tensor
    classify: Classify

    def __call__(self, h: Tensor, windows: Tensor) -> Tensor:
        return self.classify(self.features(masked_max(h, windows)))

    def features(self, pooled: Tensor) -> Tensor:
        """Compute the input of the last layer from the maxima ``[B, widths * maps]``."""
        return F.relu(pooled + self.bias.to(pooled.dtype))

    def mixed_logits(
        self, g: tuple[Tensor, ...], lam: Tensor, perm: Tensor, partners: tuple[Tensor, ...]
    ) -> Tensor:
        """Logits of the mixed windows (see :meth:`ampmix.mixing.heads.Head.mixed_logits`)."""
        (h, windows), (partner, partner_windows) = g, partners
        pooled = mixed_max(h, windows | partner_windows, lam, perm, partner)
        return self.classify(self.features(pooled))

    def logits_and_slope(
        self, g: tuple[Tensor, ...], lam: Tensor, perm: Tensor, partners: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor]:
        """See :meth:`ampmix.mixing.heads.Head.logits_and_slope`."""
        (h, windows), (partner, partner_windows) = g, partners
        pooled, slope = max_and_slope(h, windows | partner_windows, lam, partner)
        features = self.features(pooled)
        return self.classify(features), self.classify.slope(slope * (features > 0))


@dataclass(frozen=True)
class _Convolve(Head):
    """f after the ``embedding`` site: the convolution of every word, then the ``word`` site's f."""

    filters: Tensor
    sizes: tuple[int, ...]
    pool: _PoolAndClassify

    def __call__(self, words: Tensor, mask: Tensor) -> Tensor:
        h = add_windows(linear(words, self.filters.flatten(1).t()), self.sizes)
        return self.pool(h, window_mask(mask, self.sizes))
