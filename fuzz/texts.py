"""Texts themselves: whatever characters they hold, they become tokens in time."""

from __future__ import annotations

from fuzz.target import Target

REPEATED = 400


def text(data: bytes) -> None:
    """Every tokenizer, on the text and on the text many times over, then a batch."""
    from ampmix.text.reader import WordReader
    from ampmix.text.tokenizers import TOKENIZERS

    once = data[1:].decode("utf-8", "surrogateescape" if data[:1] == b"\x01" else "replace")
    for name in TOKENIZERS:
        texts = [once, once * REPEATED] if data[:1] == b"\x02" else [once]
        reader = WordReader.of_texts(texts, name, 64)
        ids, mask, _ = reader.encode(texts, [0] * len(texts)).batch(range(len(texts)))
        assert ids.shape == mask.shape
        assert mask.any(1).all()


def _seeds() -> list[bytes]:
    plain = [
        "State-of-the-art, isn't it? 3.5 ⭐",
        "映画を見た",
        "a\u0300\u0316b",
        "👩‍👩‍👧 🇫🇷",
        "İΣς ß",
    ]
    return [bytes([i]) + one.encode() for one in plain for i in (0, 2)] + [b"\x01\xed\xa0\x80", b""]


WORDS = tuple(
    one.encode() for one in ("\u0300", "\u0316", "\u200d", "'", "-", "1.1", "\u0e31", "\ufe0f", "Σ")
)
TARGETS = (Target("text", text, _seeds, WORDS, share=0.05, longest=256),)
