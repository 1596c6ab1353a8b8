"""Tokenizers: the paper's, and one for words of any script."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from itertools import chain

MOST_MARKS = 30
Tokenizer = Callable[[str], list[str]]

KIM_DROPPED = re.compile(r"[^A-Za-z0-9(),!?'`]")
KIM_CLITICS = ("'s", "'ve", "'re", "'d", "'ll", "n't")
_KIM_CLITIC = re.compile("|".join(KIM_CLITICS))
KIM_PUNCTUATION = re.compile(r"[(),!?]")

# Thai, Lao, Burmese, Khmer; then kana, bopomofo and Han with their extensions; half-width kana.
UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
    "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3040-\u312f\u31a0-\u31bf\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U0001b000-\U0001b16f"
    "\U00020000-\U0003fffd"
)
# Invisible characters that carry no text: dropped, except that a zero-width space parts words.
_INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200e\u200f\u2060\u2066\u2067\u2068\u2069\ufeff"))
_INVISIBLE |= dict.fromkeys(range(0x202A, 0x202F))
_SPACES = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0), 0x200B], " ")
_SURROGATES = dict.fromkeys(range(0xD800, 0xE000), "\ufffd")
CLEAN = str.maketrans({**_INVISIBLE, **_SPACES, **_SURROGATES, 0x2019: "'"})


def kim(text: str) -> list[str]:
    """Lower-cased tokens after the cleaning that Kim (2014) used for MR and SUBJ.

    Keeps ASCII letters, digits and ``(),!?'`` with the back-quote; splits clitics and punctuation.
    The clitics are split before lower-casing, as there, so ``DON'T`` stays whole.

    >>> kim("It's a film -- isn't it?")
    ['it', "'s", 'a', 'film', 'is', "n't", 'it', '?']
    """
    return [token.lower() for token in kim_cased(text)]


def kim_cased(text: str) -> list[str]:
    """Tokens of :func:`kim` with the case kept, as Kim (2014) did for TREC.

    >>> kim_cased("What did Jesse Jackson's group organize ?")
    ['What', 'did', 'Jesse', 'Jackson', "'s", 'group', 'organize', '?']
    """
    text = _KIM_CLITIC.sub(r" \g<0>", KIM_DROPPED.sub(" ", text))
    return KIM_PUNCTUATION.sub(r" \g<0> ", text).split()


def kim_sst(text: str) -> list[str]:
    """Lower-cased tokens as Kim (2014) made them of SST, whose words are parted already.

    Of the cleaning of `kim` only the first step: other characters than those kept become blanks.

    >>> kim_sst("A well-made film , it does n't bore .")
    ['a', 'well', 'made', 'film', ',', 'it', 'does', "n't", 'bore']
    """
    return KIM_DROPPED.sub(" ", text).lower().split()


def words(text: str) -> list[str]:
    """Lower-cased words, numbers, punctuation marks and emoji of a text in any language.

    Unicode NFC. A word keeps its inner apostrophes and hyphens, a number its inner points and
    commas, a letter its combining marks, an emoji its joined parts. Scripts written without spaces
    (Chinese, Japanese, Thai, ...) give one token a character. Control characters part words.

    >>> words("State-of-the-art, isn't it? 3.5 ⭐ 映画")
    ['state-of-the-art', ',', "isn't", 'it', '?', '3.5', '⭐', '映', '画']
    """
    # Lower-casing can undo the composition (a dotted capital I), so compose once more. Composing
    # sorts runs of marks in quadratic time: no word of any language has as many as are kept.
    if not text.isascii():
        text = _long_marks().sub(r"\1", text)
    text = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).lower())
    return word_pattern().findall(text.translate(CLEAN))


@lru_cache(maxsize=1)
def marks() -> str:
    """All combining marks."""
    marked = (chr(i) for i in chain(range(0x300, 0x1F000), range(0xE0100, 0xE01F0)))
    return "".join(c for c in marked if unicodedata.category(c)[0] == "M")


@lru_cache(maxsize=1)
def _long_marks() -> re.Pattern[str]:
    """More marks on one letter than Unicode's stream-safe format has (UAX 15: 30)."""
    return re.compile(rf"([{marks()}]{{{MOST_MARKS}}})[{marks()}]+")


@lru_cache(maxsize=1)
def word_pattern() -> re.Pattern[str]:
    """Pattern of a word for `words`: ``\\w`` and the marks of Indic scripts, which it lacks."""
    own = marks()
    joiners = "\u200c\u200d"
    extend = rf"[{own}{joiners}\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]"
    letter = rf"[^\W{UNSPACED}]"
    part = rf"{letter}(?:{letter}|{extend})*"
    flag = "[\U0001f1e6-\U0001f1ff]{2}"
    return re.compile(
        rf"\d+(?:[.,]\d+)+|{part}(?:['\u2010\u2011-]{part})*|[{UNSPACED}]{extend}*|{flag}"
        rf"|[^\s\w]{extend}*(?:(?<=\u200d)[^\s\w]{extend}*)*"
    )


TOKENIZERS: dict[str, Tokenizer] = {
    "kim": kim,
    "kim-cased": kim_cased,
    "kim-sst": kim_sst,
    "words": words,
}
