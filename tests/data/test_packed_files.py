"""Bytes that are no plain text: advice, packed files, bombs, workbooks."""

from __future__ import annotations

import gzip
import io
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest

from ampmix import AmpmixError
from ampmix.data.tables import unpacked
from ampmix.data.tables.encodings import advice
from ampmix.data.tables.labelled import read_labelled, read_table
from ampmix.data.tables.stream import open_stream

PLAIN = "text,label\na film,x\na book,y\nfilms,x\nbooks,y\n"


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ("Käse, ".encode("cp1252"), "--encoding cp1252 or --encoding latin-1"),
        ("“Käse”, ".encode("cp1252"), "--encoding cp1252"),
        (b"\xff\xfea\0\n\0", "--encoding utf-16"),
        ("สวัสดี,x\nก,y\n\u0100".encode("utf-16-le"), "--encoding utf-16-le"),
        (gzip.compress(b"a", mtime=0), "is gzip: unpack it"),
        (b"\x80\x01", "write it as UTF-8"),
        (b"a\0\xff\0\0", "zero bytes"),
    ],
)
def test_advice_was_tried_on_the_bytes(raw: bytes, said: str) -> None:
    assert said in advice(raw)
    for name in re.findall(r"--encoding ([a-z]+-?\d\S*)", advice(raw)):
        assert not re.search(r"[\x00-\x08\x0e-\x1f\x7f-\x9f]", raw.decode(name))


@pytest.mark.slow
def test_a_bomb_is_refused_and_a_large_file_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpacked, "AT_LEAST", 2**18)
    content = b"text,label\n" + b"a,b\n" * 2**20
    (tmp_path / "a.csv.gz").write_bytes(packed := gzip.compress(content, mtime=0))
    with pytest.raises(AmpmixError, match="unpacks to more than 200 times its size"):
        read_table(tmp_path / "a.csv.gz")
    with pytest.raises(AmpmixError, match="unpacks to more than"):
        list(open_stream(io.BytesIO(packed), Path("a.csv.gz")).rows)
    few = "".join(f"text {i * 7919 % 104729},{i % 2}\n" for i in range(40_000))
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(f"text,label\n{few}".encode()))
    assert len(read_table(tmp_path / "b.csv.gz").train) == 40_000


def test_zstd_is_read_where_something_can(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    (tmp_path / "a.csv.zst").write_bytes(pyarrow.compress(PLAIN.encode(), "zstd", asbytes=True))
    assert len(read_table(tmp_path / "a.csv.zst").train) == 4


def workbook(path: Path, *sheets: list[list[Any]]) -> Path:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.remove(book.active)
    for number, rows in enumerate(sheets):
        sheet = book.create_sheet(f"Sheet{number + 1}")
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


def test_a_workbook_is_read_from_its_first_sheet(tmp_path: Path) -> None:
    rows = [["id", "text", "label"], [1, "a film", 1.0], [], [2, "=1+1", 0], [3, "b", True]]
    path = workbook(tmp_path / "a.xlsx", [*rows, [4, "c", 1], [5, "d", 0]], [["notes"]])
    read = read_labelled(path)
    assert read.texts == ["a film", "b", "c", "d"] and read.labels == ["1", "true", "1", "0"]
    assert any("2 sheets of a.xlsx the first, 'Sheet1'" in note for note in read.notes)


def test_hostile_workbooks_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = workbook(tmp_path / "a.xlsx", [["text", "label"], ["a", "b"]])
    raw, far = path.read_bytes(), tmp_path / "far.xlsx"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(far, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if "sheet1" in name:
                content = content.replace(b'r="2"', b'r="2000000000"')
            new.writestr(name, content)
    with pytest.raises(AmpmixError, match="more than 1,048,576 rows"):
        read_table(far)
    for cut in range(0, len(raw), 97):
        path.write_bytes(raw[:cut] + bytes([raw[cut] ^ 255]) + raw[cut + 1 :])
        try:
            read_table(path)
        except AmpmixError as error:
            assert "\n" not in str(error)
    monkeypatch.setattr("ampmix.data.tables.workbook.AT_LEAST", 100)
    monkeypatch.setattr("ampmix.data.tables.workbook.TIMES", 1)
    path.write_bytes(raw)
    with pytest.raises(AmpmixError, match="unpacks to more than"):
        read_table(path)


@pytest.mark.parametrize("given", ["latin-1", "cp1252", "utf-8", None])
@pytest.mark.parametrize("name", ["utf-16", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32"])
def test_utf16_is_read_as_nothing_else(name: str, given: str | None, tmp_path: Path) -> None:
    raw = PLAIN.encode(name)
    (tmp_path / "a.csv").write_bytes(raw)
    if given is None and name in ("utf-16", "utf-32"):
        assert len(read_table(tmp_path / "a.csv").train) == 4
        return
    with pytest.raises(AmpmixError, match=f"give --encoding {name}$"):
        read_table(tmp_path / "a.csv", encoding=given)
    with pytest.raises(AmpmixError, match=f"give --encoding {name}$"):
        open_stream(io.BytesIO(raw), Path("a.csv"), None, given)
    assert len(read_table(tmp_path / "a.csv", encoding=name).train) == 4


def test_utf16_is_known_where_what_is_looked_at_ends_within_a_letter() -> None:
    raw = ("text,n\n" + "\U0001f600" * 9000).encode("utf-16-le")
    for start in (raw, raw[:-1]):
        with pytest.raises(AmpmixError, match="utf-16-le"):
            open_stream(io.BytesIO(start), Path("a.csv"))
