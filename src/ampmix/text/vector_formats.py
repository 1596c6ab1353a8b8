"""Read files of word vectors as a stream: GloVe text, word2vec text and word2vec binary."""

from __future__ import annotations

import contextlib
import gzip
import io
import lzma
import re
import struct
import zipfile
import zlib
from collections.abc import Container, Iterator
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import numpy.typing as npt

from ampmix._support.wording import counted
from ampmix.errors import AmpmixError

Entry = tuple[bytes, npt.NDArray[np.float32]]

_HEADER = re.compile(rb"\s*(\d+)\s+(\d+)\s*")
_DECIMAL = re.compile(rb"[-+]?\d*\.\d+(?:[eE][-+]?\d+)?")
_LONGEST = 2**20  # bytes of a line; 300 numbers take about 3,000
WIDEST = 2**14  # numbers of a vector: a table of them is made before the second is read
UNPACKED_TIMES, UNPACKED_AT_LEAST = 50, 2**24  # text of numbers packs to a third
_BLOCK = 2**20


def entries(path: Path, wanted: Container[bytes], member: str | None = None) -> Iterator[Entry]:
    """The vectors of the `wanted` words (UTF-8) in a file, in its order; float32 ``[d]`` each.

    GloVe text (``word 0.1 -0.2 ...``), the same with word2vec's header line (``words width``) and
    word2vec's binary form, each as it is, gzipped, or zipped. A line's numbers are counted from the
    right: words of GloVe 840B hold spaces. Nothing but the current line is held in memory.

    Args:
        path: the file.
        wanted: the words to give; the others are checked for their width alone.
        member: which file of a zip; needed if it holds more than one.

    Raises:
        AmpmixError: for a file that cannot be read, is no vectors file, was cut off, or has lines
            that differ in width, with the line.
    """
    try:
        with _opened(path, member) as stream:
            yield from _parsed(stream, wanted, path)
    except OSError as error:
        raise AmpmixError(f"cannot read vectors {path}: {error.strerror or error}") from error


@contextlib.contextmanager
def _unpacking(path: Path) -> Iterator[None]:
    """Raise one AmpmixError for the dozen exceptions of ``zipfile`` and ``gzip``."""
    try:
        yield
    except AmpmixError:
        raise
    # encryption is a RuntimeError, an unknown method a NotImplementedError, a place outside the
    # file a ValueError or an OSError, a name in no known characters a ValueError
    except (
        *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, RuntimeError),
        *(ValueError, LookupError, OverflowError, gzip.BadGzipFile),
    ) as error:
        raise AmpmixError(f"{path} is damaged or cut off ({error}): get the file again") from error


class _Bounded(io.RawIOBase):
    """Unpacked bytes, until they are too many times those that they were packed in."""

    def __init__(self, unpacked: IO[bytes], path: Path) -> None:
        self._unpacked, self._path = unpacked, path
        self._left = max(UNPACKED_AT_LEAST, UNPACKED_TIMES * path.stat().st_size)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer as far as one read goes."""
        with _unpacking(self._path):
            part = self._unpacked.read(len(buffer))
        self._left -= len(part)
        if self._left < 0:
            raise AmpmixError(
                f"{self._path} unpacks to more than {UNPACKED_TIMES} times its size: "
                "it holds no vectors"
            )
        buffer[: len(part)] = part
        return len(part)


@contextlib.contextmanager
def _opened(path: Path, member: str | None) -> Iterator[IO[bytes]]:
    """The unpacked bytes of a file, whatever its name says."""
    with path.open("rb") as raw:
        start = raw.read(4)
        raw.seek(0)
        if start[:2] == b"\x1f\x8b":
            with gzip.open(raw) as opened:
                yield io.BufferedReader(_Bounded(cast(IO[bytes], opened), path), _BLOCK)
        elif start == b"PK\x03\x04":
            with _unpacking(path):
                archive = zipfile.ZipFile(raw)
                names = [info.filename for info in archive.infolist() if not info.is_dir()]
                name = member or (names[0] if names else "")
                if name not in names or (member is None and len(names) > 1):
                    held = ", ".join(one[:80] for one in names[:10]) or "no file"
                    raise AmpmixError(
                        f"{path} holds {held}: unpack the file of vectors and give it"
                    )
                unzipped = archive.open(name)
            with unzipped:
                yield io.BufferedReader(_Bounded(unzipped, path), _BLOCK)
        else:
            yield raw


def _parsed(stream: IO[bytes], wanted: Container[bytes], path: Path) -> Iterator[Entry]:
    first = stream.readline(_LONGEST)
    if not first.strip():
        raise AmpmixError(f"{path} is empty: a file of vectors has a word and numbers on each line")
    header = _HEADER.fullmatch(first)
    if header is None:
        yield from _text(stream, wanted, path, first, 1, _width(first, path), None)
        return
    if len(first) > 40:
        raise AmpmixError(f"{path} announces more words than there are: it holds no vectors")
    count, width = int(header[1]), int(header[2])
    if not count or not width:
        what = f"{counted(count, 'word')} of {counted(width, 'number')}"
        raise AmpmixError(f"{path} announces {what}: it holds no vectors")
    _check_width(width, path)
    second = stream.readline(_LONGEST)
    if _is_text(second):
        yield from _text(stream, wanted, path, second, 2, width, count)
    else:
        yield from _binary(stream, wanted, path, second, width, count)


def _width(line: bytes, path: Path) -> int:
    """Number of numbers that end the first line, after at least one word."""
    fields, width = line.split(), 0
    for field in reversed(fields[1:]):
        try:
            float(field)
        except ValueError:
            break
        width += 1
    if width == 0 or b"\0" in line:
        shown = line[:40].decode("utf-8", "replace")
        raise AmpmixError(
            f"{path} does not hold word vectors: its first line begins with {shown!r}, "
            "where a word and its numbers, or word2vec's header, should be"
        )
    _check_width(width, path)
    return width


def _check_width(width: int, path: Path) -> None:
    if width > WIDEST:
        raise AmpmixError(
            f"{path} announces vectors of {width:,} numbers: at most {WIDEST:,} are read"
        )


def _is_text(line: bytes) -> bool:
    """Return True if a line is valid text; binary float32 numbers hardly ever are."""
    try:
        return all(c >= " " or c.isspace() for c in line.decode())
    except UnicodeDecodeError:
        return False


def _text(
    stream: IO[bytes],
    wanted: Container[bytes],
    path: Path,
    line: bytes,
    number: int,
    width: int,
    count: int | None,
) -> Iterator[Entry]:
    """Entries from `line`, the one with that number, on; `count` of them, if that is known."""
    seen = 0
    while line:
        if b"\0" in line:
            raise AmpmixError(f"{path}, line {number}: NUL byte; a file of vectors has none")
        if content := line.rstrip():
            spaces = content.count(b" ")
            if spaces == width:
                word = content[: content.index(b" ")]
            else:
                word = _spaced_word(content, width, path, number, cut=not line.endswith(b"\n"))
            if word in wanted:
                yield word, _numbers(content[len(word) :], width, path, number)
            seen += 1
        line = stream.readline(_LONGEST)
        number += 1
    if count is not None and seen != count:
        cut = ": the file seems cut off" if seen < count else ""
        raise AmpmixError(
            f"{path} holds {counted(seen, 'word')} where its first line says {count:,}{cut}"
        )


def _spaced_word(content: bytes, width: int, path: Path, number: int, cut: bool) -> bytes:
    """The word of a line that has not exactly `width` spaces: it may hold spaces itself."""
    fields = content.rsplit(b" ", width)
    if len(fields) == width + 1 and not _DECIMAL.fullmatch(fields[0].rsplit(b" ", 1)[-1]):
        return fields[0]
    hint = "the file seems cut off" if cut else "all lines must have as many"
    raise AmpmixError(
        f"{path}, line {number}: {content.count(b' ')} numbers where the first line has {width}; "
        f"{hint}"
    )


def _numbers(content: bytes, width: int, path: Path, number: int) -> npt.NDArray[np.float32]:
    try:
        vector = np.array([float(field) for field in content.split()], dtype=np.float32)
    except ValueError as error:
        raise AmpmixError(f"{path}, line {number}: {str(error)[:120]}") from None
    if len(vector) != width or not np.isfinite(vector).all():
        raise AmpmixError(f"{path}, line {number}: not {width} finite numbers")
    return vector


def _binary(
    stream: IO[bytes], wanted: Container[bytes], path: Path, buffer: bytes, width: int, count: int
) -> Iterator[Entry]:
    """word2vec's binary form: word, space, `width` little-endian float32 and perhaps a newline."""
    size, start = 4 * width, 0
    for index in range(count):
        while (space := buffer.find(b" ", start)) < 0 or len(buffer) < space + 1 + size:
            block = stream.read(_BLOCK)
            if not block or (space < 0 and len(buffer) - start > _LONGEST):
                raise AmpmixError(
                    f"{path} ends or goes astray at word {index + 1} of {count}: "
                    "it is cut off, or not word2vec's binary form"
                )
            buffer, start = buffer[start:] + block, 0
        word = buffer[start:space].lstrip(b"\n")
        start = space + 1 + size
        if word in wanted:
            vector = np.frombuffer(buffer, "<f4", width, space + 1).astype(np.float32)
            if not np.isfinite(vector).all():
                raise AmpmixError(f"{path}, word {index + 1}: not {width} finite numbers")
            yield word, vector
    if (buffer[start:] + stream.read(16)).strip():
        raise AmpmixError(
            f"{path} holds more than the {counted(count, 'word')} that its first line says"
        )
