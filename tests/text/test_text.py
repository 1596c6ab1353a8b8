"""Tokenizers, vocabulary and padded batches, against naive loops."""

from __future__ import annotations

import re
import time
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampmix.data.dataset import Examples
from ampmix.datasets import load
from ampmix.errors import AmpmixError
from ampmix.text.encoded import PADDING, UNKNOWN, Encoded, Vocabulary
from ampmix.text.tokenizers import TOKENIZERS, kim, kim_cased, words

ANY_TEXT = st.text(st.characters(), max_size=40)  # surrogates and NUL included


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("It's", "it 's"),
        ("we'll they're I've she'd don't", "we 'll they 're i 've she 'd do n't"),
        ("don't, (really)!", "do n't , ( really ) !"),
        ("caf\xe9\x85a--b", "caf a b"),
        ("`quoted' 3.5", "`quoted' 3 5"),
        ("DON'T", "don't"),
    ],
)
def test_kim_splits_clitics_and_punctuation(text: str, tokens: str) -> None:
    assert kim(text) == tokens.split()


@given(ANY_TEXT)
def test_kim_equals_its_rules_applied_one_after_the_other(text: str) -> None:
    text_ = re.sub(r"[^A-Za-z0-9(),!?'`]", " ", text)
    for clitic in ("'s", "'ve", "n't", "'re", "'d", "'ll"):
        text_ = text_.replace(clitic, " " + clitic)
    for mark in ",!()?":
        text_ = text_.replace(mark, f" {mark} ")
    assert kim_cased(text) == text_.split()
    assert kim(text) == text_.lower().split()


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", []),
        (" \n\t\x00", []),
        ("A well-made film, isn\u2019t it?", ["a", "well-made", "film", ",", "isn't", "it", "?"]),
        ("'quoted' --x--", ["'", "quoted", "'", "-", "-", "x", "-", "-"]),
        ("1,000.50 $5 3mm", ["1,000.50", "$", "5", "3mm"]),
        ("a\x00b\x1fc\u200bd", ["a", "b", "c", "d"]),
        ("\ufeffso\u00adft", ["soft"]),
        ("a\u202ab\u202e c\u2066d\u2069", ["ab", "cd"]),
        ("e\u0301", ["\xe9"]),
        ("\u0130stanbul", ["i\u0307stanbul"]),
        ("\u6620\u753b\u3092\u898b\u305f\u3002", list("\u6620\u753b\u3092\u898b\u305f\u3002")),
        ("\ud55c\uad6d\uc5b4 \uc601\ud654", ["\ud55c\uad6d\uc5b4", "\uc601\ud654"]),
        ("\u0939\u093f\u0928\u094d\u0926\u0940", ["\u0939\u093f\u0928\u094d\u0926\u0940"]),
        ("\u0e14\u0e35\u0e14\u0e35", ["\u0e14\u0e35", "\u0e14\u0e35"]),
        ("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",) * 2,
        ("ok\U0001f44d\U0001f3fd!", ["ok", "\U0001f44d\U0001f3fd", "!"]),
        ("\U0001f469\u200d\U0001f467", ["\U0001f469\u200d\U0001f467"]),
        ("\U0001f1e9\U0001f1ea\U0001f1eb\U0001f1f7",)
        + (["\U0001f1e9\U0001f1ea", "\U0001f1eb\U0001f1f7"],),
        ("\u2764\ufe0f1\ufe0f\u20e3", ["\u2764\ufe0f", "1\ufe0f\u20e3"]),
        ("\ud800", ["\ufffd"]),
    ],
)
def test_words_in_many_scripts(text: str, tokens: list[str] | str) -> None:
    assert words(text) == ([tokens] if isinstance(tokens, str) else tokens)


@given(ANY_TEXT)
def test_words_keeps_every_visible_character(text: str) -> None:
    tokens = words(text)
    assert all(tokens) and not any(re.search(r"\s", token) for token in tokens)
    assert all(token.encode() for token in tokens), "tokens can be written to a file"
    visible = [c for c in "".join(tokens) if unicodedata.category(c)[0] in "LNP"]
    lowered = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).lower())
    expected = [c for c in lowered.replace("\u2019", "'") if unicodedata.category(c)[0] in "LNP"]
    assert visible == expected


@pytest.mark.parametrize(
    "piece", ["a", "a'", "a-", "\u0301", "1,", "a\u0301", "\u2764\u200d", "n't"]
)
@pytest.mark.parametrize("name", TOKENIZERS)
def test_tokenizers_take_linear_time(piece: str, name: str) -> None:
    start = time.perf_counter()
    TOKENIZERS[name](piece * 50_000)
    assert time.perf_counter() - start < 5


def test_trec_vocabulary_is_the_one_of_table_1(trec_data: Path) -> None:
    trec = load("trec")
    assert trec.test is not None
    texts = trec.train.texts + trec.test.texts
    vocabulary = Vocabulary.build(map(TOKENIZERS[trec.tokenizer], texts))
    assert len(vocabulary.words) == 9592
    assert len(vocabulary) == 9594
    lengths = [len(TOKENIZERS[trec.tokenizer](text)) for text in texts]
    assert round(float(np.mean(lengths))) == 10


def test_vocabulary_is_ordered_by_count_then_word_whatever_the_order_of_the_texts() -> None:
    lists = [["b", "a", "c"], ["c", "b"], ["d"]]
    assert Vocabulary.build(lists).words == ("b", "c", "a", "d")
    assert Vocabulary.build(lists[::-1]) == Vocabulary.build(lists)
    assert Vocabulary.build(lists, min_count=2).words == ("b", "c")
    assert Vocabulary.build(lists, max_size=3).words == ("b", "c", "a")
    assert Vocabulary.build(lists, min_count=2, max_size=1).words == ("b",)


def test_vocabulary_encodes_with_padding_0_and_unknown_1() -> None:
    vocabulary = Vocabulary(("x", "y"))
    ids = vocabulary.encode(["y", "z", "x"])
    assert ids.tolist() == [3, UNKNOWN, 2] and ids.dtype == np.int64
    assert vocabulary.encode([]).shape == (0,)
    with pytest.raises(ValueError, match="once"):
        Vocabulary(("x", "x"))


@given(
    rows=st.lists(st.lists(st.integers(2, 9), max_size=7), min_size=1, max_size=8),
    max_length=st.integers(1, 8),
    data=st.data(),
)
def test_batch_equals_naive_padding(
    rows: list[list[int]], max_length: int, data: st.DataObject
) -> None:
    encoded = Encoded.of_ids(rows, range(len(rows)), max_length)
    indices = data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1, max_size=9))
    ids, mask, labels = encoded.batch(indices)
    chosen = [(rows[i] or [UNKNOWN])[:max_length] for i in indices]
    longest = max(map(len, chosen))
    assert ids.tolist() == [row + [PADDING] * (longest - len(row)) for row in chosen]
    assert mask.tolist() == [[j < len(row) for j in range(longest)] for row in chosen]
    assert labels.tolist() == indices
    assert (ids.dtype, mask.dtype, labels.dtype) == (np.int64, np.bool_, np.int64)
    assert encoded.truncated == sum(len(row) > max_length for row in rows)
    assert encoded.lengths.min() >= 1 and len(encoded) == len(rows)


def test_encoded_memory_grows_with_tokens_not_with_the_longest_text() -> None:
    rows = [[2]] * 1000 + [[3] * 500]
    encoded = Encoded.of_ids(rows, np.zeros(1001))
    assert encoded.tokens.nbytes == 4 * 1500
    assert encoded.batch([0, 1])[0].shape == (2, 1)
    assert encoded.batch([])[0].shape == (0, 0)
    assert len(Encoded.of_ids([], [])) == 0


def test_encoded_of_tokens_and_foreign_padding() -> None:
    examples = Examples(("a b", "", "c"), np.array([0, 1, 0]))
    encoded = Encoded.of_tokens(map(kim, examples.texts), examples.labels, Vocabulary(("a", "b")))
    assert encoded.batch([0, 1, 2])[0].tolist() == [[2, 3], [1, 0], [1, 0]]
    assert Encoded.of_ids([[5, 6], [7]], [0, 0], padding=9).batch([0, 1])[0].tolist() == [
        [5, 6],
        [7, 9],
    ]


def test_encoded_cannot_be_written_to() -> None:
    labels = np.array([0, 1])
    encoded = Encoded.of_ids([[5, 6], [7]], labels)
    for part in (encoded, encoded.take([1])):
        for own in (part.tokens, part.offsets, part.labels):
            with pytest.raises(ValueError, match="read-only"):
                own[0] = 3
    labels[0] = 1
    assert encoded.labels[0] == 0, "the caller's stay the caller's"


def test_encoded_refuses_nonsense() -> None:
    with pytest.raises(AmpmixError, match="max_length is 0"):
        Encoded.of_ids([[1]], [0], max_length=0)
    with pytest.raises(ValueError, match="labels of shape"):
        Encoded.of_ids([[1]], [0, 1])
