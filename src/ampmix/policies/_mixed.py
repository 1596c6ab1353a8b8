"""The losses that a policy returns, and how texts were mixed for them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ampmix._torch.compiling import uncompiled
from ampmix.errors import AmpmixError


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
        unlabelled: the loss of each text without a label, ``[..., U]``; None where there are none.

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
    unlabelled: Tensor | None = None

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

    def beside(self, losses: Tensor) -> Tensor:
        """Losses ``[..., B]`` to each of which the mean unlabelled one is added, if there is one.

        Their mean is then ``mean(losses) + mean(unlabelled)``.
        """
        if self.unlabelled is None:
            return losses
        return losses + self.unlabelled.mean(-1, keepdim=True).to(losses.dtype)


@uncompiled
def check_mixed(mixed: Any, shape: torch.Size, policy: str, unlabelled: int = 0) -> None:
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
    own = None if mixed.unlabelled is None else mixed.unlabelled.shape
    if own != (torch.Size((*shape[:-1], unlabelled)) if unlabelled else None):
        found = "none" if own is None else f"losses of shape {list(own)}"
        raise AmpmixError(
            f"policy {policy} gave {found} for {unlabelled} unlabelled texts: there must be one "
            "number for each"
        )
