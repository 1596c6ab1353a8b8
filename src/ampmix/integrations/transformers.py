"""transformers' Trainer with mixed training steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ampmix._support.components import spec
from ampmix._support.extras import needed
from ampmix._torch.compiling import never_compiled
from ampmix.errors import AmpmixError
from ampmix.mixing import Loss, cross_entropy
from ampmix.mixstep.losses import usual_loss
from ampmix.mixstep.step import MissingLabels, MixStep
from ampmix.policies.base import Mixed, Policy

EXTRA = "trainer"
needed("accelerate", EXTRA)  # transformers would say so only when a Trainer is made
Trainer: Any = needed("transformers", EXTRA).Trainer


class MixupTrainerMixin:
    """Mix in a Trainer's training steps; put it before your own subclass of Trainer.

    ``class Mine(MixupTrainerMixin, MyTrainer)`` takes what ``MyTrainer`` takes, and the arguments
    below. For the time of a ``training_step``, and then only, the model's own ``forward`` does the
    whole mixed step (:meth:`ampmix.MixStep.attached`): what is wrapped, saved, evaluated and
    predicted with is the model, in its own class.

    The loss is taken of each example, interpolated (Eq. 17) and averaged over all examples of an
    optimizer step, however many batches and processes these are in. ``label_smoothing_factor`` is
    part of it. Evaluation is Trainer's own. lam and pairs come from PyTorch's global generators,
    whose state is in every checkpoint, so that a run that was resumed ends where it would have.

    A collator may put texts without labels below the others: ``unlabelled`` in a batch says how
    many of its last ones these are, and ``labels`` are those of the others.

    With AMP every log of the loss also has ``amp_shift``, the mean of ``|lam_adv - lam|``, and
    ``amp_share``, the share of the examples whose loss was the larger at lam_adv (Eq. 21), both
    since the last one. (The loss logged is that of mixed examples.)

    Args:
        args: Trainer's, positional or by name.
        policy: such as ``ampmix.AMP(eps=0.1)``.
        site: where to mix, see :class:`ampmix.MixStep`; by default the policy's.
        loss: per-example loss for training, ``loss(logits, labels) -> [B]``. By default what the
            model's ``problem_type`` says, cross-entropy if nothing.
        kwargs: Trainer's.

    Raises:
        AmpmixError: when made, for an unknown site, a policy that has parameters to train, a
            ``compute_loss_func`` without ``loss``, several targets, reentrant checkpointing, and
            ``DataParallel``; when training, for batches without labels, labels whose meaning is
            not clear, a ``compute_loss`` that leaves the mixed loss out, and what
            :class:`ampmix.MixStep` refuses.
    """

    model: Any
    args: Any
    accelerator: Any
    state: Any
    label_smoother: Any
    compute_loss_func: Any
    label_names: list[str]
    is_world_process_zero: Callable[[], bool]

    def __init__(
        self,
        *args: Any,
        policy: Policy,
        site: str | None = None,
        loss: Loss | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.mix_policy, self.mix_site, self.mix_loss = policy, site, loss
        self._mix_step: MixStep | None = None
        self._mix_sums: Tensor | None = None
        self._mix_trained = False
        self._check_arguments()
        self._new_step(_own_model(self.model))

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """See ``Trainer.train``."""
        self._mix_step, self._mix_sums, self._mix_trained = None, None, False
        try:
            return self._trainer.train(*args, **kwargs)
        finally:
            self._mix_step = None

    def training_step(
        self, model: nn.Module, inputs: Mapping[str, Any], *args: Any, **kwargs: Any
    ) -> Tensor:
        """A mixed step on a batch. See ``Trainer.training_step``."""
        own = _own_model(self.model)
        if self._mix_step is None or self._mix_step.model is not own:
            self._check_labels(inputs)
            self._mix_step = self._new_step(own)
        given, state = self._labels in inputs, self.state
        self._mix_step.advance(state.global_step / max(state.max_steps, state.global_step + 1))
        try:
            with self._settings(), self._mix_step.attached():
                loss: Tensor = self._trainer.training_step(model, inputs, *args, **kwargs)
        except MissingLabels as error:
            if not given:
                raise
            raise AmpmixError(
                f"compute_loss of {type(self).__name__} takes {self._labels} away from the inputs "
                "before the model is called, which needs them to mix: give that loss as loss=..., "
                "with one value per example, and leave compute_loss as it is in MixupTrainer"
            ) from error
        except RuntimeError as error:  # backward from logits, which have no graph
            if self._mix_trained or "does not require grad" not in str(error):
                raise
            raise self._left_out() from error
        if not self._mix_trained:
            raise self._left_out()
        return loss

    def get_batch_samples(self, *args: Any, **kwargs: Any) -> Any:
        """The batches of an optimizer step, and how many examples they have, whatever the model."""
        with self._settings():
            batches, items = self._trainer.get_batch_samples(*args, **kwargs)
            name = self._labels
            if items is None and batches and name in batches[0]:
                # Trainer looks for "labels" alone
                renamed = [{"labels": batch[name]} for batch in batches]
                items = self._trainer._get_num_items_in_batch(renamed, self.args.device)
        return batches, items

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """See ``Trainer.log``; adds what AMP did since the last time."""
        # with a learning rate beside it, the loss is what all processes log at once
        if self._mix_sums is not None and {"loss", "learning_rate"} <= logs.keys():
            sums = self.accelerator.reduce(self._mix_sums, reduction="sum")
            shift, share, count = sums.tolist()
            logs |= {"amp_shift": shift / count, "amp_share": share / count}
            self._mix_sums = None
        self._trainer.log(logs, *args, **kwargs)

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """See ``Trainer.create_model_card``; adds the policy and the site."""
        self._trainer.create_model_card(*args, **kwargs)
        if self.is_world_process_zero():
            site = self.mix_site or self.mix_policy.mixing_site
            where = f" at site `{site}`" if site else ""
            with Path(self.args.output_dir, "README.md").open("a", encoding="utf-8") as card:
                card.write(f"\n## Mixing\n\nTrained by ampmix: `{spec(self.mix_policy)}`{where}.\n")

    @property
    def _trainer(self) -> Any:
        """The next class's methods."""
        return super()

    @property
    def _labels(self) -> str:
        return self.label_names[0] if self.label_names else "labels"

    @contextmanager
    def _settings(self) -> Iterator[None]:
        """Trainer as it trains a model that gives the loss of ``num_items_in_batch`` examples."""
        mixed = {
            "label_smoother": None,
            "compute_loss_func": None,
            "model_accepts_loss_kwargs": True,
            "loss_is_scaled_for_ga": None,
        }
        own = self.__dict__
        before = {name: own[name] for name in mixed if name in own}
        own.update(mixed)
        try:
            yield
        finally:
            for name in mixed:
                del own[name]
            own.update(before)

    def _new_step(self, model: nn.Module) -> MixStep:
        loss = self.mix_loss
        if loss is None and self.label_smoother is not None:
            loss = partial(_smoothed, factor=self.args.label_smoothing_factor)
        return MixStep(
            model,
            self.mix_policy,
            self.mix_site,
            loss=loss,
            labels=self._labels,
            on_mixed=self._note,
        )

    @never_compiled
    def _note(self, mixed: Mixed) -> None:
        """Add up what was done to a batch, where it was done: nothing waits for a device."""
        if not self._mix_trained and mixed.loss.requires_grad:
            mixed.loss.register_hook(self._note_backward)  # type: ignore[no-untyped-call]
        if not mixed.moved:
            return
        shift = (mixed.lam_adv - mixed.lam).abs()
        sums = torch.stack((shift, mixed.mask.to(shift.dtype), torch.ones_like(shift))).sum(1)
        self._mix_sums = sums if self._mix_sums is None else self._mix_sums + sums

    def _note_backward(self, grad: Tensor) -> None:
        self._mix_trained = True

    def _left_out(self) -> AmpmixError:
        return AmpmixError(
            f"compute_loss of {type(self).__name__} leaves the mixed loss out: it must return the "
            "loss that the model returns; another loss is given as loss=..., with one value per "
            "example"
        )

    def _check_arguments(self) -> None:
        """Raise for what could only fail, or go wrong without a word, once training."""
        policy = self.mix_policy
        if not isinstance(policy, Policy) or policy.learns:
            name = policy.name if isinstance(policy, Policy) else type(policy).__name__
            raise AmpmixError(
                f"policy is {name}: MixupTrainer takes a policy without parameters of its own, "
                "which Trainer would neither train nor save, such as ampmix.AMP(eps=0.1)"
            )
        if self.compute_loss_func is not None and self.mix_loss is None:
            raise AmpmixError(
                "compute_loss_func gives one loss for a batch, where lam is each example's own: "
                "give loss=f with f(logits, labels) -> one value per example for training "
                "(compute_loss_func then is for evaluation)"
            )
        if self.label_smoother is not None:
            if self.mix_loss is not None:
                raise AmpmixError(
                    f"label_smoothing_factor is {self.args.label_smoothing_factor} beside a loss "
                    "of your own, which it would not reach: smooth labels in that loss"
                )
            if usual_loss(self.model) is not cross_entropy:
                raise AmpmixError(
                    f"label_smoothing_factor is {self.args.label_smoothing_factor}, but the "
                    "model is trained by squared error, not to classify: leave it out"
                )
        if len(self.label_names) > 1:
            raise AmpmixError(
                f"{type(self.model).__name__} is trained on {', '.join(self.label_names)}: "
                "mixing takes one target for each example (TrainingArguments(label_names=[NAME]))"
            )
        if self.args.n_gpu > 1:
            raise AmpmixError(
                f"Trainer would put the model on {self.args.n_gpu} devices with DataParallel, in "
                "which nothing can be mixed: start it with torchrun, one process a device, or set "
                "CUDA_VISIBLE_DEVICES to one"
            )
        for name in ("activation_checkpointing_kwargs", "gradient_checkpointing_kwargs"):
            if (getattr(self.args, name, None) or {}).get("use_reentrant"):
                raise AmpmixError(
                    f"{name} is {getattr(self.args, name)}: with reentrant checkpointing lam has "
                    'no gradient; give {"use_reentrant": False}'
                )

    def _check_labels(self, inputs: Mapping[str, Any]) -> None:
        """Raise for floating-point labels that may be one thing or another."""
        labels, config = inputs.get(self._labels), getattr(self.model, "config", None)
        if not isinstance(labels, Tensor) or not labels.is_floating_point():
            return
        unclear = (
            self.mix_loss is None
            and getattr(config, "problem_type", "none") is None
            and getattr(config, "num_labels", 0) > 1
        )
        if unclear:
            raise AmpmixError(
                f"{self._labels} are {labels.dtype}, and the model does not say what they are: set "
                'model.config.problem_type to "multi_label_classification" or "regression", or, if '
                "they are probabilities of classes, give loss=ampmix.cross_entropy"
            )


class MixupTrainer(MixupTrainerMixin, Trainer):  # type: ignore[misc]
    """transformers' Trainer with mixed training steps.

    Everything that Trainer takes and does, and the arguments of :class:`MixupTrainerMixin`.

    >>> trainer = MixupTrainer(                                       # doctest: +SKIP
    ...     model, args, train_dataset=train, policy=ampmix.AMP(eps=0.1), site="word"
    ... )
    >>> trainer.train()                                               # doctest: +SKIP
    """


def _own_model(model: nn.Module) -> nn.Module:
    """The model that PEFT has put its adapters into, or the model itself."""
    if hasattr(model, "peft_config") and hasattr(model, "get_base_model"):
        own: nn.Module = model.get_base_model()  # type: ignore[operator]
        return own
    return model


def _smoothed(logits: Tensor, y: Tensor, factor: float) -> Tensor:
    """Compute the loss of transformers' LabelSmoother for each example."""
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return F.cross_entropy(logits, y.reshape(-1), label_smoothing=factor, reduction="none")
