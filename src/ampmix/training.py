"""fit(): one model trained with one policy on one split, chosen on the development set."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ampmix.backbones._backbone import Backbone, CutModule
from ampmix.classifier import Classifier, logits_of
from ampmix.data import Split
from ampmix.errors import AmpmixError
from ampmix.losses import training_loss
from ampmix.mixing import Loss
from ampmix.perturbation import Perturbation
from ampmix.policies._policy import Learner, Mixed, Policy
from ampmix.precision import autocast, check_precision, products
from ampmix.processes import ALONE, Processes
from ampmix.selection import Reading, Selection
from ampmix.streams import numpy_stream, torch_seed
from ampmix.text import Encoded, Reader
from ampmix.train_config import TrainConfig, optimizer_of, set_lr


class Diverged(AmpmixError):
    """The training loss became NaN or infinite."""


@dataclass(frozen=True, eq=False)
class Fit:
    """What :func:`fit` returns.

    Attributes:
        classifier: the model at the chosen step.
        best: the reading of that step.
        curve: every reading of the development set.
        test_wrong: true where a test example is misclassified, ``[n_test]``.
        test_probabilities: of each class, ``[n_test, n_classes]``, as
            :meth:`ampmix.Classifier.predict_proba` gives them.
        test_reads: the steps at which the test set was read: the chosen one, once, or none at all
            where there is no test set.
        truncated: texts cut to ``max_length``, over all parts.
        seed: the run's.
        stopped: the step at which patience ran out; None where all steps were done.
        perturbation: how far MaxOp moved lam and the loss
            (:meth:`ampmix.perturbation.Perturbation.as_json`); None for policies without it.
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

    @property
    def test_error(self) -> float:
        """Share of the test examples misclassified; NaN without any."""
        return float(self.test_wrong.mean()) if len(self.test_wrong) else math.nan


def fit(
    backbone: Backbone,
    policy: Policy,
    data: Split,
    config: TrainConfig | None = None,
    seed: int = 0,
    *,
    on_step: Callable[[int], None] | None = None,
    processes: Processes = ALONE,
) -> Fit:
    """Train a backbone with a policy; keep the step with the lowest development error.

    The vocabulary comes from the training part alone. Ties in development error go to the lower
    development loss, then to the earlier step. The test set is read once, after choosing. Random
    streams for initial weights, batches, mixing and dropout are separate, and none depends on the
    policy: with one seed all policies share split, initial weights, batch order and dropout masks.
    No global random state is touched.

    Args:
        backbone: what to train, such as ``TextCNN()``.
        policy: how, such as ``AMP(eps=0.1, site="sent")``.
        data: a split, from :func:`ampmix.data.split_holdout` or :func:`ampmix.data.split_fold`.
        config: optimisation settings; by default the backbone's.
        seed: the run's seed, >= 0.
        on_step: called with the number of steps done, after each.
        processes: those that train this one model together (:func:`ampmix.processes.joined`), each
            on its part of every batch, within which it pairs. All return the same.

    Returns:
        :class:`Fit`.

    Raises:
        Diverged: if the loss is not finite, with the step.
        AmpmixError: as :func:`check_trainable`.
    """
    config = config or TrainConfig.of(backbone)
    check_trainable(backbone, policy, data, config)
    device = processes.device(str(device_of(config.device)))
    one = Trainee(backbone, policy, data, config, seed, device, processes)
    optimizer = optimizer_of([*one.model.parameters(), *one.learner.parameters()], config)
    step = TrainingStep(one.model, one.learner, one.loss, seed, device, processes.rank)
    step_once = stepper(step, optimizer, config, processes)
    losses: list[float] = []

    one.model.train()
    for number, batch in enumerate(_batches(one.parts.train, config, seed), start=1):
        losses.append(step_once(batch))
        one.check(losses[-1], number)
        if number % config.eval_every == 0 or number == config.steps:
            one.read(number, losses)
            losses.clear()
        if on_step is not None:
            on_step(number)
        if one.selection.enough:
            break
    return one.concluded(step.seen)


class Trainee:
    """One model on its way through training: what it reads, its readings, what becomes of it.

    How it is moved on, a step at a time, is the business of others.

    Args:
        backbone, policy, data, config, seed, processes: as of :func:`fit`.
        device: where to compute.
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
    ) -> None:
        self.backbone, self.data, self.config, self.seed = backbone, data, config, seed
        self.device, self._processes = device, processes
        self.reader, self.parts = _encode(backbone, data, config.max_length)
        classes = len(data.classes)
        self.model = backbone.build(
            self.reader, policy.outputs(classes), generator_of(seed, "weights")
        )
        self.model.to(device)
        self.learner = _prepare(self.model, policy, self.parts.train, classes, device, seed)
        self.loss = _loss(data, config, device)
        self.selection = Selection(config.selection, config.patience)

    def check(self, loss: float, step: int) -> None:
        """Raise Diverged unless the loss that step `step` minimised is a number."""
        if not math.isfinite(loss):
            raise Diverged(_advice("training loss", loss, step, self.config))

    def read(self, step: int, losses: Sequence[float]) -> None:
        """Read the development set after a step; `losses` are those since the reading before."""
        dev = self.parts.dev
        measured = _measure(self.model, self.learner, dev, self.device, self._processes)
        reading = Reading(step, float(np.mean(losses)), *measured)
        if not math.isfinite(reading.dev_loss):
            raise Diverged(_advice("development loss", reading.dev_loss, step, self.config))
        self.selection.add(reading, self.model)

    def concluded(self, seen: Perturbation) -> Fit:
        """Go back to the chosen step and read the test set."""
        model, selection = self.model, self.selection
        best, done = selection.kept, selection.curve[-1].step  # the last step always reads
        selection.restore(model)
        self.learner.fold(model)
        test, moved = self.parts.test, seen.counts
        tested = len(test) > 0
        logits = _logits(model, test, self.device, self._processes) if tested else None
        wrong = np.empty(0, bool) if logits is None else logits.argmax(1).numpy() != test.labels
        model.to("cpu").eval()
        return Fit(
            classifier=Classifier(self.backbone, model, self.reader, self.data.classes),
            best=best,
            curve=tuple(selection.curve),
            test_wrong=wrong,
            test_reads=(best.step,) if tested else (),
            truncated=sum(part.truncated for part in self.parts),
            seed=self.seed,
            stopped=done if done < self.config.steps else None,
            perturbation=seen.as_json(None if moved is None else self._processes.total(moved)),
            test_probabilities=(
                np.empty((0, len(self.data.classes)), np.float32)
                if logits is None
                else logits.softmax(1).numpy()
            ),
        )


def check_trainable(backbone: Backbone, policy: Policy, data: Split, config: TrainConfig) -> None:
    """Raise AmpmixError if :func:`fit` could not train so; nothing is built or read for it.

    That is: a site that the backbone does not have, more classes than the policy allows, or class
    weights or label smoothing with a policy that has a loss of its own, or a precision that the
    device does not have.
    """
    backbone.check_site(policy.mixing_site)
    policy.outputs(len(data.classes))
    policy.check_loss(_loss(data, config))
    check_precision(config.precision, config.device)


def _loss(data: Split, config: TrainConfig, device: torch.device | str = "cpu") -> Loss:
    return training_loss(
        data.train.labels, len(data.classes), config.class_weights, config.label_smoothing, device
    )


def device_of(name: str) -> torch.device:
    """The device of that name; AmpmixError unless something can be computed there."""
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise AmpmixError(f"device is {name!r}: there is none to use here ({reason})") from error


def _advice(what: str, value: float, step: int, config: TrainConfig) -> str:
    return (
        f"the {what} is {value} at step {step}: lower the learning rate "
        f"(now {config.lr:g}) or clip gradients"
    )


class _Parts(NamedTuple):
    train: Encoded
    dev: Encoded
    test: Encoded


def _encode(backbone: Backbone, data: Split, max_length: int) -> tuple[Reader, _Parts]:
    reader = backbone.reader(data.train.texts, data.tokenizer, max_length)
    parts = (reader.encode(part.texts, part.labels) for part in (data.train, data.dev, data.test))
    return reader, _Parts(*parts)


def _prepare(
    model: CutModule,
    policy: Policy,
    train: Encoded,
    classes: int,
    device: torch.device,
    seed: int,
) -> Learner:
    """The policy with what it learns, for hidden states up to those of the longest text."""
    if type(policy).prepare is Policy.prepare:
        return policy.prepare((), classes)  # it learns nothing: no text need be encoded for it
    ids, mask, _ = train.batch([int(train.lengths.argmax())])
    model.eval()
    with torch.no_grad():
        _, g = model.cut(
            torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device), policy.mixing_site
        )
    return policy.prepare(g[0].shape[1:], classes, generator_of(seed, "label policy")).to(device)


def generator_of(seed: int, purpose: str, device: torch.device | str = "cpu") -> torch.Generator:
    """The random stream of a seed for a purpose."""
    return torch.Generator(device).manual_seed(torch_seed(seed, purpose))


def orders(examples: int, config: TrainConfig, seed: int) -> Iterator[npt.NDArray[np.int64]]:
    """Which examples are in each of ``config.steps`` batches.

    A new order every epoch, whose last batch may be smaller.
    """
    rng, done = numpy_stream(seed, "batches"), 0
    while True:
        order = rng.permutation(examples)
        for start in range(0, examples, config.batch_size):
            if done == config.steps:
                return
            done += 1
            yield order[start : start + config.batch_size]


def _batches(
    train: Encoded, config: TrainConfig, seed: int
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """The batches of :func:`orders`: token ids, mask and labels."""
    for order in orders(len(train), config, seed):
        ids, mask, labels = train.batch(order)
        yield torch.from_numpy(ids), torch.from_numpy(mask), torch.from_numpy(labels)


class TrainingStep(nn.Module):
    """What a policy makes of a batch, in one ``forward``, which is what can be made parallel."""

    def __init__(
        self,
        model: CutModule,
        learner: Learner,
        loss: Loss,
        seed: int,
        device: torch.device,
        rank: int = 0,
    ) -> None:
        super().__init__()
        self.model, self.learner, self.loss = model, learner, loss
        own = f" {rank}" if rank else ""  # the first of several draws as one alone
        self.mixing = generator_of(seed, f"mixing{own}", device)
        self.dropout = generator_of(seed, f"dropout{own}", device)
        self.seen, self.counting = Perturbation(), True

    def forward(self, ids: Tensor, mask: Tensor, y: Tensor) -> Tensor:
        """The loss of each example, ``[B]``, of padded token ids, mask and class indices."""
        site = self.learner.policy.mixing_site
        f, g = self.model.cut(ids, mask, site, generator=self.dropout)
        mixed = self.learner(f, g, y, loss=self.loss, generator=self.mixing)
        _check_mixed(mixed, y.shape, self.learner.policy)
        self.seen.add(mixed, self.counting)
        loss: Tensor = mixed.loss
        return loss


def _check_mixed(mixed: Any, shape: torch.Size, policy: Policy) -> None:
    """Raise AmpmixError unless a policy gave what :class:`ampmix.Mixed` promises."""
    if not isinstance(mixed, Mixed):
        raise AmpmixError(
            f"policy {policy.name} gave a {type(mixed).__name__}: it must return ampmix.Mixed"
        )
    for name in ("loss", "lam", "lam_adv", "mask", "perm"):
        own = getattr(getattr(mixed, name), "shape", None)
        if own != shape:
            told = "no tensor" if own is None else f"of shape {list(own)}"
            raise AmpmixError(
                f"policy {policy.name} gave a {name} {told} for a batch of {list(shape)}: there "
                "must be one number for each example"
            )


def stepper(
    step: TrainingStep,
    optimizer: torch.optim.Optimizer,
    config: TrainConfig,
    processes: Processes = ALONE,
) -> Callable[[tuple[Tensor, Tensor, Tensor]], float]:
    """One optimiser step on a batch, as a function that returns the mean loss."""
    parameters = [*step.parameters()]
    parallel = processes.parallel(step)
    device = processes.device(config.device)
    done = 0

    def once(batch: tuple[Tensor, Tensor, Tensor]) -> float:
        nonlocal done
        set_lr(optimizer, config, done)
        done += 1
        size = len(batch[0])
        mine = processes.share(range(size))
        # with fewer examples than processes, some have none, but must take part in the exchange
        own = (
            [part[mine or [0]].to(device) for part in batch]
            if processes.count > 1
            else [part.to(device) for part in batch]
        )
        step.counting = bool(mine)
        # gradients are the mean over the processes, whose parts may differ in size by one
        with autocast(config.precision, device):
            losses = parallel(*own)
        loss = losses.sum() * (processes.count * bool(mine) / size)
        optimizer.zero_grad()
        loss.backward()
        if config.clip:
            torch.nn.utils.clip_grad_norm_(parameters, config.clip)
        optimizer.step()
        return processes.total(loss.detach()).item() / processes.count

    return products(config.precision)(once)


def _logits(model: CutModule, part: Encoded, device: torch.device, processes: Processes) -> Tensor:
    """Logits of every text ``[n, C]``, each process computing its share of them."""
    if processes.count == 1:
        return logits_of(model, part, device)
    rows = processes.share(range(len(part)))
    found = torch.zeros(len(part), model.head.out_features, device=device)
    if rows:
        found[rows] = logits_of(model, part.take(rows), device).to(device)
    return processes.total(found).cpu()


def _measure(
    model: CutModule, learner: Learner, part: Encoded, device: torch.device, processes: Processes
) -> tuple[float, float]:
    """Error (a fraction) and mean cross-entropy (nats) on a part."""
    logits = learner.scores(_logits(model, part, device, processes))
    labels = torch.from_numpy(part.labels)
    error = (logits.argmax(1) != labels).double().mean()
    return error.item(), F.cross_entropy(logits.double(), labels).item()
