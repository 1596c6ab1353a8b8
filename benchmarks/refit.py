"""Does the interval on a model card cover the error of the model that it is on?

    python benchmarks/refit.py [--draws N] [--texts N] [--encoder]

Texts are drawn from SUBJ, MR and TREC (AMPMIX_DATA, else downloaded). Each draw is compared as
``ampmix compare`` does: 5-fold cross-validation of the cheap models, the best by its mean error,
its interval (:func:`ampmix.statistics.cross_validated_error`); that model is then trained on all
texts drawn and measured on the others. Written to ``benchmarks/results/refit.json``.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

import ampmix
from ampmix import datasets, statistics
from ampmix.backbones.encoder_module import EncoderModule
from ampmix.backbones.feature_cache import features
from ampmix.baselines._frozen import lengths
from ampmix.baselines._logistic import best_strength, fitted
from ampmix.baselines.encoder_logreg import EncoderLogreg
from ampmix.baselines.tfidf_logreg import TfidfLogreg
from ampmix.data.dataset import Examples, TextDataset
from ampmix.data.splits import split_all, split_fold

FOLDS, HELD = 5, 4000
WIDTH = 384  # of MiniLM
RESULTS = Path(__file__).parent / "results" / "refit.json"


def all_texts(name: str) -> TextDataset:
    """A data set with its test set among the training texts."""
    data = datasets.load(name)
    if data.test is None:
        return data
    texts = data.train.texts + data.test.texts
    labels = np.concatenate([data.train.labels, data.test.labels])
    return TextDataset(name, data.classes, Examples(texts, labels), tokenizer=data.tokenizer)


def by_tfidf(data: TextDataset, held: Examples) -> tuple[list[np.ndarray], float]:
    """Where each fold errs, and the error of the model of all texts on those held back."""
    none, model = ampmix.NoMixup(), TfidfLogreg()
    folds = [ampmix.fit(model, none, split_fold(data, k, FOLDS)).test_wrong for k in range(FOLDS)]
    classifier = ampmix.fit(model, none, split_all(data)).classifier
    names = [data.classes[label] for label in held.labels]
    wrong = np.array(classifier.predict(list(held.texts))) != np.array(names)
    return folds, float(wrong.mean())


def by_encoder(
    data: TextDataset, rows: np.ndarray, x: np.ndarray, y: np.ndarray, held: np.ndarray
) -> tuple[list[np.ndarray], float]:
    """As :func:`by_tfidf`, on features of all texts that were computed once."""

    def wrong(train: np.ndarray, test: np.ndarray) -> np.ndarray:
        length = lengths(x[train], x.shape[1] // WIDTH)
        own, ones = x[train] / length, np.ones(len(train))
        strength = best_strength(own, y[train], ones)
        slopes, bias = fitted(own, y[train], ones, len(data.classes), C=strength)
        return np.asarray(((x[test] / length) @ slopes.T + bias).argmax(1) != y[test])

    folds = []
    for k in range(FOLDS):
        split = split_fold(data, k, FOLDS)
        learnt = np.concatenate([split.train_indices, split.dev_indices])
        folds.append(wrong(rows[learnt], rows[split.test_indices]))
    return folds, float(wrong(rows, held).mean())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=50)
    parser.add_argument("--texts", type=int, default=400)
    parser.add_argument("--encoder", action="store_true", help="logistic regression on MiniLM too")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, dict[str, list[Any]]] = {}
    for name in ("subj", "mr", "trec"):
        whole = all_texts(name)
        y, x = whole.train.labels, None
        if arguments.encoder:
            reader = EncoderLogreg().reader([], whole.tokenizer, 512)
            module = EncoderLogreg().build(reader, len(whole.classes), torch.Generator())
            assert isinstance(module, EncoderModule)
            part = reader.encode(whole.train.texts)
            x = features(module, [part], torch.device("cpu"))[0].astype(np.float64)
        told = defaultdict[str, list[Any]](list)
        for draw in range(arguments.draws):
            order = np.random.default_rng(draw).permutation(len(y))
            rows, held = order[: arguments.texts], order[arguments.texts :][:HELD]
            drawn = whole.train.take(rows)
            data = TextDataset(name, whole.classes, drawn, tokenizer=whole.tokenizer)
            made = {"tfidf-logreg": by_tfidf(data, whole.train.take(held))}
            if x is not None:
                made["encoder-logreg"] = by_encoder(data, rows, x, y, held)
            best = min(made, key=lambda model: np.concatenate(made[model][0]).mean())
            folds, error = made[best]
            low, high = statistics.cross_validated_error(folds)
            told["covered"].append(bool(low <= error <= high))
            told["above"].append(bool(error > high))
            told["width"].append(high - low)
            told["cv"].append(float(np.concatenate(folds).mean()))
            told["error"].append(error)
            told["model"].append(best)
        found[name] = told
        print(
            f"{name}: covers {np.mean(told['covered']):.1%} of {arguments.draws} draws (above it "
            f"{np.mean(told['above']):.1%}); cross-validated {np.mean(told['cv']):.1%}, of the "
            f"model {np.mean(told['error']):.1%}; width {100 * np.mean(told['width']):.1f} points",
            flush=True,
        )
    every = [covered for told in found.values() for covered in told["covered"]]
    print(f"all: covers {np.mean(every):.1%} of {len(every)}")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"texts": arguments.texts, "draws": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
