"""A model in training: its data, readings, best weights and result."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from ampmix.backbones.base import Backbone, CutModule
from ampmix.data.dataset import Split, texts_sha256
from ampmix.data.groups import trained_on
from ampmix.errors import AmpmixError
from ampmix.mixing import Loss
from ampmix.models.classifier import Classifier, logits_of
from ampmix.policies.base import Learner, Policy
from ampmix.text.encoded import Encoded
from ampmix.text.reader import Reader
from ampmix.training.config import TrainConfig
from ampmix.training.losses import training_loss
from ampmix.training.perturbation import Perturbation
from ampmix.training.processes import ALONE, Processes
from ampmix.training.selection import Reading, Selection
from ampmix.training.step import generator_of


class Diverged(AmpmixError):
    """The training loss became NaN or infinite."""


@dataclass(frozen=True, eq=False)
class Fit:
    """Result of :func:`fit`: the model, its readings and its test predictions.

    Attributes:
        classifier: the model at the chosen step.
        best: the reading of that step; of a model that a solver fitted, with NaN for what was not
            measured.
        curve: every reading of the development set; none of a model that a solver fitted.
        test_wrong: true where a test example is misclassified, ``[n_test]``.
        test_probabilities: of each class, ``[n_test, n_classes]``, as
            :meth:`ampmix.Classifier.predict_proba` gives them.
        test_reads: the steps at which the test set was read: the chosen one, once; none without a
            test set; every reading with ``selection="oracle_test"``.
        truncated: texts cut to ``max_length``, over all parts.
        seed: the run's.
        stopped: the step at which patience ran out; None where all steps were done.
        perturbation: how far MaxOp moved lam and the loss
            (:meth:`ampmix.training.perturbation.Perturbation.as_json`); None for policies without
            it.
        unlabelled: number and SHA-256 of the texts without labels that were trained on; 0 and ""
            without any.
        notes: sentences on what went on.
    """

    classifier: Classifier
    best: Reading
    curve: tuple[Reading, ...]
    test_wrong: npt.NDArray[np.bool_]
    test_reads: tuple[int, ...]
    truncated: int
    seed: int = field(default=0)
    stopped: int | None = None
    perturbation: Mapping[str, Any] | None = None
    test_probabilities: npt.NDArray[np.float32] = field(
        default_factory=lambda: np.empty((0, 0), "f")
    )
    unlabelled: tuple[int, str] = (0, "")
    notes: tuple[str, ...] = ()

    @property
    def test_error(self) -> float:
        """Share of the test examples misclassified; NaN without any."""
        return float(self.test_wrong.mean()) if len(self.test_wrong) else math.nan


class TrainingRun:
    """One model in training: its data, its development readings, its result.

    How it is moved on, a step at a time, is the business of others.

    Args:
        backbone, policy, data, config, seed, processes: as of :func:`fit`.
        device: where to compute.
        weights: of the training texts, by which balanced classes are counted.
    """

    def __init__(
        self,
        backbone: Backbone,
        policy: Policy,
        data: Split,
        config: TrainConfig,
        seed: int,
        device: torch.device,
        processes: Processes = ALONE,
        weights: npt.NDArray[np.float64] | None = None,
    ) -> None:
        self.backbone, self.data, self.config, self.seed = backbone, data, config, seed
        self.device, self._processes = device, processes
        taken = data.unlabelled if policy.uses_unlabelled else ()
        self.unlabelled = (len(taken), texts_sha256(taken)) if taken else (0, "")
        self.reader, self.parts = _encode(backbone, data, config.max_length, taken)
        classes = len(data.classes)
        self.model = backbone.build(
            self.reader, policy.outputs(classes), generator_of(seed, "weights")
        )
        self.model.to(device)
        self.read_ahead(policy.teachers > 0)
        if policy.outputs(classes) == classes and not policy.own_loss:
            self.model.begin(self.parts.train, device)
        self.learner = _prepare(self.model, policy, self.parts.train, classes, device, seed)
        self.loss = _loss(data, config, device, weights)
        self.selection = Selection(config.selection, config.patience)

    def read_ahead(self, every: bool = False) -> None:
        """Let the model compute what stays the same of all texts that will be read.

        Of parts that the steps do not go through once it is computed batch by batch, but for
        `every`, and for the training part of a fold: other folds test its texts. Texts of a test
        set of their own are apart: so those of all seeds are the same, as are those of all folds
        together; where each fold trains on a share of the labels, they are with the texts of none.
        """
        most = self.config.steps * self.config.batch_size
        train, dev, test, unlabelled = self.parts
        folds = self.data.folds is not None
        if folds and self.backbone.reads_pool:
            self.model.read_ahead([self.reader.encode(self.data.pool), *self.parts], self.device)
            return
        parts = [dev, *([train] if every or folds or len(train) <= most else [])]
        parts += [unlabelled] if every or len(unlabelled) <= most else []
        for read in [[*parts, test]] if folds else [parts, [test]]:
            self.model.read_ahead(read, self.device)

    def check(self, loss: float, step: int) -> None:
        """Raise Diverged unless the loss that step `step` minimised is a number."""
        if not math.isfinite(loss):
            raise Diverged(_advice("training loss", loss, step, self.config))

    def read(self, step: int, losses: Sequence[float]) -> None:
        """Read the development set after a step; `losses` are those since the reading before.

        Without development texts error and loss are 0.
        """
        dev, measured = self.parts.dev, (0.0, 0.0)
        if len(dev):
            measured = _measure(self.model, self.learner, dev, self.device, self._processes)
        reading = Reading(step, float(np.mean(losses)), *measured)
        if not math.isfinite(reading.dev_loss):
            raise Diverged(_advice("development loss", reading.dev_loss, step, self.config))
        test, tested = self.parts.test, (0.0, 0.0)
        if self.selection.asks_test:
            tested = _measure(self.model, self.learner, test, self.device, self._processes)
        self.selection.add(reading, self.model, tested)

    def _test_reads(self, best: int) -> tuple[int, ...]:
        """Return the steps at which the test set was read."""
        if self.selection.asks_test:
            return tuple(reading.step for reading in self.selection.curve)
        return (best,)

    def finish(self, seen: Perturbation) -> Fit:
        """Go back to the chosen step and read the test set."""
        model, selection = self.model, self.selection
        best, done = selection.kept, selection.curve[-1].step  # the last step always reads
        selection.restore(model)
        self.learner.fold(model)
        test, moved = self.parts.test, seen.counts
        tested = len(test) > 0
        logits = _logits(model, test, self.device, self._processes) if tested else None
        wrong = np.empty(0, bool) if logits is None else logits.argmax(1).numpy() != test.labels
        model.to("cpu").eval().forget()
        return Fit(
            classifier=Classifier(
                self.backbone,
                model,
                self.reader,
                self.data.classes,
                about_training(self.data, self.backbone),
            ),
            best=best,
            curve=tuple(selection.curve),
            test_wrong=wrong,
            test_reads=self._test_reads(best.step) if tested else (),
            truncated=sum(part.truncated for part in self.parts),
            seed=self.seed,
            stopped=done if done < self.config.steps else None,
            perturbation=seen.as_json(None if moved is None else self._processes.total(moved)),
            unlabelled=self.unlabelled,
            test_probabilities=(
                np.empty((0, len(self.data.classes)), np.float32)
                if logits is None
                else logits.softmax(1).numpy()
            ),
        )


def about_training(data: Split, backbone: Backbone) -> dict[str, Any]:
    """Return what a model remembers of its training: where it began, texts it saw, columns."""
    each = np.bincount(data.train.labels, minlength=len(data.classes))
    about: dict[str, Any] = {
        "trained_on": trained_on((*data.train.texts, *data.dev.texts)),
        "n_each": each.tolist(),
    }
    if data.columns is not None:
        about["columns"] = dict(zip(("text", "label"), data.columns, strict=True))
    if data.language:
        about["language"] = data.language
    if backbone.base_model:
        about["base_model"] = backbone.base_model
    return about


def _loss(
    data: Split,
    config: TrainConfig,
    device: torch.device | str = "cpu",
    weights: npt.NDArray[np.float64] | None = None,
) -> Loss:
    return training_loss(
        data.train.labels,
        len(data.classes),
        config.class_weights,
        config.label_smoothing,
        device,
        weights,
    )


def _advice(what: str, value: float, step: int, config: TrainConfig) -> str:
    return (
        f"the {what} is {value} at step {step}: lower the learning rate "
        f"(now {config.lr:g}) or clip gradients"
    )


class _Parts(NamedTuple):
    train: Encoded
    dev: Encoded
    test: Encoded
    unlabelled: Encoded


def _encode(
    backbone: Backbone, data: Split, max_length: int, unlabelled: Sequence[str]
) -> tuple[Reader, _Parts]:
    reader = backbone.reader(data.train.texts, data.tokenizer, max_length)
    train, dev, test = (
        reader.encode(part.texts, part.labels) for part in (data.train, data.dev, data.test)
    )
    return reader, _Parts(train, dev, test, reader.encode(unlabelled))


def _prepare(
    model: CutModule,
    policy: Policy,
    train: Encoded,
    classes: int,
    device: torch.device,
    seed: int,
) -> Learner:
    """The policy with what it learns, for hidden states up to those of the longest text."""
    if not policy.learns:
        return policy.prepare((), classes)  # no text need be encoded for it
    ids, mask, _ = train.batch([int(train.lengths.argmax())])
    model.eval()
    with torch.no_grad():
        _, g = model.cut(
            torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device), policy.mixing_site
        )
    return policy.prepare(g[0].shape[1:], classes, generator_of(seed, "label policy")).to(device)


def _logits(model: CutModule, part: Encoded, device: torch.device, processes: Processes) -> Tensor:
    """Logits of every text ``[n, C]``, each process computing its share of them."""
    training = model.training
    model.eval()  # nobody else has it yet: no need of a copy
    try:
        if processes.count == 1:
            return logits_of(model, part, device)
        rows = processes.share(range(len(part)))
        found = torch.zeros(len(part), model.head.out_features, device=device)
        if rows:
            found[rows] = logits_of(model, part.take(rows), device).to(device)
        return processes.total(found).cpu()
    finally:
        model.train(training)


def _measure(
    model: CutModule, learner: Learner, part: Encoded, device: torch.device, processes: Processes
) -> tuple[float, float]:
    """Error (a fraction) and mean cross-entropy (nats) on a part."""
    logits = learner.scores(_logits(model, part, device, processes))
    labels = torch.tensor(part.labels)
    error = (logits.argmax(1) != labels).double().mean()
    return error.item(), F.cross_entropy(logits.double(), labels).item()
