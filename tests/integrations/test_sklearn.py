"""MixupTextClassifier: the trainer's own model, and a citizen of scikit-learn."""

from __future__ import annotations

import copy
import csv
import inspect
import pickle
import re
import sys
import types
import warnings
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
import scipy.stats
import sklearn.utils.validation
import torch
from sklearn.base import clone, is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import StackingClassifier, VotingClassifier
from sklearn.exceptions import NotFittedError, SkipTestWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    RandomizedSearchCV,
    StratifiedKFold,
    cross_val_predict,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks

from ampmix import AMP, Classifier, Mixup, MixupTextClassifier, TextCNN, TrainConfig, fit
from ampmix._support.components import parse
from ampmix.backbones.recipes import FINE_TUNED
from ampmix.cli import main
from ampmix.cli import options as _options
from ampmix.data.dataset import Examples, TextDataset
from ampmix.data.splits import split_train
from ampmix.errors import AmpmixError
from ampmix.training.config import OWN_STEPS

ROOT = Path(__file__).parents[2]
DESCRIBED = MixupTextClassifier.__doc__ or ""
GUIDE = ROOT / "docs" / "guides" / "scikit-learn.md"
CNN = "cnn[embedding_dim=16,filter_sizes=1+2,feature_maps=16,dropout=0.1]"
WORDS = {
    "delivery": "parcel courier late tracking doorstep van",
    "payment": "card invoice refund charged bank receipt",
    "account": "password login email locked username profile",
}


def tickets(n: int = 60, seed: int = 0) -> tuple[list[str], list[str]]:
    """Messages with three words of their class and three of no class, in any order."""
    rng = np.random.default_rng(seed)
    labels = [list(WORDS)[i % 3] for i in range(n)]
    common = ["the", "my", "is", "it", "please", "a", "and", "today", "help", "now"]
    texts = []
    for label in labels:
        own = rng.choice(WORDS[label].split(), 3)
        texts.append(" ".join(rng.permutation([*own, *rng.choice(common, 3)])))
    return texts, labels


TEXTS, LABELS = tickets()
NEW, NEW_LABELS = tickets(30, seed=1)


def small(policy: Any = "mixup", **options: Any) -> MixupTextClassifier:
    settings = {"steps": 40, "lr": 0.01, "batch_size": 16, "random_state": 0}
    return MixupTextClassifier(policy, CNN, **{**settings, **options})


@pytest.fixture(scope="module")
def fitted() -> MixupTextClassifier:
    return small().fit(TEXTS, LABELS)


@pytest.fixture(scope="module")
def expected(fitted: MixupTextClassifier) -> Any:
    return fitted.predict_proba(NEW)


def same(one: MixupTextClassifier, other: MixupTextClassifier) -> bool:
    return bool((one.predict_proba(NEW) == other.predict_proba(NEW)).all())


# --- whose model it is -----------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["none", "mixup", "amp[eps=0.1]", "nonlinear"])
def test_it_is_the_model_of_fit(policy: str) -> None:
    model = small(policy, random_state=3, dev_size=0.2, eval_every=7).fit(TEXTS, LABELS)
    classes = ("account", "delivery", "payment")
    dataset = TextDataset("any", classes, Examples(tuple(TEXTS), [*map(classes.index, LABELS)]))
    backbone = parse(CNN, "ampmix.backbones", "backbone")
    config = TrainConfig(steps=40, lr=0.01, batch_size=16, eval_every=7)
    split = split_train(dataset, 3, dev_fraction=0.2)
    result = fit(backbone, parse(policy, "ampmix.policies", "policy"), split, config, 3)
    assert (model.predict_proba(NEW) == result.classifier.predict_proba(NEW)).all()
    assert model.predict(NEW).tolist() == result.classifier.predict(NEW)
    assert (model.config_, model.curve_, model.seed_) == (config, result.curve, 3)
    assert (model.best_step_, model.dev_error_) == (result.best.step, result.best.dev_error)
    assert model.score(NEW, NEW_LABELS) > 0.8


def test_logarithms_of_probabilities_are_those() -> None:
    model = small("mixup", random_state=3).fit(TEXTS, LABELS)
    logarithms = model.predict_log_proba(NEW)
    np.testing.assert_allclose(np.exp(logarithms), model.predict_proba(NEW), rtol=1e-5)


def test_it_is_the_model_of_ampmix_train(tmp_path: Path) -> None:
    with (tmp_path / "tickets.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *zip(TEXTS, LABELS, strict=True)])
    threads = torch.get_num_threads()
    options = ["--policy", "amp", "--backbone", CNN, "--steps", "40", "--lr", "0.01"]
    options += ["--batch-size", "16", "--seed", "5", "--threads", str(threads)]
    out = str(tmp_path / "model")
    assert main.main(["train", str(tmp_path / "tickets.csv"), "--out", out, *options]) == 0
    model = small("amp", random_state=5).fit(TEXTS, LABELS)
    assert (Classifier.load(out).predict_proba(NEW) == model.predict_proba(NEW)).all()


@pytest.mark.parametrize("backbone", ["cnn", "bilstm", "minilm"])
@pytest.mark.parametrize("steps", [[], ["--steps", "30"], ["--steps", "5000"]])
def test_defaults_are_those_of_ampmix_train(backbone: str, steps: list[str]) -> None:
    command = ["train", "a.csv", "--out", "x", "--backbone", backbone, *steps]
    arguments = main.build_parser().parse_args(command)
    given = {"steps": int(steps[1])} if steps else {}
    component = parse(backbone, "ampmix.backbones", "backbone")
    made = MixupTextClassifier(backbone=backbone, **given)._config(component, True)
    assert made == _options.config_of(arguments, component)


@pytest.mark.parametrize("setting", fields(TrainConfig), ids=lambda setting: setting.name)
def test_every_setting_of_training_is_a_parameter_and_described(setting: Any) -> None:
    parameter = inspect.signature(MixupTextClassifier).parameters[setting.name]
    assert parameter.default in (None, setting.default)
    described = re.search(rf"^ +{setting.name}: (.+?)^ +\w+: ", DESCRIBED, re.DOTALL | re.MULTILINE)
    assert described
    for choice in setting.metadata["choices"]:
        assert f"``{choice}``" in described[1]


def test_the_defaults_described_are_those_there_are() -> None:
    steps = f"by default {OWN_STEPS:,}, or {FINE_TUNED['steps']} for encoders"
    every = f"by default a twentieth of the steps, at most {TrainConfig.eval_every}"
    assert steps in " ".join(DESCRIBED.split()) and every in " ".join(DESCRIBED.split())


def test_weights_smoothing_and_patience_reach_training(
    expected: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    few = [*range(0, len(TEXTS), 3), 1, 2]  # a class and little of the others
    texts, labels = [TEXTS[i] for i in few], [LABELS[i] for i in few]
    plain = small(dev_size=0).fit(texts, labels).predict_proba(NEW)
    for setting in ({"class_weights": "balanced"}, {"label_smoothing": 0.2}):
        changed = small(dev_size=0, **setting).fit(texts, labels)
        assert getattr(changed.config_, *setting) == next(iter(setting.values()))
        assert (changed.predict_proba(NEW) != plain).any()
    capsys.readouterr()
    model = small(steps=500, eval_every=5, patience=2, verbose=True).fit(TEXTS, LABELS)
    assert model.config_.selection == "best_dev"
    assert model.best_step_ + 10 == model.curve_[-1].step < 500
    assert f"{model.curve_[-1].step} steps; development error" in capsys.readouterr().err
    with pytest.raises(AmpmixError, match="patience is 3, but with dev_size=0"):
        small(dev_size=0, patience=3).fit(TEXTS, LABELS)


def test_its_model_folder_gives_the_same_probabilities(tmp_path: Path, expected: Any) -> None:
    labels = [list(WORDS).index(label) for label in LABELS]
    model = small().fit(TEXTS, labels)
    model.classifier_.save(tmp_path / "model")
    loaded = Classifier.load(tmp_path / "model")
    assert loaded.classes == ("0", "1", "2")
    assert (loaded.predict_proba(NEW) == model.predict_proba(NEW)).all()


# --- what X and y may be ---------------------------------------------------------------------


def test_every_kind_of_x_gives_the_same_model_and_predictions(expected: Any) -> None:
    frame = pd.DataFrame({"text": TEXTS}, index=range(100, 100 + len(TEXTS)))
    kinds: dict[str, Any] = {
        "tuple": tuple(TEXTS),
        "array of str": np.array(TEXTS),
        "array of objects": np.array(TEXTS, dtype=object),
        "column": np.array(TEXTS, dtype=object)[:, None],
        "pandas Series": frame["text"],
        "pandas Series of objects": frame["text"].astype(object),
        "pandas DataFrame": frame,
        "Polars Series": pl.Series(TEXTS),
        "Polars DataFrame": pl.DataFrame({"text": TEXTS}),
    }
    for kind, X in kinds.items():
        model = small().fit(X, LABELS)
        assert (model.predict_proba(NEW) == expected).all(), kind
        assert (model.predict(X) == model.predict(TEXTS)).all(), kind
        two = kind in ("column", "pandas DataFrame", "Polars DataFrame")
        assert getattr(model, "n_features_in_", None) == (1 if two else None), kind
        assert not hasattr(model.fit(TEXTS, LABELS), "n_features_in_")


NUMBERS = [list(WORDS).index(label) for label in LABELS]
YES = [label == "payment" for label in LABELS]


@pytest.mark.parametrize(
    "y",
    [
        LABELS,
        np.array(LABELS),
        np.array(LABELS, dtype=object),
        pd.Series(LABELS, index=range(7, 67)),
        pd.Series(LABELS, dtype="category"),
        pl.Series(LABELS),
        NUMBERS,
        np.array(NUMBERS, dtype=np.int8),
        pd.Series(NUMBERS),
        pl.Series(NUMBERS),
        [-3 * number for number in NUMBERS],
        YES,
        np.array(YES),
        pl.Series(YES),
    ],
    ids=lambda y: type(y).__module__.partition(".")[0],
)
def test_labels_of_every_kind_come_back_as_they_were(y: Any) -> None:
    model = small().fit(TEXTS, y)
    array = np.asarray(y.to_numpy() if hasattr(y, "to_numpy") else y)
    assert model.classes_.tolist() == sorted(set(array.tolist()))
    predicted = model.predict(TEXTS)
    assert predicted.dtype == model.classes_.dtype == array.dtype
    assert model.score(TEXTS, y) == np.mean(predicted == array) > 0.9
    best = model.predict_proba(TEXTS).argmax(1)
    assert (model.classes_[best] == predicted).all()


def test_nothing_to_predict_is_no_prediction(fitted: MixupTextClassifier) -> None:
    assert fitted.predict([]).shape == (0,) and fitted.predict([]).dtype == fitted.classes_.dtype
    assert fitted.predict_proba([]).shape == (0, 3)


# --- development texts -----------------------------------------------------------------------


@pytest.mark.parametrize("dev_size", [0.1, 0.3, np.float64(0.25)])
def test_dev_size_is_the_share_kept_and_rare_classes_still_train(
    dev_size: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = splits(monkeypatch)
    model = small(dev_size=dev_size).fit([*TEXTS, "rare words alone"], [*LABELS, "rare"])
    assert len(seen[0].dev) == round(61 * dev_size)
    assert "rare words alone" in seen[0].train.texts
    assert model.classes_.tolist() == ["account", "delivery", "payment", "rare"]
    assert sorted([*seen[0].train.texts, *seen[0].dev.texts]) == sorted(
        [*TEXTS, "rare words alone"]
    )


def test_without_development_texts_all_are_trained_on(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = splits(monkeypatch)
    model = small(dev_size=0).fit(TEXTS, LABELS)
    assert list(seen[0].train.texts) == TEXTS
    assert model.config_.selection == "last" and model.best_step_ == 40
    assert np.isnan(model.dev_error_) and model.curve_ == ()


def test_one_text_a_class_trains_with_a_warning() -> None:
    texts = [f"{words} please" for words in WORDS.values()]
    with pytest.warns(UserWarning, match="one text only.*last step"):
        model = small().fit(texts, list(WORDS))
    assert model.predict(texts).tolist() == list(WORDS)
    assert model.best_step_ == 40


def splits(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The splits that are handed to the trainer from now on."""
    module, seen = inspect.getmodule(MixupTextClassifier), []

    def spy(backbone: Any, policy: Any, data: Any, *rest: Any, **more: Any) -> Any:
        seen.append(data)
        return fit(backbone, policy, data, *rest, **more)

    monkeypatch.setattr(module, "fit", spy)
    return seen


# --- inside scikit-learn's own tools ---------------------------------------------------------


def test_pipeline_hands_on_what_it_makes_of_the_texts(expected: Any) -> None:
    def clean(texts: Any) -> list[str]:
        return [text.replace("<br>", " ") for text in texts]

    dirty = [text.replace(" ", "<br>") for text in TEXTS]
    model = make_pipeline(FunctionTransformer(clean), small()).fit(dirty, LABELS)
    assert (model.predict_proba([text.replace(" ", "<br>") for text in NEW]) == expected).all()


def test_column_transformer_hands_on_a_column(expected: Any) -> None:
    choose = ColumnTransformer([("text", "passthrough", ["text"])])
    frame = pd.DataFrame({"id": range(60), "text": TEXTS})
    model = make_pipeline(choose, small()).fit(frame, LABELS)
    new = pd.DataFrame({"id": range(30), "text": NEW})
    assert (model.predict_proba(new) == expected).all()


@pytest.mark.slow
def test_grid_search_in_two_processes_is_a_loop_over_settings() -> None:
    cv = StratifiedKFold(2)
    grid = {"policy": ["none", AMP(eps=0.1)], "lr": [1e-5, 0.01]}
    search = GridSearchCV(small(), grid, cv=cv, n_jobs=2, error_score="raise")
    search.fit(TEXTS, LABELS)
    assert search.best_params_["lr"] == 0.01
    for settings, mean in zip(
        search.cv_results_["params"], search.cv_results_["mean_test_score"], strict=True
    ):
        scores = [
            small(**settings)
            .fit(take(TEXTS, train), take(LABELS, train))
            .score(take(TEXTS, test), take(LABELS, test))
            for train, test in cv.split(TEXTS, LABELS)
        ]
        assert mean == pytest.approx(np.mean(scores), abs=1e-12)
    best = small(**search.best_params_).fit(TEXTS, LABELS)
    assert same(search.best_estimator_, best)


def test_random_search_draws_numpy_numbers() -> None:
    settings = {
        "lr": scipy.stats.loguniform(1e-3, 1e-2),
        "steps": scipy.stats.randint(5, 9),
        "batch_size": np.arange(8, 12),
        "policy": np.array(["none", "mixup[site=sent]"]),
        "warmup": np.linspace(0, 0.3, 4, dtype=np.float32),
    }
    search = RandomizedSearchCV(
        small(), settings, n_iter=3, cv=2, random_state=0, error_score="raise"
    )
    search.fit(np.array(TEXTS), LABELS)
    config = search.best_estimator_.config_
    assert 5 <= config.steps < 9 and type(config.steps) is int
    assert config.lr == search.best_params_["lr"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", [list, np.array, pd.Series, pl.Series])
def test_cross_validation_is_a_loop_over_folds(kind: Callable[[Any], Any]) -> None:
    if kind is pl.Series and tuple(map(int, sklearn.__version__.split(".")[:2])) < (1, 5):
        pytest.skip("scikit-learn takes no rows of a Polars Series before 1.5")
    folds = list(StratifiedKFold(3).split(TEXTS, LABELS))
    found = cross_val_predict(small(), kind(TEXTS), kind(LABELS), cv=folds, method="predict_proba")
    for train, test in folds:
        model = small().fit(take(TEXTS, train), take(LABELS, train))
        assert (found[test] == model.predict_proba(take(TEXTS, test))).all()
    scores = cross_val_score(small(), kind(TEXTS), kind(LABELS), cv=folds)
    labels = model.classes_[found.argmax(1)]
    assert scores == pytest.approx([np.mean(labels[t] == take(LABELS, t)) for _, t in folds])


def take(values: list[str], indices: Any) -> Any:
    return [values[i] for i in indices]


@pytest.mark.parametrize("ensemble", [True, False])
def test_calibration(ensemble: bool, fitted: MixupTextClassifier) -> None:
    model = CalibratedClassifierCV(small(), method="sigmoid", cv=2, ensemble=ensemble)
    probabilities = model.fit(TEXTS, np.array(LABELS)).predict_proba(NEW)
    assert probabilities.sum(1) == pytest.approx(np.ones(30))
    assert model.score(NEW, NEW_LABELS) > 0.8
    assert len(model.calibrated_classifiers_) == (2 if ensemble else 1)
    if not ensemble:
        assert same(model.calibrated_classifiers_[0].estimator, fitted)


def bag_of_words() -> Any:
    return make_pipeline(TfidfVectorizer(), LogisticRegression())


def test_stacking_with_bags_of_words(fitted: MixupTextClassifier) -> None:
    members = [("bag", bag_of_words()), ("net", small())]
    model = StackingClassifier(members, cv=2).fit(TEXTS, LABELS)
    assert model.score(NEW, NEW_LABELS) > 0.8
    assert same(model.named_estimators_["net"], fitted)
    assert model.transform(NEW).shape == (30, 6)


def test_voting_with_bags_of_words(expected: Any) -> None:
    members = [("bag", bag_of_words()), ("net", small())]
    model = VotingClassifier(members, voting="soft").fit(TEXTS, LABELS)
    other = bag_of_words().fit(TEXTS, LABELS).predict_proba(NEW)
    assert model.predict_proba(NEW) == pytest.approx((other + expected) / 2)
    assert VotingClassifier(members).fit(TEXTS, LABELS).score(NEW, NEW_LABELS) > 0.8


# --- parameters, copies, pickles -------------------------------------------------------------


def test_parameters_are_kept_as_they_were_given(expected: Any) -> None:
    policy = Mixup(alpha=1.0)
    backbone = TextCNN(embedding_dim=16, filter_sizes=(1, 2), feature_maps=16, dropout=0.1)
    model = small(policy).set_params(backbone=backbone)
    assert model.policy is policy and model.backbone is backbone
    given = model.get_params()
    assert model.fit(TEXTS, LABELS).get_params() == given
    assert model.policy is policy and model.backbone is backbone
    assert (model.predict_proba(NEW) == expected).all()
    other = clone(model)
    assert other.get_params() == given and not hasattr(other, "classifier_")
    assert same(other.fit(TEXTS, LABELS), model)


def test_nothing_is_checked_before_fit() -> None:
    model = clone(MixupTextClassifier("no such", 7, steps=-1, dev_size="x").set_params(lr="fast"))  # type: ignore[arg-type]
    assert (model.policy, model.backbone, model.steps) == ("no such", 7, -1)


def test_what_it_is_to_scikit_learn(fitted: MixupTextClassifier) -> None:
    assert is_classifier(fitted)
    assert fitted._repr_html_()
    if not hasattr(sklearn.utils, "get_tags"):  # before 1.6
        assert fitted._get_tags()["X_types"] == ["1darray", "string"]
        return
    tags = sklearn.utils.get_tags(fitted)
    assert tags.input_tags.string and tags.input_tags.one_d_array
    assert not (tags.input_tags.two_d_array or tags.input_tags.allow_nan)
    assert tags.target_tags.required and tags.classifier_tags.multi_class


def test_pickled_or_copied_it_predicts_the_same(
    fitted: MixupTextClassifier, expected: Any, tmp_path: Path
) -> None:
    joblib.dump(fitted, tmp_path / "model.joblib")
    for other in (
        pickle.loads(pickle.dumps(fitted)),
        joblib.load(tmp_path / "model.joblib"),
        joblib.load(tmp_path / "model.joblib", mmap_mode="r"),
        copy.deepcopy(fitted),
    ):
        assert (other.predict_proba(NEW) == expected).all()
        assert other.predict(NEW).dtype == fitted.predict(NEW).dtype
        assert other.curve_ == fitted.curve_ and other.config_ == fitted.config_
        assert same(other.fit(TEXTS, LABELS), fitted)


# --- randomness ------------------------------------------------------------------------------


def test_one_seed_is_one_model(fitted: MixupTextClassifier) -> None:
    assert same(small().fit(TEXTS, LABELS), fitted)
    assert same(small(random_state=np.int64(0)).fit(TEXTS, LABELS), fitted)
    assert not same(small(random_state=1).fit(TEXTS, LABELS), fitted)


def test_a_random_state_instance_gives_one_seed_after_the_other() -> None:
    models = []
    for _ in range(2):
        source = small(random_state=np.random.RandomState(7), steps=5)
        models += [copy.copy(source).fit(TEXTS, LABELS), copy.copy(source).fit(TEXTS, LABELS)]
    assert same(models[0], models[2]) and same(models[1], models[3])
    assert not same(models[0], models[1])
    assert same(small(random_state=models[1].seed_, steps=5).fit(TEXTS, LABELS), models[1])


def test_none_draws_from_numpys_global_state() -> None:
    before = np.random.get_state()
    try:
        models = []
        for _ in range(2):
            np.random.seed(11)
            models += [small(random_state=None, steps=5).fit(TEXTS, LABELS) for _ in range(2)]
    finally:
        np.random.set_state(before)
    assert same(models[0], models[2]) and not same(models[0], models[1])


@pytest.mark.parametrize("policy", ["mixup", "amp", "nonlinear"])
def test_global_random_states_and_threads_are_left_alone(policy: str) -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), torch.get_num_threads()
    for random_state in (0, np.random.RandomState(0)):
        small(policy, random_state=random_state, steps=5).fit(TEXTS, LABELS).predict(NEW)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()
    assert torch.get_num_threads() == before[2]


# --- what bad input gets ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("X", "said"),
    [
        ("a text", "single text"),
        (np.array("a text"), "single text"),
        ({"a": "text"}, "is a dict"),
        ({"a"}, "is a set"),
        (7, "single text|is a int"),
        (np.zeros(60), r"X\[0\] is of type float, not a text"),
        (np.zeros((60, 4)), r"shape \(60, 4\).*raw texts"),
        (scipy.sparse.csr_matrix((60, 4)), r"shape \(60, 4\).*without a vectorizer"),
        ([[text] for text in TEXTS], r"X\[0\] is of type list"),
        ([text.encode() for text in TEXTS], r"X\[0\] is of type bytes"),
        (pd.DataFrame({"a": TEXTS, "b": TEXTS}), r"a table of 2 columns: give the one"),
        ([*TEXTS[:59], None], r"X\[59\] is missing \(None\)"),
        ([*TEXTS[:59], float("nan")], r"X\[59\] is missing \(nan\)"),
        (pd.Series([TEXTS[0], None, *TEXTS[2:]]), r"X\[1\] is missing"),
        (pd.Series([TEXTS[0], pd.NA, *TEXTS[2:]], dtype="string"), r"X\[1\] is missing"),
        (pl.Series([TEXTS[0], None, *TEXTS[2:]]), r"X\[1\] is missing"),
        (np.array([*TEXTS[:59], np.nan], dtype=object), r"X\[59\] is missing"),
    ],
    ids=lambda value: re.sub(r"\W+", " ", str(value))[:20],
)
def test_what_is_no_list_of_texts(X: Any, said: str, fitted: MixupTextClassifier) -> None:
    for act in (lambda: small().fit(X, LABELS), lambda: fitted.predict(X)):
        with pytest.raises(ValueError, match=said) as caught:
            act()
        assert isinstance(caught.value, AmpmixError)


@pytest.mark.parametrize(
    ("y", "said"),
    [
        (None, "target y is None"),
        (LABELS[:-1], "60 texts and y 59 labels"),
        (["one"] * 60, r"one class only \(one\)"),
        ([*LABELS[:59], None], r"y\[59\] is missing \(None\)"),
        ([*LABELS[:59], float("nan")], r"y\[59\] is missing \(nan\)"),
        ([*map(float, NUMBERS[:59]), np.nan], r"y\[59\] is missing"),
        (pl.Series([*LABELS[:59], None]), r"y\[59\] is missing"),
        (np.linspace(0, 1, 60), "continuous"),
        (np.eye(60, 3, dtype=int), "1d array"),
    ],
    ids=lambda value: re.sub(r"\W+", " ", str(value))[:20],
)
def test_what_is_no_list_of_labels(y: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        small().fit(TEXTS, y)


def test_empty_training_data() -> None:
    with pytest.raises(ValueError, match="0 samples"):
        small().fit([], [])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"policy": "mixip"}, "unknown policy 'mixip': did you mean mixup"),
        ({"policy": Mixup}, "policy is .*a spec string or an instance; there are none"),
        ({"policy": None}, "policy is None"),
        ({"policy": "mixup[site=nowhere]"}, "site of backbone cnn 'nowhere'"),
        ({"backbone": "cnnn"}, "unknown backbone 'cnnn'"),
        ({"steps": 0}, "steps is 0"),
        ({"lr": -1.0}, "lr is -1"),
        ({"dev_size": 1.0}, r"dev_size is 1.0.*\[0, 1\)"),
        ({"dev_size": None}, "dev_size is None"),
        ({"dev_size": 0, "selection": "best_dev"}, "dev_size=0"),
        ({"random_state": -1}, "seed is -1"),
        ({"device": "nothing"}, "device is 'nothing'"),
    ],
    ids=str,
)
def test_settings_that_do_not_exist(options: dict[str, Any], said: str) -> None:
    model = small().set_params(**options)
    with pytest.raises(AmpmixError, match=said):
        model.fit(TEXTS, LABELS)


def test_predictions_before_fit() -> None:
    for act in (small().predict, small().predict_proba):
        with pytest.raises(NotFittedError, match="MixupTextClassifier"):
            act(NEW)


def test_silent_unless_verbose(capfd: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        small(steps=5).fit(TEXTS, LABELS)
    assert capfd.readouterr() == ("", "")
    model = small(steps=5, verbose=True, max_length=4).fit(TEXTS, LABELS)
    said = capfd.readouterr().err
    assert f"development error {model.dev_error_:.1%} at step {model.best_step_}" in said
    assert "60 texts were cut to 4 tokens" in said


# --- scikit-learn's own checks ---------------------------------------------------------------


class OfNumbers(MixupTextClassifier):
    """Reads rows of numbers as texts: scikit-learn's checks know no others.

    What is checked of X is scikit-learn's own validation, which stands before; everything else
    (labels, parameters, attributes, seeds, errors, pickles) is the class under test.
    """

    def fit(self, X: Any, y: Any) -> OfNumbers:
        X = validated(self, X, reset=True)
        super().fit(written(X), y)
        self.n_features_in_ = X.shape[1]
        return self

    def predict_proba(self, X: Any) -> Any:
        sklearn.utils.validation.check_is_fitted(self)
        return super().predict_proba(written(validated(self, X, reset=False)))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.one_d_array = True, False
        return tags

    def _more_tags(self) -> dict[str, Any]:
        return {"X_types": ["2darray"]}


def validated(estimator: Any, X: Any, reset: bool) -> Any:
    if hasattr(sklearn.utils.validation, "validate_data"):
        return sklearn.utils.validation.validate_data(estimator, X, reset=reset)
    return estimator._validate_data(X, reset=reset)  # before 1.6


def written(X: Any) -> list[str]:
    thirds = np.rint(3 * np.asarray(X, dtype=float)).astype(int)
    return [" ".join(f"c{j}v{value}" for j, value in enumerate(row)) for row in thirds.tolist()]


CHECKED: dict[str, Any] = {"steps": 40, "lr": 0.02, "batch_size": 32}


# No check is expected to fail. Of a classifier of texts the tags leave a single check, so all the
# others run on the same class with a translation of numbers into texts before it.
with warnings.catch_warnings():
    warnings.simplefilter("ignore", SkipTestWarning)  # says that they are left out
    checks = parametrize_with_checks([small(), OfNumbers("mixup", CNN, **CHECKED)])


@pytest.mark.slow
@checks
def test_scikit_learns_checks(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)


# --- the guide -------------------------------------------------------------------------------


@pytest.mark.slow
def test_what_the_guide_shows_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(blocks) >= 3
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    module = types.ModuleType("guide")
    monkeypatch.setitem(sys.modules, "guide", module)
    code = re.sub(r"steps=\d+", "steps=6", "\n".join(blocks))
    exec(compile(code, str(GUIDE), "exec"), vars(module))
