"""Lightning: a callback by which the training steps of a LightningModule mix.

A policy needs the loss of each example and ``training_step`` gives their mean, so the callback puts
a :class:`ampmix.MixStep` in its place. That place is also the one that strategies wrap:
DistributedDataParallel sees all passes of a step.
"""

from __future__ import annotations

import importlib
import inspect
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ampmix._support.random_streams import torch_seed
from ampmix._torch.random_state import random_state, with_random_state
from ampmix.errors import AmpmixError
from ampmix.integrations._comparing import Outcome, attributes_kept, module_loss
from ampmix.mixstep.model_parts import statistics_kept
from ampmix.mixstep.step import MixStep
from ampmix.policies.base import Mixed, Policy
from ampmix.policies.none import NoMixup

PACKAGES = ("lightning.pytorch", "pytorch_lightning")
"""One library under two names, whose classes are not the same."""

Unpack = Callable[[Any], tuple[Any, Tensor]]
"""From a batch to what the model takes (a tuple, or a dictionary by name) and the targets."""


def _lightning() -> Any:
    """The one that is imported already, or installed."""
    for name in sorted(PACKAGES, key=lambda name: name not in sys.modules):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            missing = error.name
    raise AmpmixError(f"the package {missing} is not installed: pip install 'ampmix[lightning]'")


class MixupCallback(_lightning().Callback):  # type: ignore[misc]
    """Trains a LightningModule with mixing.

    ``Trainer(callbacks=[MixupCallback(AMP(eps=0.1), site="net.embed")])`` is all that changes.

    In ``fit`` (automatic optimisation) a mixed step takes the place of ``training_step``: inputs to
    outputs, outputs to a loss per example, as :class:`ampmix.MixStep` does it. Precision, gradient
    accumulation and clipping, and DistributedDataParallel are the Trainer's, as ever. Validation,
    test and prediction do not mix; parameters, ``state_dict`` and checkpoints are the module's own,
    and afterwards ``training_step`` is as it was.

    What else ``training_step`` does, such as logging, is left out while the callback trains. That
    its loss is the callback's, mixing aside, is seen to once: on the first batch it is called, and
    its loss and gradients compared, to rounding; what it logs or keeps then is undone. If there is
    no `loss`, that of the module's own is tried first (its one ``nn.CrossEntropyLoss``, say). A
    `loss` may differ from it by a factor, as a mean over class weights does. A module whose loss
    has more terms holds a :class:`ampmix.MixStep` in its model's place, and calls that in its own
    ``training_step``.

    With ``unlabelled`` in a batch that is a dictionary, so many of its last texts have no label;
    such a batch is not compared.

    The epoch in which ``StochasticWeightAveraging`` counts BatchNorm's statistics anew does not
    mix.

    lam and pairs are drawn anew for each batch from the seed (``torch.initial_seed()`` when ``fit``
    begins, which ``seed_everything`` sets), the process's rank, the epoch and the batch's number;
    PyTorch's global random state is left to dropout. The seed is in the checkpoint, so that
    ``fit(ckpt_path=...)`` draws what the interrupted run would have drawn.

    Args:
        policy: such as ``ampmix.AMP(eps=0.1)``.
        site: a path in the model, see :class:`ampmix.MixStep`; by default the policy's.
        model: the attribute (path of a submodule) that ``training_step`` calls; by default the
            LightningModule itself, through its ``forward``.
        unpack: takes a batch apart, into inputs (a tuple, or a dictionary by name) and targets. By
            default the last of a tuple is the targets, or in a dictionary what is called `labels`.
        log: the name to log the mixed loss by, and with AMP ``amp_shift``, the batch's mean
            ``|lam_adv - lam|``, and ``amp_share``, the share of its examples whose loss was taken
            at lam_adv (Eq. 21); "" logs nothing.
        check: compare with ``training_step`` once.
        options: further ones of :class:`ampmix.MixStep`: ``loss``, ``labels``, ``logits``,
            ``masks``, ``padding_masks``, ``on_mixed``.

    Raises:
        AmpmixError: without Lightning; when ``fit`` begins, for a module without ``forward`` where
            `model` is not given, for manual optimisation, and as :class:`ampmix.MixStep` does; at
            the first batch, if ``training_step`` computes another loss.
    """

    def __init__(
        self,
        policy: Policy,
        site: str | None = None,
        *,
        model: str = "",
        unpack: Unpack | None = None,
        log: str = "train_loss",
        check: bool = True,
        **options: Any,
    ) -> None:
        super().__init__()
        if not isinstance(policy, Policy) or policy.learns:
            raise AmpmixError(
                f"policy is a {type(policy).__name__}: one with parameters to train must be part "
                "of the LightningModule, in a MixStep that its training_step calls"
            )
        self.policy, self.site, self.model, self.options = policy, site, model, options
        self.unpack = unpack or self._unpack
        self.log_as, self.check = log, check
        self._seed: int | None = None
        self._restore: Callable[[], None] | None = None

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Forget the seed of an earlier fit."""
        if stage == "fit":
            self._seed = None

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Put the mixed step in the place of ``training_step``."""
        if not pl_module.automatic_optimization:
            raise AmpmixError(
                f"{type(pl_module).__name__} optimises by hand, and MixupCallback would replace "
                "its training_step: call a MixStep in it instead"
            )
        self._seed = torch.initial_seed() if self._seed is None else self._seed
        step = self._step(pl_module, self.policy, self.site)
        own, found = pl_module.training_step, vars(pl_module).get("training_step")
        unchecked = self.check

        def training_step(batch: Any, batch_idx: int) -> Any:
            nonlocal unchecked
            if unchecked and not self._unlabelled(batch):
                self._compare(pl_module, step, partial(own, *_taken(own, batch, batch_idx)), batch)
                unchecked = False
            if _updates_statistics(trainer):
                return own(*_taken(own, batch, batch_idx))
            if self.policy.changes and (steps := trainer.estimated_stepping_batches) < math.inf:
                step.advance(min(trainer.global_step / max(steps, 1), 1.0))
            draw = f"mixing {trainer.global_rank} {trainer.current_epoch} {batch_idx}"
            step.generator.manual_seed(torch_seed(self._seed, draw))  # type: ignore[arg-type, union-attr]
            return self._train(pl_module, step, batch)

        def restore() -> None:
            vars(pl_module).pop("training_step", None)
            if found is not None:
                pl_module.training_step = found

        pl_module.training_step, self._restore = training_step, restore

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        """Give ``training_step`` back."""
        if self._restore is not None:
            self._restore()
            self._restore = None

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Give ``training_step`` back."""
        self.on_fit_end(trainer, pl_module)

    def state_dict(self) -> dict[str, Any]:
        """The seed of lam and pairs."""
        return {} if self._seed is None else {"seed": self._seed}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the seed of the run that was saved."""
        self._seed = state_dict["seed"]

    def _step(self, pl_module: Any, policy: Policy, site: str | None) -> MixStep:
        if not self.model and _lacks_forward(type(pl_module)):
            names = ", ".join(name for name, _ in pl_module.named_children())
            raise AmpmixError(
                f"{type(pl_module).__name__} has no forward for the callback to call: name the "
                f"attribute that training_step calls (model=...; there are {names or 'none'})"
            )
        try:
            model = pl_module.get_submodule(self.model)
        except AttributeError as error:
            raise AmpmixError(f"model is {self.model!r}: {error}") from None
        generator = torch.Generator(pl_module.device)
        return MixStep(model, policy, site, generator=generator, **self.options)

    def _unpack(self, batch: Any) -> tuple[Any, Tensor]:
        labels = self.options.get("labels", "labels")
        if isinstance(batch, Mapping) and isinstance(batch.get(labels), Tensor):
            rest = {name: value for name, value in batch.items() if name != labels}
            return rest, batch[labels]
        if isinstance(batch, tuple | list) and len(batch) > 1 and isinstance(batch[-1], Tensor):
            return tuple(batch[:-1]), batch[-1]
        held = f" of {', '.join(map(str, batch))}" if isinstance(batch, Mapping) else ""
        raise AmpmixError(
            f"a batch is a {type(batch).__name__}{held}, in which the targets are to be found: "
            "give unpack=FUNCTION, from a batch to inputs (a tuple or a dictionary) and targets"
        )

    def _train(self, pl_module: Any, step: MixStep, batch: Any) -> Tensor:
        """The mixed loss of a batch, logged."""
        mixed = self._run(step, batch)
        if "on_mixed" in self.options:
            self.options["on_mixed"](mixed)
        loss, size = mixed.beside(mixed.loss).mean(), len(mixed.loss)
        if self.log_as:
            pl_module.log(self.log_as, loss.detach(), prog_bar=True, batch_size=size)
        if self.log_as and mixed.moved:
            shift = (mixed.lam_adv - mixed.lam).abs().mean()
            pl_module.log("amp_shift", shift, batch_size=size)
            pl_module.log("amp_share", mixed.mask.float().mean(), batch_size=size)
        return loss

    def _run(self, step: MixStep, batch: Any) -> Mixed:
        inputs, y = self.unpack(batch)
        args, kwargs = ((), inputs) if isinstance(inputs, Mapping) else (inputs, {})
        seen: list[Mixed] = []
        step.on_mixed = seen.append
        step.run(step.model, tuple(args), {**kwargs, step.labels: y})
        return seen[0]

    def _unlabelled(self, batch: Any) -> bool:
        """Return True if some texts of a batch have no label, of which training_step knows not."""
        inputs, _ = self.unpack(batch)
        return isinstance(inputs, Mapping) and "unlabelled" in inputs

    def _compare(self, pl_module: Any, step: MixStep, own: Callable[[], Any], batch: Any) -> None:
        """Raise if ``training_step`` trains otherwise than the callback does without mixing.

        If the module's own loss fits, the step gets it.
        """
        state = random_state(self.unpack(batch)[1])
        candidates = [step.loss]
        if step.loss is None and (found := module_loss(pl_module)) is not None:
            candidates = [found, None]
        with statistics_kept(pl_module), attributes_kept(pl_module, step.model):
            with with_random_state(state), _silent(pl_module):
                returned = own()
            loss = returned.get("loss") if isinstance(returned, Mapping) else returned
            if loss is None:
                return
            theirs = Outcome.of(loss, pl_module)
            for candidate in candidates:
                unmixed = self._step(pl_module, NoMixup(), None)
                unmixed.loss = candidate
                with with_random_state(state):
                    ours = Outcome.of(self._run(unmixed, batch).loss.mean(), pl_module)
                if ours.agrees(theirs, to_a_factor=candidate is not None):
                    step.loss = candidate
                    return
        raise AmpmixError(
            f"training_step gives {theirs.loss:.4g} as the first batch's loss, and MixupCallback "
            f"{ours.loss:.4g} without mixing, and their gradients differ by "
            f"{ours.difference(theirs):.2g} of their length: give what it uses (loss=, per "
            "example; model=; unpack=), or call a MixStep in training_step; check=False trains "
            "with MixupCallback's loss"
        )


def _updates_statistics(trainer: Any) -> bool:
    """Return True in the epoch in which weight averaging counts BatchNorm's statistics."""
    return bool(getattr(trainer.fit_loop, "_skip_backward", False))


def _lacks_forward(cls: type[nn.Module]) -> bool:
    """Return True if a class inherits LightningModule's own ``forward``, which raises."""
    return cls.forward.__qualname__ in ("LightningModule.forward", "_forward_unimplemented")


def _taken(function: Callable[..., Any], *arguments: Any) -> tuple[Any, ...]:
    """As many of the arguments as the function takes; ``training_step`` may do without the last."""
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError:
        return arguments[:-1]
    return arguments


@contextmanager
def _silent(pl_module: Any) -> Iterator[None]:
    """In the meantime the module logs nothing."""
    names = ("log", "log_dict")
    vars(pl_module).update(dict.fromkeys(names, lambda *args, **kwargs: None))
    try:
        yield
    finally:
        for name in names:
            vars(pl_module).pop(name, None)
