"""Many records in one file: gzipped JSON lines, small enough to keep beside code."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from ampmix._support.files import whole
from ampmix.errors import AmpmixError
from ampmix.records.store import RunRecord, read_record, run_id

SUFFIX = ".jsonl.gz"


def is_pack(name: str) -> bool:
    """Return True for a file that is named as one of many records.

    >>> is_pack("records.jsonl.gz"), is_pack(".hidden.jsonl.gz"), is_pack("x.json")
    (True, False, False)
    """
    return name.endswith(SUFFIX) and not name.startswith(".")


def pack(files: Iterable[Path], into: Path) -> int:
    """Write records, a line each in the order of their names, into one file; return how many.

    The same records give the same bytes, whenever and wherever they are packed.

    Raises:
        AmpmixError: a file holds no record.
    """
    records = []
    for path in files:
        try:
            records.append(read_record(path.read_bytes(), path.stem))
        except ValueError as error:
            raise AmpmixError(f"{path.name} is no record ({error}): leave it out") from error
    pack_records(records, into)
    return len(records)


def pack_records(records: Iterable[RunRecord], into: Path) -> None:
    """Write records into one file, as :func:`pack` does."""
    lines = []
    for record in sorted(records, key=lambda one: one.id):
        told = json.dumps(record.as_json(), ensure_ascii=False, separators=(",", ":"))
        lines.append(told.encode("utf-8") + b"\n")
    with whole(into) as draft:
        draft.write_bytes(gzip.compress(b"".join(lines), 9, mtime=0))


def unpack(content: bytes) -> Iterator[RunRecord | ValueError]:
    """The records of such a file; for a line that holds none, and a damaged rest, the reason."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as lines:
            for number, line in enumerate(lines, 1):
                try:
                    yield read_record(line, run_id(json.loads(line)["specification"]))
                except (ValueError, KeyError, TypeError) as error:
                    yield ValueError(f"line {number}: {error}")
    except (OSError, EOFError, zlib.error) as error:
        yield ValueError(f"it is damaged: {error}")
