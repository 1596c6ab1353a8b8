"""Every backbone with every policy by the command line: compare, go on, predict, export."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ampmix._support.components import spec
from ampmix.cli.main import main
from ampmix.models.classifier import Classifier
from ampmix.studies import baseline
from every_backbone import classes, every_spec
from every_policy import every_policy_and_site


def with_vectors(cls: Any) -> str:
    """The tiny one with vectors, whose width its embeddings then have."""
    tiny = {name: value for name, value in cls.tiny.items() if name != "embedding_dim"}
    return spec(cls(**tiny, vectors="{vectors}"))


SMALL = {
    **every_spec("{encoder}"),
    **{f"{cls.name} and vectors": with_vectors(cls) for cls in classes() if cls.takes_vectors},
    "cnn and fixed vectors": "cnn[feature_maps=3,vectors={vectors},tuned=false,oov=drop]",
    "encoder, tokens' mean": "encoder[model={encoder},pooling=mean]",
}
POLICIES = [spec(policy) for policy in every_policy_and_site()]
TINY = ["--steps", "3", "--batch-size", "8", "--fraction", "0.02", "--seeds", "1"]


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Vectors of a few words of TREC's."""
    draws = np.random.default_rng(0)
    words = "What is the of a in did was Who How many ? name country city year".split()  # noqa: SIM905
    path = tmp_path_factory.mktemp("vectors") / "few.txt"
    lines = [" ".join([word, *map(str, draws.normal(size=5).round(3))]) for word in words]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_compare_goes_on_to_the_bit_and_leaves_a_model_that_works(
    trec_data: Path,
    serial: list[Any],
    vectors: Path,
    folders: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AMPMIX_CACHE", str(tmp_path / "cache"))
    backbone = SMALL[name].format(vectors=vectors, encoder=folders["bert"])
    command = ["compare", "trec", "--backbone", backbone, "--policies", ",".join(POLICIES)]
    assert main([*command, *TINY, "--out", "out"]) == 0
    content = json.loads(Path("out/summary.json").read_text())
    assert [row["policy"] for row in content["rows"]] == [baseline.NAME, *POLICIES]
    assert all(len(row["errors"]) == 1 and not row["failures"] for row in content["rows"])

    records = {path: json.loads(path.read_text()) for path in Path("out/records").iterdir()}
    lost = [path for path, one in records.items() if one["specification"]["policy"] != "none"]
    for path in lost[::2]:
        path.unlink()
    serial.clear()
    assert main([*command, *TINY, "--out", "out"]) == 0
    assert len(serial) == len(lost[::2])
    for path, record in records.items():
        assert json.loads(path.read_text())["digest"] == record["digest"]
    assert json.loads(Path("out/summary.json").read_text()) == content

    Path("new.csv").write_text("text\nWho was Galileo ?\nHow far is it ?\n")
    Path("known.csv").write_text("text,label\nWho was Galileo ?,human\nHow far is it ?,numeric\n")
    Classifier.load("out/model").save("mine")
    assert main(["evaluate", "mine", "known.csv", "--json", "known.json"]) == 0
    for place in ("out", "."):  # of our own files none passes for a damaged record
        assert main(["report", place, "--out", "out/page"]) == 0
        assert " 0 files left aside" in Path("out/page/report.md").read_text()
    assert main(["predict", "out/model", "new.csv", "--out", "labelled.csv"]) == 0
    rows = [line.split(",") for line in Path("labelled.csv").read_text().splitlines()]
    assert [row[1] for row in rows[1:]] == Classifier.load("out/model").predict(
        ["Who was Galileo ?", "How far is it ?"]
    )
