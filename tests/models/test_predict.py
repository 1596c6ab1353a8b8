"""ampmix predict: every row comes back, in order, as it was, with what the classifier says."""

from __future__ import annotations

import csv
import io
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ampmix
import forked
from ampmix import AmpmixError, Classifier
from ampmix.cli.main import main
from ampmix.cli.prediction import given_texts
from ampmix.data.tables.columns import text_columns
from ampmix.data.tables.spreadsheet import unguarded
from ampmix.data.tables.stream import open_stream
from ampmix.models.faster import SAMPLE
from ampmix.models.predict import CHARACTERS, ROWS, predict_chunks
from built_encoders import built
from small_models import WORDS, saved_model
from tiny_encoders import WORDS as ENCODER_WORDS

CLASSES = ("bad, really", 'so "so"', "good")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose answers differ from text to text."""
    return saved_model(tmp_path_factory.mktemp("models"), CLASSES)


@pytest.fixture
def classifier(folder: Path) -> Classifier:
    return Classifier.load(folder)


def predict(folder: Path, content: str | bytes, *options: str, suffix: str = ".csv") -> bytes:
    """What the command writes for a file with this content."""
    with tempfile.TemporaryDirectory() as here:
        file, out = Path(here, f"in{suffix}"), Path(here, f"out{suffix}")
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        arguments = ["predict", str(folder), str(file), "--out", str(out), *options]
        assert main(arguments) == 0
        assert sorted(os.listdir(here)) == sorted([file.name, out.name])
        return out.read_bytes()


def refused(folder: Path, tmp_path: Path, content: bytes, suffix: str, *options: str) -> str:
    """The error for a file with this content."""
    file = tmp_path / f"in{suffix}"
    file.write_bytes(content)
    out = tmp_path / "out"
    with pytest.raises(SystemExit) as ended:
        sys.exit(main(["predict", str(folder), str(file), "--out", str(out), *options]))
    assert ended.value.code == 2
    assert list(tmp_path.iterdir()) == [file]  # nothing half-written passes for a result
    return str(ended.value)


def table(content: bytes, delimiter: str = ",") -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode(), newline=""), delimiter=delimiter))


def check(rows: list[list[str]], texts: list[str], classifier: Classifier) -> None:
    """The added fields are what predict_proba says of each text by itself; of none, nothing."""
    assert len(rows) == len(texts)
    for (label, *proba), text in zip(rows, texts, strict=True):
        if not text.strip():
            assert {label, *proba} <= {"", "None"}
            continue
        alone = classifier.predict_proba([text])[0]
        assert [float(p) for p in proba] == pytest.approx(alone.tolist(), rel=1e-4, abs=1e-6)
        top = CLASSES.index(label)
        assert alone[top] == pytest.approx(alone.max(), rel=1e-5)


fields = st.one_of(
    st.text(
        st.characters(codec="utf-8"),
        max_size=12,
    ),
    st.text(" \t\r\n\",;\x00=+-@'1", max_size=6),
    st.sampled_from(WORDS),
    st.lists(st.sampled_from(WORDS), max_size=9).map(" ".join),
)


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[list[str]]]:
    """A header with a column `text` and rows as wide as it."""
    others = draw(st.lists(fields, max_size=3, unique=True))
    header = [*others, "text"] if "text" not in others else others
    header = draw(st.permutations(header))
    row = st.lists(fields, min_size=len(header), max_size=len(header))
    return header, draw(st.lists(row, max_size=5))


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tables(), st.sampled_from([",", "\t"]))
def test_columns_rows_and_their_order_are_kept_whatever_they_hold(
    folder: Path, given_table: tuple[list[str], list[list[str]]], delimiter: str
) -> None:
    header, rows = given_table
    file = io.StringIO(newline="")
    # quoting all keeps apart a blank line and a row of one empty field
    csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows([header, *rows])
    suffix = ".csv" if delimiter == "," else ".tsv"
    written = table(
        predict(folder, file.getvalue(), "--text", "text", "--prefix", "~new~", suffix=suffix),
        delimiter,
    )
    added = ["~new~label", *(f"~new~p_{name}" for name in CLASSES)]
    assert [*map(unguarded, written[0])] == [*header, *added]
    assert [[*map(unguarded, row[: len(header)])] for row in written[1:]] == rows
    texts = [row[header.index("text")] for row in rows]
    check([row[len(header) :] for row in written[1:]], texts, Classifier.load(folder))


members = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(max_size=8),
    st.lists(st.integers(), max_size=2),
)


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(
            st.dictionaries(st.text(max_size=4).filter(lambda k: k != "text"), members, max_size=3),
            st.one_of(st.text(max_size=20), st.sampled_from(WORDS), st.none(), st.integers()),
            st.booleans(),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_json_lines_keep_their_members(folder: Path, rows: list[tuple[Any, Any, bool]]) -> None:
    objects = [{**before, "text": text} for before, text, _ in rows]
    lines = [json.dumps(o, ensure_ascii=r[2]) for o, r in zip(objects, rows, strict=True)]
    content = predict(folder, "\n".join(lines), "--text", "text", suffix=".jsonl").decode()
    written = [json.loads(line) for line in content.split("\n")[:-1]]
    added = ["label", *(f"p_{name}" for name in CLASSES)]
    assert [list(row) for row in written] == [[*one, *added] for one in objects]
    assert [{k: row[k] for k in one} for row, one in zip(written, objects, strict=True)] == objects
    texts = ["" if o["text"] is None else str(o["text"]) for o in objects]
    check([[str(row[name]) for name in added] for row in written], texts, Classifier.load(folder))


def test_members_of_json_lines_stay_to_the_letter(folder: Path) -> None:
    line = '{"a":1.10,"b":1e400,"big":12345678901234567890123,"text":"caf\\u00e9", "a":2}'
    written = predict(folder, line + "  \r\n\n", "--no-proba", suffix=".jsonl").decode()
    assert written.startswith(line[:-1] + ', "label": ')
    assert written.count("\n") == 1


def test_many_rows_are_predicted_in_order_in_batches_of_like_length(
    folder: Path, classifier: Classifier
) -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS, rng.integers(0, 30))) for _ in range(2 * ROWS + 77)]
    content = "id,text\n" + "".join(f"{i},{text}\n" for i, text in enumerate(texts))
    expected = classifier.predict_proba(texts)
    there = np.array([bool(text) for text in texts])
    for threads in ("1", "2"):
        rows = table(predict(folder, content, "--threads", threads))[1:]
        assert [row[0] for row in rows] == [str(i) for i in range(len(texts))]
        assert all((row[2] != "") == has_text for row, has_text in zip(rows, there, strict=True))
        found = np.array([row[3:] for row in rows if row[2]], dtype=float)
        np.testing.assert_allclose(found, expected[there], rtol=1e-4, atol=1e-6)
    assert np.ptp(expected, axis=0).min() > 0.1  # else any order might do
    streamed = list(classifier.stream_proba(iter(texts), chunk=1000))
    np.testing.assert_allclose(np.stack(streamed), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_another_precision_is_used_and_what_it_changes_is_told(
    precision: str, folders: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first 256 texts set what counts as close; the next are compared."""
    model = built(folders["deep bert"]).float().eval()
    reader = model.config.reader([], "words", 16)
    classifier = Classifier(model.config, model, reader, CLASSES)
    classifier.save(tmp_path / "model")
    rng = np.random.default_rng(0)
    texts = [
        " ".join(rng.choice(ENCODER_WORDS[5:], rng.integers(1, 14))) for _ in range(ROWS + 300)
    ]
    chunks = list(predict_chunks(classifier, texts, str, 2, precision))
    found = np.concatenate([chunk.probabilities for chunk in chunks])
    exact = classifier.predict_proba(texts)
    assert abs(found - exact).max() > 1e-5, "the precision must change something"
    assert abs(found - exact).mean() < 0.01
    others = slice(SAMPLE, 2 * SAMPLE)
    changed = int((found[others].argmax(1) != exact[others].argmax(1)).sum())
    assert [(chunk.compared, chunk.changed) for chunk in chunks] == [(SAMPLE, changed), (0, 0)]
    assert (found.argmax(1) == exact.argmax(1)).mean() >= 0.999
    file = tmp_path / "texts.csv"
    file.write_text("text\n" + "\n".join(texts[: 2 * SAMPLE]))
    command = ["predict", str(tmp_path / "model"), "--precision", precision]
    assert main([*command, str(file)]) == 0
    told = (
        f"of 256 texts that were read in float32, too, {changed} got another label in {precision}"
    )
    assert told in capsys.readouterr().err
    assert main([*command, *texts[:3]]) == 0
    told = f"up to 256 texts are read in float32: {precision} gains nothing"
    assert told in capsys.readouterr().err


def test_int8_of_a_model_without_layers_for_it_is_float32(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(folder), "a", "b", "--precision", "int8"]) == 0
    told = capsys.readouterr().err
    assert "has no layers that int8 is for: it is read in float32" in told
    assert "int8 gains nothing" not in told and "VNNI" not in told


@pytest.mark.slow
def test_chunks_are_asked_for_as_they_are_needed(classifier: Classifier) -> None:
    asked = 0

    def endless() -> Iterator[str]:
        nonlocal asked
        while True:
            asked += 1
            yield "good film"

    threads = torch.get_num_threads()
    chunks = predict_chunks(classifier, endless(), str, threads=2)
    for n in range(1, 4):
        assert len(next(chunks).items) == ROWS
        assert asked <= (n + 2) * ROWS
    chunks.close()
    assert torch.get_num_threads() == threads
    long = "good " * (CHARACTERS // 9)
    sizes = [len(c.items) for c in predict_chunks(classifier, [long] * 5, str)]
    assert sizes == [2, 2, 1]


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        (["id", "summary"], "summary"),
        (["Index", "Summary", "label"], "Summary"),
        (["summary"], "summary"),
        (["summary", "text"], "text"),
        (["id"], "id"),
        (["summary", "title"], None),
        (["text", "sentence", "id"], None),
    ],
)
def test_the_column_of_texts_is_the_one_that_nothing_else_is(
    columns: list[str], text: str | None
) -> None:
    if text is not None:
        assert text_columns(Path("a.csv"), columns, None)[0] == (text,)
    else:
        with pytest.raises(AmpmixError, match="give --text COLUMN"):
            text_columns(Path("a.csv"), columns, None)


def test_taken_names_get_a_prefix_and_no_column_is_lost(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    header = table(predict(folder, "label,text\nx,good film\n"))[0]
    assert header == ["label", "text", "predicted_label", *(f"predicted_p_{c}" for c in CLASSES)]
    assert "'label'" in capsys.readouterr().err
    both = table(predict(folder, "label,text,predicted_label\nx,good,y\n", "--no-proba"))
    assert both[0][3:] == ["predicted__label"] and both[1][:3] == ["x", "good", "y"]
    given_prefix = table(predict(folder, "label,text\nx,good\n", "--prefix", "m.", "--no-proba"))
    assert given_prefix[0] == ["label", "text", "m.label"]
    refused(folder, tmp_path, b"label,text\nx,good\n", ".csv", "--prefix", "")
    assert "--prefix" in capsys.readouterr().err
    late = b'{"text": "good"}\n{"text": "good", "label": 1}\n'
    file = tmp_path / "late.jsonl"
    file.write_bytes(late)
    assert main(["predict", str(folder), str(file)]) == 2
    assert "line 2" in capsys.readouterr().err


def test_running_it_on_its_own_output_works(folder: Path) -> None:
    once = predict(folder, "text\ngood\n", "--no-proba")
    assert table(predict(folder, once, "--no-proba"))[0] == ["text", "label", "predicted_label"]


BAD: dict[str, tuple[bytes, str, tuple[str, ...], str]] = {
    "too wide": (b"text,a\nx,1\ny,2\nz,3,4\n", ".csv", (), "line 4"),
    "open quote": (b'text,a\n"x\ny",1\n"good,2\nz,3\n', ".csv", (), "line 4"),
    "not UTF-8": (b"text\ngood\ncaf\xe9\n", ".csv", (), "line 3 holds the byte 0xe9"),
    "no JSON": (b'{"text": "a"}\n\n{"text": \n', ".jsonl", (), "line 3"),
    "no object": (b'{"text": "a"}\n[1]\n', ".jsonl", (), "line 2"),
    "no text": (b'{"text": "a"}\n{"id": 1}\n', ".jsonl", (), "line 2"),
    "a list": (b'{"text": "a"}\n{"text": []}\n', ".jsonl", (), "line 2"),
    "no such column": (b"text,a\nx,1\n", ".csv", ("--text", "body"), "no column 'body'"),
    "unclear": (b"a,b\nx,1\n", ".csv", (), "--text COLUMN"),
    "empty": (b"\n\n", ".csv", (), "is empty"),
    "twice": (b"text,a,a\nx,1,2\n", ".csv", (), "two columns named 'a'"),
    "spreadsheet": (b"text\nx\n", ".ods", (), ".jsonl or .parquet"),
    "no workbook": (b"text\nx\n", ".xlsx", (), "xcel"),
    "Parquet to no Parquet": (b"PAR1", ".parquet", (), "--out FILE.parquet"),
    "encoding": (b"text\nx\n", ".csv", ("--encoding", "klingon"), "klingon"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_a_sentence_with_the_line(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    content, suffix, options, said = BAD[case]
    refused(folder, tmp_path, content, suffix, *options)
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1, error


def test_missing_files_and_folders_are_named(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.csv").write_text("text\nx\n")
    for arguments in (
        [str(folder), str(tmp_path / "nowhere.csv")],
        [str(folder), str(tmp_path)],
        [str(tmp_path / "nowhere"), str(tmp_path / "a.csv")],
        [str(folder), str(tmp_path / "a.csv"), "--out", str(tmp_path / "nowhere" / "b.csv")],
    ):
        assert main(["predict", *arguments]) == 2
        assert str(tmp_path) in capsys.readouterr().err


def test_strange_texts_are_predicted(
    folder: Path, classifier: Classifier, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = ["", "\x00", "good\x00bad", "film " * 100_000, "\ufeff", "a\rb", "good"]
    file = io.StringIO(newline="")
    csv.writer(file).writerows([["text", "id"], *([text, "1"] for text in texts)])
    rows = table_of_long(predict(folder, file.getvalue()))
    assert [row[0] for row in rows[1:]] == texts
    check([row[2:] for row in rows[1:]], texts, classifier)
    assert "1 text was cut to 50 tokens" in capsys.readouterr().err
    assert predict(folder, "text\r\n", "--no-proba") == b"text,label\r\n"


def table_of_long(content: bytes) -> list[list[str]]:
    limit = csv.field_size_limit(2**30)
    try:
        return table(content)
    finally:
        csv.field_size_limit(limit)


def test_other_encodings_and_short_rows(folder: Path) -> None:
    for encoding in ("cp1252", "utf-16"):
        content = "note;text\ncafé;good\nshort\n".encode(encoding)
        written = predict(folder, content, "--encoding", encoding, "--no-proba").decode()
        rows = [line.split(";") for line in written.splitlines()]
        assert [row[:2] for row in rows] == [["note", "text"], ["café", "good"], ["short", ""]]
        assert all(len(row) == 3 for row in rows)


def process(*arguments: str, **options: Any) -> subprocess.Popen[bytes]:
    source = str(Path(ampmix.__file__).parents[1])
    begin = subprocess.Popen if "preexec_fn" in options else forked.Popen
    return begin(
        [sys.executable, "-m", "ampmix", *arguments],
        env={**os.environ, "PYTHONPATH": source},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_standard_input_to_standard_output(folder: Path, suffix: str) -> None:
    content = b"text,a\ngood film,1\n" if suffix == ".csv" else b'{"text": "good film"}\n'
    out, err = process("predict", str(folder), "-").communicate(content)
    assert (out, err) == (predict(folder, content, suffix=suffix), b"")


@pytest.mark.slow
def test_memory_does_not_grow_and_a_closed_pipe_is_quiet(folder: Path) -> None:
    """200,000 rows of 2 kB are 400 MB, of which the process holds little; then its reader goes."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (2**30, 2**30))

    running = process("predict", str(folder), "-", "--threads", "1", preexec_fn=limit)
    assert running.stdin and running.stdout and running.stderr
    running.stdin.write(b"text\n")
    row, seen = b"good film " * 40 + b"x" * 1600 + b"\n", 0
    block = row * 500

    def feed() -> None:
        try:
            while True:
                running.stdin.write(block)  # type: ignore[union-attr]
        except BrokenPipeError:
            pass

    feeder = threading.Thread(target=feed)
    feeder.start()
    peaks = []
    for megabytes in (8, 40):
        while seen < megabytes * 2**20:
            seen += len(running.stdout.read(2**16))
        status = Path(f"/proc/{running.pid}/status").read_text()
        peaks.append(int(status.split("VmHWM:")[1].split()[0]) / 1024)
    running.stdout.close()
    assert running.wait(timeout=60) in (0, 1)
    assert running.stderr.read() == b""
    running.stdin.close() if not running.stdin.closed else None
    feeder.join(timeout=10)
    assert peaks[1] < peaks[0] + 60, peaks


def test_an_altered_model_is_refused_by_name(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "model"
    shutil.copytree(folder, copy)
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-1] ^= 1  # the files still fit each other
    (copy / "model.safetensors").write_bytes(weights)
    with pytest.raises(AmpmixError, match=r"model\.safetensors was altered"):
        Classifier.load(copy)


def test_rows_say_where_they_begin() -> None:
    content = b'text,a\n"x\ny",1\n\nz,2\n'
    rows = list(open_stream(io.BytesIO(content), Path("a.csv")).rows)
    assert [(row.line, row.text) for row in rows] == [(2, "x\ny"), (5, "z")]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_unsure_answers_are_left_to_a_person(
    folder: Path, classifier: Classifier, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The label alone is left empty, where the likeliest class is less likely than asked for."""
    texts = ["good film", "bad book", "fine sad", "good good", "sad"]
    sure = classifier.predict_proba(texts).max(1)
    least = float(np.sort(sure)[1:3].mean())  # two are below
    content = (
        "text\n" + "\n".join(texts) + "\n"
        if suffix == ".csv"
        else "".join(json.dumps({"text": text}) + "\n" for text in texts)
    )
    written = predict(folder, content, "--min-confidence", str(least), suffix=suffix).decode()
    if suffix == ".csv":
        rows: list[dict[str, Any]] = list(csv.DictReader(io.StringIO(written)))
    else:
        rows = [json.loads(line) for line in written.splitlines()]
    assert [not row["label"] for row in rows] == (sure < least).tolist()
    assert all(row["p_good"] not in ("", None) for row in rows)
    assert "2 texts have no class of probability" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["-0.1", "1.5", "nan"])
def test_a_confidence_is_a_probability(
    folder: Path, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(folder), "good", f"--min-confidence={value}"]) == 2
    assert "it is a probability, from 0 to 1" in capsys.readouterr().err


def test_an_empty_text_is_a_text() -> None:
    """As a path it would be the folder that one is in."""
    assert given_texts(["a text", ""]) == ["a text", ""]
    assert given_texts([" "]) == [" "]
