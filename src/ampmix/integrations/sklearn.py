"""A scikit-learn classifier of raw texts, trained by :func:`ampmix.fit`."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from ampmix._support import components
from ampmix._support.wording import counted
from ampmix.backbones.base import Backbone
from ampmix.data.dataset import Examples, Integers, Split, TextDataset
from ampmix.data.groups import text_groups
from ampmix.data.splits import split_train
from ampmix.data.texts import DataError, texts_of
from ampmix.data.unlabelled import with_unlabelled
from ampmix.errors import AmpmixError
from ampmix.integrations._inputs import labels_of, weighted_texts
from ampmix.policies.base import Policy
from ampmix.terminal.progress import RunsProgress
from ampmix.training.checks import check_sites, check_unlabelled, sited
from ampmix.training.config import TrainConfig, settings
from ampmix.training.fit import fit
from ampmix.training.training_run import Fit


class MixupTextClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A text classifier trained with Mixup, AMP or another policy, as scikit-learn has them.

    It takes raw texts, so no vectorizer comes before it. A share of the texts, stratified, is kept
    for development: the step is chosen on it, and it is not trained on. What trains is
    :func:`ampmix.fit`; equal settings and an equal seed give the very model of ``ampmix train``.

    Arguments that are None take what suits the backbone (:class:`ampmix.TrainConfig`). Nothing is
    checked before ``fit``.

    Args:
        policy: a spec string, such as ``"amp[eps=0.1,site=sent]"`` (``ampmix list`` shows all), or
            an instance, such as ``AMP(eps=0.1)``.
        backbone: likewise, such as ``"cnn"``, ``"minilm"`` or ``TextCNN(feature_maps=50)``.
        steps: optimiser steps; by default 1,500, or 600 for encoders.
        batch_size: examples per step.
        lr: peak learning rate.
        weight_decay: L2 coefficient; ``adamw`` decouples it from the gradient.
        clip: maximum gradient norm, 0 for none.
        eval_every: steps between evaluations on the development set; by default a twentieth of the
            steps, at most 100.
        max_length: tokens after which a text is cut.
        optimizer: ``adam`` or ``adamw``.
        schedule: of lr: ``constant``, or ``linear`` (it falls to 0 over the steps).
        warmup: share of the steps in which lr rises, in [0, 1).
        selection: checkpoint that is kept: ``best_dev`` or ``last`` (``oracle_test`` needs a test
            set, which there is none of here).
        batches: ``random``, or ``length`` (texts of like length in a batch).
        class_weights: in the loss: ``none``, or ``balanced`` (inverse to the size of a class).
        label_smoothing: share of a label spread over all classes, in [0, 1).
        patience: evaluations without improvement before training ends, 0 for no limit; the best
            checkpoint is then kept, unless ``selection`` is given.
        precision: of matrix products in training: ``float32``, ``bfloat16``, or ``tf32`` (GPUs).
        dev_size: share of the texts kept for development, in [0, 1). Every class keeps one text
            for training at least. With 0 all texts are trained on and the last step is kept; so
            it is, with a warning, where every class has one text only.
        random_state: the run's seed (an int of 0 or more, the seed of ``ampmix train``), from
            which come the split, initial weights, batches, mixing and dropout. A RandomState
            instance gives a new seed at every ``fit``, and so does None, of NumPy's global state.
        device: where to train, as PyTorch names it; prediction is on the CPU.
        verbose: true shows progress on standard error, and at the end how it went.

    Attributes:
        classes_: the labels, sorted, in the dtype of y ``[C]``.
        classifier_: the trained :class:`ampmix.Classifier`. ``classifier_.save(folder)`` writes a
            folder that is safe to pass on; a pickle of this object is not: whoever loads a pickle
            runs what it says. Its classes are the labels as strings.
        config_: the :class:`ampmix.TrainConfig` that was used.
        curve_: the readings of the development set (:class:`ampmix.training.selection.Reading`).
        best_step_: the step whose model was kept.
        dev_error_: its share of the development texts misclassified (too low on the whole, where it
            was chosen by it); NaN without development texts.
        seed_: the seed; as ``random_state`` it gives the same model again.
        n_features_in_: 1, where X had two dimensions; else it does not exist.

    One ``random_state`` gives one model, to the bit, on one machine with one number of threads,
    which is left as it is (``torch.get_num_threads()``). Of global random states only NumPy's is
    drawn from, and only with ``random_state=None``.

    A text's ``sample_weight`` is the number of copies that it stands for, whole or not: a pair of
    texts i and j counts ``w_i w_j`` times in the loss, a text that is not mixed ``w_i`` times, and
    one of weight 0 is left out. (The paper has no weights. Weighting the two labels of a mixed
    example instead, ``lam w_i l_i + (1 - lam) w_j l_j``, would be another thing: a text of weight 0
    would still be mixed in.) Only the ratios matter; equal weights are as none, to the bit. The
    step is chosen on development texts without weights.

    Raises (from ``fit`` and ``predict``):
        DataError: for texts that are none, or labels that do not fit them. It is an AmpmixError
            and a ValueError.
        AmpmixError: for an unknown policy, backbone, site or setting.
        sklearn.exceptions.NotFittedError: for predictions before ``fit``.

    >>> texts, labels = ["good film", "fine film", "bad film", "sad film"] * 5, [1, 1, 0, 0] * 5
    >>> model = MixupTextClassifier("mixup", "cnn[embedding_dim=8]", steps=30, lr=0.01,
    ...                             random_state=0)
    >>> model.fit(texts, labels).predict(["a good film", "a sad film"])
    array([1, 0])
    """

    def __init__(
        self,
        policy: str | Policy = "mixup",
        backbone: str | Backbone = "cnn",
        *,
        steps: int | None = None,
        batch_size: int | None = None,
        lr: float | None = None,
        weight_decay: float | None = None,
        clip: float | None = None,
        eval_every: int | None = None,
        max_length: int | None = None,
        optimizer: str | None = None,
        schedule: str | None = None,
        warmup: float | None = None,
        selection: str | None = None,
        batches: str | None = None,
        class_weights: str | None = None,
        label_smoothing: float | None = None,
        patience: int | None = None,
        precision: str | None = None,
        dev_size: float = 0.1,
        random_state: int | np.random.RandomState | None = None,
        device: str = "cpu",
        verbose: bool = False,
    ) -> None:
        self.policy = policy
        self.backbone = backbone
        self.steps = steps
        self.batch_size = batch_size
        self.lr = lr
        self.weight_decay = weight_decay
        self.clip = clip
        self.eval_every = eval_every
        self.max_length = max_length
        self.optimizer = optimizer
        self.schedule = schedule
        self.warmup = warmup
        self.selection = selection
        self.batches = batches
        self.class_weights = class_weights
        self.label_smoothing = label_smoothing
        self.patience = patience
        self.precision = precision
        self.dev_size = dev_size
        self.random_state = random_state
        self.device = device
        self.verbose = verbose

    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, unlabelled: Any = None
    ) -> MixupTextClassifier:
        """Train on texts and their labels.

        Args:
            X: texts ``[n]``: a list, tuple, NumPy array, or a Series of pandas or Polars; or one
                column of them, ``[n, 1]``.
            y: labels ``[n]``: strings, whole numbers or truth values.
            sample_weight: numbers of 0 or more ``[n]``, how many copies each text stands for; None
                for one each.
            unlabelled: texts ``[m]`` without labels, for policies that learn from them; None for
                none.

        Returns:
            This object.
        """
        texts = texts_of(X)
        if sample_weight is not None:
            texts, y, sample_weight = weighted_texts(texts, y, sample_weight)
        classes, labels = labels_of(y)
        if len(texts) != len(labels):
            raise DataError(
                f"X has {counted(len(texts), 'text')} and y {counted(len(labels), 'label')}: give "
                "one each"
            )
        backbone: Backbone = _component(self.backbone, Backbone, "ampmix.backbones", "backbone")
        chosen: Policy = _component(self.policy, Policy, "ampmix.policies", "policy")
        (policy,) = sited([chosen], backbone)
        check_sites(policy, backbone)
        develop = self._develops(labels)
        config = self._config(backbone, develop, len(texts))
        seed = _seed(self.random_state)
        others = None if unlabelled is None else texts_of(unlabelled, name="unlabelled")
        split = self._split(texts, labels, tuple(map(str, classes)), develop, seed, others)
        check_unlabelled([policy], split)
        with _progress(self.verbose, config.steps) as on_step:
            fitted = fit(
                backbone,
                policy,
                split,
                config,
                seed,
                on_step=on_step,
                weights=None if sample_weight is None else sample_weight[split.train_indices],
            )
        if self.verbose:
            _tell(fitted, split if develop else None, config)

        self.classes_ = classes
        self.classifier_ = fitted.classifier
        self.config_ = config
        self.curve_ = fitted.curve if develop else ()
        self.best_step_ = fitted.best.step
        self.dev_error_ = fitted.best.dev_error if develop else float("nan")
        self.seed_ = seed
        self.__dict__.pop("n_features_in_", None)
        if len(getattr(X, "shape", ())) == 2:
            self.n_features_in_ = 1
        return self

    def predict_proba(self, X: Any) -> npt.NDArray[np.float32]:
        """Probabilities ``[n, C]`` of the classes of each text, in the order of ``classes_``."""
        check_is_fitted(self, "classifier_")
        return self.classifier_.predict_proba(texts_of(X, empty=True))

    def predict_log_proba(self, X: Any) -> npt.NDArray[np.float32]:
        """Logarithms ``[n, C]`` of the probabilities; minus infinity where one is 0."""
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """The most probable class of each text, ``[n]``, in the dtype of ``classes_``."""
        chosen = self.predict_proba(X).argmax(axis=1)
        predicted: npt.NDArray[Any] = self.classes_[chosen]
        return predicted

    def _develops(self, labels: Integers) -> bool:
        """Return True if some texts are kept for development."""
        if not isinstance(self.dev_size, Real) or not 0 <= self.dev_size < 1:
            raise AmpmixError(
                f"dev_size is {self.dev_size}: it is the share of the texts kept for development, "
                "in [0, 1)"
            )
        if self.dev_size == 0:
            if self.selection == "best_dev":
                raise AmpmixError(
                    "selection is 'best_dev', but with dev_size=0 there are no development texts: "
                    "give a dev_size, or selection='last'"
                )
            if self.patience:
                raise AmpmixError(
                    f"patience is {self.patience}, but with dev_size=0 there are no development "
                    "texts: give a dev_size, or leave patience out"
                )
            return False
        if np.bincount(labels).max() < 2:
            warnings.warn(
                "every class has one text only: none is kept for development, and the model is "
                "that of the last step",
                stacklevel=3,
            )
            return False
        return True

    def _config(self, backbone: Backbone, develop: bool, texts: int = 0) -> TrainConfig:
        known = {field.name for field in fields(TrainConfig)}
        given = {k: _plain(v) for k, v in self.get_params(deep=False).items() if k in known}
        if not develop:
            given |= {"selection": "last", "patience": 0}
        config = settings(backbone, False, texts, **given)
        if develop or given["eval_every"] is not None:
            return config
        return replace(config, eval_every=config.steps)

    def _split(
        self,
        texts: list[str],
        labels: Integers,
        classes: tuple[str, ...],
        develop: bool,
        seed: int,
        unlabelled: list[str] | None,
    ) -> Split:
        """The split of `ampmix train`; without development texts the training texts are read."""
        train = Examples(tuple(texts), labels)
        dataset = TextDataset(
            "texts", classes, train, dev=None if develop else train, groups=text_groups(texts)
        )
        dataset = with_unlabelled(dataset, unlabelled)
        return split_train(dataset, seed, dev_fraction=self.dev_size if develop else 0.1)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        return tags

    def _more_tags(self) -> dict[str, Any]:
        """The tags, as scikit-learn before 1.6 asks for them."""
        return {"X_types": ["1darray", "string"]}


def _component(given: Any, kind: type, package: str, name: str) -> Any:
    """The component that a spec string or an instance stands for."""
    if isinstance(given, kind):
        return given
    if not isinstance(given, str):
        raise AmpmixError(
            f"{name} is {given!r}: give a spec string or an instance; there are "
            f"{', '.join(components.find(package))}"
        )
    return components.parse(given, package, name)


def _seed(random_state: Any) -> int:
    """An int as it is; else one drawn from the instance, or from NumPy's global state for None."""
    if isinstance(random_state, (int, np.integer)):
        return int(random_state)
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))


def _plain(value: Any) -> Any:
    """NumPy's numbers, which searches over parameters draw, as Python's."""
    return value.item() if isinstance(value, np.generic) else value


@contextmanager
def _progress(verbose: bool, steps: int) -> Iterator[Callable[[int], None] | None]:
    if not verbose:
        yield None
        return
    with RunsProgress(1, steps, Console(file=sys.stderr, highlight=False)) as progress:
        yield lambda step: progress.on_step("fit", step)


def _tell(fitted: Fit, split: Split | None, config: TrainConfig) -> None:
    """Print the outcome of training on standard error; `split` if it has development texts."""
    done = counted(fitted.stopped or config.steps, "step")
    said = f"{done}, the last one kept"
    if split is not None:
        error, step = f"{fitted.best.dev_error:.1%}", fitted.best.step
        said = f"{done}; development error {error} at step {step}, which was kept"
    print(f"MixupTextClassifier: {said}", file=sys.stderr)
    if fitted.truncated:
        length = counted(fitted.classifier.reader.max_length, "token")
        cut = f"{counted(fitted.truncated, 'text was', 'texts were')} cut to {length}"
        print(f"MixupTextClassifier: {cut}", file=sys.stderr)
