"""The model card is one of the Hugging Face hub: its own library reads tags and results."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ampmix
from ampmix.cli.main import main
from ampmix.data.dataset import Examples, TextDataset
from ampmix.models.card_metadata import measured
from ampmix.models.model_card import card

hub = pytest.importorskip("huggingface_hub", reason="the extra encoder is not installed")

CNN = "cnn[embedding_dim=8,feature_maps=4]"
ROWS = [(f"a {w} film {i}", w) for i in range(20) for w in ("good", "bad")]
ROWS += [(f"a fair film {i}", "fair") for i in range(10)]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, serial: Any) -> Path:
    monkeypatch.chdir(tmp_path)
    lines = [f"{text},{label}\n" for text, label in ROWS]
    Path("films.csv").write_text("text,label\n" + "".join(lines))
    Path("test.csv").write_text("text,label\na good book,good\na bad book,bad\nhm good,bad\n")
    return tmp_path


def train(*more: str) -> Any:
    small = ["--backbone", CNN, "--steps", "4", "--policy", "amp[eps=0.1]"]
    assert main(["train", "films.csv", "--out", "model", *small, *more]) == 0
    return hub.ModelCard.load("model/README.md").data


def result(data: Any, metric: str) -> Any:
    (found,) = [one for one in data.eval_results if one.metric_type == metric]
    return found


def test_a_trained_model_has_the_error_on_its_test_texts(here: Path) -> None:
    data = train("--test", "test.csv")
    about = json.loads(Path("model/config.json").read_text())["about"]
    assert data.library_name == "ampmix" and data.pipeline_tag == "text-classification"
    assert data.tags == ["ampmix", "cnn", "amp"]
    assert data.base_model is None and data.language is None  # neither is known
    found = result(data, "error")
    assert found.metric_value == pytest.approx(about["test_error"], abs=1e-4)
    low, high = found.metric_args["interval"]
    assert 0 <= low <= found.metric_value <= high <= 1
    assert found.metric_args["level"] == 0.95 and f"{low:.1%} to {high:.1%}" in found.metric_name
    assert (found.dataset_name, found.dataset_split) == ("films", "test")
    assert result(data, "accuracy").metric_value == pytest.approx(1 - found.metric_value)
    assert (
        hub.metadata_load("model/README.md") == hub.ModelCard.load("model/README.md").data.to_dict()
    )


@pytest.mark.parametrize("more", [[], ["--test", "test.csv", "--selection", "oracle_test"]])
def test_what_was_not_held_out_is_no_result(here: Path, more: list[str]) -> None:
    assert "model-index" not in hub.metadata_load("model/README.md" if train(*more) else "")


def test_a_comparisons_model_has_the_error_to_expect(here: Path) -> None:
    small = ["--backbone", CNN, "--steps", "4", "--seeds", "2", "--policies", "none"]
    assert main(["compare", "films.csv", *small, "--out", "runs"]) == 0
    expected = json.loads(Path("runs/model/config.json").read_text())["about"]["expected"]
    found = result(hub.ModelCard.load("runs/model/README.md").data, "error")
    assert found.metric_value == pytest.approx(expected["error"] / 100, abs=1e-4)
    bounds = found.metric_args["interval"]
    assert bounds == pytest.approx([bound / 100 for bound in expected["interval"]], abs=1e-4)
    assert found.dataset_split == "cross-validation"


def test_texts_of_each_class_are_told(here: Path) -> None:
    train()
    config = json.loads(Path("model/config.json").read_text())
    names, counts = config["classes"], config["about"]["n_each"]
    told = Path("model/README.md").read_text()
    for name, count in zip(names, counts, strict=True):
        assert f"`{name}`, {count} texts" in told
    assert sum(counts) == config["about"]["n_train"]
    assert counts == [9 if name == "fair" else 18 for name in names]


def test_language_and_base_model_are_told_where_known(folders: Any) -> None:
    from ampmix.backbones.encoder import Encoder, MiniLM
    from ampmix.baselines.encoder_logreg import EncoderLogreg
    from ampmix.training.training_run import about_training

    name = "sentence-transformers/all-MiniLM-L6-v2"
    assert MiniLM().base_model == EncoderLogreg().base_model == name
    assert Encoder(folders["bert"]).base_model is None  # a folder, of whatever model
    train = Examples(("a", "b"), np.array([0, 1]))
    data = TextDataset("toy", ("x", "y"), train, dev=train, test=train, language="en")
    split = ampmix.split_holdout(data, 0)
    about = about_training(split, MiniLM())
    made = card({"backbone": "minilm", "classes": ["x", "y"], "about": about})
    known = hub.ModelCard(made).data
    assert (known.base_model, known.language) == (name, "en")


@pytest.mark.parametrize("name", ["trec", "mr", "subj", "sst2"])
def test_known_data_sets_are_english(name: str, trec_data: Path, load_once: Any) -> None:
    assert load_once(name).language == "en"


@pytest.mark.parametrize("name", ["a: b\n- c", "---\nlicense: mit", "\x1b[31m", "'\"#{}", "é日本"])
def test_strange_names_stay_values(name: str) -> None:
    about = {"dataset": name, "test_error": 0.5, "n_test": 10, "policy": "amp"}
    data = hub.ModelCard(card({"backbone": "cnn", "classes": ["a", "b"], "about": about})).data
    assert set(data.to_dict()) == {"library_name", "pipeline_tag", "tags", "model-index"}
    assert "license" not in data.to_dict() and "\x1b" not in str(data)


def test_a_card_without_the_library_is_one_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    made = card({"backbone": "cnn", "classes": ["a", "b"], "about": {"dataset": "films"}})
    monkeypatch.undo()
    data = hub.ModelCard(made).data
    assert (data.library_name, data.pipeline_tag) == ("ampmix", "text-classification")


def test_a_number_that_is_none_is_no_result() -> None:
    assert measured({"test_error": float("nan"), "n_test": 0}) is None
    assert measured({}) is None
