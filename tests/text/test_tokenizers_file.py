"""Our tokenizers as files of the library `tokenizers`: the same ids for texts of any script."""

from __future__ import annotations

import random
import unicodedata

import pytest
import tokenizers

from ampmix.text.reader import WordReader
from ampmix.text.tokenizers import TOKENIZERS

PARTS = [
    *("don't", "DON'T", "it's", "we've", "n't", "'s", "'re'd", "he'll", "(a)", "!?", ",", "-"),
    *("`x`", "a-b", "l\u2019été", "3.5", "1,000.5", "naïve", "e\u0301", "Ünïcode", "a\u2010b"),
    *("映画が好き", "สวัสดี", "हिन्दी", "👍🏽", "👩\u200d👩\u200d👧", "🇩🇪🇫🇷", "⭐", "İstanbul"),
    *("ΟΔΟΣ ΣΑΣ", "ΣΑΣ'", "Σ", "ß", "\ufb01", "²", "½", "Ⅷ", "\u200bx", "\u00ad", "\x00", "\x85"),
    *(
        "_a_b",
        "o" + "\u0301" * 40 + "k",
        "١٢٣",
        "\u06f3.\u06f5",
        "x\u200dy",
        "\u2028",
        "[PAD]",
        "[UNK]",
    ),
]
RANGES = [(32, 0x2FF)] * 3 + [(32, 0xD7FF), (0xE000, 0xFFFF), (0x10000, 0x1FFFF)]


def drawn(rng: random.Random) -> str:
    """A text of awkward parts, of letters of a range, or of what the paper's cleaning looks at."""
    kind = rng.random()
    if kind < 0.5:
        return rng.choice(["", " "]).join(rng.choices(PARTS, k=rng.randint(0, 6)))
    if kind < 0.8:
        letters = (chr(rng.randint(*rng.choice(RANGES))) for _ in range(rng.randint(1, 12)))
        # those that one of the two versions of Unicode lacks have no class there
        return "".join(c for c in letters if unicodedata.category(c) != "Cn")
    return "".join(rng.choices("nt'srevdl ,()!?AB'`-.", k=rng.randint(1, 20)))


@pytest.mark.parametrize("name", TOKENIZERS)
def test_ids_are_those_of_the_reader(name: str) -> None:
    rng = random.Random(0)
    texts = [drawn(rng) for _ in range(4000)]
    reader = WordReader.of_texts(texts[::2], name, max_length=4)  # half of the words are unknown
    told, files = reader.exported("model")
    assert told["file"] == "model.tokenizer.json" and files.keys() == {told["file"]}
    theirs = tokenizers.Tokenizer.from_str(files[told["file"]])
    ours = reader.encode(texts)
    read = theirs.encode_batch(texts)
    assert ours.truncated > 100 and (ours.tokens == 1).sum() > 100
    for i, own in enumerate(read):
        wanted = ours.tokens[ours.offsets[i] : ours.offsets[i + 1]].tolist()
        found = [one for one, kept in zip(own.ids, own.attention_mask, strict=True) if kept]
        assert (found or [1]) == wanted, ascii(texts[i])
        assert own.ids[len(found) :] == [0] * (len(own.ids) - len(found))


def test_where_unknown_words_are_left_out_there_is_none() -> None:
    reader = WordReader.of_texts(["a film"], "words")
    assert WordReader("words", reader.vocabulary, 5, skip_unknown=True).exported("m")[1] == {}
