"""Kinds of files by their first bytes, and the bytes in gzip, bzip2, xz and zstd, within limits."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from ampmix.data.tables.table import fault

TIMES, AT_LEAST = 200, 2**26  # bytes unpacked, to those packed
HEAD = 8192  # bytes by which a kind is known
PACKED = {".gz": "gzip", ".bz2": "bzip2", ".xz": "xz", ".zst": "zstd"}

_MAGIC = {
    "gzip": rb"\x1f\x8b\x08",
    "bzip2": rb"BZh[1-9](1AY&SY|\x17rE8P\x90)",
    "xz": rb"\xfd7zXZ\x00",
    "zstd": rb"\x28\xb5\x2f\xfd",
    "zip": rb"PK(\x03\x04|\x05\x06)",
    "Parquet": rb"PAR1[\x00-\x1f]",
    "xls": rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
    "PDF": rb"%PDF-\d",
    "SQLite": rb"SQLite format 3\x00",
}
WAYS_OUT = {
    "zip": "is a zip archive: unpack it, and give the file that it holds",
    "xlsx": "is an Excel workbook: give it a name that ends in .xlsx",
    "Parquet": "is Parquet: give it a name that ends in .parquet",
    "xls": "is a document of an old Office: save it as .xlsx or .csv",
    "PDF": "is a PDF: write its texts as .csv",
    "SQLite": "is an SQLite database: write its table as .csv",
}


def kind(head: bytes) -> str:
    """The kind of a file that begins so, "" if by its first bytes it may be text.

    >>> kind(gzip.compress(b"text")), kind(b"text,label")
    ('gzip', '')
    """
    for name, magic in _MAGIC.items():
        if re.match(magic, head, re.DOTALL):
            office = name == "zip" and (b"[Content_Types].xml" in head or b"xl/" in head)
            return "xlsx" if office else name
    return ""


def suffix_of(path: Path) -> str:
    """The suffix that tells the format, in small letters: that of ``a.csv.gz`` is ``.csv``."""
    suffix = path.suffix.lower()
    return path.with_suffix("").suffix.lower() if suffix in PACKED else suffix


def unpacked(file: BinaryIO, path: Path) -> tuple[BinaryIO, list[str]]:
    """The file's bytes, unpacked if they are packed, whatever its name says; and notes.

    Raises:
        AmpmixError: for kinds of files that hold no text.
    """
    reader: Any = file if hasattr(file, "peek") else io.BufferedReader(cast(Any, file))
    found = kind(reader.peek(HEAD)[:HEAD])
    if not found:
        return reader, []
    if found in WAYS_OUT:
        raise fault(path, WAYS_OUT[found])
    inner = io.BufferedReader(_Unpacked(reader, path, found), 2**16)
    if within := kind(inner.peek(HEAD)[:HEAD]):
        raise fault(path, f"is {found} of {within}: unpack it, and give the file that it holds")
    named = PACKED.get(path.suffix.lower()) == found
    notes = [] if named else [f"{path.name} is {found}, and is unpacked while it is read"]
    return cast(BinaryIO, inner), notes


class _Counted(io.RawIOBase):
    """Packed bytes, and how many of them were taken."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.taken = file, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer as far as one read goes."""
        part = self._file.read(len(buffer))
        self.taken += len(part)
        buffer[: len(part)] = part
        return len(part)


class _Unpacked(io.RawIOBase):
    """Unpacked bytes, until they are too many times those that they were packed in."""

    def __init__(self, file: BinaryIO, path: Path, found: str) -> None:
        self._packed = _Counted(file)
        source = io.BufferedReader(self._packed)
        self._unpacked = _zstd(source, path) if found == "zstd" else _OPENERS[found](source)
        self._path, self._kind, self._size = path, found, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer as far as one read goes."""
        try:
            part = self._unpacked.read(len(buffer))
        except (EOFError, OSError, ValueError, zlib.error, lzma.LZMAError, RuntimeError):
            raise fault(
                self._path, f"is damaged or cut off ({self._kind}): get the file again"
            ) from None
        self._size += len(part)
        if self._size > max(AT_LEAST, TIMES * self._packed.taken):
            raise fault(
                self._path,
                f"unpacks to more than {TIMES} times its size: it is no table of texts, or one "
                "text over and over",
            )
        buffer[: len(part)] = part
        return len(part)


def _zstd(source: IO[bytes], path: Path) -> Any:
    """By whichever library there is; Python has one from 3.14 on."""
    try:
        from compression import zstd

        return zstd.ZstdFile(source)
    except ImportError:
        pass
    try:
        import pyarrow

        return pyarrow.CompressedInputStream(source, "zstd")
    except ImportError:
        raise fault(
            path, "is zstd, which needs Python 3.14 or pyarrow: unpack it with zstd -d"
        ) from None


_OPENERS: dict[str, Callable[[IO[bytes]], Any]] = {
    "gzip": lambda source: gzip.GzipFile(fileobj=source),
    "bzip2": bz2.BZ2File,
    "xz": lzma.LZMAFile,
}
