"""fit_many(): seeds as an axis. S models of one architecture, trained side by side as one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from ampmix._torch.cuda_graphs import CudaGraphs, Recorded, Recorder
from ampmix._torch.generators import Ragged
from ampmix._torch.precision import autocast, products
from ampmix.backbones.base import Backbone
from ampmix.data.dataset import Split
from ampmix.errors import AmpmixError
from ampmix.mixing import Loss, cross_entropy
from ampmix.policies.base import Policy
from ampmix.training.checks import check_trainable, device_of
from ampmix.training.config import TrainConfig
from ampmix.training.fit import fit
from ampmix.training.losses import TrainingLoss
from ampmix.training.optimizer import optimizer_of, set_lr
from ampmix.training.perturbation import Perturbation
from ampmix.training.replica_batches import Batch, ReplicaBatches
from ampmix.training.step import generator_of
from ampmix.training.training_run import Diverged, Fit, TrainingRun


def fit_many(
    backbone: Backbone,
    policy: Policy,
    splits: Sequence[Split],
    config: TrainConfig | None = None,
    seeds: Sequence[int] = (),
    *,
    on_step: Callable[[int, int], None] | None = None,
) -> list[Fit | Diverged]:
    """Train a backbone with a policy on several splits at once, each with a seed of its own.

    Each is what :func:`ampmix.training.fit.fit` makes of it alone, up to rounding (and, of a
    fine-tuned BERT, up to which numbers its body's dropout zeroes): its own vocabulary, initial
    weights, batches, pairs, coefficients and dropout masks, its own norm to clip, choice of the
    step, and end. One that diverges or has trained enough leaves the others as they are.

    The weights have a leading axis of seeds, and so has all that is computed from them; policies
    and the optimiser do not care. Texts lie on the device, losses stay there until the development
    sets are read, and on a GPU no step waits for it. On a CPU it gains nothing.

    Where that cannot be done (:func:`unstackable`) the seeds are trained one after the other.

    Args:
        backbone: what to train.
        policy: how.
        splits: one for each seed; their classes agree.
        config: optimisation settings; by default the backbone's.
        seeds: the runs' seeds; by default 0, 1, ...
        on_step: called with the index of a split and the number of steps done, after each.

    Returns:
        For each split :class:`ampmix.training.training_run.Fit`, or why its training failed.

    Raises:
        AmpmixError: for splits of several class lists, or without a seed for each; and as
            :func:`ampmix.training.checks.check_trainable`.
    """
    config = config or TrainConfig.of(backbone)
    seeds = tuple(seeds) or tuple(range(len(splits)))
    if len(seeds) != len(splits) or len({split.classes for split in splits}) > 1:
        raise AmpmixError(
            f"{len(splits)} splits with {len(seeds)} seeds, and classes "
            f"{sorted({split.classes for split in splits})}: give each split a seed, and splits of "
            "the same classes"
        )
    pairs = [(split, config, seed) for split, seed in zip(splits, seeds, strict=True)]
    for split in splits:
        check_trainable(backbone, policy, split, config)
    tell = on_step or (lambda _index, _step: None)
    unlabelled = any(split.unlabelled for split in splits)
    if len(splits) < 2 or unstackable(backbone, policy, unlabelled):
        return [
            _alone(backbone, policy, *pair, partial(tell, index))
            for index, pair in enumerate(pairs)
        ]
    device = device_of(config.device)
    runs = [TrainingRun(backbone, policy, *pair, device) for pair in pairs]
    return _Stack(runs, policy, config, device).train(tell)


def unstackable(backbone: Backbone, policy: Policy, unlabelled: bool = False) -> str:
    """Return why seeds of a backbone with a policy are trained one by one; "" if they need not be.

    With `unlabelled` there are texts without labels.

    >>> from ampmix import AMP, NonlinearMixup, TextCNN
    >>> unstackable(TextCNN(), AMP())
    ''
    >>> unstackable(TextCNN(), NonlinearMixup())
    'policy nonlinear has parameters of its own'
    """
    if policy.learns:
        return f"policy {policy.name} has parameters of its own"
    if unlabelled and policy.uses_unlabelled:
        return f"policy {policy.name} learns from unlabelled texts"
    if len(policy.sites) > 1:
        return f"policy {policy.name} draws a site for each step"
    if policy.changes:
        return f"policy {policy.name} changes in the course of training"
    if not policy.stacks:
        return f"policy {policy.name} draws a number for each word, of however long a batch"
    if backbone.stacking is None:
        return f"backbone {backbone.name} has no form with an axis of seeds"
    return ""


def automatic(
    backbone: Backbone,
    policies: Sequence[Policy],
    split: Split,
    config: TrainConfig,
    most: int,
    workers: int = 1,
) -> int:
    """Return the number of seeds to train at once: 1 on a CPU, where more gain nothing.

    On a GPU up to `most`, as many as its free memory holds when `workers` share half of it.
    """
    device = device_of(config.device)
    if device.type != "cuda" or most < 2 or not policies:
        return 1
    free, _ = torch.cuda.mem_get_info(device)
    return fitting(free // workers, [footprint(backbone, p, split, config) for p in policies], most)


def fitting(free: int, footprints: Sequence[int], most: int) -> int:
    """Return how many seeds fit in half of `free` bytes, by the largest of `footprints` bytes.

    At least 1 and at most `most`.
    """
    return max(1, min(most, int(free // 2 // max(footprints))))


def footprint(backbone: Backbone, policy: Policy, split: Split, config: TrainConfig) -> int:
    """Bytes that a seed more takes on the device while it trains.

    Measured on a step on the CPU: the weights, for those that train also gradients and the two
    moments of the optimiser, and twice what autograd keeps of a batch of the longest texts, for
    what is there in passing.
    """
    cpu = torch.device("cpu")
    config = replace(config, device="cpu")
    stack = _Stack([TrainingRun(backbone, policy, split, config, 0, cpu)], policy, config, cpu)
    kept = 0

    def count(saved: Tensor) -> Tensor:
        nonlocal kept
        kept += saved.nbytes
        return saved

    batch = next(stack.batches.upcoming(1))
    with torch.autograd.graph.saved_tensors_hooks(count, lambda saved: saved):
        stack.step(batch, 0)
    longest = stack.batches.longest / batch.mask.shape[-1]
    (one,) = stack.runs
    held = sum(weight.nbytes for weight in _named(one).values())
    trained = sum(weight.nbytes for weight in stack.weights.values() if weight.requires_grad)
    return held + 3 * trained + int(2 * kept * longest)


def _alone(
    backbone: Backbone,
    policy: Policy,
    split: Split,
    config: TrainConfig,
    seed: int,
    tell: Callable[[int], None],
) -> Fit | Diverged:
    try:
        return fit(backbone, policy, split, config, seed, on_step=tell)
    except Diverged as error:
        return error


@dataclass(frozen=True, eq=False)
class _Row:
    """A model of the stack: its index among the splits given, and its random streams."""

    index: int
    run: TrainingRun
    mixing: torch.Generator
    dropout: torch.Generator


class _Stack:
    """Trains S models as one.

    Each weight is a tensor ``[S, ...]``; every model's own parameters are views into it, so that
    evaluation, selection and saving work on them unchanged. A model that has finished or diverged
    is dropped from the stack.

    Args:
        runs: those to train.
        policy, config, device: as of them all.
        recorder: what records steps to replay them; by default CUDA graphs on a GPU, else nothing.
    """

    def __init__(
        self,
        runs: Sequence[TrainingRun],
        policy: Policy,
        config: TrainConfig,
        device: torch.device,
        recorder: Callable[[Sequence[torch.Generator]], Recorder | None] | None = None,
    ) -> None:
        stacking = runs[0].model.config.stacking
        assert stacking is not None  # see unstackable
        self._policy, self._config = policy, config
        self._rows = [
            _Row(
                index,
                one,
                mixing=generator_of(one.seed, "mixing", device),
                dropout=generator_of(one.seed, "dropout", device),
            )
            for index, one in enumerate(runs)
        ]
        self._results: dict[int, Fit | Diverged] = {}
        for one in runs:
            one.model.train()
        self._stacking = stacking
        self.batches = ReplicaBatches(runs, stacking, config, device)
        self.weights = {
            name: _stacked([_named(one)[name] for one in runs]) for name in stacking.weights
        }
        self._on_gpu = device.type == "cuda"
        if recorder is None and self._on_gpu:
            recorder = partial(CudaGraphs, device)
        self._recorder = recorder
        self._optimizer = optimizer_of(self._trained(), config, self._on_gpu)
        self._bind()
        self._loss = _side_by_side([one.loss for one in runs])
        self._seen = Perturbation()
        self._moved_on = self._recording()

    @property
    def runs(self) -> list[TrainingRun]:
        """Runs that still train."""
        return [row.run for row in self._rows]

    def _trained(self) -> list[Tensor]:
        return [weight for weight in self.weights.values() if weight.requires_grad]

    def _bind(self) -> None:
        """Make the models' weights views into the stack."""
        for position, one in enumerate(self.runs):
            named = _named(one)
            for name, weight in self.weights.items():
                own = weight.detach()[position]
                named[name].data = own[: named[name].shape[0]]

    def train(self, tell: Callable[[int, int], None]) -> list[Fit | Diverged]:
        """All steps of all runs; what became of them, in their order."""
        done, config = 0, self._config
        step = products(config.precision)(self.step)
        while self._rows and done < config.steps:
            losses = []
            for batch in self.batches.upcoming(min(config.eval_every, config.steps - done)):
                losses.append(step(batch, done))
                done += 1
                for row in self._rows:
                    tell(row.index, done)
            self._read(done, torch.stack(losses))
        return [self._results[index] for index in sorted(self._results)]

    def step(self, batch: Batch, done: int) -> Tensor:
        """Take one optimiser step of all; return each seed's mean loss ``[S]``, not waited for."""
        set_lr(self._optimizer, self._config, done)
        tensors = batch.inputs, batch.mask, batch.labels, batch.shares
        losses, *moves = self._moved_on(batch.sizes, *tensors)
        if moves:
            moved, gain = moves
            self._seen.add_moves(moved, gain, batch.shares > 0 if batch.ragged else True)
        return losses

    def _recording(self) -> Recorded:
        """The work of a step on the device, to be recorded anew whenever the stack changes."""
        draws = [*(row.mixing for row in self._rows), *(row.dropout for row in self._rows)]
        return Recorded(self._work, self._recorder(draws) if self._recorder else None)

    def _work(
        self, sizes: tuple[int, ...], inputs: Tensor, mask: Tensor, labels: Tensor, shares: Tensor
    ) -> tuple[Tensor, ...]:
        """A step of all: each seed's loss, and with MaxOp what it changed lam and the loss by."""
        batch = Batch(inputs, mask, labels, shares, sizes)
        self._optimizer.zero_grad()
        mixing = tuple(row.mixing for row in self._rows)
        dropout = Ragged(tuple(row.dropout for row in self._rows), sizes)
        with autocast(self._config.precision, batch.labels.device):
            site = self._policy.mixing_site
            f, g = self._stacking.cut(self.weights, batch.inputs, batch.mask, site, dropout)
            draws = Ragged(mixing, sizes) if batch.ragged else mixing
            mixed = self._policy(f, g, batch.labels, loss=self._loss, generator=draws)
        losses = (mixed.loss * batch.shares.to(mixed.loss.dtype)).sum(1)
        torch.autograd.backward(losses.sum())
        if self._config.clip:
            _clip([weight.grad for weight in self._trained()], self._config.clip)
        self._optimizer.step()
        if mixed.gain is None:
            return (losses.detach(),)
        return losses.detach(), (mixed.lam_adv - mixed.lam).detach(), mixed.gain.detach()

    def _read(self, done: int, losses: Tensor) -> None:
        """Read the development sets after a step; losses ``[steps, S]`` since the last time."""
        values = losses.double().cpu().numpy()
        first, going_on = done - len(values) + 1, []
        for position, row in enumerate(self._rows):
            index, one = row.index, row.run
            own = values[:, position].tolist()
            try:
                for step, loss in enumerate(own, start=first):
                    one.check(loss, step)
                one.read(done, own)
            except Diverged as error:
                self._results[index] = error
                continue
            if one.selection.enough or done == self._config.steps:
                self._results[index] = self._concluded(position)
            else:
                going_on.append(position)
        if len(going_on) < len(self._rows):
            self._keep(going_on)

    def _concluded(self, position: int) -> Fit:
        one = self._rows[position].run
        for name in self.weights:
            _named(one)[name].data = _named(one)[name].data.clone()  # no longer the stack's
        return one.finish(self._seen.of(position))

    def _keep(self, positions: Sequence[int]) -> None:
        """Go on with some of the seeds: their rows of the weights and of the optimiser's state."""
        self._rows = [self._rows[i] for i in positions]
        if not positions:
            return
        self.batches.take(positions)
        self._loss = _side_by_side([one.loss for one in self.runs])
        self._seen = self._seen.of(positions)
        states = [self._optimizer.state[weight] for weight in self._trained()]
        for name, weight in self.weights.items():
            kept = weight.detach()[positions].requires_grad_(weight.requires_grad)
            self.weights[name] = kept
        self._optimizer = optimizer_of(self._trained(), self._config, self._on_gpu)
        for weight, state in zip(self._trained(), states, strict=True):
            own = {
                name: value[positions] if value.dim() else value for name, value in state.items()
            }
            self._optimizer.state[weight] = own
        self._bind()
        self._moved_on = self._recording()


def _named(one: TrainingRun) -> dict[str, Tensor]:
    return {**dict(one.model.named_parameters()), **dict(one.model.named_buffers())}


def _stacked(weights: Sequence[Tensor]) -> Tensor:
    """Weights of one name as one leaf ``[S, ...]``, with rows of zeros to the longest."""
    rows = max(len(weight) for weight in weights)
    stack = weights[0].new_zeros(len(weights), rows, *weights[0].shape[1:])
    for place, weight in zip(stack, weights, strict=True):
        place[: len(weight)] = weight.detach()
    return stack.requires_grad_(weights[0].requires_grad)


def _side_by_side(losses: Sequence[Loss]) -> Loss:
    """Each seed's loss of its own row of the logits ``[S, B, C]``.

    Seeds whose classes have weights of their own differ; all others share one.
    """
    if all(_unweighted(loss) for loss in losses):
        return losses[0]

    def loss(logits: Tensor, y: Tensor) -> Tensor:
        rows = zip(losses, logits, y, strict=True)
        return torch.stack([own(*row) for own, *row in rows])

    return loss


def _unweighted(loss: Loss) -> bool:
    return loss is cross_entropy or (isinstance(loss, TrainingLoss) and loss.weights is None)


def _clip(gradients: Sequence[Tensor | None], largest: float) -> None:
    """:func:`torch.nn.utils.clip_grad_norm_` of each seed by itself."""
    own = [gradient for gradient in gradients if gradient is not None]
    squares = torch.stack([gradient.flatten(1).square().sum(1) for gradient in own])
    factor = (largest / (squares.sum(0).sqrt() + 1e-6)).clamp(max=1.0)
    for gradient in own:
        gradient.mul_(factor.view(-1, *[1] * (gradient.dim() - 1)))
