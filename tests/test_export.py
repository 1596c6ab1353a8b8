"""Exported models: the same output under onnxruntime, for every batch size and length."""

from __future__ import annotations

import builtins
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ampmix import AmpmixError, Classifier, TextCNN
from ampmix.cli import main
from ampmix.export import export_onnx
from ampmix.text import TOKENIZERS, WordReader

WORDS = [f"w{i}" for i in range(40)]


def classifier(backbone: TextCNN, classes: int = 3) -> Classifier:
    reader = WordReader.of_texts([" ".join(WORDS)], "words", max_length=30)
    model = backbone.build(reader, classes, torch.Generator().manual_seed(4))
    with torch.no_grad():  # as sharp as a trained model: else nothing is told apart
        model.output.weight.mul_(20)
    return Classifier(backbone, model, reader, tuple("ABCDEFG"[:classes]))


def batch(rng: np.random.Generator, size: int, length: int) -> tuple[Any, Any]:
    """Random ids with padding: every row has at least one token, one row has all."""
    lengths = rng.integers(1, length + 1, size)
    lengths[0] = length
    mask = np.arange(length) < lengths[:, None]
    return np.where(mask, rng.integers(1, len(WORDS) + 2, mask.shape), 0), mask


BACKBONES = [
    TextCNN(embedding_dim=6, feature_maps=5),
    TextCNN(embedding_dim=7, feature_maps=4, filter_sizes=(1, 4)),
    TextCNN(embedding_dim=3, feature_maps=2, filter_sizes=(6, 2, 2, 9)),
]


@pytest.mark.parametrize("backbone", BACKBONES, ids=str)
def test_the_exportable_module_is_the_model(backbone: TextCNN) -> None:
    model, rng = classifier(backbone).model.eval(), np.random.default_rng(0)
    before = torch.get_rng_state()
    plain = model.exportable()
    assert torch.equal(torch.get_rng_state(), before)
    for size, length in [(1, 1), (4, 1), (1, 12), (9, 5), (5, 30)]:
        ids, mask = map(torch.from_numpy, batch(rng, size, length))
        with torch.no_grad():
            torch.testing.assert_close(plain(ids, mask), model(ids, mask), rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Classifier, Path, Any]:
    one = classifier(TextCNN(embedding_dim=6, feature_maps=5))
    folder = tmp_path_factory.mktemp("onnx")
    one.model.train()
    beside = export_onnx(one, folder / "model.onnx")
    assert one.model.training
    assert sorted(path.name for path in folder.iterdir()) == ["model.json", "model.onnx"]
    return one, folder / "model.onnx", json.loads(beside.read_text(encoding="utf-8"))


def test_onnxruntime_agrees_for_every_batch_size_and_length(
    exported: tuple[Classifier, Path, Any],
) -> None:
    session, rng = runtime(exported[1]), np.random.default_rng(1)
    model = exported[0].model.eval()
    for size, length in [(1, 1), (1, 9), (6, 1), (3, 11), (2, 30), (64, 17)]:
        ids, mask = batch(rng, size, length)
        logits, probabilities = session.run(None, {"ids": ids, "mask": mask})
        with torch.no_grad():
            expected = model(torch.from_numpy(ids), torch.from_numpy(mask))
        np.testing.assert_allclose(logits, expected.numpy(), rtol=0, atol=1e-4)
        np.testing.assert_allclose(probabilities, expected.softmax(1).numpy(), rtol=0, atol=1e-4)
        assert size < 6 or np.ptp(logits, axis=0).max() > 0.1  # else any output might do


def runtime(path: Path) -> Any:
    onnxruntime = pytest.importorskip("onnxruntime")
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def test_the_file_beside_is_enough_to_read_texts(exported: tuple[Classifier, Path, Any]) -> None:
    """Texts are encoded here with nothing but the JSON file and a tokenizer of that name."""
    one, path, beside = exported
    texts = ["w1 w2 w39", "w3", "", "nothing known", " ".join(WORDS)]
    index = {word: i for i, word in enumerate(beside["reader"]["vocabulary"], start=2)}
    tokenize = TOKENIZERS[beside["reader"]["tokenizer"]]
    rows = [[index.get(token, 1) for token in tokenize(text)] or [1] for text in texts]
    rows = [row[: beside["reader"]["max_length"]] for row in rows]
    longest = max(map(len, rows))
    ids = np.array([row + [beside["padding"]] * (longest - len(row)) for row in rows])
    mask = np.array([[i < len(row) for i in range(longest)] for row in rows])
    _, probabilities = runtime(path).run(None, {"ids": ids, "mask": mask})
    np.testing.assert_allclose(probabilities, one.predict_proba(texts), rtol=0, atol=1e-4)
    labels = [beside["classes"][i] for i in probabilities.argmax(1)]
    assert labels == one.predict(texts)


def test_the_command_writes_both_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = classifier(BACKBONES[0], classes=2)
    one.save(tmp_path / "model")
    assert main(["export", str(tmp_path / "model"), "--onnx", str(tmp_path / "a.onnx")]) == 0
    said = capsys.readouterr()
    assert "a.onnx" in said.out and "a.json" in said.out
    assert said.err == ""
    ids, mask = batch(np.random.default_rng(2), 4, 6)
    _, probabilities = runtime(tmp_path / "a.onnx").run(None, {"ids": ids, "mask": mask})
    assert probabilities.shape == (4, 2)


def test_what_cannot_be_exported_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, real = classifier(BACKBONES[0]), builtins.__import__
    with pytest.raises(AmpmixError, match=r"\.onnx"):
        export_onnx(one, tmp_path / "vocabulary.json")
    with pytest.raises(AmpmixError, match="no folder"):
        export_onnx(one, tmp_path / "nowhere" / "a.onnx")

    def without(name: str, *arguments: Any, **others: Any) -> Any:
        if name.split(".")[0] in ("onnx", "onnxscript"):
            raise ModuleNotFoundError("not here", name=name)
        return real(name, *arguments, **others)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(AmpmixError, match=r"ampmix\[onnx\]"):
        export_onnx(one, tmp_path / "a.onnx")
    assert list(tmp_path.iterdir()) == []
