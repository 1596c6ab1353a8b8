"""TextCNN: one convolution over word embeddings, max-pooled over time (Kim, EMNLP 2014)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ampmix.backbones._backbone import Cut, CutModule, StackedClassify, dropout_scale
from ampmix.backbones._words import Classify, WordBackbone, hold_embedding, stacked_words
from ampmix.errors import AmpmixError
from ampmix.mixing import Ragged, mix, take_pairs
from ampmix.text import Reader


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
        vectors, tuned, oov: see :class:`~ampmix.backbones._words.WordBackbone`.

    Sites: ``word`` mixes word embeddings where it is cheap, which is the same for coefficients that
    are one number an example; ``embedding`` hands out the embeddings themselves, for all others;
    ``sent`` mixes the pooled features, before dropout.

    Raises:
        AmpmixError: for sizes below 1 or a dropout outside [0, 1).

    >>> from ampmix.text import WordReader
    >>> from ampmix.text import WordReader
    >>> reader = WordReader.of_texts(["what is a film ?"], "words")
    >>> model = TextCNN().build(reader, 6, torch.Generator().manual_seed(0))
    >>> model(torch.tensor([[4, 3, 2]]), torch.ones(1, 3, dtype=torch.bool)).shape
    torch.Size([1, 6])
    """

    name: ClassVar[str] = "cnn"
    sites: ClassVar[tuple[str, ...]] = ("embedding", "word", "sent")
    printed_as: ClassVar[str] = "cnn-rand"
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
    def stacked(self) -> tuple[str, ...]:
        """All weights."""
        return ("embedding", "filters", "bias", "output.weight", "output.bias")

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
        scale = dropout_scale(like, self.config.dropout, self.training, generator)
        classify = Classify(self.output, scale)

        if site == "embedding":
            f = _Convolve(self.filters, self.bias, self.config.filter_sizes, classify)
            return f, (F.embedding(ids, self.embedding, padding_idx=0), mask)
        h, windows = self._convolve(ids), _window_mask(mask, self.config.filter_sizes)
        if site == "sent":
            features, _ = _masked_max(h, windows)
            return classify, (F.relu(features),)
        return _PoolAndClassify(classify), (h, windows)

    def _convolve(self, ids: Tensor) -> Tensor:
        """Responses of every window before the ReLU, ``[B, T, features]``, T = L + widest - 1.

        This is affine in the embeddings, and mixing commutes with affine maps:
        ``A(lam x + (1 - lam) x') + b = lam (A x + b) + (1 - lam) (A x' + b)``. So mixing here is
        mixing word embeddings, and one convolution serves lam, its gradient and lam_adv.

        Being linear, it also need not be done word by word: each DISTINCT word of the batch goes
        through the filters once, and windows add up the results. Window t ends at word t; words
        before the first and after the last count as zero.
        """
        words, inverse = torch.unique(ids, return_inverse=True)
        vectors = F.embedding(words, self.embedding, padding_idx=0)
        responses = vectors @ self.filters.flatten(1)
        return _add_windows(F.embedding(inverse, responses), self.bias, self.config.filter_sizes)

    def stacked_cut(
        self,
        weights: Mapping[str, Tensor],
        inputs: Tensor,
        mask: Tensor,
        site: str | None,
        dropout: Ragged,
    ) -> Cut:
        """See :meth:`CutModule.stacked_cut`.

        The bias is added after the maximum over time and after mixing, which changes neither. What
        lies between the filters and the features knows no weights: there all texts of all seeds are
        one batch. No distinct words are looked for, which on a GPU would have to be waited for.
        """
        sizes, p = self.config.filter_sizes, self.config.dropout
        classify = StackedClassify.of(weights, inputs.shape[1], p, dropout)
        pool = _StackedPool(weights["bias"], classify)
        convolve = _StackedConvolve(weights["filters"], sizes, pool)
        words = stacked_words(weights["embedding"], inputs)
        if site == "embedding":
            return convolve, (words, mask)
        h, windows = convolve.responses(words), _stacked_windows(mask, sizes)
        if site == "word":
            return pool, (h, windows)
        features, _ = _masked_max(h.flatten(0, 1), windows.flatten(0, 1))
        return classify, (pool.features(features, len(inputs)),)


def _window_mask(mask: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """True for the windows that hold a word, ``[B, T, widths]``."""
    padded = F.pad(mask, (0, max(sizes) - 1))
    held = [padded]
    for _ in range(max(sizes) - 1):
        held.append(held[-1] | F.pad(held[-1], (1, 0))[:, :-1])
    return torch.stack([held[size - 1] for size in sizes], dim=-1)


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


def _add_windows(by_word: Tensor, bias: Tensor, sizes: tuple[int, ...]) -> Tensor:
    h: Tensor = _AddWindows.apply(by_word, bias, sizes)  # type: ignore[no-untyped-call]
    return h


class _AddWindows(torch.autograd.Function):
    """Sum the filter responses of the words in every window, plus a bias.

    ``out[b, t, w] = bias[w] + sum_j by_word[b, t - size_w + 1 + j, slot(w, j)]``, with one slot for
    every position j in a window of width size_w.

    Shapes: by_word ``[B, L, sum(sizes) * maps]``, bias ``[widths * maps]``, out ``[B, L + widest -
    1, widths * maps]``.
    """

    @staticmethod
    def _shifts(sizes: tuple[int, ...], maps: int) -> list[tuple[slice, int, slice]]:
        """For every slot: its columns in the responses, its shift in time, its output columns."""
        shifts, slot = [], 0
        for w, size in enumerate(sizes):
            out = slice(w * maps, (w + 1) * maps)
            for j in range(size):
                shifts.append((slice(slot * maps, (slot + 1) * maps), size - 1 - j, out))
                slot += 1
        return shifts

    @staticmethod
    def forward(ctx: Any, by_word: Tensor, bias: Tensor, sizes: tuple[int, ...]) -> Tensor:
        length = by_word.shape[1]
        out = bias.repeat(by_word.shape[0], length + max(sizes) - 1, 1)
        for source, shift, target in _AddWindows._shifts(sizes, bias.shape[0] // len(sizes)):
            out[:, shift : shift + length, target] += by_word[..., source]
        ctx.sizes, ctx.length = sizes, length
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None, None]:
        grad, length = grads[0], ctx.length
        maps = grad.shape[-1] // len(ctx.sizes)
        by_word = grad.new_empty(grad.shape[0], length, sum(ctx.sizes) * maps)
        for source, shift, target in _AddWindows._shifts(ctx.sizes, maps):
            by_word[..., source] = grad[:, shift : shift + length, target]
        return by_word, grad.sum((0, 1)) if ctx.needs_input_grad[1] else None, None


@dataclass(frozen=True)
class _PoolAndClassify:
    """f after the ``word`` site: maximum over time, ReLU, then :class:`Classify`.

    The ReLU comes after the maximum, which is the same and cheaper.
    """

    classify: Classify

    def __call__(self, h: Tensor, windows: Tensor) -> Tensor:
        return self.classify(F.relu(_masked_max(h, windows)[0]))

    def mixed_logits(
        self, g: tuple[Tensor, ...], lam: Tensor, perm: Tensor, partners: tuple[Tensor, ...]
    ) -> Tensor:
        """Logits of the mixed windows (see :class:`ampmix.policies._policy.MixingHead`)."""
        (h, windows), (partner, partner_windows) = g, partners
        pooled = _mixed_max(h, windows | partner_windows, lam, perm, partner)
        return self.classify(F.relu(pooled))


@dataclass(frozen=True)
class _Convolve:
    """f after the ``embedding`` site: the convolution of every word, then the ``word`` site's f."""

    filters: Tensor
    bias: Tensor
    sizes: tuple[int, ...]
    classify: Classify

    def __call__(self, words: Tensor, mask: Tensor) -> Tensor:
        h = _add_windows(words @ self.filters.flatten(1), self.bias, self.sizes)
        return _PoolAndClassify(self.classify)(h, _window_mask(mask, self.sizes))


@dataclass(frozen=True)
class _StackedPool:
    """:class:`_PoolAndClassify` of S models, of windows without their bias ``[S, widths * maps]``.

    Shapes: h ``[S, B, T, widths * maps]``, windows ``[S, B, T, widths]``.
    """

    bias: Tensor
    classify: StackedClassify

    def __call__(self, h: Tensor, windows: Tensor) -> Tensor:
        pooled, _ = _masked_max(h.flatten(0, 1), windows.flatten(0, 1))
        return self.classify(self.features(pooled, len(h)))

    def features(self, pooled: Tensor, seeds: int) -> Tensor:
        """What the maxima ``[S * B, widths * maps]`` give the last layer to read."""
        return F.relu(pooled.view(seeds, -1, pooled.shape[-1]) + self.bias.unsqueeze(1))

    def mixed_logits(
        self, g: tuple[Tensor, ...], lam: Tensor, perm: Tensor, partners: tuple[Tensor, ...]
    ) -> Tensor:
        """Logits of the mixed windows."""
        (h, windows), (partner, partner_windows) = g, partners
        seeds, rows = perm.shape
        first = torch.arange(seeds, device=perm.device).mul_(rows).unsqueeze(1)
        pooled = _mixed_max(
            h.flatten(0, 1),
            (windows | partner_windows).flatten(0, 1),
            lam.flatten(),
            (perm + first).flatten(),
            partner.flatten(0, 1),
        )
        return self.classify(self.features(pooled, seeds))


@dataclass(frozen=True)
class _StackedConvolve:
    """:class:`_Convolve` of S models; filters ``[S, d, sum(sizes), maps]``."""

    filters: Tensor
    sizes: tuple[int, ...]
    pool: _StackedPool

    def __call__(self, words: Tensor, mask: Tensor) -> Tensor:
        return self.pool(self.responses(words), _stacked_windows(mask, self.sizes))

    def responses(self, words: Tensor) -> Tensor:
        """Of every window, without the bias, ``[S, B, T, widths * maps]``."""
        by_word = words.flatten(1, 2) @ self.filters.flatten(2)
        by_text = by_word.view(-1, words.shape[2], by_word.shape[-1])
        none = by_word.new_zeros(len(self.sizes) * self.filters.shape[-1])
        h = _add_windows(by_text, none, self.sizes)
        return h.view(*words.shape[:2], *h.shape[1:])


def _stacked_windows(mask: Tensor, sizes: tuple[int, ...]) -> Tensor:
    windows = _window_mask(mask.flatten(0, 1), sizes)
    return windows.view(*mask.shape[:2], *windows.shape[1:])


def _masked_max(h: Tensor, windows: Tensor) -> tuple[Tensor, Tensor]:
    """Maximum over time of the windows that hold a word, and where it is.

    Shapes: h ``[B, T, widths * maps]``, windows ``[B, T, widths]``, results ``[B, widths * maps]``.
    """
    return _max_over_time((h.reshape(*windows.shape, -1) + _barred(windows, h)).flatten(-2))


def _barred(windows: Tensor, like: Tensor) -> Tensor:
    """What to add so that windows without a word cannot be the maximum, ``[B, T, widths, 1]``."""
    return torch.where(windows, 0.0, float("-inf")).to(like.dtype).unsqueeze(-1)


def _max_over_time(h: Tensor) -> tuple[Tensor, Tensor]:
    """``h.max(dim=1)`` as pictures of width 1, channels last: that kernel is vectorised."""
    picture = h.unsqueeze(-2).permute(0, 3, 1, 2)
    values, index = F.max_pool2d(picture, (h.shape[-2], 1), return_indices=True)
    return values.flatten(1), index.flatten(1)


def _mixed_max(h: Tensor, windows: Tensor, lam: Tensor, perm: Tensor, partner: Tensor) -> Tensor:
    """Mix, then :func:`_masked_max`, with gradients only where a maximum was.

    The maximum makes all but one window in T irrelevant to a feature, so the gradients of h and lam
    are read and written at those alone, where mixing first would pass over all of them again.
    """
    pooled: Tensor
    pooled, index = _MixedMax.apply(h, windows, lam.detach(), perm, partner)  # type: ignore[no-untyped-call]
    if lam.requires_grad:
        # adds nothing but d pooled / d lam, so that lam's gradient never runs through h
        at = index.unsqueeze(1)
        slope = (h.detach().gather(1, at) - partner.gather(1, at)).squeeze(1)
        pooled = pooled + (lam - lam.detach()).to(h.dtype).unsqueeze(-1) * slope
    return pooled


class _MixedMax(torch.autograd.Function):
    """The maximum over time of mixed windows and where it is; differentiable in h."""

    @staticmethod
    def forward(
        ctx: Any, h: Tensor, windows: Tensor, lam: Tensor, perm: Tensor, partner: Tensor
    ) -> tuple[Tensor, Tensor]:
        mixed = mix(h, lam, perm, partner)
        mixed.view(*windows.shape, -1).add_(_barred(windows, h))
        values, index = _max_over_time(mixed)
        ctx.mark_non_differentiable(index)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(lam, perm, index)
        ctx.shape = h.shape
        return values, index

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (lam, perm, index), grad = ctx.saved_tensors, grads[0]
        if grad is None:
            return (None,) * 5
        at, weight, inverse = index.unsqueeze(1), lam.unsqueeze(-1).to(grad.dtype), perm.argsort()
        partner_grad = take_pairs(grad * (1 - weight), inverse).unsqueeze(1)
        grad_h = grad.new_zeros(ctx.shape).scatter_(1, at, (grad * weight).unsqueeze(1))
        grad_h.scatter_add_(1, take_pairs(at, inverse), partner_grad)
        return grad_h, None, None, None, None
