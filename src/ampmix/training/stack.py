"""Models of one architecture trained as one, and the steps of a GPU recorded and replayed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ampmix._torch.cuda_graphs import CudaGraphs, Recorded, Recorder
from ampmix._torch.generators import Ragged
from ampmix._torch.precision import autocast, products
from ampmix.backbones.base import Backbone
from ampmix.mixing import Loss, cross_entropy
from ampmix.policies.base import Policy
from ampmix.training.config import TrainConfig
from ampmix.training.losses import TrainingLoss
from ampmix.training.optimizer import optimizer_of, set_lr
from ampmix.training.perturbation import Perturbation
from ampmix.training.replica_batches import Batch, ReplicaBatches
from ampmix.training.selection import Reading
from ampmix.training.step import generator_of
from ampmix.training.training_run import Diverged, Fit, TrainingRun


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


@dataclass(frozen=True, eq=False)
class _Row:
    """A model of the stack: its index among the splits given, and its random streams."""

    index: int
    run: TrainingRun
    mixing: torch.Generator
    dropout: torch.Generator


class Stack:
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
            name: _stacked([named_weights(one)[name] for one in runs]) for name in stacking.weights
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
            named = named_weights(one)
            for name, weight in self.weights.items():
                own = weight.detach()[position]
                named[name].data = own[: named[name].shape[0]]

    def train(
        self,
        tell: Callable[[int, int], None],
        tell_reading: Callable[[int, Reading], None] = lambda _index, _reading: None,
    ) -> list[Fit | Diverged]:
        """All steps of all runs; what became of them, in their order.

        Args:
            tell: called with the index of a run and the number of steps done, after each.
            tell_reading: called with the index and each reading of the development set.
        """
        done, config = 0, self._config
        step = products(config.precision)(self.step)
        while self._rows and done < config.steps:
            losses = []
            for batch in self.batches.upcoming(min(config.eval_every, config.steps - done)):
                losses.append(step(batch, done))
                done += 1
                for row in self._rows:
                    tell(row.index, done)
            self._read(done, torch.stack(losses), tell_reading)
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

    def _read(
        self, done: int, losses: Tensor, tell_reading: Callable[[int, Reading], None]
    ) -> None:
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
                tell_reading(index, one.selection.curve[-1])
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
            weight = named_weights(one)[name]
            weight.data = weight.data.clone()  # no longer the stack's
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


def named_weights(one: TrainingRun) -> dict[str, Tensor]:
    """Parameters and buffers of a run's model, by name."""
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
