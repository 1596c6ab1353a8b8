"""Input and output of `ampmix predict`: texts or a file, and rows that hold no text."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from ampmix._support.files import whole
from ampmix._support.wording import counted
from ampmix.cli.output import cut
from ampmix.errors import AmpmixError

if TYPE_CHECKING:
    from ampmix.models.predict import Predicted

_TABLE = re.compile(
    r".*\.(csv|tsv|txt|jsonl?|ndjson|parquet|xls[xm]?|ods)(\.(gz|bz2|xz|zst))?",
    re.IGNORECASE | re.DOTALL,
)
_UNWRITTEN = (".parquet", ".xlsx", ".xlsm", ".xls", ".ods", ".zst", ".zip")
_PACKERS: dict[str, Callable[[BinaryIO], Any]] = {
    ".gz": lambda file: gzip.GzipFile("", "wb", fileobj=file, mtime=0),
    ".bz2": partial(bz2.BZ2File, mode="wb"),
    ".xz": partial(lzma.LZMAFile, mode="wb"),
}
_PATH = re.compile(r"[^\s]*([/\\][^\s]*|\.[A-Za-z][A-Za-z0-9]{0,7})")


class Doubts:
    """Counts of texts that are cut, unknown, unsure, empty, or a word for a missing value.

    Args:
        max_length: tokens after which the model cuts a text.
        min_confidence: probability below which a text gets no label.
        precision: that texts are read in.
    """

    def __init__(
        self, max_length: int, min_confidence: float = 0.0, precision: str = "float32"
    ) -> None:
        from ampmix.text.coverage import ReadingCoverage

        self._max_length, self._least, self._precision = max_length, min_confidence, precision
        self._unsure = 0
        self._truncated, self._coverage = 0, ReadingCoverage()
        self._empty = self._compared = self._changed = 0
        self._words: Counter[str] = Counter()

    def add(self, chunk: Predicted[Any]) -> None:
        """Count what the model could not read of a chunk."""
        self._truncated += chunk.truncated
        self._compared += chunk.compared
        self._changed += chunk.changed
        self._coverage += chunk.coverage

    def has_text(self, text: str) -> bool:
        """Return True if there is a text to predict; counts those where there is none."""
        from ampmix.data.tables.labels import looks_missing

        if not text.strip():
            self._empty += 1
            return False
        if len(text) < 12 and looks_missing(text):
            self._words[text.strip()] += 1
        return True

    def is_sure(self, probability: float) -> bool:
        """Return True if the likeliest class is likely enough; counts those where it is not."""
        self._unsure += probability < self._least
        return probability >= self._least

    def notes(self) -> list[str]:
        """Sentences on what was counted."""
        from ampmix.data.tables.table import listed
        from ampmix.models.faster import SAMPLE

        notes = []
        if self._compared:
            notes.append(
                f"of {counted(self._compared, 'text')} that were read in float32, too, "
                f"{self._changed:,} got another label in {self._precision}"
            )
        elif self._precision != "float32":
            notes.append(
                f"up to {SAMPLE} texts are read in float32: {self._precision} gains nothing"
            )
        if self._truncated:
            notes.append(cut(self._truncated, counted(self._max_length, "token")))
        coverage = replace(self._coverage, blind=self._coverage.blind - self._empty)
        if coverage.low:
            notes.append(coverage.sentence("texts"))
        if self._empty:
            notes.append(
                f"{counted(self._empty, 'text is', 'texts are')} empty or missing: "
                f"{'its label is' if self._empty == 1 else 'their labels are'} left empty"
            )
        if self._unsure:
            notes.append(
                f"{counted(self._unsure, 'text has', 'texts have')} no class of probability "
                f"{self._least:g} or more (--min-confidence): no label, for a person to look at"
            )
        if self._words:
            number = counted(sum(self._words.values()), "text looks", "texts look")
            notes.append(
                f"{number} missing and got a label all the same: {listed(sorted(self._words))}"
            )
        return notes


def given_texts(given: Sequence[str]) -> list[str] | None:
    """The arguments as texts; None if they are one file.

    An argument is a text if there is no file of that name and it does not look like one.

    Raises:
        AmpmixError: for several files, or files among texts.
    """
    files = [one for one in given if one == "-" or _is_file(one)]
    if not files:
        return list(given)
    if len(given) > 1:
        raise AmpmixError(
            f"unexpected argument {given[1]!r}: one FILE at a time, or texts alone; what is "
            "written goes to --out FILE"
        )
    return None


def _is_file(name: str) -> bool:
    if not name.strip():
        return False  # as a path it is the folder that one is in
    with contextlib.suppress(OSError, ValueError):  # a text may be too long for a name
        if Path(name).exists():
            return True
    if _TABLE.fullmatch(name[-40:]) or _PATH.fullmatch(name):
        return True
    with contextlib.suppress(OSError, ValueError):
        return name.startswith(("/", "./", "../", "~/")) and Path(name).parent.is_dir()
    return False


@contextlib.contextmanager
def source(name: str) -> Iterator[tuple[BinaryIO, Path]]:
    """The file to read, and what to call it."""
    if name == "-":
        yield sys.stdin.buffer, Path("standard input")
        return
    path = Path(name)
    if path.is_dir():
        raise AmpmixError(f"{name!r} is a folder: give one file in it")
    try:
        file = path.open("rb")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise AmpmixError(f"cannot read {name!r} ({reason}): check the path") from None
    with file:
        yield file, path


@contextlib.contextmanager
def sink(name: str | None) -> Iterator[BinaryIO]:
    """Open the output; a file appears when it is whole, so that no part passes for all of it."""
    if name is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = Path(name)
    if (suffix := path.suffix.lower()) in _UNWRITTEN:
        raise AmpmixError(
            f"these rows are not written as {suffix}: give --out FILE.csv or FILE.csv.gz, not "
            f"{name!r}"
        )
    if path.exists() and not path.is_file():  # a pipe or a device
        with path.open("wb") as file:
            yield file
        return
    try:
        with whole(path) as draft, draft.open("wb") as file:
            if suffix not in _PACKERS:
                yield file
                return
            with _PACKERS[suffix](file) as packed:
                yield packed
    except FileNotFoundError:
        raise AmpmixError(f"cannot write {name!r}: there is no folder {path.parent}") from None
