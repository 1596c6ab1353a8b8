"""Our tokenizers as files of the library ``tokenizers``, for programs that have no ampmix.

The library has other means than Python: normalizers that replace by a fixed string, then a split by
a pattern. Each tokenizer is said again in these, with the same patterns where that can be, and the
tests hold both against each other on texts of all scripts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from ampmix.text import tokenizers as own
from ampmix.text.encoded import PADDING, UNKNOWN

PAD, UNK = "[PAD]", "[UNK]"  # no tokenizer of ours leaves capitals between brackets
Part = dict[str, Any]


def tokenizers_file(tokenizer: str, words: Sequence[str], max_length: int) -> str:
    """The content of a ``tokenizer.json`` that reads, cuts and pads as a reader of ours does.

    A text without words has no ids there; the reader gives it one unknown word.

    Args:
        tokenizer: a key of ``TOKENIZERS``.
        words: the vocabulary, whose first word has id 2.
        max_length: tokens after which a text is cut.

    >>> import tokenizers
    >>> read = tokenizers.Tokenizer.from_str(tokenizers_file("words", ["a", "film"], 8))
    >>> read.encode("A film, a play").ids
    [2, 3, 1, 2, 1]
    """
    normalizers, splits = _PARTS[tokenizer]()
    names = {PAD: PADDING, UNK: UNKNOWN, **{word: i for i, word in enumerate(words, 2)}}
    content: Part = {
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": max_length, "strategy": "LongestFirst",
                       "stride": 0},
        "padding": {"strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": None,
                    "pad_id": PADDING, "pad_type_id": 0, "pad_token": PAD},
        "added_tokens": [],
        "normalizer": {"type": "Sequence", "normalizers": normalizers},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": splits},
        "post_processor": None,
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": names, "unk_token": UNK},
    }  # fmt: skip
    return json.dumps(content, ensure_ascii=False)


def _replace(pattern: str, by: str) -> Part:
    return {"type": "Replace", "pattern": {"Regex": pattern}, "content": by}


def _split(pattern: str, behavior: str, invert: bool = False) -> Part:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior, "invert": invert}


LOWER: Part = {"type": "Lowercase"}
NFC: Part = {"type": "NFC"}
BLANKS: Part = {"type": "WhitespaceSplit"}


def _kim(lower: bool = True, clitics: bool = True) -> tuple[list[Part], list[Part]]:
    """Parts for :func:`ampmix.text.tokenizers.kim`: a blank before a clitic parts it."""
    parts = [_replace(own.KIM_DROPPED.pattern, " ")]
    for clitic in own.KIM_CLITICS if clitics else ():  # none overlaps another
        parts.append({**_replace("", f" {clitic}"), "pattern": {"String": clitic}})
    splits = [_split(own.KIM_PUNCTUATION.pattern, "Isolated")] if clitics else []
    return parts + [LOWER] * lower, [*splits, BLANKS]


def _words() -> tuple[list[Part], list[Part]]:
    """Parts for :func:`ampmix.text.tokenizers.words`."""
    marks = own.marks()
    parts = [
        _replace(f"(?<=[{marks}]{{{own.MOST_MARKS}}})[{marks}]+", ""),
        NFC,
        _replace(_FINAL_SIGMA, "\u03c2"),  # which Python's lower() knows
        LOWER,
        NFC,
        _replace(f"[{_listed(c for c, by in own.CLEAN.items() if by is None)}]", ""),
        _replace(f"[{_listed(c for c, by in own.CLEAN.items() if by == ' ')}]", " "),
        _replace("\u2019", "'"),
    ]
    pattern = _ESCAPE.sub(lambda code: chr(int(code[1], 16)), own.word_pattern().pattern)
    for ours, theirs in _CLASSES.items():
        pattern = pattern.replace(ours, theirs)
    return parts, [_split(pattern, "Removed", invert=True)]


_WORD = r"\p{L}\p{N}_"  # of Python; the library's has marks, and no fractions
_CLASSES = {rf"[^\W{own.UNSPACED}]": rf"[{_WORD}&&[^{own.UNSPACED}]]", r"\s\w": rf"\s{_WORD}"}
_CASED = r"[\p{Uppercase}\p{Lowercase}\p{Lt}&&[^\p{Lm}]]"
_BETWEEN = r"[\p{Mn}\p{Me}\p{Cf}\p{Lm}\p{Sk}'.:\x{B7}\x{2018}\x{2019}\x{2024}\x{2027}]"
_BEHIND = "|".join(f"(?<={_CASED}{_BETWEEN * count})" for count in range(3))
_FINAL_SIGMA = f"(?:{_BEHIND})\u03a3(?!{_BETWEEN}*{_CASED})"
"""A capital sigma that ends a word, as Unicode's rule has it, with up to two marks before it."""
_ESCAPE = re.compile(r"\\(?:U|u)((?<=U)[0-9a-f]{8}|(?<=u)[0-9a-f]{4})")
"""A code point as Python's patterns spell it."""


def _listed(codes: Iterable[int]) -> str:
    return "".join(f"\\x{{{code:X}}}" for code in codes)


_PARTS = {
    "kim": _kim,
    "kim-cased": lambda: _kim(lower=False),
    "kim-sst": lambda: _kim(clitics=False),
    "words": _words,
}
