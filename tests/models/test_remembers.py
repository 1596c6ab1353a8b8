"""A model remembers its columns and which texts it has seen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ampmix import Classifier
from ampmix.cli.main import main

SMALL = ["--steps", "60", "--lr", "1e-2", "--backbone", "cnn[embedding_dim=8,feature_maps=4]"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained on titles, which tell the class; texts say nothing."""
    folder = tmp_path_factory.mktemp("titles")
    rows = [("parcel lost", "delivery"), ("bill wrong", "billing")] * 30
    lines = [f"{t} {i},nothing here {i % 7},{c}" for i, (t, c) in enumerate(rows)]
    (folder / "train.csv").write_text("title,text,kind\n" + "\n".join(lines) + "\n")
    command = ["train", str(folder / "train.csv"), "--text", "title", "--label", "kind", *SMALL]
    assert main([*command, "--out", str(folder / "model")]) == 0
    return folder / "model"


def write(folder: Path, columns: str, *rows: str, name: str = "new.csv") -> str:
    (folder / name).write_text("\n".join([columns, *rows]) + "\n")
    return str(folder / name)


def labels(out: str) -> list[str]:
    lines = out.splitlines()
    at = lines[0].split(",").index("label")
    return [line.split(",")[at] for line in lines[1:]]


def test_predict_takes_the_column_it_was_trained_on(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = write(tmp_path, "text,title", "a b,parcel lost", "c d,bill wrong")
    assert main(["predict", str(model), new]) == 0
    out, err = capsys.readouterr()
    assert labels(out) == ["delivery", "billing"] and "column" not in err
    assert main(["predict", str(model), new, "--text", "text"]) == 0
    assert len(set(labels(capsys.readouterr().out))) == 1


def test_evaluate_takes_both_columns(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = write(
        tmp_path, "text,label,title,kind", "a,x,parcel lost,delivery", "b,y,bill wrong,billing"
    )
    assert main(["evaluate", str(model), new]) == 0
    out, err = capsys.readouterr()
    assert "Error 0.0%" in out and "column" not in err


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_a_file_without_the_column_is_read_and_told(
    suffix: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if suffix == ".csv":
        new = write(tmp_path, "id,text", "1,parcel lost", "2,bill wrong")
    else:
        rows = [{"id": 1, "text": "parcel lost"}, {"id": 2, "text": "bill wrong"}]
        new = write(tmp_path, *map(json.dumps, rows), name="new.jsonl")
    assert main(["predict", str(model), new]) == 0
    err = capsys.readouterr().err
    assert "was trained on the column 'title', which" in err and "taken is 'text'" in err


def test_texts_that_were_trained_on_are_told(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(model), str(model.parent / "train.csv")]) == 0
    assert "the model was trained on 60 of 60 texts" in capsys.readouterr().err
    new = write(tmp_path, "title,kind", "Parcel  lost 0,delivery", "parcel gone,delivery")
    assert main(["evaluate", str(model), new]) == 0
    assert "the model was trained on 1 of 2 texts" in capsys.readouterr().err


def test_what_is_remembered_survives_saving_again(model: Path, tmp_path: Path) -> None:
    one = Classifier.load(model)
    assert one.column("text") == "title" and one.column("label") == "kind"
    one.save(tmp_path / "again")
    again = Classifier.load(tmp_path / "again")
    assert again.about == one.about and again.trained_on(["bill wrong 1", "no"]) == 1


def test_models_without_a_memory_load(model: Path) -> None:
    old = Classifier.load(Path(__file__).parents[1] / "data/0afeb06/model")
    assert old.column("text") is None and old.trained_on(["a"]) == 0
