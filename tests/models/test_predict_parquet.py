"""ampmix predict on Parquet: slice by slice, every row and type kept, in constant memory."""

from __future__ import annotations

import datetime
import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import ampmix
from ampmix import Classifier
from ampmix.cli.main import main
from ampmix.data.tables import parquet_stream
from ampmix.models.predict import ROWS
from small_models import WORDS, saved_model

CLASSES = ("bad, really", "fine", "good")
ADDED = ["label", *(f"p_{name}" for name in CLASSES)]


pytestmark = pytest.mark.usefixtures("forked_probes")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose answers differ from text to text."""
    return saved_model(tmp_path_factory.mktemp("models"), CLASSES)


def texts(n: int) -> list[str]:
    rng = np.random.default_rng(0)
    return [" ".join(rng.choice(WORDS, rng.integers(0, 9))) for _ in range(n)]


def of_texts(folder: Path, given: list[str]) -> Any:
    """Probabilities of each text; of an empty one NaN, as numpy has a null."""
    expected = np.array(Classifier.load(folder).predict_proba(given))
    expected[[not text for text in given]] = np.nan
    return expected


def predict(folder: Path, here: Path, frame: pl.DataFrame, *options: str, **how: Any) -> Any:
    frame.write_parquet(here / "in.parquet", **how)
    arguments = ["predict", str(folder), str(here / "in.parquet"), *options]
    assert main([*arguments, "--out", str(here / "out.parquet")]) == 0
    assert sorted(os.listdir(here)) == ["in.parquet", "out.parquet"], "no parts are left"
    return pl.read_parquet(here / "out.parquet", glob=False)


@pytest.mark.slow
@pytest.mark.parametrize("threads", ["1", "2"])
@pytest.mark.parametrize("group", [10**6, 700], ids=["one row group", "many"])
def test_rows_keep_their_order_and_get_what_the_classifier_says(
    folder: Path, tmp_path: Path, threads: str, group: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slices, chunks and row groups of different sizes, none a multiple of another."""
    monkeypatch.setattr(parquet_stream, "LARGEST", 1000)
    given = texts(2 * ROWS + 77)
    frame = pl.DataFrame({"id": range(len(given)), "text": given, "z": given})
    found = predict(folder, tmp_path, frame, "--threads", threads, row_group_size=group)
    assert found.columns == ["id", "text", "z", *ADDED]
    assert found.select("id", "text", "z").equals(frame)
    expected = of_texts(folder, given)
    np.testing.assert_allclose(found.select(ADDED[1:]).to_numpy(), expected, rtol=1e-4, atol=1e-6)
    there = found.filter(pl.col("text") != "")
    top = there.select(ADDED[1:]).to_numpy().argmax(1)
    assert there["label"].to_list() == [CLASSES[i] for i in top]
    assert found["label"].null_count() == found[ADDED[1]].null_count() == given.count("") > 0
    assert (
        np.nanmax(np.ptp(expected[~np.isnan(expected[:, 0])], axis=0)) > 0.1
    )  # else any order might do


def test_every_type_of_column_comes_back(folder: Path, tmp_path: Path) -> None:
    n = 600  # more than the first slice
    days = [datetime.date(2020, 1, 1 + i % 28) for i in range(n)]
    frame = pl.DataFrame(
        {
            "text": [None if i % 7 == 0 else t for i, t in enumerate(texts(n))],
            "day": days,
            "when": [datetime.datetime(2020, 1, 1, i % 24) for i in range(n)],
            "list": [[i, i + 1] if i % 5 else None for i in range(n)],
            "struct": [{"a": i, "b": str(i)} for i in range(n)],
            "kind": pl.Series([f"k{i // 100}" for i in range(n)], dtype=pl.Categorical),
            "level": pl.Series(["low", "high"] * (n // 2), dtype=pl.Enum(["low", "high"])),
            "raw": [bytes([i % 256]) for i in range(n)],
            "small": pl.Series([i % 100 for i in range(n)], dtype=pl.Int8),
            "nothing": [None] * n,
        }
    )
    found = predict(folder, tmp_path, frame)
    assert found.select(frame.columns).schema == frame.schema
    assert found.select(frame.columns).equals(frame)
    assert found.schema["label"] == pl.String and found.schema[ADDED[1]] == pl.Float32
    alone = of_texts(folder, [t or "" for t in frame["text"]])
    np.testing.assert_allclose(found.select(ADDED[1:]).to_numpy(), alone, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("options", [(), ("--no-proba",)])
def test_no_rows_give_no_rows_with_the_columns(
    folder: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    frame = pl.DataFrame(schema={"text": pl.String, "n": pl.Int8})
    found = predict(folder, tmp_path, frame, *options)
    assert found.height == 0 and found.columns == ["text", "n", *(ADDED[:1] if options else ADDED)]
    assert found.schema["n"] == pl.Int8 and found.schema["label"] == pl.String


def test_numbers_are_texts_and_names_that_are_taken_get_a_prefix(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = pl.DataFrame({"label": [1, 2], "year": [1.0, 2.5]})
    found = predict(folder, tmp_path, frame, "--no-proba", "--text", "year")
    assert found.columns == ["label", "year", "predicted_label"]
    assert found["predicted_label"].to_list() == Classifier.load(folder).predict(["1", "2.5"])
    assert "'label'" in capsys.readouterr().err


def test_names_of_files_are_no_patterns(folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "year=2020" / "a[1]*"
    place.mkdir(parents=True)
    found = predict(folder, place, pl.DataFrame({"text": ["good film"]}), "--no-proba")
    assert found.columns == ["text", "label"]


def test_long_texts_are_cut_and_told(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predict(folder, tmp_path, pl.DataFrame({"text": ["good " * 60, "bad"]}))
    assert "1 text was cut to 50 tokens" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("frame", "options", "said"),
    [
        ({"text": [["a"], ["b"]]}, (), "holds a list in 'text' of row 1"),
        ({"text": [b"a", None]}, (), "holds a bytes in 'text' of row 1"),
        ({"a": [1], "b": [2]}, (), "--text COLUMN"),
        ({"text": ["x"]}, ("--text", "body"), "no column 'body'"),
        ({"label": ["x"]}, ("--prefix", ""), "another --prefix"),
    ],
    ids=str,
)
def test_bad_tables_get_a_sentence_and_leave_nothing(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    frame: dict[str, Any],
    options: tuple[str, ...],
    said: str,
) -> None:
    pl.DataFrame(frame).write_parquet(tmp_path / "in.parquet")
    arguments = ["predict", str(folder), str(tmp_path / "in.parquet"), *options]
    assert main([*arguments, "--out", str(tmp_path / "out.parquet")]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert os.listdir(tmp_path) == ["in.parquet"]


def test_bad_files_and_places_get_a_sentence(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad, cut = (tmp_path / f"{name}.parquet" for name in ("good", "bad", "cut"))
    pl.DataFrame({"text": texts(900)}).write_parquet(good)
    content = good.read_bytes()
    bad.write_bytes(b"text\ngood\n")
    cut.write_bytes(content[:-20])
    out = str(tmp_path / "out.parquet")
    for file, to, said in (
        (bad, out, "is not a Parquet file or is damaged"),
        (cut, out, "is not a Parquet file or is damaged"),
        (tmp_path / "none.parquet", out, "none.parquet"),
        (good, None, "give --out FILE.parquet, not nothing"),
        (good, str(tmp_path / "out.csv"), "give --out FILE.parquet"),
        (good, str(tmp_path / "nowhere" / "out.parquet"), "there is no folder"),
    ):
        arguments = ["predict", str(folder), str(file), *(["--out", to] if to else [])]
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1, error
    assert {path.name for path in tmp_path.iterdir()} == {
        "good.parquet",
        "bad.parquet",
        "cut.parquet",
    }
    before = good.read_bytes()
    assert main(["predict", str(folder), str(good), "--out", str(good)]) == 0, "in its own place"
    assert pl.read_parquet(good).columns == ["text", *ADDED] and good.read_bytes() != before


PEAK = """\
import sys
from ampmix.cli.main import main
code = main(sys.argv[1:])
print(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
sys.exit(code)
"""


def test_a_full_disk_in_whatever_words_of_polars_is_a_sentence_and_leaves_nothing(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(self: Any, *_: Any, **__: Any) -> None:
        raise pl.exceptions.ComputeError(
            "parquet: File out of specification: underlying IO error: Disk quota exceeded "
            f"(os error {errno.EDQUOT})"
        )

    pl.DataFrame({"text": texts(3)}).write_parquet(tmp_path / "in.parquet")
    monkeypatch.setattr(pl.LazyFrame, "sink_parquet", full)
    where = [str(tmp_path / "in.parquet"), "--out", str(tmp_path / "out.parquet")]
    assert main(["predict", str(folder), *where]) == 2
    assert os.strerror(errno.EDQUOT) in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["in.parquet"]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_memory_does_not_grow_with_the_rows(folder: Path, tmp_path: Path) -> None:
    """Four times the rows, the same peak but for a few slices; one row group, the worst case."""
    rng = np.random.default_rng(0)
    noise = [rng.bytes(750).hex() for _ in range(4000)]  # 1,500 characters that do not compress
    peaks = []
    for times in (3, 12):  # 18 and 72 MB of text
        column = [f"{text} good {i}" for i in range(times) for text in noise]
        pl.DataFrame({"text": column}).write_parquet(tmp_path / "in.parquet", row_group_size=10**6)
        where = [str(tmp_path / "in.parquet"), "--out", str(tmp_path / "out.parquet")]
        out = subprocess.run(
            [sys.executable, "-c", PEAK, "predict", str(folder), *where, "--threads", "1"],
            env={**os.environ, "PYTHONPATH": str(Path(ampmix.__file__).parents[1])},
            capture_output=True,
            text=True,
            check=True,
        )
        peaks.append(int(out.stdout.split()[0]) / 1024)
        rows = pl.scan_parquet(tmp_path / "out.parquet").select(pl.len()).collect().item()
        assert rows == len(column)
    assert peaks[1] < peaks[0] + 110, peaks  # read at once they differ by 226
