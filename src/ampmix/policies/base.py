"""What all policies share: how they are called and what they return."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn

from ampmix._torch.compiling import uncompiled
from ampmix._torch.generators import Generators
from ampmix.errors import AmpmixError
from ampmix.mixing import Loss, cross_entropy
from ampmix.policies.heads import Head, Hidden


@uncompiled
def hurried(lam: Tensor) -> bool:
    """Whether to decide on the device rather than ask it: it does many batches at once."""
    return lam.dim() > 1 and lam.is_cuda


@dataclass(frozen=True, eq=False)
class Mixed:
    """What a policy did to a batch of B examples.

    Attributes:
        loss: per-example loss to minimise, ``[..., B]``, with its graph.
        lam: mixing coefficients, ``[..., B]``; ones where nothing was mixed.
        lam_adv: the coefficients after MaxOp, ``[..., B]``; `lam` itself for policies without it.
        mask: where the loss was taken at `lam_adv` (Eq. 21), boolean ``[..., B]``.
        perm: partners, int64 ``[..., B]``.
        gain: what moving lam changed the loss by, ``loss_adv - loss``, ``[..., B]``, a constant;
            None for policies without MaxOp.
    """

    loss: Tensor
    lam: Tensor
    lam_adv: Tensor
    mask: Tensor
    perm: Tensor
    gain: Tensor | None = None


@dataclass(frozen=True)
class Policy(ABC):
    """A way to turn hidden states and targets into a training loss.

    A policy knows no model: it is handed ``g`` (hidden states at the site) and ``f`` (the rest of
    the model), as in the paper's f(x) = f_k(g_k(x)). Policies are immutable and hold no state.
    """

    name: ClassVar[str]
    own_loss: ClassVar[str] = ""
    """What the policy minimises in place of any ``loss=``, if it does."""

    @property
    def reference_name(self) -> str:
        """What the paper's tables call this policy (``word-amp``), or "" if they do not have it."""
        changed = {f.name for f in fields(self) if getattr(self, f.name) != f.default}
        if changed - {"site"}:
            return ""
        return f"{self.mixing_site}-{self.name}" if self.mixing_site else self.name

    @property
    def mixing_site(self) -> str | None:
        """The site that the policy mixes at, or None if it does not mix."""
        return getattr(self, "site", None)

    @uncompiled
    def __call__(
        self,
        f: Head,
        g: Hidden,
        y: Tensor,
        *,
        loss: Loss = cross_entropy,
        generator: Generators = None,
        batch_dims: int | None = None,
    ) -> Mixed:
        """The training loss of a batch.

        Args:
            f: hidden states to logits.
            g: hidden states ``[..., B, *]``, or a tuple (see :data:`Hidden`).
            y: targets, ``[..., B]`` class indices or whatever `loss` takes.
            loss: any per-example loss, ``loss(logits, y) -> [..., B]``.
            generator: source of lam and pairs (see :data:`ampmix._torch.generators.Generators`).
            batch_dims: how many axes of y count examples, leading axes included. By default all
                of an integer y and the first of a floating-point y.

        Returns:
            :class:`Mixed`.

        Raises:
            AmpmixError: for shapes that do not fit, with the shapes.
        """
        parts, shape = batch_of(g, y, batch_dims)
        return self._train(f, parts, y, shape, loss, generator)

    def outputs(self, classes: int) -> int:
        """How many outputs f needs for that many classes: as many, unless the policy says else."""
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
        """The policy for one run, with parameters of its own if it learns any.

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
    ) -> Mixed: ...


class Headed(Protocol):
    """A model that knows its last layer, whose outputs f returns."""

    @property
    def head(self) -> nn.Linear:
        """That layer."""
        ...


class Learner(nn.Module):
    """A policy during one run, called as the policy is; its parameters train with the model's.

    This one has none and changes nothing. A policy that learns, or whose f does not give logits,
    returns one of its own from :meth:`Policy.prepare`.
    """

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self.policy = policy

    @uncompiled
    def forward(
        self,
        f: Head,
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


def check_alpha(alpha: float) -> None:
    """Raise unless alpha parametrises a Beta distribution."""
    if not 1e-6 <= alpha <= 1e6:
        raise AmpmixError(
            f"alpha is {alpha}: it must be above 0, from 1e-6 to 1e6 (the paper uses 1)"
        )
