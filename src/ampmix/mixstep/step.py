"""MixStep: a training step of any PyTorch model, mixed at any of its layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

from ampmix._torch.compiling import uncompiled
from ampmix._torch.generators import Generators, drawn_one
from ampmix.errors import AmpmixError
from ampmix.mixing import Loss, cross_entropy, per_example
from ampmix.mixing.heads import Head
from ampmix.mixstep.batch_inputs import MASKS, PADDING_MASKS, Inputs
from ampmix.mixstep.checks import Check, traceable
from ampmix.mixstep.losses import usual_loss
from ampmix.mixstep.model_parts import logits_of, own_module, parameters_of, required_of
from ampmix.mixstep.outputs import _with_loss, _without_graph
from ampmix.mixstep.passes import REENTRANT, Cut, Passes
from ampmix.mixstep.sharding import any_process_has, gather, refuse_fsdp1, shards_around
from ampmix.mixstep.site import Site, find_site
from ampmix.mixstep.unlabelled import Others
from ampmix.policies.base import Learner, Mixed, Policy


class MissingLabels(AmpmixError):
    """A batch to train on has no labels."""


@dataclass
class _Place:
    """One of the sites of a step: how the model is cut there, and whether that was checked."""

    cut: Cut | None
    check: Check
    checked: bool = False


class MixStep(nn.Module):
    """A model whose training forward pass mixes hidden states at a site of it.

    ``step(**batch)`` takes what the model takes, labels included, and returns what the model
    returns, with the mixed loss, the mean over the batch (Eqs. 10-21: see the policy). It computes
    g once, f as often as the policy needs, and lam's gradient, all in one ``forward``, so that
    DistributedDataParallel, FSDP2 (``fully_shard``) and ``torch.compile`` may wrap the step as they
    would the model. When not training, it is the model: nothing is mixed, nothing is added.

    The loss is the step's own, so that labels do not reach the model: cross-entropy, for class
    indices or class probabilities; for a transformers model whose ``problem_type`` says so, binary
    cross-entropy or squared error. Losses that a model adds on its own (a router's) are not in it.

    Two texts mixed while they are sequences have the tokens of both: their masks are united, found
    by name at any depth of the inputs. What was computed before the site is not computed again, and
    BatchNorm counts a batch once.

    All that is returned has the graph of the pass it comes from, so that further terms of a loss
    train: the first pass that the policy has not gone back through. For Mixup that is the one at
    lam, for AMP, whose graph at lam is gone, the one at lam_adv. A training accuracy means nothing
    here. Of a policy whose last pass ran without a graph, going back through outputs raises.

    The first three batches (one, if it has texts of several lengths) are also tried without
    gradients, in evaluation mode, six passes each: partners are put at the site, and where their
    logits do not follow, what goes around the site, or which mask is not united, is warned of.
    Which axis counts examples is found in the same way.

    Args:
        model: any module that returns logits, alone, first in a tuple, or by name.
        policy: such as ``ampmix.AMP(eps=0.1)``, or what its ``prepare`` returned.
        site: a submodule's path for its output (``"bert.encoder.layer.3"``), with ``:input`` for
            what it is given (``"classifier:input"``); ``word`` and ``sent`` for the models of
            transformers. Of several, with ``+`` between, one is drawn each step. By default the
            policy's. :func:`ampmix.sites` lists what there is.
        loss: any per-example loss, ``loss(logits, y) -> [B]``.
        labels: the name of the targets in a batch.
        logits: the name of the logits in what the model returns.
        masks: names of inputs that are true where there is a token, besides the usual ones.
        padding_masks: names of inputs that are true where there is none, likewise.
        batch_dim: the axis of the hidden states that counts examples, 1 for models that are
            sequence first. By default it is found by trial; a batch of one needs it said.
        generator: source of lam and pairs; PyTorch's global one by default, whose state trainers
            save with their checkpoints.
        on_mixed: called with each batch's :class:`ampmix.Mixed`.

    Raises:
        AmpmixError: for a path that is no submodule; for a site that is not called, called twice,
            has no batch axis or nothing to mix, or does not reach the loss; without labels (but
            without gradients the step is then the model, as BatchNorm's updates need it); for
            reentrant checkpointing, FSDP1, and a model inside DistributedDataParallel.

    >>> import torch
    >>> from ampmix import AMP
    >>> model = torch.nn.Sequential(
    ...     torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 3)
    ... )
    >>> step = MixStep(model, AMP(), site="0")
    >>> step(torch.randn(16, 4), labels=torch.randint(3, (16,))).loss.backward()
    """

    _attached: tuple[Callable[..., Any], Callable[..., Any]] | None = None
    """The model's `forward` and its mixing replacement. Both are kept, since a new function each
    time would have ``torch.compile`` compile anew."""

    def __init__(
        self,
        model: nn.Module,
        policy: Policy | Learner,
        site: str | None = None,
        *,
        loss: Loss | None = None,
        labels: str = "labels",
        logits: str = "logits",
        masks: Sequence[str] = (),
        padding_masks: Sequence[str] = (),
        batch_dim: int | None = None,
        generator: Generators = None,
        on_mixed: Callable[[Mixed], None] | None = None,
    ) -> None:
        super().__init__()
        if isinstance(model, nn.parallel.DistributedDataParallel):
            raise AmpmixError(
                "the model is in DistributedDataParallel already, which would not see the step's "
                "passes: wrap the step, DistributedDataParallel(MixStep(model, ...))"
            )
        self.model = model
        self.learner = policy if isinstance(policy, Learner) else policy.prepare((), 1)
        if isinstance(policy, Policy) and policy.learns:
            raise AmpmixError(
                f"policy {policy.name} has parameters of its own to train: give what "
                "policy.prepare(shape, classes) returns"
            )
        self._given, self._advanced = self.learner.policy, False
        self._others = Others()
        self.loss, self.labels, self.logits = loss, labels, logits
        self.generator, self.on_mixed = generator, on_mixed
        place = site or self.learner.policy.mixing_site
        cuts: list[Cut | None] = [None]
        if place is not None:
            seen = (*MASKS, *masks), (*PADDING_MASKS, *padding_masks), batch_dim
            found = [find_site(own_module(model), one) for one in place.split("+")]
            cuts = [Cut(one, *seen) for one in found]
        mixes = self.learner.policy.mixing_site is not None
        self._places = [_Place(cut, Check(mixes)) for cut in cuts]
        self._place = self._places[0]
        self._gives_labels = self.labels in required_of(own_module(model))
        self.register_state_dict_post_hook(_without_prefix)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_with_prefix)  # type: ignore[no-untyped-call]

    @property
    def cut(self) -> Cut | None:
        """The cut that this step mixes at."""
        return self._place.cut

    def __getattr__(self, name: str) -> Any:
        """Look up in the model what the step lacks: ``config``, ``save_pretrained`` and others."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("model"), name)

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, nn.Parameter]]:
        """Parameters as the model calls them, as in :meth:`state_dict`."""
        before = f"{prefix}." if prefix else ""
        for name, parameter in super().named_parameters(prefix, recurse, remove_duplicate):
            yield before + name.removeprefix(before).removeprefix(_PREFIX), parameter

    def _fqn_modifiers(self) -> dict[str, str]:
        """Attributes that names leave out, as :mod:`torch.distributed.checkpoint` asks for them.

        A key is the first part of a name, its value the attribute in which that part is found.
        """
        left_out = _PREFIX.rstrip(".")
        return {"": left_out, **{name: left_out for name, _ in self.model.named_children()}}

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The model's output; when training, with the mixed loss of the batch.

        Args:
            args: what the model takes.
            kwargs: likewise, and the labels. With ``num_items_in_batch``, as transformers' Trainer
                gives it, losses are added up and divided by that. With ``unlabelled=U`` the last U
                texts of the batch have no label, and the labels are those of the others; their mean
                loss is added. ``guesses`` are class probabilities of these, ``[U, C]``, for
                policies that learn from a teacher.
        """
        if not self.model.training:  # the step's own flag is not seen by who holds the model alone
            return self.model(*args, **kwargs)
        return self.run(self.model, args, kwargs)

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Within the context, make the model itself do the mixed step when it trains.

        This is for trainers that hold and save the model rather than a step around it. A copy of
        the model made within the context would call this model: copy it before or after.
        """
        model, original = self.model, self.model.forward
        own = model.__dict__.get("forward")
        if self._attached is None or self._attached[0] != original:
            self._attached = original, self._attachable(original)
        mixing = self._attached[1]
        model.forward = mixing
        try:
            yield
        finally:
            if model.__dict__.get("forward") is mixing:
                del model.forward
                if own is not None:
                    model.forward = own

    def _attachable(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """Return the method that replaces the model's `forward` while attached."""

        def forward(this: nn.Module, *args: Any, **kwargs: Any) -> Any:
            if not this.training:
                return original(*args, **kwargs)
            return self.run(original, args, kwargs)

        forward.__wrapped__ = getattr(original, "__func__", original)  # type: ignore[attr-defined]
        return MethodType(forward, self.model)

    def __getstate__(self) -> dict[str, Any]:
        """State to pickle: without the function that :meth:`attached` keeps, which cannot be."""
        return {name: value for name, value in self.__dict__.items() if name != "_attached"}

    @uncompiled
    def run(self, call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run the mixed step; ``call(*args, **kwargs)`` runs the model."""
        kwargs = dict(kwargs)
        items = kwargs.pop("num_items_in_batch", None)
        others = Others(int(kwargs.pop("unlabelled", 0)), kwargs.pop("guesses", None))
        y = kwargs.pop(self.labels, None)
        if y is None and not torch.is_grad_enabled():
            return call(*args, **kwargs)  # not to train on, as when BatchNorm is updated
        if y is None:
            raise MissingLabels(
                f"the batch has no {self.labels}, but {', '.join(kwargs) or 'positions only'}: "
                "training needs them by name (another one: labels=NAME, or a Trainer's "
                "label_names=[NAME])"
            )
        one = self.generator if isinstance(self.generator, torch.Generator) else None
        self._place = drawn_one(self._places, one)
        if not self._place.checked:
            refuse_fsdp1(self)
        if self._given.changes and not self._advanced:
            raise AmpmixError(
                f"policy {self._given.name} changes in the course of training: say how far it is "
                "before each step, step.advance(done / steps)"
            )
        self._others = others
        mixed, output = self._mixed_with_labels(call, args, kwargs, y)
        self._place.checked = True
        if self.on_mixed is not None:
            self.on_mixed(mixed)
        losses = mixed.beside(mixed.loss)
        if items is None:
            return _with_loss(output, losses.mean())
        elements = y.numel() // len(y)  # Trainer counts the labels' elements, not the examples
        return _with_loss(output, losses.sum() * elements / items)

    @uncompiled
    def _mixed(
        self, call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], y: Tensor
    ) -> tuple[Mixed, Any]:
        """The loss of a batch, and what the model returned for it."""
        if self.cut is None:
            output = call(*args, **kwargs)
            return self._policy(lambda x: x, (logits_of(output, self.logits),), y), output
        passes, shards = self._begin(call, args, kwargs, len(y) + self._others.unlabelled)
        if passes.missed:  # a layer that is skipped at random: this batch is not mixed
            logits = logits_of(passes.content, self.logits)[: len(y)]
            return Mixed(per_example(self._loss, logits, y, y.shape[:1])), passes.content
        g = passes.g if self._place.checked else traceable(passes.g)
        mixed = self._policy(_Rest(self, passes), g, y)
        if not self._place.checked:
            self._place.check.reached(self, g, mixed, passes, shards)
        if mixed.loss.requires_grad and not logits_of(passes.output, self.logits).requires_grad:
            passes.output = _without_graph(passes.output, self.learner.policy.name)
        return mixed, passes.output

    @property
    def _loss(self) -> Loss:
        return self.loss or usual_loss(self.model)

    def _targets(self, y: Tensor) -> Tensor:
        """Class indices in a column, ``[B, 1]``, as a vector."""
        column = y.dim() == 2 and y.shape[1] == 1 and not y.is_floating_point()
        return y.squeeze(1) if column and self._loss is cross_entropy else y

    @uncompiled
    def _mixed_with_labels(
        self, call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], y: Tensor
    ) -> tuple[Mixed, Any]:
        """:meth:`_mixed`, the labels being given to a model that cannot do without.

        That is one that requires them, and one that takes them and fails without.
        """
        given, targets = {**kwargs, self.labels: self._others.filled(y)}, self._targets(y)
        if self._gives_labels:
            return self._mixed(call, args, given, targets)
        try:
            return self._mixed(call, args, kwargs, targets)
        except (TypeError, ValueError, AttributeError) as error:
            asked = self.labels in parameters_of(own_module(self.model))
            if self._place.checked or not asked or isinstance(error, AmpmixError):
                raise
            found = self._mixed(call, args, given, targets)
            self._gives_labels = True
            return found

    @uncompiled
    def _begin(
        self, call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], batch: int
    ) -> tuple[Passes, list[str]]:
        """The passes of a batch, and the shards around the site (see :func:`shards_around`)."""
        assert self.cut is not None
        model = own_module(self.model)
        cut = self.cut
        inputs = Inputs(cut.masks, cut.padding_masks, model, args, kwargs, batch)
        self._place.check.try_out(self, cut, call, inputs, self.logits)
        with shards_around(model, "" if self._place.checked else cut.site.path) as shards:
            passes = Passes(cut, cut.reach(call, inputs), call, inputs)
        if cut.site.alias == "sent" and not passes.missed and passes.g[0].dim() > 2:
            # a head that reads every token, of which one is then taken: being linear, it may come
            # before mixing, and so the logits are mixed, at the token that each text is read at
            cut = self._place.cut = Cut(Site("", "output", "sent"))
            passes = cut.begin(model, call, args, kwargs, batch)
        elif not self._place.checked and not passes.missed:
            cut.learned.draws = passes.memory.drew
        return passes, shards

    def advance(self, progress: float) -> None:
        """Take the policy as it is at a share of the training steps, in [0, 1).

        Policies that change in the course of training need it before each step.
        """
        self.learner.policy = self._given.at(progress)
        self._advanced = True

    @uncompiled
    def _policy(self, f: Callable[..., Tensor], g: tuple[Tensor, ...], y: Tensor) -> Mixed:
        try:
            mixed: Mixed = self.learner(
                f,
                g,
                y,
                loss=self._loss,
                generator=self.generator,
                batch_dims=1,
                **self._others.given(),
            )
        except RuntimeError as error:
            if "use_reentrant" in str(error):  # found on the way back to lam
                raise AmpmixError(REENTRANT) from error
            if "donated buffers" in str(error):
                raise AmpmixError(
                    f"policy {self.learner.policy.name} goes back through a graph twice, which "
                    "torch.compile forbids: leave shared_dropout as it is, or set "
                    "torch._functorch.config.donated_buffer = False before compiling"
                ) from error
            raise
        return mixed


@uncompiled
class _Rest(Head):
    """Runs the model from the site on: f of a batch, in whose passes other processes may share."""

    def __init__(self, step: MixStep, passes: Passes) -> None:
        self.step, self.passes = step, passes

    def __call__(self, *g: Any, **_: Any) -> Tensor:
        gather((self.step, self.step.model))
        output = self.passes.f(*g)
        logits = logits_of(output, self.step.logits)
        self.passes.note(output, logits)
        return logits

    def any_process_has(self, rows: Tensor) -> bool:
        """See :meth:`ampmix.mixing.heads.Head.any_process_has`."""
        return any_process_has(rows, self.step)


_PREFIX = "model."


def _without_prefix(
    module: nn.Module, state: dict[str, Any], prefix: str, metadata: dict[str, Any]
) -> None:
    """Give parameters in a state dictionary the names that the model gives them."""
    for name in [name for name in state if name.startswith(prefix + _PREFIX)]:
        state[prefix + name[len(prefix + _PREFIX) :]] = state.pop(name)


def _with_prefix(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Undo :func:`_without_prefix`; a policy's own parameters keep their names."""
    learned = {f"{prefix}learner.{name}" for name in module.learner.state_dict()}  # type: ignore[union-attr]
    for name in [name for name in state if name.startswith(prefix) and name not in learned]:
        state[prefix + _PREFIX + name[len(prefix) :]] = state.pop(name)
