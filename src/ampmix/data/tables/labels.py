"""One spelling for each label, whatever the format, and doubts about labels and texts."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from ampmix._support.wording import counted
from ampmix.data.tables.table import listed, shown

_OTHER_BLANKS = re.compile("[\u00a0\u2007\u202f]")
_UNSEEN = "\u200b\u2060\ufeff \t\r\n\v\f\u00a0"
_WHOLE = re.compile(r"(-?\d{1,18})\.0+")
_MISSING_TEXTS = {"nan", "none", "null", "n/a", "#n/a", "<na>", "#value!", "#ref!"}
_MISSING = _MISSING_TEXTS | {"na", "nat", "nil", "undefined", "-", "?"}
_LIST = re.compile(r"""\[.*\]|[({]\s*['"].*[)}]""", re.DOTALL)
_MARKS = str.maketrans(
    "\u2018\u2019\u02bc\u201c\u201d\u2010\u2011\u2012\u2013\u2014_", "'''\"\"------"
)
_JOINTS = re.compile(r"(?<=\w)[\s-]+(?=\w)")
_SEPARATORS = "|;,/+&\n"


def canonical(label: str) -> str:
    """The one spelling of a label.

    Without blanks around it, with composed letters (NFC), plain blanks for no-break ones, whole
    numbers without ``.0``, and truth values in small letters, as JSON has them.

    >>> canonical(" 1.0"), canonical("True"), canonical("Cafe\u0301\u00a0"), canonical("1.5")
    ('1', 'true', 'Café', '1.5')
    """
    label = label.strip(_UNSEEN).strip()
    if not label.isascii():
        label = _OTHER_BLANKS.sub(" ", unicodedata.normalize("NFC", label))
    if (whole := _WHOLE.fullmatch(label)) is not None:
        return str(int(whole[1])) if whole[1].strip("-") == "0" else whole[1]
    return label.lower() if label in ("True", "TRUE", "False", "FALSE") else label


def as_spelled(labels: Iterable[str], classes: Sequence[str]) -> list[str]:
    """Labels in the spelling of a model's classes, where they are among them."""
    spelled = {canonical(name): name for name in reversed(classes)}
    known = set(classes)
    return [one if one in known else spelled.get(canonical(one), one) for one in labels]


def unified(labels: Sequence[str], name: str) -> tuple[list[str], list[str]]:
    """Labels in their one spelling, and a note on those that had several or another."""
    spelling = {label: canonical(label) for label in set(labels)}
    written: dict[str, set[str]] = defaultdict(set)
    for label, one in spelling.items():
        written[one].add(label)
    several = sorted(one for one, ways in written.items() if one and len(ways) > 1)
    notes = []
    if several:
        notes.append(
            f"labels of {name} that differ only in blanks, in how letters are composed or in how "
            f"a number is written are taken as one: {listed(several)}"
        )
    renamed = sorted(
        (min(ways), one)
        for one, ways in written.items()
        if one and len(ways) == 1 and unicodedata.normalize("NFC", min(ways).strip()) != one
    )
    if renamed:
        given, one = renamed[0]
        notes.append(f"labels of {name} such as {shown(given)} are called {shown(one)}")
    return [spelling[label] for label in labels], notes


def doubts(labels: Sequence[str], name: str) -> list[str]:
    """Notes on classes that may not be meant: near in spelling, missing, or lists."""
    counts = Counter(labels)
    return [*_near(counts, name), *_missing(counts, name), *_lists(counts, name)]


def _near(counts: Counter[str], name: str) -> list[str]:
    alike: dict[str, list[str]] = defaultdict(list)
    for label in sorted(counts):
        plain = unicodedata.normalize("NFKC", label).casefold().translate(_MARKS)
        alike[_JOINTS.sub(" ", plain).strip()].append(label)
    groups = [group for group in alike.values() if len(group) > 1]
    if not groups:
        return []
    told = "; ".join(listed(group) for group in groups[:5])
    return [
        f"labels of {name} differ only in case, blanks, dashes or quotes and are classes of "
        f"their own: {told}; spell them alike if they are one"
    ]


def _missing(counts: Counter[str], name: str) -> list[str]:
    return [
        f"the label {shown(label)} of {counted(counts[label], 'row')} of {name} looks missing: "
        "it is a class unless you empty those cells"
        for label in sorted(counts)
        if label.lower() in _MISSING
    ]


def _lists(counts: Counter[str], name: str) -> list[str]:
    """A note if labels are lists in brackets, or their parts stand in other labels too."""
    example = next((label for label in sorted(counts) if _LIST.fullmatch(label)), None)
    for separator in _SEPARATORS:
        if example is None:
            example = _compound(list(counts), separator)
    if example is None:
        return []
    return [
        f"labels of {name} look like lists, such as {shown(example)}: several labels a text are "
        "not supported, and each combination is a class of its own"
    ]


def _compound(labels: Sequence[str], separator: str) -> str | None:
    """A label of several parts, one of which stands in another label; None if there is none."""
    parts = {label: [one.strip() for one in label.split(separator)] for label in labels}
    stands_in = Counter(one for own in parts.values() for one in set(own) if one)
    several = sorted(label for label, own in parts.items() if len(own) > 1 and all(own))
    return next(
        (label for label in several if any(stands_in[one] > 1 for one in parts[label])), None
    )


def missing_texts(texts: Iterable[str], name: str) -> list[str]:
    """A note on texts that are only a word for a missing value."""
    found = Counter(text.strip() for text in texts if len(text) < 12 and looks_missing(text))
    if not found:
        return []
    words = listed(sorted(found))
    number = counted(sum(found.values()), f"text of {name} looks", f"texts of {name} look")
    return [f"{number} missing: {words}; empty those cells if so"]


def looks_missing(text: str) -> bool:
    """Return True for a text that a program writes where there is none, such as ``NaN``."""
    return text.strip().lower() in _MISSING_TEXTS
