"""ampmix predict on what people give it: texts, files of any kind, rows without a text."""

from __future__ import annotations

import gzip
import io
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ampmix import Classifier, TextCNN
from ampmix.cli.main import main
from ampmix.text.reader import WordReader

AWKWARD = Path(__file__).parents[1] / "data/awkward"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    reader = WordReader.of_texts(["invoice parcel late box"], "words", max_length=50)
    backbone = TextCNN(embedding_dim=8, feature_maps=4)
    model = backbone.build(reader, 2, torch.Generator().manual_seed(1))
    path = tmp_path_factory.mktemp("models") / "model"
    Classifier(backbone, model, reader, ("0.0", "1.0")).save(path)
    return path


Predict = Callable[..., tuple[int, str, str]]


@pytest.fixture
def predict(
    folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Predict:
    """Run the command: its exit code, output without probabilities, and notes."""

    def run(*arguments: str, stdin: bytes = b"") -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = main(["predict", str(folder), *arguments, "--no-proba"])
        out, err = capfd.readouterr()
        return code, re.sub(r"(?<=[,;\"])[01]\.0(?=[\"\n])", "Y", out), err

    return run


def test_empty_texts_get_no_label(predict: Predict) -> None:
    code, out, err = predict(str(AWKWARD / "missing_text.csv"))
    assert code == 0 and out.splitlines()[1:] == [
        "1,my parcel is late,Y",
        "2,,",
        "3,   ,",
        "4,NaN,Y",
    ]
    assert "2 texts are empty or missing: their labels are left empty" in err and "'NaN'" in err
    _, out, err = predict(str(AWKWARD / "null.jsonl"))
    assert [json.loads(line)["label"] for line in out.splitlines()] == [None, "Y", None]
    assert "2 texts are empty" in err


TEXTS: dict[str, tuple[tuple[str, ...], bytes, str, str]] = {
    "a line": (("-",), b"a text\n", "text,label\na text,Y\n", "taken for a text"),
    "a line with a comma": (("-",), b"late, again", 'text,label\n"late, again",Y\n', "a text"),
    "sentences": (("-",), b"It is late.\nbox\n", "text,label\nIt is late.,Y\nbox,Y\n", "a text"),
    "a name, perhaps": (("-",), b"summary\nbox\n", "summary,label\nbox,Y\n", "--text-lines"),
    "a name alone": (("-",), b"text\n", "text,label\n", "no row below its first line"),
    "arguments": (("box late", "late, box"), b"", 'text,label\nbox late,Y\n"late, box",Y\n', ""),
    "a word": (("late",), b"", "text,label\nlate,Y\n", ""),
    "text lines": (
        ("-", "--text-lines"),
        b"a,b\r\n\nc",
        'text,label\n"a,b",Y\n,\nc,Y\n',
        "1 text is",
    ),
    "UTF-16": (("-",), "text\nbox\n".encode("utf-16"), "text,label\nbox,Y\n", ""),
    "gzip": (("-",), gzip.compress(b"text\nbox\n"), "text,label\nbox,Y\n", "is gzip"),
    "sep=": (("-",), b"sep=;\nn;text\n1;box\n", "n;text;label\n1;box;Y\n", "semicolons"),
    "joined files": (
        ("-",),
        b"n,text\n1,box\nn,text\n2,late\n",
        "n,text,label\n1,box,Y\n2,late,Y\n",
        "line 3",
    ),
    "wide rows": (("-",), b"n,text\n1,box,\n", "n,text,label\n1,box,Y\n", ""),
    "joined columns": (
        ("-", "--text", "a,b"),
        b"a,b\nlate,box\n,\n",
        "a,b,label\nlate,box,Y\n,,\n",
        "joined",
    ),
    "two texts": (
        ("-",),
        b"text,body\nx y,late box\n",
        "text,body,label\nx y,late box,Y\n",
        "'body'",
    ),
    "fastText": (("-",), b"__label__a late\n", "label,text,predicted_label\na,late,Y\n", "already"),
    "an array": (
        ("-",),
        b'[{"text": "a"},\n {"text": ""}]',
        '[\n{"text": "a", "label": "Y"},\n{"text": "", "label": null}\n]\n',
        "empty",
    ),
}


@pytest.mark.parametrize("case", TEXTS)
def test_texts_come_in_any_way(case: str, predict: Predict) -> None:
    arguments, stdin, out, said = TEXTS[case]
    code, found, err = predict(*arguments, stdin=stdin)
    assert (code, found) == (0, out), err
    assert said in err if said else err == ""


@pytest.mark.parametrize(
    ("arguments", "stdin", "said"),
    [
        (("nowhere.csv",), b"", "No such file"),
        (("my new file.csv",), b"", "No such file"),
        (("./folder/nowhere",), b"", "No such file"),
        (("nowhere.xlsx", "a text"), b"", "one FILE at a time"),
        (("-", "a text"), b"", "one FILE at a time"),
        (("-",), b"late, box\nnone, here\n", "--text-lines"),
        (("-",), "text\nbox\n".encode("utf-16-le"), "--encoding utf-16-le"),
        (("-",), b"text\ncaf\xe9\n", "--encoding cp1252"),
        (("-",), b"text\nbox \x81\x02\n", "write it as UTF-8"),
        (("-",), b"%PDF-1.7\n\xff", "is a PDF"),
        (("-",), b"[]", "is empty"),
        (("-",), b'[{"data": []}', "is not JSON Lines"),
        (("a text", "--out", "a.xlsx"), b"", "--out FILE.csv"),
        (("a text", "--out", "a.parquet"), b"", "--out FILE.csv"),
    ],
)
def test_what_is_no_text_is_said(
    arguments: tuple[str, ...], stdin: bytes, said: str, predict: Predict
) -> None:
    code, out, err = predict(*arguments, stdin=stdin)
    assert (code, out) == (2, "") and said in err and err.count("\n") == 1, err


def test_workbooks_text_files_and_packed_output(predict: Predict, tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    path, book = tmp_path / "a.xlsx", openpyxl.Workbook()
    for row in (["n", "text"], [1, "late box"], [2, None]):
        book.active.append(row)
    book.save(path)
    assert predict(str(path))[1] == "n,text,label\n1,late box,Y\n2,,\n"
    (tmp_path / "a.txt").write_bytes(b"\nlate, box\n")
    out = tmp_path / "out.csv.gz"
    assert predict(str(tmp_path / "a.txt"), "--out", str(out))[0] == 0
    assert gzip.decompress(out.read_bytes()).startswith(b'text,label\n,\n"late, box",')


def test_evaluate_meets_labels_of_another_format(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The model's classes are '0.0' and '1.0', as those trained on a CSV once were."""
    for name in ("float_label.csv", "float_label.jsonl"):
        shutil.copy(AWKWARD / name, tmp_path)
        assert main(["evaluate", str(folder), str(tmp_path / name)]) == 0
    assert capsys.readouterr().out.count("on 80 texts") == 2
