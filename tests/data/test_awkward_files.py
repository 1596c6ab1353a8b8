"""Files as people have them: each is read for what it is, with a note on what was guessed.

What is said of them on the command line is in ``tests/contracts/test_awkward_cases.py``.
"""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import re
import unicodedata
from pathlib import Path
from typing import NamedTuple

import pytest

from ampmix import AmpmixError
from ampmix.data.tables.labelled import read_table

ROWS = [
    ("the invoice is wrong", "billing"),
    ("the parcel is late", "delivery"),
    ("a refund, please", "billing"),
    ("where is my box", "delivery"),
    ("charged for nothing", "billing"),
    ("no courier came", "delivery"),
]


def table(rows: list[tuple[str, ...]], delimiter: str = ",", header: str = "text,label") -> str:
    quoted = [[f'"{one}"' if delimiter in one else one for one in row] for row in rows]
    return "\n".join([header, *map(delimiter.join, quoted)]) + "\n"


def labelled(*labels: str) -> str:
    """Enough rows of each label to be classes."""
    return table([(f"text {i} of {n}", y) for i in range(4) for n, y in enumerate(labels)])


def without_header(content: str) -> str:
    return content.split("\n", 1)[1]


PLAIN = table(ROWS)
SWALLOWED = "id,text,label\n" + "".join(
    f"{i}," + '"' * (i == 3) + "a text" + '"' * (i == 7) + f",{'xy'[i % 2]}\n" for i in range(12)
)


class Right(NamedTuple):
    """What is right for a file: its rows and classes, and what notes or the refusal say."""

    rows: int = 0
    classes: tuple[str, ...] = ("billing", "delivery")
    said: str = ""
    options: dict[str, str] | None = None
    refused: str = ""


FILES: dict[str, tuple[str, str | bytes, Right]] = {
    "sep= quoted, after a mark": (
        "a.csv",
        '\ufeff"sep=\t"\n' + table(ROWS, "\t", "text\tlabel"),
        Right(6, said="with tabs"),
    ),
    "files joined, names in other letters": (
        "a.csv",
        PLAIN + table(ROWS, header="Text, LABEL"),
        Right(12, said="line 8 of a.csv repeats the header"),
    ),
    "commas in a .tsv": ("a.tsv", PLAIN, Right(6, said="a.tsv is read with commas")),
    "semicolons in a .tsv": (
        "a.tsv",
        table(ROWS, ";", "Text;Label"),
        Right(6, said="a.tsv is read with semicolons"),
    ),
    "JSON Lines named .csv": (
        "a.csv",
        '{"text": "a", "label": "b"}\n{"text": "c", "label": "d"}\n',
        Right(refused="is JSON: give it a name that ends in .jsonl"),
    ),
    "a JSON array named .tsv": (
        "a.tsv",
        '[\n  {\n "text": "a"}]',
        Right(refused="is JSON: give it a name that ends in .json"),
    ),
    "a text in brackets is no JSON": (
        "a.csv",
        "[text],label\n[sic] a,b\n[sic] c,d\n",
        Right(2, ("b", "d")),
    ),
    "a page of a log-in": (
        "a.csv",
        "<!DOCTYPE html>\n<html><body>Sign in, please</body></html>\n",
        Right(refused="is a web page"),
    ),
    "columns of pandas in one JSON object": (
        "a.json",
        '{"text": {"0": "a", "1": "c"}, "label": {"0": "b", "1": "d"}}',
        Right(refused="is one JSON object: write an array of objects"),
    ),
    "dashes and quotes in labels": (
        "a.csv",
        labelled("follow-up", "follow_up", "don\u2019t know", "don't know", "C+", "C-"),
        Right(
            24,
            ("C+", "C-", "don't know", "don\u2019t know", "follow-up", "follow_up"),
            "or quotes .*: \"don't know\", 'don\u2019t know'; 'follow-up', 'follow_up'; spell",
        ),
    ),
    "files joined end to end": (
        "a.csv",
        PLAIN + "\ufeff" + PLAIN,
        Right(12, said="line 8 of a.csv repeats the header"),
    ),
    "three files joined": (
        "a.tsv",
        table(ROWS, "\t", "text\tlabel") * 3,
        Right(18, said="2 lines"),
    ),
    "no header, label first": (
        "a.csv",
        without_header(table([(y, x) for x, y in ROWS])),
        Right(6, said="no line of names"),
    ),
    "no header, first row twice": (
        "a.csv",
        without_header(PLAIN) + without_header(PLAIN),
        Right(12, said="no line of names"),
    ),
    "a column of y and n that is named y": (
        "a.csv",
        table([(f"{x} {i}", "yn"[i % 2]) for i, (x, _) in enumerate(ROWS)], header="wording,y"),
        Right(6, ("n", "y"), "from column 'wording' and the labels from 'y', by what they hold"),
    ),
    "no header, three columns": (
        "a.csv",
        "".join(f'{i},"{x}",{y}\n' for i, (x, y) in enumerate(ROWS)),
        Right(refused="looks like data, not names"),
    ),
    "rows swallowed, text in the middle": (
        "a.csv",
        SWALLOWED,
        Right(8, ("x", "y"), "line 5 of a.csv"),
    ),
    "a letter of many lines with commas": (
        "a.csv",
        PLAIN + '"Dear Sir,\nI want, now,\nmy refund,\nyours,\nBob",billing\n',
        Right(7),
    ),
    "UTF-16 with a mark": ("a.csv", PLAIN.encode("utf-16"), Right(6)),
    "UTF-16 without one": (
        "a.csv",
        PLAIN.encode("utf-16-le"),
        Right(refused="decodes as utf-16-le; give --encoding utf-16-le"),
    ),
    "UTF-16, big end first": (
        "a.jsonl",
        '{"text": "a", "label": "b"}\n'.encode("utf-16-be"),
        Right(refused="--encoding utf-16-be"),
    ),
    "a zip named .csv": ("a.csv", b"PK\x03\x04\x14\0\0\0\0\0a.csv", Right(refused="zip archive")),
    "Parquet named .tsv": ("a.tsv", b"PAR1\x15\x04\xff", Right(refused="is Parquet")),
    "control characters": (
        "a.csv",
        PLAIN.encode() + b"\xff\x01\x02\x03,billing\n",
        Right(refused="line 8 holds the byte 0xff; write it as UTF-8"),
    ),
    "one damaged line of UTF-8": (
        "a.csv",
        (PLAIN + "zurück an Käufer über München,billing\n").encode() + b"caf\xe9,billing\n",
        Right(refused="line 9 .* all else is UTF-8"),
    ),
    "UTF-8 read as ASCII": (
        "a.csv",
        (PLAIN + "café,billing\n").encode(),
        Right(refused="leave --encoding out", options={"encoding": "ascii"}),
    ),
    "no-break blanks around and in labels": (
        "a.csv",
        labelled("credit card", "credit\u00a0card", "\u00a0credit card\u200b", "b"),
        Right(16, ("b", "credit card"), "taken as one: 'credit card'"),
    ),
    "labels composed otherwise": (
        "a.csv",
        labelled("Zürich", unicodedata.normalize("NFD", "Zürich"), "Bern"),
        Right(12, ("Bern", "Zürich"), "taken as one"),
    ),
    "case in two labels": (
        "a.csv",
        labelled("Spam", "spam", "ham"),
        Right(12, ("Spam", "ham", "spam"), "only in case"),
    ),
    "labels None and N/A": (
        "a.csv",
        labelled("a", "None", "N/A"),
        Right(12, ("N/A", "None", "a"), "'None' of 4 rows"),
    ),
    "lists with semicolons": (
        "a.csv",
        labelled("a;b", "b", "c"),
        Right(12, ("a;b", "b", "c"), "lists"),
    ),
    "tuples of Python": (
        "a.csv",
        "text,label\n" + "".join(f"t{i},\"('a', 'b')\"\nu{i},c\n" for i in range(4)),
        Right(8, ("('a', 'b')", "c"), "lists"),
    ),
    "a title above the names": (
        "a.csv",
        "Report of May\n" + PLAIN,
        Right(refused="leave that line out if it names no columns"),
    ),
    "lists with commas": (
        "a.csv",
        labelled("a, b", "a, c", "d"),
        Right(12, ("a, b", "a, c", "d"), "lists"),
    ),
    "a comma in a name is no list": (
        "a.csv",
        labelled("Washington, D.C.", "Oslo"),
        Right(8, ("Oslo", "Washington, D.C.")),
    ),
    "truth values": (
        "a.csv",
        labelled("True", "FALSE"),
        Right(8, ("false", "true"), "called 'false'"),
    ),
    "whole numbers of pandas": (
        "a.csv",
        labelled("1.0", "1", "2.0"),
        Right(12, ("1", "2"), "taken as one: '1'"),
    ),
    "versions stay": ("a.csv", labelled("1.10", "1.1"), Right(8, ("1.1", "1.10"))),
    "the index of pandas": (
        "a.csv",
        table([(str(i), *row) for i, row in enumerate(ROWS)], header=",text,label"),
        Right(6),
    ),
    "rows named by R": (
        "a.csv",
        '"text","label"\n'
        + "".join(f'"{i}","{x}","{y}"\n' for i, (x, y) in enumerate(ROWS, start=1)),
        Right(6),
    ),
    "UTF-8 read as cp1252": (
        "a.csv",
        (PLAIN + "café,billing\n").encode(),
        Right(7, said="is UTF-8, too", options={"encoding": "cp1252"}),
    ),
    "Japanese in its old encoding": (
        "a.csv",
        (PLAIN + "こんにちは,billing\n").encode("shift_jis"),
        Right(refused="such as .*--encoding shift_jis"),
    ),
    "text in columns without a name": (
        "a.csv",
        table([(*row, "more", "") for row in ROWS], header="text,label,,"),
        Right(6, said="6 rows of a.csv hold something in columns without a name"),
    ),
    "a blank before quotes, and a header without": (
        "a.csv",
        "label,text\n" + "".join(f'{y}, "{x}, so"\n' for x, y in ROWS),
        Right(6),
    ),
    "a blank before some quotes": (
        "a.csv",
        'label,text\nbilling, "a, b"\ndelivery,"c, d"\n',
        Right(2),
    ),
    "a blank before quotes and none before others": (
        "a.csv",
        'label,text,n\nbilling, "a, b",1\ndelivery, "c, d",2\n',
        Right(refused="leave out the blank before"),
    ),
    "fastText": (
        "a.txt",
        "".join(f"__label__{y} {x}\n" for x, y in ROWS),
        Right(6),
    ),
    "fastText, packed, a tab": (
        "a.train.bz2",
        bz2.compress("".join(f"__label__{y}\t{x}\n" for x, y in ROWS).encode()),
        Right(6),
    ),
    "fastText with two labels": (
        "a.txt",
        "__label__a x\n__label__a __label__b y\n",
        Right(refused="in line 2: several labels a text are not supported"),
    ),
    "gzip": ("a.csv.gz", gzip.compress(PLAIN.encode()), Right(6)),
    "gzip of JSON Lines": (
        "a.jsonl.gz",
        gzip.compress(
            "".join(json.dumps({"text": x, "label": y}) + "\n" for x, y in ROWS).encode()
        ),
        Right(6),
    ),
    "xz": ("a.tsv.xz", lzma.compress(table(ROWS, "\t", "text\tlabel").encode("utf-16")), Right(6)),
    "gzip cut off": (
        "a.csv.gz",
        gzip.compress(PLAIN.encode())[:-12],
        Right(refused="damaged or cut off .gzip."),
    ),
    "a JSON array": (
        "a.json",
        json.dumps([{"text": x, "label": y} for x, y in ROWS], indent=2),
        Right(6),
    ),
    "a JSON array in an object": (
        "a.json",
        json.dumps({"version": 1, "data": [{"text": x, "label": y} for x, y in ROWS]}, indent=2),
        Right(6, said="the list 'data' is read"),
    ),
    "a JSON array cut off": (
        "a.json",
        '[{"text": "a", "label": "b"},\n{"text": ',
        Right(refused="is not JSON: line 2: Expecting value"),
    ),
    "JSON Lines named .json": (
        "a.json",
        "".join(json.dumps({"text": x, "label": y}) + "\n" for x, y in ROWS),
        Right(6),
    ),
    "columns joined": (
        "a.csv",
        table([("Dear sir", *row) for row in ROWS], header="title,body,label"),
        Right(6, said="'title' and 'body' are joined", options={"text": "title,body"}),
    ),
    "an id for a label": (
        "a.csv",
        table([(x, y[0]) for x, y in ROWS], header="text,id"),
        Right(6, ("b", "d"), "labels from 'id'"),
    ),
    "a second text without a known name": (
        "a.csv",
        table([(x, f"note {x}", y) for x, y in ROWS], header="review,feedback,label"),
        Right(6, said="such as 'feedback'"),
    ),
}


def judge(path: Path, right: Right) -> None:
    if right.refused:
        with pytest.raises(AmpmixError, match=right.refused) as caught:
            read_table(path, **(right.options or {}))
        assert "\n" not in str(caught.value)
        return
    dataset = read_table(path, **(right.options or {}))
    assert (len(dataset.train), dataset.classes) == (right.rows, right.classes), dataset.notes
    notes = [note for note in dataset.notes if not re.search("nearly equal|than once", note)]
    assert re.search(right.said, "\n".join(notes)) if right.said else notes == []


@pytest.mark.parametrize("case", FILES)
def test_each_file_gets_what_is_right(case: str, tmp_path: Path) -> None:
    name, content, right = FILES[case]
    (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    judge(tmp_path / name, right)
