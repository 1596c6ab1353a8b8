"""The base class of policies: how they are called and what they return."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from ampmix._torch.compiling import uncompiled
from ampmix._torch.generators import Generators, side_by_side
from ampmix.errors import AmpmixError
from ampmix.mixing import Loss, cross_entropy
from ampmix.mixing.heads import Head, Hidden, head_of


@uncompiled
def decides_on_device(lam: Tensor) -> bool:
    """Return True if the choice between lam and lam_adv should be made on the GPU.

    With several seeds in one batch, asking the host (``rows.any()``) would synchronise once a step
    and cost more than one extra forward pass.
    """
    return side_by_side(lam) and lam.is_cuda


@dataclass(frozen=True, eq=False)
class Mixed:
    """The loss of a batch of B examples, and how they were mixed for it.

    A policy that mixes nothing gives the loss alone, and one without MaxOp ``lam`` and ``perm``
    besides: the rest has defaults.

    Attributes:
        loss: per-example loss to minimise, ``[..., B]``, with its graph.
        lam: mixing coefficients, ``[..., B]``; by default ones, for nothing mixed.
        lam_adv: the coefficients after MaxOp, ``[..., B]``; by default `lam` itself.
        mask: where the loss was taken at `lam_adv` (Eq. 21), boolean ``[..., B]``; by default
            nowhere.
        perm: partners, int64 ``[..., B]``; by default each example's own index.
        gain: the change of the loss by MaxOp, ``loss_adv - loss``, ``[..., B]``, a constant; None
            for policies without MaxOp.

    >>> mixed = Mixed(torch.tensor([0.5, 2.0]))
    >>> mixed.lam.tolist(), mixed.perm.tolist(), mixed.mask.tolist(), mixed.moved
    ([1.0, 1.0], [0, 1], [False, False], False)
    """

    loss: Tensor
    lam: Tensor = field(default=None)  # type: ignore[assignment]
    lam_adv: Tensor = field(default=None)  # type: ignore[assignment]
    mask: Tensor = field(default=None)  # type: ignore[assignment]
    perm: Tensor = field(default=None)  # type: ignore[assignment]
    gain: Tensor | None = None

    def __post_init__(self) -> None:
        given: dict[str, Any] = vars(self)  # a frozen dataclass refuses assignment
        shape, device = self.loss.shape, self.loss.device
        if self.lam is None:
            given["lam"] = torch.ones(shape, device=device)
        if self.lam_adv is None:
            given["lam_adv"] = self.lam
        if self.mask is None:
            given["mask"] = torch.zeros_like(self.lam, dtype=torch.bool)
        if self.perm is None:
            given["perm"] = torch.arange(self.loss.size(-1) if shape else 1, device=device)
            given["perm"] = given["perm"].expand(shape or (1,))

    @property
    def moved(self) -> bool:
        """True if MaxOp moved lam: `lam_adv`, `mask` and `gain` then say how far, and what for."""
        return self.gain is not None


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

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
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
    ) -> Mixed:
        """Return the training loss of a batch.

        Args:
            f: hidden states to logits, any callable; a :class:`Head` may be faster.
            g: hidden states ``[..., B, *]``, or a tuple (see :data:`Hidden`).
            y: targets, ``[..., B]`` class indices or whatever `loss` takes.
            loss: any per-example loss, ``loss(logits, y) -> [..., B]``.
            generator: source of lam and pairs (see :data:`ampmix._torch.generators.Generators`).
            batch_dims: how many axes of y count examples, leading axes included. By default all
                of an integer y and the first of a floating-point y.

        Returns:
            :class:`Mixed`.

        Raises:
            AmpmixError: for shapes that do not fit, of what is given or of what `_train` returns,
                with the shapes.
        """
        parts, shape = batch_of(g, y, batch_dims)
        mixed = self._train(head_of(f), parts, y, shape, loss, generator)
        _check_mixed(mixed, shape, self.name)
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
    ) -> Mixed:
        """See :meth:`Policy.__call__`."""
        return self.policy(f, g, y, loss=loss, generator=generator, batch_dims=batch_dims)

    def scores(self, outputs: Tensor) -> Tensor:
        """Logits of the classes ``[..., C]`` from the outputs of f, unmixed."""
        return outputs

    def fold(self, model: Headed) -> None:
        """Make :meth:`scores` part of the model's head: it is an ordinary model afterwards."""


@uncompiled
def _check_mixed(mixed: Any, shape: torch.Size, policy: str) -> None:
    """Raise AmpmixError unless a policy returned what :class:`Mixed` promises for a batch."""
    if not isinstance(mixed, Mixed):
        raise AmpmixError(
            f"policy {policy} gave a {type(mixed).__name__}: it must return ampmix.Mixed"
        )
    for name in ("loss", "lam", "lam_adv", "mask", "perm"):
        own = getattr(getattr(mixed, name), "shape", None)
        if own != shape:
            found = "no tensor" if own is None else f"of shape {list(own)}"
            raise AmpmixError(
                f"policy {policy} gave a {name} {found} for a batch of {list(shape)}: there "
                "must be one number for each example"
            )


@uncompiled
def batch_of(g: Hidden, y: Tensor, batch_dims: int | None) -> tuple[tuple[Tensor, ...], torch.Size]:
    """The parts of g and the batch's shape ``[..., B]``; AmpmixError if they do not fit."""
    parts = g if isinstance(g, tuple) else (g,)
    if not parts or not all(isinstance(part, Tensor) for part in parts):
        raise AmpmixError(f"g is a {type(g).__name__}: it must be a tensor or a tuple of tensors")
    dims = batch_dims or (1 if y.is_floating_point() else max(y.dim(), 1))
    shape = y.shape[:dims]
    for part in parts:
        if part.shape[:dims] != shape:
            raise AmpmixError(
                f"hidden states of shape {list(part.shape)} do not fit targets of shape "
                f"{list(y.shape)}: both must begin with the batch's {list(shape)}"
            )
    return parts, shape
