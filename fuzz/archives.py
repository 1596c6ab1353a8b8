"""A zip file that a server sends in place of the one wanted."""

from __future__ import annotations

import hashlib
import io
import zipfile

from fuzz.target import Target, scratch, written

MEMBER = "data/rt-polarity.pos"


def archive(data: bytes) -> None:
    """Only the target may be written, whatever names the archive holds."""
    from ampmix._support.download import _wrong_member

    folder = scratch() / "archive"
    folder.mkdir(exist_ok=True)
    path = written("archive/data.zip", data)
    target = folder / "target"
    _wrong_member(path, MEMBER, target, hashlib.sha256(b"fine").hexdigest())
    assert {one.name for one in folder.iterdir()} <= {"data.zip", "target"}


def _seeds() -> list[bytes]:
    made = []
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        for name in (MEMBER, "../../evil", "/tmp/evil"):
            file = io.BytesIO()
            with zipfile.ZipFile(file, "w", method) as opened:
                opened.writestr(name, b"fine")
                opened.writestr(MEMBER + ".neg", b"other " * 20)
            made.append(file.getvalue())
    return made


WORDS = (b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07", MEMBER.encode())
TARGETS = (Target("archive", archive, _seeds, WORDS),)
