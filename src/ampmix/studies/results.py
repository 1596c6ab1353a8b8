"""Results of runs, as records keep them."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import numpy.typing as npt

from ampmix.data.dataset import Split
from ampmix.models.classifier import Classifier, logits_of
from ampmix.records.result import Result, texts_tested
from ampmix.training.training_run import Diverged, Fit

ASKED = 64  # texts by which the speed of predicting is measured


def facts_of(split: Split) -> dict[str, Any]:
    """Return the hash of a split and the sizes of its parts."""
    return {
        "split_hash": split.hash,
        "n_train": len(split.train),
        "n_dev": len(split.dev),
        "n_test": len(split.test),
    }


def unlabelled_facts(fitted: Fit) -> dict[str, Any]:
    """Return number and hash of the texts without labels; nothing where none was trained on."""
    count, sha256 = fitted.unlabelled
    return {"n_unlabelled": count, "unlabelled_hash": sha256} if count else {}


def texts_of(split: Split, groups: npt.NDArray[np.int64] | None) -> dict[str, str]:
    """Return which texts a fold tests, and their groups; nothing where there is a test set."""
    return {} if split.fold is None else texts_tested(split.test_indices, groups)


def result_of(fitted: Fit | Diverged, split: Split) -> dict[str, Any]:
    """Return what came out of a run, as its record has it."""
    if isinstance(fitted, Diverged):
        return {"status": "failed", "error": str(fitted)}
    tested = Result.tested(
        fitted.test_wrong, split.test.labels, fitted.test_probabilities, split.classes
    )
    done = {"status": "done", "test_reads": list(fitted.test_reads), **unlabelled_facts(fitted)}
    done |= {"notes": list(fitted.notes)} if fitted.notes else {}
    return tested | _training(fitted) | done


def _training(fitted: Fit) -> dict[str, Any]:
    dev = {"dev_error": fitted.best.dev_error, "dev_loss": fitted.best.dev_loss}
    if not fitted.curve:  # fitted by a solver
        return {} if math.isnan(fitted.best.dev_error) else dev
    stopped = {} if fitted.stopped is None else {"stopped": fitted.stopped}
    moved = {} if fitted.perturbation is None else {"perturbation": fitted.perturbation}
    return (
        stopped
        | moved
        | dev
        | {
            "best_step": fitted.best.step,
            "truncated": fitted.truncated,
            "curve": [reading._asdict() for reading in fitted.curve],
        }
    )


def predicted_per_second(classifier: Classifier, split: Split) -> float:
    """Measure how many texts a second a model predicts, from text to class, on this machine."""
    texts = split.test.texts[:ASKED] or split.train.texts[:ASKED]
    started = time.perf_counter()
    logits_of(classifier.model, classifier.reader.encode(texts)).argmax(1)
    return len(texts) / max(time.perf_counter() - started, 1e-9)
