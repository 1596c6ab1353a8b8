"""Share pretrained vectors and the classifying end among backbones over word embeddings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import PurePath
from typing import Any, ClassVar, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ampmix._support import components
from ampmix._support.components import BACKBONES
from ampmix._torch.matmul import padded_rows
from ampmix.backbones.base import Backbone
from ampmix.backbones.hf_loading import pieces_losing
from ampmix.data.dataset import Split
from ampmix.errors import AmpmixError
from ampmix.text.encoded import Vocabulary
from ampmix.text.lost_words import lost
from ampmix.text.reader import Reader, WordReader
from ampmix.text.tokenizers import TOKENIZERS
from ampmix.text.vectors import Coverage, fingerprint, select

OOV = ("random", "drop")
OF_VECTORS = {"vectors", "tuned", "oov"}
BOUND = 0.25
"""Random embeddings are drawn from U(-BOUND, BOUND), as by Kim (2014)."""

_GLOVE_300 = re.compile(r"glove\.\d+B\.300d(\.txt)?(\.zip|\.gz)?")
Self = TypeVar("Self", bound="WordBackbone")


class WordBackbone(Backbone):
    """A backbone over word embeddings, random or pretrained.

    Its dataclasses declare, after what they need themselves:

    - ``vectors``: a file of vectors or a known name (see :mod:`ampmix.text.vectors`), "" for none;
      the embeddings then have its width, whatever ``embedding_dim`` says at its default.
    - ``tuned``: whether training changes the embeddings; false keeps them as they begin.
    - ``oov``: what becomes of words without a vector. ``random``: they get small random ones, of
      the pretrained ones' variance (Kim, 2014). ``drop``: they are left out of the texts, as the
      code released with the AMP paper does; so are words that training never showed.
    """

    takes_vectors: ClassVar[bool] = True
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {"oov": OOV}
    embedding_dim: int
    vectors: str
    tuned: bool
    oov: str

    def check_words(self) -> None:
        """Raise AmpmixError for options that cannot be."""
        if self.oov not in OOV:
            raise AmpmixError(f"oov is {self.oov!r}: it must be {' or '.join(OOV)}")
        if self.oov == "drop" and not self.vectors:
            raise AmpmixError("oov is 'drop': without vectors= every word would be dropped")

    @property
    def reference_name(self) -> str:
        """As of the class, and ``cnn-glove`` for ``cnn-rand`` with 300-dimensional GloVe vectors.

        Tuned or not: the paper calls its GloVe embeddings both "initiated" and "fixed". Whatever
        becomes of words without a vector: the paper does not say, its released code drops them.
        """
        if not _GLOVE_300.fullmatch(PurePath(self.vectors).name):
            return super().reference_name
        changed = {f.name for f in fields(_dataclass(self)) if getattr(self, f.name) != f.default}
        return "" if changed - OF_VECTORS else self.printed_as.replace("-rand", "-glove")

    @property
    def identity(self) -> str:
        """The spec string with the content of the vectors in place of their name."""
        if not self.vectors:
            return super().identity
        named = f"sha256-{fingerprint(self.vectors)}"
        return components.spec(replace(_dataclass(self), vectors=named))

    @property
    def public_spec(self) -> str:
        """The spec string with the last name alone of a vectors' path."""
        return components.spec(replace(_dataclass(self), vectors=PurePath(self.vectors).name))

    def coverage(self, texts: tuple[str, ...], tokenizer: str) -> Coverage | None:
        """Count the words of the texts that have a pretrained vector; None without vectors."""
        if not self.vectors:
            return None
        words = Vocabulary.build(map(TOKENIZERS[tokenizer], texts)).words
        return select(self.vectors, words).coverage

    def notes(self, split: Split, max_length: int) -> list[str]:
        """See :meth:`ampmix.backbones.base.Backbone.notes`; with the coverage of the vectors."""
        coverage = self.coverage(split.train.texts, split.tokenizer)
        vectors = [] if coverage is None else [f"vectors: {coverage}"]
        return vectors + super().notes(split, max_length) + self._lost(split, max_length)

    def _lost(self, split: Split, max_length: int) -> list[str]:
        """A note on words that a vocabulary of pieces would read, where one is installed."""
        if (losing := pieces_losing()) is None:
            return []
        known = set(self.reader(split.train.texts, split.tokenizer, max_length).vocabulary.words)
        texts = (*split.dev.texts, *split.test.texts)
        found = lost(texts, split.tokenizer, lambda words: set(words) - known, losing)
        return [said] if (said := found.sentence(pieces=False)) else []

    def reader(self, texts: Any, tokenizer: str, max_length: int) -> WordReader:
        """A reader with the texts' vocabulary; with ``oov=drop``, of words with a vector alone."""
        reader = WordReader.of_texts(texts, tokenizer, max_length)
        if self.oov != "drop":
            return reader
        words = reader.vocabulary.words
        kept = zip(words, select(self.vectors, words).found.tolist(), strict=True)
        vocabulary = Vocabulary(tuple(word for word, found in kept if found))
        return replace(reader, vocabulary=vocabulary, skip_unknown=True)

    def start(self: Self, reader: Reader, generator: torch.Generator) -> tuple[Self, Tensor]:
        """The backbone with its vectors taken in, and the initial embeddings ``[V, d]``.

        The description returned names no vectors and has their width: it builds a module of the
        same shapes without them, which is what a saved model needs.

        Raises:
            AmpmixError: if the vectors cannot be read, or their width is not ``embedding_dim``.
        """
        if not isinstance(reader, WordReader):
            raise TypeError(f"{self.name} reads words, not by {type(reader).__name__}")
        if not self.vectors:
            return self, _random(len(reader), self.embedding_dim, generator)
        vectors = select(self.vectors, reader.vocabulary.words)
        width = vectors.matrix.shape[1]
        if self.embedding_dim not in (width, type(self).embedding_dim):
            raise AmpmixError(
                f"embedding_dim is {self.embedding_dim}, but vectors {self.vectors} have {width} "
                "numbers: leave it out"
            )
        embedding = _random(len(reader), width, generator)
        found, known = torch.from_numpy(vectors.found), torch.from_numpy(vectors.matrix)
        # a uniform distribution on (-a, a) has variance a^2 / 3
        embedding *= (3 * known[found].var(correction=0)).sqrt() / BOUND
        embedding[2:][found] = known[found]
        built = replace(_dataclass(self), vectors="", oov="random", embedding_dim=width)
        return built, embedding


def backbone_with_vectors(spec: str, vectors: str) -> Any:
    """The backbone of a spec string that the user wrote, with these vectors in place of its own.

    Raises:
        AmpmixError: it takes none, or as :func:`ampmix._support.components.parse`.
    """
    cls = BACKBONES.class_of(spec, trusted=True)
    if not cls.takes_vectors:
        raise AmpmixError(f"backbone {cls.name} takes no word vectors")
    return BACKBONES.parse(spec, trusted=True, vectors=vectors)


def _dataclass(backbone: WordBackbone) -> Any:
    """Return the backbone as a dataclass: to type checkers only concrete classes are one."""
    return backbone


def _random(words: int, width: int, generator: torch.Generator) -> Tensor:
    """``[words, width]`` from U(-BOUND, BOUND); row 0, padding, is zero."""
    embedding = torch.empty(words, width).uniform_(-BOUND, BOUND, generator=generator)
    embedding[0] = 0.0
    return embedding


def hold_embedding(module: nn.Module, embedding: Tensor, tuned: bool) -> None:
    """Make ``module.embedding`` a parameter, or a buffer, which no optimiser sees."""
    if tuned:
        module.embedding = nn.Parameter(embedding)
    else:
        module.register_buffer("embedding", embedding)


def distinct(ids: Tensor) -> tuple[Tensor, Tensor]:
    """The distinct words of a batch, ``[U]``, and which of them stands where, of the shape of ids.

    After them comes padding (see :func:`ampmix._torch.matmul.padded_rows`), which stands nowhere.
    """
    words, places = torch.unique(ids, return_inverse=True)
    return F.pad(words, (0, padded_rows(len(words)) - len(words))), places
