"""ampmix evaluate: every figure against a plain loop or an independent computation."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ampmix import Classifier, TextCNN
from ampmix.cli.main import main
from ampmix.models.classifier import logits_of
from ampmix.models.evaluate import bootstrap_interval, calibration_error, evaluate
from ampmix.terminal.evaluation import save_confusion
from ampmix.text.reader import WordReader

CLASSES = ("bad", "a rather long name of a class, which is $ unusual", "good")
WORDS = ["good", "bad", "film", "book", "fine", "sad"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    reader = WordReader.of_texts([" ".join(WORDS)], "words", max_length=20)
    backbone = TextCNN(embedding_dim=8, feature_maps=4)
    model = backbone.build(reader, 3, torch.Generator().manual_seed(1))
    with torch.no_grad():
        model.output.weight.mul_(30)
        one_word = reader.encode(WORDS, [0] * len(WORDS))
        model.output.bias -= logits_of(model, one_word).mean(0)  # no class wins everywhere
    path = tmp_path_factory.mktemp("models") / "model"
    Classifier(backbone, model, reader, CLASSES).save(path)
    return path


@st.composite
def predictions(draw: st.DrawFn) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    n, classes = draw(st.integers(1, 30)), draw(st.integers(2, 5))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    probabilities = rng.dirichlet(np.full(classes, draw(st.sampled_from([0.1, 1.0]))), n)
    return probabilities, rng.integers(0, draw(st.integers(1, classes)), n)


@settings(max_examples=60, deadline=None)
@given(predictions())
def test_all_scores_are_what_plain_loops_count(
    case: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]],
) -> None:
    probabilities, labels = case
    classes = probabilities.shape[1]
    found = evaluate(probabilities, labels, [f"c{i}" for i in range(classes)])
    matrix = [[0] * classes for _ in range(classes)]
    for row, label in zip(probabilities.tolist(), labels.tolist(), strict=True):
        matrix[label][row.index(max(row))] += 1
    assert found.confusion.tolist() == matrix
    assert found.error == pytest.approx(1 - sum(matrix[i][i] for i in range(classes)) / len(labels))
    f1s = []
    for i, one in enumerate(found.classes):
        hits, true, taken = matrix[i][i], sum(matrix[i]), sum(row[i] for row in matrix)
        assert one.support == true
        assert one.precision == (None if taken == 0 else pytest.approx(hits / taken))
        assert one.recall == (None if true == 0 else pytest.approx(hits / true))
        f1 = None if true + taken == 0 else 2 * hits / (true + taken)
        assert one.f1 == (None if f1 is None else pytest.approx(f1))
        f1s += [] if f1 is None else [f1]
    assert found.macro_f1 == pytest.approx(sum(f1s) / len(f1s))
    json.dumps(found.as_json(), allow_nan=False)


@settings(max_examples=60, deadline=None)
@given(predictions(), st.integers(1, 20))
def test_the_calibration_error_is_that_of_plain_bins(
    case: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]], bins: int
) -> None:
    probabilities, labels = case
    total = 0.0
    for b in range(bins):
        inside = [
            (max(row), row.index(max(row)) == label)
            for row, label in zip(probabilities.tolist(), labels.tolist(), strict=True)
            if b / bins < max(row) <= (b + 1) / bins
        ]
        if inside:
            confidence = sum(c for c, _ in inside) / len(inside)
            accuracy = sum(right for _, right in inside) / len(inside)
            total += len(inside) / len(labels) * abs(accuracy - confidence)
    assert calibration_error(probabilities, labels, bins) == pytest.approx(total, abs=1e-9)


def test_certain_predictions_fall_into_the_last_bin() -> None:
    assert calibration_error(np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([0, 1])) == 0.5


@pytest.mark.parametrize(("wrong", "n"), [(1, 20), (15, 100), (250, 500), (3, 7)])
def test_the_interval_is_that_of_many_resamples(wrong: int, n: int) -> None:
    rng = np.random.default_rng(0)
    errors = np.repeat([1.0, 0.0], [wrong, n - wrong])
    resampled = errors[rng.integers(0, n, (40_000, n))].mean(1)
    expected = np.quantile(resampled, [0.025, 0.975], method="inverted_cdf")
    np.testing.assert_allclose(bootstrap_interval(wrong, n), expected, atol=1.01 / n)
    wide, narrow = bootstrap_interval(wrong, n, 0.99), bootstrap_interval(wrong, n, 0.5)
    assert wide[0] <= narrow[0] <= wrong / n <= narrow[1] <= wide[1]


@pytest.mark.parametrize("n", [1, 10, 500])
def test_no_error_at_all_is_no_proof_of_perfection(n: int) -> None:
    low, high = bootstrap_interval(0, n)
    assert low == 0
    assert (1 - high) ** n == pytest.approx(0.025)  # so rarely would none of n be wrong
    assert bootstrap_interval(n, n) == (pytest.approx(1 - high), 1.0)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    rng = np.random.default_rng(3)
    rows = [(" ".join(rng.choice(WORDS, 5)), CLASSES[i % 2]) for i in range(40)]
    path = tmp_path / "test.jsonl"
    path.write_text("".join(json.dumps({"text": t, "label": y}) + "\n" for t, y in rows))
    return path


def test_the_command_prints_and_writes_what_the_predictions_give(
    folder: Path, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, picture = tmp_path / "out.json", tmp_path / "confusion.png"
    arguments = ["evaluate", str(folder), str(file), "--json", str(out), "--picture", str(picture)]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    predicted = Classifier.load(folder).predict([row["text"] for row in rows])
    wrong = sum(p != row["label"] for p, row in zip(predicted, rows, strict=True))
    written = json.loads(out.read_text())
    assert 0 < wrong < len(rows)
    assert written["error"] == wrong / len(rows) and written["n"] == 40
    assert [c["support"] for c in written["classes"]] == [20, 20, 0]
    assert f"Error {wrong / len(rows):.1%} on 40 texts" in printed
    assert "No text of good." in printed
    assert printed.startswith("Error"), "the answer comes first"
    table = printed.split("\n\n")[1].splitlines()
    assert max(map(len, table)) <= 80 and table[0].split()[0] == "class"
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert str(tmp_path) not in out.read_text()


def test_the_picture_shows_every_count(folder: Path, file: Path, tmp_path: Path) -> None:
    picture = tmp_path / "confusion.SVG"
    assert main(["evaluate", str(folder), str(file), "--picture", str(picture)]) == 0
    drawn = picture.read_text()
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    predicted = Classifier.load(folder).predict([row["text"] for row in rows])
    for true in CLASSES:
        assert true[:12] in drawn
        for taken in CLASSES:
            pairs = zip(predicted, rows, strict=True)
            count = sum(p == taken and row["label"] == true for p, row in pairs)
            assert f">{count}</text>" in drawn


NAMES = {
    "<b>'x'</b>": "<b>'x'</b>",
    'a"]; alert(1) //': 'a"]; alert(1) //',
    "${x} $y^2$ \\": "${x} $y^2$ \\",
    "two\nlines\x00 \u2028 ": "two lines",
    "a name that goes on for ever": "a name that goes …",
    "a name that goes on and on": "a name that goes …",
    "\ud800\uffff lone": "lone",
    "\u0645\u06cc\u200c\u062e": "\u0645\u06cc\u200c\u062e",  # Persian: a joiner that is kept
    "一个类别": "一个类别",
    "ข่าวกีฬา": "ข่าวกีฬา",
}
"""Names of classes, and how they stand beside an axis."""


def texts_of(picture: Path) -> list[str]:
    return [x.text or "" for x in ElementTree.parse(picture).iter() if x.tag.endswith("}text")]


def test_the_picture_shows_any_name_as_it_is(tmp_path: Path) -> None:
    found = evaluate(np.eye(len(NAMES)), np.arange(len(NAMES)), list(NAMES))
    save_confusion(found, tmp_path / "c.svg")
    texts = texts_of(tmp_path / "c.svg")
    for shown in NAMES.values():
        assert texts.count(shown) == 2 * list(NAMES.values()).count(shown)
    assert texts.count("0") == len(NAMES) ** 2 - len(NAMES)


@pytest.mark.parametrize(("classes", "named"), [(2, True), (30, True), (82, True), (300, False)])
def test_the_picture_is_drawn_for_any_number_of_classes(
    classes: int, named: bool, tmp_path: Path
) -> None:
    names = [f"class {i}" for i in range(classes)]
    found = evaluate(np.eye(classes), np.roll(np.arange(classes), 1), names)
    save_confusion(found, tmp_path / "c.svg")
    drawn = ElementTree.parse(tmp_path / "c.svg").getroot()
    assert float(drawn.attrib["width"]) < 1400
    texts = texts_of(tmp_path / "c.svg")
    assert texts.count(names[-1]) == 2 * named
    assert texts.count("1") == classes * (classes <= 30)


def test_labels_never_seen_in_training_are_named(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "new.csv"
    path.write_text("text,label\na film,good\na book,unheard-of\na sad book,novel\n" * 3)
    assert main(["evaluate", str(folder), str(path)]) == 2
    error = capsys.readouterr().err
    assert "'novel', 'unheard-of'" in error and "'good'" in error and "mend" in error


def test_what_is_missing_is_said(
    folder: Path,
    file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for arguments in (["--text", "body"], ["--label", "kind"], ["--picture", "a.unknown"]):
        monkeypatch.chdir(tmp_path)
        assert main(["evaluate", str(folder), str(file), *arguments]) == 2
        assert arguments[1] in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    assert main(["evaluate", str(folder), str(file)]) == 0
    assert main(["evaluate", str(folder), str(file), "--picture", "a.png"]) == 2
    assert "ampmix[plots]" in capsys.readouterr().err
