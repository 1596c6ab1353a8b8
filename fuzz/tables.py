"""A user's tables: read whole (training) and row by row (predict). Byte 0 says how."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

from fuzz.target import Target, written

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson")
ENCODINGS = (
    None,
    "utf-16",
    "latin-1",
    "utf-7",
    "utf-32",
    "cp1252",
    "shift_jis",
    "undefined",
    "idna",
)
COLUMNS = (None, "text", "label", "")


def _chosen(byte: int) -> tuple[str, str | None, str | None]:
    return SUFFIXES[byte % 4], COLUMNS[byte // 4 % 4], ENCODINGS[byte // 16 % len(ENCODINGS)]


def table(data: bytes) -> None:
    """As `compare` and `train` read it."""
    from ampmix.data.tables.labelled import read_labelled, read_table

    suffix, column, encoding = _chosen(data[0] if data else 0)
    path = written(f"table{suffix}", data[1:])
    if len(data) % 3:
        read_table(path, text=column, encoding=encoding)
    else:
        read_labelled(path, label=column, encoding=encoding)


def stream(data: bytes) -> None:
    """As `predict` reads it, and writes it again."""
    from ampmix.data.tables.stream import open_stream

    suffix, column, encoding = _chosen(data[0] if data else 0)
    path = Path(f"table{suffix if len(data) % 5 else ''}")
    opened = open_stream(io.BytesIO(data[1:]), path, column, encoding)
    names = ("predicted", "p_é")
    opened.head(names).encode()
    for row in opened.rows:
        row.text.encode()
        opened.body(row, names, ["a,b", 0.5]).encode()


def parquet(data: bytes) -> None:
    """Parquet, both ways."""
    from ampmix.data.tables.labelled import read_table
    from ampmix.data.tables.parquet_stream import ParquetStream
    from ampmix.errors import AmpmixError

    path = written("table.parquet", data)
    with contextlib.suppress(AmpmixError):
        read_table(path)
    for row in ParquetStream(path).rows:
        row.text.encode()


def _table_seeds() -> list[bytes]:
    rows = [{"text": f"a film {i}, \"so\" 'good'", "label": "ab"[i % 2]} for i in range(4)]
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    plain = b"text,label\nfine day,good\nbad day,bad\nso fine,good\n"
    quoted = b'text,label\r\n"a ""quoted"", text\nof two lines",x\r\n\r\nb,y\r\nc,x\r\n'
    seeds = [b"\x00" + plain, b"\x00" + quoted, b"\x01" + plain.replace(b",", b"\t")]
    seeds += [b"\x00" + plain.replace(b",", b";"), b"\x02" + lines, b"\x06" + lines]
    seeds += [
        b"\x02" + b'{"text": null, "label": 1e400}\n{"label": 3, "text": "\\ud800"}\n' + lines
    ]
    seeds += [bytes([16 * i]) + plain.decode().encode(ENCODINGS[i] or "utf-8") for i in range(7)]
    return [*seeds, b"\x00\xef\xbb\xbf" + plain, b"\x00", b"", b"\x02{}\n{}"]


def _parquet_seeds() -> list[bytes]:
    import datetime

    import polars as pl

    plain = {"text": ["a day", "b", None, "c"] * 4, "label": ["x", "y", "x", "y"] * 4}
    other = {
        "text": pl.Series(["a", "b", "a"], dtype=pl.Categorical),
        "label": [1.5, None, 3.0],
        "when": [datetime.datetime(2020, 1, 1)] * 3,
        "list": [[1], [], None],
    }
    frames = [pl.DataFrame(plain), pl.DataFrame(other), pl.DataFrame(plain).head(0)]
    frames.append(pl.DataFrame({"text": [b"a", b"b"], "label": [True, False]}))
    frames.append(pl.DataFrame({"text": [datetime.date(2020, 1, 1)] * 2, "label": [1, 2]}))
    made = []
    for frame in frames:
        for compression in ("uncompressed", "snappy", "zstd"):
            file = io.BytesIO()
            frame.write_parquet(file, compression=compression)
            made.append(file.getvalue())
    return made


WORDS = (
    b'"', b'""', b'"\n', b",", b";", b"\t", b"\r\n", b'{"text": "', b'"label": ', b"\\u0000",
    b"NaN", b"-Infinity", b"[[[[[[[[", b"\xff\xfe", b"\xef\xbb\xbf", b"text", b"label", b"1e999",
    b"\x00",
)  # fmt: skip
TARGETS = (
    Target("table", table, _table_seeds, WORDS),
    Target("stream", stream, _table_seeds, WORDS, share=1.5),
    Target("parquet", parquet, _parquet_seeds, (b"PAR1", b"\xff\xff\xff\xff\x0f"), share=0.005),
)
