"""The base class of policies: how they are called and what they return."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from ampmix._support.components import find
from ampmix._torch.compiling import uncompiled
from ampmix._torch.generators import Generators, drawn_one, side_by_side
from ampmix.errors import AmpmixError
from ampmix.mixing import Loss, cross_entropy
from ampmix.mixing.heads import Head, Hidden, head_of
from ampmix.policies._mixed import Mixed as Mixed
from ampmix.policies._mixed import check_mixed


@uncompiled
def decides_on_device(lam: Tensor) -> bool:
    """Return True if the choice between lam and lam_adv should be made on the GPU.

    With several seeds in one batch, asking the host (``rows.any()``) would synchronise once a step
    and cost more than one extra forward pass.
    """
    return side_by_side(lam) and lam.is_cuda


@dataclass(frozen=True)
class Policy(ABC):
    """Turns hidden states and targets into a training loss.

    A policy knows no model: it is handed ``g`` (hidden states at the site) and ``f`` (the rest of
    the model), as in the paper's f(x) = f_k(g_k(x)). Policies are immutable and hold no state.

    A subclass writes :meth:`_train` and declares what is special about it by the class variables.
    If it changes the boolean parts of g (masks), every row must keep at least one true element: a
    softmax over a row that is all false is NaN.
    """

    name: ClassVar[str]
    own_loss: ClassVar[str] = ""
    """The loss that the policy minimises in place of any ``loss=``, in words; "" for none."""
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Values of options that are one of several names; contract tests try each."""
    printed: ClassVar[bool] = False
    """True if the paper's tables have the policy."""
    printed_whatever: ClassVar[frozenset[str]] = frozenset({"site"})
    """Options that leave a policy what the paper's tables name, whatever they are."""
    learns: ClassVar[bool] = False
    """True if the policy trains parameters, or f does not give logits: :meth:`prepare` must then be
    called before training. Set by itself in a class that overrides :meth:`prepare`."""

    pairs: ClassVar[bool] = True
    """False if the policy changes examples on their own, so that also a batch of one is changed."""
    dropout_draws: ClassVar[int] = 1
    """How many times the passes of f in a step draw dropout masks anew."""
    needs_classes: ClassVar[bool] = False
    """True if the policy compares class probabilities: f gives logits, the targets are classes."""
    needs_dropout: ClassVar[bool] = False
    """True if the policy does nothing to a model without dropout."""
    takes_unlabelled: ClassVar[bool] = False
    """True if the policy can train on texts without labels too. Set by itself in a class that
    overrides :meth:`_train_unlabelled`."""
    without_unlabelled: ClassVar[str] = ""
    """What the policy is without such texts, if nothing of its own is left of it then."""

    @property
    def needs_words(self) -> bool:
        """True if hidden states must have an axis of words, as those of ``sent`` have not."""
        return False

    @property
    def needs_indices(self) -> bool:
        """True if targets must be class indices, and may not be class probabilities."""
        return False

    @property
    def stacks(self) -> bool:
        """True if what is drawn depends on no other text's length: seeds may train side by side."""
        return True

    @property
    def uses_unlabelled(self) -> bool:
        """True if texts without labels would change what is trained."""
        return self.takes_unlabelled

    @property
    def teachers(self) -> int:
        """Number of models trained before the last, each to label the texts for the next."""
        return 0

    @property
    def changes(self) -> bool:
        """True if :meth:`at` returns another policy in the course of training."""
        return False

    def at(self, progress: float) -> Policy:
        """Return the policy at a share of the training steps, in [0, 1); by default itself."""
        return self

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "_train_unlabelled" in vars(cls):
            cls.takes_unlabelled = True
        if "prepare" in vars(cls) and "learns" not in vars(cls):
            cls.learns = True

    @property
    def reference_name(self) -> str:
        """Name of this policy in the paper's tables (``word-amp``), "" if they lack it."""
        changed = {f.name for f in fields(self) if getattr(self, f.name) != f.default}
        if not self.printed or changed - self.printed_whatever:
            return ""
        return f"{self.mixing_site}-{self.name}" if self.mixing_site else self.name

    @property
    def mixing_site(self) -> str | None:
        """The site that the policy mixes at, or None if it does not mix."""
        return getattr(self, "site", None)

    @property
    def sites(self) -> tuple[str | None, ...]:
        """The sites of which one is drawn each step; one alone, or None, is always it."""
        return (None,) if self.mixing_site is None else (*self.mixing_site.split("+"),)

    def drawn_site(self, generator: torch.Generator | None) -> str | None:
        """Draw the site of a step."""
        return drawn_one(self.sites, generator)

    @uncompiled
    def __call__(
        self,
        f: Callable[..., Tensor],
        g: Hidden,
        y: Tensor,
        *,
        loss: Loss = cross_entropy,
        generator: Generators = None,
        batch_dims: int | None = None,
        unlabelled: int = 0,
        guesses: Tensor | None = None,
    ) -> Mixed:
        """Return the training loss of a batch.

        Args:
            f: hidden states to logits, any callable; a :class:`Head` may be faster.
            g: hidden states ``[..., B, *]``, or a tuple (see :data:`Hidden`); with `unlabelled`
                texts ``[..., B + U, *]``, these last.
            y: targets, ``[..., B]`` class indices or whatever `loss` takes.
            loss: any per-example loss, ``loss(logits, y) -> [..., B]``.
            generator: source of lam and pairs (see :data:`ampmix._torch.generators.Generators`).
            batch_dims: how many axes of y count examples, leading axes included. By default all
                of an integer y and the first of a floating-point y.
            unlabelled: U, how many texts of g have no label.
            guesses: class probabilities of these by a teacher, ``[..., U, C]``; None without one.

        Returns:
            :class:`Mixed`.

        Raises:
            AmpmixError: for shapes that do not fit, of what is given or of what `_train` returns,
                with the shapes; for texts without labels where the policy takes none.
        """
        parts, shape = batch_of(g, y, batch_dims, unlabelled)
        if unlabelled:
            every = torch.Size((*shape[:-1], shape[-1] + unlabelled))
            own = head_of(f), parts, y, every, loss, generator, guesses
            mixed = self._train_unlabelled(*own)
        else:
            mixed = self._train(head_of(f), parts, y, shape, loss, generator)
        check_mixed(mixed, shape, self.name, unlabelled)
        return mixed

    def outputs(self, classes: int) -> int:
        """Return the number of outputs that f needs for so many classes; by default as many."""
        return classes

    def check_loss(self, loss: Loss) -> None:
        """Raise AmpmixError for a loss that the policy cannot train with, before it is tried."""
        if self.own_loss and loss is not cross_entropy:
            raise AmpmixError(
                f"policy {self.name} has a loss of its own, {self.own_loss}: it takes no other, "
                "nor class weights or label smoothing"
            )

    def prepare(
        self, shape: Sequence[int], classes: int, generator: torch.Generator | None = None
    ) -> Learner:
        """Return the policy for one run, with its trainable parameters if it has any.

        Args:
            shape: of one example's hidden state, at its longest.
            classes: how many classes there are.
            generator: source of what is drawn.
        """
        return Learner(self)

    @abstractmethod
    def _train(
        self,
        f: Head,
        g: tuple[Tensor, ...],
        y: Tensor,
        shape: torch.Size,
        loss: Loss,
        generator: Generators,
    ) -> Mixed:
        """Return the training loss of a batch whose shapes were checked.

        Args:
            f: the rest of the model.
            g: the parts of the hidden states.
            y: targets.
            shape: the batch's, ``[..., B]``.
            loss: per-example loss; :func:`ampmix.mixing.per_example` checks its shape.
            generator: source of all that is drawn (:func:`ampmix.mixing.draw_each`).
        """

    def _train_unlabelled(
        self,
        f: Head,
        g: tuple[Tensor, ...],
        y: Tensor,
        shape: torch.Size,
        loss: Loss,
        generator: Generators,
        guesses: Tensor | None,
    ) -> Mixed:
        """Return the losses of a batch with texts that have no labels.

        Args:
            f: the rest of the model.
            g: the parts of the hidden states of all texts, the labelled ones first.
            y: targets of these, ``[..., B]``.
            shape: that of all texts, ``[..., B + U]``.
            loss: per-example loss.
            generator: source of all that is drawn.
            guesses: see :meth:`__call__`.
        """
        raise AmpmixError(no_use(self.name))


def no_use(*policies: str) -> str:
    """Say that policies take no texts without labels, and which do."""
    every: Mapping[str, Any] = find("ampmix.policies")
    taking = [name for name, cls in every.items() if cls.takes_unlabelled]
    return (
        f"policy {', '.join(policies)} learns from labelled texts alone: leave the unlabelled ones "
        f"out, or take one of {', '.join(taking)}"
    )


class Headed(Protocol):
    """A model that knows its last layer, whose outputs f returns."""

    @property
    def head(self) -> nn.Linear:
        """The last affine layer."""
        ...


class Learner(nn.Module):
    """Holds a policy during one run; its parameters train with the model's.

    It is called as the policy is. This one has no parameters and changes nothing. A policy that
    learns, or whose f does not give logits, returns one of its own from :meth:`Policy.prepare`.
    """

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self.policy = policy

    @uncompiled
    def forward(
        self,
        f: Callable[..., Tensor],
        g: Hidden,
        y: Tensor,
        *,
        loss: Loss = cross_entropy,
        generator: Generators = None,
        batch_dims: int | None = None,
        **unlabelled: Any,
    ) -> Mixed:
        """See :meth:`Policy.__call__`."""
        given: dict[str, Any] = {"loss": loss, "generator": generator, "batch_dims": batch_dims}
        return self.policy(f, g, y, **given, **unlabelled)

    def scores(self, outputs: Tensor) -> Tensor:
        """Logits of the classes ``[..., C]`` from the outputs of f, unmixed."""
        return outputs

    def fold(self, model: Headed) -> None:
        """Make :meth:`scores` part of the model's head: it is an ordinary model afterwards."""


@uncompiled
def batch_of(
    g: Hidden, y: Tensor, batch_dims: int | None, unlabelled: int = 0
) -> tuple[tuple[Tensor, ...], torch.Size]:
    """The parts of g and the batch's shape ``[..., B]``; AmpmixError if they do not fit."""
    parts = g if isinstance(g, tuple) else (g,)
    if not parts or not all(isinstance(part, Tensor) for part in parts):
        raise AmpmixError(f"g is a {type(g).__name__}: it must be a tensor or a tuple of tensors")
    dims = batch_dims or (1 if y.is_floating_point() else max(y.dim(), 1))
    shape = y.shape[:dims]
    texts = (*shape[:-1], shape[-1] + unlabelled) if unlabelled else shape
    for part in parts:
        if part.shape[:dims] != texts:
            beside = f" and {unlabelled} unlabelled texts" if unlabelled else ""
            raise AmpmixError(
                f"hidden states of shape {list(part.shape)} do not fit targets of shape "
                f"{list(y.shape)}{beside}: both must begin with the batch's {list(shape)}"
            )
    return parts, shape
