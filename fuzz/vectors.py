"""Files of word vectors: text, binary, gzipped, zipped. Byte 0 says how the rest is wrapped."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile

from fuzz.target import Target, written

WANTED = frozenset({b"the", b"cat", b"a b", "naïve".encode(), b"", b"0"})


def vectors(data: bytes) -> None:
    """Every entry of a file."""
    from ampmix.text.vector_formats import entries

    kind, content = (data[0] if data else 0) % 4, data[1:]
    if kind == 1:
        content = gzip.compress(content, compresslevel=1)
    elif kind == 2:
        content = _zipped(content)
    for word, vector in entries(written("vectors.txt", content), WANTED):
        assert word in WANTED
        assert vector.dtype == "float32"


def _zipped(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("vectors.txt", content)
    return file.getvalue()


def _seeds() -> list[bytes]:
    lines = b"the 0.1 -0.2 0.3\ncat 1e-3 2.5 -0.0\na b 0.5 0.25 0.125\n"
    numbers = struct.pack("<3f", 0.5, -1.0, 2.0)
    binary = b"2 3\nthe " + numbers + b"\ncat " + numbers + b"\n"
    plain = [lines, b"3 3\n" + lines, binary, b"1 1\nthe 0.5\n", b"\n", b""]
    packed = [gzip.compress(lines), gzip.compress(binary), _zipped(lines), _zipped(binary)]
    return [bytes([kind]) + content for kind in (0, 1, 2) for content in plain] + [
        b"\x03" + content for content in packed
    ]


WORDS = (b"nan", b"inf", b"1e39", b"2 3\n", b"99999999 99999999\n", b"PK\x03\x04", b"\x1f\x8b\x08")
TARGETS = (Target("vectors", vectors, _seeds, WORDS),)
