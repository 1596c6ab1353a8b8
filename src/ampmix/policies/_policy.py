"""What all policies share: how they are called and what they return."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Protocol, TypeGuard

import torch
from torch import Tensor, nn

from ampmix.compiling import uncompiled
from ampmix.errors import AmpmixError
from ampmix.mixing import Generators, Loss, cross_entropy, mix, take_pairs

Hidden = Tensor | tuple[Tensor, ...]
"""g: a tensor ``[..., B, *]``, or a tuple of tensors whose floating-point members are mixed and
whose boolean members (masks) are united with the partner's."""

Head = Callable[..., Tensor]
"""f: from hidden states to logits ``[..., B, C]``; a tuple g is passed as that many arguments."""


class MixingHead(Protocol):
    """An f that mixes its own input faster than mixing first and calling it afterwards would."""

    def __call__(self, *g: Tensor) -> Tensor:
        """Logits of hidden states."""
        ...

    def mixed_logits(
        self, g: tuple[Tensor, ...], lam: Tensor, perm: Tensor, partners: tuple[Tensor, ...]
    ) -> Tensor:
        """Logits of hidden states mixed at lam with `partners`, differentiable in g and lam."""
        ...


class SlopedHead(Protocol):
    """An f that knows how its logits change with lam, which saves AMP a pass back through it.

    It draws no random numbers: its dropout, if any, is drawn before.
    """

    def __call__(self, *g: Tensor) -> Tensor:
        """Logits of hidden states."""
        ...

    def sloped_logits(
        self, g: tuple[Tensor, ...], lam: Tensor, perm: Tensor, partners: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor]:
        """The logits of mixed hidden states and ``d logits / d lam``, without a graph."""
        ...


class CommonHead(Protocol):
    """An f in whose passes other processes take part, so that all must call it as often."""

    def __call__(self, *g: Tensor) -> Tensor:
        """Logits of hidden states."""
        ...

    def anywhere(self, rows: Tensor) -> bool:
        """Whether any of `rows` is true, in this process or in one of those."""
        ...


@uncompiled
def anywhere(f: Head, rows: Tensor) -> bool:
    """Whether any of `rows` is true: what a further pass of f may be made to depend on."""
    return f.anywhere(rows) if _is_common(f) else bool(rows.any())


def _is_common(f: Head) -> TypeGuard[CommonHead]:
    return hasattr(f, "anywhere")  # isinstance with a protocol takes 20 times as long


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
            generator: source of lam and pairs (see :data:`ampmix.mixing.Generators`).
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


@uncompiled
def partners_of(g: tuple[Tensor, ...], perm: Tensor) -> tuple[Tensor, ...]:
    """Every part of g in the order of the partners, without a graph."""
    return tuple(take_pairs(part.detach(), perm) for part in g)


@uncompiled
def forward_mixed(
    f: Head, g: tuple[Tensor, ...], lam: Tensor, perm: Tensor, partners: tuple[Tensor, ...]
) -> Tensor:
    """``f(lam * g + (1 - lam) * g[perm])``, fused if f knows how (:class:`MixingHead`)."""
    if _is_mixing(f):
        return f.mixed_logits(g, lam, perm, partners)
    return f(*(mix(x, lam, perm, partner) for x, partner in zip(g, partners, strict=True)))


@uncompiled
def is_sloped(f: Head) -> TypeGuard[SlopedHead]:
    """Whether f is a :class:`SlopedHead`."""
    return hasattr(f, "sloped_logits")


def _is_mixing(f: Head) -> TypeGuard[MixingHead]:
    return hasattr(f, "mixed_logits")


@contextmanager
@uncompiled
def replayed(state: Any | None) -> Iterator[None]:
    """Run with PyTorch's random state set to `state`, then go on as if nothing had been drawn."""
    if state is None:
        yield
        return
    cpu, device, gpu = state
    now_cpu = torch.get_rng_state()
    now_gpu = torch.cuda.get_rng_state(device) if device is not None else None
    torch.set_rng_state(cpu)
    if device is not None:
        torch.cuda.set_rng_state(gpu, device)
    try:
        yield
    finally:
        torch.set_rng_state(now_cpu)
        if device is not None and now_gpu is not None:
            torch.cuda.set_rng_state(now_gpu, device)


@uncompiled
def random_state(like: Tensor) -> Any:
    """PyTorch's random state on the CPU and on the device of `like`, for :func:`replayed`.

    None while the work is recorded as a CUDA graph, which cannot be asked for its state: the f of
    seeds trained side by side draws nothing (:mod:`ampmix.graphs`).
    """
    if like.is_cuda and torch.cuda.is_current_stream_capturing():
        return None
    device = like.device if like.is_cuda else None
    gpu = torch.cuda.get_rng_state(device) if device is not None else None
    return torch.get_rng_state(), device, gpu
