"""Bytes as text: marks of UTF-16, and advice that was tried on the bytes before it is given."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

from ampmix.data.tables.table import fault
from ampmix.data.tables.unpacked import HEAD, WAYS_OUT, kind
from ampmix.errors import AmpmixError

_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffe\uffff]")
_WESTERN = ("cp1252", "latin-1")
_OTHERS = ("cp1251", "shift_jis", "gb18030", "big5", "euc_kr")
_MARKS = {
    b"\xff\xfe\0\0": "utf-32",
    b"\0\0\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}


def decoded(path: Path, raw: bytes, encoding: str | None) -> str:
    """The file's bytes as text, without a byte order mark.

    Without an `encoding` a byte order mark tells it; else it is UTF-8.
    """
    name = encoding or marked(raw) or "utf-8"
    check_marked(path, raw, encoding)
    try:
        return raw.decode(name).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise fault(
            path,
            f"is not {name}: line {line} holds the byte 0x{raw[error.start]:02x}; {advice(raw)}",
        ) from None
    except (LookupError, ValueError):
        raise unknown_encoding(path, name) from None


def unknown_encoding(path: Path, encoding: str) -> AmpmixError:
    """An error about an encoding that there is not."""
    return AmpmixError(
        f"cannot read {str(path)!r} with encoding {encoding!r}: "
        "give one such as utf-8, utf-16, cp1252 or latin-1"
    )


def marked(head: bytes) -> str | None:
    """The encoding that a byte order mark tells, other than UTF-8."""
    return next((name for mark, name in _MARKS.items() if head.startswith(mark)), None)


def check_marked(path: Path, head: bytes, encoding: str | None) -> None:
    """Raise AmpmixError for UTF-16 or UTF-32 that is about to be read as something else.

    Without its mark it is often no wrong UTF-8, and with it no wrong cp1252.
    """
    if encoding is not None and _name(encoding).startswith(("utf-16", "utf-32")):
        return
    if encoding is not None and (name := marked(head)) is not None:
        raise fault(path, f"is {name}, as its first bytes say, and not {encoding}: {_give(name)}")
    if (name := _unmarked(head)) is not None:
        raise fault(
            path,
            f"is {name[:6].upper()} without its byte order mark: it decodes as {name}; "
            f"{_give(name)}",
        )


def _name(encoding: str) -> str:
    """Python's name of an encoding; as it is where there is none."""
    try:
        return codecs.lookup(encoding).name
    except (LookupError, ValueError):
        return encoding


def _unmarked(head: bytes) -> str | None:
    """UTF-16 that has many control characters if it is taken for ASCII."""
    start = head[: min(64, len(head) // 2 * 2)]
    if len(start) < 8 or marked(head):
        return None
    if len(re.findall(rb"[\x00-\x08\x0e-\x1f]", start)) < len(start) / 4:
        return None
    return _as_utf16(head[:HEAD], whole=len(head) < 64)  # else it may end within a letter


def _as_utf16(raw: bytes, whole: bool = True) -> str | None:
    """The kind of UTF-16 or UTF-32 as which bytes are a text with line ends or delimiters."""
    for name in ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"):
        if _fits(raw, name, whole) and re.search(r"[\n,;\t]", raw.decode(name, "replace")):
            return name
    return None


def advice(raw: bytes) -> str:
    """The way out for bytes that do not decode: what they were found to be."""
    if (name := marked(raw)) is not None:
        return _give(name)
    if found := kind(raw[:HEAD]):
        return f"it {WAYS_OUT.get(found, f'is {found}: unpack it')}"
    if b"\0" in raw:
        if (name := _as_utf16(raw)) is not None:
            return f"it decodes as {name}: {_give(name)}"
        return "it holds zero bytes, so that it is no text, or in an encoding to be given"
    if _fits(raw, "utf-8"):
        return "it decodes as utf-8: leave --encoding out"
    if _nearly_utf8(raw):
        return "all else is UTF-8, so that this line is damaged: mend it"
    names = _WESTERN if _western(raw) else _OTHERS
    fitting = [f"--encoding {name}" for name in names if _fits(raw, name)]
    if not fitting:
        return "write it as UTF-8, or give the --encoding that it was written in"
    return f"give its encoding, such as {' or '.join(fitting)}"


def other_reading(path: Path, head: bytes, encoding: str | None) -> list[str]:
    """A note if bytes with letters beyond ASCII are UTF-8, and another encoding was given."""
    if encoding is None or head.isascii() or _name(encoding).startswith("utf"):
        return []
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return []
    return [
        f"{path.name} is UTF-8, too, and is read as {encoding}: leave --encoding out if its "
        "letters come out wrong"
    ]


def _give(name: str) -> str:
    return f"give --encoding {name}"


def _fits(raw: bytes, name: str, whole: bool = True) -> bool:
    """Return True if the bytes, or those of a beginning, decode to no control characters."""
    try:
        text = codecs.getincrementaldecoder(name)().decode(raw, final=whole)
        return _CONTROLS.search(text) is None
    except ValueError:
        return False


def _western(raw: bytes) -> bool:
    """Return True if letters beyond ASCII stand alone, as in Western languages."""
    beyond = re.findall(rb"[\x80-\xff]+", raw)
    return sum(len(run) for run in beyond if len(run) > 2) * 2 <= sum(map(len, beyond))


def _nearly_utf8(raw: bytes) -> bool:
    """Return True if letters beyond ASCII are UTF-8 more often than not: others hardly look so."""
    text = raw.decode("utf-8", "replace")
    wrong = text.count("\ufffd")
    return sum(not c.isascii() for c in text) - wrong > wrong
