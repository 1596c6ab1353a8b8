"""Baselines: equal to scikit-learn's, and trained, saved, asked and exported like any model."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline

import ampmix
from ampmix._support.components import BASELINES, find, parse_model, spec
from ampmix.backbones import feature_cache
from ampmix.baselines import encoder_logreg, encoder_tfidf
from ampmix.baselines._logistic import STRENGTHS, best_strength, rotated
from ampmix.baselines.encoder_logreg import EncoderLogreg
from ampmix.baselines.encoder_tfidf import EncoderTfidf
from ampmix.baselines.majority import Majority
from ampmix.baselines.tfidf_logreg import TfidfLogreg
from ampmix.cli.main import main
from ampmix.data.dataset import Examples, Split, TextDataset
from ampmix.errors import AmpmixError
from ampmix.models.export import export_onnx
from ampmix.text.tokenizers import TOKENIZERS

TICKETS = Path(__file__).parents[2] / "examples" / "support-tickets.csv"
NAMES = sorted(find(BASELINES.package))
NONE = ampmix.NoMixup()
MODELS = (EncoderLogreg(), EncoderTfidf(), TfidfLogreg())
pytestmark = pytest.mark.filterwarnings("ignore:.*hold.? nothing that the model knows")


@pytest.fixture(scope="module")
def split() -> Split:
    return ampmix.split_fold(ampmix.load_dataset(TICKETS), 0, 5)


@pytest.fixture
def made(request: pytest.FixtureRequest, folders: Any, tmp_path: Path, monkeypatch: Any) -> Any:
    """A baseline by name; one that needs an encoder has a tiny one."""
    monkeypatch.setenv("AMPMIX_CACHE", str(tmp_path / "cache"))
    cls = find(BASELINES.package)[request.param]
    needs = "model" in {field.name for field in dataclasses.fields(cls)}
    return cls(model=folders["bert"]) if needs else cls()


def of_each(function: Any) -> Any:
    return pytest.mark.parametrize("made", NAMES, indirect=True)(function)


@of_each
def test_it_is_saved_loaded_and_asked_like_any_model(
    made: Any, split: Split, tmp_path: Path
) -> None:
    fitted = ampmix.fit(made, NONE, split)
    texts = [*split.test.texts, "", "a a a a", "ヘルプ " * 300]
    before = fitted.classifier.predict_proba(texts)
    assert np.allclose(before[: len(split.test)], fitted.test_probabilities, atol=1e-6)
    fitted.classifier.save(tmp_path / "model")
    again = ampmix.Classifier.load(tmp_path / "model")
    assert np.array_equal(again.predict_proba(texts), before)
    alone = np.concatenate([again.predict_proba([text]) for text in texts[-8:]])
    assert np.allclose(alone, before[-8:], atol=1e-6), "other texts in the batch change nothing"
    assert (tmp_path / "model" / "README.md").read_text()


@of_each
def test_it_leaves_the_texts_as_they_were(made: Any, split: Split) -> None:
    """A solver of sparse matrices may sort indices in place: then the next model reads others."""
    reader = made.reader(split.train.texts, split.tokenizer, 128)
    train = reader.encode(split.train.texts[:90], split.train.labels[:90])
    test = reader.encode(split.test.texts[:30])
    before = copy.deepcopy([train, test])
    model = made.build(reader, len(split.classes), torch.Generator().manual_seed(0))
    made.solve(model, train, np.ones(90), [test])
    for part, own in zip((train, test), before, strict=True):
        assert np.array_equal(part.tokens, own.tokens)
        assert np.array_equal(part.offsets, own.offsets)


@pytest.mark.slow
@of_each
def test_it_is_the_same_every_time_and_heeds_what_it_says(made: Any, split: Split) -> None:
    plain, again = (ampmix.fit(made, NONE, split).test_probabilities for _ in range(2))
    assert np.array_equal(plain, again)
    few = dataclasses.replace(split, train=split.train.take(range(0, 400, 4)))
    plain = ampmix.fit(made, NONE, few).test_probabilities
    for heeded, setting in {
        "class_weights": {"class_weights": "balanced"},
        "max_length": {"max_length": 3},
        "lr": {"lr": 0.5},
    }.items():
        config = ampmix.TrainConfig(**setting)
        other = ampmix.fit(made, NONE, few, config).test_probabilities
        assert np.array_equal(plain, other) != (heeded in made.heeds), heeded


@pytest.mark.slow
@of_each
def test_it_can_be_exported(made: Any, split: Split, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    classifier = ampmix.fit(made, NONE, split).classifier
    path, *_ = export_onnx(classifier, tmp_path / "model.onnx")
    texts = [*split.test.texts[:20], "order order order order my order"]
    ids, mask, _ = classifier.reader.encode(texts).batch(range(len(texts)))
    session = onnxruntime.InferenceSession(str(path))
    _, found = session.run(None, {"ids": ids, "mask": mask})
    assert np.allclose(found, classifier.predict_proba(texts), atol=1e-5)


@of_each
def test_nothing_can_be_mixed_in_it(made: Any, split: Split) -> None:
    with pytest.raises(AmpmixError, match=f"{made.name} is fitted by a solver"):
        ampmix.fit(made, ampmix.Mixup(), split)
    with pytest.raises(AmpmixError, match="label_smoothing"):
        ampmix.fit(made, NONE, split, ampmix.TrainConfig(label_smoothing=0.1))


@pytest.mark.parametrize("c", [0.3, 10.0])
def test_tfidf_logreg_is_scikit_learns(split: Split, c: float) -> None:
    pipeline = make_pipeline(
        TfidfVectorizer(
            tokenizer=TOKENIZERS["words"],
            token_pattern=None,
            lowercase=False,
            ngram_range=(1, 2),
            sublinear_tf=True,
        ),
        LogisticRegression(C=c, tol=1e-8, max_iter=5000),
    )
    pipeline.fit(
        split.train.texts + split.dev.texts,
        np.concatenate([split.train.labels, split.dev.labels]),
    )
    texts = ["my my my my order order", *split.test.texts]
    fitted = ampmix.fit(TfidfLogreg(c), NONE, split)
    found = fitted.classifier.predict_proba(texts)
    assert np.allclose(found, pipeline.predict_proba(texts), atol=5e-3)


def test_a_solver_multiplies_on_one_thread(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its products are small: on two threads they take several times as long."""
    threadpoolctl = pytest.importorskip("threadpoolctl")

    def threads() -> set[int]:
        found = threadpoolctl.threadpool_info()
        return {one["num_threads"] for one in found if one["user_api"] == "blas"}

    solve, within = TfidfLogreg.solve, []
    monkeypatch.setattr(
        TfidfLogreg, "solve", lambda *given: within.append(threads()) or solve(*given)
    )
    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        before = threads()
        ampmix.fit(TfidfLogreg(), NONE, split)
        assert threads() == before == {2}
    assert within == [{1}]


@pytest.mark.parametrize("folds", [None, 3])
def test_nothing_is_learnt_from_a_development_set_that_was_given(folds: int | None) -> None:
    """It would stand for the labels of the training part that are left out."""
    whole, fits = ampmix.load_dataset(TICKETS), []
    train, dev, test = (whole.train.take(range(i, len(whole.train), 3)) for i in range(3))
    wrongly = Examples(dev.texts, (dev.labels + 1) % len(whole.classes))
    for given in (dev, wrongly):
        tested = test if folds is None else None
        data = TextDataset("toy", whole.classes, train, dev=given, test=tested)
        few = (
            ampmix.split_holdout(data, 0, fraction=0.5)
            if folds is None
            else ampmix.split_fold(data, 0, folds, fraction=0.5)
        )
        fits.append(ampmix.fit(TfidfLogreg(), NONE, few))
        names = np.array(fits[-1].classifier.predict(list(given.texts)))
        expected = (names != np.array(data.classes)[given.labels]).mean()
        assert fits[-1].best.dev_error == pytest.approx(expected)
        alone = ampmix.fit(TfidfLogreg(), NONE, dataclasses.replace(few, dev=dev.take([])))
        assert np.array_equal(fits[-1].test_probabilities, alone.test_probabilities)
    assert fits[0].best.dev_error < fits[1].best.dev_error


def test_a_class_without_a_text_gets_no_probability(split: Split) -> None:
    kept = [i for i, label in enumerate(split.train.labels) if label != 1]
    fewer = dataclasses.replace(split, train=split.train.take(kept), dev=split.dev.take([]))
    for model in (TfidfLogreg(), Majority()):
        probabilities = ampmix.fit(model, NONE, fewer).test_probabilities
        assert (probabilities[:, 1] == 0).all()
        assert np.allclose(probabilities.sum(1), 1)


def test_majority_gives_the_shares_of_the_classes(split: Split) -> None:
    labels = np.concatenate([split.train.labels, split.dev.labels])
    found = ampmix.fit(Majority(), NONE, split).test_probabilities
    assert np.allclose(found, np.bincount(labels) / len(labels), atol=1e-6)


@pytest.mark.slow
def test_features_are_computed_once_and_mended(
    folders: Any, split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AMPMIX_CACHE", str(tmp_path))
    model, counted = EncoderLogreg(folders["bert"]), []
    batches = feature_cache.batches
    monkeypatch.setattr(
        feature_cache, "batches", lambda *given: counted.append(1) or batches(*given)
    )
    data = ampmix.load_dataset(TICKETS)
    first = ampmix.fit(model, NONE, split)
    ampmix.fit(model, NONE, ampmix.split_fold(data, 1, 5))
    assert len(counted) == 1, "the folds of a cross-validation share them"
    (file,) = (tmp_path / "features").glob("*.npy")
    for damaged in (b"", file.read_bytes()[:200], b"\x80\x04 not numbers"):
        file.write_bytes(damaged)
        again = ampmix.fit(model, NONE, split)
        assert np.array_equal(again.test_probabilities, first.test_probabilities)
    assert len(counted) == 4
    ampmix.fit(EncoderLogreg(folders["distilbert"]), NONE, split)
    assert len(counted) == 5, "another encoder has others"
    (tmp_path / "a file").write_text("")
    monkeypatch.setenv("AMPMIX_CACHE", str(tmp_path / "a file"))
    unkept = ampmix.fit(model, NONE, split)
    assert np.array_equal(unkept.test_probabilities, first.test_probabilities)


@pytest.mark.parametrize("pooling", ["layers", "mean"])
def test_encoder_logreg_is_scikit_learns_on_transformers_states(
    pooling: str, folders: Any, split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AMPMIX_CACHE", str(tmp_path))
    monkeypatch.setattr(encoder_logreg, "best_strength", lambda *_: 3.0)
    model = EncoderLogreg(folders["bert"], pooling)
    found = ampmix.fit(model, NONE, split).test_probabilities
    body = transformers.AutoModel.from_pretrained(folders["bert"]).eval()
    reader = model.reader([], "words", 128)

    def states(texts: Sequence[str]) -> list[np.ndarray]:
        read = []
        for text in texts:
            ids = torch.from_numpy(reader.encode([text]).tokens.astype(np.int64))[None]
            with torch.no_grad():
                made = body(input_ids=ids, output_hidden_states=True).hidden_states
            read.append([state[0].mean(0).double().numpy() for state in made])
        kept = (
            [len(made) - 1] if pooling == "mean" else [(len(made) - 1) * k // 3 for k in range(4)]
        )
        return [np.array([one[k] for one in read]) for k in kept]

    parts = states([*split.train.texts, *split.dev.texts])
    lengths = [np.sqrt(len(parts) * (part**2).sum(1).mean()) for part in parts]
    x = np.hstack([part / one for part, one in zip(parts, lengths, strict=True)])
    y = np.concatenate([split.train.labels, split.dev.labels])
    by_hand = LogisticRegression(C=3.0, max_iter=1000).fit(x, y)
    tests = zip(states(split.test.texts), lengths, strict=True)
    expected = by_hand.predict_proba(np.hstack([part / one for part, one in tests]))
    assert np.allclose(found, expected, atol=2e-3)


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_encoder_tfidf_is_the_sum_of_both(
    share: float, folders: Any, split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AMPMIX_CACHE", str(tmp_path))
    monkeypatch.setattr(encoder_logreg, "best_strength", lambda *_: 3.0)
    monkeypatch.setattr(encoder_tfidf, "best_strength", lambda *_: 3.0)
    monkeypatch.setattr(encoder_tfidf, "_shares", lambda *_: (1 - share, share))
    model = EncoderTfidf(folders["bert"])
    found = ampmix.fit(model, NONE, split)
    alone = ampmix.fit(EncoderLogreg(folders["bert"]), NONE, split).test_probabilities
    tokenizer = transformers.AutoTokenizer.from_pretrained(folders["bert"])

    def pieces(text: str) -> list[str]:
        return tokenizer.tokenize(text)[:30]  # and two special ones

    texts = [*split.train.texts, *split.dev.texts]
    pipeline = make_pipeline(  # without what every text has
        TfidfVectorizer(analyzer=pieces, sublinear_tf=True, max_df=len(texts) - 1),
        LogisticRegression(C=10.0, solver="sag", tol=1e-3, max_iter=1000, random_state=0),
    )
    pipeline.fit(texts, np.concatenate([split.train.labels, split.dev.labels]))
    both = (1 - share) * np.log(alone) + share * pipeline.predict_log_proba(split.test.texts)
    expected = np.exp(both) / np.exp(both).sum(1, keepdims=True)
    assert np.allclose(found.test_probabilities, expected, atol=1e-5)
    again = found.classifier.predict_proba(split.test.texts)
    assert np.allclose(again, found.test_probabilities, atol=1e-5)


def test_the_share_of_tfidf_is_that_of_a_grid_search() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 40)
    x, pieces = (rng.normal(size=(120, 5)) + np.eye(3, 5)[labels] * k for k in (1.0, 2.0))
    weights = rng.uniform(0.5, 1.5, 120)
    folds = StratifiedKFold(3, shuffle=True, random_state=0)

    def held_out(x: np.ndarray, c: float, **options: Any) -> np.ndarray:
        log_p = np.empty((120, 3))
        for rest, held in folds.split(x, labels):
            own = LogisticRegression(C=c, max_iter=1000, random_state=0, **options)
            log_p[held] = own.fit(x[rest], labels[rest], weights[rest]).predict_log_proba(x[held])
        return log_p

    def loss(log_p: np.ndarray) -> float:
        p = np.exp(log_p) / np.exp(log_p).sum(1, keepdims=True)
        return float(log_loss(labels, p, sample_weight=weights))

    c = min(STRENGTHS, key=lambda c: loss(held_out(x, c)))
    states, bag = held_out(x, c), held_out(pieces, 10.0, solver="sag", tol=1e-3)
    pairs = [(t * (1 - s), t * s) for s in encoder_tfidf.SHARES for t in encoder_tfidf.SCALES]
    above, beside = min(pairs, key=lambda pair: loss(pair[0] * states + pair[1] * bag))
    assert best_strength(x, labels, weights) == c
    assert encoder_tfidf._shares(x, pieces, labels, weights, c, 10.0) == (above, beside)
    assert beside > 0, "more is told by the second"
    few = np.arange(3)
    assert best_strength(x[:3], few, weights[:3]) == 10.0
    assert encoder_tfidf._shares(x[:3], pieces[:3], few, weights[:3], 3.0, 10.0) == (0.8, 0.2)


def test_fewer_dimensions_than_texts_make_the_same_model() -> None:
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(30, 80)), np.repeat([0, 1, 2], 10)
    turned = rotated(x)
    assert turned.shape == (30, 30) and np.allclose(turned @ turned.T, x @ x.T)
    one, other = (LogisticRegression(tol=1e-8).fit(a, labels).predict_proba(a) for a in (x, turned))
    assert np.allclose(one, other, atol=1e-4)


def test_records_of_encoder_logreg_of_before_are_of_another_model() -> None:
    data = ampmix.load_dataset(TICKETS)
    specifications = [
        one.specification(one.runs()[0])
        for one in (ampmix.Plan(data, model, (NONE,), 5) for model in MODELS)
    ]
    told = [(one.get("backbone"), one.get("backbone_version")) for one in specifications]
    assert told == [("encoder-logreg", "3"), ("encoder-tfidf", "2"), (None, None)]


def test_specs_of_baselines_on_an_encoder() -> None:
    assert EncoderLogreg().identity == EncoderLogreg().public_spec == "encoder-logreg"
    assert EncoderLogreg(pooling="mean").public_spec == "encoder-logreg[pooling=mean]"
    assert (
        EncoderLogreg("bert-base-uncased").public_spec == "encoder-logreg[model=bert-base-uncased]"
    )
    with pytest.raises(AmpmixError, match="'head': it must be one of layers, mean"):
        EncoderLogreg(pooling="head")


def test_the_commands_take_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = str(tmp_path / "model")
    assert main(["train", str(TICKETS), "--model", "tfidf-logreg[C=2.0]", "--out", model]) == 0
    assert "step" not in (said := capsys.readouterr().out)
    assert "Development error" in said
    assert main(["predict", model, "where is my order", "cancel it"]) == 0
    assert main(["evaluate", model, str(TICKETS)]) == 0
    assert main(["list", "baselines"]) == 0
    assert all(name in capsys.readouterr().out for name in NAMES[:1])
    command = ["train", str(TICKETS), "--backbone", "tfidf-logreg", "--policy", "mixup"]
    assert main([*command, "--out", str(tmp_path / "other")]) == 2
    assert "nothing can be mixed" in capsys.readouterr().err


def test_spec_strings_name_them() -> None:
    for name in NAMES:
        assert spec(parse_model(name)) == name
    assert parse_model("cnn").name == "cnn"


def test_self_training_equals_the_loop(folders: Any, tmp_path: Path, monkeypatch: Any) -> None:
    """Soft labels as copies of a text, one a class, by scikit-learn; C is that of the labelled."""
    monkeypatch.setenv("AMPMIX_CACHE", str(tmp_path))
    data = ampmix.load_dataset(TICKETS, unlabelled="rest")
    split = ampmix.split_fold(data, 0, 5, fraction=0.5)
    model = EncoderLogreg(folders["bert"], rounds=2, T=0.7, unlabelled=0.4)
    fitted = ampmix.fit(model, NONE, split)
    alone = ampmix.fit(EncoderLogreg(folders["bert"]), NONE, split)
    assert fitted.unlabelled[0] == len(split.unlabelled) > 0
    assert alone.unlabelled == (0, "")
    body = alone.classifier.model
    reader = alone.classifier.reader
    known = [*split.train.texts, *split.dev.texts]
    parts = [reader.encode(texts) for texts in (known, split.unlabelled, split.test.texts)]
    x, extra, asked = (
        own.astype(float) for own in feature_cache.features(body, parts, torch.device("cpu"))
    )
    layers = x.shape[1] // body.body.config.hidden_size
    squares = [(part**2).sum(1).mean() for part in np.split(x, layers, 1)]
    length = np.repeat(np.sqrt(np.array(squares) * layers), body.body.config.hidden_size)
    labels = np.concatenate([split.train.labels, split.dev.labels])
    x, extra, asked = (own / length for own in (x, extra, asked))
    strength = best_strength(x, labels, np.ones(len(x)))
    learner = LogisticRegression(max_iter=1000, C=strength).fit(x, labels)
    n, classes = len(extra), len(split.classes)
    for _ in range(2):
        guessed = learner.predict_proba(extra) ** (1 / 0.7)
        guessed /= guessed.sum(1, keepdims=True)
        rows = np.concatenate([x, *[extra] * classes])
        y = np.concatenate([labels, *(np.full(n, c) for c in range(classes))])
        weights = np.concatenate([np.ones(len(x)), 0.4 * len(x) / n * guessed.T.ravel()])
        learner = LogisticRegression(max_iter=1000, C=strength).fit(rows, y, weights)
    expected = learner.predict_proba(asked)
    np.testing.assert_allclose(fitted.test_probabilities, expected, atol=5e-3)
    gap = abs(alone.test_probabilities - expected).max()
    assert gap > 2e-2, "or the tolerance would hide that nothing was learnt"
    assert np.array_equal(
        ampmix.fit(
            EncoderLogreg(folders["bert"], rounds=2, unlabelled=0.0), NONE, split
        ).test_probabilities,
        alone.test_probabilities,
    )


def test_a_self_trained_rung_names_what_it_learnt_from(folders: Any, tmp_path: Path) -> None:
    given: dict[str, Any] = {"seeds": 2, "repeats": 1, "fraction": 0.5, "unlabelled": "rest"}
    plans = [
        ampmix.Plan.of(TICKETS, ["none"], EncoderLogreg(folders["bert"], rounds=rounds), **given)
        for rounds in (0, 2)
    ]
    without, taught = (plan.specification(plan.runs()[0]) for plan in plans)
    assert "unlabelled" not in without
    assert taught["unlabelled"] == "rest"
    assert "rounds=2" in taught["backbone"] and str(tmp_path) not in taught["backbone"]
    for option in ("rounds=-1", "T=0.0", "unlabelled=-1.0"):
        with pytest.raises(AmpmixError, match="must be"):
            BASELINES.parse(f"encoder-logreg[{option}]")
