"""ampmix train: the model of the very run that compare would do, in a folder that explains it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ampmix
import forked
from ampmix import Classifier, TextCNN, TrainConfig, fit, load_dataset, split_holdout, split_train
from ampmix.cli.main import main
from ampmix.data.dataset import Examples, TextDataset
from ampmix.models.model_card import card
from ampmix.policies.amp import AMP

SPEC = "cnn[embedding_dim=8,feature_maps=4]"
SMALL = ["--backbone", SPEC, "--steps", "12", "--batch-size", "8", "--lr", "0.01"]
ROWS = [(f"a {w} film {i}", w) for i in range(30) for w in ("good", "bad")]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    text = "text,label\n" + "".join(f"{t},{y}\n" for t, y in ROWS)
    Path("films.csv").write_text(text)
    Path("test.csv").write_text("text,label\na good book,good\na bad book,bad\nhm good,bad\n")
    return tmp_path


def train(*arguments: str) -> int:
    before, handler = torch.get_num_threads(), signal.getsignal(signal.SIGTERM)
    try:
        return main(["train", *arguments])
    finally:
        torch.set_num_threads(before)
        signal.signal(signal.SIGTERM, handler)


def test_it_trains_what_fit_trains(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--test", "test.csv", "--policy", "amp[eps=0.1]", "--seed", "3", "--fraction", "0.8"]
    assert train("films.csv", "--out", "model", *options, *SMALL) == 0
    printed = capsys.readouterr().out
    torch.set_num_threads(1)
    split = split_holdout(load_dataset("films.csv", test="test.csv"), 3, 0.8)
    backbone = TextCNN(embedding_dim=8, feature_maps=4)
    config = TrainConfig(steps=12, batch_size=8, lr=0.01, eval_every=1)
    expected = fit(backbone, AMP(eps=0.1), split, config, 3)
    loaded = Classifier.load("model")
    texts = [text for text, _ in ROWS]
    own = expected.classifier.predict_proba(texts)
    assert np.array_equal(loaded.predict_proba(texts), own)
    assert f"Development error {expected.best.dev_error:.1%}" in printed
    assert f"Test error {expected.test_error:.1%} (3 texts)" in printed
    about = json.loads(Path("model/config.json").read_text())["about"]
    assert about["test_error"] == expected.test_error and about["policy"] == "amp[eps=0.1]"
    assert about["data_hash"] == split.data_hash and about["training"]["lr"] == 0.01


def test_without_a_test_set_all_texts_but_the_development_part_are_trained_on(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("films.csv", "--out", "model", *SMALL) == 0
    printed = capsys.readouterr().out
    assert "54 training texts, 6 for development" in printed and "Test error" not in printed
    about = json.loads(Path("model/config.json").read_text())["about"]
    assert (about["n_train"], about["n_dev"], about["n_test"]) == (54, 6, 0)
    assert "test_error" not in about and about["policy"] == "none"


def test_texts_that_were_cut_are_counted(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("long.csv").write_text(Path("films.csv").read_text() + "one two three four five,good\n")
    assert train("long.csv", "--out", "model", *SMALL, "--max-length", "4") == 0
    assert "note: 1 text was cut to 4 tokens\n" in capsys.readouterr().err
    assert Classifier.load("model").reader.max_length == 4
    assert train("films.csv", "--out", "model", *SMALL, "--max-length", "4") == 0
    assert " cut to" not in capsys.readouterr().err


def toy(test: Examples | None = None) -> TextDataset:
    texts, labels = zip(*ROWS, strict=True)
    part = Examples(texts, np.array([y == "bad" for y in labels], dtype=np.int64))
    return TextDataset("films", ("good", "bad"), part, test=test)


def test_split_train_parts_all_texts_and_follows_split_holdout() -> None:
    split = split_train(toy(), seed=5)
    assert len(split.test) == 0
    both = np.sort(np.concatenate([split.train_indices, split.dev_indices]))
    assert both.tolist() == list(range(len(ROWS)))
    held = toy(Examples(("x",), np.array([0])))
    assert split_train(held, 5, 0.5).hash == split_holdout(held, 5, 0.5).hash
    assert split_train(toy(), 5).hash != split_train(toy(), 6).hash


def test_fit_without_a_test_part_reads_none() -> None:
    config = TrainConfig(steps=3, batch_size=8)
    fitted = fit(TextCNN(embedding_dim=4, feature_maps=2), AMP(), split_train(toy(), 0), config)
    assert fitted.test_reads == () and len(fitted.test_wrong) == 0
    assert np.isnan(fitted.test_error)


def test_the_card_tells_everything_and_nothing_of_the_machine(here: Path) -> None:
    assert train("films.csv", "--test", "test.csv", "--out", "model", *SMALL) == 0
    told = Path("model/README.md").read_text()
    config = json.loads(Path("model/config.json").read_text())
    about = config["about"]
    for value in (about["data_hash"], SPEC, "good", "bad", f"{about['dev_error']:.2%}"):
        assert value in told
    for key, value in about["training"].items():
        assert f"{key}: `{value}`" in told
    for name in ("ampmix", "torch", "numpy"):
        assert f"- {name} " in told
    assert config["files"]["model.safetensors"] in told
    everything = told + Path("model/config.json").read_text()
    for private in (str(here), str(Path.home()), os.path.expanduser("~")):
        assert private not in everything
    code = told.split("```python")[1].split("```")[0]
    names: dict[str, Any] = {}
    exec(code.replace("path/to/this/folder", "model"), names)
    assert names["classifier"].predict(["a good film"])[0] in ("good", "bad")


def test_a_card_keeps_strange_names_in_their_place() -> None:
    classes = ["a|b", "two\nlines", "``` tick", " ", "*bold*"]
    told = card({"backbone": "cnn", "classes": classes, "about": {"dataset": "x\n# y_z"}})
    assert "\n# y" not in told and "two\nlines" not in told
    items = [line for line in told.splitlines() if line[:1].isdigit()]
    assert items[0] == "0. `a|b`" and items[1] == '1. `"two\\nlines"`'
    assert items[2] == "2. ```` ``` tick ````" and items[3] == '3. `" "`'


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--policy", "mixip"], "mixup"),
        (["--policy", "amp[site=nowhere]"], "nowhere"),
        (["--threads", "0"], "threads is 0"),
        (["--steps", "0"], "steps is 0"),
        (["--fraction", "2"], "fraction is 2"),
        (["--seed", "-1"], "seed is -1"),
        (["--out", "full"], "full holds something else"),
        (["--out", "films.csv"], "films.csv holds something else"),
        (["--test", "nowhere.csv"], "nowhere.csv"),
    ],
)
def test_bad_input_is_refused_before_training(
    here: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    said: str,
) -> None:
    def trained(*_: Any, **__: Any) -> None:
        raise AssertionError("training began")

    monkeypatch.setattr("ampmix.training.fit.fit", trained)
    Path("full").mkdir()
    Path("full/thesis.txt").write_text("years of work")
    assert train("films.csv", *(["--out", "model"] * ("--out" not in options)), *options) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not Path("model").exists()


def test_interruption_leaves_nothing_and_exits_with_130(here: Path) -> None:
    source = str(Path(ampmix.__file__).parents[1])
    arguments = ["train", "films.csv", "--out", "model", *SMALL, "--steps", "10000000"]
    running = forked.Popen(
        [sys.executable, "-m", "ampmix", *arguments],
        env={**os.environ, "PYTHONPATH": source},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert running.stdout and b"10,000,000 steps" in running.stdout.readline()
    time.sleep(0.5)
    running.send_signal(signal.SIGINT)
    _, error = running.communicate(timeout=60)
    assert running.returncode == 130
    assert error.splitlines()[-1].startswith(b"Interrupted") and b"Traceback" not in error
    assert sorted(path.name for path in here.iterdir()) == ["films.csv", "test.csv"]
