"""Lines of fastText: ``__label__NAME``, then the text."""

from __future__ import annotations

from pathlib import Path

from ampmix.data.tables.table import fault, shown

PREFIX = "__label__"
COLUMNS = ["label", "text"]


def is_fasttext(start: str) -> bool:
    """Return True if a file that begins so is one of fastText.

    >>> is_fasttext("__label__spam buy now"), is_fasttext("text,label")
    (True, False)
    """
    return start.lstrip("\ufeff \r\n\t").startswith(PREFIX)


def label_and_text(path: Path, number: int, line: str) -> list[str]:
    """Label and text of a line; "" where there is none. AmpmixError for several labels."""
    rest, labels = line.strip(" \t\r\n"), []
    while rest.startswith(PREFIX):
        label, _, rest = rest.removeprefix(PREFIX).partition(" ")
        label, tab, more = label.partition("\t")
        labels.append(label)
        rest = (f"{more} {rest}" if tab else rest).lstrip()
    if len(labels) > 1:
        raise fault(
            path,
            f"has the labels {shown(labels[0])} and {shown(labels[1])} in line {number}: several "
            "labels a text are not supported, keep one",
        )
    return [labels[0] if labels else "", rest]
