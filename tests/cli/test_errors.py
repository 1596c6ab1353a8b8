"""`ampmix errors`: from a folder of runs and their data to a list of texts."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from ampmix.cli.main import main

pytest.importorskip("cleanlab")


def test_a_flipped_label_is_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [(f"good lovely film {i}", "pos") for i in range(30)]
    rows += [(f"bad awful book {i}", "neg") for i in range(30)]
    rows[3] = (rows[3][0], "neg")
    rows += [("Good lovely  FILM 7", "neg")]
    data = tmp_path / "data.csv"
    data.write_text("text,label\n" + "".join(f"{t},{y}\n" for t, y in rows))
    out, table, told = tmp_path / "out", tmp_path / "errors.csv", tmp_path / "errors.json"
    common = ["--backbone", "cnn[embedding_dim=4,feature_maps=2]", "--steps", "5", "--seeds", "3"]
    assert main(["compare", str(data), *common, "--policies", "none", "--out", str(out)]) == 0
    capsys.readouterr()
    assert main(["errors", str(out), str(data), "--out", str(table), "--json", str(told)]) == 0
    printed = capsys.readouterr().out
    likely = json.loads(told.read_text())["mislabelled"]
    assert likely and set(likely) <= {3, 60}
    assert printed.startswith(f"{len(likely)} of 61 texts look")
    assert max(map(len, printed.splitlines()[:-2])) <= 80  # but for paths
    found = {(row["reason"], row["text"]) for row in csv.DictReader(table.open())}
    texts = {3: "good lovely film 3", 60: "Good lovely  FILM 7"}
    assert all(("mislabelled", texts[i]) in found for i in likely)
    assert ("all models wrong", texts[3]) in found or ("mislabelled", texts[3]) in found
    assert ("equal text, other label", "good lovely film 7") in found

    data.write_text(data.read_text().replace("good lovely film 5", "another text"))
    assert main(["errors", str(out), str(data)]) == 2
    assert "of other data than" in capsys.readouterr().err
