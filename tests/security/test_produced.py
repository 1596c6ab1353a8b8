"""What ampmix writes: no cell that runs, no text that becomes markup, nothing of the machine."""

from __future__ import annotations

import csv
import getpass
import io
import json
import os
import platform
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_hostile import GOOD, write_record

from ampmix import Classifier, TextCNN
from ampmix.cli.main import main
from ampmix.data.tables.spreadsheet import guarded, unguarded
from ampmix.report.loss_path import as_csv
from ampmix.text.reader import WordReader

FORMULAS = [
    "=1+1", "=cmd|' /C calc'!A0", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "+", "-", "=",
    '=HYPERLINK("http://x","y")', "- a list item", "+49 30 1234", "'=1", "''@x",
    "\uff1d1+1", "-1-", "+1e",
]  # fmt: skip
PLAIN = [
    "",
    "text",
    "-1",
    "+2.5",
    "-1e-05",
    "-.5",
    "-3,5",
    "-12 %",
    "'tis",
    "'",
    "''",
    "a=1",
    " =1",
    "1-2",
]
STARTS = ("=", "+", "-", "@", "\t", "\r")


@pytest.mark.parametrize("cell", FORMULAS)
def test_what_a_spreadsheet_runs_gets_an_apostrophe(cell: str) -> None:
    assert guarded(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", PLAIN)
def test_texts_and_numbers_stay(cell: str) -> None:
    assert guarded(cell) == unguarded(cell) == cell


@settings(max_examples=500, deadline=None)
@given(st.one_of(st.text(max_size=6), st.text("'=+-@\t\r\n1.5e%\uff1d", max_size=6)))
def test_the_guard_is_undone_exactly_and_leaves_no_formula(cell: str) -> None:
    safe = guarded(cell)
    assert unguarded(safe) == cell
    if safe.startswith(STARTS):
        float(safe.rstrip("% ").replace(",", "."))  # a number, or ValueError


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with a class that is a formula."""
    reader = WordReader.of_texts(["good bad"], "words", 8)
    backbone = TextCNN(embedding_dim=4, feature_maps=2)
    module = backbone.build(reader, 2, torch.Generator().manual_seed(0))
    folder = tmp_path_factory.mktemp("models") / "model"
    Classifier(backbone, module, reader, ("=evil()", "@evil")).save(folder)
    return folder


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_predict_guards_every_cell_by_default_and_says_so(
    model: Path, suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    delimiter = {".csv": ",", ".tsv": "\t"}[suffix]
    given = [["text", "=header"], *([cell, "-5"] for cell in [*FORMULAS, *PLAIN])]
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows(given)
    (tmp_path / f"in{suffix}").write_bytes(file.getvalue().encode())

    def predicted(*options: str) -> list[list[str]]:
        out = tmp_path / f"out{suffix}"
        command = ["predict", str(model), str(tmp_path / f"in{suffix}"), "--out", str(out)]
        assert main([*command, "--text", "text", *options]) == 0
        content = io.StringIO(out.read_bytes().decode(), newline="")
        return list(csv.reader(content, delimiter=delimiter))

    rows = predicted()
    assert "apostrophe" in capsys.readouterr().err
    for row in rows:
        for cell in row:
            if cell.startswith(STARTS):
                float(cell.rstrip("% ").replace(",", "."))
    assert [[unguarded(cell) for cell in row[:2]] for row in rows] == given
    assert {row[2] for row in rows[1:]} <= {"'=evil()", "'@evil", ""}  # none for empty texts
    plain = predicted("--no-guard")
    assert "apostrophe" not in capsys.readouterr().err
    assert [row[:2] for row in plain] == given
    assert {row[2] for row in plain[1:]} <= {"=evil()", "@evil", ""}


def test_json_lines_are_no_spreadsheet_and_stay(model: Path, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"text": "=1+1"}\n')
    out = tmp_path / "out.jsonl"
    assert main(["predict", str(model), str(tmp_path / "in.jsonl"), "--out", str(out)]) == 0
    row = json.loads(out.read_text())
    assert row["text"] == "=1+1"
    assert row["label"] in ("=evil()", "@evil")


def test_the_csv_of_a_path_names_no_formula() -> None:
    content = {"mean": {"=evil()": [1.0]}, "pairs": [], "lam": [0.5]}
    assert as_csv(content).splitlines()[1].split(",")[1] == "'=evil()"


EVIL = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'&<b>"


class _Elements(HTMLParser):
    """Elements with their attributes, outside scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def _elements(folder: Path, evil: str) -> list[tuple[str, dict[str, str | None]]]:
    """Those of a report on records with `evil` in every text that they hold."""
    folder.mkdir()
    for seed in range(2):
        for policy in ("none", f"mixup{evil}"):
            specification = GOOD["specification"] | {"seed": seed, "policy": policy}
            specification |= {"dataset": f"d{evil}", "backbone": f"cnn{evil}"}
            specification["training"] = {"steps": 1, f"k{evil}": f"v{evil}"}
            made = {"versions": {f"p{evil}": f"1{evil}"}, "platform": f"L{evil}"}
            made |= {"git": {"commit": f"c{evil}"}, "finished": f"2026{evil}"}
            made["printed_as"] = [f"t{evil}", f"b{evil}"]
            result = GOOD["result"]
            if policy != "none" and seed:
                result = {"status": "failed", "error": f"e{evil}"}
            write_record(folder, specification=specification, result=result, provenance=made)
    (folder / "x<img src=x>.json").write_text("{")
    assert main(["report", str(folder)]) == 0
    parser = _Elements()
    parser.feed((folder / "report.html").read_text(encoding="utf-8"))
    return parser.found


def test_no_text_of_a_record_becomes_an_element_of_the_page(tmp_path: Path) -> None:
    pytest.importorskip("altair")
    pytest.importorskip("vl_convert")
    hostile, plain = _elements(tmp_path / "hostile", EVIL), _elements(tmp_path / "plain", "fine")
    # <wbr> is ours, after the commas of a specification
    kinds = [[tag for tag, _ in found if tag != "wbr"] for found in (hostile, plain)]
    assert kinds[0] == kinds[1]
    assert not any(name.startswith("on") for _, own in hostile for name in own)
    assert not any(tag == "img" for tag, _ in hostile)


def test_nothing_of_the_machine_the_environment_or_the_user_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    secrets = {"HF_TOKEN": "hf_Zq8sekritsekrit", "AWS_SECRET_ACCESS_KEY": "sekrit/key/0123456789"}
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    home = tmp_path / "home-of-somebody"
    home.mkdir()
    monkeypatch.chdir(home)
    lines = "".join(f"a {w} film {i},{w}\n" for i in range(12) for w in ("good", "bad"))
    (home / "films.csv").write_text(f"text,label\n{lines}")
    vectors = home / "vectors.txt"
    vectors.write_text("good 0.5 0.1\nbad -0.5 0.2\n")
    options = ["--seeds", "2", "--steps", "2", "--policies", "none,mixup"]
    options += ["--backbone", f"cnn[feature_maps=2,vectors={vectors}]"]
    out = home / "out"
    assert main(["compare", str(home / "films.csv"), "--out", str(out), *options]) == 0
    assert main(["report", str(out)]) == 0
    capsys.readouterr()  # what is printed is the user's own, and names the folder that was given
    files = [path for path in out.rglob("*") if path.is_file()]
    assert {"summary.json", "report.html", "model.safetensors"} <= {path.name for path in files}
    told = {str(home), str(tmp_path), str(Path.home()), *secrets, *secrets.values()}
    told |= {value for value in (platform.node(), os.environ.get("HOSTNAME", "")) if len(value) > 5}
    if len(getpass.getuser()) > 5:
        told.add(getpass.getuser())
    for path in files:
        content = path.read_bytes()
        for secret in told:
            assert secret.encode() not in content, (path.name, secret)
